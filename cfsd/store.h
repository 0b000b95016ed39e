/*
 * One node's copy of one filesystem: metadata + data + how far it has come. The same store_apply() runs on the server
 * and, blindly, on its standbys.
 *
 * A change is a txn: a metadata batch and data extents. Order inside store_apply(): the extents go to a redo slot (of
 * appends only where), then appends to their files, then the batch is applied (it carries the position and the inode's
 * data stamp), then the other extents. Everything is applied by one thread in lsn order, so a crash can only tear the
 * last record, and opening the store again completes it, or takes its appends back, by the redo slot. A power loss can
 * take anything since the last store_sync(). The data of a removed inode stays until its removal is durable: a power loss
 * may bring the inode back. LAYOUT.md has the keys.
 */
#ifndef CFS_CFSD_STORE_H
#define CFS_CFSD_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cfsd/batch.h"
#include "cfsd/data.h"
#include "cfsd/meta.h"
#include "wire/message.h"

enum extent_kind { EXTENT_WRITE = 1, EXTENT_TRUNCATE = 2, EXTENT_REMOVE = 3, EXTENT_PUNCH = 4, EXTENT_APPEND = 5 };

struct txn {
	struct batch meta;
	struct wire_writer extents; /* encoded: u8 kind, u64 ino, u64 off, u64 len, bytes when WRITE or APPEND; cfsd/extent.h */
};

void txn_init(struct txn *t);
void txn_release(struct txn *t);
/* Empty again, memory kept. */
void txn_clear(struct txn *t);
/* 0, or why something could not be added. */
int txn_error(const struct txn *t);
bool txn_is_empty(const struct txn *t);
int txn_write(struct txn *t, uint64_t ino, uint64_t off, const void *buf, size_t len);
/* Where nothing can be seen before the batch is applied: at or beyond the inode's size, or in a file not in use yet. */
int txn_append(struct txn *t, uint64_t ino, uint64_t off, const void *buf, size_t len);
int txn_truncate(struct txn *t, uint64_t ino, uint64_t size);
int txn_punch(struct txn *t, uint64_t ino, uint64_t off, uint64_t len);
int txn_remove(struct txn *t, uint64_t ino);

/* What is logged, sent and applied. Borrowed bytes. */
struct record {
	struct wire_logpos prev, pos; /* prev.lsn + 1 == pos.lsn */
	const void *batch;
	size_t batch_len;
	const void *extents;
	size_t extents_len;
};

struct store; /* owns meta and data */

/* DIR/meta (LevelDB) and DIR/data (backing files). -EPROTONOSUPPORT: made by a newer version. */
int store_open_disk(const char *dir, struct store **ret_s);
/* Takes META and DATA over (tests, simulator). */
int store_open(struct meta *meta, struct data *data, struct store **ret_s);
void store_close(struct store *s);
/* Ends the store and gives its parts back (a crash and restart in the simulator). */
void store_detach(struct store *s, struct meta **ret_meta, struct data **ret_data);
/* For one who replaces metadata and data below the store (resync): before, so that the last record is not completed over
   newer data when the store is opened again; and after, to read position and counters again. */
int store_reload(struct store *s);
struct meta *store_meta(struct store *s);
struct data *store_data(struct store *s);

/* Empty store: makes the root directory (mode 0755, root) as record (EPOCH, 1). */
int store_format(struct store *s, uint64_t epoch, uint64_t now_ns);
bool store_is_formatted(const struct store *s);
/* {0,0} for an empty store. */
struct wire_logpos store_position(const struct store *s);
/* rec->prev must be the position, else -ESTALE; -EBADMSG: not a record; nothing is done then. -ENOSPC, -EIO, -ENOMEM:
   the copy is broken from here on, every later call fails the same way. */
int store_apply(struct store *s, const struct record *rec);
/* The number the next new inode gets, and how many there are. */
uint64_t store_next_ino(const struct store *s);
uint64_t store_nr_inodes(const struct store *s);
/* Is there data of removed inodes left? */
bool store_has_removed(struct store *s);
/* Makes metadata durable and removes the data of the inodes that were removed before. Worker thread safe. */
int store_free_removed(struct store *s);
/*
 * Makes a copy that lost writes one to serve from, as it is: backing files that fit no inode (any more) go, what sticks
 * out of an inode's size is cut off. What clients may still speak of though it is lost is not given out again: numbers of
 * inodes, and the positions of this epoch; the next record comes after a gap. All of it and the loss, noted, are durable
 * then. Worker thread safe, with nobody else at the store.
 */
int store_recover(struct store *s, uint64_t epoch);
/* The position at which a loss was noted last: acknowledged changes before it may be missing. {0,0}: none. */
struct wire_logpos store_loss(const struct store *s);
/* Durable: metadata, and the data of INO (0: of every inode written since the last time). Worker thread safe. */
int store_sync(struct store *s, uint64_t ino);

#endif
