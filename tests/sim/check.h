/*
 * What must be true of a history: the operations that clients saw succeed or fail are those of one sequence that a
 * plain model of a filesystem can follow, in an order that respects real time (linearizability, Herlihy & Wing 1990).
 *
 * The order of changes is known (the records that the last server's history is made of), so it is checked, not searched:
 * every acknowledged change is in it exactly once; replayed on the model in that order each gave the answer it got; what
 * only looked, or failed, fits the state at some place between its call and its answer.
 *
 * When power was lost everywhere, a history ends: the next one begins with what a node recovered. That is a beginning of
 * the one that ended, with everything in it that was synced; what was not synced may be missing from some place on, and
 * of the bytes of files each word is one that was written there since it was synced. Each history is checked by itself.
 */
#ifndef CFS_TESTS_SIM_CHECK_H
#define CFS_TESTS_SIM_CHECK_H

#include "cfsd/store.h"
#include "tests/sim/sim.h"

enum op_kind { OP_LOOKUP, OP_READ, OP_FSYNC, OP_CREATE, OP_UNLINK, OP_RENAME, OP_APPEND, OP_WRITE, OP_KINDS };

#define CHECK_NAMES 6u
/* More than what is kept inline (cfsd/content.h). */
#define CHECK_WRITE_MAX 4800u

/* One operation of a client. Names are numbers below CHECK_NAMES. */
struct check_op {
	uint64_t number;
	uint32_t client;
	enum op_kind kind;
	uint32_t name, to; /* to: of a rename */
	uint64_t ino;	   /* of what is read or written */
	uint64_t value;	   /* written, over and over: 8 bytes, never the same twice */
	uint32_t len;	   /* how much: a multiple of 8 */
	uint64_t called, answered; /* world time; 0: not answered */
	int status;
	uint64_t ret_ino, ret_off;
	uint8_t *ret_data;
	size_t ret_len;
	/* as sent */
	uint64_t session, seq;
	uint32_t slot;
};

void check_new(struct sim *s, struct check **ret_c);
void check_free(struct check *c);

/* A client is about to call; the checker owns the operation. */
struct check_op *check_call(struct check *c, uint32_t client, enum op_kind kind);
/* It got its answer: status and ret_* are set. */
void check_answer(struct check *c, struct check_op *op);

/* A server executed the change of (session, slot, seq) as the record at POS; INO: of a file it created. */
void check_executed(struct check *c, uint64_t session, uint32_t slot, uint64_t seq, struct wire_logpos pos,
		    uint64_t ino);
/* A server made this record. */
void check_record(struct check *c, uint32_t node, const struct record *rec);

/* A node serves from what is left in its store S, which was at PREV. */
void check_recovered(struct check *c, struct store *s, struct wire_logpos prev);

/* All of it, when the world stands still: LAST is the position of the surviving history. */
void check_history(struct check *c, struct wire_logpos last);
uint64_t check_answered(const struct check *c);

#endif
