/*
 * Drives client_core: events go into core_step(), what comes out is carried out here. While that happens more events
 * can come (a call that cannot be sent, calls that end as their connection is closed, an operation submitted by the
 * owner of one that just ended): they are stepped at once, inside. That is safe because core_step() itself is over by
 * then, each flag is about something the inner steps can only make unnecessary in ways that are checked (do_open, take),
 * and an operation is always in exactly one place: a list of the core, the transport, or its owner's hands.
 */
#include "fuse/client.h"

#include <assert.h>
#include <errno.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "fuse/confwatch.h"
#include "fuse/connpool.h"

#define CONNECT_MS 1000u
#define SESSION_OPEN_MS 2000u
#define PROBE_MS 1000u
#define SESSION_CLOSE_MS 1000u

struct client {
	struct client_conf conf;
	struct client_events events;
	void *ctx;
	struct rpc *rpc;
	struct confwatch *watch;
	struct connpool *pool;
	struct client_core core;
	uv_timer_t tick;
	uint64_t session;
	uint64_t epoch; /* of the filesystem, as last put into the core */
	struct rpc_conn *conn;
	uint64_t conn_count; /* tells calls of this connection from those of earlier ones */
	int last_err;	     /* logged once each */
	bool closing;

	void (*shutdown_done)(void *ctx);
	void *shutdown_ctx;
};

/* A call that is not an operation: for which connection it was. */
struct side_call {
	struct client *cl;
	uint64_t conn_count;
};

static void step(struct client *cl, const struct core_event *ev, const void *rep);

static struct client_op *op_of(struct core_op *core)
{
	return (struct client_op *)((char *)core - offsetof(struct client_op, core));
}

/* ---- what the core asks for ---- */

static struct side_call *side_call_new(struct client *cl)
{
	struct side_call *sc = malloc(sizeof(*sc));

	if (sc)
		*sc = (struct side_call){ cl, cl->conn_count };
	return sc;
}

/* The client of a finished side call, NULL when the connection it was for is not ours any more. */
static struct client *side_call_end(struct side_call *sc)
{
	struct client *cl = sc->conn_count == sc->cl->conn_count && !sc->cl->closing ? sc->cl : NULL;

	free(sc);
	return cl;
}

static void report(struct client *cl, const char *what, int err)
{
	if (err == cl->last_err)
		return;
	cl->last_err = err;
	if (err)
		log_info("client", "server of filesystem %u (node %u): %s: %s", cl->conf.fs, cl->core.server, what,
			 strerror(-err));
}

static void on_up(void *ctx, struct rpc_conn *conn)
{
	(void)conn;
	step(ctx, &(struct core_event){ .kind = CORE_EV_UP }, NULL);
}

static void on_down(void *ctx, struct rpc_conn *conn, int err)
{
	struct client *cl = ctx;

	if (cl->conn != conn)
		return;
	cl->conn = NULL;
	cl->conn_count++;
	report(cl, "connection", err);
	step(cl, &(struct core_event){ .kind = CORE_EV_DOWN, .status = err }, NULL);
}

static void do_connect(struct client *cl, uint32_t node)
{
	static const struct rpc_conn_events events = { on_up, on_down };
	const struct config_node *n = config_node_by_id(confwatch_config(cl->watch), node);
	int r = -ENXIO;

	cl->conn_count++;
	if (n)
		r = rpc_connect(cl->rpc, n->host, (uint16_t)(n->port + 1), CONNECT_MS, &events, cl, &cl->conn);
	if (r == 0) {
		rpc_conn_expect(cl->conn, node);
		rpc_conn_set_data(cl->conn, cl);
		return;
	}
	cl->conn = NULL;
	report(cl, "connect", r);
	step(cl, &(struct core_event){ .kind = CORE_EV_DOWN, .status = r }, NULL);
}

static void on_session_open(void *ctx, int status, const void *rep_)
{
	struct client *cl = side_call_end(ctx);
	const struct msg_session_open_rep *rep = rep_;
	struct core_event ev = { .kind = CORE_EV_OPENED, .status = status };

	if (!cl)
		return;
	report(cl, "session", status);
	if (status == 0) {
		ev.epoch = rep->epoch;
		ev.slots = rep->slots;
	}
	step(cl, &ev, rep);
}

static void do_session_open(struct client *cl, uint64_t epoch)
{
	struct wire_writer opens;
	struct side_call *sc = side_call_new(cl);
	struct msg_session_open_req req = {
		.fs = cl->conf.fs, .epoch = epoch, .session = cl->session, .client = cl->conf.mount_name
	};
	int r = sc ? 0 : -ENOMEM;

	wire_writer_init(&opens);
	cl->events.opens(cl->ctx, &opens);
	req.opens = (struct wire_blob){ opens.buf, (uint32_t)opens.len };
	if (r == 0)
		r = opens.err;
	if (r == 0)
		r = rpc_call(cl->conn, MSG_session_open, &req, SESSION_OPEN_MS, on_session_open, sc);
	wire_writer_release(&opens);
	if (r < 0) {
		free(sc);
		step(cl, &(struct core_event){ .kind = CORE_EV_OPENED, .status = r }, NULL);
	}
}

static void on_probe(void *ctx, int status, const void *rep)
{
	struct client *cl = side_call_end(ctx);

	(void)rep;
	if (cl)
		step(cl, &(struct core_event){ .kind = CORE_EV_PROBED, .status = status }, NULL);
}

static void do_probe(struct client *cl)
{
	struct msg_ping_req req = { 0 };
	struct side_call *sc = side_call_new(cl);
	int r = sc ? rpc_call(cl->conn, MSG_ping, &req, PROBE_MS, on_probe, sc) : -ENOTCONN;

	if (r < 0) {
		free(sc);
		step(cl, &(struct core_event){ .kind = CORE_EV_PROBED, .status = -ENOTCONN }, NULL);
	}
}

static void on_reply(void *ctx, int status, const void *rep)
{
	struct client_op *op = ctx;
	struct client *cl = op->client;

	if (!cl->closing)
		step(cl, &(struct core_event){ .kind = CORE_EV_REPLY, .op = &op->core, .status = status }, rep);
}

static void do_send(struct client *cl, struct client_op *op)
{
	struct wire_ophdr *h = op->req; /* every file operation starts with it */
	int r;

	*h = (struct wire_ophdr){ .fs = cl->conf.fs,
				  .epoch = cl->core.session_epoch,
				  .session = cl->session,
				  .slot = op->core.slot,
				  .seq = op->core.seq };
	r = rpc_call(cl->conn, op->type, op->req, 0, on_reply, op);
	if (r < 0)
		step(cl, &(struct core_event){ .kind = CORE_EV_REPLY, .op = &op->core, .status = r }, NULL);
}

/* ---- steps ---- */

static void on_tick(uv_timer_t *t)
{
	step(t->data, &(struct core_event){ .kind = CORE_EV_TICK }, NULL);
}

static void arm(struct client *cl)
{
	uint64_t at = core_deadline(&cl->core), now = uv_now(cl->conf.loop);

	if (at == UINT64_MAX)
		uv_timer_stop(&cl->tick);
	else
		uv_timer_start(&cl->tick, on_tick, at > now ? at - now : 0, 0);
}

static void carry_out(struct client *cl, const struct core_update *u, const void *rep)
{
	if (u->flags & CORE_LOST)
		cl->events.lost(cl->ctx);
	if (u->flags & CORE_DISCONNECT) {
		struct rpc_conn *conn = cl->conn;

		cl->conn = NULL;
		cl->conn_count++;
		rpc_conn_close(conn);
	}
	if (u->flags & CORE_CONNECT)
		do_connect(cl, u->node);
	if ((u->flags & CORE_OPEN) && cl->core.state == CORE_OPENING)
		do_session_open(cl, u->epoch);
	if (u->flags & CORE_OPENED) {
		const struct msg_session_open_rep *opened = rep;

		log_info("client", "session of filesystem %u open at node %u, epoch %llu", cl->conf.fs, cl->core.node,
			 (unsigned long long)opened->epoch);
		cl->events.opened(cl->ctx, opened);
	}
	if ((u->flags & CORE_PROBE) && cl->core.probing)
		do_probe(cl);
	if (u->flags & CORE_REFRESH)
		confwatch_refresh(cl->watch);
}

/* REP: the answer that came with EV, for the operation or session it is about. */
static void step(struct client *cl, const struct core_event *ev, const void *rep)
{
	struct core_update u;
	struct core_op *op;

	core_step(&cl->core, ev, uv_now(cl->conf.loop), &u);
	if (u.flags)
		carry_out(cl, &u, rep);
	while ((op = core_take(&cl->core, uv_now(cl->conf.loop))))
		do_send(cl, op_of(op));
	while ((op = core_finished(&cl->core)))
		op_of(op)->done(op_of(op), op->status, op == ev->op ? rep : NULL);
	if (!cl->closing)
		arm(cl);
}

void client_submit(struct client *cl, struct client_op *op)
{
	op->client = cl;
	step(cl, &(struct core_event){ .kind = CORE_EV_SUBMIT, .op = &op->core }, NULL);
}

void client_interrupt(struct client *cl, struct client_op *op)
{
	step(cl, &(struct core_event){ .kind = CORE_EV_INTERRUPT, .op = &op->core }, NULL);
}

bool client_is_fresh(struct client *cl)
{
	return core_is_fresh(&cl->core, uv_now(cl->conf.loop));
}

/* ---- configuration, revokes ---- */

static void on_config(void *ctx)
{
	struct client *cl = ctx;
	const struct config_fs *fs = config_fs_by_id(confwatch_config(cl->watch), cl->conf.fs);
	struct core_event ev = { .kind = CORE_EV_CONFIG };

	if (fs) {
		ev.server = fs->server;
		ev.epoch = fs->epoch;
	}
	step(cl, &ev, NULL);
}

static void on_revoke(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg_)
{
	const struct msg_revoke_req *msg = msg_;
	struct client *cl = ctx;

	/* From a connection we have left: everything granted there was dropped then. */
	if (conn != cl->conn || msg->fs != cl->conf.fs)
		rpc_reply(rq, 0, NULL);
	else
		cl->events.revoke(cl->ctx, msg->ino, msg->tokens, rq);
}

const struct config *client_config(struct client *cl)
{
	return confwatch_config(cl->watch);
}

void client_describe(struct client *cl, char *buf, size_t len)
{
	const struct config_node *n = config_node_by_id(confwatch_config(cl->watch), cl->core.server);
	size_t at;

	if (!config_fs_by_id(confwatch_config(cl->watch), cl->conf.fs))
		snprintf(buf, len, "no node has told of the filesystem");
	else if (!n)
		snprintf(buf, len, "no node can serve the filesystem");
	else
		snprintf(buf, len, "%s serves the filesystem: %s", n->name,
			 cl->last_err ? strerror(-cl->last_err) : "no answer");
	at = strlen(buf);
	if (at + 4 < len) {
		memcpy(buf + at, "; ", 3);
		confwatch_describe(cl->watch, buf + at + 2, len - at - 2);
	}
}

void client_node_conn(struct client *cl, uint32_t node_id, client_conn_done done, void *ctx)
{
	connpool_get(cl->pool, confwatch_config(cl->watch), node_id, done, ctx);
}

/* ---- life ---- */

int client_new(const struct client_conf *conf, const struct config *config, const struct client_events *events,
	       void *ctx, struct client **ret_client)
{
	struct client *cl = calloc(1, sizeof(*cl));
	int r = -ENOMEM;

	if (!cl)
		return r;
	cl->conf = *conf;
	cl->events = *events;
	cl->ctx = ctx;
	core_init(&cl->core, conf->soft_ms);
	/* Unguessable is not needed, different from every other mount's is. */
	if (RAND_bytes((unsigned char *)&cl->session, sizeof(cl->session)) != 1) {
		r = -EIO;
		goto err_free;
	}
	r = rpc_new(conf->loop, conf->self, conf->tls, &cl->rpc);
	if (r < 0)
		goto err_free;
	rpc_handle(cl->rpc, MSG_revoke, on_revoke, cl);
	r = connpool_new(cl->rpc, &cl->pool);
	if (r < 0)
		goto err_rpc;
	r = confwatch_new(conf->loop, cl->rpc, conf->self->node_id, config, on_config, cl, &cl->watch);
	if (r < 0)
		goto err_pool;
	uv_timer_init(conf->loop, &cl->tick);
	cl->tick.data = cl;
	*ret_client = cl;
	on_config(cl);
	return 0;

err_pool:
	connpool_free(cl->pool);
err_rpc:
	rpc_free(cl->rpc);
err_free:
	free(cl);
	return r;
}

static void on_session_closed(void *ctx, int status, const void *rep)
{
	struct client *cl = ctx;

	(void)status;
	(void)rep;
	if (cl->shutdown_done)
		cl->shutdown_done(cl->shutdown_ctx);
}

void client_shutdown(struct client *cl, void (*done)(void *ctx), void *ctx)
{
	struct msg_session_close_req req = { .fs = cl->conf.fs, .epoch = cl->core.session_epoch,
					     .session = cl->session };
	int r = -ENOTCONN;

	cl->shutdown_done = done;
	cl->shutdown_ctx = ctx;
	cl->closing = true;
	if (cl->core.state == CORE_READY)
		r = rpc_call(cl->conn, MSG_session_close, &req, SESSION_CLOSE_MS, on_session_closed, cl);
	if (r < 0)
		done(ctx);
}

static void tick_closed(uv_handle_t *h)
{
	free(h->data);
}

void client_free(struct client *cl)
{
	if (!cl)
		return;
	cl->closing = true;
	cl->shutdown_done = NULL;
	confwatch_free(cl->watch);
	connpool_free(cl->pool);
	rpc_free(cl->rpc);
	uv_close((uv_handle_t *)&cl->tick, tick_closed);
}
