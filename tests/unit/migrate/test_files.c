/* The files of a move: image pieces, records of decisions. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bytes.h"
#include "migrate/images.h"
#include "migrate/record.h"

static void write_file(const char *dir, const char *name, size_t len, int fill)
{
	char path[512], buf[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	cr_assert_not_null(f);
	memset(buf, fill, sizeof(buf));
	for (; len > 0; len -= len < sizeof(buf) ? len : sizeof(buf))
		fwrite(buf, 1, len < sizeof(buf) ? len : sizeof(buf), f);
	fclose(f);
}

static off_t size_of(const char *dir, const char *name)
{
	char path[512];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return stat(path, &st) ? -1 : st.st_size;
}

/* Writes all that comes into TO; the number of pieces, and how the walk ended. */
static int take_all(struct images *im, const char *to, int *ret_end)
{
	char *buf = malloc(IMAGES_PIECE);
	const char *name;
	int pieces = 0;
	uint64_t off;
	size_t len;

	cr_assert_not_null(buf);
	while ((*ret_end = images_next(im, buf, &name, &off, &len)) == 1) {
		cr_assert_eq(images_write(to, name, off, buf, len), 0);
		pieces++;
	}
	free(buf);
	return pieces;
}

Test(images, all_files_arrive_in_pieces)
{
	char from[] = "/tmp/cfs-img.XXXXXX", to[] = "/tmp/cfs-img.XXXXXX";
	struct images im;
	int r;

	cr_assert(mkdtemp(from) && mkdtemp(to));
	cr_assert_eq(images_open(&im, from), 0);
	cr_expect_eq(take_all(&im, to, &r), 0);
	cr_expect_eq(r, -EAGAIN, "the dump is not complete");
	write_file(from, "pages-1.img", 2 * IMAGES_PIECE + 5, 7);
	write_file(from, "empty.img", 0, 0);
	write_file(from, "core.img", 100, 1);
	write_file(from, "dump.log", 100, 1);
	cr_assert_eq(images_complete(&im, from), 0);
	cr_expect_eq(take_all(&im, to, &r), 5);
	cr_expect_eq(r, 0);
	cr_expect_eq(im.bytes, 2 * IMAGES_PIECE + 105);
	images_release(&im);
	cr_expect_eq(size_of(to, "pages-1.img"), 2 * IMAGES_PIECE + 5);
	cr_expect_eq(size_of(to, "empty.img"), 0);
	cr_expect_eq(size_of(to, "core.img"), 100);
	cr_expect_eq(size_of(to, "dump.log"), -1);
	images_remove(from);
	images_remove(to);
	cr_expect_eq(access(to, F_OK), -1);
}

Test(images, pages_are_sent_while_they_are_dumped)
{
	char from[] = "/tmp/cfs-img.XXXXXX", to[] = "/tmp/cfs-img.XXXXXX";
	struct images im;
	int r;

	cr_assert(mkdtemp(from) && mkdtemp(to));
	cr_assert_eq(images_open(&im, from), 0);
	write_file(from, "core-1.img", 10, 1);
	write_file(from, "pages-1.img", IMAGES_PIECE + 5, 1);
	cr_expect_eq(take_all(&im, to, &r), 1, "the whole piece, and no other file");
	cr_expect_eq(r, -EAGAIN);
	write_file(from, "pages-1.img", 2 * IMAGES_PIECE + 9, 1);
	cr_expect_eq(take_all(&im, to, &r), 1);
	write_file(from, "pages-2.img", 7, 2);
	cr_expect_eq(take_all(&im, to, &r), 1, "the first has a successor: it is sent to its end");
	cr_expect_eq(r, -EAGAIN);
	write_file(from, "pages-2.img", 8, 2);
	write_file(from, "pages-4.img", 11, 4);
	cr_assert_eq(images_complete(&im, from), 0);
	cr_expect_eq(take_all(&im, to, &r), 3);
	cr_expect_eq(r, 0);
	cr_expect_eq(im.bytes, 2 * IMAGES_PIECE + 9 + 8 + 11 + 10);
	images_release(&im);
	cr_expect_eq(size_of(to, "pages-1.img"), 2 * IMAGES_PIECE + 9);
	cr_expect_eq(size_of(to, "pages-2.img"), 8);
	cr_expect_eq(size_of(to, "pages-4.img"), 11);
	cr_expect_eq(size_of(to, "core-1.img"), 10);
	images_remove(from);
	images_remove(to);
}

Test(images, an_empty_file_of_pages_is_sent, .timeout = 10)
{
	char from[] = "/tmp/cfs-img.XXXXXX", to[] = "/tmp/cfs-img.XXXXXX";
	struct images im;
	int r;

	cr_assert(mkdtemp(from) && mkdtemp(to));
	cr_assert_eq(images_open(&im, from), 0);
	write_file(from, "pages-1.img", 0, 1);
	write_file(from, "pages-2.img", 5, 1);
	write_file(from, "pages-3.img", 0, 1);
	cr_expect_eq(take_all(&im, to, &r), 2);
	cr_assert_eq(images_complete(&im, from), 0);
	cr_expect_eq(take_all(&im, to, &r), 1);
	cr_expect_eq(r, 0);
	images_release(&im);
	cr_expect_eq(size_of(to, "pages-1.img"), 0);
	cr_expect_eq(size_of(to, "pages-2.img"), 5);
	cr_expect_eq(size_of(to, "pages-3.img"), 0);
	images_remove(from);
	images_remove(to);
}

static bool is_first(void *ctx, const char *path)
{
	(void)ctx;
	return strstr(path, "/first");
}

Test(images, what_is_left_of_earlier_moves_is_swept)
{
	char base[] = "/tmp/cfs-img.XXXXXX", path[64];

	cr_assert(mkdtemp(base));
	for (int i = 0; i < 3; i++) {
		static const char *const names[] = { "first", "second", "third" };

		snprintf(path, sizeof(path), "%s/%s", base, names[i]);
		cr_assert_eq(images_create(path), 0);
		write_file(path, "core.img", 10, 0);
	}
	images_sweep(base, is_first, NULL);
	cr_expect_eq(size_of(base, "first/core.img"), 10);
	cr_expect_eq(size_of(base, "second"), -1);
	cr_expect_eq(size_of(base, "third"), -1);
	snprintf(path, sizeof(path), "rm -r %s", base);
	cr_expect_eq(system(path), 0);
}

Test(images, names_from_the_network_stay_in_their_directory)
{
	static const char *const bad[] = { "../x", "/etc/x", "a/b", ".hidden", "..", "", "x.log" };
	char dir[] = "/tmp/cfs-img.XXXXXX";

	cr_assert(mkdtemp(dir));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_expect_eq(images_write(dir, bad[i], 0, "x", 1), -EINVAL, "%s", bad[i]);
	images_remove(dir);
	cr_expect_eq(images_write(dir, "core.img", 0, "x", 1), -ENOENT);
}

static int keep(void *ctx, struct record *rec)
{
	struct record *out = ctx;

	*out = *rec;
	rec->procs = NULL;
	return 0;
}

static int count(void *ctx, struct record *rec)
{
	(void)rec;
	return ++*(int *)ctx > 100 ? -E2BIG : 0;
}

Test(record, says_after_a_restart_what_was_decided)
{
	char dir[] = "/tmp/cfs-rec.XXXXXX", path[256];
	struct tree_proc procs[] = { { 100, 10, 12345, 'S' }, { 200, 20, 67890, 'S' } };
	struct tree tree = { 2, 2, procs };
	struct record rec = { .move = 0xfeed, .target = 3, .cpid = 4194404 }, got = { 0 };
	uint8_t pids[16], *back;
	uint32_t len;
	int n = 0;

	cr_assert(mkdtemp(dir));
	snprintf(rec.job, sizeof(rec.job), "1-2-3");
	snprintf(rec.cgroup, sizeof(rec.cgroup), "/sys/fs/cgroup/x");
	cr_assert_eq(record_write(dir, &rec), 0);
	cr_assert_eq(record_each(dir, keep, &got), 0);
	cr_expect(!got.decided && got.move == 0xfeed && got.target == 3);
	cr_expect_eq(record_get_pids(&got, &back, &len), -ENOENT);
	record_release(&got);
	for (uint32_t i = 0; i < 4; i++)
		put_le32(pids + 4 * i, 1000 + i);
	rec.decided = true;
	cr_assert_eq(record_set_procs(&rec, &tree, pids), 0);
	cr_assert_eq(record_write(dir, &rec), 0);
	cr_assert_eq(record_each(dir, keep, &got), 0);
	cr_expect(got.decided);
	cr_expect_str_eq(got.job, "1-2-3");
	cr_expect_str_eq(got.cgroup, "/sys/fs/cgroup/x");
	cr_assert_eq(record_get_pids(&got, &back, &len), 0);
	cr_expect_eq(len, 16);
	cr_expect_arr_eq(back, pids, 16);
	free(back);
	record_release(&got);
	record_release(&rec);
	cr_expect_eq(record_remove(dir, 0xfeed), 0);
	cr_expect_eq(record_remove(dir, 0xfeed), 0);
	cr_expect_eq(record_each(dir, count, &n), 0);
	cr_expect_eq(n, 0);
	snprintf(path, sizeof(path), "rm -rf %s", dir);
	cr_expect_eq(system(path), 0);
}

Test(record, torn_files_are_not_decisions)
{
	char dir[] = "/tmp/cfs-rec.XXXXXX", path[512], moves[256];
	int n = 0;

	cr_assert(mkdtemp(dir));
	cr_assert_eq(record_each(dir, count, &n), 0);
	snprintf(moves, sizeof(moves), "%s/migrate/moves", dir);
	write_file(moves, "0000000000000001", 0, 0);
	write_file(moves, "0000000000000002", 50, 'x');
	snprintf(path, sizeof(path), "printf 'cfs-move 1\\nmove 3\\ntarget 1\\ncpid 1\\ndecided 1\\njob a\\ncgroup /x\\nprocs -\\n' >%s/3", moves);
	cr_assert_eq(system(path), 0);
	cr_expect_eq(record_each(dir, count, &n), 0);
	cr_expect_eq(n, 0);
	snprintf(path, sizeof(path), "rm -rf %s", dir);
	cr_expect_eq(system(path), 0);
}
