/*
 * Connections: opening, hello, dropping, closing. Loop thread only.
 *
 *   OPENING --stream open--> NEW --hello--> UP --failed or closed--> OVER --stream closed--> freed
 *
 * A failure only marks the connection (rpc_conn_fail); it is dropped before the loop sleeps, at one place. The memory
 * of a connection lives until its stream is closed, so code further up the stack may still look at its state.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/log.h"
#include "wire/rpc_internal.h"

void rpc_conn_fail(struct rpc_conn *conn, int err)
{
	if (conn->state == CONN_OVER || conn->err)
		return;
	conn->err = err;
	rpc_mark_dirty(conn);
}

bool rpc_conn_is_newcomer(const struct rpc_conn *conn)
{
	return !conn->dialled && conn->state < CONN_UP;
}

/* Takes it out of everything but the stream; requests that are still being worked on find nobody to answer. */
static void detach(struct rpc_conn *conn)
{
	struct rpc *rpc = conn->rpc;
	struct rpc_req *rq, *next;

	if (rpc_conn_is_newcomer(conn)) {
		rpc->nr_new--;
		DL_DELETE(rpc->newcomers, conn);
	} else {
		DL_DELETE(rpc->conns, conn);
	}
	if (!conn->dialled)
		rpc->nr_accepted--;
	if (conn->is_dirty)
		DL_DELETE2(rpc->dirty, conn, dirty_prev, dirty_next);
	conn->is_dirty = false;
	rpc_due_remove(rpc, &conn->setup);
	DL_FOREACH_SAFE(conn->reqs, rq, next) {
		rq->conn = NULL;
		DL_DELETE(conn->reqs, rq);
	}
	conn->state = CONN_OVER;
}

void rpc_conn_close(struct rpc_conn *conn)
{
	/* OVER: from inside the completions or `down` of its own end. */
	if (!conn)
		return;
	conn->events.down = NULL;
	if (conn->state == CONN_OVER)
		return;
	detach(conn);
	conn->rpc->transport->ops->close(conn->stream);
	rpc_complete_all(conn, -ECANCELED);
}

void rpc_conn_drop(struct rpc_conn *conn)
{
	bool tell = conn->dialled || conn->state == CONN_UP;

	detach(conn);
	conn->rpc->transport->ops->close(conn->stream);
	rpc_complete_all(conn, conn->err == -ETIMEDOUT ? -ETIMEDOUT : -ECONNRESET);
	if (tell && conn->events.down && !conn->rpc->freed)
		conn->events.down(conn->ctx, conn, conn->err);
}

/* ---- hello ---- */

static void go_up(struct rpc_conn *conn)
{
	if (!conn->dialled) {
		conn->rpc->nr_new--;
		DL_DELETE(conn->rpc->newcomers, conn);
		DL_APPEND(conn->rpc->conns, conn);
	}
	conn->state = CONN_UP;
	conn->parser.max = WIRE_FRAME_MAX;
	rpc_due_remove(conn->rpc, &conn->setup);
	if (conn->events.up)
		conn->events.up(conn->ctx, conn);
}

void rpc_conn_other_version(struct rpc_conn *conn, const struct frame_header *h)
{
	log_error("wire", "%s speaks protocol version %u, this node %u: connection refused", conn->peer.address,
		  h->version, WIRE_VERSION);
	/* A reply whose body is empty is understood by every version; its header says which one we speak. */
	if (h->kind == FRAME_REQUEST)
		rpc_send_reply(conn, NULL, h->type, h->id, -EPROTONOSUPPORT, NULL);
	rpc_conn_fail(conn, -EPROTONOSUPPORT);
}

static int ask_gate(const struct rpc_conn *conn, uint32_t node_id)
{
	const struct rpc *rpc = conn->rpc;
	int r = rpc->gate ? rpc->gate(rpc->gate_ctx, node_id) : 0;

	if (r < 0)
		log_warn("wire", "%s is node %u, which may not come in (%s): connection refused", conn->peer.address, node_id,
			 r == -EKEYREVOKED ? "it was removed from the cluster" : strerror(-r));
	return r;
}

/* NODE_ID as the other end calls itself: it must be what its certificate proves. */
static int check_identity(struct rpc_conn *conn, uint64_t cluster_id, uint32_t node_id)
{
	struct rpc *rpc = conn->rpc;
	uint32_t proven;

	if (rpc->transport->ops->proven_node(conn->stream, &proven) && proven != node_id) {
		log_error("wire", proven ? "%s says it is node %u, its certificate says %u: connection refused" :
					   "%s says it is node %u and has no certificate of a node: connection refused",
			  conn->peer.address, node_id, proven);
		return -EKEYREJECTED;
	}
	if (cluster_id != rpc->self.cluster_id) {
		log_error("wire", "%s is of cluster %016llx, this node of %016llx: connection refused",
			  conn->peer.address, (unsigned long long)cluster_id, (unsigned long long)rpc->self.cluster_id);
		return -EACCES;
	}
	return node_id ? ask_gate(conn, node_id) : -EACCES;
}

static void set_peer(struct rpc_conn *conn, uint32_t node_id, enum rpc_role role, const char *node_name)
{
	conn->peer.node_id = node_id;
	conn->peer.role = role;
	snprintf(conn->peer.node_name, sizeof(conn->peer.node_name), "%s", node_name);
}

void rpc_serve_hello(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct rpc_self *self = &conn->rpc->self;
	const struct msg_hello_req *req = msg;
	struct msg_hello_rep rep = { WIRE_VERSION, self->cluster_id, self->node_id, self->node_name };
	int r = check_identity(conn, req->cluster_id, req->node_id);

	(void)ctx;
	if (req->version != WIRE_VERSION) {
		log_error("wire", "%s speaks protocol version %u, this node %u: connection refused", conn->peer.address,
			  req->version, WIRE_VERSION);
		r = -EPROTONOSUPPORT;
	}
	if (!r && req->role != RPC_ROLE_NODE && req->role != RPC_ROLE_CLIENT)
		r = -EINVAL;
	if (!r)
		set_peer(conn, req->node_id, (enum rpc_role)req->role, req->node_name);
	rpc_reply(rq, r, &rep);
	if (!r)
		go_up(conn);
	else
		rpc_conn_fail(conn, r);
}

static void hello_done(void *ctx, int status, const void *msg)
{
	struct rpc_conn *conn = ctx;
	const struct msg_hello_rep *rep = msg;

	/* The connection ended before it was up; its own reason is the better one. */
	if (conn->state == CONN_OVER)
		return;
	if (!status)
		status = check_identity(conn, rep->cluster_id, rep->node_id);
	if (!status && conn->expected && rep->node_id != conn->expected) {
		log_warn("wire", "%s is node %u, not node %u: connection closed", conn->peer.address, rep->node_id,
			 conn->expected);
		status = -EHOSTUNREACH;
	}
	if (status < 0) {
		rpc_conn_fail(conn, status);
		return;
	}
	/* Only daemons listen. */
	set_peer(conn, rep->node_id, RPC_ROLE_NODE, rep->node_name);
	go_up(conn);
}

static void say_hello(struct rpc_conn *conn)
{
	const struct rpc_self *self = &conn->rpc->self;
	struct msg_hello_req req = { WIRE_VERSION, self->cluster_id, self->node_id, (uint8_t)self->role,
				     self->node_name };
	int r = rpc_start_call(conn, MSG_hello, &req, 0, hello_done, conn);

	if (r < 0)
		rpc_conn_fail(conn, r);
}

/* ---- events of the stream ---- */

static void stream_open(void *ctx)
{
	struct rpc_conn *conn = ctx;

	conn->state = CONN_NEW;
	if (!conn->dialled)
		return;
	if (conn->rpc->self.role == RPC_ROLE_NONE)
		go_up(conn);
	else
		say_hello(conn);
}

static uint8_t *stream_space(void *ctx, size_t *ret_len)
{
	struct rpc_conn *conn = ctx;

	return frame_parser_space(&conn->parser, ret_len);
}

static int stream_received(void *ctx, size_t n)
{
	struct rpc_conn *conn = ctx;
	struct frame *frame;
	int r = frame_parser_advance(&conn->parser, n, &frame);

	if (r > 0) {
		rpc_received(conn, frame);
	} else if (r < 0) {
		log_error("wire", "%s sent %s: connection dropped", conn->peer.address,
			  r == -EMSGSIZE ? "an oversized frame" :
			  r == -ENOMEM	 ? "a frame there is no memory for" :
					   "what is not a frame");
		rpc_conn_fail(conn, r);
	}
	return conn->err;
}

static void stream_ended(void *ctx, int err, const char *reason)
{
	struct rpc_conn *conn = ctx;

	if (err == -EKEYREJECTED || err == -EKEYEXPIRED || err == -EKEYREVOKED || err == -EPROTO || err == -EBADMSG)
		log_error("wire", "%s: TLS: %s: connection refused", conn->peer.address, reason);
	else if (!frame_parser_is_between(&conn->parser))
		log_warn("wire", "%s: torn frame (%s): connection dropped", conn->peer.address, reason);
	else
		log_debug("wire", "%s: %s", conn->peer.address, reason);
	rpc_conn_fail(conn, err);
}

static void stream_closed(void *ctx)
{
	struct rpc_conn *conn = ctx;

	frame_parser_release(&conn->parser);
	rpc_unref(conn->rpc);
	free(conn);
}

static const struct stream_events stream_events = {
	.open = stream_open,
	.space = stream_space,
	.received = stream_received,
	.ended = stream_ended,
	.closed = stream_closed,
};

/* ---- making ---- */

static void setup_expired(struct rpc_due *due)
{
	struct rpc_conn *conn = (struct rpc_conn *)due;

	if (!conn->dialled)
		log_warn("wire", "%s has said no hello: connection dropped", conn->peer.address);
	rpc_conn_fail(conn, -ETIMEDOUT);
}

static struct rpc_conn *conn_new(struct rpc *rpc, bool dialled, uint32_t timeout_ms)
{
	struct rpc_conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return NULL;
	conn->rpc = rpc;
	conn->dialled = dialled;
	conn->setup.expired = setup_expired;
	frame_parser_init(&conn->parser, RPC_NEW_FRAME_MAX);
	if (rpc_due_add(rpc, &conn->setup, timeout_ms) < 0) {
		free(conn);
		return NULL;
	}
	return conn;
}

static void use_stream(struct rpc_conn *conn, struct stream *s)
{
	struct rpc *rpc = conn->rpc;

	conn->stream = s;
	snprintf(conn->peer.address, sizeof(conn->peer.address), "%s", rpc->transport->ops->address(s));
	rpc->refs++;
	if (conn->dialled)
		DL_APPEND(rpc->conns, conn);
	else
		DL_APPEND(rpc->newcomers, conn);
}

static bool same_host(const struct rpc_conn *a, const struct rpc_conn *b)
{
	size_t len = (size_t)(strrchr(a->peer.address, ':') - a->peer.address);

	return !strncmp(a->peer.address, b->peer.address, len + 1);
}

/*
 * All places of those who have not said hello are taken: the oldest one of the host that holds the most has to go. So
 * who fills them pays for it, and not a node that is just joining.
 */
static void displace_one(struct rpc *rpc)
{
	struct rpc_conn *worst = NULL, *c, *other;
	unsigned most = 0;

	DL_FOREACH(rpc->newcomers, c) {
		unsigned n = 0;

		DL_FOREACH(rpc->newcomers, other)
			n += same_host(c, other);
		if (n > most) {
			most = n;
			worst = c;
		}
		/* No other host can have more: that is soon seen where one dials without end. */
		if (2 * most >= rpc->nr_new)
			break;
	}
	rpc->nr_displaced++;
	if (uv_now(rpc->loop) >= rpc->complain_ms) {
		log_warn("wire", "%u connections have said no hello, %u of them from where %s is: %u displaced by newer ones",
			 rpc->nr_new, most, worst->peer.address, rpc->nr_displaced);
		rpc->nr_displaced = 0;
		rpc->complain_ms = uv_now(rpc->loop) + RPC_COMPLAIN_MS;
	}
	worst->err = -EBUSY;
	rpc_conn_drop(worst);
}

void rpc_accepted(void *ctx, struct stream *s)
{
	struct rpc *rpc = ctx;
	struct rpc_conn *conn = NULL;

	if (rpc->nr_new == RPC_NEW_MAX)
		displace_one(rpc);
	if (rpc->nr_accepted < RPC_ACCEPTED_MAX)
		conn = conn_new(rpc, false, rpc->new_timeout_ms);
	if (!conn) {
		log_warn("wire", "%s: too many connections", rpc->transport->ops->address(s));
		rpc->transport->ops->close(s);
		return;
	}
	rpc->nr_accepted++;
	rpc->nr_new++;
	conn->events = rpc->accept_events;
	conn->ctx = rpc->accept_ctx;
	use_stream(conn, s);
	rpc->transport->ops->attach(s, &stream_events, conn);
}

int rpc_connect(struct rpc *rpc, const char *host, uint16_t port, uint32_t timeout_ms,
		const struct rpc_conn_events *events, void *ctx, struct rpc_conn **ret_conn)
{
	struct rpc_conn *conn = conn_new(rpc, true, timeout_ms);
	struct stream *s;
	int r;

	if (!conn)
		return -ENOMEM;
	r = rpc->transport->ops->connect(rpc->transport, host, port, &stream_events, conn, &s);
	if (r < 0) {
		rpc_due_remove(rpc, &conn->setup);
		free(conn);
		return r;
	}
	conn->events = *events;
	conn->ctx = ctx;
	use_stream(conn, s);
	*ret_conn = conn;
	return 0;
}

/* ---- for the user ---- */

void rpc_set_gate(struct rpc *rpc, rpc_gate gate, void *ctx)
{
	rpc->gate = gate;
	rpc->gate_ctx = ctx;
}

void rpc_check_gate(struct rpc *rpc)
{
	struct rpc_conn *conn;
	int r;

	/* Marked, not dropped: the list stays as it is. */
	DL_FOREACH(rpc->conns, conn)
		if (conn->state == CONN_UP && !conn->err && (r = ask_gate(conn, conn->peer.node_id)) < 0)
			rpc_conn_fail(conn, r);
}

void rpc_conn_expect(struct rpc_conn *conn, uint32_t node_id)
{
	conn->expected = node_id;
}

const struct rpc_peer *rpc_conn_peer(const struct rpc_conn *conn)
{
	return &conn->peer;
}

bool rpc_conn_is_up(const struct rpc_conn *conn)
{
	return conn->state == CONN_UP && !conn->err;
}

void rpc_conn_set_data(struct rpc_conn *conn, void *data)
{
	conn->data = data;
}

void *rpc_conn_data(const struct rpc_conn *conn)
{
	return conn->data;
}

size_t rpc_conn_backlog(const struct rpc_conn *conn)
{
	return conn->rpc->transport->ops->backlog(conn->stream);
}
