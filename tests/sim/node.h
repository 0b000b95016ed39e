/*
 * A simulated node: what cluster/ and cfsd/ shells do around the cores, over the simulated network and disks.
 *   node.c          life and death, connections, dispatch
 *   node_cluster.c  consensus, heartbeats, leases, proposals
 *   node_files.c    the file service: sessions, operations, held replies
 *   node_repl.c     replication between members
 *   node_sync.c     fsync, and what is left without it when power is lost
 */
#ifndef CFS_TESTS_SIM_NODE_H
#define CFS_TESTS_SIM_NODE_H

#include "cfsd/data.h"
#include "cfsd/meta.h"
#include "cfsd/repl.h"
#include "cfsd/store.h"
#include "cluster/config.h"
#include "cluster/lease.h"
#include "cluster/raft_core.h"
#include "tests/sim/raft_disk.h"
#include "tests/sim/sim.h"

struct node_files; /* volatile part of the file service */

typedef void (*proposal_done)(struct sim_node *n, int status);

/* A command of ours on its way through consensus, here at the leader. */
struct proposal {
	uint64_t index, term;
	struct net_request *rq; /* of another node, or */
	proposal_done done;	/* our own */
	struct proposal *prev, *next;
};

struct sim_node {
	struct sim *sim;
	uint32_t id;
	bool up;
	/* what a crash leaves */
	struct raft_disk *disk;
	struct meta *meta;
	struct data *data;
	bool dirty; /* it crashed: the last record may be torn */
	bool half_copied;
	bool lost; /* it lost power, and its copy with it what was not synced */
	/* cluster: new at every start */
	struct raft_core *rc;
	uint64_t hard_pending; /* number of the hard state whose sync messages wait for; 0 none */
	struct raft_actions outbox;
	struct config config;  /* as applied by consensus here */
	struct config view;    /* the newest known, also from answers */
	struct lease_leader leader;
	struct lease_node lease;
	bool leading, lease_valid;
	uint32_t leader_hint;
	struct proposal *proposals;
	proposal_done unreachable; /* of a proposal that found no leader */
	struct net_conn *peer[SIM_NODES + 1];	 /* dialled by us, for consensus and heartbeats */
	uint64_t raft_serial[SIM_NODES + 1];	 /* newest connection of theirs that brought a raft message */
	/* files: new at every start */
	struct store *store;
	struct node_files *files;
};

struct sim_node *node_new(struct sim *s, uint32_t id, const struct config *bootstrap);
void node_free(struct sim_node *n);
void node_start(struct sim_node *n);
void node_kill(struct sim_node *n);
/* What was not synced may be gone. */
void node_power_loss(struct sim_node *n);
uint64_t node_clock(const struct sim_node *n);
bool node_alive(const struct sim_node *n);
/* Calls fn(n) after DELAY unless the node dies first. */
void node_after(struct sim_node *n, uint64_t delay_us, void (*fn)(struct sim_node *n));

/* node_cluster.c */
void node_cluster_bootstrap(struct sim_node *n, const struct config *c);
void node_cluster_start(struct sim_node *n);
void node_cluster_stop(struct sim_node *n);
bool node_cluster_request(struct sim_node *n, struct net_request *rq);
/* A command to the leader, wherever it is. DONE comes with 0, config_apply()'s error, or -EHOSTUNREACH. */
void node_propose(struct sim_node *n, const void *cmd, size_t len, proposal_done done);
bool node_lease_valid(struct sim_node *n);

/* node_files.c, node_repl.c, node_sync.c */
void node_files_start(struct sim_node *n);
void node_files_stop(struct sim_node *n);
bool node_files_request(struct sim_node *n, struct net_request *rq);
void node_files_up(struct sim_node *n, struct net_conn *c, uint32_t peer, bool dialled);
void node_files_down(struct sim_node *n, struct net_conn *c, uint32_t peer);
/* The view or the lease changed. */
void node_files_config(struct sim_node *n);
void node_files_lease(struct sim_node *n, bool valid);
/* What a heartbeat says of the copy; 0: nothing yet. */
size_t node_files_position(struct sim_node *n, struct lease_position *ret_pos);
void node_files_power_loss(struct sim_node *n);

#endif
