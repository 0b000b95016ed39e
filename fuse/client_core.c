/*
 * See client_core.h. Two things decide here: where to send (connection and session) and when an operation is over.
 * Whatever goes wrong with the first puts operations back into the queue; only an answer of the server, or the owner
 * being killed before anything was sent, ends one.
 */
#include "fuse/client_core.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <utlist.h>

bool core_status_bounces(int status)
{
	switch (status) {
	case -EREMCHG:
	case -ENOTCONN:
	case -ECONNRESET:
	case -ECONNREFUSED:
	case -ECONNABORTED:
	case -ETIMEDOUT:
	case -ECANCELED:
	case -EPIPE:
	case -ENOBUFS:
	case -EHOSTUNREACH:
	case -ENETUNREACH:
		return true;
	default:
		return false;
	}
}

void core_init(struct client_core *c, uint64_t soft_ms)
{
	memset(c, 0, sizeof(*c));
	c->soft_ms = soft_ms;
}

/* Puts OP back where its number says: operations that were bounced go out before those that came after them. */
static void enqueue(struct client_core *c, struct core_op *op)
{
	struct core_op *at = c->queue ? c->queue->prev : NULL; /* the last */

	op->state = CORE_OP_QUEUED;
	if (!at || at->number < op->number) {
		DL_APPEND(c->queue, op);
		return;
	}
	DL_FOREACH(c->queue, at) {
		if (at->number > op->number)
			break;
	}
	DL_PREPEND_ELEM(c->queue, at, op);
}

static void finish(struct client_core *c, struct core_op *op, int status)
{
	if (op->has_slot) {
		c->slots[op->slot].busy = false;
		op->has_slot = false;
	}
	op->state = CORE_OP_FINISHED;
	op->status = status;
	DL_APPEND(c->finished, op);
}

static void disconnect(struct client_core *c, struct core_update *u)
{
	if (c->node)
		u->flags |= CORE_DISCONNECT;
	c->node = 0;
	c->conn_up = false;
	c->probing = false;
}

static void leave_session(struct client_core *c, struct core_update *u)
{
	if (c->state == CORE_READY)
		u->flags |= CORE_LOST;
	c->probing = false;
}

/* Goes where the configuration points; keeps a connection that is already there. */
static void try_now(struct client_core *c, uint64_t now_ms, struct core_update *u)
{
	if (!c->server) {
		disconnect(c, u);
		c->state = CORE_IDLE;
		u->flags |= CORE_REFRESH;
		return;
	}
	if (c->conn_up && c->node == c->server) {
		c->state = CORE_OPENING;
		u->flags |= CORE_OPEN;
		u->epoch = c->epoch;
		c->heard_ms = now_ms;
		return;
	}
	disconnect(c, u);
	c->node = c->server;
	c->state = CORE_CONNECTING;
	u->flags |= CORE_CONNECT;
	u->node = c->node;
}

static void back_off(struct client_core *c, uint64_t now_ms, struct core_update *u)
{
	leave_session(c, u);
	c->backoff_ms = c->backoff_ms ? c->backoff_ms * 2 : CORE_BACKOFF_MIN_MS;
	if (c->backoff_ms > CORE_BACKOFF_MAX_MS)
		c->backoff_ms = CORE_BACKOFF_MAX_MS;
	c->state = CORE_WAIT;
	c->retry_at = now_ms + c->backoff_ms;
	u->flags |= CORE_REFRESH;
}

static void on_config(struct client_core *c, const struct core_event *ev, uint64_t now_ms, struct core_update *u)
{
	bool newer = ev->epoch > c->epoch;

	c->server = ev->server;
	c->epoch = ev->epoch;
	/* Something has happened: whoever serves now is about to be ready. */
	if (newer)
		c->backoff_ms = 0;
	if (c->state == CORE_WAIT) {
		if (newer)
			try_now(c, now_ms, u);
		return;
	}
	/* The same server at another epoch says so itself, to the first operation that needs to know. */
	if (c->state != CORE_IDLE && c->server == c->node)
		return;
	leave_session(c, u);
	try_now(c, now_ms, u);
}

static void on_opened(struct client_core *c, const struct core_event *ev, uint64_t now_ms, struct core_update *u)
{
	if (c->state != CORE_OPENING)
		return;
	if (ev->status < 0) {
		if (ev->status != -EREMCHG)
			disconnect(c, u);
		back_off(c, now_ms, u);
		return;
	}
	c->state = CORE_READY;
	c->session++;
	c->session_epoch = ev->epoch;
	if (ev->epoch > c->epoch)
		c->epoch = ev->epoch;
	c->nr_slots = ev->slots < CORE_SLOTS_MAX ? ev->slots : CORE_SLOTS_MAX;
	c->fresh_ms = c->heard_ms; /* when session_open was sent */
	c->heard_ms = now_ms;
	u->flags |= CORE_OPENED;
}

static void on_reply(struct client_core *c, struct core_op *op, int status, uint64_t now_ms, struct core_update *u)
{
	assert(op->state == CORE_OP_SENT);
	DL_DELETE(c->sent, op);
	if (!core_status_bounces(status)) {
		c->heard_ms = now_ms;
		if (op->session == c->session && op->sent_ms > c->fresh_ms)
			c->fresh_ms = op->sent_ms;
		c->backoff_ms = 0;
		finish(c, op, status);
		return;
	}
	enqueue(c, op);
	/* An answer to what was sent under an earlier opening says nothing about this one. */
	if (c->state != CORE_READY || op->session != c->session)
		return;
	if (status != -EREMCHG)
		disconnect(c, u);
	back_off(c, now_ms, u);
}

static void expire_soft(struct client_core *c, uint64_t now_ms)
{
	struct core_op *op, *tmp;

	if (!c->soft_ms || c->state == CORE_READY)
		return;
	DL_FOREACH_SAFE(c->queue, op, tmp) {
		if (now_ms - op->submitted_ms < c->soft_ms)
			break;
		DL_DELETE(c->queue, op);
		finish(c, op, -EIO);
	}
}

static void on_tick(struct client_core *c, uint64_t now_ms, struct core_update *u)
{
	if (c->state == CORE_WAIT && now_ms >= c->retry_at)
		try_now(c, now_ms, u);
	if (c->state == CORE_READY && c->sent && !c->probing && now_ms >= core_deadline(c)) {
		c->probing = true;
		u->flags |= CORE_PROBE | CORE_REFRESH;
	}
	expire_soft(c, now_ms);
}

static void on_probed(struct client_core *c, int status, uint64_t now_ms, struct core_update *u)
{
	if (!c->probing)
		return;
	c->probing = false;
	if (!core_status_bounces(status)) {
		c->heard_ms = now_ms;
		return;
	}
	disconnect(c, u);
	back_off(c, now_ms, u);
}

void core_step(struct client_core *c, const struct core_event *ev, uint64_t now_ms, struct core_update *ret_update)
{
	struct core_update u = { 0 };

	switch (ev->kind) {
	case CORE_EV_CONFIG:
		on_config(c, ev, now_ms, &u);
		break;
	case CORE_EV_UP:
		if (c->state == CORE_CONNECTING) {
			c->conn_up = true;
			try_now(c, now_ms, &u);
		}
		break;
	case CORE_EV_DOWN:
		c->node = 0;
		c->conn_up = false;
		if (c->state != CORE_IDLE && c->state != CORE_WAIT)
			back_off(c, now_ms, &u);
		break;
	case CORE_EV_OPENED:
		on_opened(c, ev, now_ms, &u);
		break;
	case CORE_EV_SUBMIT:
		assert(ev->op->state == CORE_OP_NEW);
		ev->op->number = ++c->last_number;
		ev->op->submitted_ms = now_ms;
		enqueue(c, ev->op);
		break;
	case CORE_EV_REPLY:
		on_reply(c, ev->op, ev->status, now_ms, &u);
		break;
	case CORE_EV_INTERRUPT:
		/* Once anything went out the operation may have happened: only the answer can tell. */
		if (ev->op->state == CORE_OP_QUEUED && !ev->op->session) {
			DL_DELETE(c->queue, ev->op);
			finish(c, ev->op, -EINTR);
		}
		break;
	case CORE_EV_PROBED:
		on_probed(c, ev->status, now_ms, &u);
		break;
	case CORE_EV_TICK:
		on_tick(c, now_ms, &u);
		break;
	}
	*ret_update = u;
}

/* A slot for a change: a bounced one keeps its own, a new one takes any that is free. */
static bool take_slot(struct client_core *c, struct core_op *op)
{
	if (!op->change || op->has_slot)
		return true;
	for (uint32_t i = 0; i < c->nr_slots; i++) {
		if (c->slots[i].busy)
			continue;
		c->slots[i].busy = true;
		op->has_slot = true;
		op->slot = i;
		op->seq = ++c->slots[i].seq;
		return true;
	}
	return false;
}

struct core_op *core_take(struct client_core *c, uint64_t now_ms)
{
	struct core_op *op;

	if (c->state != CORE_READY)
		return NULL;
	DL_FOREACH(c->queue, op) {
		if (take_slot(c, op))
			break;
	}
	if (!op)
		return NULL;
	DL_DELETE(c->queue, op);
	op->state = CORE_OP_SENT;
	op->sent_ms = now_ms;
	op->session = c->session;
	/* A silence is counted from the first thing asked in it. */
	if (!c->sent)
		c->heard_ms = now_ms;
	DL_APPEND(c->sent, op);
	return op;
}

struct core_op *core_finished(struct client_core *c)
{
	struct core_op *op = c->finished;

	if (op)
		DL_DELETE(c->finished, op);
	return op;
}

uint64_t core_deadline(const struct client_core *c)
{
	uint64_t at = UINT64_MAX;

	if (c->state == CORE_WAIT)
		at = c->retry_at;
	else if (c->state == CORE_READY && c->sent && !c->probing)
		at = c->heard_ms + CORE_PROBE_AFTER_MS;
	if (c->soft_ms && c->state != CORE_READY && c->queue && c->queue->submitted_ms + c->soft_ms < at)
		at = c->queue->submitted_ms + c->soft_ms;
	return at;
}

bool core_is_fresh(const struct client_core *c, uint64_t now_ms)
{
	return c->state == CORE_READY && now_ms < c->fresh_ms + CORE_FRESH_MS;
}
