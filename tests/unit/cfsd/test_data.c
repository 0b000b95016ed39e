/* Both data stores behave the same. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cfsd/data.h"
#include "tests/lib/tmpdir.h"

#define MIB ((uint64_t)1 << 20)

static void cr_bytes(struct data *d, uint64_t ino, uint64_t off, const void *want, size_t len)
{
	char buf[4096];
	ssize_t n = d->ops->read(d, ino, buf, sizeof(buf), off);

	cr_assert_eq(n, (ssize_t)len);
	cr_assert(!memcmp(buf, want, len));
}

static void cr_starts(struct data *d, uint64_t ino, const void *want, size_t len)
{
	char buf[4096];

	cr_assert_eq(d->ops->read(d, ino, buf, len, 0), (ssize_t)len);
	cr_assert(!memcmp(buf, want, len));
}

static void basics(struct data *d)
{
	char zeros[4096] = "";

	cr_bytes(d, 7, 0, "", 0);
	cr_assert_eq(d->ops->blocks(d, 7), 0);
	cr_assert_eq(d->ops->truncate(d, 7, 100), 0);
	cr_assert_eq(d->ops->punch(d, 7, 0, 100), 0);
	cr_assert_eq(d->ops->remove(d, 7), 0);
	cr_assert_eq(d->ops->sync(d, 7), 0);
	cr_bytes(d, 7, 0, "", 0);
	cr_assert_eq(d->ops->write(d, 7, "hello", 5, 4094), 0);
	cr_bytes(d, 7, 4094, "hello", 5);
	cr_bytes(d, 7, 4097, "lo", 2);
	cr_starts(d, 7, zeros, 4094);
	cr_assert_geq(d->ops->blocks(d, 7), 8);
	cr_assert_eq(d->ops->truncate(d, 7, 4096), 0);
	cr_bytes(d, 7, 4094, "he", 2);
	cr_assert_eq(d->ops->truncate(d, 7, 4100), 0);
	cr_bytes(d, 7, 4094, "he\0\0\0\0", 6);
	cr_assert_eq(d->ops->write(d, 7, "abcdef", 6, 0), 0);
	cr_assert_eq(d->ops->punch(d, 7, 2, 2), 0);
	cr_starts(d, 7, "ab\0\0ef\0", 7);
	cr_assert_eq(d->ops->remove(d, 7), 0);
	cr_bytes(d, 7, 0, "", 0);
	cr_assert_eq(d->ops->blocks(d, 7), 0);
}

/* A sparse file: a byte at the far end costs a block, and reads as zeros before it. */
static void sparse(struct data *d)
{
	char zeros[4096] = "";

	cr_assert_eq(d->ops->write(d, 9, "x", 1, 10 * MIB), 0);
	cr_assert_leq(d->ops->blocks(d, 9), 64);
	cr_bytes(d, 9, 5 * MIB, zeros, 4096);
	cr_bytes(d, 9, 10 * MIB, "x", 1);
	cr_assert_eq(d->ops->punch(d, 9, 0, 10 * MIB + 4096), 0);
	cr_bytes(d, 9, 10 * MIB, "\0", 1);
	cr_assert_eq(d->ops->remove(d, 9), 0);
}

/* Against a flat array. */
static void random_changes(struct data *d, unsigned int seed)
{
	enum { SIZE = 40000, OPS = 3000 };
	static unsigned char want[SIZE], got[SIZE], bytes[SIZE];
	size_t size = 0;

	memset(want, 0, sizeof(want));
	for (int i = 0; i < OPS; i++) {
		size_t off = (size_t)rand_r(&seed) % SIZE, len = (size_t)rand_r(&seed) % (SIZE - off) / 4 + 1;

		switch (rand_r(&seed) % 4) {
		case 0:
		case 1:
			memset(bytes, rand_r(&seed), len);
			cr_assert_eq(d->ops->write(d, 11, bytes, len, off), 0);
			memcpy(want + off, bytes, len);
			size = off + len > size ? off + len : size;
			break;
		case 2:
			cr_assert_eq(d->ops->punch(d, 11, off, len), 0);
			memset(want + off, 0, len);
			break;
		default:
			if (!size)
				break;
			cr_assert_eq(d->ops->truncate(d, 11, off), 0);
			memset(want + off, 0, SIZE - off);
			size = off;
		}
		cr_assert_eq(d->ops->read(d, 11, got, SIZE, 0), (ssize_t)size, "step %d", i);
		cr_assert(!memcmp(got, want, size), "step %d", i);
	}
}

Test(data_mem, basics)
{
	struct data *d;

	cr_assert_eq(data_mem_open(64 * MIB, &d), 0);
	basics(d);
	sparse(d);
	random_changes(d, 1);
	d->ops->close(d);
}

Test(data_mem, capacity)
{
	uint64_t total, left;
	struct data *d;
	char buf[8192] = "";

	cr_assert_eq(data_mem_open(3 * 4096, &d), 0);
	cr_assert_eq(d->ops->write(d, 1, buf, 8192, 0), 0);
	cr_assert_eq(d->ops->space(d, &total, &left), 0);
	cr_assert_eq(total, 3 * 4096);
	cr_assert_eq(left, 4096);
	cr_assert_eq(d->ops->write(d, 2, buf, 8192, 0), -ENOSPC);
	cr_assert_eq(d->ops->write(d, 1, buf, 8192, 0), 0, "overwriting needs none");
	cr_assert_eq(d->ops->remove(d, 2), 0);
	cr_assert_eq(d->ops->truncate(d, 1, 4096), 0);
	cr_assert_eq(d->ops->write(d, 3, buf, 8192, 0), 0);
	cr_assert_eq(d->ops->space(d, &total, &left), 0);
	cr_assert_eq(left, 0);
	cr_assert_eq(d->ops->write(d, 0, buf, 8192, 0), 0, "the redo slots are not counted");
	d->ops->close(d);
}

Test(data_mem, power_loss)
{
	uint64_t total, left;
	struct data *d;

	cr_assert_eq(data_mem_open(MIB, &d), 0);
	cr_assert_eq(d->ops->write(d, 1, "one", 3, 0), 0);
	cr_assert_eq(d->ops->write(d, 2, "two", 3, 0), 0);
	cr_assert_eq(d->ops->sync(d, 1), 0);
	cr_assert_eq(d->ops->write(d, 1, "ONE and more", 12, 0), 0);
	cr_assert_eq(d->ops->write(d, 1, "far", 3, 9000), 0);
	data_mem_forget(d, NULL, NULL);
	cr_bytes(d, 1, 0, "one", 3);
	cr_bytes(d, 2, 0, "", 0);
	cr_assert_eq(d->ops->remove(d, 1), 0);
	cr_bytes(d, 1, 0, "", 0);
	data_mem_forget(d, NULL, NULL);
	cr_bytes(d, 1, 0, "one", 3);
	cr_assert_eq(d->ops->truncate(d, 1, 1), 0);
	cr_assert_eq(d->ops->sync(d, 0), 0);
	data_mem_forget(d, NULL, NULL);
	cr_bytes(d, 1, 0, "o", 1);
	cr_assert_eq(d->ops->blocks(d, 1), 8);
	cr_assert_eq(d->ops->space(d, &total, &left), 0);
	cr_assert_eq(left, MIB - 4096);
	cr_assert_eq(d->ops->remove(d, 1), 0);
	cr_assert_eq(d->ops->sync(d, 1), 0);
	data_mem_forget(d, NULL, NULL);
	cr_bytes(d, 1, 0, "", 0);
	d->ops->close(d);
}

Test(data_file, basics)
{
	struct tmpdir dir;
	struct data *d;

	tmpdir_make(&dir);
	cr_assert_eq(data_file_open(dir.path, &d), 0);
	basics(d);
	sparse(d);
	random_changes(d, 2);
	d->ops->close(d);
	tmpdir_remove(&dir);
}

Test(data_file, files_are_where_the_layout_says)
{
	struct tmpdir dir;
	struct stat st;
	struct data *d;
	char path[128];

	tmpdir_make(&dir);
	cr_assert_eq(data_file_open(dir.path, &d), 0);
	cr_assert_eq(d->ops->write(d, 0x1234, "x", 1, 0), 0);
	snprintf(path, sizeof(path), "%s/34/0000000000001234", dir.path);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_size, 1);
	cr_assert_eq(st.st_mode & 0777, 0600);
	cr_assert_eq(d->ops->remove(d, 0x1234), 0);
	cr_assert_lt(stat(path, &st), 0);
	d->ops->close(d);
	cr_assert_eq(data_file_open("/no/such/place", &d), -ENOENT);
	tmpdir_remove(&dir);
}

/* More files than are kept open, each written twice and read in the end. */
Test(data_file, many_files)
{
	struct tmpdir dir;
	struct data *d;
	char c;

	tmpdir_make(&dir);
	cr_assert_eq(data_file_open(dir.path, &d), 0);
	for (uint64_t ino = 1; ino < 700; ino++)
		cr_assert_eq(d->ops->write(d, ino, &(char){ (char)ino }, 1, 0), 0);
	for (uint64_t ino = 1; ino < 700; ino++)
		cr_assert_eq(d->ops->write(d, ino, &(char){ (char)(ino * 3) }, 1, 1), 0);
	for (uint64_t ino = 1; ino < 700; ino++) {
		cr_assert_eq(d->ops->read(d, ino, &c, 1, 0), 1);
		cr_assert_eq(c, (char)ino);
		cr_assert_eq(d->ops->read(d, ino, &c, 1, 1), 1);
		cr_assert_eq(c, (char)(ino * 3));
		cr_assert_geq(d->ops->blocks(d, ino), 1);
	}
	cr_assert_eq(d->ops->sync(d, 5), 0);
	cr_assert_eq(d->ops->sync(d, 0), 0);
	d->ops->close(d);
	tmpdir_remove(&dir);
}

Test(data_file, space_keeps_a_reserve)
{
	uint64_t total, left, before;
	struct tmpdir dir;
	struct data *d;
	static char buf[1 << 20];

	tmpdir_make(&dir);
	cr_assert_eq(data_file_open(dir.path, &d), 0);
	cr_assert_eq(d->ops->space(d, &total, &before), 0);
	cr_assert_lt(before, total);
	cr_assert_eq(d->ops->write(d, 1, buf, sizeof(buf), 0), 0);
	cr_assert_eq(d->ops->space(d, &total, &left), 0);
	cr_assert_leq(left, before, "what was written since the last look is counted");
	d->ops->close(d);
	tmpdir_remove(&dir);
}

struct syncer {
	struct data *data;
	int failed;
	atomic_int stop;
};

static void *sync_all(void *arg)
{
	struct syncer *s = arg;

	for (uint64_t ino = 1; !s->stop; ino = ino % 400 + 1)
		if (s->data->ops->sync(s->data, ino) < 0)
			s->failed = 1;
	return NULL;
}

/* Syncs from workers while files are written, removed and pushed out of the table of open ones. */
Test(data_file, sync_beside_changes)
{
	struct tmpdir dir;
	struct syncer s = { 0 };
	pthread_t threads[2];
	unsigned int seed = 7;

	tmpdir_make(&dir);
	cr_assert_eq(data_file_open(dir.path, &s.data), 0);
	for (int i = 0; i < 2; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, sync_all, &s), 0);
	for (int i = 0; i < 4000; i++) {
		uint64_t ino = 1 + (uint64_t)rand_r(&seed) % 400;

		if (rand_r(&seed) % 4)
			cr_assert_eq(s.data->ops->write(s.data, ino, "abc", 3, 0), 0);
		else
			cr_assert_eq(s.data->ops->remove(s.data, ino), 0);
	}
	s.stop = 1;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	cr_assert_eq(s.failed, 0);
	s.data->ops->close(s.data);
	tmpdir_remove(&dir);
}
