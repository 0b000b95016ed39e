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
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/cleanup.h"

#define CPUS_MAX 2048
#define VFORK_TRIES 20

struct checker {
	const struct plan_conf *conf;
	const struct tree *tree;
	struct reasons *reasons;
	struct plan_shared pipes, sockets; /* pipes: and files with a shared offset */
	struct plan_shared maps;	   /* of files, shared and written */
	struct plan_devs cfs;
	uint64_t caps;
	char cpus[CPUS_MAX]; /* those we may run on */
	int err;
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
		fd.bytes = (uint64_t)st.st_blocks * 512;
	}
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd.fd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "flags: %o", (unsigned *)&fd.flags) != 1)
			sscanf(line, "Pid: %d", &fd.target);
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
		case FD_FILE:
			r = plan_shared_add(&c->pipes, &fd);
			break;
		case FD_SOCKET:
			r = plan_shared_add(&c->sockets, &fd);
			break;
		case FD_PIDFD:
			if (fd.target > 0 && !tree_has(c->tree, fd.target))
				reasons_add(c->reasons, "pidfd fd %d of %d is of process %d, which stays", fd.fd, pid, fd.target);
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

/* What is written through a mapping of one node is not seen in a mapping of another one. */
static void add_map(struct checker *c, pid_t pid, const char *path, uint64_t dev, uint64_t ino, bool shared_write)
{
	struct plan_fd map = { .pid = pid, .dev = dev, .ino = ino };
	int r;

	if (!shared_write)
		return;
	snprintf(map.link, sizeof(map.link), "%s", path);
	r = plan_shared_add(&c->maps, &map);
	c->err = c->err ? c->err : r;
}

/* A mapping: "start-end perms offset maj:min inode   path". */
static void check_map(struct checker *c, pid_t pid, const char *line)
{
	unsigned maj, min;
	unsigned long long ino;
	char perms[8];
	int at = 0;
	const char *path;
	bool shared_write, deleted;

	if (sscanf(line, "%*s %7s %*s %x:%x %llu %n", perms, &maj, &min, &ino, &at) != 4 || !at)
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
	else if (!strncmp(path, "/memfd:", 7) || !strncmp(path, "/dev/zero", 9))
		return;
	else if (plan_devs_has(&c->cfs, makedev(maj, min)))
		add_map(c, pid, path, makedev(maj, min), ino, shared_write);
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

/* The last number of a line of NSsid, NSpgid: as its own namespace counts. */
static long last_number(const char *line)
{
	const char *p = line + strcspn(line, ":");
	long v = -1;

	while (*p) {
		char *end;
		long next = strtol(++p, &end, 10);

		if (end == p)
			break;
		v = next;
		p = end;
	}
	return v;
}

static void check_status(struct checker *c, pid_t pid)
{
	char path[64], line[CPUS_MAX];
	unsigned uid;
	int tracer;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "TracerPid: %d", &tracer) == 1 && tracer && tracer != c->conf->tracer)
			reasons_add(c->reasons, "ptraced %d by %d", pid, tracer);
		else if (sscanf(line, "Uid: %u", &uid) == 1)
			check_user(c, pid, uid);
		else if (!strncmp(line, "NSsid:", 6) && last_number(line) == 0)
			reasons_add(c->reasons, "session of %d: its leader is outside of its pid namespace", pid);
	}
	if (f)
		fclose(f);
}

/* A parent in vfork(2) cannot be stopped before its child calls exec(2); CRIU would wait for it with the others stopped. */
static bool is_in_vfork(pid_t pid, const char *tid)
{
	char path[320], text[64] = "";
	FILE *f;
	long nr;

	snprintf(path, sizeof(path), "/proc/%d/task/%.20s/syscall", pid, tid);
	f = fopen(path, "re");
	if (f && !fgets(text, sizeof(text), f))
		text[0] = 0;
	if (f)
		fclose(f);
	return sscanf(text, "%ld", &nr) == 1 && (nr == SYS_vfork || nr == SYS_clone || nr == SYS_clone3);
}

static void check_thread(struct checker *c, pid_t pid, const char *tid)
{
	char path[320], line[CPUS_MAX];
	char state = 0;
	int tries;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%.20s/status", pid, tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "State: %c", &state) == 1)
			continue;
		/* Not in CRIU's images: it would be lost. A thread on its way out has none. */
		if (!strncmp(line, "Cpus_allowed:", 13) && state != 'Z' && state != 'X' && strcmp(line, c->cpus))
			reasons_add(c->reasons, "cpu-affinity of thread %s of %d", tid, pid);
	}
	if (f)
		fclose(f);
	if (state != 'D' || c->conf->tracer)
		return;
	for (tries = 0; tries < VFORK_TRIES && is_in_vfork(pid, tid); tries++)
		usleep(1000);
	if (tries == VFORK_TRIES)
		reasons_add(c->reasons, "vfork of %d: its child has not called exec", pid);
}

static void check_threads(struct checker *c, pid_t pid)
{
	char path[64];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			check_thread(c, pid, e->d_name);
	if (d)
		closedir(d);
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

static void read_own(struct checker *c)
{
	FILE *f = fopen("/proc/self/status", "re");
	unsigned long long caps = 0;
	char line[CPUS_MAX];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "CapEff: %llx", &caps) == 1)
			c->caps = caps;
		else if (!strncmp(line, "Cpus_allowed:", 13))
			memcpy(c->cpus, line, sizeof(line));
	}
	if (f)
		fclose(f);
}

/* The main thread has ended, others go on. */
static bool is_zombie_leader(pid_t pid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	return stat(path, &st) == 0 && st.st_nlink > 3;
}

static int check_process(struct checker *c, const struct tree_proc *p, bool is_root)
{
	if (p->state == 'Z' && is_zombie_leader(p->pid)) {
		reasons_add(c->reasons, "zombie-leader %d: its main thread has ended, others have not", p->pid);
		return 0;
	}
	if (p->state == 'Z')
		return is_root ? -ESRCH : 0;
	if (!check_what(c, p->pid))
		return 0;
	check_status(c, p->pid);
	check_threads(c, p->pid);
	check_namespaces(c, p->pid);
	check_maps(c, p->pid);
	return check_fds(c, p->pid);
}

int plan_check(const struct plan_conf *conf, const struct tree *tree, struct reasons *reasons)
{
	struct checker c = { .conf = conf, .tree = tree, .reasons = reasons };
	int r = 0;

	read_own(&c);
	plan_devs_read(tree->procs[0].pid, conf->cfs_type, &c.cfs);
	for (size_t i = 0; i < tree->nr && !r; i++)
		r = check_process(&c, &tree->procs[i], i == 0);
	if (!r)
		r = c.err;
	if (!r)
		r = plan_shared_check(conf, tree, &c.pipes, reasons);
	if (!r)
		r = plan_maps_check(conf, tree, &c.maps, reasons);
	if (!r)
		r = plan_sockets_check(tree, &c.sockets, reasons);
	free(c.pipes.fds);
	free(c.maps.fds);
	free(c.sockets.fds);
	return r ? r : reasons->err;
}
