/*
 * The metadata store in memory, for tests and the simulator.
 *
 * A persistent treap: nodes are shared between versions and copied on the path to a change, so a view (an iterator, the
 * last synced state) is a reference to a root. Priorities are hashes of the keys: the same keys give the same tree,
 * whatever the order they came in. A node that more than one parent or view refers to is never written.
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cfsd/batch.h"
#include "cfsd/meta.h"
#include "common/cleanup.h"

struct item {
	size_t refs, klen, vlen;
	uint8_t bytes[]; /* key, value */
};

struct node {
	size_t refs;
	uint64_t prio;
	struct node *left, *right;
	struct item *item;
};

struct meta_mem {
	struct meta meta;
	pthread_mutex_t lock; /* guards the roots and all reference counts */
	struct node *root, *synced;
};

enum { DEPTH_MAX = 128 }; /* of a treap of n keys: about 2 ln n; at 10^6 keys some 50 were seen */

struct meta_iter {
	struct meta_mem *m;
	struct node *root; /* the view */
	size_t depth;
	const struct node *path[DEPTH_MAX]; /* nodes still to be visited, the next one last */
};

static void item_unref(struct item *it)
{
	if (it && !--it->refs)
		free(it);
}

static struct item *item_new(const struct batch_item *b)
{
	struct item *it = malloc(sizeof(*it) + b->klen + b->vlen);

	if (!it)
		return NULL;
	*it = (struct item){ .refs = 1, .klen = b->klen, .vlen = b->vlen };
	memcpy(it->bytes, b->key, b->klen);
	if (b->vlen)
		memcpy(it->bytes + b->klen, b->val, b->vlen);
	return it;
}

static int compare(const void *key, size_t klen, const struct item *it)
{
	int r = memcmp(key, it->bytes, klen < it->klen ? klen : it->klen);

	return r ? r : (klen > it->klen) - (klen < it->klen);
}

/* FNV-1a, then mixed: nearby keys must not have nearby priorities. */
static uint64_t priority(const uint8_t *key, size_t klen)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < klen; i++)
		h = (h ^ key[i]) * 0x100000001b3u;
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93u;
	return h ^ h >> 29;
}

static struct node *node_ref(struct node *n)
{
	if (n)
		n->refs++;
	return n;
}

static void node_unref(struct node *n)
{
	while (n && !--n->refs) {
		struct node *right = n->right;

		node_unref(n->left);
		item_unref(n->item);
		free(n);
		n = right;
	}
}

/* A node that may be written in N's place: N itself when nobody else has it. NULL: no memory, N is as before. */
static struct node *node_own(struct node *n)
{
	if (n->refs == 1)
		return n;
	struct node *copy = malloc(sizeof(*copy));

	if (!copy)
		return NULL;
	*copy = *n;
	copy->refs = 1;
	copy->item->refs++;
	node_ref(copy->left);
	node_ref(copy->right);
	n->refs--;
	return copy;
}

static struct node *node_new(const struct batch_item *b)
{
	struct node *n = malloc(sizeof(*n));
	struct item *it = n ? item_new(b) : NULL;

	if (!it) {
		free(n);
		return NULL;
	}
	*n = (struct node){ .refs = 1, .prio = priority(b->key, b->klen), .item = it };
	return n;
}

static struct node *rotate_right(struct node *n)
{
	struct node *l = n->left;

	n->left = l->right;
	l->right = n;
	return l;
}

static struct node *rotate_left(struct node *n)
{
	struct node *r = n->right;

	n->right = r->left;
	r->left = n;
	return r;
}

/* Takes the reference to N, returns one to the tree with the item in it. *OOM: some of it is missing. */
static struct node *insert(struct node *n, const struct batch_item *b, bool *oom)
{
	struct node *m = n ? node_own(n) : node_new(b);

	if (!m) {
		*oom = true;
		return n;
	}
	if (!n)
		return m;
	int r = compare(b->key, b->klen, m->item);

	if (!r) {
		struct item *it = item_new(b);

		if (!it) {
			*oom = true;
			return m;
		}
		item_unref(m->item);
		m->item = it;
	} else if (r < 0) {
		m->left = insert(m->left, b, oom);
		if (m->left && m->left->prio > m->prio && !*oom)
			m = rotate_right(m);
	} else {
		m->right = insert(m->right, b, oom);
		if (m->right && m->right->prio > m->prio && !*oom)
			m = rotate_left(m);
	}
	return m;
}

/* Joins two trees, all keys of A before those of B. Takes both references. */
static struct node *join(struct node *a, struct node *b, bool *oom)
{
	if (!a || !b)
		return a ? a : b;
	struct node *top = node_own(a->prio > b->prio ? a : b);

	if (!top) {
		*oom = true;
		node_unref(b);
		return a;
	}
	if (a->prio > b->prio)
		top->right = join(top->right, b, oom);
	else
		top->left = join(a, top->left, oom);
	return top;
}

static struct node *delete(struct node *n, const void *key, size_t klen, bool *oom)
{
	if (!n)
		return NULL;
	struct node *m = node_own(n);

	if (!m) {
		*oom = true;
		return n;
	}
	int r = compare(key, klen, m->item);

	if (r < 0) {
		m->left = delete(m->left, key, klen, oom);
	} else if (r > 0) {
		m->right = delete(m->right, key, klen, oom);
	} else {
		struct node *joined = join(TAKE_PTR(m->left), TAKE_PTR(m->right), oom);

		node_unref(m);
		return joined;
	}
	return m;
}

static const struct item *find(const struct node *n, const void *key, size_t klen)
{
	while (n) {
		int r = compare(key, klen, n->item);

		if (!r)
			return n->item;
		n = r < 0 ? n->left : n->right;
	}
	return NULL;
}

static int mem_get(struct meta *meta, const void *key, size_t klen, void **ret_val, size_t *ret_vlen)
{
	struct meta_mem *m = (struct meta_mem *)meta;
	LOCK_SCOPE(&m->lock);
	const struct item *it = find(m->root, key, klen);

	if (!it)
		return -ENOENT;
	void *val = malloc(it->vlen + 1);

	if (!val)
		return -ENOMEM;
	memcpy(val, it->bytes + it->klen, it->vlen);
	*ret_val = val;
	*ret_vlen = it->vlen;
	return 0;
}

static int mem_apply(struct meta *meta, const void *batch, size_t len, bool sync)
{
	struct meta_mem *m = (struct meta_mem *)meta;
	LOCK_SCOPE(&m->lock);
	struct node *root = node_ref(m->root);
	struct batch_item b;
	bool oom = false;
	size_t pos = 0;
	int r = 0;

	while (!oom && (r = batch_next(batch, len, &pos, &b)) > 0)
		root = b.val ? insert(root, &b, &oom) : delete(root, b.key, b.klen, &oom);
	if (oom || r < 0) {
		node_unref(root);
		return oom ? -ENOMEM : r;
	}
	node_unref(m->root);
	m->root = root;
	if (sync) {
		node_unref(m->synced);
		m->synced = node_ref(root);
	}
	return 0;
}

static void push_left(struct meta_iter *it, const struct node *n)
{
	for (; n; n = n->left) {
		assert(it->depth < DEPTH_MAX);
		it->path[it->depth++] = n;
	}
}

static int mem_iter_new(struct meta *meta, const void *from, size_t flen, struct meta_iter **ret_it)
{
	struct meta_mem *m = (struct meta_mem *)meta;
	struct meta_iter *it = malloc(sizeof(*it));

	if (!it)
		return -ENOMEM;
	LOCK_SCOPE(&m->lock);
	it->m = m;
	it->depth = 0;
	it->root = node_ref(m->root);
	for (const struct node *n = it->root; n;) {
		if (compare(from, flen, n->item) <= 0) {
			assert(it->depth < DEPTH_MAX);
			it->path[it->depth++] = n;
			n = n->left;
		} else {
			n = n->right;
		}
	}
	*ret_it = it;
	return 0;
}

static int mem_iter_next(struct meta_iter *it, const void **ret_key, size_t *ret_klen, const void **ret_val,
			 size_t *ret_vlen)
{
	if (!it->depth)
		return 0;
	const struct node *n = it->path[--it->depth];

	push_left(it, n->right);
	*ret_key = n->item->bytes;
	*ret_klen = n->item->klen;
	*ret_val = n->item->bytes + n->item->klen;
	*ret_vlen = n->item->vlen;
	return 1;
}

static void mem_iter_free(struct meta_iter *it)
{
	if (!it)
		return;
	LOCK_SCOPE(&it->m->lock);
	node_unref(it->root);
	free(it);
}

static void mem_close(struct meta *meta)
{
	struct meta_mem *m = (struct meta_mem *)meta;

	node_unref(m->root);
	node_unref(m->synced);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

void meta_mem_forget(struct meta *meta)
{
	struct meta_mem *m = (struct meta_mem *)meta;
	LOCK_SCOPE(&m->lock);

	node_unref(m->root);
	m->root = node_ref(m->synced);
}

int meta_mem_open(struct meta **ret_m)
{
	static const struct meta_ops ops = {
		.get = mem_get,
		.apply = mem_apply,
		.iter_new = mem_iter_new,
		.iter_next = mem_iter_next,
		.iter_free = mem_iter_free,
		.close = mem_close,
	};
	struct meta_mem *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->meta.ops = &ops;
	pthread_mutex_init(&m->lock, NULL);
	*ret_m = &m->meta;
	return 0;
}
