/* Two hash tables: sessions by number, each with its holds; and how many holds an inode has in all. */
#include "cfsd/session.h"

#include <errno.h>
#include <stdlib.h>
#include <uthash.h>

struct hold {
	uint64_t ino;
	uint64_t count;
	UT_hash_handle hh;
};

struct slot {
	uint64_t seq; /* of the last change that came */
	bool busy, done;
};

struct session {
	uint64_t id;
	const void *conn;     /* NULL: detached */
	bool awaited;	      /* restored, has not attached since */
	bool expired;	      /* holds nothing until it attaches again */
	uint64_t expire_at_ms; /* while detached */
	struct slot slots[SESSION_SLOTS];
	struct hold *holds;
	UT_hash_handle hh;
};

struct sessions {
	struct session_conf conf;
	session_let_go let_go;
	void *ctx;
	struct session *all;
	struct hold *open; /* over all sessions */
	size_t nr_awaited;
};

int sessions_new(const struct session_conf *conf, session_let_go let_go, void *ctx, struct sessions **ret_s)
{
	struct sessions *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->conf = *conf;
	s->let_go = let_go;
	s->ctx = ctx;
	*ret_s = s;
	return 0;
}

/* ---- holds ---- */

static struct hold *hold_of(struct hold *const *table, uint64_t ino)
{
	struct hold *h, *head = *table;

	HASH_FIND(hh, head, &ino, sizeof(ino), h);
	return h;
}

static int hold_add(struct hold **table, uint64_t ino, uint64_t n)
{
	struct hold *h = hold_of(table, ino);

	if (!h) {
		h = calloc(1, sizeof(*h));
		if (!h)
			return -ENOMEM;
		h->ino = ino;
		HASH_ADD(hh, *table, ino, sizeof(h->ino), h);
	}
	h->count += n;
	return 0;
}

/* True when that was the last. */
static bool hold_sub(struct hold **table, struct hold *h, uint64_t n)
{
	h->count -= n;
	if (h->count)
		return false;
	HASH_DEL(*table, h);
	free(h);
	return true;
}

/* Takes N holds of the session back; true when nobody holds the inode any more. */
static bool unhold(struct sessions *s, struct session *ses, struct hold *h, uint64_t n)
{
	struct hold *all = hold_of(&s->open, h->ino);

	hold_sub(&ses->holds, h, n);
	return hold_sub(&s->open, all, n);
}

static int hold(struct sessions *s, struct session *ses, uint64_t ino)
{
	int r = hold_add(&s->open, ino, 1);

	if (r < 0)
		return r;
	r = hold_add(&ses->holds, ino, 1);
	if (r < 0)
		hold_sub(&s->open, hold_of(&s->open, ino), 1);
	return r;
}

static void release_all(struct sessions *s, struct session *ses)
{
	struct hold *h, *next;

	HASH_ITER(hh, ses->holds, h, next) {
		uint64_t ino = h->ino;

		if (unhold(s, ses, h, h->count) && s->let_go)
			s->let_go(s->ctx, ino);
	}
}

/* ---- sessions ---- */

static struct session *find(const struct sessions *s, uint64_t id)
{
	struct session *ses;

	HASH_FIND(hh, s->all, &id, sizeof(id), ses);
	return ses;
}

static int add(struct sessions *s, uint64_t id, struct session **ret_ses)
{
	struct session *ses;

	if (HASH_COUNT(s->all) >= SESSIONS_MAX)
		return -ENFILE;
	ses = calloc(1, sizeof(*ses));
	if (!ses)
		return -ENOMEM;
	ses->id = id;
	HASH_ADD(hh, s->all, id, sizeof(ses->id), ses);
	*ret_ses = ses;
	return 0;
}

static void no_longer_awaited(struct sessions *s, struct session *ses)
{
	if (ses->awaited)
		s->nr_awaited--;
	ses->awaited = false;
}

static void end(struct sessions *s, struct session *ses)
{
	no_longer_awaited(s, ses);
	release_all(s, ses);
	HASH_DEL(s->all, ses);
	free(ses);
}

void sessions_free(struct sessions *s)
{
	struct session *ses, *next;

	if (!s)
		return;
	s->let_go = NULL;
	HASH_ITER(hh, s->all, ses, next)
		end(s, ses);
	free(s);
}

int session_restore(struct sessions *s, uint64_t id, uint64_t now_ms)
{
	struct session *ses;
	int r = add(s, id, &ses);

	if (r < 0)
		return r;
	ses->awaited = true;
	ses->expire_at_ms = now_ms + s->conf.expire_ms;
	s->nr_awaited++;
	return 0;
}

void session_restore_slot(struct sessions *s, uint64_t id, uint32_t slot, uint64_t seq)
{
	struct session *ses = find(s, id);

	if (ses && slot < SESSION_SLOTS)
		ses->slots[slot] = (struct slot){ .seq = seq, .done = true };
}

/* The new holds first: what is held before and after is not let go in between. */
static int replace_holds(struct sessions *s, struct session *ses, const uint64_t *opens, size_t nr_opens)
{
	struct session old = { .holds = ses->holds };
	int r = 0;

	ses->holds = NULL;
	for (size_t i = 0; !r && i < nr_opens; i++)
		r = hold(s, ses, opens[i]);
	release_all(s, &old);
	return r;
}

int session_attach(struct sessions *s, uint64_t id, const void *conn, const uint64_t *opens, size_t nr_opens)
{
	struct session *ses = find(s, id);
	bool is_new = !ses;
	int r = 0;

	if (!id)
		return -EINVAL;
	if (nr_opens > SESSION_OPENS_MAX)
		return -ENFILE;
	if (is_new)
		r = add(s, id, &ses);
	if (r < 0)
		return r;
	r = replace_holds(s, ses, opens, nr_opens);
	if (r < 0) {
		end(s, ses);
		return r;
	}
	no_longer_awaited(s, ses);
	ses->expired = false;
	ses->conn = conn;
	return is_new;
}

static void detach(struct sessions *s, struct session *ses, uint64_t now_ms)
{
	ses->conn = NULL;
	ses->expire_at_ms = now_ms + s->conf.expire_ms;
}

void session_detach(struct sessions *s, const void *conn, uint64_t now_ms)
{
	struct session *ses, *next;

	HASH_ITER(hh, s->all, ses, next)
		if (ses->conn == conn)
			detach(s, ses, now_ms);
}

int session_close(struct sessions *s, uint64_t id)
{
	struct session *ses = find(s, id);

	if (!ses)
		return -ENOENT;
	end(s, ses);
	return 0;
}

void session_fence(struct sessions *s, uint64_t id, uint64_t now_ms)
{
	struct session *ses = find(s, id);

	if (ses && ses->conn)
		detach(s, ses, now_ms);
}

void session_tick(struct sessions *s, uint64_t now_ms)
{
	struct session *ses, *next;

	HASH_ITER(hh, s->all, ses, next) {
		if (ses->conn || ses->expired || now_ms < ses->expire_at_ms)
			continue;
		ses->expired = true;
		no_longer_awaited(s, ses);
		release_all(s, ses);
	}
}

void sessions_each(const struct sessions *s, void (*fn)(void *ctx, uint64_t id), void *ctx)
{
	for (const struct session *ses = s->all; ses; ses = ses->hh.next)
		if (ses->conn)
			fn(ctx, ses->id);
}

size_t sessions_of_conn(const struct sessions *s, const void *conn, uint64_t *ret_ids, size_t max)
{
	size_t n = 0;

	for (const struct session *ses = s->all; ses && n < max; ses = ses->hh.next)
		if (ses->conn == conn)
			ret_ids[n++] = ses->id;
	return n;
}

bool session_speaks(const struct sessions *s, uint64_t id, const void *conn)
{
	const struct session *ses = find(s, id);

	return ses && ses->conn && ses->conn == conn;
}

const void *session_conn(const struct sessions *s, uint64_t id)
{
	const struct session *ses = find(s, id);

	return ses ? ses->conn : NULL;
}

/* ---- slots ---- */

int session_slot_begin(struct sessions *s, uint64_t id, uint32_t slot, uint64_t seq, enum session_slot_state *ret_state)
{
	struct session *ses = find(s, id);
	struct slot *sl;

	if (!ses)
		return -EREMCHG;
	if (slot >= SESSION_SLOTS || !seq || seq < ses->slots[slot].seq)
		return -EINVAL;
	sl = &ses->slots[slot];
	if (seq == sl->seq && sl->busy) {
		*ret_state = SESSION_BUSY;
	} else if (seq == sl->seq && sl->done) {
		*ret_state = SESSION_REPLIED;
	} else if (sl->busy) {
		/* The client gave the earlier one up (soft mount): later. */
		return -EREMCHG;
	} else {
		*sl = (struct slot){ .seq = seq, .busy = true };
		*ret_state = SESSION_NEW;
	}
	return 0;
}

static void slot_end(struct sessions *s, uint64_t id, uint32_t slot, bool done)
{
	struct session *ses = find(s, id);

	if (!ses || slot >= SESSION_SLOTS)
		return;
	ses->slots[slot].busy = false;
	ses->slots[slot].done = done;
}

void session_slot_done(struct sessions *s, uint64_t id, uint32_t slot)
{
	slot_end(s, id, slot, true);
}

void session_slot_abort(struct sessions *s, uint64_t id, uint32_t slot)
{
	slot_end(s, id, slot, false);
}

/* ---- opens ---- */

int session_hold(struct sessions *s, uint64_t id, uint64_t ino)
{
	struct session *ses = find(s, id);

	if (!ses)
		return -EREMCHG;
	if (HASH_COUNT(ses->holds) >= SESSION_OPENS_MAX)
		return -ENFILE;
	return hold(s, ses, ino);
}

void session_release(struct sessions *s, uint64_t id, uint64_t ino)
{
	struct session *ses = find(s, id);
	struct hold *h = ses ? hold_of(&ses->holds, ino) : NULL;

	if (h && unhold(s, ses, h, 1) && s->let_go)
		s->let_go(s->ctx, ino);
}

bool session_is_open(const struct sessions *s, uint64_t ino)
{
	return hold_of(&s->open, ino) != NULL;
}

bool sessions_settled(const struct sessions *s)
{
	return s->nr_awaited == 0;
}

size_t sessions_count(const struct sessions *s)
{
	const struct session *ses;
	size_t n = 0;

	for (ses = s->all; ses; ses = ses->hh.next)
		n += ses->conn != NULL;
	return n;
}
