/*
 * One node per inode, in a hash and in a list by use. lost[k] is the stamp at which what token k covers was last taken
 * away: replies to requests with an older stamp are not kept. A node that is evicted leaves its stamps in the cache's
 * `evicted`, where new nodes start from, so forgetting never makes an overtaken reply acceptable.
 */
#include "fuse/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "wire/fileop.h"

enum { LOST_ATTR, LOST_DATA, LOST_NAMES, NR_LOST };

enum name_state { NAME_ABSENT, NAME_PRESENT, NAME_CHANGING };

struct cname {
	UT_hash_handle hh;
	uint64_t ino;
	uint32_t mode;
	enum name_state state;
	char name[];
};

struct cnode {
	UT_hash_handle hh;
	struct cnode *prev, *next; /* by use, latest first */
	uint64_t ino;
	uint32_t tokens;
	bool has_attr, complete, pages_kept;
	struct wire_attr attr;
	struct cname *names;
	size_t nr_changing;
	uint64_t lost[NR_LOST];
};

struct cache {
	struct cnode *by_ino, *by_use;
	size_t nr_inodes, max_inodes, nr_names, max_names;
	uint64_t stamp, evicted;
};

int cache_new(size_t max_inodes, size_t max_names, struct cache **ret_cache)
{
	struct cache *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->max_inodes = max_inodes;
	c->max_names = max_names;
	*ret_cache = c;
	return 0;
}

static void name_free(struct cache *c, struct cnode *n, struct cname *e)
{
	if (e->state == NAME_CHANGING)
		n->nr_changing--;
	HASH_DEL(n->names, e);
	c->nr_names--;
	free(e);
}

static void drop_names(struct cache *c, struct cnode *n)
{
	struct cname *e, *tmp;

	n->complete = false;
	HASH_ITER(hh, n->names, e, tmp)
		name_free(c, n, e);
}

static void evict(struct cache *c, struct cnode *n)
{
	for (int k = 0; k < NR_LOST; k++)
		if (n->lost[k] > c->evicted)
			c->evicted = n->lost[k];
	drop_names(c, n);
	HASH_DEL(c->by_ino, n);
	DL_DELETE(c->by_use, n);
	c->nr_inodes--;
	free(n);
}

void cache_clear(struct cache *c)
{
	while (c->by_use)
		evict(c, c->by_use);
	c->evicted = ++c->stamp;
}

void cache_free(struct cache *c)
{
	if (!c)
		return;
	cache_clear(c);
	free(c);
}

uint64_t cache_stamp(const struct cache *c)
{
	return c->stamp;
}

static struct cnode *find(struct cache *c, uint64_t ino)
{
	struct cnode *n;

	HASH_FIND(hh, c->by_ino, &ino, sizeof(ino), n);
	if (n && n != c->by_use) {
		DL_DELETE(c->by_use, n);
		DL_PREPEND(c->by_use, n);
	}
	return n;
}

/* Makes room for what was just added to KEEP. */
static void shrink(struct cache *c, const struct cnode *keep)
{
	while (c->nr_inodes > c->max_inodes || c->nr_names > c->max_names) {
		struct cnode *last = c->by_use->prev;

		if (last == keep)
			break;
		evict(c, last);
	}
}

/* NULL when out of memory: then nothing of what is under way may be kept. */
static struct cnode *find_or_add(struct cache *c, uint64_t ino)
{
	struct cnode *n = find(c, ino);

	if (n)
		return n;
	n = calloc(1, sizeof(*n));
	if (!n) {
		c->evicted = ++c->stamp;
		return NULL;
	}
	n->ino = ino;
	for (int k = 0; k < NR_LOST; k++)
		n->lost[k] = c->evicted;
	HASH_ADD(hh, c->by_ino, ino, sizeof(n->ino), n);
	DL_PREPEND(c->by_use, n);
	c->nr_inodes++;
	shrink(c, n);
	return n;
}

static void lose_attr(struct cache *c, struct cnode *n)
{
	n->has_attr = false;
	n->tokens &= ~(uint32_t)TOKEN_ATTR;
	n->lost[LOST_ATTR] = ++c->stamp;
}

static void lose_names(struct cache *c, struct cnode *n)
{
	drop_names(c, n);
	n->tokens &= ~(uint32_t)TOKEN_NAMES;
	n->lost[LOST_NAMES] = ++c->stamp;
}

void cache_revoke(struct cache *c, uint64_t ino, uint32_t tokens)
{
	struct cnode *n = find_or_add(c, ino);

	if (!n)
		return;
	if (tokens & TOKEN_ATTR)
		lose_attr(c, n);
	if (tokens & TOKEN_NAMES)
		lose_names(c, n);
	if (tokens & TOKEN_DATA) {
		n->tokens &= ~(uint32_t)TOKEN_DATA;
		n->pages_kept = false;
		n->lost[LOST_DATA] = ++c->stamp;
	}
}

/* ---- attributes ---- */

void cache_put_attr(struct cache *c, const struct wire_attr *attr, uint32_t tokens, uint64_t stamp)
{
	struct cnode *n = find_or_add(c, attr->ino);

	if (!n)
		return;
	if ((tokens & TOKEN_DATA) && n->lost[LOST_DATA] <= stamp)
		n->tokens |= TOKEN_DATA;
	/* What a new directory's maker is granted: it is known to be empty. */
	if ((tokens & TOKEN_NAMES) && n->lost[LOST_NAMES] <= stamp)
		n->tokens |= TOKEN_NAMES;
	if (n->lost[LOST_ATTR] > stamp || (n->has_attr && n->attr.change > attr->change))
		return;
	n->has_attr = tokens & TOKEN_ATTR;
	n->tokens = (n->tokens & ~(uint32_t)TOKEN_ATTR) | (tokens & TOKEN_ATTR);
	n->attr = *attr;
}

bool cache_get_attr(struct cache *c, uint64_t ino, struct wire_attr *ret_attr)
{
	struct cnode *n = find(c, ino);

	if (!n || !n->has_attr)
		return false;
	*ret_attr = n->attr;
	return true;
}

void cache_drop_attr(struct cache *c, uint64_t ino)
{
	struct cnode *n = find_or_add(c, ino);

	if (n)
		lose_attr(c, n);
}

/* ---- names ---- */

static struct cname *name_find(struct cnode *n, const char *name)
{
	struct cname *e;

	HASH_FIND_STR(n->names, name, e);
	return e;
}

/* Out of memory loses the names, not the truth. */
static void name_set(struct cache *c, struct cnode *n, const char *name, enum name_state state, uint64_t ino,
		     uint32_t mode)
{
	struct cname *e = name_find(n, name);

	if (!e) {
		size_t len = strlen(name);

		e = calloc(1, sizeof(*e) + len + 1);
		if (!e) {
			lose_names(c, n);
			return;
		}
		memcpy(e->name, name, len + 1);
		HASH_ADD_KEYPTR(hh, n->names, e->name, len, e);
		c->nr_names++;
	} else if (e->state == NAME_CHANGING) {
		n->nr_changing--;
	}
	e->state = state;
	e->ino = ino;
	e->mode = mode;
	if (state == NAME_CHANGING)
		n->nr_changing++;
	shrink(c, n);
	if (c->nr_names > c->max_names) /* one directory of more names than all may have */
		drop_names(c, n);
}

void cache_put_name(struct cache *c, uint64_t dir, const char *name, uint64_t ino, uint32_t mode, uint32_t dir_tokens,
		    uint64_t stamp)
{
	struct cnode *n;
	struct cname *e;

	if (!(dir_tokens & TOKEN_NAMES))
		return;
	n = find_or_add(c, dir);
	if (!n || n->lost[LOST_NAMES] > stamp)
		return;
	n->tokens |= TOKEN_NAMES;
	e = name_find(n, name);
	if (e && e->state == NAME_CHANGING)
		return;
	name_set(c, n, name, ino ? NAME_PRESENT : NAME_ABSENT, ino, mode);
}

enum cache_answer cache_get_name(struct cache *c, uint64_t dir, const char *name, uint64_t *ret_ino)
{
	struct cnode *n = find(c, dir);
	struct cname *e = n ? name_find(n, name) : NULL;

	if (!n)
		return CACHE_UNKNOWN;
	if (!e)
		return n->complete ? CACHE_ABSENT : CACHE_UNKNOWN;
	if (e->state == NAME_CHANGING)
		return CACHE_UNKNOWN;
	if (e->state == NAME_ABSENT)
		return CACHE_ABSENT;
	*ret_ino = e->ino;
	return CACHE_PRESENT;
}

void cache_name_changing(struct cache *c, uint64_t dir, const char *name)
{
	struct cnode *n = find(c, dir);

	if (n && (n->tokens & TOKEN_NAMES))
		name_set(c, n, name, NAME_CHANGING, 0, 0);
}

void cache_name_unknown(struct cache *c, uint64_t dir, const char *name)
{
	struct cnode *n = find_or_add(c, dir);
	struct cname *e;

	if (!n)
		return;
	e = name_find(n, name);
	if (e)
		name_free(c, n, e);
	n->complete = false;
	n->lost[LOST_NAMES] = ++c->stamp;
	lose_attr(c, n);
}

void cache_names_changed(struct cache *c, const struct wire_attr *dir, uint32_t dir_tokens, const struct cache_name *names,
			 size_t n, uint64_t stamp)
{
	struct cnode *d = find_or_add(c, dir->ino);
	bool known = d && dir_tokens & TOKEN_NAMES && d->lost[LOST_NAMES] <= stamp;

	if (known)
		d->tokens |= TOKEN_NAMES;
	for (size_t i = 0; i < n; i++) {
		if (known)
			name_set(c, d, names[i].name, names[i].ino ? NAME_PRESENT : NAME_ABSENT, names[i].ino,
				 names[i].mode);
		else
			cache_name_unknown(c, dir->ino, names[i].name);
	}
	if (!known)
		return;
	/* Lookups sent before this was answered may have seen the directory as it was. */
	d->lost[LOST_NAMES] = ++c->stamp;
	if (dir_tokens & TOKEN_ATTR && d->lost[LOST_ATTR] <= stamp)
		cache_put_attr(c, dir, TOKEN_ATTR, stamp);
	else
		lose_attr(c, d);
}

/* ---- listings ---- */

void cache_put_names_token(struct cache *c, uint64_t dir, uint64_t stamp)
{
	struct cnode *n = find_or_add(c, dir);

	if (n && n->lost[LOST_NAMES] <= stamp)
		n->tokens |= TOKEN_NAMES;
}

void cache_set_complete(struct cache *c, uint64_t dir, uint64_t stamp)
{
	struct cnode *n = find(c, dir);

	if (n && (n->tokens & TOKEN_NAMES) && n->lost[LOST_NAMES] <= stamp)
		n->complete = true;
}

int cache_list(struct cache *c, uint64_t dir, cache_entry_fn fn, void *ctx)
{
	struct cnode *n = find(c, dir);
	struct cname *e, *tmp;
	int r;

	if (!n || !n->complete || n->nr_changing)
		return 0;
	HASH_ITER(hh, n->names, e, tmp) {
		if (e->state != NAME_PRESENT)
			continue;
		r = fn(ctx, e->name, e->ino, e->mode);
		if (r < 0)
			return r;
	}
	return 1;
}

/* ---- pages ---- */

bool cache_pages_kept(struct cache *c, uint64_t ino)
{
	struct cnode *n = find(c, ino);

	return n && n->pages_kept;
}

void cache_pages_dropped(struct cache *c, uint64_t ino)
{
	struct cnode *n = find(c, ino);

	if (n)
		n->pages_kept = n->tokens & TOKEN_DATA;
}

void cache_pages_filled(struct cache *c, uint64_t ino, uint32_t tokens, uint64_t stamp)
{
	struct cnode *n = find(c, ino);

	if (!n)
		return;
	if (!(tokens & TOKEN_DATA) || n->lost[LOST_DATA] > stamp)
		n->pages_kept = false;
}

size_t cache_nr_inodes(const struct cache *c)
{
	return c->nr_inodes;
}

size_t cache_nr_names(const struct cache *c)
{
	return c->nr_names;
}
