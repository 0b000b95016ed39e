/* The file service of a simulated node: the shell of sessions and operations. */
#include "tests/sim/node_files.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "cfsd/meta_key.h"
#include "common/bytes.h"
#include "tests/sim/check.h"

/* ---- replies ---- */

static void held_free(struct held *h)
{
	wire_writer_release(&h->rep);
	free(h);
}

static void send_held(struct sim_node *n, struct held *h)
{
	net_reply_bytes(n->sim->net, h->rq, h->status, h->rep.buf, h->rep.len);
	held_free(h);
}

/* A reply waits until everything that the store held when it was made is committed. */
static struct held *hold(struct sim_node *n, struct net_request *rq, int status, const void *rep)
{
	struct held *h = calloc(1, sizeof(*h));

	assert(h);
	h->rq = rq;
	h->status = status;
	h->lsn = files_lsn(n);
	wire_writer_init(&h->rep);
	if (!status && rep)
		rq->info->encode_rep(&h->rep, rep);
	DL_APPEND(n->files->held, h);
	return h;
}

static void release_held(struct sim_node *n)
{
	struct held *h, *next;

	DL_FOREACH_SAFE(n->files->held, h, next) {
		if (h->lsn > n->files->committed)
			continue;
		DL_DELETE(n->files->held, h);
		send_held(n, h);
	}
}

void files_commit(struct sim_node *n, uint64_t lsn)
{
	n->files->committed = lsn;
	release_held(n);
	files_sync_check(n);
}

static void refuse_held(struct sim_node *n)
{
	struct held *h, *next;

	DL_FOREACH_SAFE(n->files->held, h, next) {
		DL_DELETE(n->files->held, h);
		net_reply(n->sim->net, h->rq, -EREMCHG, NULL);
		held_free(h);
	}
}

/* ---- changes ---- */

static bool is_open(void *ctx, uint64_t ino)
{
	struct sim_node *n = ctx;

	return session_is_open(n->files->sessions, ino);
}

static struct op_env env_of(struct sim_node *n, struct wire_writer *scratch)
{
	struct wire_logpos pos = { n->files->epoch, files_lsn(n) + 1 };

	return (struct op_env){ .store = n->store,
				.pos = pos,
				.now_ns = (node_clock(n) + 1) * 1000000u,
				.is_open = is_open,
				.is_open_ctx = n,
				.scratch = scratch };
}

static void make_record(struct sim_node *n, struct txn *txn)
{
	struct record rec = { .prev = store_position(n->store),
			      .pos = { n->files->epoch, files_lsn(n) + 1 },
			      .batch = txn->meta.buf,
			      .batch_len = txn->meta.len,
			      .extents = txn->extents.buf,
			      .extents_len = txn->extents.len };

	files_made(n, &rec);
}

/* The reply record: le64 seq, then the encoded reply. */
static void add_reply_record(struct sim_node *n, struct txn *txn, const struct wire_ophdr *h, struct net_request *rq,
			     const void *rep)
{
	struct meta_key key;
	struct wire_writer w;

	if (n->sim->conf.breaks & SIM_BREAK_NO_REPLY_RECORD)
		return;
	meta_key_reply(&key, h->session, h->slot);
	wire_writer_init(&w);
	wire_put_u64(&w, &h->seq);
	rq->info->encode_rep(&w, rep);
	batch_put(&txn->meta, key.b, key.len, w.buf, w.len);
	wire_writer_release(&w);
}

static void reply_from_record(struct sim_node *n, struct net_request *rq, const struct wire_ophdr *h)
{
	struct meta_key key;
	void *val;
	size_t len;
	struct held *held;

	meta_key_reply(&key, h->session, h->slot);
	if (n->meta->ops->get(n->meta, key.b, key.len, &val, &len) || len < 8 || get_le64(val) != h->seq) {
		sim_fail(n->sim, "node %u: no reply record for a change that was done", n->id);
		net_request_free(n->sim->net, rq);
		return;
	}
	held = hold(n, rq, 0, NULL);
	memcpy(wire_reserve(&held->rep, len - 8), (uint8_t *)val + 8, len - 8);
	free(val);
	release_held(n);
}

static void execute_change(struct sim_node *n, struct net_request *rq, const struct wire_ophdr *h)
{
	struct wire_writer scratch;
	struct op_env env = env_of(n, &scratch);
	struct txn txn;
	void *rep = calloc(1, rq->info->rep_size + 1);
	int r;

	assert(rep);
	wire_writer_init(&scratch);
	txn_init(&txn);
	r = op_execute(&env, rq->info->number, rq->msg, rep, &txn);
	if (!r && !txn_is_empty(&txn)) {
		check_executed(n->sim->check, h->session, h->slot, h->seq, env.pos,
			       rq->info->number == MSG_create ? ((struct msg_create_rep *)rep)->attr.ino : 0);
		add_reply_record(n, &txn, h, rq, rep);
		session_slot_done(n->files->sessions, h->session, h->slot);
		make_record(n, &txn);
	} else {
		session_slot_abort(n->files->sessions, h->session, h->slot);
	}
	hold(n, rq, r, rep);
	txn_release(&txn);
	wire_writer_release(&scratch);
	free(rep);
	release_held(n);
}

static void got_change(struct sim_node *n, struct net_request *rq, const struct wire_ophdr *h)
{
	enum session_slot_state state;
	int r = session_slot_begin(n->files->sessions, h->session, h->slot, h->seq, &state);

	/* Without reply records nothing is known of earlier changes of the slot. */
	if (!r && state == SESSION_REPLIED && !(n->sim->conf.breaks & SIM_BREAK_NO_REPLY_RECORD))
		reply_from_record(n, rq, h);
	else if (!r && state == SESSION_NEW)
		execute_change(n, rq, h);
	else if (!r && state == SESSION_REPLIED)
		execute_change(n, rq, h);
	else
		net_reply(n->sim->net, rq, r ? r : -EAGAIN, NULL);
}

static void got_read(struct sim_node *n, struct net_request *rq)
{
	struct wire_writer scratch;
	struct op_env env = env_of(n, &scratch);
	struct txn txn;
	struct held *h;
	void *rep = calloc(1, rq->info->rep_size + 1);
	int r;

	assert(rep);
	wire_writer_init(&scratch);
	txn_init(&txn);
	r = op_execute(&env, rq->info->number, rq->msg, rep, &txn);
	if (!r && rq->info->number == MSG_fsync) {
		files_sync_start(n, rq, ((const struct msg_fsync_req *)rq->msg)->ino);
	} else {
		h = hold(n, rq, r, rep);
		if (n->sim->conf.breaks & SIM_BREAK_DIRTY_READ)
			h->lsn = 0;
	}
	txn_release(&txn);
	wire_writer_release(&scratch);
	free(rep);
	release_held(n);
}

/* ---- sessions ---- */

static void let_go(void *ctx, uint64_t ino)
{
	(void)ctx;
	(void)ino;
}

static void restore_sessions(struct sim_node *n)
{
	struct sessions *s = n->files->sessions;
	struct meta_iter *it;
	const void *key, *val;
	size_t klen, vlen;
	uint64_t id;
	uint32_t slot;

	for (int pass = 0; pass < 2; pass++) { /* C keys sort before R keys, but that is their business */
		n->meta->ops->iter_new(n->meta, "", 0, &it);
		while (n->meta->ops->iter_next(it, &key, &klen, &val, &vlen) > 0) {
			if (!pass && meta_key_number(key, klen, META_SESSION, &id))
				session_restore(s, id, node_clock(n));
			else if (pass && meta_key_number(key, klen, META_REPLY, &id) && meta_key_slot(key, klen, &slot))
				session_restore_slot(s, id, slot, get_le64(val));
		}
		n->meta->ops->iter_free(it);
	}
}

static void got_session_open(struct sim_node *n, struct net_request *rq)
{
	const struct msg_session_open_req *m = rq->msg;
	struct msg_session_open_rep rep = {
		.epoch = n->files->epoch, .slots = SESSION_SLOTS, .root_ino = 1, .max_io = 1 << 20, .loss = store_loss(n->store)
	};
	int r = session_attach(n->files->sessions, m->session, rq->conn, NULL, 0);

	if (r == 1) {
		struct meta_key key;
		struct txn txn;

		txn_init(&txn);
		meta_key_session(&key, m->session);
		batch_put(&txn.meta, key.b, key.len, "", 0);
		make_record(n, &txn);
		txn_release(&txn);
	}
	hold(n, rq, r < 0 ? r : 0, &rep);
	release_held(n);
}

/* ---- requests ---- */

static bool got_file_op(struct sim_node *n, struct net_request *rq)
{
	const struct wire_ophdr *h = rq->msg;

	if (!n->files->serving || h->epoch != n->files->epoch || !node_lease_valid(n) ||
	    !session_speaks(n->files->sessions, h->session, rq->conn))
		net_reply(n->sim->net, rq, -EREMCHG, NULL);
	else if (op_is_change(rq->info->number, rq->msg))
		got_change(n, rq, h);
	else
		got_read(n, rq);
	return true;
}

bool node_files_request(struct sim_node *n, struct net_request *rq)
{
	const struct msg_session_open_req *open = rq->msg;

	switch (rq->info->number) {
	case MSG_session_open:
		if (!n->files->serving || open->epoch != n->files->epoch || !node_lease_valid(n))
			net_reply(n->sim->net, rq, -EREMCHG, NULL);
		else
			got_session_open(n, rq);
		return true;
	case MSG_config_get: {
		struct msg_config_get_rep rep = { .version = n->view.version };
		void *buf;
		size_t len;

		config_encode(&n->view, &buf, &len);
		rep.config = (struct wire_blob){ buf, (uint32_t)len };
		net_reply(n->sim->net, rq, 0, &rep);
		free(buf);
		return true;
	}
	default:
		if (files_repl_request(n, rq))
			return true;
		return rq->info->number >= MSG_lookup && rq->info->number < 0x0300 && got_file_op(n, rq);
	}
}

/* ---- serving ---- */

void files_serve(struct sim_node *n, uint64_t epoch, bool fresh)
{
	struct session_conf conf = { .expire_ms = 30000 };

	n->files->serving = true;
	n->files->epoch = epoch;
	if (!fresh) {
		files_sync_check(n);
		return;
	}
	refuse_held(n);
	sessions_free(n->files->sessions);
	sessions_new(&conf, let_go, n, &n->files->sessions);
	restore_sessions(n);
	n->files->committed = repl_committed(n->files->repl);
}

void files_stop_serving(struct sim_node *n)
{
	n->files->serving = false;
	files_sync_stop(n);
	refuse_held(n);
}

void node_files_config(struct sim_node *n)
{
	struct repl_event ev = { .type = REPL_EV_CONFIG, .fs = config_fs_by_id(&n->view, SIM_FS) };

	if (n->files && ev.fs)
		files_repl(n, &ev);
}

void node_files_lease(struct sim_node *n, bool valid)
{
	struct repl_event ev = { .type = REPL_EV_LEASE, .valid = valid };

	if (valid == n->lease_valid)
		return;
	n->lease_valid = valid;
	files_repl(n, &ev);
}

size_t node_files_position(struct sim_node *n, struct lease_position *ret_pos)
{
	struct wire_logpos pos = repl_position(n->files->repl);

	*ret_pos = (struct lease_position){ .fs = SIM_FS,
					    .epoch = pos.epoch,
					    .lsn = pos.lsn,
					    .at = repl_epoch(n->files->repl),
					    .copy = repl_copy(n->files->repl) };
	return ret_pos->at != 0;
}

static void tick(struct sim_node *n)
{
	struct repl_event ev = { .type = REPL_EV_TICK };

	files_repl(n, &ev);
	files_sync_check(n);
	if (store_has_removed(n->store) && world_chance(&n->sim->world, 10000))
		store_free_removed(n->store);
	node_after(n, 10 * MS, tick);
}

void node_files_start(struct sim_node *n)
{
	struct repl_conf conf = { .self = n->id,
				  .ack_ms = 500,
				  .attach_ms = 700,
				  .retry_ms = 50,
				  .join_lag = 8,
				  .broken_ack_early = n->sim->conf.breaks & SIM_BREAK_ACK_EARLY,
				  .broken_join_unsynced = n->sim->conf.breaks & SIM_BREAK_JOIN_UNSYNCED,
				  .broken_trust_lost = n->sim->conf.breaks & SIM_BREAK_TRUST_LOST };
	uint32_t flags = n->dirty ? REPL_ATTACH_DIRTY : 0;
	struct node_files *f = calloc(1, sizeof(*f));
	struct session_conf sc = { .expire_ms = 30000 };
	int r;

	assert(f);
	if (n->half_copied)
		flags = REPL_ATTACH_LOST;
	else if (n->lost)
		flags = REPL_ATTACH_LOST | REPL_ATTACH_SURVIVED;
	n->files = f;
	r = store_open(n->meta, n->data, &n->store);
	assert(!r);
	r = repl_log_new(64, 1 << 20, &f->log); /* short, so that tails do not always do */
	assert(!r);
	repl_log_reset(f->log, store_position(n->store));
	sessions_new(&sc, let_go, n, &f->sessions);
	r = repl_new(&conf, f->log, flags, &f->repl);
	assert(!r);
	n->dirty = false;
	tick(n);
}

void node_files_stop(struct sim_node *n)
{
	struct node_files *f = n->files;
	struct held *h, *next;

	DL_FOREACH_SAFE(f->held, h, next) {
		DL_DELETE(f->held, h);
		net_request_free(n->sim->net, h->rq);
		held_free(h);
	}
	files_sync_drop(n);
	for (uint32_t i = 1; i <= SIM_NODES; i++)
		if (f->attach_rq[i])
			net_request_free(n->sim->net, f->attach_rq[i]);
	while (f->events) {
		struct queued_event *q = f->events;

		DL_DELETE(f->events, q);
		free(q);
	}
	files_copy_abort(n);
	repl_free(f->repl);
	repl_log_free(f->log);
	sessions_free(f->sessions);
	store_detach(n->store, &n->meta, &n->data);
	n->store = NULL;
	free(f);
	n->files = NULL;
}
