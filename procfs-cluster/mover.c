/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Life of a question: waiting (for the connection) -> asked (the rpc has it) -> done. A connection that fails ends the
 * waiting ones with its error; the next question dials again.
 */
#include "procfs-cluster/mover.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/log.h"
#include "wire/errors.h"

#define CONNECT_TIMEOUT_MS 2000u
/* Looking for reasons stops nothing and must not keep a reader for long. */
#define CANTMOVE_TIMEOUT_MS 10000u

struct question {
	struct question *prev, *next; /* while waiting */
	struct mover *mover;
	enum msg_type type;
	uint32_t cpid, uid;
	char node[256];
	mover_done done;
	void *ctx;
};

struct mover {
	struct rpc *rpc;
	char host[64];
	uint16_t port;
	struct rpc_conn *conn; /* dialled or up */
	struct question *waiting;
};

static void answer(struct question *q, int status, const char *text, size_t len)
{
	q->done(q->ctx, status, text, len);
	free(q);
}

static void goto_done(void *ctx, int status, const void *rep)
{
	const struct msg_goto_rep *g = rep;
	struct question *q = ctx;

	if (!status && g->error) {
		status = wire_status_to_errno((uint16_t)g->error);
		log_info("goto", "process %u to %s: %s (%s)", q->cpid, q->node, g->reason, strerror(-status));
	}
	answer(q, status, NULL, 0);
}

static void cantmove_done(void *ctx, int status, const void *rep)
{
	const struct msg_cantmove_rep *c = rep;
	struct question *q = ctx;

	if (!status && c->error)
		answer(q, wire_status_to_errno((uint16_t)c->error), NULL, 0);
	else
		answer(q, status, status ? NULL : c->reasons.p, status ? 0 : c->reasons.len);
}

static void ask(struct question *q)
{
	struct rpc_conn *conn = q->mover->conn;
	int r;

	if (q->type == MSG_goto) {
		struct msg_goto_req req = { .cpid = q->cpid, .node = q->node, .uid = q->uid };

		r = rpc_call(conn, MSG_goto, &req, 0, goto_done, q);
	} else {
		struct msg_cantmove_req req = { .cpid = q->cpid };

		r = rpc_call(conn, MSG_cantmove, &req, CANTMOVE_TIMEOUT_MS, cantmove_done, q);
	}
	if (r < 0)
		answer(q, r, NULL, 0);
}

static void on_up(void *ctx, struct rpc_conn *conn)
{
	struct mover *m = ctx;
	struct question *q, *next;

	(void)conn;
	DL_FOREACH_SAFE(m->waiting, q, next) {
		DL_DELETE(m->waiting, q);
		ask(q);
	}
}

static void on_down(void *ctx, struct rpc_conn *conn, int err)
{
	struct mover *m = ctx;
	struct question *q, *next;

	(void)conn;
	m->conn = NULL;
	DL_FOREACH_SAFE(m->waiting, q, next) {
		DL_DELETE(m->waiting, q);
		answer(q, err, NULL, 0);
	}
}

int mover_new(struct rpc *rpc, const char *host, uint16_t port, struct mover **ret_m)
{
	struct mover *m;

	if (strlen(host) >= sizeof(m->host))
		return -EINVAL;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->rpc = rpc;
	m->port = port;
	strcpy(m->host, host);
	*ret_m = m;
	return 0;
}

void mover_free(struct mover *m)
{
	if (!m)
		return;
	rpc_conn_close(m->conn);
	m->conn = NULL;
	on_down(m, NULL, -ECANCELED);
	free(m);
}

static void start(struct mover *m, const struct question *template)
{
	static const struct rpc_conn_events events = { on_up, on_down };
	struct question *q = malloc(sizeof(*q));
	int r;

	if (!q) {
		template->done(template->ctx, -ENOMEM, NULL, 0);
		return;
	}
	*q = *template;
	q->mover = m;
	if (m->conn && rpc_conn_is_up(m->conn)) {
		ask(q);
		return;
	}
	DL_APPEND(m->waiting, q);
	if (m->conn)
		return;
	r = rpc_connect(m->rpc, m->host, m->port, CONNECT_TIMEOUT_MS, &events, m, &m->conn);
	if (r < 0)
		on_down(m, NULL, r);
}

void mover_goto(struct mover *m, uint32_t cpid, uint32_t uid, const char *node, mover_done done, void *ctx)
{
	struct question q = { .type = MSG_goto, .cpid = cpid, .uid = uid, .done = done, .ctx = ctx };

	if (strlen(node) >= sizeof(q.node)) {
		done(ctx, -EINVAL, NULL, 0);
		return;
	}
	strcpy(q.node, node);
	start(m, &q);
}

void mover_cantmove(struct mover *m, uint32_t cpid, mover_done done, void *ctx)
{
	struct question q = { .type = MSG_cantmove, .cpid = cpid, .done = done, .ctx = ctx };

	start(m, &q);
}
