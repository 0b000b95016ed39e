/*
 * Thousands of random operations, against the model and against a standby that applies the records; torn by crashes,
 * and with clocks that jump. The seed is in the message of a failing assertion.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "cfsd/inode.h"
#include "tests/lib/fs_fixture.h"
#include "tests/lib/fs_model.h"
#include "tests/lib/fs_random.h"
#include "tests/lib/tmpdir.h"

enum { HOLDS = 16 };

struct both {
	struct fs_fixture fx;
	struct fs_model *model;
	struct fs_random g;
	uint64_t seed, step;
	uint64_t succeeded[32]; /* by the low bits of the message's number */
};

static int run_real(void *ctx, enum msg_type type, const void *req, void *rep)
{
	return fs_fixture_run(ctx, type, req, rep);
}

/* Somebody opens a file, or lets one go. */
static void change_holds(struct both *b)
{
	uint64_t *slot = &b->fx.open_inos[fs_random_below(&b->g, HOLDS)], ino = *slot;

	if (!ino) {
		ino = 1 + fs_random_below(&b->g, b->g.last_ino + 1);
		if (ino == 1 || !fs_model_exists(b->model, ino))
			return;
		*slot = ino;
		fs_model_hold(b->model, ino);
		return;
	}
	*slot = 0;
	fs_model_unhold(b->model, ino);
	if (!fs_model_exists(b->model, ino))
		cr_assert_eq(fs_fixture_reap(&b->fx, ino), 0, "seed %lu step %lu", b->seed, b->step);
}

static void step(struct both *b)
{
	union fs_request req;
	union fs_reply real, expected;
	enum msg_type type;
	int r, e;

	if (!fs_random_below(&b->g, 10))
		change_holds(b);
	if (!fs_random_below(&b->g, 50))
		b->fx.now_ns = 1000000 + fs_random_below(&b->g, 1000000000);
	type = fs_random_request(&b->g, &req);
	r = fs_fixture_run(&b->fx, type, &req, &real);
	e = fs_model_execute(b->model, type, &req, &expected, b->fx.now_ns);
	cr_assert_eq(r, e, "seed %lu step %lu: %s gives %d, expected %d", b->seed, b->step, msg_info((uint16_t)type)->name, r, e);
	cr_assert(r < 0 || fs_model_same_reply(type, &real, &expected, true), "seed %lu step %lu: reply of %s", b->seed,
		  b->step, msg_info((uint16_t)type)->name);
	if (!r)
		b->succeeded[type % 32]++;
	fs_random_note(&b->g, type, r, &real);
}

static void check_all(struct both *b)
{
	cr_assert_eq(fs_model_verify(b->model, run_real, &b->fx, true), 0, "seed %lu step %lu", b->seed, b->step);
	cr_assert_eq(fs_model_nodes(b->model), store_nr_inodes(b->fx.store), "seed %lu step %lu", b->seed, b->step);
	fs_fixture_check_keys(&b->fx);
	if (b->fx.standby)
		fs_fixture_check_standby(&b->fx);
}

static void run(struct both *b, uint64_t seed, uint64_t steps)
{
	b->model = fs_model_new(b->fx.now_ns);
	b->seed = seed;
	b->g = (struct fs_random){ .state = seed };
	for (b->step = 0; b->step < steps; b->step++) {
		step(b);
		if (b->step % 1000 == 999)
			check_all(b);
	}
	check_all(b);
	fs_model_free(b->model);
	fs_fixture_release(&b->fx);
}

Test(op_random, same_as_the_model)
{
	static const enum msg_type all[] = {
#define OP(name, change) MSG_##name,
#include "cfsd/ops.def"
#undef OP
	};
	struct both b = { 0 };

	for (uint64_t seed = 1; seed <= 20; seed++) {
		fs_fixture_init(&b.fx, 256 << 20);
		run(&b, seed, 5000);
	}
	/* A generator that only makes errors would prove nothing. */
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i] != MSG_release && all[i] != MSG_fsync && all[i] != MSG_statfs)
			cr_expect_gt(b.succeeded[all[i] % 32], 50, "%s: %lu", msg_info((uint16_t)all[i])->name,
				     b.succeeded[all[i] % 32]);
}

Test(op_random, same_as_the_model_on_disk)
{
	struct both b = { 0 };
	struct tmpdir dir;

	tmpdir_make(&dir);
	fs_fixture_init_disk(&b.fx, dir.path);
	run(&b, 77, 5000);
	tmpdir_remove(&dir);
}

/* Data that dies at the n-th change, half-way through a write: the process was killed there. */
struct mortal {
	struct data data;
	struct data *inner;
	uint64_t changes_left; /* 0: immortal */
	bool dead;
};

/* 0: alive, 1: dies now, -EIO: is dead. */
static int mortal_change(struct mortal *m)
{
	if (m->dead)
		return -EIO;
	if (!m->changes_left || --m->changes_left)
		return 0;
	m->dead = true;
	return 1;
}

static ssize_t mortal_read(struct data *d, uint64_t ino, void *buf, size_t len, uint64_t off)
{
	struct mortal *m = (struct mortal *)d;

	return m->inner->ops->read(m->inner, ino, buf, len, off);
}

static int mortal_write(struct data *d, uint64_t ino, const void *buf, size_t len, uint64_t off)
{
	struct mortal *m = (struct mortal *)d;
	int r = mortal_change(m);

	if (r < 0)
		return r;
	r = r ? m->inner->ops->write(m->inner, ino, buf, len / 2, off) : m->inner->ops->write(m->inner, ino, buf, len, off);
	return m->dead ? -EIO : r;
}

static int mortal_truncate(struct data *d, uint64_t ino, uint64_t size)
{
	struct mortal *m = (struct mortal *)d;

	return mortal_change(m) ? -EIO : m->inner->ops->truncate(m->inner, ino, size);
}

static int mortal_punch(struct data *d, uint64_t ino, uint64_t off, uint64_t len)
{
	struct mortal *m = (struct mortal *)d;

	return mortal_change(m) ? -EIO : m->inner->ops->punch(m->inner, ino, off, len);
}

static int mortal_remove(struct data *d, uint64_t ino)
{
	struct mortal *m = (struct mortal *)d;

	return mortal_change(m) ? -EIO : m->inner->ops->remove(m->inner, ino);
}

static uint64_t mortal_blocks(struct data *d, uint64_t ino)
{
	struct mortal *m = (struct mortal *)d;

	return m->inner->ops->blocks(m->inner, ino);
}

static int mortal_space(struct data *d, uint64_t *ret_total, uint64_t *ret_free)
{
	struct mortal *m = (struct mortal *)d;

	return m->inner->ops->space(m->inner, ret_total, ret_free);
}

static void mortal_close(struct data *d)
{
	struct mortal *m = (struct mortal *)d;

	m->inner->ops->close(m->inner);
}

static const struct data_ops mortal_ops = {
	.read = mortal_read,
	.write = mortal_write,
	.truncate = mortal_truncate,
	.punch = mortal_punch,
	.remove = mortal_remove,
	.blocks = mortal_blocks,
	.space = mortal_space,
	.close = mortal_close,
};

/* Puts the mortal data under the store of the fixture. */
static void make_mortal(struct fs_fixture *f, struct mortal *m)
{
	struct meta *meta;

	store_detach(f->store, &meta, &m->inner);
	m->data.ops = &mortal_ops;
	cr_assert_eq(store_open(meta, &m->data, &f->store), 0);
}

/* Starts the store again. */
static void revive(struct fs_fixture *f, struct mortal *m)
{
	struct meta *meta;
	struct data *data;

	m->dead = false;
	m->changes_left = 0;
	store_detach(f->store, &meta, &data);
	cr_assert_eq(store_open(meta, data, &f->store), 0);
}

/* Applies the fixture's txn, dying at a random change; says if the record is there after the restart. */
static bool apply_mortally(struct both *b, struct mortal *m)
{
	struct fs_fixture *f = &b->fx;
	struct wire_logpos prev = store_position(f->store);
	struct record rec = {
		.prev = prev,
		.pos = { f->epoch, prev.lsn + 1 },
		.batch = f->txn.meta.buf,
		.batch_len = f->txn.meta.len,
		.extents = f->txn.extents.buf,
		.extents_len = f->txn.extents.len,
	};
	int r;

	m->changes_left = fs_random_below(&b->g, 5);
	r = store_apply(f->store, &rec);
	cr_assert_eq(r, m->dead ? -EIO : 0);
	revive(f, m);
	return store_position(f->store).lsn == rec.pos.lsn;
}

/* Killed while a record is applied: after the restart it is all there, or nothing of it. */
Test(op_random, killed_while_applying)
{
	uint64_t happened = 0, lost = 0;

	for (uint64_t seed = 100; seed < 110; seed++) {
		struct both b = { .seed = seed, .g = { .state = seed } };
		struct mortal m = { 0 };

		fs_fixture_init(&b.fx, 256 << 20);
		store_close(b.fx.standby);
		b.fx.standby = NULL;
		make_mortal(&b.fx, &m);
		b.model = fs_model_new(b.fx.now_ns);
		for (b.step = 0; b.step < 1000; b.step++) {
			struct op_env env = fs_fixture_env(&b.fx);
			union fs_request req;
			union fs_reply real, expected;
			enum msg_type type = fs_random_request(&b.g, &req);

			b.fx.scratch.len = 0;
			txn_clear(&b.fx.txn);
			memset(&real, 0, sizeof(real));
			if (op_execute(&env, type, &req, &real, &b.fx.txn) < 0 || txn_is_empty(&b.fx.txn))
				continue;
			if (apply_mortally(&b, &m)) {
				cr_assert_eq(fs_model_execute(b.model, type, &req, &expected, env.now_ns), 0);
				fs_random_note(&b.g, type, 0, &real);
				happened++;
			} else {
				lost++;
			}
			if (b.step % 50 == 0)
				check_all(&b);
		}
		check_all(&b);
		fs_model_free(b.model);
		fs_fixture_release(&b.fx);
	}
	cr_assert_gt(happened, 1000);
	cr_assert_gt(lost, 100);
}

/* Applying the extents of a record twice gives the same as once. */
Test(op_random, extents_are_idempotent)
{
	struct both b = { .g = { .state = 5 } };
	struct meta *meta;
	struct data *data;

	fs_fixture_init(&b.fx, 256 << 20);
	b.model = fs_model_new(b.fx.now_ns);
	for (b.step = 0; b.step < 2000; b.step++) {
		step(&b);
		/* Opening applies the last record's extents once more. */
		store_detach(b.fx.store, &meta, &data);
		cr_assert_eq(store_open(meta, data, &b.fx.store), 0);
	}
	check_all(&b);
	fs_model_free(b.model);
	fs_fixture_release(&b.fx);
}
