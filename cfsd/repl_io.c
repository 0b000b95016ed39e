/*
 * Drives the replication core of a volume: connections, records, acknowledgements, changes of the configuration.
 * Members dial the server and attach; records come back on the same connection, acknowledgements go out on it.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cfsd/volume.h"
#include "common/log.h"

enum { CONNECT_MS = 1000, ATTACH_MS = 2000 };

static uint64_t free_bytes(const struct volume *v)
{
	struct data *d = store_data(v->store);
	uint64_t total, left;

	return d->ops->space(d, &total, &left) < 0 ? 0 : left;
}

/* ---- followers ---- */

static struct follower *follower_of(struct volume *v, uint32_t node)
{
	for (size_t i = 0; i < v->nr_followers; i++)
		if (v->followers[i].node == node)
			return &v->followers[i];
	return NULL;
}

static struct follower *follower_get(struct volume *v, uint32_t node)
{
	struct follower *f = follower_of(v, node);

	if (f || v->nr_followers == CONFIG_MEMBERS_MAX)
		return f;
	f = &v->followers[v->nr_followers++];
	*f = (struct follower){ .node = node };
	return f;
}

static void follower_forget(struct volume *v, uint32_t node, int status)
{
	struct follower *f = follower_of(v, node);

	if (!f)
		return;
	if (f->attach)
		rpc_reply(f->attach, status, NULL);
	*f = v->followers[--v->nr_followers];
}

static void lost(struct volume *v, uint32_t node)
{
	volume_step(v, &(struct repl_event){ .type = REPL_EV_LOST, .node = node });
}

static bool send_record(struct volume *v, const struct repl_action *a, uint64_t lsn)
{
	const struct record *rec = repl_log_get(v->log, lsn);
	struct follower *f = follower_of(v, a->node);
	struct msg_repl_record_req m;
	int r = -ENOTCONN;

	if (rec && f && f->conn) {
		m = (struct msg_repl_record_req){
			.fs = v->fs,
			.epoch = a->epoch,
			.prev = rec->prev,
			.pos = rec->pos,
			.committed = v->committed,
			.batch = { rec->batch, (uint32_t)rec->batch_len },
			.extents = { rec->extents, (uint32_t)rec->extents_len },
		};
		r = rpc_send(f->conn, MSG_repl_record, &m);
	}
	if (r < 0)
		lost(v, a->node);
	return r == 0;
}

static void send_tail(struct volume *v, const struct repl_action *a)
{
	uint64_t last = repl_log_last(v->log).lsn;

	for (uint64_t lsn = a->pos.lsn + 1; lsn <= last; lsn++)
		if (!send_record(v, a, lsn))
			return;
}

static void accept_follower(struct volume *v, const struct repl_action *a)
{
	struct follower *f = follower_of(v, a->node);
	struct msg_repl_attach_rep rep = {
		.epoch = a->epoch, .mode = (uint8_t)a->mode, .pos = a->pos, .loss = store_loss(v->store)
	};

	if (!f || !f->attach)
		return;
	log_info("fs", "%s: node %u follows from %" PRIu64 "%s", v->name, a->node, a->pos.lsn,
		 a->mode == REPL_MODE_COPY ? ", copying everything" : "");
	rpc_reply(f->attach, 0, &rep);
	f->attach = NULL;
	f->acked = a->mode == REPL_MODE_COPY ? 0 : a->pos.lsn;
}

static void refuse(struct volume *v, const struct repl_action *a)
{
	struct msg_repl_refuse_req m = { .fs = v->fs, .epoch = a->epoch };

	if (a->status < 0)
		follower_forget(v, a->node, a->status);
	else if (v->record_conn)
		rpc_send(v->record_conn, MSG_repl_refuse, &m);
}

static void drop_follower(struct volume *v, uint32_t node)
{
	struct follower *f = follower_of(v, node);
	struct rpc_conn *conn = f ? f->conn : NULL;

	follower_forget(v, node, -EREMCHG);
	if (!conn)
		return;
	log_info("fs", "%s: node %u is let go", v->name, node);
	rpc_conn_close(conn);
}

void repl_io_attach(struct volume *v, struct rpc_conn *conn, struct rpc_req *rq, const struct msg_repl_attach_req *m)
{
	uint32_t node = rpc_conn_peer(conn)->node_id;
	struct follower *f;

	follower_forget(v, node, -ECANCELED);
	f = follower_get(v, node);
	if (!f) {
		rpc_reply(rq, -EREMCHG, NULL);
		return;
	}
	f->conn = conn;
	f->attach = rq;
	f->free = m->free;
	volume_step(v, &(struct repl_event){ .type = REPL_EV_ATTACH,
					      .node = node,
					      .epoch = m->epoch,
					      .pos = m->pos,
					      .flags = m->flags });
}

void repl_io_ack(struct volume *v, struct rpc_conn *conn, const struct msg_repl_ack_req *m)
{
	uint32_t node = rpc_conn_peer(conn)->node_id;
	struct follower *f = follower_of(v, node);

	if (!f || f->conn != conn)
		return;
	f->acked = m->pos.lsn;
	f->free = m->free;
	volume_step(v, &(struct repl_event){ .type = REPL_EV_ACK, .node = node, .pos = m->pos });
}

/* ---- following ---- */

static void source_close(struct volume *v)
{
	struct rpc_conn *conn = v->source;

	v->source = NULL;
	v->ack_due = false;
	rpc_conn_close(conn);
}

static void detached(struct volume *v, uint32_t node)
{
	volume_step(v, &(struct repl_event){ .type = REPL_EV_DETACHED, .node = node });
}

/* By the connection: the call may end after the volume has another source. */
struct attach_call {
	struct volume *v; /* holds a reference */
	struct rpc_conn *conn;
};

static void attach_done(void *ctx, int status, const void *msg)
{
	struct attach_call *call = ctx;
	const struct msg_repl_attach_rep *rep = msg;
	struct volume *v = call->v;
	struct repl_event ev = { .type = REPL_EV_ATTACHED, .node = v->source_node, .status = status };

	if (!status) {
		ev.mode = (enum repl_mode)rep->mode;
		ev.pos = rep->pos;
		ev.epoch = rep->epoch;
	}
	if (!v->closed && v->source == call->conn) {
		if (!status)
			v->source_loss = rep->loss;
		volume_step(v, &ev);
	}
	volume_unref(v);
	free(call);
}

static void source_up(void *ctx, struct rpc_conn *conn)
{
	struct volume *v = ctx;
	struct msg_repl_attach_req m = {
		.fs = v->fs,
		.epoch = repl_epoch(v->repl),
		.pos = repl_position(v->repl),
		.flags = v->attach_flags,
		.free = free_bytes(v),
	};
	struct attach_call *call = malloc(sizeof(*call));

	if (!call)
		return;
	*call = (struct attach_call){ v, conn };
	v->refs++;
	if (rpc_call(conn, MSG_repl_attach, &m, ATTACH_MS, attach_done, call) < 0) {
		volume_unref(v);
		free(call);
		source_close(v);
		detached(v, v->source_node);
	}
}

static void source_down(void *ctx, struct rpc_conn *conn, int err)
{
	struct volume *v = ctx;

	(void)err;
	if (v->source != conn)
		return;
	v->source = NULL;
	v->ack_due = false;
	detached(v, v->source_node);
}

static void attach(struct volume *v, const struct repl_action *a)
{
	static const struct rpc_conn_events events = { source_up, source_down };
	const struct config_node *n = config_node_by_id(v->svc->config, a->node);
	uint16_t port = n ? (uint16_t)(n->port + v->svc->conf.port_offset) : 0;

	source_close(v);
	v->source_node = a->node;
	v->attach_flags = a->flags;
	if (!n || rpc_connect(v->svc->conf.rpc, n->host, port, CONNECT_MS, &events, v, &v->source) < 0) {
		v->source = NULL;
		detached(v, a->node);
		return;
	}
	rpc_conn_expect(v->source, a->node);
}

void repl_io_send_ack(struct volume *v)
{
	struct msg_repl_ack_req m = { .fs = v->fs, .epoch = repl_epoch(v->repl), .pos = v->ack_pos };

	if (!v->ack_due)
		return;
	v->ack_due = false;
	/* Asked for only when it is told: an answer counts as space about to be used. */
	m.free = free_bytes(v);
	if (v->source)
		rpc_send(v->source, MSG_repl_ack, &m);
}

static void broken(struct volume *v, int err)
{
	log_error("fs", "%s: this copy is broken: %s", v->name, strerror(-err));
	volume_step(v, &(struct repl_event){ .type = REPL_EV_BROKEN });
}

static int apply(struct volume *v)
{
	const struct msg_repl_record_req *m = v->record;
	struct record rec = {
		.prev = m->prev,
		.pos = m->pos,
		.batch = m->batch.p,
		.batch_len = m->batch.len,
		.extents = m->extents.p,
		.extents_len = m->extents.len,
	};
	int r = store_apply(v->store, &rec);

	if (r < 0) {
		v->store_broken = true;
		broken(v, r);
		return r;
	}
	repl_log_append(v->log, &rec);
	return 0;
}

void repl_io_record(struct volume *v, struct rpc_conn *conn, const struct msg_repl_record_req *m)
{
	struct repl_event ev = {
		.type = REPL_EV_RECORD,
		.node = rpc_conn_peer(conn)->node_id,
		.epoch = m->epoch,
		.prev = m->prev,
		.pos = m->pos,
		.committed = m->committed,
	};

	v->record = m;
	v->record_conn = conn;
	volume_step(v, &ev);
	v->record = NULL;
	v->record_conn = NULL;
}

/* ---- the configuration ---- */

/* Owned by the volume: at its end the host does not answer any more. */
struct change_call {
	struct volume *v;
	uint64_t expected;
};

static void change_done(void *ctx, int status)
{
	struct change_call *call = ctx;
	struct volume *v = call->v;

	if (status < 0)
		log_info("fs", "%s: change of epoch %" PRIu64 ": %s", v->name, call->expected, strerror(-status));
	v->change = NULL;
	volume_step(v, &(struct repl_event){ .type = REPL_EV_CHANGED, .epoch = call->expected, .status = status });
	free(call);
}

static void change(struct volume *v, const struct repl_action *a)
{
	struct file_service_host *h = &v->svc->host;
	struct change_call *call = v->change ? NULL : malloc(sizeof(*call));

	/* The one before has not been answered: this one's turn comes. */
	if (!call) {
		volume_step(v, &(struct repl_event){
				       .type = REPL_EV_CHANGED, .epoch = a->epoch, .status = -EAGAIN });
		return;
	}
	*call = (struct change_call){ v, a->epoch };
	v->change = call;
	h->change(h->ctx, v->fs, a->epoch, a->server, a->in_sync, a->nr_in_sync, change_done, call);
}

/* ---- the core ---- */

/* 0, or a negative errno: the actions after this one are void. */
static int run_action(struct volume *v, const struct repl_action *a)
{
	int r = 0;

	switch (a->type) {
	case REPL_ACT_START:
		r = volume_start(v, a->epoch, a->fresh);
		if (r < 0)
			broken(v, r);
		break;
	case REPL_ACT_STOP:
		volume_stop(v);
		break;
	case REPL_ACT_COMMIT:
		volume_committed(v, a->pos.lsn);
		break;
	case REPL_ACT_CHANGE:
		change(v, a);
		break;
	case REPL_ACT_SEND:
		send_record(v, a, a->pos.lsn);
		break;
	case REPL_ACT_TAIL:
		send_tail(v, a);
		break;
	case REPL_ACT_ACCEPT:
		accept_follower(v, a);
		break;
	case REPL_ACT_REFUSE:
		refuse(v, a);
		break;
	case REPL_ACT_DROP:
		drop_follower(v, a->node);
		break;
	case REPL_ACT_SYNC:
		sync_member(v, a->node, a->pos.lsn);
		break;
	case REPL_ACT_RECOVER:
		recover_start(v, a->epoch);
		break;
	case REPL_ACT_ATTACH:
		attach(v, a);
		break;
	case REPL_ACT_DETACH:
		source_close(v);
		break;
	case REPL_ACT_APPLY:
		r = apply(v);
		break;
	case REPL_ACT_REDO:
		assert(false && "the store completes its last record itself, a torn one is never reported");
		break;
	case REPL_ACT_SPOOL:
		r = resync_spool(v, v->record);
		break;
	case REPL_ACT_ACK:
		v->ack_due = true;
		v->ack_pos = a->pos;
		break;
	case REPL_ACT_COPY:
		r = resync_start(v, v->source, a->epoch, a->pos);
		if (r < 0)
			detached(v, a->node);
		break;
	case REPL_ACT_ABORT:
		resync_abort(v);
		break;
	}
	return r;
}

static void step(struct volume *v, struct repl_event *ev)
{
	struct repl_actions out;

	ev->now_ms = volume_now_ms(v);
	repl_step(v->repl, ev, &out);
	for (size_t i = 0; i < out.n; i++)
		if (run_action(v, &out.v[i]) < 0)
			break;
}

void volume_step(struct volume *v, const struct repl_event *event)
{
	struct repl_event ev = *event;

	if (v->closed)
		return;
	/* What the actions bring about comes after them. */
	if (v->stepping) {
		if (v->nr_pending < VOLUME_PENDING_MAX)
			v->pending[v->nr_pending++] = ev;
		else
			assert(false && "too many events");
		return;
	}
	v->stepping = true;
	step(v, &ev);
	while (v->nr_pending) {
		ev = v->pending[0];
		v->nr_pending--;
		memmove(v->pending, v->pending + 1, v->nr_pending * sizeof(ev));
		step(v, &ev);
	}
	v->stepping = false;
	volume_note_role(v);
}

void repl_io_conn_down(struct volume *v, struct rpc_conn *conn)
{
	for (size_t i = 0; i < v->nr_followers; i++) {
		uint32_t node = v->followers[i].node;

		if (v->followers[i].conn != conn)
			continue;
		follower_forget(v, node, -ECONNRESET);
		lost(v, node);
		return;
	}
}

void repl_io_stop(struct volume *v)
{
	source_close(v);
	free(v->change);
	v->change = NULL;
	while (v->nr_followers)
		follower_forget(v, v->followers[0].node, -EREMCHG);
}
