/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/procfs_world.h"

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct world_waiter {
	struct world_waiter *next;
	subtree_conn_done done;
	void *ctx;
};

/* ---- connections of the client ---- */

static void tell_waiters(struct world_node *n, int status)
{
	struct world_waiter *list = n->waiters, *next;

	n->waiters = NULL;
	for (; list; list = next) {
		next = list->next;
		list->done(list->ctx, status, status ? NULL : n->conn);
		free(list);
	}
}

static void on_up(void *ctx, struct rpc_conn *conn)
{
	(void)conn;
	tell_waiters(ctx, 0);
}

static void on_down(void *ctx, struct rpc_conn *conn, int status)
{
	struct world_node *n = ctx;

	(void)conn;
	n->conn = NULL;
	tell_waiters(n, status);
}

static void node_conn(void *ctx, uint32_t id, subtree_conn_done done, void *done_ctx)
{
	static const struct rpc_conn_events events = { on_up, on_down };
	struct world *w = ctx;
	struct world_node *n = &w->nodes[id <= w->nr ? id : 0];
	struct world_waiter *waiter;
	int r = 0;

	if (!n->port) {
		done(done_ctx, -ENXIO, NULL);
		return;
	}
	if (n->conn && rpc_conn_is_up(n->conn)) {
		done(done_ctx, 0, n->conn);
		return;
	}
	waiter = malloc(sizeof(*waiter));
	if (!waiter)
		err(1, "memory");
	*waiter = (struct world_waiter){ n->waiters, done, done_ctx };
	n->waiters = waiter;
	if (!n->conn)
		r = rpc_connect(w->client, "127.0.0.1", n->port, 5000, &events, n, &n->conn);
	if (r < 0)
		tell_waiters(n, r);
}

static const struct config *get_config(void *ctx)
{
	struct world *w = ctx;

	return &w->config;
}

/* ---- nodes ---- */

static void start_node(struct world *w, struct world_node *n)
{
	int r = rpc_new(&w->loop, &n->self, NULL, &n->rpc);

	if (!r)
		r = rpc_listen(n->rpc, "127.0.0.1", 0, &n->port);
	if (r < 0)
		errx(1, "%s: %s", n->name, strerror(-r));
}

/* The kernel takes connections here, and nobody answers on them. */
static void start_silent(struct world_node *n)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);

	n->silent_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(n->silent_fd, (struct sockaddr *)&a, len) < 0 || listen(n->silent_fd, 64) < 0 ||
	    getsockname(n->silent_fd, (struct sockaddr *)&a, &len) < 0)
		err(1, "%s", n->name);
	n->port = ntohs(a.sin_port);
}

void world_init(struct world *w, unsigned nr, unsigned nr_silent)
{
	memset(w, 0, sizeof(*w));
	uv_loop_init(&w->loop);
	w->nr = nr;
	snprintf(w->config.name, sizeof(w->config.name), "test");
	w->config.nr_nodes = nr;
	for (uint32_t id = 1; id <= nr; id++) {
		struct world_node *n = &w->nodes[id];
		struct config_node *c = &w->config.nodes[id - 1];

		snprintf(n->name, sizeof(n->name), "node%u", id);
		n->self = (struct rpc_self){ 1, id, RPC_ROLE_NODE, n->name };
		n->silent_fd = -1;
		if (id > nr - nr_silent)
			start_silent(n);
		else
			start_node(w, n);
		*c = (struct config_node){ .id = id, .host = "127.0.0.1", .port = n->port, .state = NODE_UP };
		memcpy(c->name, n->name, sizeof(n->name));
	}
	w->client_self = (struct rpc_self){ 1, 1, RPC_ROLE_CLIENT, "node1" };
	if (rpc_new(&w->loop, &w->client_self, NULL, &w->client) < 0)
		errx(1, "no client");
	w->host = (struct subtree_host){ &w->loop, 1, w, get_config, node_conn };
}

void world_disconnect(struct world *w)
{
	for (unsigned i = 1; i <= w->nr; i++) {
		struct rpc_conn *conn = w->nodes[i].conn;

		w->nodes[i].conn = NULL;
		rpc_conn_close(conn);
		tell_waiters(&w->nodes[i], -ECANCELED);
	}
}

int world_release(struct world *w)
{
	world_disconnect(w);
	for (unsigned i = 1; i <= w->nr; i++) {
		rpc_free(w->nodes[i].rpc);
		if (w->nodes[i].silent_fd >= 0)
			close(w->nodes[i].silent_fd);
	}
	rpc_free(w->client);
	uv_run(&w->loop, UV_RUN_DEFAULT);
	return uv_loop_close(&w->loop);
}

static void on_limit(uv_timer_t *t)
{
	*(int *)t->data = 1;
}

int world_run(struct world *w, const int *done, uint64_t limit_ms)
{
	uv_timer_t timer;
	int over = 0;

	uv_timer_init(&w->loop, &timer);
	timer.data = &over;
	uv_timer_start(&timer, on_limit, limit_ms, 0);
	while (!*done && !over)
		uv_run(&w->loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&w->loop, UV_RUN_NOWAIT);
	return *done;
}
