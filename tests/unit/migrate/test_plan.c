/* Why a process cannot move: descriptors by what /proc says of them, and whole processes of our own. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "migrate/plan.h"

static struct plan_fd make(const char *link, mode_t mode, int flags)
{
	struct plan_fd fd = { .pid = 10, .fd = 5, .mode = mode, .flags = flags, .nlink = 1 };

	snprintf(fd.link, sizeof(fd.link), "%s", link);
	return fd;
}

static void expect(struct plan_fd fd, bool on_cfs, enum fd_kind kind, const char *reason)
{
	struct reasons r = { 0 };

	cr_expect_eq(plan_fd_check(&fd, on_cfs, &r), kind, "%s", fd.link);
	if (reason)
		cr_expect(r.text && !strncmp(r.text, reason, strlen(reason)), "%s: %s", fd.link, r.text ? r.text : "nothing");
	else
		cr_expect_null(r.text, "%s: %s", fd.link, r.text);
	free(r.text);
}

Test(plan, anonymous_inodes)
{
	expect(make("anon_inode:[eventpoll]", 0600, O_RDWR), false, FD_FINE, NULL);
	expect(make("anon_inode:[eventfd]", 0600, O_RDWR), false, FD_FINE, NULL);
	expect(make("anon_inode:inotify", 0600, O_RDONLY), false, FD_FINE, NULL);
	expect(make("anon_inode:[io_uring]", 0600, O_RDWR), false, FD_REFUSED, "io_uring fd 5");
	expect(make("anon_inode:[userfaultfd]", 0600, O_RDWR), false, FD_REFUSED, "userfaultfd fd 5");
	expect(make("anon_inode:kvm-vm", 0600, O_RDWR), false, FD_REFUSED, "kvm-vm fd 5");
	expect(make("anon_inode:[perf_event]", 0600, O_RDWR), false, FD_REFUSED, "perf_event fd 5");
	expect(make("anon_inode:[eventfdx]", 0600, O_RDWR), false, FD_REFUSED, "eventfdx fd 5");
}

Test(plan, devices)
{
	static const struct {
		unsigned maj, min;
		mode_t type;
		const char *reason;
	} d[] = {
		{ 1, 3, S_IFCHR, NULL },	{ 1, 5, S_IFCHR, NULL },	  { 1, 7, S_IFCHR, NULL },
		{ 1, 8, S_IFCHR, NULL },	{ 1, 9, S_IFCHR, NULL },	  { 1, 1, S_IFCHR, "device fd 5" },
		{ 10, 229, S_IFCHR, "device" }, { 136, 3, S_IFCHR, "tty fd 5" }, { 5, 0, S_IFCHR, "tty" },
		{ 4, 1, S_IFCHR, "tty" },	{ 1, 3, S_IFBLK, "device" },	  { 8, 0, S_IFBLK, "device" },
	};

	for (size_t i = 0; i < sizeof(d) / sizeof(d[0]); i++) {
		struct plan_fd fd = make("/dev/x", d[i].type | 0600, O_RDWR);

		fd.rdev = makedev(d[i].maj, d[i].min);
		expect(fd, false, d[i].reason ? FD_REFUSED : FD_FINE, d[i].reason);
	}
}

Test(plan, files)
{
	struct plan_fd gone = make("/tmp/x (deleted)", S_IFREG | 0600, O_RDONLY);

	expect(make("/usr/lib/x", S_IFREG | 0644, O_RDONLY), false, FD_FILE, NULL);
	expect(make("/usr/lib/x", S_IFREG | 0644, O_PATH), false, FD_FINE, NULL);
	expect(make("/tmp/x", S_IFREG | 0644, O_WRONLY), false, FD_REFUSED, "local-file fd 5 of 10 /tmp/x");
	expect(make("/tmp/x", S_IFREG | 0644, O_RDWR), false, FD_REFUSED, "local-file");
	expect(make("/cluster/x", S_IFREG | 0644, O_RDWR), true, FD_FILE, NULL);
	expect(make("/cluster/x", S_IFREG | 0644, O_WRONLY | O_APPEND), true, FD_FINE, NULL);
	expect(make("/cluster/x", S_IFREG | 0644, O_RDONLY), true, FD_FILE, NULL);
	expect(make("/memfd:x (deleted)", S_IFREG | 0777, O_RDWR), false, FD_FINE, NULL);
	gone.nlink = 0;
	expect(gone, false, FD_REFUSED, "gone-file");
	expect(gone, true, FD_FILE, NULL);
	gone.bytes = (64u << 20) + 1;
	expect(gone, true, FD_REFUSED, "gone-file fd 5");
	expect(make("/tmp", S_IFDIR | 0755, O_RDONLY), false, FD_FINE, NULL);
	expect(make("/tmp/f", S_IFIFO | 0644, O_RDWR), false, FD_REFUSED, "fifo");
	expect(make("pipe:[77]", S_IFIFO | 0600, O_RDONLY), false, FD_PIPE, NULL);
	expect(make("socket:[77]", S_IFSOCK | 0777, O_RDWR), false, FD_SOCKET, NULL);
	expect(make("what", 0, O_RDWR), false, FD_REFUSED, "unknown");
}

Test(plan, a_reason_is_one_line)
{
	struct reasons r = { 0 };

	reasons_add(&r, "local-file fd %d %s", 3, "/tmp/two\nlines");
	reasons_add(&r, "tty fd 4");
	cr_expect_str_eq(r.text, "local-file fd 3 /tmp/two?lines\ntty fd 4\n");
	free(r.text);
}

/* ---- real processes: children of the test, as the plan sees them ---- */

struct subject {
	pid_t pid;
	struct tree tree;
	struct reasons reasons;
};

enum what { NOTHING, PIPE_OUT, PIPE_WITHIN, UNIX_OUT, UNIX_WITHIN, UNIX_LISTEN, TCP, LOCAL_FILE, DELETED_CWD, EVENTFD, PIDFD_OUT,
	    PIDFD_OWN, UNIX_NAMED, ONE_CPU, FILE_SHARED, FILE_OWN };

static int local_file(void)
{
	int fd = open("/tmp/cfs-plan-file", O_RDWR | O_CREAT, 0600);

	unlink("/tmp/cfs-plan-file");
	return fd;
}

static void hold(enum what what, const int pipe_out[2], const int unix_out[2])
{
	char dir[] = "/tmp/cfs-plan.XXXXXX";
	struct sockaddr sa = { .sa_family = AF_UNIX };
	cpu_set_t one;
	int p[2];

	if (what != PIPE_OUT) {
		close(pipe_out[0]);
		close(pipe_out[1]);
	}
	close(unix_out[1]);
	if (what != UNIX_OUT)
		close(unix_out[0]);
	switch (what) {
	case PIPE_WITHIN: cr_assert_eq(pipe(p), 0); break;
	case UNIX_WITHIN: cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, p), 0); break;
	case UNIX_LISTEN:
		/* No name given: the kernel finds one. */
		p[0] = socket(AF_UNIX, SOCK_STREAM, 0);
		cr_assert(bind(p[0], &sa, sizeof(sa.sa_family)) == 0 && listen(p[0], 1) == 0);
		break;
	case TCP: listen(socket(AF_INET, SOCK_STREAM, 0), 1); break;
	case LOCAL_FILE: local_file(); break;
	case DELETED_CWD:
		if (mkdtemp(dir) && !chdir(dir))
			rmdir(dir);
		break;
	case EVENTFD: eventfd(0, 0); break;
	case PIDFD_OUT: syscall(SYS_pidfd_open, getppid(), 0); break;
	case PIDFD_OWN: syscall(SYS_pidfd_open, getpid(), 0); break;
	case UNIX_NAMED: bind(socket(AF_UNIX, SOCK_DGRAM, 0), &sa, sizeof(sa.sa_family)); break;
	case ONE_CPU:
		CPU_ZERO(&one);
		CPU_SET((size_t)sched_getcpu(), &one);
		sched_setaffinity(0, sizeof(one), &one);
		break;
	case FILE_OWN: open("/etc/passwd", O_RDONLY); break;
	case FILE_SHARED: /* the parent has it, too */
	case NOTHING:
	case PIPE_OUT:
	case UNIX_OUT: break;
	}
}

/* Closes everything that the test's runner left open: only what is meant counts. */
static void child(enum what what, const int pipe_out[2], const int unix_out[2], int ready, int file)
{
	int keep[] = { pipe_out[0], pipe_out[1], unix_out[0], unix_out[1], ready, what == FILE_SHARED ? file : ready };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int fd = 0; fd < 256; fd++) {
		bool kept = false;

		for (size_t i = 0; i < sizeof(keep) / sizeof(keep[0]); i++)
			kept = kept || fd == keep[i];
		if (!kept)
			close(fd);
	}
	hold(what, pipe_out, unix_out);
	close(ready);
	for (;;)
		pause();
}

static void plan_of(enum what what, struct subject *s)
{
	struct plan_conf conf = { .cfs_type = "none", .pidns = tree_namespace(getpid(), "pid"), .mntns = tree_namespace(getpid(), "mnt") };
	int pipe_out[2], unix_out[2], ready[2], file = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	char c;

	memset(s, 0, sizeof(*s));
	cr_assert(pipe(pipe_out) == 0 && pipe(ready) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, unix_out) == 0);
	s->pid = fork();
	cr_assert_geq(s->pid, 0);
	if (s->pid == 0)
		child(what, pipe_out, unix_out, ready[1], file);
	close(ready[1]);
	cr_expect_eq(read(ready[0], &c, 1), 0);
	cr_assert_eq(tree_read(&s->tree, s->pid), 0);
	cr_assert_eq(plan_check(&conf, &s->tree, &s->reasons), 0);
	close(ready[0]);
	close(file);
	for (int i = 0; i < 2; i++) {
		close(pipe_out[i]);
		close(unix_out[i]);
	}
}

static void subject_end(struct subject *s)
{
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	tree_release(&s->tree);
	free(s->reasons.text);
}

/* The test's runner maps shared memory of its own into every child: that is not what is asked about. */
static void drop_maps(char *text)
{
	char *out = text;

	for (char *line = text, *next; line && *line; line = next) {
		next = strchr(line, '\n') + 1;
		*(next - 1) = 0;
		if (!strstr(line, " map of ")) {
			size_t len = strlen(line);

			memmove(out, line, len);
			out += len;
			*out++ = '\n';
		}
	}
	*out = 0;
}

Test(plan, processes, .timeout = 30)
{
	static const struct {
		enum what what;
		const char *reason;
	} cases[] = {
		{ NOTHING, NULL },	 { PIPE_OUT, "pipe fd" },	  { PIPE_WITHIN, NULL },	   { UNIX_OUT, "ext-unix-socket fd" },
		{ UNIX_WITHIN, NULL },	 { UNIX_LISTEN, "ext-unix-socket" }, { TCP, "socket fd" },	   { LOCAL_FILE, "gone-file fd" },
		{ DELETED_CWD, "gone-file cwd" }, { EVENTFD, NULL },		  { PIDFD_OUT, "pidfd fd" },	   { PIDFD_OWN, NULL },
		{ UNIX_NAMED, "has a name" },	 { FILE_SHARED, "shared-offset fd" }, { FILE_OWN, NULL },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct subject s;
		const char *text;

		plan_of(cases[i].what, &s);
		if (s.reasons.text)
			drop_maps(s.reasons.text);
		text = s.reasons.text ? s.reasons.text : "";
		if (cases[i].reason)
			cr_expect(strstr(text, cases[i].reason), "case %d: %s", (int)cases[i].what, text);
		else
			cr_expect_str_eq(text, "", "case %d", (int)cases[i].what);
		subject_end(&s);
	}
}

Test(plan, cpu_affinity_is_named, .timeout = 30)
{
	struct subject s;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		cr_skip_test("needs two CPUs");
	plan_of(ONE_CPU, &s);
	cr_expect(s.reasons.text && strstr(s.reasons.text, "cpu-affinity of thread"), "%s", s.reasons.text);
	subject_end(&s);
}

Test(plan, a_child_of_vfork_that_lingers_is_named, .timeout = 30)
{
	struct plan_conf conf = { .cfs_type = "none", .pidns = tree_namespace(getpid(), "pid"), .mntns = tree_namespace(getpid(), "mnt") };
	struct subject s = { .pid = fork() };

	if (s.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (vfork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				syscall(SYS_pause);
		}
		_exit(0);
	}
	usleep(100000);
	cr_assert_eq(tree_read(&s.tree, s.pid), 0);
	cr_assert_eq(s.tree.nr, 2);
	cr_assert_eq(plan_check(&conf, &s.tree, &s.reasons), 0);
	cr_expect(s.reasons.text && strstr(s.reasons.text, "vfork of"), "%s", s.reasons.text ? s.reasons.text : "nothing");
	subject_end(&s);
}

Test(plan, foreign_namespaces_are_named, .timeout = 30)
{
	struct plan_conf conf = { .cfs_type = "none", .pidns = 1, .mntns = 2 };
	struct reasons r = { 0 };
	struct tree t;

	tree_init(&t);
	cr_assert_eq(tree_read(&t, getpid()), 0);
	cr_assert_eq(plan_check(&conf, &t, &r), 0);
	cr_assert_not_null(r.text);
	cr_expect(strstr(r.text, "namespace pid of"), "%s", r.text);
	cr_expect(strstr(r.text, "namespace mnt of"), "%s", r.text);
	free(r.text);
	tree_release(&t);
}
