/*
 * Proposals: commands on their way into the log, here or at the leader. Cluster thread only.
 *
 *   WAITS --we lead--> IN_LOG --applied--> OVER
 *   WAITS --leader known--> SENT --answered--> OVER;  --not the leader, connection lost--> WAITS
 *
 * A proposal whose fate is unknown (leadership or connection lost) is made again: commands are compare-and-swap, or
 * harmless twice.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "cluster/internal.h"

enum { RETRY_MS = 40, MAX_WAITING = 256, CALL_MS = 500, COMMAND_MAX = 4096 };

static void over(struct proposal *p, int status, uint32_t result)
{
	p->state = PROPOSAL_OVER;
	p->status = status;
	p->result = result;
}

static void retry(struct proposal *p)
{
	p->state = PROPOSAL_WAITS;
	p->retry_ms = cluster_now_ms() + RETRY_MS;
	if (p->local_only)
		over(p, -EREMCHG, 0);
}

void propose_complete(struct cluster *cl)
{
	struct proposal *p, *next;

	if (cl->raft_depth || cl->hold_completions)
		return;
	DL_FOREACH_SAFE(cl->proposals, p, next) {
		if (p->state != PROPOSAL_OVER)
			continue;
		DL_DELETE(cl->proposals, p);
		p->done(p->ctx, p->status, p->result);
		free(p);
		/* A callback may have changed the list: from the start again. */
		next = cl->proposals;
	}
}

static void sent_done(void *ctx, int status, const void *rep)
{
	struct proposal *p = ctx;
	const struct msg_propose_rep *m = rep;
	struct cluster *cl = p->cl;

	switch (status) {
	case 0:
		config_adopt_bytes(cl, &m->config);
		over(p, 0, m->result);
		break;
	case -EREMCHG:
	case -ECONNRESET:
	case -ETIMEDOUT:
	case -ENOTCONN:
	case -EHOSTUNREACH:
		retry(p);
		break;
	default:
		over(p, status, 0);
	}
	propose_complete(cl);
}

static void submit(struct proposal *p)
{
	p->state = PROPOSAL_IN_LOG;
	p->index = 0;
	if (raft_io_submit(p->cl, p->command, p->len, &p->index, &p->term) < 0)
		retry(p);
}

static void send_to_leader(struct proposal *p)
{
	struct cluster *cl = p->cl;
	struct msg_propose_req req = { { p->command, (uint32_t)p->len } };
	struct rpc_conn *conn = p->local_only ? NULL : link_conn(cl, cluster_leader(cl));

	p->state = PROPOSAL_SENT;
	/* Short: a leader that is cut off does not answer, its successor will. */
	if (!conn || rpc_call(conn, MSG_propose, &req, CALL_MS, sent_done, p) < 0)
		retry(p);
}

/* P and the list stay what they are until propose_complete(). */
static void try_now(struct proposal *p)
{
	struct cluster *cl = p->cl;

	cl->hold_completions++;
	if (raft_core_is_leader(cl->core))
		submit(p);
	else
		send_to_leader(p);
	cl->hold_completions--;
}

static struct proposal *add(struct cluster *cl, const void *cmd, size_t len, propose_done done, void *ctx)
{
	struct proposal *p = malloc(sizeof(*p) + len);

	if (!p)
		return NULL;
	*p = (struct proposal){ .cl = cl, .done = done, .ctx = ctx, .len = len };
	p->deadline_ms = cluster_now_ms() + CLUSTER_PROPOSE_MS;
	memcpy(p->command, cmd, len);
	DL_APPEND(cl->proposals, p);
	return p;
}

void propose(struct cluster *cl, const void *cmd, size_t len, propose_done done, void *ctx)
{
	struct proposal *p = add(cl, cmd, len, done, ctx);

	if (!p) {
		done(ctx, -ENOMEM, 0);
		return;
	}
	/* Inside a step of the core the tick takes it up. */
	if (cl->raft_depth)
		return;
	try_now(p);
	propose_complete(cl);
}

void propose_cmd(struct cluster *cl, enum config_cmd type, const void *cmd, propose_done done, void *ctx)
{
	struct wire_writer w;
	int r;

	wire_writer_init(&w);
	r = config_cmd_encode(&w, type, cmd);
	if (r < 0)
		done(ctx, r, 0);
	else
		propose(cl, w.buf, w.len, done, ctx);
	wire_writer_release(&w);
}

void propose_applied(struct cluster *cl, uint64_t index, uint64_t term, int result)
{
	struct proposal *p;

	DL_FOREACH(cl->proposals, p) {
		if (p->state != PROPOSAL_IN_LOG || p->index != index)
			continue;
		if (p->term == term)
			over(p, result < 0 ? result : 0, result < 0 ? 0 : (uint32_t)result);
		else
			retry(p);
	}
}

void propose_lost(struct cluster *cl)
{
	struct proposal *p;

	DL_FOREACH(cl->proposals, p)
		if (p->state == PROPOSAL_IN_LOG)
			retry(p);
}

void propose_tick(struct cluster *cl, uint64_t now)
{
	struct proposal *p;

	DL_FOREACH(cl->proposals, p) {
		/* A SENT one ends with its call. */
		if (p->state != PROPOSAL_SENT && p->state != PROPOSAL_OVER && now >= p->deadline_ms)
			over(p, -EHOSTUNREACH, 0);
		else if (p->state == PROPOSAL_WAITS && now >= p->retry_ms)
			try_now(p);
	}
	propose_complete(cl);
}

void propose_stop(struct cluster *cl)
{
	struct proposal *p;

	DL_FOREACH(cl->proposals, p)
		if (p->state != PROPOSAL_SENT)
			over(p, -ESHUTDOWN, 0);
	propose_complete(cl);
}

/* ---- from other nodes ---- */

struct served {
	struct cluster *cl;
	struct rpc_req *rq;
};

static void served_done(void *ctx, int status, uint32_t result)
{
	struct served *s = ctx;
	struct msg_propose_rep rep = { .result = result };
	void *buf = NULL;
	size_t len = 0;

	/* With the configuration, so that the proposer sees its change at once. */
	if (!status && config_encode(s->cl->config, &buf, &len) == 0)
		rep.config = (struct wire_blob){ buf, (uint32_t)len };
	rpc_reply(s->rq, status, &rep);
	free(buf);
	free(s);
}

/* A filesystem's record is changed by its server. */
static int may_change(struct cluster *cl, uint32_t node, const struct wire_blob *b)
{
	struct cmd_fs_change cmd;
	const struct config_fs *fs;

	if (config_cmd_decode(b->p, b->len, CMD_fs_change, &cmd) < 0)
		return -EBADMSG;
	fs = config_fs_by_id(cl->applied, cmd.fs);
	if (!fs)
		return -ENOENT;
	return cmd.force ? -EPERM : fs->server == node ? 0 : -EAGAIN;
}

/* What the leader decides by itself does not come this way. */
static int may_propose(struct cluster *cl, uint32_t node, const struct wire_blob *b)
{
	if (b->len > COMMAND_MAX)
		return -EMSGSIZE;
	switch (config_cmd_type(b->p, b->len)) {
	case CMD_fs_change:
		return may_change(cl, node, b);
	case CMD_node_join:
	case CMD_node_remove:
	case CMD_token_add:
		return 0;
	default:
		return -EPERM;
	}
}

static void serve_propose(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_propose_req *req = msg;
	struct cluster *cl = ctx;
	struct served *s;
	struct proposal *p;
	int r = raft_core_is_leader(cl->core) ? 0 : -EREMCHG, nr;

	DL_COUNT(cl->proposals, p, nr);
	if (!r)
		r = may_propose(cl, rpc_conn_peer(conn)->node_id, &req->command);
	if (!r && nr >= MAX_WAITING)
		r = -EAGAIN;
	s = r ? NULL : malloc(sizeof(*s));
	if (!r && s) {
		*s = (struct served){ cl, rq };
		p = add(cl, req->command.p, req->command.len, served_done, s);
		if (p) {
			p->local_only = true;
			try_now(p);
			propose_complete(cl);
			return;
		}
	}
	free(s);
	rpc_reply(rq, r ? r : -ENOMEM, NULL);
}

void propose_serve(struct cluster *cl)
{
	rpc_handle(cl->rpc, MSG_propose, serve_propose, cl);
}
