/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Life of a call: dialling (the mount looks for a connection) -> called (the rpc has it) -> done. One that is past its
 * deadline while dialling is done at once and kept, without its user, until the mount has answered.
 */
#include "procfs-cluster/remote.h"

#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

/* How often deadlines are looked at while somebody waits for a connection. */
#define TICK_MS 50u

struct call {
	struct call *prev, *next; /* while dialling */
	struct remote *remote;	  /* NULL when it is gone */
	enum msg_type type;
	const void *req;
	uint64_t deadline; /* in the loop's ms; 0: none */
	rpc_done done;	   /* NULL when it was told */
	void *ctx;
};

struct remote {
	const struct subtree_host *host;
	uv_timer_t timer;
	struct call *dialling;
};

static void tell(struct call *c, int status)
{
	rpc_done done = c->done;

	c->done = NULL;
	if (done)
		done(c->ctx, status, NULL);
}

static void on_tick(uv_timer_t *timer)
{
	struct remote *r = timer->data;
	uint64_t now = uv_now(r->host->loop);
	struct call *c, *next;

	DL_FOREACH_SAFE(r->dialling, c, next)
		if (c->deadline && now >= c->deadline)
			tell(c, -ETIMEDOUT);
	if (!r->dialling)
		uv_timer_stop(timer);
}

int remote_new(const struct subtree_host *host, struct remote **ret_r)
{
	struct remote *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->host = host;
	uv_timer_init(host->loop, &r->timer);
	r->timer.data = r;
	*ret_r = r;
	return 0;
}

static void timer_closed(uv_handle_t *h)
{
	free(h->data);
}

void remote_free(struct remote *r)
{
	struct call *c, *next;

	if (!r)
		return;
	DL_FOREACH_SAFE(r->dialling, c, next) {
		DL_DELETE(r->dialling, c);
		c->remote = NULL;
		tell(c, -ECANCELED);
	}
	uv_close((uv_handle_t *)&r->timer, timer_closed);
}

/* Errors that say something about the way to the node, not about the question. */
static int map_status(int status)
{
	switch (status) {
	case -ENXIO:
	case -ENOTCONN:
	case -ECONNREFUSED:
	case -ECONNRESET:
	case -ECONNABORTED:
	case -ENETUNREACH:
	case -EHOSTDOWN:
	case -EPIPE:
	case -EPROTO:
	case -EPROTONOSUPPORT:
	case -EKEYREJECTED:
		return -EHOSTUNREACH;
	default:
		return status;
	}
}

static void called(void *ctx, int status, const void *rep)
{
	struct call *c = ctx;

	c->done(c->ctx, map_status(status), rep);
	free(c);
}

static void dialled(void *ctx, int status, struct rpc_conn *conn)
{
	struct call *c = ctx;
	uint64_t now;

	if (c->remote)
		DL_DELETE(c->remote->dialling, c);
	if (!c->remote || !c->done) {
		free(c);
		return;
	}
	now = uv_now(c->remote->host->loop);
	if (!status && c->deadline && now >= c->deadline)
		status = -ETIMEDOUT;
	if (!status)
		status = rpc_call(conn, c->type, c->req, c->deadline ? (uint32_t)(c->deadline - now) : 0, called, c);
	else if (status != -ETIMEDOUT)
		status = map_status(status);
	if (status) {
		tell(c, map_status(status));
		free(c);
	}
}

void remote_call(struct remote *r, uint32_t node, enum msg_type type, const void *req, uint32_t timeout_ms, rpc_done done,
		 void *ctx)
{
	struct call *c = malloc(sizeof(*c));

	if (!c) {
		done(ctx, -ENOMEM, NULL);
		return;
	}
	uv_update_time(r->host->loop);
	*c = (struct call){ .remote = r, .type = type, .req = req, .done = done, .ctx = ctx };
	c->deadline = timeout_ms ? uv_now(r->host->loop) + timeout_ms : 0;
	DL_APPEND(r->dialling, c);
	if (!uv_is_active((uv_handle_t *)&r->timer))
		uv_timer_start(&r->timer, on_tick, TICK_MS, TICK_MS);
	r->host->node_conn(r->host->ctx, node, dialled, c);
}
