#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "cfsd/repl_log.h"

static struct wire_logpos at(uint64_t epoch, uint64_t lsn)
{
	return (struct wire_logpos){ .epoch = epoch, .lsn = lsn };
}

static int append(struct repl_log *log, uint64_t prev_epoch, uint64_t epoch, uint64_t lsn, const char *batch,
		  const char *extents)
{
	struct record rec = {
		.prev = at(prev_epoch, lsn - 1),
		.pos = at(epoch, lsn),
		.batch = batch,
		.batch_len = strlen(batch),
		.extents = extents,
		.extents_len = strlen(extents),
	};

	return repl_log_append(log, &rec);
}

Test(repl_log, keeps_what_was_appended)
{
	struct repl_log *log;
	const struct record *r;

	cr_assert_eq(repl_log_new(4, 1000, &log), 0);
	cr_assert(repl_log_follows(log, at(0, 0)), "an empty log follows the empty position");
	cr_assert_not(repl_log_has(log, at(0, 0)));
	cr_assert_eq(append(log, 0, 1, 1, "batch", "data"), 0);
	cr_assert_eq(append(log, 1, 2, 2, "more", ""), 0);
	r = repl_log_get(log, 1);
	cr_assert(r);
	cr_assert_eq(r->batch_len, 5);
	cr_assert(!memcmp(r->batch, "batch", 5));
	cr_assert_eq(r->extents_len, 4);
	cr_assert(!memcmp(r->extents, "data", 4));
	cr_assert_eq(repl_log_get(log, 2)->prev.epoch, 1);
	cr_assert_null(repl_log_get(log, 0));
	cr_assert_null(repl_log_get(log, 3));
	cr_assert_eq(repl_log_last(log).lsn, 2);
	cr_assert_eq(repl_log_last(log).epoch, 2);
	repl_log_free(log);
}

Test(repl_log, a_place_is_epoch_and_lsn)
{
	struct repl_log *log;

	cr_assert_eq(repl_log_new(8, 1000, &log), 0);
	repl_log_reset(log, at(3, 10));
	cr_assert_eq(append(log, 3, 3, 11, "a", ""), 0);
	cr_assert_eq(append(log, 3, 5, 12, "b", ""), 0);
	cr_assert(repl_log_follows(log, at(3, 10)));
	cr_assert(repl_log_follows(log, at(3, 11)));
	cr_assert(repl_log_follows(log, at(5, 12)));
	cr_assert_not(repl_log_follows(log, at(4, 11)), "same lsn, written by somebody else");
	cr_assert_not(repl_log_follows(log, at(2, 10)));
	cr_assert_not(repl_log_follows(log, at(3, 9)));
	cr_assert_not(repl_log_follows(log, at(5, 13)));
	cr_assert_not(repl_log_has(log, at(3, 10)), "the base itself is not held");
	cr_assert(repl_log_has(log, at(3, 11)));
	repl_log_free(log);
}

Test(repl_log, refuses_a_gap)
{
	struct repl_log *log;

	cr_assert_eq(repl_log_new(8, 1000, &log), 0);
	cr_assert_eq(append(log, 0, 1, 1, "a", ""), 0);
	cr_assert_eq(append(log, 1, 1, 3, "c", ""), -ESTALE);
	cr_assert_eq(append(log, 2, 2, 2, "b", ""), -ESTALE, "follows another history");
	cr_assert_eq(repl_log_last(log).lsn, 1);
	repl_log_free(log);
}

Test(repl_log, oldest_go_by_count)
{
	struct repl_log *log;

	cr_assert_eq(repl_log_new(3, 1000, &log), 0);
	for (uint64_t lsn = 1; lsn <= 10; lsn++)
		cr_assert_eq(append(log, lsn > 1, 1, lsn, "abc", "d"), 0);
	cr_assert_null(repl_log_get(log, 7));
	for (uint64_t lsn = 8; lsn <= 10; lsn++)
		cr_assert_eq(repl_log_get(log, lsn)->pos.lsn, lsn);
	cr_assert(repl_log_follows(log, at(1, 7)));
	cr_assert_not(repl_log_follows(log, at(1, 6)));
	repl_log_free(log);
}

Test(repl_log, oldest_go_by_bytes_but_never_the_newest)
{
	struct repl_log *log;
	char big[65] = { 0 };

	memset(big, 'x', 64);
	cr_assert_eq(repl_log_new(100, 20, &log), 0);
	for (uint64_t lsn = 1; lsn <= 5; lsn++)
		cr_assert_eq(append(log, lsn > 1, 1, lsn, "12345678", ""), 0);
	cr_assert_null(repl_log_get(log, 3));
	cr_assert(repl_log_get(log, 4));
	cr_assert_eq(append(log, 1, 1, 6, big, ""), 0);
	cr_assert_null(repl_log_get(log, 5));
	cr_assert_eq(repl_log_get(log, 6)->batch_len, 64);
	repl_log_free(log);
	repl_log_free(NULL);
}
