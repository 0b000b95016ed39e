/*
 * What single operations of a filesystem cost: create, stat, read, write of small files, one thread, in a directory.
 * Prints one JSON object: per operation count, per second, p50 and p99 in microseconds. Used by tests/bench/quick on
 * each filesystem in turn within one run, so that only ratios matter.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct bench {
	const char *dir;
	int count;
	char buf[4096];
	uint64_t *took_ns;
};

typedef int (*bench_op)(struct bench *b, const char *path);

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int op_create(struct bench *b, const char *path)
{
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);

	(void)b;
	return fd < 0 ? -1 : close(fd);
}

static int op_stat(struct bench *b, const char *path)
{
	struct stat st;

	(void)b;
	return stat(path, &st);
}

static int op_write(struct bench *b, const char *path)
{
	int fd = open(path, O_WRONLY);
	ssize_t n = fd < 0 ? -1 : write(fd, b->buf, sizeof(b->buf));

	return fd < 0 || close(fd) || n != (ssize_t)sizeof(b->buf) ? -1 : 0;
}

static int op_read(struct bench *b, const char *path)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, b->buf, sizeof(b->buf));

	return fd < 0 || close(fd) || n != (ssize_t)sizeof(b->buf) ? -1 : 0;
}

static int op_rename(struct bench *b, const char *path)
{
	char to[4200];

	(void)b;
	snprintf(to, sizeof(to), "%s.r", path);
	return rename(path, to);
}

static int op_unlink(struct bench *b, const char *path)
{
	char from[4200];

	(void)b;
	snprintf(from, sizeof(from), "%s.r", path);
	return unlink(from);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int run(struct bench *b, const char *name, bench_op op, const char *sep)
{
	uint64_t start = now_ns(), total;

	for (int i = 0; i < b->count; i++) {
		char path[4096];
		uint64_t t = now_ns();

		snprintf(path, sizeof(path), "%s/f%06d", b->dir, i);
		if (op(b, path)) {
			fprintf(stderr, "fsbench: %s %s: %s\n", name, path, strerror(errno));
			return -1;
		}
		b->took_ns[i] = now_ns() - t;
	}
	total = now_ns() - start;
	qsort(b->took_ns, (size_t)b->count, sizeof(*b->took_ns), by_value);
	printf("%s\"%s\": {\"per_second\": %.0f, \"p50_us\": %.1f, \"p99_us\": %.1f}", sep, name,
	       b->count * 1e9 / (double)total, (double)b->took_ns[b->count / 2] / 1e3,
	       (double)b->took_ns[b->count * 99 / 100] / 1e3);
	return 0;
}

int main(int argc, char **argv)
{
	struct bench b = { .dir = argc > 1 ? argv[1] : ".", .count = argc > 2 ? atoi(argv[2]) : 1000 };
	int r;

	b.took_ns = b.count > 0 ? calloc((size_t)b.count, sizeof(*b.took_ns)) : NULL;
	if (!b.took_ns) {
		fprintf(stderr, "usage: fsbench DIR [COUNT]\n");
		return 2;
	}
	memset(b.buf, 'x', sizeof(b.buf));
	printf("{");
	r = run(&b, "create", op_create, "") || run(&b, "write_4k", op_write, ", ") || run(&b, "stat", op_stat, ", ") ||
	    run(&b, "read_4k", op_read, ", ") || run(&b, "rename", op_rename, ", ") || run(&b, "unlink", op_unlink, ", ");
	printf("}\n");
	free(b.took_ns);
	return r ? 1 : 0;
}
