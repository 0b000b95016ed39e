/*
 * Contents of a regular file, wherever they are kept. The first CONTENT_HEAD bytes are in the key F (one batch with the
 * rest of the change, no system call beyond LevelDB's), what follows is in a backing file. A file whose first write goes
 * beyond the head has all of it in the backing file. Bytes never move from one to the other: a power loss can take what was
 * written to files since the last sync, so a move would put at risk what was synced long before. What was never written
 * reads as zeros.
 */
#ifndef CFS_CFSD_CONTENT_H
#define CFS_CFSD_CONTENT_H

#include "cfsd/inode.h"
#include "cfsd/op.h"

enum { CONTENT_HEAD = 4096 };

/* LEN bytes at OFF, which lie below the inode's size. */
int content_read(struct op_env *env, const struct inode *in, void *buf, size_t len, uint64_t off);
/*
 * Changes: into TXN, and size, stamp and layout of IN, which the caller saves with the times it sets. Limits of the size
 * are the caller's.
 */
int content_write(struct op_env *env, struct inode *in, const void *buf, size_t len, uint64_t off, struct txn *txn);
int content_set_size(struct op_env *env, struct inode *in, uint64_t size, struct txn *txn);
int content_punch(struct op_env *env, struct inode *in, uint64_t off, uint64_t len, struct txn *txn);
/* The inode goes. */
int content_free(const struct inode *in, struct txn *txn);
/* 512-byte blocks in use; the head counts as one block of a disk, as if it had one. */
uint64_t content_blocks(const struct op_env *env, const struct inode *in);

#endif
