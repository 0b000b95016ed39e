/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "procfs-cluster/scan.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "writer.h"

static void put_two(struct wire_writer *w)
{
	struct scan_proc p = {
		.cpid = 0x00c00001, .pid = 1, .uid = 2, .gid = 3, .file_uid = 4, .file_gid = 5, .nr_files = 3,
		.files = { { 0, SCAN_DATA, text_str("1 (init) S") }, { 3, SCAN_DATA, text_str("") }, { 6, SCAN_DENIED, text_str("") } },
	};

	cr_assert_eq(scan_put(w, &p), 0);
	p = (struct scan_proc){ .cpid = 0x00c00002, .pid = 2 };
	cr_assert_eq(scan_put(w, &p), 0);
}

Test(scan, what_is_put_is_got)
{
	struct wire_writer w;
	struct wire_reader r;
	struct scan_proc p;

	wire_writer_init(&w);
	put_two(&w);
	r = (struct wire_reader){ w.buf, w.buf + w.len };
	cr_assert_eq(scan_get(&r, &p), 1);
	cr_assert_eq(p.cpid, 0x00c00001u);
	cr_assert_eq(p.pid, 1u);
	cr_assert_eq(p.uid, 2u);
	cr_assert_eq(p.gid, 3u);
	cr_assert_eq(p.file_uid, 4u);
	cr_assert_eq(p.file_gid, 5u);
	cr_assert_eq(p.nr_files, 3u);
	cr_assert_eq(p.files[0].number, 0);
	cr_assert(text_is(p.files[0].text, "1 (init) S"));
	cr_assert_eq(p.files[1].number, 3);
	cr_assert(text_is(p.files[1].text, ""));
	cr_assert_eq(p.files[2].state, SCAN_DENIED);
	cr_assert_eq(scan_get(&r, &p), 1);
	cr_assert_eq(p.cpid, 0x00c00002u);
	cr_assert_eq(p.nr_files, 0u);
	cr_assert_eq(scan_get(&r, &p), 0);
	wire_writer_release(&w);
}

Test(scan, every_truncation_is_refused_or_a_record_end)
{
	struct wire_writer w;
	size_t ends = 0;

	wire_writer_init(&w);
	put_two(&w);
	for (size_t len = 0; len < w.len; len++) {
		struct wire_reader r = { w.buf, w.buf + len };
		struct scan_proc p;
		int got;

		while ((got = scan_get(&r, &p)) > 0)
			;
		ends += got == 0;
		cr_assert(got == 0 || got == -EBADMSG);
	}
	cr_assert_eq(ends, 2u); /* nothing, and the first record alone */
	wire_writer_release(&w);
}

Test(scan, lengths_and_states_are_checked)
{
	struct wire_writer w;
	struct scan_proc p;
	struct wire_reader r;

	wire_writer_init(&w);
	put_two(&w);
	w.buf[24] = SCAN_FILES_MAX + 1;
	r = (struct wire_reader){ w.buf, w.buf + w.len };
	cr_expect_eq(scan_get(&r, &p), -EBADMSG);
	w.buf[24] = 3;
	w.buf[26] = SCAN_ABSENT + 1;
	r = (struct wire_reader){ w.buf, w.buf + w.len };
	cr_expect_eq(scan_get(&r, &p), -EBADMSG);
	w.buf[26] = SCAN_GONE; /* and has bytes */
	r = (struct wire_reader){ w.buf, w.buf + w.len };
	cr_expect_eq(scan_get(&r, &p), -EBADMSG);
	w.buf[26] = SCAN_DATA;
	memset(w.buf + 27, 0xff, 4);
	r = (struct wire_reader){ w.buf, w.buf + w.len };
	cr_expect_eq(scan_get(&r, &p), -EBADMSG);
	wire_writer_release(&w);
}

Test(scan, node_files)
{
	struct wire_writer w;
	struct wire_reader r;
	unsigned number;
	struct text t;

	wire_writer_init(&w);
	cr_assert_eq(scan_put_node(&w, 3, "12.5 3\n", 7), 0);
	cr_assert_eq(scan_put_node(&w, 1, "", 0), 0);
	r = (struct wire_reader){ w.buf, w.buf + w.len };
	cr_assert_eq(scan_get_node(&r, &number, &t), 1);
	cr_assert(number == 3 && text_is(t, "12.5 3\n"));
	cr_assert_eq(scan_get_node(&r, &number, &t), 1);
	cr_assert(number == 1 && text_is(t, ""));
	cr_assert_eq(scan_get_node(&r, &number, &t), 0);
	r = (struct wire_reader){ w.buf, w.buf + 11 };
	cr_assert_eq(scan_get_node(&r, &number, &t), -EBADMSG);
	r = (struct wire_reader){ w.buf, w.buf + 4 };
	cr_assert_eq(scan_get_node(&r, &number, &t), -EBADMSG);
	wire_writer_release(&w);
}

Test(scan, states_stand_for_errors)
{
	cr_assert_eq(scan_state_error(scan_state_of(-ESRCH)), -ESRCH);
	cr_assert_eq(scan_state_error(scan_state_of(-EACCES)), -EACCES);
	cr_assert_eq(scan_state_error(scan_state_of(-EPERM)), -EACCES);
	cr_assert_eq(scan_state_error(scan_state_of(-ENOENT)), -ENOENT);
	cr_assert_eq(scan_state_error(SCAN_DATA), 0);
	cr_assert_eq(scan_state_error(99), -EBADMSG);
}
