/*
 * The metadata part of one filesystem change: puts and deletes, applied atomically. Its bytes are what is replicated,
 * so they do not depend on the store below (LevelDB, or memory in tests).
 */
#ifndef CFS_CFSD_BATCH_H
#define CFS_CFSD_BATCH_H

#include <stddef.h>
#include <stdint.h>

struct batch {
	uint8_t *buf;
	size_t len, cap;
	int err; /* sticky -ENOMEM or -EMSGSIZE */
};

void batch_init(struct batch *b);
void batch_release(struct batch *b);
/* A later put or del of the same key wins. */
int batch_put(struct batch *b, const void *key, size_t klen, const void *val, size_t vlen);
int batch_del(struct batch *b, const void *key, size_t klen);
/* Adds the items of another batch's encoded bytes, unchecked. */
int batch_append(struct batch *b, const void *buf, size_t len);

struct batch_item {
	const void *key, *val; /* val NULL: delete */
	size_t klen, vlen;
};
/* Steps through encoded bytes from *pos (0 at first): 1 an item, 0 end, -EBADMSG torn. */
int batch_next(const void *buf, size_t len, size_t *pos, struct batch_item *ret_item);

#endif
