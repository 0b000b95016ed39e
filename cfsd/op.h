/*
 * File operations: request + store -> reply + txn. Pure but for reading the store: no clock, no socket, no session.
 * One file per operation family (op_*.c). An operation that fails leaves the txn empty and returns a negative errno.
 * The caller (the file service, or the simulator) adds the reply record, replicates the txn and then replies.
 */
#ifndef CFS_CFSD_OP_H
#define CFS_CFSD_OP_H

#include "cfsd/store.h"
#include "wire/fileop.h"
#include "wire/message.h"

/* Is an unlinked inode still held open by some session? Provided by the session part. */
typedef bool (*op_is_open)(void *ctx, uint64_t ino);

struct op_env {
	struct store *store;
	struct wire_logpos pos; /* the position a change made now will have */
	uint64_t now_ns;	/* realtime */
	op_is_open is_open;
	void *is_open_ctx;
	struct wire_writer *scratch; /* borrowed reply bytes (names, data, entries) live here until the reply is sent */
};

/* Runs a 0x02xx request (not session_*, open/release bookkeeping is the session's). Fills *rep (zeroed by the caller). */
int op_execute(struct op_env *env, enum msg_type type, const void *req, void *rep, struct txn *txn);
/* True for requests that change the filesystem: they need a slot and are replicated. open is one when it truncates. */
bool op_is_change(enum msg_type type, const void *req);
/* Inode and token bits (TOKEN_*) that the operation conflicts with at other clients, before it runs: at most 4. */
struct op_conflict {
	uint64_t ino;
	uint32_t tokens;
};
size_t op_conflicts(struct op_env *env, enum msg_type type, const void *req, struct op_conflict ret[4]);
/* The last holder let an unlinked inode go: frees it. Also run for leftovers after recovery. */
int op_reap(struct op_env *env, uint64_t ino, struct txn *txn);
/* Unlinked inodes still kept (O| keys): calls fn for each. */
int op_orphans(struct store *s, int (*fn)(void *ctx, uint64_t ino), void *ctx);

#endif
