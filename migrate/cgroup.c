#include "migrate/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

#define ENTER_TRIES 50

static int find_mount(char ret_dir[CGROUP_PATH_MAX])
{
	FILE *f = fopen("/proc/self/mounts", "re");
	char dir[CGROUP_PATH_MAX], type[64];
	int r = -ENOENT;

	while (f && r && fscanf(f, "%*s %1023s %63s %*[^\n]", dir, type) == 2)
		if (!strcmp(type, "cgroup2")) {
			strcpy(ret_dir, dir);
			r = 0;
		}
	if (f)
		fclose(f);
	return r;
}

int cgroup_of(pid_t pid, char ret_dir[CGROUP_PATH_MAX])
{
	char mount[CGROUP_PATH_MAX], path[64], line[CGROUP_PATH_MAX];
	int r = find_mount(mount), n = -1;
	FILE *f;

	if (r)
		return r;
	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	f = fopen(path, "re");
	if (!f)
		return -ESRCH;
	while (n < 0 && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "0::/", 4))
			continue;
		line[strcspn(line, "\n")] = 0;
		n = snprintf(ret_dir, CGROUP_PATH_MAX, "%s%s", mount, line + 3);
	}
	fclose(f);
	if (n < 0)
		return -ENOENT;
	/* A record that cannot be read again (record.c) would be no decision. */
	if (strpbrk(ret_dir, " \t\n"))
		return -EINVAL;
	return n < CGROUP_PATH_MAX - 64 ? 0 : -ENAMETOOLONG;
}

static int write_file(const char *dir, const char *name, const char *text)
{
	char path[CGROUP_PATH_MAX + 64];
	_cleanup_close_ int fd = -1;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

static int move_pid(const char *dir, pid_t pid)
{
	char num[16];
	int r;

	snprintf(num, sizeof(num), "%d", pid);
	r = write_file(dir, "cgroup.procs", num);
	return r == -ESRCH ? 0 : r;
}

static bool is_inside(const char *dir, pid_t pid)
{
	char where[CGROUP_PATH_MAX];

	return cgroup_of(pid, where) || !strcmp(where, dir);
}

/*
 * A child forked while we look inherits its parent's cgroup: once a whole pass finds all inside, all are. One on its
 * way out cannot be moved any more; it gets the time to go.
 */
int cgroup_enter(const char *dir, struct tree *t)
{
	pid_t root = t->procs[0].pid;
	bool all = false;
	int r = 0;

	if (mkdir(dir, 0755) && errno != EEXIST)
		return -errno;
	for (int i = 0; i < ENTER_TRIES && !all && !r; i++) {
		if (i > 2)
			usleep(1000);
		r = tree_read(t, root);
		all = true;
		for (size_t k = 0; k < t->nr && !r; k++) {
			if (t->procs[k].state == 'Z' || is_inside(dir, t->procs[k].pid))
				continue;
			all = false;
			r = move_pid(dir, t->procs[k].pid);
		}
	}
	if (!r && !all)
		r = -EAGAIN;
	if (r)
		cgroup_leave(dir);
	return r;
}

static int move_all(const char *dir, const char *to)
{
	char path[CGROUP_PATH_MAX + 64];
	int pid, r = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (!r && fscanf(f, "%d", &pid) == 1)
		r = move_pid(to, pid);
	fclose(f);
	return r;
}

int cgroup_leave(const char *dir)
{
	_cleanup_free_ char *parent = strdup(dir);
	int r = 0;

	if (!parent)
		return -ENOMEM;
	if (access(dir, F_OK))
		return 0;
	*strrchr(parent, '/') = 0;
	for (int i = 0; i < ENTER_TRIES; i++) {
		r = move_all(dir, parent);
		if (!r)
			r = cgroup_remove(dir);
		if (r != -EBUSY)
			break;
	}
	return r;
}

int cgroup_freeze(const char *dir, bool frozen)
{
	return write_file(dir, "cgroup.freeze", frozen ? "1" : "0");
}

int cgroup_kill(const char *dir)
{
	int r = write_file(dir, "cgroup.kill", "1");

	return r == -ENOENT ? 0 : r;
}

int cgroup_remove(const char *dir)
{
	return rmdir(dir) && errno != ENOENT ? -errno : 0;
}
