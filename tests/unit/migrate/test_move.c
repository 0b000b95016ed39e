/*
 * The cores of a move, explored exhaustively: a source, a target and a network that loses, repeats and reorders, with
 * either daemon crashing and restarting between any two actions. Every reachable state is visited.
 *
 * Model of the network: a message once sent may arrive any number of times, at any later time, or never.
 * Model of a crash: state and pending actions are gone; what CRIU holds is put back (its socket broke), what is frozen by
 * the cgroup stays frozen, the record stays, a held copy stays held (cfs-job).
 */
#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "migrate/move.h"

enum { MSG_BEGIN = 1, MSG_ACCEPT = 2, MSG_RESTORE = 4, MSG_YES = 8, MSG_NO = 16, MSG_COMMIT = 32, MSG_ABORT = 64,
       MSG_CONFIRM = 128, MSG_QUERY = 256, MSG_SAYS_COMMIT = 512, MSG_SAYS_ABORT = 1024 };
enum { ORIG_RUNS, ORIG_STOPPED, ORIG_FROZEN, ORIG_DEAD };
enum { COPY_NONE, COPY_PARTIAL, COPY_HELD, COPY_RUNS };
enum { WORK_NONE, WORK_DUMP, WORK_SEND, WORK_RECORD, WORK_THAW, WORK_RESTORE, WORK_RESUME };

struct world {
	uint32_t src_todo, tgt_todo; /* actions not yet carried out */
	uint16_t net;
	uint8_t src_up, tgt_up, src, tgt, src_work, tgt_work, record, orig, copy, crashes;
};

struct node {
	struct world w;
	UT_hash_handle hh;
	bool good; /* a proper end can be reached from here */
	struct node **from;
	size_t nr_from, cap_from;
};

struct explorer {
	struct node *all;
	struct node **queue;
	size_t head, tail, cap;
	unsigned broken; /* rules left out on purpose */
};

enum { BREAK_HOLD = 1 };

static void visit(struct explorer *x, struct node *from, const struct world *w);

static void src_event(struct world *w, enum source_event e)
{
	enum source_state s = w->src;

	w->src_todo |= source_step(&s, e);
	w->src = (uint8_t)s;
}

static void tgt_event(struct world *w, enum target_event e)
{
	enum target_state s = w->tgt;

	w->tgt_todo |= target_step(&s, e);
	w->tgt = (uint8_t)s;
}

static void src_action(struct world *w, uint32_t a, unsigned broken)
{
	switch (a) {
	case ACT_BEGIN: w->net |= MSG_BEGIN; break;
	case ACT_DUMP: w->orig = ORIG_STOPPED; w->src_work = WORK_DUMP; break;
	case ACT_SEND: w->net |= MSG_RESTORE; w->src_work = WORK_SEND; break;
	case ACT_HOLD:
		if (!(broken & BREAK_HOLD))
			w->orig = ORIG_FROZEN;
		break;
	case ACT_RECORD: w->src_work = WORK_RECORD; break;
	case ACT_KILL: w->orig = ORIG_DEAD; break;
	case ACT_THAW: w->src_work = WORK_THAW; break;
	case ACT_TELL: w->net |= w->src == SOURCE_COMMITTED ? MSG_COMMIT : MSG_ABORT; break;
	case ACT_FORGET: w->record = 0; break;
	case ACT_REPLY: break;
	default: cr_assert_fail("the source was asked for action %x", a);
	}
}

static void tgt_action(struct world *w, uint32_t a)
{
	switch (a) {
	case ACT_OPEN: w->copy = COPY_PARTIAL; break;
	case ACT_ACCEPT: w->net |= MSG_ACCEPT; break;
	case ACT_RESTORE: w->tgt_work = WORK_RESTORE; break;
	case ACT_VOTE_YES: w->net |= MSG_YES; break;
	case ACT_DISCARD: w->copy = COPY_NONE; break;
	case ACT_VOTE_NO: w->net |= MSG_NO; break;
	case ACT_ASK: w->net |= MSG_QUERY; break;
	case ACT_RESUME: w->tgt_work = WORK_RESUME; break;
	case ACT_CONFIRM: w->net |= MSG_CONFIRM; break;
	case ACT_DENY: break;
	default: cr_assert_fail("the target was asked for action %x", a);
	}
}

static uint32_t lowest(uint32_t bits)
{
	return bits & (~bits + 1);
}

/* What CRIU and the disk may report back, one way or the other. */
static void src_completes(struct explorer *x, struct node *n)
{
	struct world w = n->w;

	w.src_work = WORK_NONE;
	switch (n->w.src_work) {
	case WORK_DUMP:
		src_event(&w, SOURCE_DUMPED);
		visit(x, n, &w);
		w = n->w;
		w.src_work = WORK_NONE;
		w.orig = ORIG_RUNS;
		src_event(&w, SOURCE_DUMP_FAILED);
		break;
	case WORK_RECORD:
		if (w.orig == ORIG_STOPPED && !(x->broken & BREAK_HOLD))
			return;
		w.record = 1;
		src_event(&w, SOURCE_RECORDED);
		visit(x, n, &w);
		w = n->w;
		w.src_work = WORK_NONE;
		src_event(&w, SOURCE_RECORD_FAILED);
		break;
	case WORK_THAW:
		if (w.orig != ORIG_DEAD)
			w.orig = ORIG_RUNS;
		src_event(&w, SOURCE_THAWED);
		break;
	case WORK_SEND: break;
	default: return;
	}
	visit(x, n, &w);
}

static void tgt_completes(struct explorer *x, struct node *n)
{
	struct world w = n->w;

	w.tgt_work = WORK_NONE;
	if (n->w.tgt_work == WORK_RESTORE) {
		/* ACT_DISCARD may have come in between: then there is nothing to report. */
		if (w.copy == COPY_PARTIAL) {
			w.copy = COPY_HELD;
			tgt_event(&w, TARGET_RESTORED);
		}
		visit(x, n, &w);
		w = n->w;
		w.tgt_work = WORK_NONE;
		tgt_event(&w, TARGET_RESTORE_FAILED);
		visit(x, n, &w);
	} else if (n->w.tgt_work == WORK_RESUME) {
		w.copy = COPY_RUNS;
		tgt_event(&w, TARGET_RESUMED);
		visit(x, n, &w);
	}
}

static void src_receives(struct explorer *x, struct node *n)
{
	static const struct {
		uint16_t msg;
		enum source_event event;
	} in[] = {
		{ MSG_ACCEPT, SOURCE_ACCEPTED }, { MSG_YES, SOURCE_VOTE_YES }, { MSG_NO, SOURCE_VOTE_NO },
		{ MSG_CONFIRM, SOURCE_CONFIRMED }, { 0xffff, SOURCE_PEER_LOST }, { 0xffff, SOURCE_PEER_BACK },
		{ 0xffff, SOURCE_TICK }, { 0xffff, SOURCE_REFUSED },
	};
	struct world w;

	for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++) {
		if (in[i].msg != 0xffff && !(n->w.net & in[i].msg))
			continue;
		w = n->w;
		src_event(&w, in[i].event);
		visit(x, n, &w);
	}
	if (n->w.net & MSG_QUERY) {
		w = n->w;
		switch (source_verdict(w.src)) {
		case MOVE_COMMIT: w.net |= MSG_SAYS_COMMIT; break;
		case MOVE_ABORT: w.net |= MSG_SAYS_ABORT; break;
		case MOVE_UNDECIDED: break;
		}
		visit(x, n, &w);
	}
}

static void tgt_receives(struct explorer *x, struct node *n)
{
	static const struct {
		uint16_t msg;
		enum target_event event;
	} in[] = {
		{ MSG_BEGIN, TARGET_BEGIN }, { MSG_RESTORE, TARGET_RESTORE }, { MSG_COMMIT, TARGET_COMMIT },
		{ MSG_ABORT, TARGET_ABORT }, { MSG_SAYS_COMMIT, TARGET_COMMIT }, { MSG_SAYS_ABORT, TARGET_ABORT },
		{ 0xffff, TARGET_PEER_LOST }, { 0xffff, TARGET_TICK },
	};

	for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++) {
		struct world w = n->w;

		if (in[i].msg != 0xffff && !(w.net & in[i].msg))
			continue;
		tgt_event(&w, in[i].event);
		visit(x, n, &w);
	}
}

static void crash_and_restart(struct explorer *x, struct node *n)
{
	struct world w = n->w;

	if (w.src_up && w.crashes < 3) {
		/* The write of a record may or may not have reached the disk. */
		for (int durable = 0; durable <= (w.src_work == WORK_RECORD); durable++) {
			w = n->w;
			w.crashes++;
			w.record |= (uint8_t)durable;
			w.src_up = w.src_work = w.src = 0;
			w.src_todo = 0;
			if (w.orig == ORIG_STOPPED)
				w.orig = ORIG_RUNS;
			visit(x, n, &w);
		}
	} else if (!w.src_up) {
		w.src_up = 1;
		src_event(&w, w.record ? SOURCE_RESTART_DECIDED : SOURCE_RESTART_UNDECIDED);
		visit(x, n, &w);
	}
	w = n->w;
	if (w.tgt_up && w.crashes < 3) {
		w.crashes++;
		w.tgt_up = w.tgt_work = w.tgt = 0;
		w.tgt_todo = 0;
		visit(x, n, &w);
	} else if (!w.tgt_up) {
		w.tgt_up = 1;
		if (w.copy == COPY_HELD)
			tgt_event(&w, TARGET_RESTART_HELD);
		else if (w.copy == COPY_RUNS)
			tgt_event(&w, TARGET_RESTART_RUNNING);
		else if (w.copy == COPY_PARTIAL)
			tgt_event(&w, TARGET_RESTART_PARTIAL);
		visit(x, n, &w);
	}
}

/* One thing happens at a node at a time: it finishes its actions before it takes the next event. */
static void expand(struct explorer *x, struct node *n)
{
	struct world w = n->w;
	uint32_t a;

	crash_and_restart(x, n);
	if (w.src_todo) {
		a = lowest(w.src_todo);
		w.src_todo &= ~a;
		src_action(&w, a, x->broken);
		visit(x, n, &w);
	} else if (w.src_up) {
		src_completes(x, n);
		if (w.src_work != WORK_THAW && w.src_work != WORK_RECORD)
			src_receives(x, n);
	}
	w = n->w;
	if (w.tgt_todo) {
		a = lowest(w.tgt_todo);
		w.tgt_todo &= ~a;
		tgt_action(&w, a);
		visit(x, n, &w);
	} else if (w.tgt_up) {
		tgt_completes(x, n);
		tgt_receives(x, n);
	}
}

static void visit(struct explorer *x, struct node *from, const struct world *w)
{
	struct node *n;

	HASH_FIND(hh, x->all, w, sizeof(*w), n);
	if (!n) {
		n = calloc(1, sizeof(*n));
		n->w = *w;
		HASH_ADD(hh, x->all, w, sizeof(n->w), n);
		if (x->tail == x->cap) {
			x->cap = x->cap ? x->cap * 2 : 1024;
			x->queue = realloc(x->queue, x->cap * sizeof(struct node *));
		}
		x->queue[x->tail++] = n;
	}
	if (!from)
		return;
	if (n->nr_from == n->cap_from) {
		n->cap_from = n->cap_from ? n->cap_from * 2 : 4;
		n->from = realloc(n->from, n->cap_from * sizeof(struct node *));
	}
	n->from[n->nr_from++] = from;
}

static void explore(struct explorer *x)
{
	struct world w;

	memset(&w, 0, sizeof(w));
	w.src_up = w.tgt_up = 1;
	src_event(&w, SOURCE_START);
	visit(x, NULL, &w);
	while (x->head < x->tail)
		expand(x, x->queue[x->head++]);
}

/* Once the decision is on disk the original must not execute one more instruction: the copy will do that work. */
static bool both_run(const struct world *w)
{
	return w->orig == ORIG_RUNS && (w->copy == COPY_RUNS || w->record);
}

static bool none_left(const struct world *w)
{
	return w->orig == ORIG_DEAD && w->copy == COPY_NONE;
}

static bool proper_end(const struct world *w)
{
	return w->src_up && w->tgt_up && !w->src_todo && !w->tgt_todo && !w->src_work &&
	       (w->src == SOURCE_DONE || w->src == SOURCE_FAILED) && (w->copy == COPY_RUNS) != (w->orig == ORIG_RUNS) &&
	       w->copy != COPY_HELD;
}

static size_t count(const struct explorer *x, bool (*wrong)(const struct world *w))
{
	size_t n = 0;

	for (size_t i = 0; i < x->tail; i++)
		n += wrong(&x->queue[i]->w);
	return n;
}

/* Walks back from the proper ends. */
static size_t count_hopeless(struct explorer *x)
{
	struct node **todo = calloc(x->tail + 1, sizeof(*todo));
	size_t n = 0, good;

	for (size_t i = 0; i < x->tail; i++)
		if (proper_end(&x->queue[i]->w)) {
			x->queue[i]->good = true;
			todo[n++] = x->queue[i];
		}
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < todo[i]->nr_from; k++)
			if (!todo[i]->from[k]->good) {
				todo[i]->from[k]->good = true;
				todo[n++] = todo[i]->from[k];
			}
	good = n;
	free(todo);
	return x->tail - good;
}

static void explorer_release(struct explorer *x)
{
	struct node *n, *tmp;

	HASH_ITER(hh, x->all, n, tmp) {
		HASH_DEL(x->all, n);
		free(n->from);
		free(n);
	}
	free(x->queue);
}

Test(move, exactly_one_runs_whatever_crashes, .timeout = 120)
{
	struct explorer x = { 0 };
	size_t committed = 0;

	explore(&x);
	cr_assert_gt(x.tail, 10000, "the exploration is too small to mean anything: %zu", x.tail);
	cr_expect_eq(count(&x, both_run), 0);
	cr_expect_eq(count(&x, none_left), 0);
	cr_expect_eq(count_hopeless(&x), 0, "a state from which no proper end can be reached");
	for (size_t i = 0; i < x.tail; i++)
		committed += proper_end(&x.queue[i]->w) && x.queue[i]->w.copy == COPY_RUNS;
	cr_expect_gt(committed, 0);
	explorer_release(&x);
}

/* The exploration must be able to fail: a broken rule is found. */
Test(move, without_the_freezer_both_run, .timeout = 120)
{
	struct explorer x = { .broken = BREAK_HOLD };

	explore(&x);
	cr_expect_gt(count(&x, both_run), 0);
	explorer_release(&x);
}

static void feed_source(enum source_state *s, enum source_event e, uint32_t actions, enum source_state next)
{
	uint32_t got = source_step(s, e);

	cr_expect_eq(got, actions, "event %d: actions %x, expected %x", (int)e, got, actions);
	cr_expect_eq(*s, next, "event %d: now %s, expected %s", (int)e, source_state_name(*s), source_state_name(next));
}

Test(move, trace_of_a_move_that_works)
{
	enum source_state s = SOURCE_IDLE;

	feed_source(&s, SOURCE_START, ACT_BEGIN, SOURCE_PREPARING);
	feed_source(&s, SOURCE_ACCEPTED, ACT_DUMP, SOURCE_DUMPING);
	cr_expect_eq(source_verdict(s), MOVE_UNDECIDED);
	feed_source(&s, SOURCE_DUMPED, ACT_SEND, SOURCE_SENDING);
	feed_source(&s, SOURCE_VOTE_YES, ACT_HOLD | ACT_RECORD, SOURCE_DECIDING);
	cr_expect_eq(source_verdict(s), MOVE_UNDECIDED);
	feed_source(&s, SOURCE_PEER_LOST, 0, SOURCE_DECIDING);
	feed_source(&s, SOURCE_RECORDED, ACT_KILL | ACT_TELL, SOURCE_COMMITTED);
	cr_expect_eq(source_verdict(s), MOVE_COMMIT);
	feed_source(&s, SOURCE_TICK, ACT_TELL, SOURCE_COMMITTED);
	feed_source(&s, SOURCE_CONFIRMED, ACT_FORGET | ACT_REPLY, SOURCE_DONE);
	feed_source(&s, SOURCE_CONFIRMED, 0, SOURCE_DONE);
}

Test(move, every_failure_before_the_decision_aborts)
{
	static const struct {
		enum source_state state;
		enum source_event event;
	} f[] = {
		{ SOURCE_DUMPING, SOURCE_DUMP_FAILED }, { SOURCE_DUMPING, SOURCE_PEER_LOST },
		{ SOURCE_SENDING, SOURCE_VOTE_NO },	{ SOURCE_SENDING, SOURCE_PEER_LOST },
		{ SOURCE_SENDING, SOURCE_DUMP_FAILED }, { SOURCE_DECIDING, SOURCE_RECORD_FAILED },
	};

	for (size_t i = 0; i < sizeof(f) / sizeof(f[0]); i++) {
		enum source_state s = f[i].state;

		feed_source(&s, f[i].event, ACT_THAW | ACT_TELL, SOURCE_ABORTING);
		cr_expect_eq(source_verdict(s), MOVE_ABORT);
		feed_source(&s, SOURCE_VOTE_YES, 0, SOURCE_ABORTING);
		feed_source(&s, SOURCE_THAWED, ACT_REPLY, SOURCE_FAILED);
	}
}

Test(move, restart_of_the_source_follows_the_record)
{
	enum source_state s = SOURCE_IDLE;

	feed_source(&s, SOURCE_RESTART_DECIDED, ACT_KILL | ACT_TELL, SOURCE_COMMITTED);
	s = SOURCE_IDLE;
	feed_source(&s, SOURCE_RESTART_UNDECIDED, ACT_THAW | ACT_TELL, SOURCE_ABORTING);
}

Test(move, target_in_doubt_holds_and_asks)
{
	enum target_state t = TARGET_NONE;

	cr_expect_eq(target_step(&t, TARGET_RESTART_HELD), ACT_ASK);
	cr_expect_eq(target_step(&t, TARGET_PEER_LOST), 0);
	cr_expect_eq(target_step(&t, TARGET_TICK), ACT_ASK);
	cr_expect_eq(t, TARGET_HELD);
	cr_expect_eq(target_step(&t, TARGET_COMMIT), ACT_RESUME);
	cr_expect_eq(target_step(&t, TARGET_COMMIT), 0);
	cr_expect_eq(target_step(&t, TARGET_RESUMED), ACT_CONFIRM);
	cr_expect_eq(target_step(&t, TARGET_ABORT), 0);
	cr_expect_eq(t, TARGET_RUNNING);
	cr_expect_str_eq(target_state_name(t), "running");
}

Test(move, target_without_a_vote_gives_up_with_its_source)
{
	enum target_state t = TARGET_NONE;

	cr_expect_eq(target_step(&t, TARGET_BEGIN), ACT_OPEN | ACT_ACCEPT);
	cr_expect_eq(target_step(&t, TARGET_PEER_LOST), ACT_DISCARD);
	cr_expect_eq(t, TARGET_GONE);
	cr_expect_eq(target_step(&t, TARGET_COMMIT), ACT_DENY);
}
