/* Connections to the other nodes' cfs-migrated: dialled when needed, kept while they last. */
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "common/log.h"
#include "migrate/internal.h"

#define CONNECT_TIMEOUT_MS 3000
#define PORT_OFFSET 2 /* of the node's base port */

struct waiter {
	peer_ready ready;
	void *ctx;
	struct waiter *next;
};

struct peer {
	struct service *svc;
	uint32_t node;
	struct rpc_conn *conn; /* NULL: none; may be still dialling */
	bool up;
	struct waiter *waiters;
	struct peer *next;
};

static void wake(struct peer *p, int status)
{
	struct waiter *list = p->waiters, *w, *tmp;

	p->waiters = NULL;
	LL_FOREACH_SAFE(list, w, tmp)
	{
		w->ready(w->ctx, status, status ? NULL : p->conn);
		free(w);
	}
}

static void peer_up(void *ctx, struct rpc_conn *conn)
{
	struct peer *p = ctx;

	(void)conn;
	p->up = true;
	wake(p, 0);
}

static void peer_down(void *ctx, struct rpc_conn *conn, int err)
{
	struct peer *p = ctx;

	(void)conn;
	log_debug("migrate", "connection to %s: %s", service_node_name(p->svc, p->node), uv_strerror(err));
	p->conn = NULL;
	p->up = false;
	wake(p, err);
	source_peer_lost(p->svc, p->node);
}

static const struct rpc_conn_events peer_events = { .up = peer_up, .down = peer_down };

static struct peer *peer_of(struct service *svc, uint32_t node)
{
	struct peer *p;

	LL_SEARCH_SCALAR(svc->peers, p, node, node);
	if (p)
		return p;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->svc = svc;
	p->node = node;
	LL_PREPEND(svc->peers, p);
	return p;
}

static int dial(struct peer *p)
{
	const struct config_node *n = service_node(p->svc, p->node);
	int r;

	if (!n)
		return -ENOENT;
	r = rpc_connect(p->svc->rpc, n->host, (uint16_t)(n->port + PORT_OFFSET), CONNECT_TIMEOUT_MS, &peer_events, p, &p->conn);
	if (!r)
		rpc_conn_expect(p->conn, p->node);
	return r;
}

void peer_connect(struct service *svc, uint32_t node, peer_ready ready, void *ctx)
{
	struct peer *p = peer_of(svc, node);
	struct waiter *w;
	int r;

	if (p && p->up) {
		ready(ctx, 0, p->conn);
		return;
	}
	w = p ? calloc(1, sizeof(*w)) : NULL;
	r = !w ? -ENOMEM : p->conn ? 0 : dial(p);
	if (r) {
		free(w);
		ready(ctx, r, NULL);
		return;
	}
	w->ready = ready;
	w->ctx = ctx;
	LL_APPEND(p->waiters, w);
}

void peers_free(struct service *svc)
{
	struct peer *p, *tmp;

	LL_FOREACH_SAFE(svc->peers, p, tmp)
	{
		LL_DELETE(svc->peers, p);
		rpc_conn_close(p->conn);
		wake(p, -ECANCELED);
		free(p);
	}
}
