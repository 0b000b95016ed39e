/*
 * Consensus: libraft as a pure core. Events in, actions out; no clock, socket or disk. All guards against the defects of
 * the library (raft_guards.c), the rules of buffer ownership (raft_buffers.c) and of membership (raft_member.c) are
 * inside, so that the daemon and the simulator run the same.
 *
 * The driver keeps the state on disk (raft_store.h, or an array in tests) and does the actions of one step in order:
 * - HARD_STATE must be synced before any SEND of this or a later step leaves. The other writes may be under way while
 *   messages leave. Writes reach the disk in order.
 * - Entries count only after RAFT_EV_PERSISTED, an installed snapshot only after RAFT_EV_INSTALLED.
 * - The transport is FIFO per peer; what is left of an old connection is thrown away when a new one is there (G13).
 */
#ifndef CFS_CLUSTER_RAFT_CORE_H
#define CFS_CLUSTER_RAFT_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/codec.h"

struct raft_core;

#define RAFT_CORE_SERVERS_MAX 16

/* Guards are on unless their bit is in raft_core_conf.guards_off (bit n - 1 for Gn): for the simulator. */
#define RAFT_GUARD(n) (1u << ((n)-1))

enum raft_core_type { RAFT_CORE_COMMAND = 1, RAFT_CORE_BARRIER = 2, RAFT_CORE_CHANGE = 3 }; /* as enum raft_entry_type */

struct raft_core_entry {
	uint64_t term;
	uint8_t type; /* enum raft_core_type */
	const void *data;
	uint32_t len;
};

/* What a snapshot is, on disk and on the wire. Borrowed bytes. */
struct raft_core_snapshot {
	uint64_t index, term; /* 0: none */
	uint64_t conf_index;
	struct wire_blob conf;	/* the library's encoding of the membership */
	struct wire_blob state; /* the state machine's bytes */
};

/* What the disk holds at start. Borrowed until raft_core_new() returns. */
struct raft_core_disk {
	uint64_t term, voted_for; /* term 0: nothing was ever written */
	struct raft_core_snapshot snapshot;
	uint64_t start_index; /* of entries[0]; 1 for an empty disk, snapshot.index + 1 when there are no entries */
	const struct raft_core_entry *entries;
	size_t nr_entries;
};

struct raft_core_conf {
	uint32_t id;
	uint32_t election_ms, heartbeat_ms;
	uint32_t seed;		     /* of the election timers */
	uint32_t guards_off;	     /* RAFT_GUARD(n) | ... */
	uint32_t snapshot_threshold; /* applied entries beyond the last snapshot that call for a new one; 0: 1024 */
	uint32_t snapshot_trailing;  /* entries kept behind a snapshot; 0: 1024 (G4 wants it large) */
};

enum raft_event_kind {
	RAFT_EV_TIMEOUT,   /* raft_core_timeout() is reached; early ones are harmless */
	RAFT_EV_RECEIVE,   /* message bytes from a peer */
	RAFT_EV_PERSISTED, /* a write of entries is synced: index and term of its last entry */
	RAFT_EV_INSTALLED, /* a SNAPSHOT_INSTALL is synced: index */
	RAFT_EV_SUBMIT,	   /* a command, on the leader */
	RAFT_EV_MEMBERS,   /* who should vote; the leader gets there one safe step after the other */
	RAFT_EV_STATE,	   /* the state machine's bytes, asked for by WANT_STATE, as applied up to now */
	RAFT_EV_TRANSFER,  /* hand leadership to another voter */
};

struct raft_core_event {
	enum raft_event_kind kind;
	uint64_t now_ms; /* never goes back */
	uint32_t from;
	uint64_t index, term;
	const void *data; /* borrowed */
	size_t len;
	const uint32_t *ids;
	size_t nr_ids;
};

enum raft_action_kind {
	RAFT_ACT_HARD_STATE,	   /* write term, vote */
	RAFT_ACT_ENTRIES,	   /* truncate the log from index on, then append nr entries: raft_core_entry(index + i) */
	RAFT_ACT_SNAPSHOT,	   /* write snapshot, delete entries below cut */
	RAFT_ACT_SNAPSHOT_INSTALL, /* write snapshot, delete all entries: then RAFT_EV_INSTALLED */
	RAFT_ACT_SEND,		   /* data to the peer `to` */
	RAFT_ACT_APPLY,		   /* the command data of entry index, term to the state machine */
	RAFT_ACT_RESTORE,	   /* replace the state machine by data, as of index */
	RAFT_ACT_WANT_STATE,	   /* answer with RAFT_EV_STATE after the actions of this step */
	RAFT_ACT_LEAD,		   /* leads, and has applied an entry of its own term */
	RAFT_ACT_FOLLOW,	   /* does not lead any more; what was submitted may or may not come to pass */
	RAFT_ACT_FATAL,		   /* the log contradicts what is committed, or no memory: stop this server */
};

struct raft_action {
	enum raft_action_kind kind;
	uint64_t index, term, vote, cut;
	uint32_t to, nr;
	void *data; /* owned by the action */
	size_t len;
	struct raft_core_snapshot snapshot; /* borrows from data */
};

/* Filled by steps, in order; reset by raft_actions_release(). */
struct raft_actions {
	struct raft_action *v;
	size_t nr, cap;
	bool oom;
};

void raft_actions_init(struct raft_actions *a);
void raft_actions_release(struct raft_actions *a);

/* Starts from DISK; ACTIONS may already hold a RESTORE (from the snapshot) and more. 0, -ENOMEM, -EBADMSG. */
int raft_core_new(const struct raft_core_conf *conf, uint64_t now_ms, const struct raft_core_disk *disk,
		  struct raft_actions *actions, struct raft_core **ret_core);
void raft_core_free(struct raft_core *rc);

/*
 * One event. 0; SUBMIT: -EREMCHG not the leader, -EAGAIN busy; RECEIVE: -EBADMSG torn. For SUBMIT ret_index and ret_term
 * (may be NULL) tell the entry: it came to pass if APPLY comes with both.
 */
int raft_core_step(struct raft_core *rc, const struct raft_core_event *ev, struct raft_actions *actions,
		   uint64_t *ret_index, uint64_t *ret_term);

/* When to step RAFT_EV_TIMEOUT next, absolute ms; ask after every step. */
uint64_t raft_core_timeout(const struct raft_core *rc);
/* An entry of the log; valid until the next step. */
struct raft_core_entry raft_core_entry(const struct raft_core *rc, uint64_t index);
uint64_t raft_core_term(const struct raft_core *rc);
uint64_t raft_core_applied(const struct raft_core *rc);
uint64_t raft_core_commit(const struct raft_core *rc);
uint64_t raft_core_last(const struct raft_core *rc);
/* The leader as far as known, 0: unknown. */
uint32_t raft_core_leader(const struct raft_core *rc);
bool raft_core_is_leader(const struct raft_core *rc);
/* Leads for sure: applied an entry of its own term, a majority answered within the last election timeout, and no
   transfer is under way. For leases and reads. */
bool raft_core_leads(const struct raft_core *rc, uint64_t now_ms);
/* The membership: ids of voters (committed ones only when asked), and of all servers. */
size_t raft_core_voters(const struct raft_core *rc, bool committed, uint32_t ret_ids[RAFT_CORE_SERVERS_MAX]);
size_t raft_core_servers(const struct raft_core *rc, uint32_t ret_ids[RAFT_CORE_SERVERS_MAX]);

/* What a new cluster's first voters write as entry 1, term 1: the membership. malloc'ed. */
int raft_core_bootstrap(const uint32_t *voters, size_t nr_voters, void **ret_buf, size_t *ret_len);

#endif
