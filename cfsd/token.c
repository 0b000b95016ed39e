/*
 * Grants by (inode, session), resources by inode with their grants, waiting operations in the order they came. The
 * list `oldest` has every grant by age; `leaving` those that are being taken back.
 */
#include "cfsd/token.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

enum { NR_BITS = 3, CONFLICTS_MAX = 4 };

struct resource;

struct grant_key {
	uint64_t ino, session;
};

struct grant {
	struct grant_key key;
	uint32_t tokens;
	uint32_t leaving; /* those of them that were asked back, or are void at the deadline */
	bool detached;	  /* the client need not answer: void at the deadline */
	uint64_t deadline_ms, generation;
	struct resource *res;
	struct grant *prev, *next;		   /* res->grants */
	struct grant *prev_old, *next_old;	   /* oldest */
	struct grant *prev_leaving, *next_leaving; /* leaving, while `leaving` is not 0 */
	UT_hash_handle hh;
};

struct resource {
	uint64_t ino;
	struct grant *grants;
	size_t waited[NR_BITS]; /* operations that wait for a token of this kind to go */
	UT_hash_handle hh;
};

struct waiter {
	void *op;
	uint64_t session;
	struct op_conflict c[CONFLICTS_MAX];
	size_t n;
	struct waiter *prev, *next;
};

struct tokens {
	struct token_conf conf;
	struct token_events events;
	void *ctx;
	struct grant *grants, *oldest, *leaving;
	struct resource *resources;
	struct waiter *waiters;
	uint64_t generation;
};

int tokens_new(const struct token_conf *conf, const struct token_events *events, void *ctx, struct tokens **ret_t)
{
	struct tokens *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->conf = *conf;
	t->events = *events;
	t->ctx = ctx;
	*ret_t = t;
	return 0;
}

/* ---- resources and grants ---- */

static struct resource *resource_find(const struct tokens *t, uint64_t ino)
{
	struct resource *res;

	HASH_FIND(hh, t->resources, &ino, sizeof(ino), res);
	return res;
}

static struct resource *resource_get(struct tokens *t, uint64_t ino)
{
	struct resource *res = resource_find(t, ino);

	if (res)
		return res;
	res = calloc(1, sizeof(*res));
	if (!res)
		return NULL;
	res->ino = ino;
	HASH_ADD(hh, t->resources, ino, sizeof(res->ino), res);
	return res;
}

/* A resource lives while anybody has, or waits for, something of it. */
static void resource_put(struct tokens *t, struct resource *res)
{
	if (res->grants || res->waited[0] || res->waited[1] || res->waited[2])
		return;
	HASH_DEL(t->resources, res);
	free(res);
}

static struct grant *grant_find(const struct tokens *t, uint64_t ino, uint64_t session)
{
	struct grant_key key = { ino, session };
	struct grant *g;

	HASH_FIND(hh, t->grants, &key, sizeof(key), g);
	return g;
}

static void grant_free(struct tokens *t, struct grant *g)
{
	struct resource *res = g->res;

	HASH_DEL(t->grants, g);
	DL_DELETE(res->grants, g);
	DL_DELETE2(t->oldest, g, prev_old, next_old);
	if (g->leaving)
		DL_DELETE2(t->leaving, g, prev_leaving, next_leaving);
	free(g);
	resource_put(t, res);
}

static struct grant *grant_new(struct tokens *t, uint64_t ino, uint64_t session)
{
	struct resource *res = resource_get(t, ino);
	struct grant *g = res ? calloc(1, sizeof(*g)) : NULL;

	if (!g) {
		if (res)
			resource_put(t, res);
		return NULL;
	}
	g->key = (struct grant_key){ ino, session };
	g->res = res;
	g->generation = ++t->generation;
	HASH_ADD(hh, t->grants, key, sizeof(g->key), g);
	DL_APPEND(res->grants, g);
	DL_APPEND2(t->oldest, g, prev_old, next_old);
	return g;
}

static void set_leaving(struct tokens *t, struct grant *g, uint32_t tokens)
{
	if (!g->leaving && tokens)
		DL_APPEND2(t->leaving, g, prev_leaving, next_leaving);
	if (g->leaving && !tokens)
		DL_DELETE2(t->leaving, g, prev_leaving, next_leaving);
	g->leaving = tokens;
}

/* Asks the client for those of TOKENS that were not asked for yet. */
static void recall(struct tokens *t, struct grant *g, uint32_t tokens, uint64_t now_ms)
{
	uint32_t ask = g->tokens & tokens & ~g->leaving;

	if (!ask || g->detached)
		return;
	if (!g->leaving)
		g->deadline_ms = now_ms + t->conf.revoke_ms;
	set_leaving(t, g, g->leaving | ask);
	t->events.revoke(t->ctx, g->key.session, g->key.ino, ask);
}

/* ---- waiting ---- */

static void count_waiter(struct tokens *t, const struct waiter *w, bool comes)
{
	for (size_t i = 0; i < w->n; i++) {
		struct resource *res = resource_find(t, w->c[i].ino);

		for (unsigned bit = 0; bit < NR_BITS; bit++) {
			if (!(w->c[i].tokens & 1u << bit))
				continue;
			if (comes)
				res->waited[bit]++;
			else
				res->waited[bit]--;
		}
		if (!comes)
			resource_put(t, res);
	}
}

static bool conflict_stands(const struct tokens *t, uint64_t session, const struct op_conflict *c)
{
	const struct resource *res = resource_find(t, c->ino);
	const struct grant *g;

	if (res)
		DL_FOREACH(res->grants, g)
			if (g->key.session != session && g->tokens & c->tokens)
				return true;
	return false;
}

static bool may_run(const struct tokens *t, uint64_t session, const struct op_conflict *c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (conflict_stands(t, session, &c[i]))
			return false;
	return true;
}

static void wake(struct tokens *t)
{
	struct waiter *w;
	void *op;

	/* From the start after each: ready() may have changed everything. */
	do {
		DL_FOREACH(t->waiters, w)
			if (may_run(t, w->session, w->c, w->n))
				break;
		if (!w)
			return;
		op = w->op;
		DL_DELETE(t->waiters, w);
		count_waiter(t, w, false);
		free(w);
		t->events.ready(t->ctx, op);
	} while (t->waiters);
}

static void recall_conflicts(struct tokens *t, const struct waiter *w, uint64_t now_ms)
{
	for (size_t i = 0; i < w->n; i++) {
		struct resource *res = resource_find(t, w->c[i].ino);
		struct grant *g;

		DL_FOREACH(res->grants, g)
			if (g->key.session != w->session)
				recall(t, g, w->c[i].tokens, now_ms);
	}
}

/* Only those kinds and inodes that can be taken into account; same inode twice is fine. */
static struct waiter *waiter_new(struct tokens *t, uint64_t session, const struct op_conflict *c, size_t n, void *op)
{
	struct waiter *w = calloc(1, sizeof(*w));

	assert(n <= CONFLICTS_MAX);
	if (!w)
		return NULL;
	w->op = op;
	w->session = session;
	for (; w->n < n; w->n++) {
		struct waiter upto = *w;

		w->c[w->n] = c[w->n];
		if (!resource_get(t, c[w->n].ino)) {
			for (size_t i = 0; i < upto.n; i++)
				resource_put(t, resource_find(t, upto.c[i].ino));
			free(w);
			return NULL;
		}
	}
	return w;
}

bool token_acquire(struct tokens *t, uint64_t session, const struct op_conflict *c, size_t n, void *op, uint64_t now_ms)
{
	struct waiter *w;

	if (may_run(t, session, c, n))
		return true;
	w = waiter_new(t, session, c, n, op);
	if (!w)
		abort(); /* out of memory: neither running nor forgetting it would be right */
	DL_APPEND(t->waiters, w);
	count_waiter(t, w, true);
	recall_conflicts(t, w, now_ms);
	return false;
}

void token_cancel(struct tokens *t, void *op)
{
	struct waiter *w, *next;

	DL_FOREACH_SAFE(t->waiters, w, next) {
		if (w->op != op)
			continue;
		DL_DELETE(t->waiters, w);
		count_waiter(t, w, false);
		free(w);
	}
}

/* ---- granting ---- */

uint32_t token_grant(struct tokens *t, uint64_t session, uint64_t ino, uint32_t want, uint64_t now_ms,
		     struct token_stamp *ret_stamp)
{
	const struct resource *res = resource_find(t, ino);
	struct grant *g = grant_find(t, ino, session);

	for (unsigned bit = 0; res && bit < NR_BITS; bit++)
		if (res->waited[bit])
			want &= ~(1u << bit);
	if (g && (g->leaving || g->detached))
		want = 0;
	if (!want)
		return 0;
	if (!g && HASH_COUNT(t->grants) >= t->conf.max_grants) {
		struct grant *old = t->oldest;

		/* One out for each that would come in. */
		while (old && old->leaving)
			old = old->next_old;
		if (old)
			recall(t, old, old->tokens, now_ms);
		return 0;
	}
	if (!g)
		g = grant_new(t, ino, session);
	if (!g)
		return 0;
	g->tokens |= want;
	*ret_stamp = (struct token_stamp){ ino, session, g->generation };
	return want;
}

uint32_t token_still(const struct tokens *t, const struct token_stamp *stamp)
{
	const struct grant *g = grant_find(t, stamp->ino, stamp->session);

	return g && g->generation == stamp->generation && !g->detached ? g->tokens & ~g->leaving : 0;
}

/* ---- taking back ---- */

void token_revoked(struct tokens *t, uint64_t session, uint64_t ino, uint32_t tokens)
{
	struct grant *g = grant_find(t, ino, session);

	if (!g)
		return;
	g->tokens &= ~(g->leaving & tokens);
	set_leaving(t, g, g->leaving & ~tokens);
	if (!g->tokens) {
		grant_free(t, g);
	} else {
		/* A reply on its way with the old stamp may carry what was just taken back. */
		g->generation = ++t->generation;
	}
	wake(t);
}

void token_drop_session(struct tokens *t, uint64_t session)
{
	struct grant *g, *next;

	HASH_ITER(hh, t->grants, g, next)
		if (g->key.session == session)
			grant_free(t, g);
	wake(t);
}

static void void_later(struct tokens *t, uint64_t session, uint64_t at_ms)
{
	struct grant *g, *next;

	HASH_ITER(hh, t->grants, g, next) {
		if (g->key.session != session || g->detached)
			continue;
		g->detached = true;
		g->deadline_ms = at_ms;
		set_leaving(t, g, g->tokens);
	}
}

void token_detach_session(struct tokens *t, uint64_t session, uint64_t now_ms)
{
	void_later(t, session, now_ms + t->conf.fresh_ms);
}

static struct grant *overdue(const struct tokens *t, uint64_t now_ms)
{
	struct grant *g;

	DL_FOREACH2(t->leaving, g, next_leaving)
		if (now_ms >= g->deadline_ms)
			return g;
	return NULL;
}

void token_tick(struct tokens *t, uint64_t now_ms)
{
	struct grant *g;

	while ((g = overdue(t, now_ms))) {
		uint64_t session = g->key.session;

		if (g->detached) {
			grant_free(t, g);
			continue;
		}
		void_later(t, session, now_ms + t->conf.fresh_ms);
		t->events.fenced(t->ctx, session);
	}
	wake(t);
}

size_t tokens_count(const struct tokens *t)
{
	return HASH_COUNT(t->grants);
}

void tokens_free(struct tokens *t)
{
	struct waiter *w, *wnext;
	struct grant *g, *gnext;

	if (!t)
		return;
	DL_FOREACH_SAFE(t->waiters, w, wnext) {
		DL_DELETE(t->waiters, w);
		count_waiter(t, w, false);
		free(w);
	}
	HASH_ITER(hh, t->grants, g, gnext)
		grant_free(t, g);
	free(t);
}
