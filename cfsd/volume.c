/*
 * A volume while its node serves it: what was applied, what is committed, who is answered. The order of things:
 *
 *   request_handle -> (tokens) -> op_execute -> volume_commit_txn -> the core -> SEND to members
 *   ... acknowledgements -> the core -> COMMIT -> volume_committed -> replies
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utlist.h>

#include "cfsd/meta_key.h"
#include "cfsd/volume.h"
#include "common/bytes.h"
#include "common/log.h"

/* Records on their way are added up only when space may be short. */
#define SPACE_PLENTY ((uint64_t)1 << 30)
/* A session not noted as alive for a day is not restored, and its records go. */
#define SESSION_KEEP_NS ((uint64_t)24 * 3600 * 1000000000)
/* How often living ones are noted. */
#define SESSION_NOTE_MS ((uint64_t)3600 * 1000)

/* ---- sessions and tokens ---- */

static void let_go(void *ctx, uint64_t ino)
{
	struct volume *v = ctx;
	uint64_t *more;

	if (v->nr_reap == v->cap_reap) {
		size_t cap = v->cap_reap ? 2 * v->cap_reap : 64;

		more = realloc(v->reap, cap * sizeof(*more));
		if (!more) {
			/* All leftovers are looked through instead. */
			v->orphans_due = true;
			return;
		}
		v->reap = more;
		v->cap_reap = cap;
	}
	v->reap[v->nr_reap++] = ino;
}

static bool is_open(void *ctx, uint64_t ino)
{
	struct volume *v = ctx;

	/* One that has not come back yet may hold anything. */
	return !sessions_settled(v->sessions) || session_is_open(v->sessions, ino);
}

static int make_sessions(struct volume *v)
{
	struct session_conf sc = { .expire_ms = v->svc->conf.expire_ms };
	struct token_conf tc = { .revoke_ms = 1000, .fresh_ms = 500, .max_grants = 100000 };
	int r = sessions_new(&sc, let_go, v, &v->sessions);

	if (!r)
		r = tokens_new(&tc, &token_io_events, v, &v->tokens);
	return r;
}

void volume_forget(struct volume *v)
{
	sessions_free(v->sessions);
	tokens_free(v->tokens);
	v->sessions = NULL;
	v->tokens = NULL;
	v->nr_reap = 0;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

typedef int (*key_fn)(struct volume *v, const void *key, size_t klen, const void *val, size_t vlen);

static int each_key(struct volume *v, char kind, key_fn fn)
{
	struct meta *m = store_meta(v->store);
	const void *key, *val;
	struct meta_iter *it;
	size_t klen, vlen;
	int r = m->ops->iter_new(m, &kind, 1, &it);

	if (r < 0)
		return r;
	while ((r = m->ops->iter_next(it, &key, &klen, &val, &vlen)) > 0) {
		if (*(const char *)key != kind) {
			r = 0;
			break;
		}
		r = fn(v, key, klen, val, vlen);
		if (r < 0)
			break;
	}
	m->ops->iter_free(it);
	return r;
}

static bool is_old(const void *val)
{
	return now_ns() > get_le64(val) + SESSION_KEEP_NS;
}

/* C|session -> when it was known to be alive, le64 ns. */
static int restore_session(struct volume *v, const void *key, size_t klen, const void *val, size_t vlen)
{
	uint64_t id;

	if (!meta_key_number(key, klen, META_SESSION, &id) || vlen < 8)
		return -EBADMSG;
	return is_old(val) ? 0 : session_restore(v->sessions, id, volume_now_ms(v));
}

static int forget_old_session(struct volume *v, const void *key, size_t klen, const void *val, size_t vlen)
{
	uint64_t id;

	if (!meta_key_number(key, klen, META_SESSION, &id) || vlen < 8 || !is_old(val))
		return 0;
	if (session_conn(v->sessions, id))
		return 0;
	/* It would count among SESSIONS_MAX for as long as we serve. */
	session_close(v->sessions, id);
	return volume_forget_session(v, id);
}

int volume_note_session(struct volume *v, uint64_t id)
{
	struct meta_key k;
	uint8_t val[8];

	meta_key_session(&k, id);
	put_le64(val, now_ns());
	return batch_put(&v->txn.meta, k.b, k.len, val, sizeof(val));
}

int volume_forget_session(struct volume *v, uint64_t id)
{
	struct meta_key k;
	int r;

	meta_key_session(&k, id);
	r = batch_del(&v->txn.meta, k.b, k.len);
	for (uint32_t slot = 0; !r && slot < SESSION_SLOTS; slot++) {
		meta_key_reply(&k, id, slot);
		r = batch_del(&v->txn.meta, k.b, k.len);
	}
	return r;
}

static void note_alive(void *ctx, uint64_t id)
{
	volume_note_session(ctx, id);
}

/* From time to time: who lives is noted, who does not is forgotten. */
static void keep_sessions(struct volume *v)
{
	if (volume_now_ms(v) < v->note_at_ms)
		return;
	v->note_at_ms = volume_now_ms(v) + SESSION_NOTE_MS;
	sessions_each(v->sessions, note_alive, v);
	each_key(v, META_SESSION, forget_old_session);
	if (!txn_error(&v->txn) && !txn_is_empty(&v->txn))
		volume_commit_txn(v);
	txn_clear(&v->txn);
}

/* R|session|slot -> seq, le64, and the reply (request.c). */
static int restore_slot(struct volume *v, const void *key, size_t klen, const void *val, size_t vlen)
{
	uint64_t id;
	uint32_t slot;

	if (!meta_key_number(key, klen, META_REPLY, &id) || !meta_key_slot(key, klen, &slot) || vlen < 8)
		return -EBADMSG;
	session_restore_slot(v->sessions, id, slot, get_le64(val));
	return 0;
}

int volume_start(struct volume *v, uint64_t epoch, bool fresh)
{
	int r = 0;

	v->epoch = epoch;
	if (!fresh && v->sessions) {
		v->serving = true;
		sync_check(v);
		return 0;
	}
	volume_forget(v);
	r = make_sessions(v);
	if (!r)
		r = each_key(v, META_SESSION, restore_session);
	if (!r)
		r = each_key(v, META_REPLY, restore_slot);
	if (r < 0) {
		log_error("fs", "%s: its sessions cannot be read: %s", v->name, strerror(-r));
		volume_forget(v);
		return r;
	}
	v->generation++;
	v->first_epoch = epoch;
	v->committed = repl_committed(v->repl);
	v->orphans_due = true;
	v->note_at_ms = volume_now_ms(v) + SESSION_NOTE_MS;
	v->serving = true;
	return 0;
}

void volume_stop(struct volume *v)
{
	struct request *r, *next;

	v->serving = false;
	sync_stop(v);
	DL_FOREACH_SAFE(v->waiting, r, next) {
		token_cancel(v->tokens, r);
		session_slot_abort(v->sessions, r->session, r->slot);
		DL_DELETE(v->waiting, r);
		request_reply(r, -EREMCHG);
	}
	DL_FOREACH_SAFE(v->held, r, next) {
		DL_DELETE(v->held, r);
		request_reply(r, -EREMCHG);
	}
}

/* ---- changes ---- */

void volume_env(struct volume *v, struct wire_writer *scratch, struct op_env *ret_env)
{
	*ret_env = (struct op_env){
		.store = v->store,
		.pos = { .epoch = v->epoch, .lsn = store_position(v->store).lsn + 1 },
		.now_ns = now_ns(),
		.is_open = is_open,
		.is_open_ctx = v,
		.scratch = scratch,
	};
}

int volume_commit_txn(struct volume *v)
{
	struct wire_logpos prev = store_position(v->store);
	struct record rec = {
		.prev = prev,
		.pos = { .epoch = v->epoch, .lsn = prev.lsn + 1 },
		.batch = v->txn.meta.buf,
		.batch_len = v->txn.meta.len,
		.extents = v->txn.extents.buf,
		.extents_len = v->txn.extents.len,
	};
	struct repl_event ev = { .type = REPL_EV_MADE, .pos = rec.pos };
	int r = store_apply(v->store, &rec);

	if (r < 0) {
		log_error("fs", "%s: this copy is broken: %s", v->name, strerror(-r));
		v->store_broken = true;
		ev.type = REPL_EV_BROKEN;
		r = -EREMCHG;
	} else {
		/* Without memory the log is empty: members will be found missing something, and copy. */
		repl_log_append(v->log, &rec);
	}
	txn_clear(&v->txn);
	volume_step(v, &ev);
	return r;
}

void volume_committed(struct volume *v, uint64_t lsn)
{
	struct request *r;

	v->committed = lsn;
	if (!volume_check_lease(v))
		return;
	while (v->serving && (r = v->held) && r->lsn <= v->committed) {
		DL_DELETE(v->held, r);
		request_reply(r, r->status);
	}
	if (v->serving)
		sync_check(v);
}

/* ---- what nobody holds any more ---- */

static void reap_one(struct volume *v, uint64_t ino)
{
	struct op_env env;
	int r;

	if (session_is_open(v->sessions, ino))
		return;
	volume_env(v, NULL, &env);
	r = op_reap(&env, ino, &v->txn);
	if (r == 0 && !txn_is_empty(&v->txn))
		r = volume_commit_txn(v);
	txn_clear(&v->txn);
	if (r < 0 && r != -ENOENT && r != -EREMCHG)
		log_error("fs", "%s: inode %" PRIu64 " cannot be freed: %s", v->name, ino, strerror(-r));
}

static int note_orphan(void *ctx, uint64_t ino)
{
	let_go(ctx, ino);
	return 0;
}

void volume_reap(struct volume *v)
{
	if (v->serving)
		keep_sessions(v);
	if (!v->serving || (!v->nr_reap && !v->orphans_due) || !sessions_settled(v->sessions))
		return;
	if (v->orphans_due) {
		v->orphans_due = false;
		op_orphans(v->store, note_orphan, v);
	}
	while (v->serving && v->nr_reap)
		reap_one(v, v->reap[--v->nr_reap]);
}

/* ---- space ---- */

static uint64_t on_the_way(const struct volume *v, uint64_t acked)
{
	uint64_t bytes = 0, lsn = store_position(v->store).lsn;
	const struct record *rec;

	for (; lsn > acked && (rec = repl_log_get(v->log, lsn)); lsn--)
		bytes += rec->batch_len + rec->extents_len;
	return bytes;
}

uint64_t volume_free_bytes(struct volume *v)
{
	struct data *d = store_data(v->store);
	uint64_t total, least;

	if (d->ops->space(d, &total, &least) < 0)
		return 0;
	for (size_t i = 0; i < v->nr_followers; i++) {
		const struct follower *f = &v->followers[i];
		uint64_t theirs = f->free, busy;

		if (!f->conn || theirs > SPACE_PLENTY || !repl_waits_for(v->repl, f->node))
			continue;
		busy = on_the_way(v, f->acked);
		theirs = theirs > busy ? theirs - busy : 0;
		if (theirs < least)
			least = theirs;
	}
	return least;
}
