/* The consensus' disk: what was written comes back, in order, also through the writer thread. */
#include <criterion/criterion.h>
#include <errno.h>
#include <leveldb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "cluster/raft_store.h"

static char dir[64];

static void make_dir(void)
{
	strcpy(dir, "/tmp/cfs-store-XXXXXX");
	cr_assert(mkdtemp(dir));
}

static void remove_dir(void)
{
	char cmd[96];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	cr_assert_eq(system(cmd), 0);
}

static void put(struct raft_job *job, uint64_t index, uint64_t term, const char *data)
{
	struct raft_core_entry e = { term, RAFT_CORE_COMMAND, data, (uint32_t)strlen(data) };

	cr_assert_eq(raft_job_entry(job, index, &e), 0);
}

static const struct raft_core_disk *reopen(struct raft_store **st)
{
	const struct raft_core_disk *d;

	raft_store_close(*st);
	cr_assert_eq(raft_store_open(dir, st), 0);
	cr_assert_eq(raft_store_load(*st, &d), 0);
	return d;
}

Test(raft_store, an_empty_one_is_empty, .init = make_dir, .fini = remove_dir)
{
	struct raft_store *st = NULL;
	const struct raft_core_disk *d = reopen(&st);

	cr_assert(d->term == 0 && d->voted_for == 0 && d->nr_entries == 0 && d->snapshot.index == 0);
	cr_assert_eq(d->start_index, 1);
	raft_store_close(st);
}

Test(raft_store, entries_hard_state_truncation_and_snapshot, .init = make_dir, .fini = remove_dir)
{
	struct raft_store *st = NULL;
	struct raft_job *job = raft_job_new();
	struct raft_core_snapshot snap = { 250, 7, 3, { "conf", 4 }, { "state", 5 } };
	const struct raft_core_disk *d;

	reopen(&st);
	raft_job_hard_state(job, 7, 3);
	for (uint64_t i = 1; i <= 300; i++)
		put(job, i, i < 200 ? 1 : 7, i == 256 ? "at 256" : "x");
	cr_assert_eq(raft_store_write_now(st, job), 0);
	d = reopen(&st);
	cr_assert_eq(d->term, 7);
	cr_assert_eq(d->voted_for, 3);
	cr_assert_eq(d->nr_entries, 300);
	cr_assert_eq(d->entries[255].len, 6, "big-endian keys are in order");
	cr_assert_eq(d->entries[198].term, 1);
	cr_assert_eq(d->entries[199].term, 7);

	job = raft_job_new();
	raft_job_truncate(job, 280, 300);
	put(job, 280, 8, "replaced");
	cr_assert_eq(raft_job_snapshot(job, &snap, 1, 240), 0);
	cr_assert_eq(raft_store_write_now(st, job), 0);
	d = reopen(&st);
	cr_assert_eq(d->start_index, 241);
	cr_assert_eq(d->nr_entries, 40);
	cr_assert_eq(d->entries[39].term, 8);
	cr_assert_eq(d->snapshot.index, 250);
	cr_assert_eq(d->snapshot.conf_index, 3);
	cr_assert_eq(memcmp(d->snapshot.conf.p, "conf", 4), 0);
	cr_assert_eq(memcmp(d->snapshot.state.p, "state", 5), 0);

	job = raft_job_new();
	cr_assert_eq(raft_job_snapshot(job, &snap, 241, 280), 0);
	cr_assert_eq(raft_store_write_now(st, job), 0);
	d = reopen(&st);
	cr_assert_eq(d->nr_entries, 0);
	cr_assert_eq(d->start_index, 251, "after the snapshot");
	raft_store_close(st);
}

Test(raft_store, a_hole_and_a_torn_value_are_damage, .init = make_dir, .fini = remove_dir)
{
	struct raft_store *st = NULL;
	const struct raft_core_disk *d;
	struct raft_job *job = raft_job_new();

	reopen(&st);
	put(job, 1, 1, "a");
	put(job, 3, 1, "c");
	cr_assert_eq(raft_store_write_now(st, job), 0);
	cr_assert_eq(raft_store_load(st, &d), -EBADMSG);
	raft_store_close(st);
}

Test(raft_store, a_newer_format_is_refused, .init = make_dir, .fini = remove_dir)
{
	leveldb_options_t *o = leveldb_options_create();
	leveldb_writeoptions_t *w = leveldb_writeoptions_create();
	char *err = NULL;
	leveldb_t *db;
	struct raft_store *st;

	leveldb_options_set_create_if_missing(o, 1);
	db = leveldb_open(o, dir, &err);
	cr_assert_null(err);
	leveldb_put(db, w, "m/version", 9, "\2\0\0\0", 4, &err);
	leveldb_close(db);
	cr_assert_eq(raft_store_open(dir, &st), -EPROTONOSUPPORT);
	leveldb_options_destroy(o);
	leveldb_writeoptions_destroy(w);
}

/* ---- the writer ---- */

struct order {
	int next, done;
};
struct mark {
	struct order *o;
	int nr;
};

static void done(void *arg)
{
	struct mark *m = arg;

	cr_assert_eq(m->nr, m->o->done++, "in the order of the writes");
	free(m);
}

Test(raft_store, the_writer_tells_in_order_and_nothing_is_lost, .init = make_dir, .fini = remove_dir)
{
	struct raft_store *st = NULL;
	struct mailbox *mb;
	struct order o = { 0 };
	const struct raft_core_disk *d;
	uv_loop_t loop;

	reopen(&st);
	uv_loop_init(&loop);
	cr_assert_eq(mailbox_new(&loop, &mb), 0);
	cr_assert_eq(raft_store_start(st, mb), 0);
	for (int i = 0; i < 200; i++) {
		struct mark *m = malloc(sizeof(*m));
		struct raft_job *job = raft_job_new();

		*m = (struct mark){ &o, i };
		put(job, (uint64_t)i + 1, 1, "entry");
		raft_store_write(st, job, done, m);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	while (o.done < 200)
		uv_run(&loop, UV_RUN_ONCE);
	raft_store_close(st);
	mailbox_free(mb);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&loop), 0);
	st = NULL;
	d = reopen(&st);
	cr_assert_eq(d->nr_entries, 200);
	raft_store_close(st);
}
