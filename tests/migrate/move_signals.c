/* Signals and timers: an interval timer keeps ticking, queued real-time signals arrive once and in order, blocked ones wait. */
#include <signal.h>
#include <string.h>
#include <sys/time.h>

#include "tests/migrate/mover.h"

static volatile sig_atomic_t ticks, usr2;
static volatile int next_value, disorder;

static void on_alarm(int sig)
{
	(void)sig;
	ticks++;
}

static void on_rt(int sig, siginfo_t *si, void *uc)
{
	(void)sig;
	(void)uc;
	if (si->si_value.sival_int != next_value)
		disorder++;
	next_value = si->si_value.sival_int + 1;
}

static void on_usr2(int sig)
{
	(void)sig;
	usr2++;
}

static void install(int sig, void (*handler)(int), void (*action)(int, siginfo_t *, void *))
{
	struct sigaction sa;

	memset(&sa, 0, sizeof(sa));
	sa.sa_flags = SA_RESTART | (action ? SA_SIGINFO : 0);
	if (action)
		sa.sa_sigaction = action;
	else
		sa.sa_handler = handler;
	CHECK(sigaction(sig, &sa, NULL) == 0, "sigaction");
}

/* Queued while blocked, so that a move may find them pending. */
static void burst(int *value)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (int i = 0; i < 5; i++, (*value)++)
		CHECK(sigqueue(getpid(), SIGRTMIN, (union sigval){ .sival_int = *value }) == 0, "sigqueue");
	raise(SIGUSR2);
	usleep(5000);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

int main(int argc, char **argv)
{
	double end = mover_end(argc, argv), start = mover_now();
	struct itimerval every = { { 0, 20000 }, { 0, 20000 } };
	int value = 0, bursts = 0, want;

	install(SIGALRM, on_alarm, NULL);
	install(SIGUSR2, on_usr2, NULL);
	install(SIGRTMIN, NULL, on_rt);
	CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0, "setitimer");
	for (; mover_now() < end; bursts++)
		burst(&value);
	CHECK(disorder == 0 && next_value == value, "%d of %d signals, %d out of order", next_value, value, disorder);
	CHECK(usr2 == bursts, "%d of %d SIGUSR2", (int)usr2, bursts);
	/* Half is enough: the time it was frozen counts against it. */
	want = (int)((mover_now() - start) / 0.02 / 2);
	CHECK(ticks > want, "%d ticks, expected more than %d", (int)ticks, want);
	return mover_pass();
}
