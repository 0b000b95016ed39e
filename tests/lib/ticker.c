/*
 * A process of a given size that notices when it was frozen: it touches its memory, then ticks every millisecond and
 * keeps the longest gap between two ticks in a file (microseconds, rewritten when it grows). SIGUSR1 forgets the gap,
 * SIGTERM checks the memory and ends with 0 (or 1 when a page is not what it was).
 *
 *   ticker MEGABYTES FILE
 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t forget, end;

static void on_signal(int sig)
{
	if (sig == SIGUSR1)
		forget = 1;
	else
		end = 1;
}

static uint64_t now_us(void)
{
	struct timespec ts;

	/* Not the monotonic clock: a moved process gets that one with an offset, so that it does not see the move. */
	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static int save(const char *path, uint64_t gap)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%12" PRIu64 "\n", gap), fd = open(path, O_WRONLY | O_CREAT, 0644);
	int bad = fd < 0 || pwrite(fd, text, (size_t)len, 0) != len;

	return fd >= 0 && close(fd) ? -1 : -bad;
}

int main(int argc, char **argv)
{
	size_t pages = argc == 3 ? strtoul(argv[1], NULL, 10) << 8 : 0;
	uint64_t *mem = pages ? malloc(pages << 12) : NULL, last, longest = 0;

	if (!mem) {
		fprintf(stderr, "usage: ticker MEGABYTES FILE\n");
		return 2;
	}
	signal(SIGUSR1, on_signal);
	signal(SIGTERM, on_signal);
	for (size_t i = 0; i < pages << 9; i++)
		mem[i] = i * 0x9e3779b97f4a7c15u;
	save(argv[2], 0);
	for (last = now_us(); !end;) {
		uint64_t now;

		usleep(1000);
		now = now_us();
		if (forget || now - last > longest) {
			longest = forget ? 0 : now - last;
			forget = 0;
			save(argv[2], longest);
			now = now_us();
		}
		last = now;
	}
	for (size_t i = 0; i < pages << 9; i++)
		if (mem[i] != i * 0x9e3779b97f4a7c15u)
			return 1;
	return 0;
}
