/*
 * What belongs to a process besides memory and files: name, niceness, scheduling, limits, umask, OOM score, seccomp filter,
 * signals that wait; and its children: one that is stopped, one that has ended, one in a session of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/migrate/mover.h"

static volatile sig_atomic_t alarms;

static void on_timer(int sig)
{
	(void)sig;
	alarms++;
}

static void waits(int status)
{
	while (getppid() != 1)
		pause();
	_exit(status);
}

/* kcmp(2) fails with a number of its own from here on. */
static void filter(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_kcmp, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { 4, code };

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == 0, "seccomp");
}

static long oom_score(void)
{
	FILE *f = fopen("/proc/self/oom_score_adj", "r");
	long v = -1;

	if (f && fscanf(f, "%ld", &v) != 1)
		v = -1;
	if (f)
		fclose(f);
	return v;
}

static void set_oom_score(long v)
{
	FILE *f = fopen("/proc/self/oom_score_adj", "w");

	CHECK(f && fprintf(f, "%ld", v) > 0 && fclose(f) == 0, "oom_score_adj");
}

static timer_t start_timer(void)
{
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 3 };
	struct itimerspec every = { { 0, 20000000 }, { 0, 20000000 } };
	timer_t t;

	signal(SIGRTMIN + 3, on_timer);
	CHECK(timer_create(CLOCK_MONOTONIC, &ev, &t) == 0 && timer_settime(t, 0, &every, NULL) == 0, "timer");
	return t;
}

static void set(void)
{
	struct rlimit core = { 1000, 5000 };
	struct sched_param none = { 0 };
	sigset_t block;

	prctl(PR_SET_NAME, "mover's name");
	CHECK(sched_setscheduler(0, SCHED_BATCH, &none) == 0 && setpriority(PRIO_PROCESS, 0, 7) == 0, "scheduling");
	CHECK(setrlimit(RLIMIT_CORE, &core) == 0, "setrlimit");
	umask(0125);
	set_oom_score(321);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR2);
	sigprocmask(SIG_BLOCK, &block, NULL);
	kill(getpid(), SIGUSR2);
	filter();
}

static void check(void)
{
	struct rlimit core;
	sigset_t pending;
	char name[32];
	mode_t mask;
	int reaper;

	CHECK(prctl(PR_GET_NAME, name) == 0 && !strcmp(name, "mover's name"), "name %s", name);
	CHECK(sched_getscheduler(0) == SCHED_BATCH, "policy %d", sched_getscheduler(0));
	CHECK(getpriority(PRIO_PROCESS, 0) == 7, "nice %d", getpriority(PRIO_PROCESS, 0));
	CHECK(getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == 1000 && core.rlim_max == 5000, "limits");
	mask = umask(0125);
	CHECK(mask == 0125, "umask %o", mask);
	CHECK(oom_score() == 321, "oom score %ld", oom_score());
	CHECK(prctl(PR_GET_CHILD_SUBREAPER, &reaper) == 0 && reaper == 1, "subreaper");
	CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR2), "a signal that waited is lost");
	CHECK(syscall(SYS_kcmp, getpid(), getpid(), 0, 0, 0) == -1 && errno == EXDEV, "seccomp filter: %s", strerror(errno));
}

static char state_now(pid_t pid)
{
	char path[64], line[256], state = 0, *p;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (f && fgets(line, sizeof(line), f) && (p = strrchr(line, ')')))
		state = p[2];
	if (f)
		fclose(f);
	return state;
}

/* It may be on its way into that state just now. */
static void check_state(pid_t pid, char want)
{
	char state = state_now(pid);

	for (int i = 0; state != want && i < 200; i++) {
		usleep(1000);
		state = state_now(pid);
	}
	CHECK(state == want, "child %d is in state %c, not %c", pid, state, want);
}

static pid_t start(int status, int new_session)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (new_session)
			setsid();
		if (status == 5)
			_exit(status);
		waits(status);
	}
	CHECK(pid > 0, "fork");
	return pid;
}

int main(int argc, char **argv)
{
	double end = mover_end(argc, argv), begin = mover_now();
	pid_t stopped, ended, session, sid = getsid(0), pgrp = getpgrp();
	int status;

	start_timer();
	set();
	stopped = start(4, 0);
	ended = start(5, 0);
	session = start(6, 1);
	kill(stopped, SIGSTOP);
	while (mover_now() < end) {
		check();
		usleep(5000);
		check_state(stopped, 'T');
		check_state(ended, 'Z');
		CHECK(getsid(session) == session && getpgid(session) == session && getpgid(stopped) == pgrp, "sessions");
		CHECK(getsid(0) == sid && getpgrp() == pgrp, "own session %d became %d", sid, getsid(0));
	}
	CHECK(alarms > (mover_now() - begin) / 0.02 / 2, "%d timer signals", (int)alarms);
	CHECK(waitpid(ended, &status, 0) == ended && WEXITSTATUS(status) == 5, "ended: %x", status);
	CHECK(waitpid(stopped, &status, WUNTRACED) == stopped && WIFSTOPPED(status), "stopped: %x", status);
	kill(stopped, SIGCONT);
	kill(stopped, SIGTERM);
	kill(session, SIGKILL);
	CHECK(waitpid(stopped, &status, 0) == stopped && WTERMSIG(status) == SIGTERM, "continued: %x", status);
	CHECK(waitpid(session, &status, 0) == session && WTERMSIG(status) == SIGKILL, "session: %x", status);
	return mover_pass();
}
