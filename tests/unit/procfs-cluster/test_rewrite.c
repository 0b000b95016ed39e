/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "procfs-cluster/rewrite.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "writer.h"

static uint32_t plus_1000(void *ctx, uint32_t pid)
{
	(void)ctx;
	return pid + 1000;
}

static const char shell_stat[] =
	"4242 (bash) S 4240 4242 4242 34816 4300 4194304 2251 9411 0 2 5 1 11 6 20 0 1 0 1054329 8318976 1024 "
	"18446744073709551615 94219041169408 94219042051325 140724264413248 11 12 0 65536 3670020 1266777851 1 0 0 17 1 "
	"0 0 0 0 0 94219042292464 94219042340068 94219052707840 140724264417111 140724264417116 140724264417116 "
	"140724264419310 9\n";

static const char *stat_of(const char *in, struct wire_writer *w)
{
	wire_writer_init(w);
	cr_assert_eq(rewrite_stat(text_str(in), plus_1000, NULL, w), 0, "%s", in);
	return writer_str(w);
}

Test(rewrite, stat_has_its_five_pids_mapped)
{
	struct wire_writer w;
	const char *got = stat_of(shell_stat, &w);
	static const char head[] = "5242 (bash) S 5240 5242 5242 34816 5300 4194304 2251 94";

	cr_assert(!strncmp(got, head, strlen(head)), "%s", got);
	cr_assert_str_eq(got + strlen(got) - 20, shell_stat + strlen(shell_stat) - 20);
	wire_writer_release(&w);
}

Test(rewrite, stat_without_parent_and_terminal)
{
	struct wire_writer w;

	cr_assert_str_eq(stat_of("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0\n", &w),
			 "1002 (kthreadd) S 0 0 0 0 -1 2129984 0 0\n");
	wire_writer_release(&w);
}

Test(rewrite, stat_of_commands_with_hostile_names)
{
	struct wire_writer w;

	cr_assert_str_eq(stat_of("7 (a) R 1 1) S 5 6 7 0 8 1\n", &w), "1007 (a) R 1 1) S 1005 1006 1007 0 1008 1\n");
	wire_writer_release(&w);
	cr_assert_str_eq(stat_of("7 (\n)) S 5 6 7 0 8 1\n", &w), "1007 (\n)) S 1005 1006 1007 0 1008 1\n");
	wire_writer_release(&w);
	cr_assert_str_eq(stat_of("7 () S 5 6 7 0 8 1\n", &w), "1007 () S 1005 1006 1007 0 1008 1\n");
	wire_writer_release(&w);
}

Test(rewrite, what_is_no_stat_is_refused)
{
	static const char *const bad[] = { "", "7", "7 (x", "7 x) S", ")(", "(x) S 1", "7 (x) S 1 2 3" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct wire_writer w;

		wire_writer_init(&w);
		cr_expect_eq(rewrite_stat(text_str(bad[i]), plus_1000, NULL, &w), -EBADMSG, "%s", bad[i]);
		wire_writer_release(&w);
	}
}

Test(rewrite, status)
{
	static const char in[] = "Name:\tbash\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t42\nNgid:\t0\nPid:\t42\nPPid:\t40\n"
				 "TracerPid:\t0\nUid:\t1\t2\t3\t4\nNStgid:\t42\t7\nNSpid:\t42\t7\nNSpgid:\t42\t7\nNSsid:\t41\t0\n"
				 "VmPeak:\t    8124 kB\n";
	static const char out[] = "Name:\tbash\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t1042\nNgid:\t0\nPid:\t1042\n"
				  "PPid:\t1040\nTracerPid:\t0\nUid:\t1\t2\t3\t4\nNStgid:\t1042\t7\nNSpid:\t1042\t7\n"
				  "NSpgid:\t1042\t7\nNSsid:\t1041\t0\nVmPeak:\t    8124 kB\n";
	struct wire_writer w;
	uint32_t uids[4], nspid;
	unsigned depth;

	wire_writer_init(&w);
	cr_assert_eq(rewrite_status(text_str(in), plus_1000, NULL, &w), 0);
	cr_assert_str_eq(writer_str(&w), out);
	w.len = 0;
	cr_assert_eq(rewrite_status(text_str("Pid:\t1\n"), plus_1000, NULL, &w), -EBADMSG);
	cr_assert_eq(rewrite_status(text_str(""), plus_1000, NULL, &w), -EBADMSG);
	wire_writer_release(&w);

	cr_assert(status_nspid(text_str(in), &nspid, &depth));
	cr_assert(nspid == 7 && depth == 2);
	cr_assert(!status_nspid(text_str("Name:\tx\n"), &nspid, &depth));
	cr_assert(!status_nspid(text_str("NSpid:\n"), &nspid, &depth));
	cr_assert(status_uids(text_str(in), uids));
	cr_assert(uids[0] == 1 && uids[1] == 2 && uids[2] == 3 && uids[3] == 4);
	cr_assert(!status_uids(text_str("Uid:\t1\t2\n"), uids));
}

Test(rewrite, fields_by_their_manual_number)
{
	struct text f;

	cr_assert(stat_field(text_str(shell_stat), 3, &f) && text_is(f, "S"));
	cr_assert(stat_field(text_str(shell_stat), 4, &f) && text_is(f, "4240"));
	cr_assert(stat_field(text_str(shell_stat), 22, &f) && text_is(f, "1054329"));
	cr_assert(stat_field(text_str(shell_stat), 52, &f) && text_is(f, "9"));
	cr_assert(!stat_field(text_str(shell_stat), 53, &f));
	cr_assert(!stat_field(text_str(shell_stat), 2, &f));
}

static void reader_sees(int64_t ticks, bool hide, unsigned field, const char *expected)
{
	struct rewrite_view view = { .ticks = ticks, .hide = hide };
	struct wire_writer w;
	struct text f;

	wire_writer_init(&w);
	cr_assert_eq(rewrite_stat_for_reader(text_str(shell_stat), &view, &w), 0);
	cr_assert(stat_field(text_of(w.buf, w.len), field, &f));
	cr_expect(text_is(f, expected), "field %u is %.*s", field, (int)text_len(f), f.p);
	wire_writer_release(&w);
}

Test(rewrite, strangers_do_not_see_addresses)
{
	reader_sees(0, false, 28, "140724264413248");
	reader_sees(0, true, 26, "1");
	reader_sees(0, true, 27, "1");
	reader_sees(0, true, 28, "0");
	reader_sees(0, true, 30, "0");
	reader_sees(0, true, 45, "0");
	reader_sees(0, true, 51, "0");
	reader_sees(0, true, 52, "0");
	reader_sees(0, true, 24, "1024");
	reader_sees(0, true, 44, "0");
}

Test(rewrite, start_times_move_to_the_clusters_line)
{
	reader_sees(0, false, 22, "1054329");
	reader_sees(500, false, 22, "1054829");
	reader_sees(-29, true, 22, "1054300");
	/* before boot: shown as it is rather than wrapped */
	reader_sees(-2000000, false, 22, "1054329");
}

Test(rewrite, processors_are_numbered_through)
{
	struct rewrite_view view = { .first_cpu = 40 };
	struct wire_writer w;
	struct text before, after;
	uint64_t cpu, shown;

	wire_writer_init(&w);
	cr_assert_eq(rewrite_stat_for_reader(text_str(shell_stat), &view, &w), 0);
	cr_assert(stat_field(text_str(shell_stat), 39, &before) && text_u64(before, &cpu));
	cr_assert(stat_field(text_of(w.buf, w.len), 39, &after) && text_u64(after, &shown));
	cr_assert_eq(shown, cpu + 40);
	wire_writer_release(&w);
}

Test(rewrite, of_this_very_process)
{
	char buf[4096], path[] = "/proc/self/stat";
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, buf, sizeof(buf));
	struct wire_writer w, again;

	close(fd);
	cr_assert_gt(n, 0);
	wire_writer_init(&w);
	wire_writer_init(&again);
	cr_assert_eq(rewrite_stat_for_reader(text_of(buf, (size_t)n), &(struct rewrite_view){ 0 }, &w), 0);
	cr_assert(w.len == (size_t)n && !memcmp(w.buf, buf, w.len));
	cr_assert_eq(rewrite_stat(text_of(buf, (size_t)n), plus_1000, NULL, &again), 0);
	cr_assert_eq(strtol(writer_str(&again), NULL, 10), getpid() + 1000);
	wire_writer_release(&w);
	wire_writer_release(&again);
}

static bool signalled(const char *pending, const char *shared, const char *blocked, const char *ignored)
{
	char status[512];

	snprintf(status, sizeof(status), "Name:\tx\nSigQ:\t1/95\nSigPnd:\t%s\nShdPnd:\t%s\nSigBlk:\t%s\nSigIgn:\t%s\n", pending,
		 shared, blocked, ignored);
	return status_is_signalled(text_str(status));
}

Test(rewrite, signals_that_end_a_wait)
{
	static const char none[] = "0000000000000000", sigint[] = "0000000000000002", sigchld[] = "0000000000010000",
			  sigkill[] = "0000000000000100", realtime[] = "8000000000000000";

	cr_assert(!signalled(none, none, none, none));
	cr_assert(signalled(none, sigint, none, none));
	cr_assert(signalled(sigkill, none, none, none));
	cr_assert(signalled(none, realtime, none, none));
	cr_assert(!signalled(none, sigint, sigint, none));
	cr_assert(!signalled(none, sigint, none, sigint));
	cr_assert(!signalled(none, sigchld, none, none), "the original of a child that was moved has ended");
	cr_assert(!status_is_signalled(text_str("")));
}
