/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * globalview CMD...: runs CMD with the cluster's processes in its /proc; localview CMD...: with this node's again.
 *
 * One program with two names. It makes a mount namespace of its own, binds <mount point>/proc over /proc there (or takes
 * what is over the real /proc away) and executes CMD. Who is not root needs a user namespace for that, in which ids are
 * the same.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <unistd.h>

#define FUSE_MAGIC 0x65735546
#define PROC_MAGIC 0x9fa0
#define EXIT_CANNOT 125 /* as env(1): the command was not run */

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		err(EXIT_CANNOT, "%s", path);
	close(fd);
}

static void enter_user_namespace(void)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char map[64];

	if (unshare(CLONE_NEWUSER) < 0)
		err(EXIT_CANNOT, "who is not root needs user namespaces for this");
	write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "%u %u 1", uid, uid);
	write_file("/proc/self/uid_map", map);
	snprintf(map, sizeof(map), "%u %u 1", gid, gid);
	write_file("/proc/self/gid_map", map);
}

static void enter_mount_namespace(void)
{
	if (unshare(CLONE_NEWNS) < 0)
		err(EXIT_CANNOT, "cannot make a mount namespace");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		err(EXIT_CANNOT, "cannot make mounts private");
}

static long filesystem_of(const char *path)
{
	struct statfs st;

	return statfs(path, &st) < 0 ? -1 : (long)st.f_type;
}

static void view_cluster(const char *mount_point)
{
	char *source, *probe;

	if (asprintf(&source, "%s/proc", mount_point) < 0 || asprintf(&probe, "%s/cluster/members", source) < 0)
		err(EXIT_CANNOT, "no memory");
	if (filesystem_of("/proc") == FUSE_MAGIC)
		return;
	if (filesystem_of(source) != FUSE_MAGIC || access(probe, R_OK) < 0)
		errx(EXIT_CANNOT, "no cluster at %s: is it mounted? (another place: -m DIR, or CFS_MOUNT)", mount_point);
	if (geteuid())
		enter_user_namespace();
	enter_mount_namespace();
	if (mount(source, "/proc", NULL, MS_BIND, NULL) < 0)
		err(EXIT_CANNOT, "cannot bind %s to /proc", source);
	free(source);
	free(probe);
}

static void view_node(void)
{
	if (filesystem_of("/proc") == PROC_MAGIC)
		return;
	enter_mount_namespace();
	while (filesystem_of("/proc") == FUSE_MAGIC)
		if (umount2("/proc", MNT_DETACH) < 0)
			err(EXIT_CANNOT, "cannot take the cluster's /proc away");
	if (filesystem_of("/proc") != PROC_MAGIC)
		errx(EXIT_CANNOT, "there is no other /proc below");
}

int main(int argc, char **argv)
{
	bool local = !strcmp(program_invocation_short_name, "localview");
	const char *mount_point = getenv("CFS_MOUNT");
	int opt;

	while ((opt = getopt(argc, argv, "+hm:")) != -1)
		switch (opt) {
		case 'm':
			mount_point = optarg;
			break;
		case 'h':
			printf("usage: %s [-m MOUNT-POINT] COMMAND [ARGUMENT...]\n", program_invocation_short_name);
			return 0;
		default:
			return EXIT_CANNOT;
		}
	if (optind == argc)
		errx(EXIT_CANNOT, "usage: %s [-m MOUNT-POINT] COMMAND [ARGUMENT...]", program_invocation_short_name);
	if (local)
		view_node();
	else
		view_cluster(mount_point && *mount_point ? mount_point : "/cluster");
	execvp(argv[optind], argv + optind);
	err(errno == ENOENT ? 127 : 126, "%s", argv[optind]);
}
