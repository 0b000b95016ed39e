/*
 * Programs that are moved while they run, and check themselves: PROGRAM SECONDS. Each prints a line "PASS" or "FAIL:
 * why" at the end and exits 0 or 1. What they do is only legal to break by a bad move.
 */
#ifndef CFS_TESTS_MOVER_H
#define CFS_TESTS_MOVER_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define CHECK(cond, ...)                               \
	do {                                           \
		if (!(cond)) {                         \
			printf("FAIL: " __VA_ARGS__);  \
			printf(" (%s)\n", #cond);      \
			fflush(stdout);                \
			_exit(1);                      \
		}                                      \
	} while (0)

static inline double mover_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline double mover_end(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: %s SECONDS\n", argv[0]);
		exit(2);
	}
	return mover_now() + atof(argv[1]);
}

static inline int mover_pass(void)
{
	printf("PASS\n");
	return 0;
}

#endif
