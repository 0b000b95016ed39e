/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "procfs-cluster/snapshot.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "cluster/cpid.h"
#include "procfs-cluster/scan.h"
#include "writer.h"

static void put(struct wire_writer *w, uint32_t cpid, uint32_t pid, unsigned file, const char *text)
{
	struct scan_proc p = { .cpid = cpid, .pid = pid, .uid = pid, .file_uid = pid, .nr_files = 1 };

	p.files[0] = (struct scan_file){ (uint8_t)file, SCAN_DATA, text_str(text ? text : "") };
	if (!text)
		p.files[0].state = SCAN_DENIED;
	cr_assert_eq(scan_put(w, &p), 0);
}

static struct snapshot *two_nodes(void)
{
	struct snapshot *s;
	struct wire_writer w;

	wire_writer_init(&w);
	cr_assert_eq(snapshot_new(&s), 0);
	put(&w, cpid_make(2, 5), 5, PROC_FILE_stat, "two five");
	put(&w, cpid_make(2, 6), 6, PROC_FILE_stat, NULL);
	cr_assert_eq(snapshot_load(s, 2, w.buf, w.len, 1), 0);
	w.len = 0;
	put(&w, cpid_make(1, 9), 9, PROC_FILE_stat, "one nine");
	cr_assert_eq(snapshot_load(s, 1, w.buf, w.len, 1), 0);
	memset(w.buf, 'x', w.len); /* the answer's bytes go away */
	wire_writer_release(&w);
	snapshot_sort(s);
	return s;
}

Test(snapshot, has_what_was_loaded_in_order)
{
	struct snapshot *s = two_nodes();
	struct snapshot_proc *p = snapshot_next(s, NULL);

	cr_assert_eq(snapshot_count(s), 3u);
	cr_assert_eq(p->id.cpid, cpid_make(1, 9));
	cr_assert_eq(p->id.node, 1u);
	cr_assert_eq(p->id.uid, 9u);
	cr_assert(text_is(p->files[PROC_FILE_stat], "one nine"));
	p = snapshot_next(s, p);
	cr_assert_eq(p->id.cpid, cpid_make(2, 5));
	p = snapshot_next(s, p);
	cr_assert(p->have & 1u << PROC_FILE_stat && p->failed & 1u << PROC_FILE_stat);
	cr_assert_eq(p->states[PROC_FILE_stat], SCAN_DENIED);
	cr_assert_null(snapshot_next(s, p));
	cr_assert_null(snapshot_find(s, cpid_make(1, 5)));
	snapshot_unref(s);
}

Test(snapshot, more_files_for_those_that_are_there)
{
	struct snapshot *s = two_nodes(), *second = snapshot_ref(s);
	struct snapshot_proc *p = snapshot_find(s, cpid_make(2, 5));
	struct wire_writer w;

	wire_writer_init(&w);
	put(&w, cpid_make(2, 5), 5, PROC_FILE_comm, "five");
	put(&w, cpid_make(2, 7), 7, PROC_FILE_comm, "born since");
	cr_assert_eq(snapshot_load(s, 2, w.buf, w.len, 0), 0);
	cr_assert_eq(snapshot_count(s), 3u);
	cr_assert(text_is(p->files[PROC_FILE_comm], "five"));
	cr_assert(text_is(p->files[PROC_FILE_stat], "two five"));
	snapshot_unref(s);
	cr_assert(text_is(p->files[PROC_FILE_comm], "five"));
	snapshot_unref(second);
	snapshot_unref(NULL);
	wire_writer_release(&w);
}

Test(snapshot, one_that_is_just_moving_is_there_once)
{
	struct snapshot *s = two_nodes();
	struct wire_writer w;

	wire_writer_init(&w);
	put(&w, cpid_make(2, 5), 800, PROC_FILE_stat, "on node three already");
	cr_assert_eq(snapshot_load(s, 3, w.buf, w.len, 1), 0);
	cr_assert_eq(snapshot_count(s), 3u);
	cr_assert_eq(snapshot_find(s, cpid_make(2, 5))->id.node, 2u);
	cr_assert(text_is(snapshot_find(s, cpid_make(2, 5))->files[PROC_FILE_stat], "two five"));
	snapshot_unref(s);
	wire_writer_release(&w);
}

Test(snapshot, unknown_files_are_left_out_and_torn_ones_refused)
{
	struct snapshot *s = two_nodes();
	struct wire_writer w;

	wire_writer_init(&w);
	put(&w, cpid_make(3, 1), 1, 200, "of a later version");
	put(&w, cpid_make(3, 2), 2, PROC_FILE_limits, "not for scans");
	put(&w, cpid_make(3, 3), 3, PROC_FILE_stat, "three three");
	cr_assert_eq(snapshot_load(s, 3, w.buf, w.len - 1, 1), -EBADMSG);
	cr_assert_eq(snapshot_find(s, cpid_make(3, 1))->have, 0u);
	cr_assert_eq(snapshot_find(s, cpid_make(3, 2))->have, 0u);
	cr_assert_null(snapshot_find(s, cpid_make(3, 3)));
	cr_assert_eq(snapshot_load(s, 3, NULL, 0, 1), 0);
	snapshot_unref(s);
	wire_writer_release(&w);
}
