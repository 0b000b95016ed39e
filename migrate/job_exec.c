#include "migrate/job_exec.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "migrate/spec.h"

#define PID_TRIES 200
#define PID_FIRST 300 /* as the kernel: pids below are for the system */

/* NUL-ended strings, one after the other -> a NULL-ended vector of borrowed pointers. */
static char **strings_split(const struct wire_blob *b)
{
	const char *p = b->p;
	size_t n = 0;
	char **v;

	if (b->len && p[b->len - 1] != '\0')
		return NULL;
	for (uint32_t i = 0; i < b->len; i++)
		n += p[i] == '\0';
	v = calloc(n + 1, sizeof(*v));
	for (size_t i = 0; v && i < n; i++) {
		v[i] = (char *)(uintptr_t)p;
		p += strlen(p) + 1;
	}
	return v;
}

static pid_t clone_at(pid_t pid)
{
	pid_t tids[2] = { pid, pid };
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (uint64_t)(uintptr_t)tids,
		.set_tid_size = 2,
	};

	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/* The same free number in both namespaces; should the kernel refuse all, any two numbers do. */
static pid_t clone_same_pid(pid_t first)
{
	for (int i = 0; i < PID_TRIES; i++) {
		pid_t want = first + i, pid;

		if (want < PID_FIRST)
			want += PID_FIRST;
		pid = clone_at(want);
		if (pid < 0 && errno == EINVAL)
			pid = clone_at(PID_FIRST + i); /* beyond pid_max */
		if (pid >= 0 || (errno != EEXIST && errno != EINVAL))
			return pid;
	}
	return fork();
}

static int open_file(const struct wire_stdfd *f)
{
	int flags = (int)f->flags & (O_ACCMODE | O_APPEND | O_NONBLOCK | O_DIRECT | O_SYNC);
	int fd = open(f->path, flags | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return -errno;
	if (!(flags & O_APPEND) && lseek(fd, (off_t)f->off, SEEK_SET) < 0 && errno != ESPIPE) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

static int open_null(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Opens the job's ends of its stdio. */
static int open_stdio(const struct msg_job_start_req *spec, struct relay *relay, int fds[3])
{
	const struct wire_stdfd *want[3] = { &spec->in, &spec->out, &spec->err };

	for (int i = 0; i < 3; i++) {
		int r = -EINVAL;

		if (want[i]->kind == STDFD_RELAY)
			r = i == 0 ? relay_in_open(&relay->in, &fds[0]) :
				     relay_out_open(i == 1 ? &relay->out : &relay->err, &fds[i]);
		else if (want[i]->kind == STDFD_STDOUT && i == 2)
			r = (fds[2] = fcntl(fds[1], F_DUPFD_CLOEXEC, 3)) < 0 ? -errno : 0;
		else if (want[i]->kind == STDFD_FILE)
			r = (fds[i] = open_file(want[i])) < 0 ? fds[i] : 0;
		else if (want[i]->kind == STDFD_NULL)
			r = (fds[i] = open_null()) < 0 ? fds[i] : 0;
		if (r)
			return r;
	}
	return 0;
}

static int become_user(const struct msg_job_start_req *spec)
{
	gid_t groups[WIRE_U32S_MAX];

	for (uint32_t i = 0; i < spec->groups.n; i++)
		groups[i] = spec->groups.v[i];
	if (setgroups(spec->groups.n, groups) || setresgid(spec->cred.gid, spec->cred.gid, spec->cred.gid) ||
	    setresuid(spec->cred.uid, spec->cred.uid, spec->cred.uid))
		return -errno;
	umask(spec->umask & 0777);
	return chdir(spec->cwd) ? -errno : 0;
}

/* In the child, after the clone. Returns only to report why not. */
static int child_run(const struct msg_job_start_req *spec, const int fds[3], char **argv, char **envp)
{
	sigset_t none;
	int r;

	sigemptyset(&none);
	for (int i = 1; i < NSIG; i++)
		if (i != SIGKILL && i != SIGSTOP)
			signal(i, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	setpriority(PRIO_PROCESS, 0, 0); /* ours is cfs-migrated's */
	r = become_user(spec);
	if (r)
		return r;
	for (int i = 0; i < 3; i++)
		if (dup2(fds[i], i) < 0)
			return -errno;
	execvpe(argv[0], argv, envp);
	return -errno;
}

int job_exec(const struct msg_job_start_req *spec, struct relay *relay, pid_t first, pid_t *ret_pid)
{
	_cleanup_free_ char **argv = strings_split(&spec->argv), **envp = strings_split(&spec->env);
	_cleanup_close_ int in = -1, out = -1, err = -1, said = -1, says = -1;
	int fds[3] = { -1, -1, -1 }, pair[2], r, failed = 0;
	pid_t pid;

	if (!argv || !envp || !argv[0])
		return -EINVAL;
	r = open_stdio(spec, relay, fds);
	in = fds[0];
	out = fds[1];
	err = fds[2];
	if (r || pipe2(pair, O_CLOEXEC) < 0)
		return r ? r : -errno;
	said = pair[0];
	says = pair[1];
	pid = clone_same_pid(first);
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		r = child_run(spec, fds, argv, envp);
		if (write(says, &r, sizeof(r)) != sizeof(r))
			_exit(126);
		_exit(127);
	}
	close(TAKE_FD(says));
	if (read(said, &failed, sizeof(failed)) == sizeof(failed))
		return failed;
	*ret_pid = pid;
	return 0;
}
