/*
 * The seam under the metadata: an ordered key-value store. Keys are in cfsd/meta_key.h, values in LAYOUT.md.
 * Implementations: meta_leveldb.c (disk), meta_mem.c (tests, simulator; counts and can forget unsynced batches).
 */
#ifndef CFS_CFSD_META_H
#define CFS_CFSD_META_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct meta;
struct meta_iter;

struct meta_ops {
	/* Value malloc'ed for the caller. -ENOENT, -EIO, -ENOMEM. */
	int (*get)(struct meta *m, const void *key, size_t klen, void **ret_val, size_t *ret_vlen);
	/* Encoded batch (cfsd/batch.h), all or nothing; durable on return only when SYNC. */
	int (*apply)(struct meta *m, const void *batch, size_t len, bool sync);
	/* Keys >= FROM in order, over a view that later changes do not alter. */
	int (*iter_new)(struct meta *m, const void *from, size_t flen, struct meta_iter **ret_it);
	/* 1 and borrowed pointers until the next call, 0 at the end, -errno. */
	int (*iter_next)(struct meta_iter *it, const void **ret_key, size_t *ret_klen, const void **ret_val, size_t *ret_vlen);
	void (*iter_free)(struct meta_iter *it);
	void (*close)(struct meta *m);
};

/* First member of every implementation. */
struct meta {
	const struct meta_ops *ops;
};

/* DIR is created. -EIO with the reason logged when LevelDB cannot open it. */
int meta_leveldb_open(const char *dir, struct meta **ret_m);
int meta_mem_open(struct meta **ret_m);
/* meta_mem only: power loss, everything since the last batch applied with SYNC is gone. Open iterators keep their view. */
void meta_mem_forget(struct meta *m);

#endif
