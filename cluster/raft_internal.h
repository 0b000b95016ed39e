/* Shared by the raft_*.c files of the core only. */
#ifndef CFS_CLUSTER_RAFT_INTERNAL_H
#define CFS_CLUSTER_RAFT_INTERNAL_H

#include <raft.h>

#include "cluster/raft_core.h"

/* The rules of ownership and the guards are those of this version; both change silently after it. */
_Static_assert(RAFT_VERSION_NUMBER == 2201, "raft_buffers.c and raft_guards.c are written for libraft 0.22.1");

/* Our copy of the log: the library keeps terms only. v[0] is entry `start`. Data is malloc'ed. */
struct raft_mem_log {
	uint64_t start;
	struct raft_core_entry *v;
	size_t nr, cap;
};

/* An owned snapshot; buf holds conf and state. */
struct raft_mem_snapshot {
	struct raft_core_snapshot s;
	void *buf;
};

struct raft_core {
	struct raft r;
	struct raft_tracer tracer;
	struct raft_core_conf conf;
	uint64_t now, started_ms, last_timeout_ms;
	struct raft_mem_log log;
	struct raft_mem_snapshot snap;	     /* the last one stored */
	struct raft_mem_snapshot installing; /* on its way to the disk; r.snapshot.installing */
	uint64_t applied, applied_term;
	void *membership; /* the last applied CHANGE, encoded */
	size_t membership_len;
	uint64_t membership_index;
	bool was_leader, told_lead, wants_state, failed;
	uint32_t members[RAFT_CORE_SERVERS_MAX]; /* who should vote; none: leave it as it is */
	size_t nr_members;
	uint64_t catch_up_retry_ms;
};

/* ---- raft_core.c ---- */
/* Runs one event of the library and does what it asks for. RAFT_* error code. */
int raft_core_feed(struct raft_core *rc, struct raft_event *ev, struct raft_actions *out);
/* Submits one entry of the library's TYPE; DATA is copied. RAFT_* error code. */
int raft_core_submit_entry(struct raft_core *rc, int type, const void *data, size_t len, struct raft_actions *out);
/* NULL when out of memory (out->oom is set, the step ends in FATAL). */
struct raft_action *raft_action_add(struct raft_actions *a, enum raft_action_kind kind);
/* As above, with a copy of DATA. */
struct raft_action *raft_action_add_data(struct raft_actions *a, enum raft_action_kind kind, const void *data, size_t len);

/* ---- raft_log.c ---- */
uint64_t raft_log_last(const struct raft_mem_log *l); /* start - 1 when empty */
const struct raft_core_entry *raft_log_get(const struct raft_mem_log *l, uint64_t index); /* NULL: not there */
int raft_log_append(struct raft_mem_log *l, const struct raft_core_entry *e);
void raft_log_truncate(struct raft_mem_log *l, uint64_t index); /* deletes index and after */
void raft_log_cut(struct raft_mem_log *l, uint64_t start);	/* deletes before start */
void raft_log_reset(struct raft_mem_log *l, uint64_t start);
int raft_mem_snapshot_set(struct raft_mem_snapshot *m, const struct raft_core_snapshot *s); /* copies */
void raft_mem_snapshot_release(struct raft_mem_snapshot *m);

/* ---- raft_buffers.c: who owns what the library is given and gives ---- */
int raft_buffers_copy(struct raft_buffer *ret_b, const void *data, size_t len);
/* The library's copy of entries in one batch. */
int raft_buffers_entries(const struct raft_core_entry *from, size_t nr, struct raft_entry **ret_entries);
void raft_buffers_entries_free(struct raft_entry *entries, unsigned n);
/* Copies update->entries to the log (truncating it there) and frees their batches. */
int raft_buffers_take_entries(struct raft_core *rc, const struct raft_update *u);
/* Takes update->snapshot to rc->installing. */
int raft_buffers_take_snapshot(struct raft_core *rc, struct raft_update *u);
/* A fresh configuration from its bytes, for the library to own. -EBADMSG, -ENOMEM. */
int raft_buffers_configuration(const void *buf, size_t len, struct raft_configuration *ret_conf);
/* Encoded membership bytes are what the library would write (it decodes without checking). */
bool raft_membership_is_valid(const void *buf, size_t len);
/* Releases what a received message still owns after the step, or when it was dropped before. */
void raft_buffers_message_done(struct raft_message *m);
void raft_buffers_message_dropped(struct raft_message *m);

/* ---- raft_wire.c ---- */
int raft_message_encode(struct raft_core *rc, const struct raft_message *m, struct wire_writer *w);
/* M owns memory: raft_buffers_message_*(). ADDRESS must live as long. -EBADMSG, -ENOMEM. */
int raft_message_decode(const void *buf, size_t len, uint32_t from, const char *address, struct raft_message *ret_m);

/* ---- raft_guards.c ---- */
bool raft_guard_on(const struct raft_core *rc, unsigned n);
/* Before a message is given to the library; true: drop it. May shorten it (G4). */
bool raft_guard_before_receive(struct raft_core *rc, struct raft_message *m);
/* True when the start is a won election and needs a term of its own. */
bool raft_guard_start_term(const struct raft_core *rc);
/* A membership put aside for one step. */
struct raft_guard_lent {
	bool on;
	struct raft_configuration saved;
	struct raft_server servers[RAFT_CORE_SERVERS_MAX + 1];
};
void raft_guard_lend_vote(struct raft_core *rc, const struct raft_message *m, struct raft_guard_lent *lent);
void raft_guard_take_back(struct raft_core *rc, struct raft_guard_lent *lent);
/* After the library took M (its scalars only): mends the library's state and its answer. */
void raft_guard_after_receive(struct raft_core *rc, const struct raft_message *m, uint64_t term_before,
			      struct raft_update *u);
/* How many of A's entries may be sent to TO. */
unsigned raft_guard_entries_for(const struct raft_core *rc, raft_id to, const struct raft_append_entries *a);
uint64_t raft_guard_timeout(const struct raft_core *rc, uint64_t timeout_ms);
bool raft_guard_persisted(const struct raft_core *rc, uint64_t index, uint64_t term);
/* Is a change of membership safe now? TARGET: who is added, promoted, demoted or removed. */
bool raft_guard_may_change(const struct raft_core *rc, uint32_t target);

/* ---- raft_member.c ---- */
/* On a leader: the next safe step towards rc->members. */
void raft_member_step(struct raft_core *rc, struct raft_actions *out);

#endif
