/*
 * Requests, replies, pending calls. Loop thread only.
 *
 * Nothing is sent from inside a call of the user: frames are encoded into the stream's buffer and the connection is
 * marked dirty; just before the loop sleeps (uv_prepare) all dirty connections are flushed, so what one turn of the
 * loop has to say to a peer goes out together. Connections that failed are dropped at the same place, therefore no
 * event comes from inside a call of the user.
 */
#include "wire/rpc.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/log.h"
#include "wire/errors.h"
#include "wire/rpc_internal.h"

/* ---- deadlines: one timer ---- */

static void timer_fired(uv_timer_t *timer);

static void arm(struct rpc *rpc)
{
	struct deadline *first = deadline_first(&rpc->deadlines);

	rpc->timer_due = first ? first->due : UINT64_MAX;
	if (first) {
		uint64_t now = uv_now(rpc->loop);

		uv_timer_start(&rpc->timer, timer_fired, first->due > now ? first->due - now : 0, 0);
	}
}

static void timer_fired(uv_timer_t *timer)
{
	struct rpc *rpc = timer->data;
	struct deadline *first;

	while ((first = deadline_first(&rpc->deadlines)) && first->due <= uv_now(rpc->loop)) {
		struct rpc_due *due = (struct rpc_due *)first;

		deadline_remove(&rpc->deadlines, first);
		due->expired(due);
	}
	if (!uv_is_closing((uv_handle_t *)timer))
		arm(rpc);
}

int rpc_due_add(struct rpc *rpc, struct rpc_due *due, uint32_t timeout_ms)
{
	int r;

	/* The loop's clock stands since its last turn, which may be long ago when a callback took its time. */
	uv_update_time(rpc->loop);
	r = deadline_add(&rpc->deadlines, &due->d, uv_now(rpc->loop) + timeout_ms);
	/* One that leaves early does not stop the timer: it fires once for nothing. */
	if (!r && due->d.due < rpc->timer_due)
		arm(rpc);
	return r;
}

void rpc_due_remove(struct rpc *rpc, struct rpc_due *due)
{
	deadline_remove(&rpc->deadlines, &due->d);
}

/* ---- before the loop sleeps ---- */

void rpc_mark_dirty(struct rpc_conn *conn)
{
	if (conn->is_dirty || conn->state == CONN_OVER)
		return;
	conn->is_dirty = true;
	DL_APPEND2(conn->rpc->dirty, conn, dirty_prev, dirty_next);
	/* A loop that has nothing else left must not end before this is done. */
	uv_ref((uv_handle_t *)&conn->rpc->prepare);
}

static void before_sleep(uv_prepare_t *prepare)
{
	struct rpc *rpc = prepare->data;

	while (rpc->dirty) {
		struct rpc_conn *conn = rpc->dirty;

		DL_DELETE2(rpc->dirty, conn, dirty_prev, dirty_next);
		conn->is_dirty = false;
		if (conn->err)
			rpc_conn_drop(conn);
		else
			rpc->transport->ops->flush(conn->stream);
	}
	uv_unref((uv_handle_t *)prepare);
}

/* ---- calls ---- */

static void call_finish(struct rpc_call *call, int status, const void *rep)
{
	struct rpc_conn *conn = call->conn;

	HASH_DEL(conn->calls, call);
	rpc_due_remove(conn->rpc, &call->due);
	call->done(call->ctx, status, rep);
	free(call);
}

static void call_expired(struct rpc_due *due)
{
	call_finish((struct rpc_call *)due, -ETIMEDOUT, NULL);
}

void rpc_complete_all(struct rpc_conn *conn, int status)
{
	while (conn->calls)
		call_finish(conn->calls, status, NULL);
}

static int send_frame(struct rpc_conn *conn, enum frame_kind kind, const struct msg_info *info, uint64_t id,
		      const void *msg)
{
	const struct transport_ops *ops = conn->rpc->transport->ops;
	struct frame_header h = { .version = WIRE_VERSION, .kind = (uint8_t)kind, .type = info->number, .id = id };
	struct wire_writer *w = ops->out(conn->stream);
	size_t start;
	int r;

	if (ops->backlog(conn->stream) > RPC_CALL_BACKLOG_MAX)
		return -ENOBUFS;
	start = frame_begin(w);
	info->encode_req(w, msg);
	r = frame_end(w, start, &h);
	if (!r)
		rpc_mark_dirty(conn);
	return r;
}

int rpc_start_call(struct rpc_conn *conn, enum msg_type type, const void *req, uint32_t timeout_ms, rpc_done done,
		   void *ctx)
{
	const struct msg_info *info = msg_info((uint16_t)type);
	struct rpc_call *call;
	int r;

	assert(info && !info->oneway);
	call = calloc(1, sizeof(*call));
	if (!call)
		return -ENOMEM;
	call->due.expired = call_expired;
	call->conn = conn;
	call->info = info;
	call->id = ++conn->next_id;
	call->done = done;
	call->ctx = ctx;
	HASH_ADD(hh, conn->calls, id, sizeof(call->id), call);
	r = call->oom ? -ENOMEM : 0;
	if (!r && timeout_ms)
		r = rpc_due_add(conn->rpc, &call->due, timeout_ms);
	if (!r)
		r = send_frame(conn, FRAME_REQUEST, info, call->id, req);
	if (r < 0) {
		if (!call->oom)
			HASH_DEL(conn->calls, call);
		rpc_due_remove(conn->rpc, &call->due);
		free(call);
	}
	return r;
}

int rpc_call(struct rpc_conn *conn, enum msg_type type, const void *req, uint32_t timeout_ms, rpc_done done, void *ctx)
{
	if (!rpc_conn_is_up(conn))
		return -ENOTCONN;
	return rpc_start_call(conn, type, req, timeout_ms, done, ctx);
}

int rpc_send(struct rpc_conn *conn, enum msg_type type, const void *msg)
{
	const struct msg_info *info = msg_info((uint16_t)type);

	assert(info && info->oneway);
	if (!rpc_conn_is_up(conn))
		return -ENOTCONN;
	return send_frame(conn, FRAME_ONEWAY, info, 0, msg);
}

/* Every struct of the table, to decode one on the stack. */
union any_msg {
#define MSG(number, name, from, state, request, reply) \
	struct msg_##name##_req name##_req;            \
	struct msg_##name##_rep name##_rep;
#define ONEWAY(number, name, from, state, request) struct msg_##name##_req name##_req;
#include "wire/messages.def"
#undef MSG
#undef ONEWAY
	uint64_t align;
};

static void received_reply(struct rpc_conn *conn, struct frame *frame)
{
	struct wire_reader rd = { frame->body, frame->body + frame->h.length };
	int status = wire_status_to_errno(frame->h.status);
	struct rpc_call *call;
	union any_msg rep;

	HASH_FIND(hh, conn->calls, &frame->h.id, sizeof(frame->h.id), call);
	/* Its caller has given up on it. */
	if (!call)
		return;
	if (call->info->number != frame->h.type || (!status && call->info->decode_rep(&rd, &rep) < 0)) {
		log_error("wire", "%s: reply to %s cannot be decoded: connection dropped", conn->peer.address,
			  call->info->name);
		rpc_conn_fail(conn, -EBADMSG);
		call_finish(call, -EBADMSG, NULL);
		return;
	}
	call_finish(call, status, status ? NULL : &rep);
}

/* ---- requests ---- */

void rpc_send_reply(struct rpc_conn *conn, const struct msg_info *info, uint16_t type, uint64_t id, int status,
		    const void *rep)
{
	const struct transport_ops *ops = conn->rpc->transport->ops;
	struct frame_header h = { .version = WIRE_VERSION, .kind = FRAME_REPLY, .type = type, .id = id };
	struct wire_writer *w = ops->out(conn->stream);
	size_t start = frame_begin(w);
	int r;

	h.status = wire_status_from_errno(status);
	if (!status && info->rep_size) {
		assert(rep);
		info->encode_rep(w, rep);
	}
	r = frame_end(w, start, &h);
	if (r == -EMSGSIZE) {
		log_error("wire", "%s: reply to %s is too large", conn->peer.address, info->name);
		rpc_send_reply(conn, info, type, id, r, NULL);
		return;
	}
	if (!r && ops->backlog(conn->stream) > RPC_REPLY_BACKLOG_MAX) {
		log_warn("wire", "%s takes no replies: connection dropped", conn->peer.address);
		r = -ENOBUFS;
	}
	if (r < 0)
		rpc_conn_fail(conn, r);
	rpc_mark_dirty(conn);
}

static void forget(struct rpc_req *rq)
{
	struct rpc_conn *conn = rq->conn;

	DL_DELETE(conn->reqs, rq);
	conn->nr_reqs--;
	conn->held_bytes -= rq->frame->h.length;
	rq->conn = NULL;
}

void rpc_reply(struct rpc_req *rq, int status, const void *rep)
{
	struct rpc_conn *conn = rq->conn;

	assert(status <= 0);
	if (conn) {
		forget(rq);
		rpc_send_reply(conn, rq->info, rq->info->number, rq->id, status, rep);
	}
	free(rq->frame);
	free(rq);
}

struct rpc_conn *rpc_req_conn(const struct rpc_req *rq)
{
	return rq->conn;
}

/* The row says who may send it and when. */
static bool is_permitted(const struct rpc_conn *conn, const struct msg_info *info)
{
	if (info->state == MSG_STATE_NEW)
		return !conn->dialled && conn->state == CONN_NEW;
	if (conn->state != CONN_UP)
		return false;
	switch (info->from) {
	case MSG_FROM_NODE:
		return conn->peer.role == RPC_ROLE_NODE;
	case MSG_FROM_CLIENT:
		return conn->peer.role == RPC_ROLE_CLIENT;
	case MSG_FROM_MEMBER:
		return conn->peer.role != RPC_ROLE_NONE;
	case MSG_FROM_ANY:
		break;
	}
	return false;
}

static void not_permitted(struct rpc_conn *conn, const struct msg_info *info)
{
	bool is_new = conn->state != CONN_UP;

	if (!conn->complained)
		log_warn("wire", "%s (node %u) may not send %s%s", conn->peer.address, conn->peer.node_id, info->name,
			 is_new ? " before hello: connection dropped" : "");
	conn->complained = true;
	if (is_new)
		rpc_conn_fail(conn, -EPERM);
}

static void undecodable(struct rpc_conn *conn, const struct msg_info *info)
{
	log_error("wire", "%s: %s cannot be decoded: connection dropped", conn->peer.address, info->name);
	rpc_conn_fail(conn, -EBADMSG);
}

static struct rpc_service *service_of(struct rpc *rpc, const struct msg_info *info)
{
	size_t n;

	return &rpc->services[info - msg_table(&n)];
}

/* Decodes and hands over; the frame is taken in any case. */
static void serve(struct rpc_conn *conn, const struct msg_info *info, const struct rpc_service *service,
		  struct frame *frame)
{
	struct wire_reader rd = { frame->body, frame->body + frame->h.length };
	struct rpc_req *rq = calloc(1, sizeof(*rq) + info->req_size);

	if (!rq || info->decode_req(&rd, rq->msg) < 0) {
		if (rq)
			undecodable(conn, info);
		else
			rpc_conn_fail(conn, -ENOMEM);
		free(rq);
		free(frame);
		return;
	}
	rq->conn = conn;
	rq->info = info;
	rq->id = frame->h.id;
	rq->frame = frame;
	DL_APPEND(conn->reqs, rq);
	conn->nr_reqs++;
	conn->held_bytes += frame->h.length;
	service->fn(service->ctx, conn, rq, rq->msg);
}

static void received_request(struct rpc_conn *conn, struct frame *frame)
{
	const struct msg_info *info = msg_info(frame->h.type);
	struct rpc_service *service = info ? service_of(conn->rpc, info) : NULL;
	int refuse = 0;

	if (!info || info->oneway) {
		refuse = -ENOSYS; /* of a newer version, perhaps */
	} else if (!is_permitted(conn, info)) {
		refuse = -EPERM;
		not_permitted(conn, info);
	} else if (!service->fn) {
		refuse = -ENOSYS;
	} else if (rpc_conn_is_newcomer(conn) && conn->nr_reqs) {
		/* Who has proved nothing has one question at a time. */
		log_warn("wire", "%s asks more before it has an answer, and has said no hello: connection dropped",
			 conn->peer.address);
		refuse = -ENOBUFS;
		rpc_conn_fail(conn, -ENOBUFS);
	} else if (conn->nr_reqs >= RPC_HELD_MAX || conn->held_bytes > RPC_HELD_BYTES_MAX) {
		log_error("wire", "%s has %u unanswered requests of %zu bytes: connection dropped", conn->peer.address,
			  conn->nr_reqs, conn->held_bytes);
		refuse = -ENOBUFS;
		rpc_conn_fail(conn, -ENOBUFS);
	}
	if (!refuse) {
		serve(conn, info, service, frame);
		return;
	}
	rpc_send_reply(conn, info, frame->h.type, frame->h.id, refuse, NULL);
	free(frame);
}

static void received_oneway(struct rpc_conn *conn, struct frame *frame)
{
	struct wire_reader rd = { frame->body, frame->body + frame->h.length };
	const struct msg_info *info = msg_info(frame->h.type);
	struct rpc_service *service;
	union any_msg msg;

	if (!info || !info->oneway)
		return;
	service = service_of(conn->rpc, info);
	if (!is_permitted(conn, info))
		not_permitted(conn, info);
	else if (info->decode_req(&rd, &msg) < 0)
		undecodable(conn, info);
	else if (service->fn)
		service->fn(service->ctx, conn, NULL, &msg);
}

void rpc_received(struct rpc_conn *conn, struct frame *frame)
{
	if (frame->h.version != WIRE_VERSION) {
		rpc_conn_other_version(conn, &frame->h);
	} else if (frame->h.kind == FRAME_REQUEST) {
		received_request(conn, frame);
		return;
	} else if (frame->h.kind == FRAME_REPLY) {
		received_reply(conn, frame);
	} else {
		received_oneway(conn, frame);
	}
	free(frame);
}

/* ---- the rpc itself ---- */

static void serve_ping(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_ping_req *req = msg;
	struct msg_ping_rep rep = { .stamp = req->stamp };

	(void)ctx, (void)conn;
	rpc_reply(rq, 0, &rep);
}

/* libuv writes without MSG_NOSIGNAL; a peer that went away must not end the process. */
static void ignore_sigpipe(void)
{
	struct sigaction old;

	if (!sigaction(SIGPIPE, NULL, &old) && old.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
}

static void handle_closed(uv_handle_t *h)
{
	rpc_unref(h->data);
}

int rpc_new(uv_loop_t *loop, const struct rpc_self *self, struct tls_identity *tls, struct rpc **ret_rpc)
{
	struct rpc *rpc = calloc(1, sizeof(*rpc));
	size_t nr_rows;
	int r = -ENOMEM;

	if (!rpc)
		return r;
	msg_table(&nr_rows);
	rpc->services = calloc(nr_rows, sizeof(*rpc->services));
	if (rpc->services)
		r = tcp_transport_new(loop, tls, &rpc->transport);
	if (r < 0) {
		free(rpc->services);
		free(rpc);
		return r;
	}
	ignore_sigpipe();
	rpc->loop = loop;
	rpc->self = *self;
	rpc->timer_due = UINT64_MAX;
	rpc->new_timeout_ms = RPC_NEW_TIMEOUT_MS;
	rpc->refs = 3;
	rpc->timer.data = rpc->prepare.data = rpc;
	uv_timer_init(loop, &rpc->timer);
	uv_prepare_init(loop, &rpc->prepare);
	uv_prepare_start(&rpc->prepare, before_sleep);
	/* Connections and listeners keep the loop running, these two do not. */
	uv_unref((uv_handle_t *)&rpc->timer);
	uv_unref((uv_handle_t *)&rpc->prepare);
	rpc_handle(rpc, MSG_hello, rpc_serve_hello, NULL);
	rpc_handle(rpc, MSG_ping, serve_ping, NULL);
	*ret_rpc = rpc;
	return 0;
}

void rpc_unref(struct rpc *rpc)
{
	if (--rpc->refs)
		return;
	deadlines_release(&rpc->deadlines);
	free(rpc->services);
	free(rpc);
}

void rpc_free(struct rpc *rpc)
{
	if (!rpc)
		return;
	rpc->freed = true;
	while (rpc->conns)
		rpc_conn_close(rpc->conns);
	while (rpc->newcomers)
		rpc_conn_close(rpc->newcomers);
	rpc->transport->ops->free(rpc->transport);
	uv_close((uv_handle_t *)&rpc->timer, handle_closed);
	uv_close((uv_handle_t *)&rpc->prepare, handle_closed);
	rpc_unref(rpc);
}

void rpc_handle(struct rpc *rpc, enum msg_type type, rpc_handler handler, void *ctx)
{
	const struct msg_info *info = msg_info((uint16_t)type);

	assert(info);
	*service_of(rpc, info) = (struct rpc_service){ handler, ctx };
}

void rpc_on_accept(struct rpc *rpc, const struct rpc_conn_events *events, void *ctx)
{
	rpc->accept_events = *events;
	rpc->accept_ctx = ctx;
}

int rpc_listen(struct rpc *rpc, const char *host, uint16_t port, uint16_t *ret_port)
{
	uint16_t bound;
	int r = rpc->transport->ops->listen(rpc->transport, host, port, rpc_accepted, rpc, &bound);

	if (!r && ret_port)
		*ret_port = bound;
	return r;
}
