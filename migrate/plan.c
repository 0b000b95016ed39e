#include "migrate/plan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/cleanup.h"

struct checker {
	const struct plan_conf *conf;
	const struct tree *tree;
	struct reasons *reasons;
	struct plan_shared pipes, sockets; /* pipes: and files with a shared offset */
	struct plan_devs cfs;
	uint64_t caps;
};

void reasons_add(struct reasons *r, const char *fmt, ...)
{
	char line[4352], *bigger;
	size_t len;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	for (char *p = line; *p; p++)
		if (*p == '\n')
			*p = '?'; /* a file's name may hold anything; a reason is one line */
	len = strlen(line);
	line[len++] = '\n';
	line[len] = 0;
	bigger = realloc(r->text, r->len + len + 1);
	if (!bigger) {
		r->err = -ENOMEM;
		return;
	}
	memcpy(bigger + r->len, line, len + 1);
	r->text = bigger;
	r->len += len;
}

void plan_devs_read(pid_t pid, const char *type, struct plan_devs *ret_devs)
{
	char path[64], line[8192], fstype[128];
	unsigned maj, min;
	FILE *f;

	ret_devs->nr = 0;
	snprintf(path, sizeof(path), "/proc/%d/mountinfo", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		const char *sep = strstr(line, " - ");

		if (sscanf(line, "%*d %*d %u:%u", &maj, &min) != 2 || !sep || sscanf(sep, " - %127s", fstype) != 1)
			continue;
		if (!strcmp(fstype, type) && ret_devs->nr < sizeof(ret_devs->dev) / sizeof(ret_devs->dev[0]))
			ret_devs->dev[ret_devs->nr++] = makedev(maj, min);
	}
	if (f)
		fclose(f);
}

bool plan_devs_has(const struct plan_devs *devs, uint64_t dev)
{
	for (size_t i = 0; i < devs->nr; i++)
		if (devs->dev[i] == dev)
			return true;
	return false;
}

static bool read_fd(int dir, pid_t pid, const char *name, struct plan_fd *ret_fd)
{
	struct plan_fd fd = { .pid = pid, .fd = atoi(name) };
	char path[64], line[128];
	struct stat st;
	ssize_t n = readlinkat(dir, name, fd.link, sizeof(fd.link) - 1);
	FILE *f;

	if (n <= 0)
		return false;
	fd.link[n] = 0;
	if (fstatat(dir, name, &st, 0) == 0) {
		fd.mode = st.st_mode;
		fd.rdev = st.st_rdev;
		fd.nlink = st.st_nlink;
		fd.dev = st.st_dev;
		fd.ino = st.st_ino;
	}
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd.fd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "flags: %o", (unsigned *)&fd.flags) == 1)
			break;
	if (f)
		fclose(f);
	*ret_fd = fd;
	return true;
}

static int check_fds(struct checker *c, pid_t pid)
{
	char path[64];
	struct plan_fd fd;
	struct dirent *e;
	int r = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	while (d && !r && (e = readdir(d))) {
		if (e->d_name[0] == '.' || !read_fd(dirfd(d), pid, e->d_name, &fd))
			continue;
		switch (plan_fd_check(&fd, plan_devs_has(&c->cfs, fd.dev), c->reasons)) {
		case FD_PIPE:
		case FD_FILE_WRITTEN:
			r = plan_shared_add(&c->pipes, &fd);
			break;
		case FD_SOCKET:
			r = plan_shared_add(&c->sockets, &fd);
			break;
		case FD_FINE:
		case FD_REFUSED:
			break;
		}
	}
	if (d)
		closedir(d);
	return r;
}

/* A mapping: "start-end perms offset maj:min inode   path". */
static void check_map(struct checker *c, pid_t pid, const char *line)
{
	unsigned maj, min;
	char perms[8];
	int at = 0;
	const char *path;
	bool shared_write, deleted;

	if (sscanf(line, "%*s %7s %*s %x:%x %*u %n", perms, &maj, &min, &at) != 3 || !at)
		return;
	path = line + at;
	if (!strncmp(path, "anon_inode:", 11)) {
		reasons_add(c->reasons, "device map of %d %s", pid, path);
		return;
	}
	if (*path != '/')
		return;
	deleted = strstr(path, " (deleted)") != NULL;
	shared_write = perms[3] == 's' && perms[1] == 'w';
	if (!strncmp(path, "/SYSV", 5))
		reasons_add(c->reasons, "sysv-shm map of %d %s", pid, path);
	else if (!strncmp(path, "/memfd:", 7) || !strncmp(path, "/dev/zero", 9) || plan_devs_has(&c->cfs, makedev(maj, min)))
		return;
	else if (!strncmp(path, "/dev/", 5) && strncmp(path, "/dev/shm/", 9))
		reasons_add(c->reasons, "device map of %d %s", pid, path);
	else if (deleted)
		reasons_add(c->reasons, "gone-file map of %d %s", pid, path);
	else if (shared_write)
		reasons_add(c->reasons, "local-file map of %d %s", pid, path);
}

static void check_maps(struct checker *c, pid_t pid)
{
	char path[64], line[8192];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		check_map(c, pid, line);
	}
	if (f)
		fclose(f);
}

static void check_namespaces(struct checker *c, pid_t pid)
{
	/* Not "time": CRIU restores into one with offsets, so that the monotonic clock goes on. */
	static const char *const same[] = { "net", "user", "ipc", "uts", "cgroup" };
	const char *other[sizeof(same) / sizeof(same[0]) + 2];
	size_t nr = 0;

	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		if (tree_namespace(pid, same[i]) != tree_namespace(getpid(), same[i]))
			other[nr++] = same[i];
	if (tree_namespace(pid, "pid") != c->conf->pidns || tree_namespace(pid, "pid_for_children") != c->conf->pidns)
		other[nr++] = "pid";
	if (tree_namespace(pid, "mnt") != c->conf->mntns)
		other[nr++] = "mnt";
	/* A child that ended meanwhile is in none at all, and will not be moved. */
	if (nr && !tree_namespace(pid, "pid"))
		return;
	for (size_t i = 0; i < nr; i++)
		reasons_add(c->reasons, "namespace %s of %d", other[i], pid);
}

/* CRIU reads the limits of every task; of another user's that takes this capability. */
static void check_user(struct checker *c, pid_t pid, unsigned uid)
{
	if (uid != geteuid() && !(c->caps & 1ull << CAP_SYS_RESOURCE))
		reasons_add(c->reasons, "capability CAP_SYS_RESOURCE is missing here to move process %d of user %u", pid, uid);
}

static void check_status(struct checker *c, pid_t pid)
{
	char path[64], line[512];
	unsigned uid;
	int tracer;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "TracerPid: %d", &tracer) == 1 && tracer)
			reasons_add(c->reasons, "ptraced %d by %d", pid, tracer);
		if (sscanf(line, "Uid: %u", &uid) == 1)
			check_user(c, pid, uid);
	}
	if (f)
		fclose(f);
}

/* By its flags: a process on its way out has no executable either, and is no obstacle. */
static bool is_kernel_thread(pid_t pid)
{
	enum { PF_KTHREAD = 0x00200000 };
	char path[64], line[512], *rest;
	unsigned flags = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (f && fgets(line, sizeof(line), f) && (rest = strrchr(line, ')')))
		sscanf(rest, ") %*c %*d %*d %*d %*d %*d %u", &flags);
	if (f)
		fclose(f);
	return flags & PF_KTHREAD;
}

/* True when it is worth looking further. */
static bool check_what(struct checker *c, pid_t pid)
{
	static const char *const ours[] = { "cfsd", "cfs-migrated", "cfs-job", "mount.fuse.cfs", "criu" };
	char path[64], link[4096], *base;
	ssize_t n;

	if (pid == 1) {
		reasons_add(c->reasons, "init process 1 belongs to its node");
		return false;
	}
	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	n = readlink(path, link, sizeof(link) - 1);
	if (n <= 0) {
		if (is_kernel_thread(pid))
			reasons_add(c->reasons, "kernel-thread %d", pid);
		return false;
	}
	link[n] = 0;
	base = strrchr(link, '/');
	for (size_t i = 0; base && i < sizeof(ours) / sizeof(ours[0]); i++)
		if (!strcmp(base + 1, ours[i])) {
			reasons_add(c->reasons, "daemon %d is %s, a part of its node", pid, ours[i]);
			return false;
		}
	snprintf(path, sizeof(path), "/proc/%d/root", pid);
	n = readlink(path, link, sizeof(link) - 1);
	link[n > 0 ? n : 0] = 0;
	if (n > 0 && strcmp(link, "/"))
		reasons_add(c->reasons, "chroot of %d %s", pid, link);
	snprintf(path, sizeof(path), "/proc/%d/cwd", pid);
	n = readlink(path, link, sizeof(link) - 1);
	link[n > 0 ? n : 0] = 0;
	if (strstr(link, " (deleted)"))
		reasons_add(c->reasons, "gone-file cwd of %d %s", pid, link);
	return true;
}

static uint64_t own_caps(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	unsigned long long caps = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %llx", &caps) == 1)
			break;
	if (f)
		fclose(f);
	return caps;
}

int plan_check(const struct plan_conf *conf, const struct tree *tree, struct reasons *reasons)
{
	struct checker c = { .conf = conf, .tree = tree, .reasons = reasons, .caps = own_caps() };
	int r = 0;

	plan_devs_read(tree->procs[0].pid, conf->cfs_type, &c.cfs);
	for (size_t i = 0; i < tree->nr && !r; i++) {
		pid_t pid = tree->procs[i].pid;

		if (tree->procs[i].state == 'Z') {
			if (i == 0)
				r = -ESRCH;
			continue;
		}
		if (!check_what(&c, pid))
			continue;
		check_status(&c, pid);
		check_namespaces(&c, pid);
		check_maps(&c, pid);
		r = check_fds(&c, pid);
	}
	if (!r)
		r = plan_shared_check(conf, tree, &c.pipes, reasons);
	if (!r)
		r = plan_sockets_check(tree, &c.sockets, reasons);
	free(c.pipes.fds);
	free(c.sockets.fds);
	return r ? r : reasons->err;
}
