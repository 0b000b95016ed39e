/*
 * A node's membership in the cluster: its thread keeps consensus, heartbeats and leases, away from the file service's
 * disk waits. Everybody else on the node reads the configuration and asks for changes through here.
 *
 * Thread: cluster_start() makes one with a loop of its own (real-time priority and locked memory where allowed).
 * Callbacks are posted to the mailbox given at start, so they run on the user's loop. Functions are called on the
 * user's loop unless marked [any thread].
 */
#ifndef CFS_CLUSTER_CLUSTER_H
#define CFS_CLUSTER_CLUSTER_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/config.h"
#include "cluster/lease.h" /* struct cluster_times, struct lease_position */
#include "common/mailbox.h"

struct cluster;
struct node_identity;

struct cluster_conf {
	const char *state_dir; /* /var/lib/cfs */
	struct cluster_times times; /* zeros: the defaults */
};

struct cluster_events {
	/* A newer configuration (borrowed until return). The first comes soon after start, from disk. */
	void (*config)(void *ctx, const struct config *c);
	/* The lease on FS was lost (expired, or the epoch moved on): stop serving now. */
	void (*lease_lost)(void *ctx, uint32_t fs);
};

/* The node must have been made by `cfs init` or `cfs join`. 0; -ENOENT: neither was done; -EPROTONOSUPPORT: state
   directory of a newer version; other -errno. */
int cluster_start(const struct cluster_conf *conf, struct mailbox *mb, const struct cluster_events *events, void *ctx,
		  struct cluster **ret_cluster);
/*
 * Says goodbye: the node gives its leases up, so the user must have stopped serving before. Waits (below a second) for
 * others to take over what it serves and for another to lead. No callback comes after this, also of pending changes.
 */
void cluster_stop(struct cluster *cl);

uint32_t cluster_node_id(const struct cluster *cl);
uint64_t cluster_id(const struct cluster *cl);
/* Name, host, base port (cluster/state_dir.h); borrowed. */
const struct node_identity *cluster_identity(const struct cluster *cl);

/* [any thread] True while this node may serve FS at EPOCH: it is the recorded server and its lease has not run out. */
bool cluster_lease_valid(struct cluster *cl, uint32_t fs, uint64_t epoch);
/* [any thread] How far this node's copy has come, and what it is worth; goes out with heartbeats and decides who is
   promoted. */
void cluster_report_position(struct cluster *cl, const struct lease_position *pos);

/* STATUS 0, or -EAGAIN: epoch was not EXPECTED (read the configuration again), -EHOSTUNREACH: no quorum in time. */
typedef void (*cluster_done)(void *ctx, int status);
/* Compare-and-swap of FS: if its epoch is EXPECTED it becomes EXPECTED + 1 with this server and in-sync set. */
void cluster_fs_change(struct cluster *cl, uint32_t fs, uint64_t expected, uint32_t server, const uint32_t *in_sync,
		       size_t nr_in_sync, cluster_done done, void *ctx);

#endif
