/*
 * Connections that we dial and keep: to every voter, and to all servers of the consensus membership. A dead one is
 * dialled again after 50 to 500 ms. Consensus messages, heartbeats and proposals leave on these; what others send comes
 * on those that they dialled. Cluster thread only.
 */
#include <errno.h>
#include <string.h>

#include "cluster/internal.h"
#include "common/log.h"

enum { BACKOFF_MIN_MS = 50, BACKOFF_MAX_MS = 500, DIAL_TIMEOUT_MS = 500 };

static struct link *find(struct cluster *cl, uint32_t node)
{
	for (size_t i = 0; i < CLUSTER_LINKS_MAX; i++)
		if (cl->links[i].node == node)
			return &cl->links[i];
	return NULL;
}

struct link *link_of(struct cluster *cl, uint32_t node)
{
	struct link *l = find(cl, node);

	if (l || !node)
		return node ? l : NULL;
	l = find(cl, 0);
	if (l)
		*l = (struct link){ .cl = cl, .node = node, .backoff_ms = BACKOFF_MIN_MS };
	return l;
}

struct rpc_conn *link_conn(struct cluster *cl, uint32_t node)
{
	struct link *l = node ? find(cl, node) : NULL;

	return l && l->up ? l->conn : NULL;
}

struct rpc_conn *link_to_ask(struct cluster *cl)
{
	struct rpc_conn *conn = link_conn(cl, cluster_leader(cl));

	for (size_t i = 0; i < CLUSTER_LINKS_MAX && !conn; i++) {
		struct link *l = &cl->links[cl->ask_next++ % CLUSTER_LINKS_MAX];

		conn = l->up ? l->conn : NULL;
	}
	return conn;
}

/* ---- dialling ---- */

static void link_up(void *ctx, struct rpc_conn *conn)
{
	struct link *l = ctx;

	(void)conn;
	l->up = true;
	l->cl->told_removed = false;
	l->backoff_ms = BACKOFF_MIN_MS;
	log_debug("cluster", "connected to node %u", l->node);
}

static void link_down(void *ctx, struct rpc_conn *conn, int err)
{
	struct link *l = ctx;

	(void)conn;
	/* Its own configuration may be as old as the day it was removed; else it is the other one that we refuse. */
	if (err == -EKEYREVOKED && !config_node_was_removed(l->cl->config, l->node) && !l->cl->told_removed) {
		log_error("cluster", "node %u was removed from the cluster, the others refuse it: to use this machine again, "
			  "remove %s and join", l->cl->id.id, l->cl->state_dir);
		l->cl->told_removed = true;
	}
	if (l->up)
		log_info("cluster", "connection to node %u lost: %s", l->node, strerror(-err));
	else
		log_debug("cluster", "node %u cannot be reached: %s", l->node, strerror(-err));
	l->conn = NULL;
	l->up = false;
	l->dial_ms = cluster_now_ms() + l->backoff_ms;
	l->backoff_ms = l->backoff_ms * 2 < BACKOFF_MAX_MS ? l->backoff_ms * 2 : BACKOFF_MAX_MS;
}

static const struct rpc_conn_events link_events = { .up = link_up, .down = link_down };

static void dial(struct cluster *cl, struct link *l, uint64_t now)
{
	const struct config_node *n = config_node_by_id(cl->config, l->node);

	if (!n || l->conn || now < l->dial_ms)
		return;
	if (rpc_connect(cl->rpc, n->host, n->port, DIAL_TIMEOUT_MS, &link_events, l, &l->conn) < 0) {
		l->conn = NULL;
		l->dial_ms = now + BACKOFF_MAX_MS;
		return;
	}
	rpc_conn_expect(l->conn, l->node);
}

/* Ids are not used again: what is left of nodes that were removed must not fill the table. */
static void forget_removed(struct cluster *cl)
{
	for (size_t i = 0; i < CLUSTER_LINKS_MAX; i++) {
		struct link *l = &cl->links[i];

		if (!config_node_was_removed(cl->config, l->node))
			continue;
		rpc_conn_close(l->conn);
		*l = (struct link){ 0 };
	}
}

void links_tick(struct cluster *cl, uint64_t now)
{
	uint32_t ids[CONFIG_NODES_MAX + RAFT_CORE_SERVERS_MAX];
	size_t n = raft_core_servers(cl->core, ids);

	forget_removed(cl);
	for (size_t i = 0; i < cl->config->nr_nodes; i++)
		if (cl->config->nodes[i].voter)
			ids[n++] = cl->config->nodes[i].id;
	for (size_t i = 0; i < n; i++) {
		struct link *l = ids[i] == cl->id.id ? NULL : link_of(cl, ids[i]);

		if (l)
			dial(cl, l, now);
	}
}

void links_stop(struct cluster *cl)
{
	for (size_t i = 0; i < CLUSTER_LINKS_MAX; i++)
		cl->links[i].up = false;
}

/* ---- accepted connections ---- */

static void accept_up(void *ctx, struct rpc_conn *conn)
{
	struct cluster *cl = ctx;

	/* Numbered in the order in which they came up; 0 is none. */
	rpc_conn_set_data(conn, (void *)(uintptr_t)++cl->next_seq);
}

const struct rpc_conn_events links_accept_events = { .up = accept_up };
