/*
 * The file service: volumes as the configuration names them, messages to the volume they are about, the clock.
 * Loop thread only. See volume.h for who does what.
 */
#include "cfsd/service.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utlist.h>

#include "cfsd/local.h"
#include "cfsd/volume.h"
#include "common/bytes.h"
#include "common/log.h"

enum { TICK_MS = 20, FILE_OPS = 2 /* page of messages.def */, SESSIONS_OF_CONN_MAX = 64 };

/* The context of a file operation's handler. */
struct service_op {
	struct file_service *svc;
	const struct msg_info *info;
};

uint64_t volume_now_ms(const struct volume *v)
{
	return uv_now(v->svc->conf.loop);
}

struct volume *volume_find(struct file_service *svc, uint32_t fs)
{
	struct volume *v;

	DL_FOREACH(svc->volumes, v)
		if (v->fs == fs)
			return v;
	return NULL;
}

/* ---- roles ---- */

bool volume_check_lease(struct volume *v)
{
	struct file_service_host *h = &v->svc->host;
	bool valid;

	if (repl_config(v->repl)->server != v->svc->conf.self)
		return false;
	valid = !v->svc->stopping && h->lease_valid(h->ctx, v->fs, repl_epoch(v->repl));
	if (valid != (repl_role(v->repl) == REPL_SERVER))
		volume_step(v, &(struct repl_event){ .type = REPL_EV_LEASE, .valid = valid });
	return valid;
}

bool volume_may_serve(struct volume *v, uint64_t epoch)
{
	volume_check_lease(v);
	/* Epochs of ours that only changed the in-sync set are all the same to a client. */
	return v->serving && epoch >= v->first_epoch && epoch <= v->epoch;
}

static void describe_in_sync(const struct volume *v, char *buf, size_t size)
{
	const struct config_fs *fs = repl_config(v->repl);
	size_t len = 0;

	buf[0] = 0;
	for (size_t i = 0; i < fs->nr_in_sync && len < size; i++) {
		const struct config_node *n = config_node_by_id(v->svc->config, fs->in_sync[i]);

		len += (size_t)snprintf(buf + len, size - len, " %s", n ? n->name : "?");
	}
}

void volume_note_role(struct volume *v)
{
	char in_sync[sizeof(v->in_sync)];

	/* The in-sync set changes with the epoch only; this is asked several times for every change of a file. */
	if (v->role == repl_role(v->repl) && v->noted_epoch == repl_epoch(v->repl))
		return;
	v->noted_epoch = repl_epoch(v->repl);
	describe_in_sync(v, in_sync, sizeof(in_sync));
	if (v->role == repl_role(v->repl) && !strcmp(in_sync, v->in_sync))
		return;
	v->role = repl_role(v->repl);
	memcpy(v->in_sync, in_sync, sizeof(in_sync));
	log_info("fs", "%s: %s at epoch %" PRIu64 ", position %" PRIu64 ", in sync:%s", v->name, repl_role_name(v->role),
		 repl_epoch(v->repl), repl_position(v->repl).lsn, in_sync);
}

/* ---- volumes ---- */

static uint64_t realtime_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* Of the very first epoch, alone, and empty: the filesystem is to be made. */
static bool is_to_be_made(const struct volume *v, const struct config_fs *fs)
{
	return fs->epoch == 1 && fs->server == v->svc->conf.self && fs->nr_in_sync == 1 &&
	       !store_is_formatted(v->store) && !local_is_copying(v->store);
}

static int open_store(struct volume *v, const struct config_fs *fs, uint32_t *ret_flags)
{
	struct file_service_host *h = &v->svc->host;
	bool lost;
	int r = h->open_store(h->ctx, v->fs, &v->store);

	if (r < 0)
		return r;
	r = local_power_lost(v->store, &lost);
	if (!r && is_to_be_made(v, fs)) {
		log_info("fs", "%s: making the filesystem", v->name);
		r = store_format(v->store, fs->epoch, realtime_ns());
		if (!r)
			r = store_sync(v->store, 0);
	}
	if (r < 0)
		return r;
	v->distrust = lost;
	*ret_flags = 0;
	if (!lost)
		r = local_note_opened(v->store);
	if (local_is_copying(v->store) || !store_is_formatted(v->store))
		*ret_flags = REPL_ATTACH_LOST;
	else if (lost)
		*ret_flags = REPL_ATTACH_LOST | REPL_ATTACH_SURVIVED;
	if (*ret_flags & REPL_ATTACH_SURVIVED)
		log_warn("fs", "%s: this node's copy may have lost what was not synced", v->name);
	else if (*ret_flags && fs->server == v->svc->conf.self)
		log_error("fs", "%s: this node is the server, but its copy is %s", v->name,
			  store_is_formatted(v->store) ? "incomplete" : "gone");
	return r;
}

static void volume_close(struct volume *v)
{
	repl_free(v->repl);
	repl_log_free(v->log);
	store_close(v->store);
	txn_release(&v->txn);
	free(v->reap);
	free(v);
}

void volume_unref(struct volume *v)
{
	if (--v->refs == 0)
		volume_close(v);
}

int volume_reopen(struct volume *v)
{
	struct file_service_host *h = &v->svc->host;
	struct store *s;
	int r;

	if (v->nr_workers)
		return -EBUSY;
	store_close(v->store);
	v->store = NULL;
	r = h->open_store(h->ctx, v->fs, &s);
	if (r < 0) {
		/* Nothing can be done without; the next start tries again. */
		log_error("fs", "%s: cannot be opened again: %s", v->name, strerror(-r));
		abort();
	}
	v->store = s;
	v->store_broken = v->sync_failed = false;
	return 0;
}

static int volume_new(struct file_service *svc, const struct config_fs *fs)
{
	struct repl_conf rc = { .self = svc->conf.self, .ack_ms = 500, .attach_ms = 700, .retry_ms = 50, .join_lag = 256 };
	struct volume *v = calloc(1, sizeof(*v));
	uint32_t flags;
	int r = v ? 0 : -ENOMEM;

	if (r < 0)
		return r;
	v->svc = svc;
	v->refs = 1;
	v->fs = fs->id;
	snprintf(v->name, sizeof(v->name), "%s", fs->name);
	txn_init(&v->txn);
	r = open_store(v, fs, &flags);
	if (!r)
		r = repl_log_new(svc->conf.log_records, svc->conf.log_bytes, &v->log);
	if (!r) {
		repl_log_reset(v->log, store_position(v->store));
		r = repl_new(&rc, v->log, flags, &v->repl);
	}
	if (r < 0) {
		volume_unref(v);
		return r;
	}
	DL_APPEND(svc->volumes, v);
	return 0;
}

static void volume_config(struct file_service *svc, const struct config_fs *fs)
{
	struct volume *v = volume_find(svc, fs->id);
	int r;

	if (!v && config_fs_is_member(fs, svc->conf.self)) {
		r = volume_new(svc, fs);
		if (r < 0) {
			log_error("fs", "%s: its copy cannot be opened: %s", fs->name, strerror(-r));
			return;
		}
		v = volume_find(svc, fs->id);
	}
	if (!v)
		return;
	volume_step(v, &(struct repl_event){ .type = REPL_EV_CONFIG, .fs = fs });
	volume_check_lease(v);
	if (v->serving)
		sync_check(v);
}

void file_service_config(struct file_service *svc, const struct config *c)
{
	struct config *copy = malloc(sizeof(*copy));

	if (!copy) {
		log_error("fs", "no memory for a new configuration");
		return;
	}
	*copy = *c;
	free(svc->config);
	svc->config = copy;
	for (size_t i = 0; i < copy->nr_fs; i++)
		volume_config(svc, &copy->fs[i]);
}

void file_service_lease_lost(struct file_service *svc, uint32_t fs)
{
	struct volume *v = volume_find(svc, fs);

	if (v)
		volume_check_lease(v);
}

/* ---- the clock ---- */

static void report(struct volume *v)
{
	struct file_service_host *h = &v->svc->host;
	struct wire_logpos pos = repl_position(v->repl);

	/* Nothing is known of the configuration yet, so nothing of what the copy is worth. */
	if (!repl_epoch(v->repl))
		return;
	h->report(h->ctx, &(struct lease_position){ .fs = v->fs,
						    .epoch = pos.epoch,
						    .lsn = pos.lsn,
						    .at = repl_epoch(v->repl),
						    .copy = repl_copy(v->repl) });
}

static void on_tick(uv_timer_t *timer)
{
	struct file_service *svc = timer->data;
	struct volume *v;

	DL_FOREACH(svc->volumes, v) {
		volume_check_lease(v);
		volume_step(v, &(struct repl_event){ .type = REPL_EV_TICK });
		sync_hand_over(v);
		sync_free_removed(v);
		report(v);
		if (!v->serving)
			continue;
		session_tick(v->sessions, volume_now_ms(v));
		token_tick(v->tokens, volume_now_ms(v));
		volume_reap(v);
		if (v->serving)
			sync_check(v);
	}
}

/* Acknowledgements of all that one reading of the sockets brought go out as one. */
static void after_poll(uv_check_t *check)
{
	struct file_service *svc = check->data;
	struct volume *v;

	DL_FOREACH(svc->volumes, v)
		repl_io_send_ack(v);
}

/* ---- connections and messages ---- */

static void conn_down(void *ctx, struct rpc_conn *conn, int err)
{
	struct file_service *svc = ctx;
	uint64_t ids[SESSIONS_OF_CONN_MAX];
	struct volume *v;

	(void)err;
	DL_FOREACH(svc->volumes, v) {
		repl_io_conn_down(v, conn);
		if (!v->sessions)
			continue;
		for (size_t n = sessions_of_conn(v->sessions, conn, ids, SESSIONS_OF_CONN_MAX); n > 0; n--)
			token_detach_session(v->tokens, ids[n - 1], volume_now_ms(v));
		session_detach(v->sessions, conn, volume_now_ms(v));
	}
}

static void on_file_op(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	struct service_op *op = ctx;

	request_handle(op->svc, op->info, conn, rq, msg);
}

static void on_session_open(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_session_open_req *m = msg;
	struct volume *v = volume_find(ctx, m->fs);
	int r = -EREMCHG;

	if (v)
		volume_check_lease(v);
	/* Of whatever epoch the client knows: the answer says which it is. Ahead of us, it knows another server. */
	if (v && v->serving && m->epoch <= v->epoch)
		r = session_open_handle(v, conn, rq, m);
	if (r < 0)
		rpc_reply(rq, r, NULL);
}

static void on_session_close(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_session_close_req *m = msg;
	struct volume *v = volume_find(ctx, m->fs);
	int r = -EREMCHG;

	if (v && volume_may_serve(v, m->epoch))
		r = session_close_handle(v, conn, rq, m);
	if (r < 0)
		rpc_reply(rq, r, NULL);
}

static void on_repl_attach(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_repl_attach_req *m = msg;
	struct volume *v = volume_find(ctx, m->fs);

	if (v)
		repl_io_attach(v, conn, rq, m);
	else
		rpc_reply(rq, -EREMCHG, NULL);
}

static void on_repl_record(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_repl_record_req *m = msg;
	struct volume *v = volume_find(ctx, m->fs);

	(void)rq;
	if (v)
		repl_io_record(v, conn, m);
}

static void on_repl_ack(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_repl_ack_req *m = msg;
	struct volume *v = volume_find(ctx, m->fs);

	(void)rq;
	if (v)
		repl_io_ack(v, conn, m);
}

static void on_repl_refuse(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_repl_refuse_req *m = msg;
	struct volume *v = volume_find(ctx, m->fs);

	(void)rq;
	if (v)
		volume_step(v, &(struct repl_event){ .type = REPL_EV_REFUSED,
						     .node = rpc_conn_peer(conn)->node_id,
						     .epoch = m->epoch });
}

static void on_repl_sync(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_repl_sync_req *m = msg;
	struct volume *v = volume_find(ctx, m->fs);

	(void)conn;
	if (v)
		sync_serve(v, rq, m);
	else
		rpc_reply(rq, -EREMCHG, NULL);
}

static bool may_copy_from(const struct volume *v, uint64_t epoch)
{
	return v && repl_role(v->repl) == REPL_SERVER && epoch <= repl_epoch(v->repl);
}

static void on_copy_keys(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_copy_keys_req *m = msg;
	struct volume *v = volume_find(ctx, m->fs);

	(void)conn;
	if (may_copy_from(v, m->epoch))
		resync_serve_keys(v, rq, m);
	else
		rpc_reply(rq, -EREMCHG, NULL);
}

static void on_copy_data(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_copy_data_req *m = msg;
	struct volume *v = volume_find(ctx, m->fs);

	(void)conn;
	if (may_copy_from(v, m->epoch))
		resync_serve_data(v, rq, m);
	else
		rpc_reply(rq, -EREMCHG, NULL);
}

static void on_fs_stat(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_fs_stat_req *m = msg;
	struct volume *v = volume_find(ctx, m->fs);
	struct msg_fs_stat_rep rep;

	(void)conn;
	if (!v) {
		rpc_reply(rq, -ENOENT, NULL);
		return;
	}
	rep = (struct msg_fs_stat_rep){
		.role = (uint8_t)repl_role(v->repl),
		.epoch = repl_epoch(v->repl),
		.pos = repl_position(v->repl),
		.committed = v->serving ? v->committed : repl_committed(v->repl),
		.sessions = v->sessions ? (uint32_t)sessions_count(v->sessions) : 0,
		.tokens = v->tokens ? (uint32_t)tokens_count(v->tokens) : 0,
		.held = (uint32_t)v->nr_requests,
		.free = volume_free_bytes(v),
	};
	rpc_reply(rq, 0, &rep);
}

static int handle_file_ops(struct file_service *svc)
{
	size_t n, k = 0;
	const struct msg_info *table = msg_table(&n);

	svc->ops = calloc(n, sizeof(*svc->ops));
	if (!svc->ops)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (table[i].number >> 8 != FILE_OPS)
			continue;
		svc->ops[k] = (struct service_op){ svc, &table[i] };
		rpc_handle(svc->conf.rpc, (enum msg_type)table[i].number, on_file_op, &svc->ops[k++]);
	}
	return 0;
}

static void handle_messages(struct file_service *svc)
{
	struct rpc *rpc = svc->conf.rpc;

	rpc_handle(rpc, MSG_session_open, on_session_open, svc);
	rpc_handle(rpc, MSG_session_close, on_session_close, svc);
	rpc_handle(rpc, MSG_repl_attach, on_repl_attach, svc);
	rpc_handle(rpc, MSG_repl_record, on_repl_record, svc);
	rpc_handle(rpc, MSG_repl_ack, on_repl_ack, svc);
	rpc_handle(rpc, MSG_repl_refuse, on_repl_refuse, svc);
	rpc_handle(rpc, MSG_repl_sync, on_repl_sync, svc);
	rpc_handle(rpc, MSG_copy_keys, on_copy_keys, svc);
	rpc_handle(rpc, MSG_copy_data, on_copy_data, svc);
	rpc_handle(rpc, MSG_fs_stat, on_fs_stat, svc);
}

/* ---- beginning and end ---- */

int file_service_new(const struct file_service_conf *conf, const struct file_service_host *host,
		     struct file_service **ret_svc)
{
	static const struct rpc_conn_events accepted = { NULL, conn_down };
	struct file_service *svc = calloc(1, sizeof(*svc));
	int r = svc ? 0 : -ENOMEM;

	if (r < 0)
		return r;
	svc->conf = *conf;
	svc->host = *host;
	r = handle_file_ops(svc);
	if (r < 0) {
		free(svc);
		return r;
	}
	handle_messages(svc);
	rpc_on_accept(conf->rpc, &accepted, svc);
	uv_timer_init(conf->loop, &svc->tick);
	uv_check_init(conf->loop, &svc->after_poll);
	svc->tick.data = svc->after_poll.data = svc;
	svc->open_handles = 2;
	uv_timer_start(&svc->tick, on_tick, TICK_MS, TICK_MS);
	uv_check_start(&svc->after_poll, after_poll);
	*ret_svc = svc;
	return 0;
}

static void handle_closed(uv_handle_t *h)
{
	struct file_service *svc = h->data;

	if (--svc->open_handles)
		return;
	free(svc->config);
	free(svc->ops);
	free(svc);
}

static void volume_end(struct volume *v)
{
	bool whole = repl_copy(v->repl) == LEASE_COPY_WHOLE;

	if (v->serving)
		volume_stop(v);
	v->closed = true;
	resync_abort(v);
	repl_io_stop(v);
	volume_forget(v);
	/* Whatever workers still do, the store may be closed as synced: they only sync, too. */
	if (whole && !v->distrust) {
		if (store_sync(v->store, 0) == 0)
			local_note_closed(v->store);
		else
			local_note_lost(v->store);
	}
	DL_DELETE(v->svc->volumes, v);
	volume_unref(v);
}

void file_service_stop(struct file_service *svc)
{
	struct volume *v;

	svc->stopping = true;
	DL_FOREACH(svc->volumes, v)
		volume_check_lease(v);
}

void file_service_free(struct file_service *svc)
{
	struct volume *v, *next;

	if (!svc)
		return;
	svc->stopping = true;
	DL_FOREACH_SAFE(svc->volumes, v, next)
		volume_end(v);
	rpc_on_accept(svc->conf.rpc, &(struct rpc_conn_events){ NULL, NULL }, NULL);
	uv_close((uv_handle_t *)&svc->tick, handle_closed);
	uv_close((uv_handle_t *)&svc->after_poll, handle_closed);
}
