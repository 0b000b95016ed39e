/*
 * Appends numbered records to a file, one write and one fsync each, for some seconds; prints how many were
 * acknowledged, how many calls failed, and the longest time one record took. With --verify it reads the file back:
 * every record up to the count must be there exactly once and in order.
 *
 *   recorder FILE SECONDS [PAUSE_US]      recorder --verify FILE COUNT
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static int record(const char *path, uint64_t seconds, unsigned pause_us)
{
	uint64_t start = now_us(), longest = 0, n = 0, errors = 0;
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);

	if (fd < 0) {
		perror(path);
		return 1;
	}
	while (now_us() - start < seconds * 1000000u) {
		uint64_t t = now_us();
		char line[32];
		int len = snprintf(line, sizeof(line), "record %012" PRIu64 "\n", n);

		if (write(fd, line, (size_t)len) != len || fsync(fd)) {
			fprintf(stderr, "recorder: record %" PRIu64 ": %s\n", n, strerror(errno));
			errors++;
		} else {
			n++;
		}
		t = now_us() - t;
		longest = t > longest ? t : longest;
		usleep(pause_us);
	}
	printf("{\"records\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"longest_stall_ms\": %.1f}\n", n, errors,
	       (double)longest / 1e3);
	return close(fd) || errors ? 1 : 0;
}

static int verify(const char *path, uint64_t count)
{
	FILE *f = fopen(path, "r");
	char line[64], want[32];
	uint64_t n = 0;

	if (!f) {
		perror(path);
		return 1;
	}
	for (; fgets(line, sizeof(line), f); n++) {
		snprintf(want, sizeof(want), "record %012" PRIu64 "\n", n);
		if (strcmp(line, want)) {
			fprintf(stderr, "recorder: %s: line %" PRIu64 " is %s", path, n, line);
			fclose(f);
			return 1;
		}
	}
	fclose(f);
	if (n != count)
		fprintf(stderr, "recorder: %s: %" PRIu64 " records, %" PRIu64 " were acknowledged\n", path, n, count);
	return n != count;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "--verify"))
		return verify(argv[2], strtoull(argv[3], NULL, 10));
	if (argc == 3 || argc == 4)
		return record(argv[1], strtoull(argv[2], NULL, 10), argc == 4 ? (unsigned)atoi(argv[3]) : 1000);
	fprintf(stderr, "usage: recorder FILE SECONDS [PAUSE_US] | recorder --verify FILE COUNT\n");
	return 2;
}
