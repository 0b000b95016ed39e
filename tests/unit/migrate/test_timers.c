/* A periodic timerfd that stands with ticks unread is started again; one that was disarmed, and one that runs, are left alone. */
#include <criterion/criterion.h>
#include <linux/timerfd.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "migrate/timers.h"

static int timer(long value_ns, long interval_ns, uint64_t ticks)
{
	struct itimerspec its = { { 0, interval_ns }, { 0, value_ns } };
	int fd = (int)syscall(SYS_timerfd_create, CLOCK_MONOTONIC, 0);

	cr_assert(fd >= 0 && syscall(SYS_timerfd_settime, fd, 0, &its, NULL) == 0);
	if (ticks && ioctl(fd, TFD_IOC_SET_TICKS, &ticks))
		cr_skip_test("this kernel has no TFD_IOC_SET_TICKS");
	return fd;
}

static long remaining(int fd)
{
	struct itimerspec its;

	cr_assert_eq(syscall(SYS_timerfd_gettime, fd, &its), 0);
	return its.it_value.tv_sec * 1000000000 + its.it_value.tv_nsec;
}

Test(timers, one_that_stands_with_ticks_runs_again)
{
	int stands = timer(0, 900000000, 3), disarmed = timer(0, 900000000, 0), once = timer(0, 0, 2);
	uint64_t ticks = 0;

	timers_rearm(getpid());
	cr_expect(remaining(stands) > 0 && remaining(stands) <= 900000000);
	cr_expect_eq(read(stands, &ticks, sizeof(ticks)), sizeof(ticks));
	cr_expect_eq(ticks, 3);
	cr_expect_eq(remaining(disarmed), 0);
	cr_expect_eq(remaining(once), 0);
	close(stands);
	close(disarmed);
	close(once);
}

Test(timers, one_that_runs_is_left_alone)
{
	int fd = timer(400000000, 900000000, 0);

	timers_rearm(getpid());
	cr_expect(remaining(fd) <= 400000000);
	close(fd);
}
