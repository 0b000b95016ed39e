#include "migrate/timers.h"

#include <dirent.h>
#include <inttypes.h>
#include <linux/timerfd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"

/* True when it stands, but should not. Who disarms a timer (timerfd_settime(2)) clears its ticks, too. */
static bool read_timer(pid_t pid, const char *fd, struct itimerspec *ret_its, uint64_t *ret_ticks)
{
	struct itimerspec its = { 0 };
	uint64_t ticks = 0;
	char path[320], line[128];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%.20s", pid, fd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "ticks: %" SCNu64, &ticks) != 1 &&
		    sscanf(line, " it_value: (%ld, %ld)", &its.it_value.tv_sec, &its.it_value.tv_nsec) != 2)
			sscanf(line, " it_interval: (%ld, %ld)", &its.it_interval.tv_sec, &its.it_interval.tv_nsec);
	if (f)
		fclose(f);
	*ret_its = its;
	*ret_ticks = ticks;
	return ticks && !its.it_value.tv_sec && !its.it_value.tv_nsec && (its.it_interval.tv_sec || its.it_interval.tv_nsec);
}

static void rearm(pid_t pid, int fd, struct itimerspec its, uint64_t ticks)
{
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	_cleanup_close_ int timer = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);

	its.it_value = its.it_interval;
	if (timer >= 0 && syscall(SYS_timerfd_settime, timer, 0, &its, NULL) == 0)
		ioctl(timer, TFD_IOC_SET_TICKS, &ticks);
}

void timers_rearm(pid_t pid)
{
	static const char timerfd[] = "anon_inode:[timerfd]";
	char path[64], link[64];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof(link));
		struct itimerspec its;
		uint64_t ticks;

		if (n == sizeof(timerfd) - 1 && !memcmp(link, timerfd, (size_t)n) && read_timer(pid, e->d_name, &its, &ticks))
			rearm(pid, atoi(e->d_name), its, ticks);
	}
	if (d)
		closedir(d);
}
