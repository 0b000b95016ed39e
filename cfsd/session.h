/*
 * The clients of one filesystem at its server: sessions, their slots (exactly once), what they hold open.
 *
 * Pure core: time is passed in, nothing is stored here. What must survive the server is in the store, in the same txn
 * as what it belongs to: C| (a session exists) and R| (the reply of the last change of a slot). A new server restores
 * both and learns the rest from the clients, who re-assert what they hold open when they attach.
 *
 * Life of a session: new -> attached <-> detached -> expired (its opens are forgotten; the reply records stay, for a
 * client that comes back late) -> closed.
 */
#ifndef CFS_CFSD_SESSION_H
#define CFS_CFSD_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SESSION_SLOTS 64u
#define SESSIONS_MAX 1024u
#define SESSION_OPENS_MAX 65536u

struct sessions;

struct session_conf {
	uint32_t expire_ms; /* 30000: a session detached for so long holds nothing open any more */
};

enum session_slot_state {
	SESSION_NEW,	 /* execute it */
	SESSION_BUSY,	 /* being executed */
	SESSION_REPLIED, /* done: the reply is in its record */
};

/* Called for an inode that nobody holds open any more. */
typedef void (*session_let_go)(void *ctx, uint64_t ino);

int sessions_new(const struct session_conf *conf, session_let_go let_go, void *ctx, struct sessions **ret_s);
void sessions_free(struct sessions *s);

/* A session found in the store at start of serving; it has until expire_ms from NOW to come. */
int session_restore(struct sessions *s, uint64_t id, uint64_t now_ms);
/* Its slot's last change, found in the store. Unknown sessions are ignored. */
void session_restore_slot(struct sessions *s, uint64_t id, uint32_t slot, uint64_t seq);

/*
 * CONN (any pointer, compared only) speaks for session ID from now on; OPENS replace what it held. 1: it is new, 0: it
 * was known, -ENFILE: too many sessions or opens, -EINVAL: no session number, -ENOMEM.
 */
int session_attach(struct sessions *s, uint64_t id, const void *conn, const uint64_t *opens, size_t nr_opens);
/* The connection is gone, for every session it spoke for. */
void session_detach(struct sessions *s, const void *conn, uint64_t now_ms);
/* Ends it for good. -ENOENT. */
int session_close(struct sessions *s, uint64_t id);
/* Puts it out though its connection lives (a revoke was not answered): it has to attach again. */
void session_fence(struct sessions *s, uint64_t id, uint64_t now_ms);
/* Expires what is due. */
void session_tick(struct sessions *s, uint64_t now_ms);

/* Every attached session, in no order. FN may not change any. */
void sessions_each(const struct sessions *s, void (*fn)(void *ctx, uint64_t id), void *ctx);
/* Those that CONN speaks for: the count, at most MAX. */
size_t sessions_of_conn(const struct sessions *s, const void *conn, uint64_t *ret_ids, size_t max);
/* Does CONN speak for it? */
bool session_speaks(const struct sessions *s, uint64_t id, const void *conn);
/* Who speaks for it now; NULL: nobody. */
const void *session_conn(const struct sessions *s, uint64_t id);

/*
 * A change arrives in a slot. 0 and the state; SESSION_NEW makes the slot busy until session_slot_done() or
 * session_slot_abort(). -EREMCHG: no such session, or an earlier change is still busy; -EINVAL: no such slot, or seq is
 * older than the slot's last.
 */
int session_slot_begin(struct sessions *s, uint64_t id, uint32_t slot, uint64_t seq, enum session_slot_state *ret_state);
/* Executed, its reply record is in the store. */
void session_slot_done(struct sessions *s, uint64_t id, uint32_t slot);
/* Not executed, or failed without a trace: the same seq may come again. */
void session_slot_abort(struct sessions *s, uint64_t id, uint32_t slot);

/* -EREMCHG: no such session, -ENFILE: too many, -ENOMEM. */
int session_hold(struct sessions *s, uint64_t id, uint64_t ino);
/* One hold less; more releases than holds are harmless. */
void session_release(struct sessions *s, uint64_t id, uint64_t ino);
bool session_is_open(const struct sessions *s, uint64_t ino);

/* Has every restored session attached or expired? Before, an orphan may be held by one that has not said so yet. */
bool sessions_settled(const struct sessions *s);
size_t sessions_count(const struct sessions *s); /* attached ones */

#endif
