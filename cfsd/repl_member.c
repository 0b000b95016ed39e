/* The member's half of repl.h: follow the server's records, or copy everything first. */
#include <assert.h>
#include <errno.h>

#include "cfsd/repl_internal.h"

static void stop_copying(struct repl *r, struct repl_actions *out)
{
	if (!r->copying)
		return;
	r->copying = false;
	/* The store is a mixture now: only another copy will do. */
	r->flags = REPL_ATTACH_LOST;
	repl_emit(out, REPL_ACT_ABORT);
}

static void detach(struct repl *r, uint64_t now_ms, bool close, struct repl_actions *out)
{
	stop_copying(r, out);
	if (close && r->source && r->source_state != SOURCE_NONE)
		repl_emit(out, REPL_ACT_DETACH)->node = r->source;
	r->source_state = SOURCE_NONE;
	/* A broken store is not likely to be well at once: no copying round and round. */
	r->attach_at_ms = now_ms + (r->broken ? 100 * r->conf.retry_ms : r->conf.retry_ms);
}

void repl_member_leave(struct repl *r, uint64_t now_ms, struct repl_actions *out)
{
	detach(r, now_ms, true, out);
}

void repl_member_source(struct repl *r, uint32_t source, uint64_t now_ms, struct repl_actions *out)
{
	if (r->source == source)
		return;
	detach(r, now_ms, true, out);
	r->source = source;
	r->attach_at_ms = now_ms;
}

static void on_attached(struct repl *r, const struct repl_event *ev, struct repl_actions *out)
{
	if (ev->node != r->source || r->source_state != SOURCE_ASKED)
		return;
	if (ev->status < 0) {
		detach(r, ev->now_ms, true, out);
		return;
	}
	if (ev->mode == REPL_MODE_TAIL) {
		r->source_state = SOURCE_FOLLOWING;
		return;
	}
	/* While the record counts this copy as in sync it may be needed as it is. */
	if (r->role != REPL_OUT) {
		detach(r, ev->now_ms, true, out);
		return;
	}
	r->source_state = SOURCE_FOLLOWING;
	r->copying = true;
	r->spooled = ev->pos;
	struct repl_action *a = repl_emit(out, REPL_ACT_COPY);

	a->node = r->source;
	a->pos = ev->pos;
	a->epoch = r->fs.epoch;
}

static void ack(struct repl *r, struct repl_actions *out)
{
	struct repl_action *a = repl_emit(out, REPL_ACT_ACK);

	a->node = r->source;
	a->pos = r->last;
	a->epoch = r->fs.epoch;
}

static void on_record(struct repl *r, const struct repl_event *ev, struct repl_actions *out)
{
	if (ev->node != r->source || r->source_state != SOURCE_FOLLOWING) {
		struct repl_action *a;

		/* The server of an earlier epoch that has not heard. */
		if (ev->epoch >= r->fs.epoch || ev->node == r->fs.server)
			return;
		a = repl_emit(out, REPL_ACT_REFUSE);
		a->node = ev->node;
		a->epoch = r->fs.epoch;
		return;
	}
	if (r->broken)
		return;
	if (r->copying && repl_same_pos(ev->prev, r->spooled)) {
		r->spooled = ev->pos;
		repl_emit(out, REPL_ACT_SPOOL);
		return;
	}
	if (!r->copying && repl_same_pos(ev->prev, r->last)) {
		r->last = ev->pos;
		r->flags &= ~(uint32_t)REPL_ATTACH_DIRTY;
		repl_emit(out, REPL_ACT_APPLY);
	} else if (!r->copying && r->flags & REPL_ATTACH_DIRTY && repl_same_pos(ev->pos, r->last)) {
		r->flags &= ~(uint32_t)REPL_ATTACH_DIRTY;
		repl_emit(out, REPL_ACT_REDO);
	} else {
		detach(r, ev->now_ms, true, out);
		return;
	}
	if (ev->committed > r->committed && ev->committed <= r->last.lsn)
		r->committed = ev->committed;
	ack(r, out);
}

static void on_copied(struct repl *r, const struct repl_event *ev, struct repl_actions *out)
{
	if (!r->copying)
		return;
	assert(repl_same_pos(ev->pos, r->spooled));
	r->copying = false;
	r->broken = false;
	r->flags = 0;
	r->last = ev->pos;
	r->committed = 0;
	ack(r, out);
}

void repl_member_event(struct repl *r, const struct repl_event *ev, struct repl_actions *out)
{
	switch (ev->type) {
	case REPL_EV_ATTACHED:
		on_attached(r, ev, out);
		break;
	case REPL_EV_DETACHED:
		if (ev->node == r->source)
			detach(r, ev->now_ms, false, out);
		break;
	case REPL_EV_RECORD:
		on_record(r, ev, out);
		break;
	case REPL_EV_COPIED:
		on_copied(r, ev, out);
		break;
	default:
		assert(false && "not an event of a member");
	}
}

void repl_member_settle(struct repl *r, uint64_t now_ms, struct repl_actions *out)
{
	struct repl_action *a;

	if (!r->source || r->source_state != SOURCE_NONE || now_ms < r->attach_at_ms)
		return;
	r->source_state = SOURCE_ASKED;
	a = repl_emit(out, REPL_ACT_ATTACH);
	a->node = r->source;
	a->pos = r->last;
	a->epoch = r->fs.epoch;
	a->flags = r->flags;
}
