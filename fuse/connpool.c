/* A connection that fails or ends is forgotten; the next who asks makes a new one. */
#include "fuse/connpool.h"

#include <errno.h>
#include <stdlib.h>
#include <uthash.h>
#include <utlist.h>

#define NODE_CONNECT_MS 1000u

struct waiter {
	struct waiter *next;
	connpool_done done;
	void *ctx;
};

struct node {
	struct connpool *owner;
	uint32_t id;
	struct rpc_conn *conn;
	bool up;
	struct waiter *waiters; /* while connecting */
	UT_hash_handle hh;
};

struct connpool {
	struct rpc *rpc;
	struct node *by_id;
};

int connpool_new(struct rpc *rpc, struct connpool **ret_pool)
{
	struct connpool *cp = calloc(1, sizeof(*cp));

	if (!cp)
		return -ENOMEM;
	cp->rpc = rpc;
	*ret_pool = cp;
	return 0;
}

static void tell(struct node *n, int status)
{
	struct waiter *list = n->waiters, *w, *tmp;

	n->waiters = NULL;
	LL_FOREACH_SAFE(list, w, tmp) {
		w->done(w->ctx, status, status ? NULL : n->conn);
		free(w);
	}
}

static void node_forget(struct node *n, int err)
{
	HASH_DEL(n->owner->by_id, n);
	tell(n, err);
	free(n);
}

static void node_up(void *ctx, struct rpc_conn *conn)
{
	struct node *n = ctx;

	(void)conn;
	n->up = true;
	tell(n, 0);
}

static void node_down(void *ctx, struct rpc_conn *conn, int err)
{
	(void)conn;
	node_forget(ctx, err);
}

static int node_connect(struct connpool *cp, const struct config *config, uint32_t node_id, struct node **ret_node)
{
	static const struct rpc_conn_events events = { node_up, node_down };
	const struct config_node *cn = config_node_by_id(config, node_id);
	struct node *n;
	int r;

	if (!cn)
		return -ENXIO;
	n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	n->owner = cp;
	n->id = node_id;
	r = rpc_connect(cp->rpc, cn->host, (uint16_t)(cn->port + 1), NODE_CONNECT_MS, &events, n, &n->conn);
	if (r < 0) {
		free(n);
		return r;
	}
	rpc_conn_expect(n->conn, node_id);
	HASH_ADD(hh, cp->by_id, id, sizeof(n->id), n);
	*ret_node = n;
	return 0;
}

void connpool_get(struct connpool *cp, const struct config *config, uint32_t node_id, connpool_done done, void *ctx)
{
	struct waiter *w;
	struct node *n;
	int r = 0;

	HASH_FIND(hh, cp->by_id, &node_id, sizeof(node_id), n);
	if (n && n->up && !rpc_conn_is_up(n->conn)) {
		/* Failed, but its `down` has not come yet. */
		rpc_conn_close(n->conn);
		node_forget(n, -ECONNRESET);
		n = NULL;
	}
	if (n && n->up) {
		done(ctx, 0, n->conn);
		return;
	}
	if (!n)
		r = node_connect(cp, config, node_id, &n);
	w = r < 0 ? NULL : calloc(1, sizeof(*w));
	if (!w) {
		done(ctx, r < 0 ? r : -ENOMEM, NULL);
		return;
	}
	w->done = done;
	w->ctx = ctx;
	LL_APPEND(n->waiters, w);
}

void connpool_free(struct connpool *cp)
{
	struct node *n, *tmp;

	if (!cp)
		return;
	HASH_ITER(hh, cp->by_id, n, tmp) {
		rpc_conn_close(n->conn);
		node_forget(n, -ECANCELED);
	}
	free(cp);
}
