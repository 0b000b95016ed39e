/*
 * The disk under one server's consensus: writes take time, reach the platter in order, and those under way are lost in
 * a crash. It does the actions of raft_core and tells when they are synced.
 */
#ifndef CFS_TESTS_SIM_RAFT_DISK_H
#define CFS_TESTS_SIM_RAFT_DISK_H

#include "cluster/raft_core.h"
#include "tests/sim/world.h"

struct raft_disk;

struct raft_disk_events {
	/* Entries up to (index, term) are synced. */
	void (*persisted)(void *ctx, uint64_t index, uint64_t term);
	/* The installed snapshot of INDEX is synced. */
	void (*installed)(void *ctx, uint64_t index);
	/* Everything written before the hard state with this number, and it, is synced. */
	void (*hard_state)(void *ctx, uint64_t number);
};

struct raft_disk *raft_disk_new(struct world *w, uint32_t proc);
void raft_disk_free(struct raft_disk *d);
/* At a start of the process: who is told. What a dead incarnation had under way is gone. */
void raft_disk_attach(struct raft_disk *d, const struct raft_disk_events *ev, void *ctx);
/* A first entry of a new cluster, before anything runs. */
void raft_disk_bootstrap(struct raft_disk *d, uint64_t term, uint8_t type, const void *data, size_t len);
/* What is on it, borrowed until the next write; ENTRIES_BUF holds the array. */
void raft_disk_load(struct raft_disk *d, struct raft_core_disk *ret_disk);

/* Starts a write of an action (HARD_STATE, ENTRIES, SNAPSHOT, SNAPSHOT_INSTALL). Returns its number. */
uint64_t raft_disk_write(struct raft_disk *d, const struct raft_action *a, const struct raft_core *rc);

#endif
