/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nodes for tests of procfs-cluster: N rpc servers on loopback in one loop, and a client that reaches them as the mount
 * would (struct subtree_host). The test gives the servers their handlers.
 */
#ifndef TESTS_LIB_PROCFS_WORLD_H
#define TESTS_LIB_PROCFS_WORLD_H

#include "fuse/subtree.h"

enum { WORLD_NODES_MAX = 16 };

struct world_waiter;

struct world_node {
	struct rpc_self self;
	struct rpc *rpc; /* NULL: a silent one */
	int silent_fd;
	uint16_t port;
	char name[16];
	struct rpc_conn *conn; /* of the client */
	struct world_waiter *waiters;
};

struct world {
	uv_loop_t loop;
	unsigned nr; /* nodes 1..nr; the reader is on node 1 */
	struct world_node nodes[WORLD_NODES_MAX + 1];
	struct rpc *client;
	struct rpc_self client_self;
	struct config config; /* all UP */
	struct subtree_host host;
};

/* The last NR_SILENT of the NR nodes take connections and never say a word. Exits on failure. */
void world_init(struct world *w, unsigned nr, unsigned nr_silent);
/* Ends the client's connections; what waits for one is told -ECANCELED. */
void world_disconnect(struct world *w);
/* After what uses it is freed. Says 0 when nothing was left on the loop. */
int world_release(struct world *w);
/* Runs the loop until *DONE or the limit; says whether it was done. */
int world_run(struct world *w, const int *done, uint64_t limit_ms);

#endif
