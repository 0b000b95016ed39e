#include "tests/sim/check.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cfsd/content.h"
#include "cfsd/inode.h"
#include "cfsd/meta_key.h"
#include "common/bytes.h"
#include "tests/sim/model.h"

struct execution {
	struct check_op *op;
	struct wire_logpos pos;
	uint64_t when, ino;
};

struct made {
	struct wire_logpos prev, pos;
};

/* What was left when power had been lost, as a node recovered it. */
struct left {
	struct wire_logpos prev, pos;
	uint64_t when;
	size_t nr_made; /* records made before */
	struct left_file {
		uint64_t ino;
		uint8_t *data;
		size_t len;
	} *files;
	size_t nr_files, cap_files;
};

struct check {
	struct sim *sim;
	struct check_op **ops;
	size_t nr_ops, cap_ops;
	struct execution *done;
	size_t nr_done, cap_done;
	struct made *made;
	size_t nr_made, cap_made;
	struct left *left;
	size_t nr_left, cap_left;
	uint64_t answered;
};

#define GROW(array, nr, cap)                                               \
	do {                                                               \
		if ((nr) == (cap)) {                                       \
			(cap) = (cap) ? 2 * (cap) : 64;                    \
			(array) = realloc((array), (cap) * sizeof(*(array))); \
			assert(array);                                     \
		}                                                          \
	} while (0)

static const char *const kind_names[OP_KINDS] = { "lookup", "read",   "fsync", "create", "unlink", "rename", "append", "write" };

void check_new(struct sim *s, struct check **ret_c)
{
	struct check *c = calloc(1, sizeof(*c));

	assert(c);
	c->sim = s;
	*ret_c = c;
}

void check_free(struct check *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->nr_ops; i++) {
		free(c->ops[i]->ret_data);
		free(c->ops[i]);
	}
	free(c->ops);
	free(c->done);
	free(c->made);
	for (size_t i = 0; i < c->nr_left; i++) {
		for (size_t k = 0; k < c->left[i].nr_files; k++)
			free(c->left[i].files[k].data);
		free(c->left[i].files);
	}
	free(c->left);
	free(c);
}

struct check_op *check_call(struct check *c, uint32_t client, enum op_kind kind)
{
	struct check_op *op = calloc(1, sizeof(*op));

	assert(op);
	*op = (struct check_op){ .number = c->nr_ops, .client = client, .kind = kind, .called = c->sim->world.now };
	GROW(c->ops, c->nr_ops, c->cap_ops);
	c->ops[c->nr_ops++] = op;
	return op;
}

void check_answer(struct check *c, struct check_op *op)
{
	op->answered = c->sim->world.now;
	c->answered++;
	world_log(&c->sim->world, op->client, "op %" PRIu64 " %s name %u to %u ino %" PRIu64 ": %d", op->number,
		  kind_names[op->kind], op->name, op->to, op->ino, op->status);
}

void check_executed(struct check *c, uint64_t session, uint32_t slot, uint64_t seq, struct wire_logpos pos,
		    uint64_t ino)
{
	for (size_t i = c->nr_ops; i-- > 0;) {
		struct check_op *op = c->ops[i];

		if (op->session != session || op->slot != slot || op->seq != seq)
			continue;
		GROW(c->done, c->nr_done, c->cap_done);
		c->done[c->nr_done++] = (struct execution){ op, pos, c->sim->world.now, ino };
		world_log(&c->sim->world, op->client, "op %" PRIu64 " done as %" PRIu64 ".%" PRIu64, op->number,
			  pos.epoch, pos.lsn);
		return;
	}
	sim_fail(c->sim, "a change was executed that nobody asked for");
}

void check_record(struct check *c, uint32_t node, const struct record *rec)
{
	(void)node;
	GROW(c->made, c->nr_made, c->cap_made);
	c->made[c->nr_made++] = (struct made){ rec->prev, rec->pos };
}

static void take_file(struct left *l, struct store *s, const struct inode *in)
{
	struct op_env env = { .store = s };
	struct left_file *f;
	int r;

	GROW(l->files, l->nr_files, l->cap_files);
	f = &l->files[l->nr_files++];
	*f = (struct left_file){ .ino = in->ino, .data = calloc(1, in->size + 1), .len = in->size };
	assert(f->data);
	r = content_read(&env, in, f->data, in->size, 0);
	assert(!r);
	(void)r;
}

void check_recovered(struct check *c, struct store *s, struct wire_logpos prev)
{
	struct meta *m = store_meta(s);
	const void *key, *val;
	size_t klen, vlen;
	struct meta_iter *it;
	struct inode in;
	struct left *l;
	uint64_t ino;

	GROW(c->left, c->nr_left, c->cap_left);
	l = &c->left[c->nr_left++];
	*l = (struct left){ .prev = prev, .pos = store_position(s), .when = c->sim->world.now, .nr_made = c->nr_made };
	m->ops->iter_new(m, "I", 1, &it);
	while (m->ops->iter_next(it, &key, &klen, &val, &vlen) > 0)
		if (meta_key_number(key, klen, META_INODE, &ino) && !inode_decode(ino, val, vlen, &in) && S_ISREG(in.mode))
			take_file(l, s, &in);
	m->ops->iter_free(it);
	GROW(c->made, c->nr_made, c->cap_made);
	c->made[c->nr_made++] = (struct made){ prev, l->pos };
	world_log(&c->sim->world, 0, "recovered: %" PRIu64 ".%" PRIu64 " after %" PRIu64 ".%" PRIu64, l->pos.epoch,
		  l->pos.lsn, prev.epoch, prev.lsn);
}

uint64_t check_answered(const struct check *c)
{
	return c->answered;
}

/* ---- one history ---- */

struct history {
	struct execution **v; /* in order */
	size_t n;
	size_t nr; /* histories that ended before it */
	uint64_t from, until; /* answers between these are of it */
	size_t kept; /* so many of its changes were made in earlier ones */
};

static bool same(struct wire_logpos a, struct wire_logpos b)
{
	return a.epoch == b.epoch && a.lsn == b.lsn;
}

static int by_lsn(const void *a, const void *b)
{
	const struct execution *const *x = a, *const *y = b;

	return (*x)->pos.lsn < (*y)->pos.lsn ? -1 : (*x)->pos.lsn > (*y)->pos.lsn;
}

static bool is_later(struct wire_logpos a, struct wire_logpos b)
{
	return a.epoch != b.epoch ? a.epoch > b.epoch : a.lsn > b.lsn;
}

/* Where a history ended: nobody has more than the last server of it had. */
static struct wire_logpos end_of(const struct check *c, const struct left *l)
{
	struct wire_logpos end = { 0 };

	for (size_t i = 0; i < l->nr_made; i++)
		if (is_later(c->made[i].pos, end))
			end = c->made[i].pos;
	return end;
}

/* So many of its changes were there when L was recovered. */
static size_t kept_of(const struct history *h, const struct left *l)
{
	size_t n = 0;

	while (n < h->n && h->v[n]->pos.lsn <= l->prev.lsn)
		n++;
	return n;
}

/* Walks back from the last record; keeps the executions met on the way. */
static struct history history_of(struct check *c, size_t nr, struct wire_logpos last)
{
	struct history h = { .v = calloc(c->nr_done + 1, sizeof(*h.v)), .nr = nr, .until = UINT64_MAX };
	size_t met = 0;

	assert(h.v);
	if (nr)
		h.from = c->left[nr - 1].when;
	if (nr < c->nr_left)
		h.until = c->left[nr].when;
	for (size_t i = c->nr_made; i-- > 0;) {
		if (!same(c->made[i].pos, last))
			continue;
		for (size_t k = 0; k < c->nr_done; k++)
			if (same(c->done[k].pos, last))
				h.v[h.n++] = &c->done[k];
		for (size_t k = 0; k < nr; k++)
			met += same(c->left[k].pos, last);
		last = c->made[i].prev;
	}
	qsort(h.v, h.n, sizeof(*h.v), by_lsn);
	if (nr)
		h.kept = kept_of(&h, &c->left[nr - 1]);
	if (met < nr)
		sim_fail(c->sim, "what a node recovered is lost");
	return h;
}

static bool is_part(const struct history *h, const struct execution *e)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->v[i] == e)
			return true;
	return false;
}

static bool has(const struct history *h, const struct check_op *op)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->v[i]->op == op)
			return true;
	return false;
}

static bool is_answered(const struct history *h, const struct check_op *op)
{
	return op->answered && op->answered < h->until;
}

static bool is_change(const struct check_op *op)
{
	return op->kind >= OP_CREATE && op->status == 0;
}

/* It was answered after a recovery, but may have been done before it, and lost. */
static bool was_done_before(const struct check *c, const struct check_op *op, uint64_t when)
{
	for (size_t i = 0; i < c->nr_done; i++)
		if (c->done[i].op == op && c->done[i].when < when)
			return op->called < when;
	return false;
}

static bool once_each(struct check *c, const struct history *h)
{
	for (size_t i = 0; i < c->nr_ops; i++) {
		const struct check_op *op = c->ops[i];
		bool answered = is_answered(h, op);
		size_t times = 0;

		for (size_t k = 0; k < h->n; k++)
			times += h->v[k]->op == op;
		if (times > 1)
			sim_fail(c->sim, "op %" PRIu64 " (%s) happened %zu times", op->number, kind_names[op->kind], times);
		else if (!times && answered && op->answered >= h->from && is_change(op) &&
			 !was_done_before(c, op, h->from))
			sim_fail(c->sim, "op %" PRIu64 " (%s) was acknowledged and is lost", op->number,
				 kind_names[op->kind]);
		else if (times && answered && op->status)
			sim_fail(c->sim, "op %" PRIu64 " (%s) happened, its answer was %d", op->number,
				 kind_names[op->kind], op->status);
		if (c->sim->failed)
			return false;
	}
	return true;
}

/* ---- what was synced ---- */

/* The file an operation changed, 0: none. */
static uint64_t changed_ino(const struct check_op *op)
{
	if (!op->answered || !is_change(op))
		return 0;
	return op->kind == OP_CREATE ? op->ret_ino : op->kind == OP_APPEND || op->kind == OP_WRITE ? op->ino : 0;
}

/* The client was told, by an fsync that failed, that the change may be lost. */
static bool was_told(const struct check *c, const struct check_op *change, uint64_t until)
{
	for (size_t i = 0; i < c->nr_ops; i++) {
		const struct check_op *op = c->ops[i];

		if (op->kind == OP_FSYNC && op->answered && op->status == -EIO && op->client == change->client &&
		    op->ino == changed_ino(change) && op->answered > change->answered && op->answered <= until)
			return true;
	}
	return false;
}

/* What a client had changed when it called an fsync that succeeded is in every history from then on. */
static void synced_survive(struct check *c, const struct history *h)
{
	for (size_t i = 0; i < c->nr_ops; i++) {
		const struct check_op *sync = c->ops[i];

		if (sync->kind != OP_FSYNC || !sync->answered || sync->status || sync->answered >= h->until)
			continue;
		for (size_t k = 0; k < c->nr_ops && !c->sim->failed; k++) {
			const struct check_op *op = c->ops[k];

			if (op->client == sync->client && changed_ino(op) == sync->ino && op->answered < sync->called &&
			    !has(h, op) && !was_told(c, op, sync->answered))
				sim_fail(c->sim, "op %" PRIu64 " (%s) was synced by op %" PRIu64 " and is lost", op->number,
					 kind_names[op->kind], sync->number);
		}
	}
}

/* ---- what only looked ---- */

struct look {
	struct check_op *op;
	size_t first, last; /* places where it may have looked: after so many changes */
	bool placed;
	size_t place;
};

/* How many changes of the history were answered before T: all of them come first. */
static size_t answered_before(const struct history *h, uint64_t t)
{
	size_t n = 0;

	for (size_t i = 0; i < h->n; i++)
		if (h->v[i]->op->answered && h->v[i]->op->answered < t)
			n = i + 1;
	return n;
}

static size_t executed_before(const struct history *h, uint64_t t)
{
	size_t n = 0;

	for (size_t i = 0; i < h->n; i++)
		if (h->v[i]->when <= t)
			n = i + 1;
	return n;
}

static struct look *looks_of(struct check *c, const struct history *h, size_t *ret_n)
{
	struct look *v = calloc(c->nr_ops + 1, sizeof(*v));
	size_t n = 0;

	assert(v);
	for (size_t i = 0; i < c->nr_ops; i++) {
		struct check_op *op = c->ops[i];

		if (!op->answered || is_change(op))
			continue;
		/* Of those under way at a recovery nobody knows who answered. */
		if (op->answered >= h->until || op->called < h->from)
			continue;
		v[n].op = op;
		v[n].first = answered_before(h, op->called);
		if (v[n].first < h->kept)
			v[n].first = h->kept;
		v[n++].last = executed_before(h, op->answered);
	}
	*ret_n = n;
	return v;
}

/* Places every look that fits the model as it is after PLACE changes. In order of call: those that were answered
   before another was called must be placed before it. */
static void place_looks(struct check *c, struct look *v, size_t n, size_t place, const struct model *m)
{
	uint64_t oldest_answer = UINT64_MAX;

	for (size_t i = 0; i < n && !c->sim->failed; i++) {
		struct look *l = &v[i];

		if (l->placed)
			continue;
		if (l->first <= place && l->op->called <= oldest_answer && model_fits(m, l->op)) {
			l->placed = true;
			l->place = place;
		} else if (l->last <= place) {
			sim_fail(c->sim, "op %" PRIu64 " (%s name %u ino %" PRIu64 ") saw what never was: %d, ino %" PRIu64 ", %zu bytes",
				 l->op->number, kind_names[l->op->kind], l->op->name, l->op->ino, l->op->status,
				 l->op->ret_ino, l->op->ret_len);
		}
		if (!l->placed && l->op->answered < oldest_answer)
			oldest_answer = l->op->answered;
	}
}

/* A change that was called after a look (or a change) had its answer comes after it. */
static void real_time(struct check *c, const struct history *h, const struct look *v, size_t n)
{
	for (size_t i = 0; i < h->n && !c->sim->failed; i++) {
		const struct check_op *op = h->v[i]->op;

		if (answered_before(h, op->called) > i)
			sim_fail(c->sim, "op %" PRIu64 " came before one that was answered before it was called", op->number);
		for (size_t k = 0; k < n; k++)
			if (v[k].placed && v[k].op->answered < op->called && v[k].place > i)
				sim_fail(c->sim, "op %" PRIu64 " saw op %" PRIu64 ", which was called later",
					 v[k].op->number, op->number);
	}
}

/* The file is as it was when it was synced, or has words written since, also by changes that are lost. */
static void adopt(struct check *c, const struct history *h, const struct left *l, struct model *m)
{
	for (size_t i = 0; i < c->nr_done; i++)
		if (c->done[i].when < l->when && !is_part(h, &c->done[i]))
			model_stray(m, c->done[i].op->ino, c->done[i].op->value);
	if (l->nr_files != model_count(m))
		sim_fail(c->sim, "%zu files were recovered, %zu were there", l->nr_files, model_count(m));
	for (size_t i = 0; i < l->nr_files && !c->sim->failed; i++)
		if (!model_adopt(m, l->files[i].ino, l->files[i].data, l->files[i].len))
			sim_fail(c->sim, "inode %" PRIu64 " was recovered as it never was", l->files[i].ino);
}

/* Before change I: which files were synced then, and what recoveries left. */
static void lose_power(struct check *c, const struct history *h, size_t i, struct model *m)
{
	uint64_t until = UINT64_MAX;

	/* One that was carried out after a recovery says nothing of what was there before. */
	for (size_t k = h->nr; k-- > 0;)
		if (kept_of(h, &c->left[k]) >= i)
			until = c->left[k].when;
	for (size_t k = 0; k < c->nr_ops; k++) {
		const struct check_op *op = c->ops[k];

		if (op->kind == OP_FSYNC && op->answered && op->answered < until && !op->status &&
		    answered_before(h, op->called) == i)
			model_synced(m, op->ino);
	}
	for (size_t k = 0; k < h->nr && !c->sim->failed; k++)
		if (kept_of(h, &c->left[k]) == i)
			adopt(c, h, &c->left[k], m);
}

static void check_one(struct check *c, const struct history *h)
{
	struct model m = { 0 };
	size_t nr_looks;
	struct look *looks = looks_of(c, h, &nr_looks);

	if (once_each(c, h)) {
		synced_survive(c, h);
		for (size_t i = 0; i <= h->n && !c->sim->failed; i++) {
			if (c->nr_left)
				lose_power(c, h, i, &m);
			place_looks(c, looks, nr_looks, i, &m);
			if (i < h->n && !c->sim->failed &&
			    !model_apply(&m, h->v[i]->op, h->v[i]->ino, is_answered(h, h->v[i]->op)))
				sim_fail(c->sim, "op %" PRIu64 " (%s) cannot have happened where it did", h->v[i]->op->number,
					 kind_names[h->v[i]->op->kind]);
		}
		real_time(c, h, looks, nr_looks);
	}
	model_release(&m);
	free(looks);
}

void check_history(struct check *c, struct wire_logpos last)
{
	for (size_t nr = 0; nr <= c->nr_left && !c->sim->failed; nr++) {
		struct history h = history_of(c, nr, nr < c->nr_left ? end_of(c, &c->left[nr]) : last);

		if (!c->sim->failed)
			check_one(c, &h);
		free(h.v);
	}
}
