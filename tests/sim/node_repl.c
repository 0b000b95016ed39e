/* Replication between simulated members: the shell of the replication core. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "cfsd/meta_key.h"
#include "cfsd/system.h"
#include "tests/sim/check.h"
#include "tests/sim/node_files.h"

enum { PAGE = 1024 }; /* small, so that copies take many steps */

static void copy_next(struct sim_node *n);

uint64_t files_lsn(const struct sim_node *n)
{
	return store_position(n->store).lsn;
}

/* ---- records ---- */

static void *dup_bytes(const void *p, size_t len)
{
	void *q = malloc(len ? len : 1);

	assert(q);
	return len ? memcpy(q, p, len) : q;
}

static void spool(struct copying *c, const struct record *rec)
{
	struct spooled *s = calloc(1, sizeof(*s));

	assert(s);
	s->rec = *rec;
	s->rec.batch = dup_bytes(rec->batch, rec->batch_len);
	s->rec.extents = dup_bytes(rec->extents, rec->extents_len);
	DL_APPEND(c->spool, s);
}

static void spooled_free(struct spooled *s)
{
	free((void *)s->rec.batch);
	free((void *)s->rec.extents);
	free(s);
}

static void apply(struct sim_node *n, const struct record *rec)
{
	int r = store_apply(n->store, rec);

	if (!r)
		r = repl_log_append(n->files->log, rec);
	if (r)
		sim_fail(n->sim, "node %u: record %llu.%llu does not apply: %d", n->id,
			 (unsigned long long)rec->pos.epoch, (unsigned long long)rec->pos.lsn, r);
}

int files_made(struct sim_node *n, const struct record *rec)
{
	struct repl_event ev = { .type = REPL_EV_MADE, .pos = rec->pos };

	apply(n, rec);
	check_record(n->sim->check, n->id, rec);
	files_repl(n, &ev);
	return 0;
}

static void send_record(struct sim_node *n, uint32_t node, uint64_t lsn)
{
	const struct record *rec = repl_log_get(n->files->log, lsn);
	struct msg_repl_record_req m;

	if (!rec || !n->files->follower[node])
		return;
	m = (struct msg_repl_record_req){ .fs = SIM_FS,
					  .epoch = repl_epoch(n->files->repl),
					  .prev = rec->prev,
					  .pos = rec->pos,
					  .committed = repl_committed(n->files->repl),
					  .batch = { rec->batch, (uint32_t)rec->batch_len },
					  .extents = { rec->extents, (uint32_t)rec->extents_len } };
	net_send(n->sim->net, n->files->follower[node], n->id, MSG_repl_record, &m);
}

/* ---- attaching ---- */

static void attached(void *ctx, int status, const void *rep)
{
	struct sim_node *n = ctx;
	const struct msg_repl_attach_rep *m = rep;
	struct repl_event ev = { .type = REPL_EV_ATTACHED, .node = n->files->source_node, .status = status };

	if (status == -ECANCELED)
		return;
	if (!status) {
		ev.mode = m->mode;
		ev.pos = m->pos;
		ev.epoch = m->epoch;
	}
	if (status != -ECONNRESET)
		files_repl(n, &ev);
}

static void ask_attach(struct sim_node *n)
{
	struct node_files *f = n->files;
	struct msg_repl_attach_req m = {
		.fs = SIM_FS, .epoch = f->attach_epoch, .pos = f->attach_pos, .flags = f->attach_flags, .free = 1 << 30
	};

	net_call(n->sim->net, f->source, n->id, MSG_repl_attach, &m, 0, attached, n, NULL);
}

static void detach(struct sim_node *n)
{
	struct node_files *f = n->files;
	struct net_conn *c = f->source;

	f->source = NULL;
	if (c)
		net_close(n->sim->net, c, n->id);
}

static void answer_attach(struct sim_node *n, const struct repl_action *a)
{
	struct node_files *f = n->files;
	struct net_request *rq = f->attach_rq[a->node];
	struct msg_repl_attach_rep rep = {
		.epoch = a->epoch, .mode = (uint8_t)a->mode, .pos = a->pos, .loss = store_loss(n->store)
	};

	if (!rq)
		return;
	f->attach_rq[a->node] = NULL;
	if (a->type == REPL_ACT_ACCEPT)
		f->follower[a->node] = rq->conn;
	net_reply(n->sim->net, rq, a->type == REPL_ACT_ACCEPT ? 0 : a->status, &rep);
}

static void refuse_sender(struct sim_node *n, const struct repl_action *a)
{
	struct node_files *f = n->files;
	struct msg_repl_refuse_req m = { .fs = SIM_FS, .epoch = a->epoch };

	if (f->source && f->source_node == a->node && net_conn_is_up(f->source, n->id))
		net_send(n->sim->net, f->source, n->id, MSG_repl_refuse, &m);
	else if (f->follower[a->node])
		net_send(n->sim->net, f->follower[a->node], n->id, MSG_repl_refuse, &m);
}

static void send_ack(struct sim_node *n, const struct repl_action *a)
{
	struct node_files *f = n->files;
	struct msg_repl_ack_req m = { .fs = SIM_FS, .epoch = a->epoch, .pos = a->pos, .free = 1 << 30 };

	if (f->source && net_conn_is_up(f->source, n->id))
		net_send(n->sim->net, f->source, n->id, MSG_repl_ack, &m);
}

/* ---- changing the configuration ---- */

static void changed(struct sim_node *n, int status)
{
	struct repl_event ev = { .type = REPL_EV_CHANGED, .epoch = n->files->change_epoch, .status = status };

	files_repl(n, &ev);
}

static void propose_change(struct sim_node *n, const struct repl_action *a)
{
	struct cmd_fs_change cmd = { .fs = SIM_FS, .expected = a->epoch, .server = a->server };
	struct wire_writer w;

	cmd.in_sync.n = (uint32_t)a->nr_in_sync;
	memcpy(cmd.in_sync.v, a->in_sync, a->nr_in_sync * sizeof(a->in_sync[0]));
	wire_writer_init(&w);
	config_cmd_encode(&w, CMD_fs_change, &cmd);
	n->files->change_epoch = a->epoch;
	node_propose(n, w.buf, w.len, changed);
	wire_writer_release(&w);
}

/* ---- copying ---- */

void files_copy_abort(struct sim_node *n)
{
	struct copying *c = &n->files->copy;
	struct spooled *s, *next;

	DL_FOREACH_SAFE(c->spool, s, next) {
		DL_DELETE(c->spool, s);
		spooled_free(s);
	}
	batch_release(&c->after);
	free(c->inos);
	*c = (struct copying){ .number = c->number + 1 };
}

/* Every key and every byte goes: what is fetched is all there is. */
static void wipe(struct sim_node *n)
{
	struct data_item *files;
	struct meta_iter *it;
	struct batch b;
	const void *key, *val;
	size_t klen, vlen, nr;
	int r = n->data->ops->list(n->data, &files, &nr);

	assert(!r);
	for (size_t i = 0; i < nr; i++)
		n->data->ops->remove(n->data, files[i].ino);
	free(files);
	batch_init(&b);
	n->meta->ops->iter_new(n->meta, "", 0, &it);
	while (n->meta->ops->iter_next(it, &key, &klen, &val, &vlen) > 0)
		batch_del(&b, key, klen);
	n->meta->ops->iter_free(it);
	system_put_position(&b, (struct wire_logpos){ 0 });
	system_put_counters(&b, &(struct system_counters){ 0 });
	n->meta->ops->apply(n->meta, b.buf, b.len, true);
	batch_release(&b);
}

static void copy_start(struct sim_node *n, const struct repl_action *a)
{
	struct copying *c = &n->files->copy;

	files_copy_abort(n);
	n->half_copied = true;
	wipe(n);
	c->on = true;
	c->from = a->node;
	c->epoch = a->epoch;
	c->pos = a->pos;
	batch_init(&c->after);
	copy_next(n);
}

static void copy_end(struct sim_node *n)
{
	struct node_files *f = n->files;
	struct copying *c = &f->copy;
	struct repl_event ev = { .type = REPL_EV_COPIED };
	struct batch b;
	struct spooled *s;
	int r;

	/* The pages were taken while the server went on: their position is wherever it was, ours is where the spool begins. */
	batch_init(&b);
	system_put_position(&b, c->pos);
	n->meta->ops->apply(n->meta, b.buf, b.len, true);
	batch_release(&b);
	r = store_reload(n->store);
	assert(!r);
	/* The data was written below the store. */
	r = n->data->ops->sync(n->data, 0);
	if (!r)
		r = store_sync(n->store, 0);
	assert(!r);
	repl_log_reset(f->log, c->pos);
	DL_FOREACH(c->spool, s)
		apply(n, &s->rec);
	/* The mark is gone when this is on the disk. */
	n->meta->ops->apply(n->meta, NULL, 0, true);
	n->half_copied = n->dirty = n->lost = false;
	files_copy_abort(n);
	ev.pos = store_position(n->store);
	files_repl(n, &ev);
}

struct copy_call {
	struct sim_node *n;
	uint64_t number;
};

/* NULL when the answer is to an attempt that was given up. */
static struct sim_node *copy_answer(void *ctx, int status)
{
	struct copy_call cc = *(struct copy_call *)ctx;

	free(ctx);
	if (!cc.n->files || cc.number != cc.n->files->copy.number || !cc.n->files->copy.on)
		return NULL;
	if (!status)
		return cc.n;
	if (status != -ECONNRESET && status != -ECANCELED) {
		struct repl_event ev = { .type = REPL_EV_DETACHED, .node = cc.n->files->source_node };

		detach(cc.n);
		files_repl(cc.n, &ev);
	}
	return NULL;
}

static struct copy_call *copy_call_new(struct sim_node *n)
{
	struct copy_call *cc = malloc(sizeof(*cc));

	assert(cc);
	*cc = (struct copy_call){ n, n->files->copy.number };
	return cc;
}

static void note_key(struct copying *c, const struct batch_item *item)
{
	uint64_t ino;

	c->after.len = 0;
	batch_put(&c->after, item->key, item->klen, "", 0);
	if (!meta_key_number(item->key, item->klen, META_INODE, &ino))
		return;
	c->inos = realloc(c->inos, (c->nr_inos + 1) * sizeof(*c->inos));
	assert(c->inos);
	c->inos[c->nr_inos++] = ino;
}

static void got_keys(void *ctx, int status, const void *rep)
{
	struct sim_node *n = copy_answer(ctx, status);
	const struct msg_copy_keys_rep *m = rep;
	struct batch_item item;
	size_t pos = 0;

	if (!n)
		return;
	n->meta->ops->apply(n->meta, m->items.p, m->items.len, true);
	while (batch_next(m->items.p, m->items.len, &pos, &item) > 0)
		note_key(&n->files->copy, &item);
	n->files->copy.keys_done = m->eof;
	copy_next(n);
}

static void got_data(void *ctx, int status, const void *rep)
{
	struct sim_node *n = copy_answer(ctx, status);
	const struct msg_copy_data_rep *m = rep;
	struct copying *c;

	if (!n)
		return;
	c = &n->files->copy;
	if (m->data.len)
		n->data->ops->write(n->data, c->inos[c->next_ino], m->data.p, m->data.len, c->off);
	c->off += m->data.len;
	if (m->data.len < PAGE) {
		c->next_ino++;
		c->off = 0;
	}
	copy_next(n);
}

static void copy_data_next(struct sim_node *n)
{
	struct copying *c = &n->files->copy;
	struct msg_copy_data_req m = {
		.fs = SIM_FS, .epoch = c->epoch, .ino = c->inos[c->next_ino], .off = c->off, .len = PAGE
	};

	net_call(n->sim->net, n->files->source, n->id, MSG_copy_data, &m, 2000 * MS, got_data, copy_call_new(n), free);
}

static void copy_next(struct sim_node *n)
{
	struct copying *c = &n->files->copy;
	struct msg_copy_keys_req m = { .fs = SIM_FS, .epoch = c->epoch, .max_bytes = PAGE };
	struct batch_item last;
	size_t pos = 0;

	if (!n->files->source || !net_conn_is_up(n->files->source, n->id))
		return; /* its `down` is on its way */
	if (!c->keys_done) {
		if (c->after.len && batch_next(c->after.buf, c->after.len, &pos, &last) > 0)
			m.after = (struct wire_blob){ last.key, (uint32_t)last.klen };
		net_call(n->sim->net, n->files->source, n->id, MSG_copy_keys, &m, 2000 * MS, got_keys, copy_call_new(n),
			 free);
		return;
	}
	if (c->next_ino < c->nr_inos)
		copy_data_next(n);
	else
		copy_end(n);
}

/* ---- actions ---- */

static void act(struct sim_node *n, const struct repl_action *a)
{
	static const char *const names[] = { "start", "stop",	"commit", "change", "send",  "tail", "accept", "refuse", "drop",
					     "sync",   "recover", "attach", "detach", "apply",  "redo",   "spool", "ack",  "copy",	 "abort" };
	struct node_files *f = n->files;

	world_log(&n->sim->world, n->id, "%s %u at %" PRIu64 ".%" PRIu64 " epoch %" PRIu64 " status %d", names[a->type],
		  a->node, a->pos.epoch, a->pos.lsn, a->epoch, a->status);
	switch (a->type) {
	case REPL_ACT_START:
		files_serve(n, a->epoch, a->fresh);
		break;
	case REPL_ACT_STOP:
		files_stop_serving(n);
		break;
	case REPL_ACT_COMMIT:
		files_commit(n, a->pos.lsn);
		break;
	case REPL_ACT_CHANGE:
		propose_change(n, a);
		break;
	case REPL_ACT_SEND:
		send_record(n, a->node, a->pos.lsn);
		break;
	case REPL_ACT_TAIL:
		for (uint64_t lsn = a->pos.lsn + 1; lsn <= repl_log_last(f->log).lsn; lsn++)
			send_record(n, a->node, lsn);
		break;
	case REPL_ACT_ACCEPT:
		answer_attach(n, a);
		break;
	case REPL_ACT_REFUSE:
		if (a->status)
			answer_attach(n, a);
		else
			refuse_sender(n, a);
		break;
	case REPL_ACT_DROP:
		if (f->follower[a->node]) {
			struct net_conn *c = f->follower[a->node];

			f->follower[a->node] = NULL;
			net_close(n->sim->net, c, n->id);
		}
		break;
	case REPL_ACT_SYNC:
		files_sync_member(n, a->node, a->pos.lsn);
		break;
	case REPL_ACT_RECOVER:
		files_recover(n, a->epoch);
		break;
	case REPL_ACT_ATTACH:
		detach(n);
		f->source_node = a->node;
		f->attach_epoch = a->epoch;
		f->attach_pos = a->pos;
		f->attach_flags = a->flags;
		f->source = net_connect(n->sim->net, n->id, a->node);
		break;
	case REPL_ACT_DETACH:
		detach(n);
		break;
	case REPL_ACT_APPLY:
		apply(n, f->incoming);
		break;
	case REPL_ACT_REDO:
		/* The simulated crash tears nothing, so there is nothing to redo; the position must be right, though. */
		if (store_position(n->store).lsn != f->incoming->pos.lsn)
			sim_fail(n->sim, "node %u: redo of a record that is not the last", n->id);
		break;
	case REPL_ACT_SPOOL:
		spool(&f->copy, f->incoming);
		break;
	case REPL_ACT_ACK:
		send_ack(n, a);
		break;
	case REPL_ACT_COPY:
		copy_start(n, a);
		break;
	case REPL_ACT_ABORT:
		files_copy_abort(n);
		break;
	}
}

/* Steps the core. An event that comes up while actions run waits until they are done. */
void files_repl(struct sim_node *n, struct repl_event *ev)
{
	struct node_files *f = n->files;
	struct queued_event *q = malloc(sizeof(*q));
	enum repl_role was = repl_role(f->repl);

	assert(q);
	q->ev = *ev;
	DL_APPEND(f->events, q);
	if (f->stepping)
		return;
	f->stepping = true;
	while ((q = f->events)) {
		struct repl_actions out;

		DL_DELETE(f->events, q);
		q->ev.now_ms = node_clock(n);
		repl_step(f->repl, &q->ev, &out);
		free(q);
		for (size_t i = 0; i < out.n && !n->sim->failed; i++)
			act(n, &out.v[i]);
	}
	f->stepping = false;
	if (was != repl_role(f->repl))
		world_log(&n->sim->world, n->id, "%s at epoch %llu, lsn %llu", repl_role_name(repl_role(f->repl)),
			  (unsigned long long)repl_epoch(f->repl), (unsigned long long)files_lsn(n));
}

/* ---- requests and connections ---- */

static void got_record(struct sim_node *n, struct net_request *rq)
{
	const struct msg_repl_record_req *m = rq->msg;
	struct record rec = { .prev = m->prev,
			      .pos = m->pos,
			      .batch = m->batch.p,
			      .batch_len = m->batch.len,
			      .extents = m->extents.p,
			      .extents_len = m->extents.len };
	struct repl_event ev = { .type = REPL_EV_RECORD,
				 .node = rq->from,
				 .epoch = m->epoch,
				 .prev = m->prev,
				 .pos = m->pos,
				 .committed = m->committed };

	/* Records come on the connection that asked for them; a late one of an older connection is nothing. */
	if (rq->conn == n->files->source) {
		n->files->incoming = &rec;
		files_repl(n, &ev);
		n->files->incoming = NULL;
	}
	net_request_free(n->sim->net, rq);
}

static void serve_keys(struct sim_node *n, struct net_request *rq)
{
	const struct msg_copy_keys_req *m = rq->msg;
	struct msg_copy_keys_rep rep = { .eof = 1 };
	struct meta_iter *it;
	struct batch b;
	const void *key, *val;
	size_t klen, vlen;

	batch_init(&b);
	n->meta->ops->iter_new(n->meta, m->after.p, m->after.len, &it);
	while (n->meta->ops->iter_next(it, &key, &klen, &val, &vlen) > 0) {
		if (m->after.len == klen && !memcmp(key, m->after.p, klen))
			continue;
		if (b.len > m->max_bytes) {
			rep.eof = 0;
			break;
		}
		batch_put(&b, key, klen, val, vlen);
	}
	n->meta->ops->iter_free(it);
	rep.items = (struct wire_blob){ b.buf, (uint32_t)b.len };
	net_reply(n->sim->net, rq, 0, &rep);
	batch_release(&b);
}

static void serve_data(struct sim_node *n, struct net_request *rq)
{
	const struct msg_copy_data_req *m = rq->msg;
	uint8_t buf[PAGE];
	ssize_t got = n->data->ops->read(n->data, m->ino, buf, m->len < PAGE ? m->len : PAGE, m->off);
	struct msg_copy_data_rep rep = { .data = { buf, got > 0 ? (uint32_t)got : 0 } };

	net_reply(n->sim->net, rq, 0, &rep);
}

static void got_attach(struct sim_node *n, struct net_request *rq)
{
	const struct msg_repl_attach_req *m = rq->msg;
	struct node_files *f = n->files;
	struct repl_event ev = {
		.type = REPL_EV_ATTACH, .node = rq->from, .epoch = m->epoch, .pos = m->pos, .flags = m->flags
	};

	if (f->attach_rq[rq->from])
		net_reply(n->sim->net, f->attach_rq[rq->from], -ECANCELED, NULL);
	f->attach_rq[rq->from] = rq;
	f->follower[rq->from] = NULL;
	files_repl(n, &ev);
}

static void simple_event(struct sim_node *n, struct net_request *rq, enum repl_event_type type, uint64_t epoch,
			 struct wire_logpos pos)
{
	struct repl_event ev = { .type = type, .node = rq->from, .epoch = epoch, .pos = pos };

	if (type != REPL_EV_ACK || n->files->follower[rq->from] == rq->conn)
		files_repl(n, &ev);
	net_request_free(n->sim->net, rq);
}

bool files_repl_request(struct sim_node *n, struct net_request *rq)
{
	const struct msg_repl_ack_req *ack = rq->msg;
	const struct msg_repl_refuse_req *refusal = rq->msg;
	bool follows = rq->from <= SIM_NODES && n->files->follower[rq->from] == rq->conn && n->files->serving;

	switch (rq->info->number) {
	case MSG_repl_attach:
		got_attach(n, rq);
		return true;
	case MSG_repl_record:
		got_record(n, rq);
		return true;
	case MSG_repl_ack:
		simple_event(n, rq, REPL_EV_ACK, ack->epoch, ack->pos);
		return true;
	case MSG_repl_refuse:
		simple_event(n, rq, REPL_EV_REFUSED, refusal->epoch, (struct wire_logpos){ 0 });
		return true;
	case MSG_repl_sync:
		files_sync_serve(n, rq);
		return true;
	case MSG_copy_keys:
	case MSG_copy_data:
		if (!follows)
			net_reply(n->sim->net, rq, -EREMCHG, NULL);
		else if (rq->info->number == MSG_copy_keys)
			serve_keys(n, rq);
		else
			serve_data(n, rq);
		return true;
	default:
		return false;
	}
}

void node_files_up(struct sim_node *n, struct net_conn *c, uint32_t peer, bool dialled)
{
	(void)peer;
	if (dialled && c == n->files->source)
		ask_attach(n);
}

void node_files_down(struct sim_node *n, struct net_conn *c, uint32_t peer)
{
	struct node_files *f = n->files;
	struct repl_event ev = { .node = peer };

	if (c == f->source) {
		f->source = NULL;
		ev.type = REPL_EV_DETACHED;
		files_repl(n, &ev);
	} else if (peer <= SIM_NODES && c == f->follower[peer]) {
		f->follower[peer] = NULL;
		ev.type = REPL_EV_LOST;
		files_repl(n, &ev);
	}
}
