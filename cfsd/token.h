/*
 * The token manager of one filesystem at its server: who may cache what, and who waits until it is taken back.
 *
 * Pure core. A token (TOKEN_ATTR, TOKEN_DATA, TOKEN_NAMES of wire/fileop.h) lets a session cache that part of an inode;
 * all are shared. A change conflicts with the tokens of other sessions: it waits, they are revoked, it runs. What
 * changes nothing never waits, it is answered from the old state while a revoke runs: a client may be unable to drop
 * its pages before an outstanding READ is answered. Nothing new is granted on what somebody waits for, so revokes end.
 *
 * A session that does not answer in time is reported, for the caller to fence it. Tokens of a session that is fenced or
 * without connection are void fresh_ms later. Volatile: a new server starts without any.
 */
#ifndef CFS_CFSD_TOKEN_H
#define CFS_CFSD_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cfsd/op.h"

struct tokens;

struct token_conf {
	uint32_t revoke_ms; /* 1000: to answer a revoke */
	uint32_t fresh_ms;  /* 500: a client that hears nothing from the server trusts its cache no longer than this */
	size_t max_grants;  /* 100000: beyond this the oldest are recalled */
};

struct token_events {
	/* Ask SESSION to drop these tokens of INO; token_revoked() when it has. */
	void (*revoke)(void *ctx, uint64_t session, uint64_t ino, uint32_t tokens);
	/* The operation that waited (token_acquire) may run. Not called from within token_acquire(). */
	void (*ready)(void *ctx, void *op);
	/* SESSION did not answer in time. */
	void (*fenced)(void *ctx, uint64_t session);
};

/* A grant at the time of a reply, to be checked when the reply goes out. */
struct token_stamp {
	uint64_t ino, session, generation;
};

int tokens_new(const struct token_conf *conf, const struct token_events *events, void *ctx, struct tokens **ret_t);
/* Waiting operations are forgotten without being called. */
void tokens_free(struct tokens *t);

/* Grants what of WANT may be granted (0 when somebody waits for it, or without memory) and returns it. */
uint32_t token_grant(struct tokens *t, uint64_t session, uint64_t ino, uint32_t want, uint64_t now_ms,
		     struct token_stamp *ret_stamp);
/* Is the grant still the one that was made? A held reply must not bring a token that was revoked meanwhile. */
uint32_t token_still(const struct tokens *t, const struct token_stamp *stamp);

/*
 * May OP of SESSION (0: nobody's) that conflicts with C[0..n-1] run? true: now. false: later, ready(OP) tells; revokes
 * were sent.
 */
bool token_acquire(struct tokens *t, uint64_t session, const struct op_conflict *c, size_t n, void *op, uint64_t now_ms);
/* OP will not run after all. */
void token_cancel(struct tokens *t, void *op);
/* SESSION has dropped them. */
void token_revoked(struct tokens *t, uint64_t session, uint64_t ino, uint32_t tokens);
/* All its tokens are void: it ended, or attached anew. */
void token_drop_session(struct tokens *t, uint64_t session);
/* It has lost its connection at NOW: it drops by itself within fresh_ms. */
void token_detach_session(struct tokens *t, uint64_t session, uint64_t now_ms);
void token_tick(struct tokens *t, uint64_t now_ms);
size_t tokens_count(const struct tokens *t);

#endif
