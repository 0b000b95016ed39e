/* A hash by number; an entry lives while the kernel or the server's idea of it needs one. */
#include "fuse/inode.h"

#include <errno.h>
#include <stdlib.h>
#include <uthash.h>

struct entry {
	struct inode in; /* first: entries are found from it */
	UT_hash_handle hh;
};

struct inodes {
	struct entry *by_ino;
};

int inodes_new(struct inodes **ret_table)
{
	struct inodes *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	*ret_table = t;
	return 0;
}

void inodes_free(struct inodes *t)
{
	struct entry *e, *tmp;

	if (!t)
		return;
	HASH_ITER(hh, t->by_ino, e, tmp) {
		HASH_DEL(t->by_ino, e);
		free(e);
	}
	free(t);
}

struct inode *inode_find(struct inodes *t, uint64_t ino)
{
	struct entry *e;

	HASH_FIND(hh, t->by_ino, &ino, sizeof(ino), e);
	return e ? &e->in : NULL;
}

struct inode *inode_find_or_add(struct inodes *t, uint64_t ino)
{
	struct inode *in = inode_find(t, ino);
	struct entry *e;

	if (in)
		return in;
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	e->in.ino = ino;
	HASH_ADD(hh, t->by_ino, in.ino, sizeof(e->in.ino), e);
	return &e->in;
}

void inode_settle(struct inodes *t, struct inode *in)
{
	struct entry *e = (struct entry *)in;

	if (in->nr_lookups || in->nr_opens || in->nr_io || in->waiters || in->state != INODE_CLOSED)
		return;
	HASH_DEL(t->by_ino, e);
	free(e);
}

int inode_lookup(struct inodes *t, uint64_t ino)
{
	struct inode *in = inode_find_or_add(t, ino);

	if (!in)
		return -ENOMEM;
	in->nr_lookups++;
	return 0;
}

void inode_forget(struct inodes *t, uint64_t ino, uint64_t n)
{
	struct inode *in = inode_find(t, ino);

	if (!in)
		return;
	in->nr_lookups -= n < in->nr_lookups ? n : in->nr_lookups;
	inode_settle(t, in);
}

void inode_changed(struct inode *in, uint64_t losses)
{
	in->changes++;
	if (!in->unsynced)
		in->unsynced = losses + 1;
}

int inode_synced(struct inode *in, uint64_t changes, uint64_t losses)
{
	bool lost = in->unsynced && in->unsynced != losses + 1;

	/* What was changed meanwhile is not covered: it stays unsynced, since when is not known any better. */
	if (lost || in->changes == changes)
		in->unsynced = 0;
	return lost ? -EIO : 0;
}

void inodes_encode_holds(struct inodes *t, struct wire_writer *w)
{
	struct entry *e, *tmp;

	HASH_ITER(hh, t->by_ino, e, tmp) {
		/* A release that is under way is going to take its one off. */
		uint32_t n = e->in.nr_holds + (e->in.state == INODE_CLOSING);

		while (n--)
			wire_put_u64(w, &e->in.ino);
	}
}

void inodes_for_each_open(struct inodes *t, void (*fn)(void *ctx, uint64_t ino), void *ctx)
{
	struct entry *e, *tmp;

	HASH_ITER(hh, t->by_ino, e, tmp)
		if (e->in.nr_opens)
			fn(ctx, e->in.ino);
}

size_t inodes_count(const struct inodes *t)
{
	return HASH_COUNT(t->by_ino);
}
