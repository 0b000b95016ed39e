#include "tests/sim/check.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

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

struct check {
	struct sim *sim;
	struct check_op **ops;
	size_t nr_ops, cap_ops;
	struct execution *done;
	size_t nr_done, cap_done;
	struct made *made;
	size_t nr_made, cap_made;
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

static const char *const kind_names[OP_KINDS] = { "lookup", "read", "create", "unlink", "rename", "append", "write" };

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

uint64_t check_answered(const struct check *c)
{
	return c->answered;
}

/* ---- the surviving history ---- */

struct history {
	struct execution **v; /* in order */
	size_t n;
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

/* Walks back from the last record; keeps the executions met on the way. */
static struct history surviving(struct check *c, struct wire_logpos last)
{
	struct history h = { calloc(c->nr_done + 1, sizeof(*h.v)), 0 };

	assert(h.v);
	for (size_t i = c->nr_made; i-- > 0;) {
		if (!same(c->made[i].pos, last))
			continue;
		for (size_t k = 0; k < c->nr_done; k++)
			if (same(c->done[k].pos, last))
				h.v[h.n++] = &c->done[k];
		last = c->made[i].prev;
	}
	qsort(h.v, h.n, sizeof(*h.v), by_lsn);
	return h;
}

static bool is_change(const struct check_op *op)
{
	return op->kind >= OP_CREATE && op->status == 0;
}

static bool once_each(struct check *c, const struct history *h)
{
	for (size_t i = 0; i < c->nr_ops; i++) {
		const struct check_op *op = c->ops[i];
		size_t times = 0;

		for (size_t k = 0; k < h->n; k++)
			times += h->v[k]->op == op;
		if (times > 1)
			sim_fail(c->sim, "op %" PRIu64 " (%s) happened %zu times", op->number, kind_names[op->kind], times);
		else if (!times && op->answered && is_change(op))
			sim_fail(c->sim, "op %" PRIu64 " (%s) was acknowledged and is lost", op->number,
				 kind_names[op->kind]);
		else if (times && op->answered && op->status)
			sim_fail(c->sim, "op %" PRIu64 " (%s) happened, its answer was %d", op->number,
				 kind_names[op->kind], op->status);
		if (c->sim->failed)
			return false;
	}
	return true;
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
		v[n].op = op;
		v[n].first = answered_before(h, op->called);
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

void check_history(struct check *c, struct wire_logpos last)
{
	struct history h = surviving(c, last);
	struct model m = { 0 };
	size_t nr_looks;
	struct look *looks = looks_of(c, &h, &nr_looks);

	if (once_each(c, &h)) {
		place_looks(c, looks, nr_looks, 0, &m);
		for (size_t i = 0; i < h.n && !c->sim->failed; i++) {
			if (!model_apply(&m, h.v[i]->op, h.v[i]->ino))
				sim_fail(c->sim, "op %" PRIu64 " (%s) cannot have happened where it did", h.v[i]->op->number,
					 kind_names[h.v[i]->op->kind]);
			place_looks(c, looks, nr_looks, i + 1, &m);
		}
		real_time(c, &h, looks, nr_looks);
	}
	model_release(&m);
	free(looks);
	free(h.v);
}
