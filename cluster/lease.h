/*
 * Leases and what follows from them: who serves, who is dead, who takes over, who is a member, who votes.
 *
 * Pure cores; every call is told the time (ms of one monotonic clock per node, never going back).
 *
 * The leader's side keeps these rules:
 * - It grants only while it leads for sure: an entry of its own term is applied and a majority answered within an
 *   election timeout (the caller says so in lease_event.sure), and not right after it stood still itself.
 * - It takes a filesystem from a server only when the lease has ended: lease_ms + margin_ms after it last answered the
 *   server's heartbeat, and as long after it began to lead (its predecessor's grants end in that time).
 * - From the moment it proposes to take a filesystem away it grants nothing on it until the epoch has moved on.
 * - Only an in-sync member whose copy is whole is promoted, the one with the longest log; members that are dead, or say
 *   that theirs is not whole, leave the in-sync set with it. A server that says so of itself serves no more and is
 *   replaced at once.
 * - Only when every in-sync member is alive and has said, at this very epoch, that its copy is not whole, what was synced
 *   has to do: the longest copy that was whole before writes were lost (power) serves, alone in the in-sync set. Such a
 *   copy cannot become whole again before the epoch moves on, so what was said stays true until the compare-and-swap.
 *
 * The node's side: a lease is valid until lease_ms after the heartbeat that it answers was *sent*.
 */
#ifndef CFS_CLUSTER_LEASE_H
#define CFS_CLUSTER_LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/config.h"

/* The times of the protocol, in ms; one place, overridable for tests. */
struct cluster_times {
	uint32_t heartbeat_ms; /* 100: node -> leader, renews leases */
	uint32_t lease_ms;     /* 500: a server may serve this long after the heartbeat was sent */
	uint32_t margin_ms;    /* 100: what the leader waits beyond a lease before it promotes another */
	uint32_t raft_election_ms, raft_heartbeat_ms; /* 200 / 40 */
};
#define CLUSTER_TIMES_DEFAULT { 100, 500, 100, 200, 40 }

/* Rules the simulator can break on purpose, to see that it would notice. */
enum lease_break {
	LEASE_BREAK_PROMOTE_STALE = 1 << 0, /* promotes any living member, in sync or not */
	LEASE_BREAK_NO_WAIT = 1 << 1,	    /* promotes without waiting for the old lease to end */
	LEASE_BREAK_SURVIVOR_EARLY = 1 << 2, /* after a loss of power does not wait for all in-sync members */
	LEASE_BREAK_SURVIVOR_SHORTEST = 1 << 3, /* chooses the shortest copy then */
};

/* What a node says of its copy of a filesystem. Wire format. */
enum lease_copy {
	LEASE_COPY_WHOLE = 0,	 /* has everything up to its position */
	LEASE_COPY_SURVIVED = 1, /* was whole until writes were lost (power, a failed sync): has what was synced */
	LEASE_COPY_NONE = 2,	 /* empty, half copied, broken */
};

struct lease_position {
	uint32_t fs;
	uint64_t epoch, lsn;
	uint64_t at; /* the epoch of the configuration it was said under */
	enum lease_copy copy;
};

struct lease_grant {
	uint32_t fs;
	uint64_t epoch;
};

/* ---- the leader's side ---- */

struct lease_peer {
	uint32_t id;
	bool heard;	   /* a heartbeat came since we lead */
	bool leaving;	   /* it said goodbye and has no lease */
	uint64_t heard_ms; /* when it was last answered; when we began to lead, if not heard yet */
	struct lease_position pos[CONFIG_FS_MAX];
	size_t nr_pos;
	enum node_state proposed; /* state asked for, and when */
	uint64_t proposed_ms;
	uint64_t voter_proposed_ms, down_since_ms;
};

struct lease_leader {
	struct cluster_times times;
	unsigned breaks; /* enum lease_break */
	uint32_t self;
	bool leading;
	uint64_t last_ms;	/* of the last event: a gap means that we stood still */
	uint64_t since_ms;	/* nothing is taken away before since_ms + lease_ms + margin_ms */
	uint64_t no_grant_until_ms;
	struct lease_peer peers[CONFIG_NODES_MAX];
	size_t nr_peers;
	struct lease_taking {
		uint32_t fs;
		uint64_t epoch;	      /* taken away from the server of this epoch: no grants on it */
		uint64_t members_ms;  /* when a change of members was proposed */
	} taking[CONFIG_FS_MAX];
	size_t nr_taking;
};

enum lease_event_type {
	LEASE_LEAD,	 /* leads, with an entry of its own term applied */
	LEASE_FOLLOW,	 /* does not lead any more */
	LEASE_HEARTBEAT, /* from node (the leader's own too) */
	LEASE_TICK,	 /* at least every 50 ms while leading */
};

struct lease_event {
	enum lease_event_type type;
	uint64_t now_ms;
	bool sure; /* raft_core_leads(): for grants */
	/* LEASE_HEARTBEAT */
	uint32_t node;
	bool leaving;
	const struct lease_position *pos;
	size_t nr_pos;
	/* LEASE_TICK: who votes by the consensus' committed membership */
	const uint32_t *voters;
	size_t nr_voters;
};

#define LEASE_PROPOSALS_MAX 32
#define LEASE_VOTERS_MAX 7

struct lease_actions {
	struct lease_grant grants[CONFIG_FS_MAX]; /* for the answer to a heartbeat */
	size_t nr_grants;
	struct wire_writer proposals[LEASE_PROPOSALS_MAX]; /* commands for the log; freed by lease_actions_release() */
	size_t nr_proposals;
	uint32_t voters[LEASE_VOTERS_MAX]; /* LEASE_TICK: who should vote (raft_core's RAFT_EV_MEMBERS) */
	size_t nr_voters;
};

void lease_leader_init(struct lease_leader *l, uint32_t self, const struct cluster_times *times, unsigned breaks);
/* C: the configuration as applied by the leader. OUT is overwritten. */
void lease_leader_step(struct lease_leader *l, const struct lease_event *ev, const struct config *c,
		       struct lease_actions *out);
void lease_actions_release(struct lease_actions *a);
/* The leader thinks that NODE is alive. */
bool lease_leader_alive(const struct lease_leader *l, uint32_t node, uint64_t now_ms);

/* ---- the node's side ---- */

struct lease_node {
	uint32_t self;
	uint32_t lease_ms;
	struct lease_held {
		uint32_t fs;
		uint64_t epoch;	   /* as granted */
		uint64_t until_ms; /* exclusive */
		uint64_t ahead_epoch, ahead_until_ms; /* granted at an epoch that we may not know yet */
		bool reported;	   /* valid at the last lease_node_lost() */
	} held[CONFIG_FS_MAX];
	size_t nr_held;
};

void lease_node_init(struct lease_node *n, uint32_t self, const struct cluster_times *times);
/* The answer to the heartbeat sent at SENT_MS. */
void lease_node_granted(struct lease_node *n, uint64_t sent_ms, const struct lease_grant *grants, size_t nr_grants);
/* Gives all up (goodbye). */
void lease_node_drop(struct lease_node *n);
/*
 * May this node serve FS at EPOCH now? It is the server of C's record at this epoch and holds a lease granted at this
 * epoch or, unexpired, at an earlier one: nobody else was promoted in between, or it would have ended.
 */
bool lease_node_valid(const struct lease_node *n, const struct config *c, uint32_t fs, uint64_t epoch, uint64_t now_ms);
/* Until when it may (0: not now); what cluster_lease_valid() is answered from. */
uint64_t lease_node_until(const struct lease_node *n, const struct config *c, uint32_t fs);
/* Filesystems whose lease was valid at the last call and is no more; the count. */
size_t lease_node_lost(struct lease_node *n, const struct config *c, uint64_t now_ms, uint32_t ret_fs[CONFIG_FS_MAX]);

/* ---- on the wire: lease_wire.c ---- */

enum { LEASE_POSITION_LEN = 29, LEASE_GRANT_LEN = 12 };

/* Into BUF, CONFIG_FS_MAX entries long; the blob borrows it. */
struct wire_blob lease_pack_positions(const struct lease_position *pos, size_t nr, uint8_t *buf);
struct wire_blob lease_pack_grants(const struct lease_grant *grants, size_t nr, uint8_t *buf);
/* 0 and up to CONFIG_FS_MAX entries, or -EBADMSG. */
int lease_unpack_positions(const struct wire_blob *b, struct lease_position *ret, size_t *ret_nr);
int lease_unpack_grants(const struct wire_blob *b, struct lease_grant *ret, size_t *ret_nr);

#endif
