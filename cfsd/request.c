/*
 * One file operation, from the message to the reply.
 *
 *   new -> (waiting for tokens) -> executed -> held until committed -> answered
 *
 * A change is executed once: the slot says whether it was (session.h), the reply record, R|session|slot, what was
 * answered: le64 seq, le16 message number, the reply as on the wire.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "cfsd/meta_key.h"
#include "cfsd/volume.h"
#include "common/bytes.h"

enum { RECORD_HEADER = 10, REQUESTS_MAX = 100000 };
/* What an operation may take beyond its own bytes: metadata, its log in LevelDB, the redo slot. */
#define SPACE_OVERHEAD ((uint64_t)256 << 10)

static struct request *request_new(struct volume *v, const struct msg_info *info, struct rpc_req *rq, const void *msg)
{
	struct request *r = calloc(1, sizeof(*r) + info->rep_size);

	if (!r)
		return NULL;
	r->v = v;
	r->rq = rq;
	r->info = info;
	r->msg = msg;
	r->rep = r + 1;
	wire_writer_init(&r->scratch);
	v->nr_requests++;
	return r;
}

struct request *request_begin(struct volume *v, enum msg_type type, struct rpc_req *rq, const void *msg)
{
	return request_new(v, msg_info((uint16_t)type), rq, msg);
}

void request_reply(struct request *r, int status)
{
	if (!status)
		token_io_check(r);
	rpc_reply(r->rq, status, r->rep);
	r->v->nr_requests--;
	wire_writer_release(&r->scratch);
	free(r->record);
	free(r);
}

void request_finish(struct request *r, int status)
{
	struct volume *v = r->v;

	r->status = status;
	r->lsn = store_position(v->store).lsn;
	if (!v->serving)
		request_reply(r, -EREMCHG);
	else if (r->lsn <= v->committed)
		request_reply(r, status);
	else
		DL_APPEND(v->held, r);
}

/* ---- reply records ---- */

static int put_record(struct request *r)
{
	struct txn *txn = &r->v->txn;
	struct wire_writer w;
	struct meta_key k;
	uint8_t *head;
	int s;

	wire_writer_init(&w);
	head = wire_reserve(&w, RECORD_HEADER);
	s = w.err;
	if (!s) {
		put_le64(head, r->seq);
		put_le16(head + 8, r->info->number);
		s = r->info->encode_rep(&w, r->rep);
	}
	meta_key_reply(&k, r->session, r->slot);
	if (!s)
		s = batch_put(&txn->meta, k.b, k.len, w.buf, w.len);
	wire_writer_release(&w);
	return s;
}

/* The answer as it was; its tokens are not granted any more (no stamps). */
static int load_record(struct request *r)
{
	struct meta *m = store_meta(r->v->store);
	struct wire_reader rd;
	struct meta_key k;
	size_t len;
	int s;

	meta_key_reply(&k, r->session, r->slot);
	s = m->ops->get(m, k.b, k.len, &r->record, &len);
	if (s < 0)
		return s;
	if (len < RECORD_HEADER || get_le64(r->record) != r->seq)
		return -EBADMSG;
	/* The same slot and seq for something else: a broken client. */
	if (get_le16((uint8_t *)r->record + 8) != r->info->number)
		return -EINVAL;
	rd = (struct wire_reader){ (uint8_t *)r->record + RECORD_HEADER, (uint8_t *)r->record + len };
	return r->info->decode_rep(&rd, r->rep);
}

/* ---- opens ---- */

/* Which inode the session holds open after this operation; 0: none. */
static uint64_t opened_ino(const struct request *r)
{
	if (r->info->number == MSG_create)
		return ((struct msg_create_rep *)r->rep)->attr.ino;
	if (r->info->number == MSG_open)
		return ((const struct msg_open_req *)r->msg)->ino;
	return 0;
}

static int hold_opened(struct request *r)
{
	uint64_t ino = opened_ino(r);

	return ino ? session_hold(r->v->sessions, r->session, ino) : 0;
}

static void unhold_opened(struct request *r)
{
	uint64_t ino = opened_ino(r);

	if (ino)
		session_release(r->v->sessions, r->session, ino);
}

/* ---- executing ---- */

/* What it may take of the disk; 0 for what must go on a full one, too. */
static uint64_t needs_bytes(const struct request *r)
{
	switch ((int)r->info->number) {
	case MSG_write:
		return SPACE_OVERHEAD + 2 * (uint64_t)((const struct msg_write_req *)r->msg)->data.len;
	case MSG_create:
	case MSG_mknod:
	case MSG_symlink:
	case MSG_link:
	case MSG_setxattr:
		return SPACE_OVERHEAD;
	case MSG_fallocate: {
		const struct msg_fallocate_req *m = r->msg;

		return m->mode == 0 && m->len < UINT64_MAX / 2 ? SPACE_OVERHEAD + m->len : SPACE_OVERHEAD;
	}
	default:
		return 0;
	}
}

/* Everything the operation does, into v->txn and r->rep. */
static int run(struct request *r)
{
	struct volume *v = r->v;
	uint64_t need = needs_bytes(r);
	struct op_env env;
	int s;

	if (need && volume_free_bytes(v) < need)
		return -ENOSPC;
	volume_env(v, &r->scratch, &env);
	txn_clear(&v->txn);
	s = op_execute(&env, (enum msg_type)r->info->number, r->msg, r->rep, &v->txn);
	if (s < 0)
		return s;
	s = hold_opened(r);
	if (s < 0)
		txn_clear(&v->txn);
	return s;
}

static int run_change(struct request *r)
{
	struct volume *v = r->v;
	int s = run(r);

	if (s < 0)
		return s;
	/* Nothing changed (a file renamed to itself): to be found out again if it comes again. */
	if (txn_is_empty(&v->txn))
		return 0;
	s = put_record(r);
	if (!s)
		s = volume_commit_txn(v);
	if (s < 0)
		unhold_opened(r);
	return s;
}

static void execute(struct request *r)
{
	struct volume *v = r->v;
	bool done;
	int s;

	if (r->change) {
		uint64_t before = store_position(v->store).lsn;

		s = run_change(r);
		done = !s && store_position(v->store).lsn > before;
		/* The step of the core may have ended serving, and with it the sessions. */
		if (v->sessions && done)
			session_slot_done(v->sessions, r->session, r->slot);
		else if (v->sessions)
			session_slot_abort(v->sessions, r->session, r->slot);
	} else {
		s = run(r);
		txn_clear(&v->txn);
		if (!s && r->info->number == MSG_release)
			session_release(v->sessions, r->session, ((const struct msg_release_req *)r->msg)->ino);
		volume_reap(v);
	}
	if (!s && v->serving)
		token_io_grant(r);
	if (!s && v->serving && r->info->number == MSG_fsync)
		sync_start(r, ((const struct msg_fsync_req *)r->msg)->ino);
	else
		request_finish(r, s);
}

void request_ready(struct request *r)
{
	DL_DELETE(r->v->waiting, r);
	volume_check_lease(r->v);
	if (r->v->serving) {
		execute(r);
		return;
	}
	session_slot_abort(r->v->sessions, r->session, r->slot);
	request_reply(r, -EREMCHG);
}

/* ---- coming in ---- */

/* It waits for tokens already: the new message is the one to answer, the old one's sender is gone. */
static void take_over(struct volume *v, const struct request *now)
{
	struct request *r;

	DL_FOREACH(v->waiting, r) {
		if (r->session != now->session || r->slot != now->slot || r->seq != now->seq ||
		    r->info != now->info)
			continue;
		rpc_reply(r->rq, -EREMCHG, NULL);
		r->rq = now->rq;
		r->msg = now->msg;
		return;
	}
	rpc_reply(now->rq, -EREMCHG, NULL);
}

static void drop(struct request *r)
{
	r->v->nr_requests--;
	free(r);
}

static void begin_change(struct request *r)
{
	struct volume *v = r->v;
	enum session_slot_state state;
	struct op_conflict c[4];
	struct op_env env;
	int s = session_slot_begin(v->sessions, r->session, r->slot, r->seq, &state);

	if (s < 0) {
		request_reply(r, s);
		return;
	}
	if (state == SESSION_BUSY) {
		take_over(v, r);
		drop(r);
		return;
	}
	if (state == SESSION_REPLIED) {
		s = load_record(r);
		if (!s)
			s = hold_opened(r);
		request_finish(r, s);
		return;
	}
	volume_env(v, &r->scratch, &env);
	if (token_acquire(v->tokens, r->session, c,
			  op_conflicts(&env, (enum msg_type)r->info->number, r->msg, c), r, volume_now_ms(v)))
		execute(r);
	else
		DL_APPEND(v->waiting, r);
}

void request_handle(struct file_service *svc, const struct msg_info *info, struct rpc_conn *conn, struct rpc_req *rq,
		    const void *msg)
{
	const struct wire_ophdr *h = msg; /* in front of every file operation */
	struct volume *v = volume_find(svc, h->fs);
	struct request *r;

	if (!v || !volume_may_serve(v, h->epoch) || !session_speaks(v->sessions, h->session, conn)) {
		rpc_reply(rq, -EREMCHG, NULL);
		return;
	}
	r = v->nr_requests < REQUESTS_MAX ? request_new(v, info, rq, msg) : NULL;
	if (!r) {
		/* Asked again later. */
		rpc_reply(rq, -ETIMEDOUT, NULL);
		return;
	}
	r->session = h->session;
	r->slot = h->slot;
	r->seq = h->seq;
	r->change = op_is_change((enum msg_type)info->number, msg);
	if (r->change)
		begin_change(r);
	else
		execute(r);
}

/* ---- sessions ---- */

static int decode_opens(const struct wire_blob *b, uint64_t **ret_opens, size_t *ret_n)
{
	size_t n = b->len / 8;
	uint64_t *opens;

	if (b->len % 8)
		return -EINVAL;
	opens = malloc(b->len ? b->len : 1);
	if (!opens)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		opens[i] = get_le64((const uint8_t *)b->p + 8 * i);
	*ret_opens = opens;
	*ret_n = n;
	return 0;
}

static int attach(struct volume *v, struct rpc_conn *conn, const struct msg_session_open_req *m)
{
	uint64_t *opens;
	size_t n;
	int s = decode_opens(&m->opens, &opens, &n);

	if (s < 0)
		return s;
	s = session_attach(v->sessions, m->session, conn, opens, n);
	free(opens);
	if (s < 0)
		return s;
	token_drop_session(v->tokens, m->session);
	if (s == 0)
		return 0;
	txn_clear(&v->txn);
	s = volume_note_session(v, m->session);
	return s < 0 ? s : volume_commit_txn(v);
}

int session_open_handle(struct volume *v, struct rpc_conn *conn, struct rpc_req *rq, const struct msg_session_open_req *m)
{
	struct request *r = request_begin(v, MSG_session_open, rq, m);
	struct msg_session_open_rep *rep;
	int s;

	if (!r)
		return -ENOMEM;
	rep = r->rep;
	s = attach(v, conn, m);
	volume_reap(v);
	*rep = (struct msg_session_open_rep){
		.epoch = v->epoch, .slots = SESSION_SLOTS, .root_ino = 1, .max_io = 1 << 20, .loss = store_loss(v->store)
	};
	request_finish(r, s);
	return 0;
}

int session_close_handle(struct volume *v, struct rpc_conn *conn, struct rpc_req *rq,
			 const struct msg_session_close_req *m)
{
	struct request *r;
	int s;

	if (!session_speaks(v->sessions, m->session, conn))
		return -EREMCHG;
	r = request_begin(v, MSG_session_close, rq, m);
	if (!r)
		return -ENOMEM;
	token_drop_session(v->tokens, m->session);
	session_close(v->sessions, m->session);
	txn_clear(&v->txn);
	s = volume_forget_session(v, m->session);
	if (!s)
		s = volume_commit_txn(v);
	volume_reap(v);
	request_finish(r, s);
	return 0;
}
