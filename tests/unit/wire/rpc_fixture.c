#include "tests/unit/wire/rpc_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	cr_assert(f, "%s", path);
	fputs(text, f);
	fclose(f);
}

static void copy_file(const char *from, const char *to)
{
	char text[8192];
	FILE *f = fopen(from, "r");
	size_t n;

	cr_assert(f, "%s", from);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = 0;
	fclose(f);
	write_text(to, text);
}

void make_node(const char *dir, const char *name, const char *ca_name, uint32_t node_id)
{
	char ca[128], node[128], path[192], from[192], *csr = NULL, *cert = NULL;

	snprintf(ca, sizeof(ca), "%s/%s", dir, ca_name);
	snprintf(node, sizeof(node), "%s/%s", dir, name);
	snprintf(path, sizeof(path), "%s/ca.crt", ca);
	if (access(path, F_OK) < 0)
		cr_assert_eq(tls_ca_create(ca, ca_name), 0);
	cr_assert_eq(tls_request_create(node, &csr), 0);
	cr_assert_eq(tls_ca_sign(ca, csr, node_id, name, &cert), 0);
	snprintf(path, sizeof(path), "%s/node.crt", node);
	write_text(path, cert);
	snprintf(from, sizeof(from), "%s/ca.crt", ca);
	snprintf(path, sizeof(path), "%s/ca.crt", node);
	copy_file(from, path);
	free(csr);
	free(cert);
}

struct tls_identity *load_node(const char *dir, const char *name)
{
	char path[128];
	struct tls_identity *id = NULL;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	cr_assert_eq(tls_identity_load(path, &id), 0);
	return id;
}

static void on_up(void *ctx, struct rpc_conn *conn)
{
	struct events_seen *seen = ctx;

	seen->nr_up++;
	seen->conn = conn;
}

static void on_down(void *ctx, struct rpc_conn *conn, int err)
{
	struct events_seen *seen = ctx;

	seen->nr_down++;
	seen->err = err;
	if (seen->conn == conn)
		seen->conn = NULL;
}

const struct rpc_conn_events recorder = { on_up, on_down };

void record_done(void *ctx, int status, const void *rep)
{
	struct result *res = ctx;

	res->nr_done++;
	res->status = status;
	res->stamp = status ? 0 : ((const struct msg_ping_rep *)rep)->stamp;
}

static void side_init(struct net *net, struct side *s, uint32_t node_id, enum rpc_role role, const char *name)
{
	s->self = (struct rpc_self){ NET_CLUSTER, node_id, role, name };
	cr_assert_eq(rpc_new(&net->loop, &s->self, s->tls, &s->rpc), 0);
}

void net_init(struct net *net, bool tls)
{
	memset(net, 0, sizeof(*net));
	snprintf(net->dir, sizeof(net->dir), "/tmp/cfs-test-XXXXXX");
	cr_assert(mkdtemp(net->dir));
	uv_loop_init(&net->loop);
	if (tls) {
		make_node(net->dir, "node1", "ca", 1);
		make_node(net->dir, "node2", "ca", 2);
		net->server.tls = load_node(net->dir, "node1");
		net->client.tls = load_node(net->dir, "node2");
	}
	side_init(net, &net->server, 1, RPC_ROLE_NODE, "node1");
	side_init(net, &net->client, 2, RPC_ROLE_CLIENT, "node2");
	rpc_on_accept(net->server.rpc, &recorder, &net->server.seen);
	cr_assert_eq(rpc_listen(net->server.rpc, "127.0.0.1", 0, &net->port), 0);
	cr_assert_neq(net->port, 0);
}

void net_release(struct net *net)
{
	char cmd[96];

	rpc_free(net->client.rpc);
	rpc_free(net->server.rpc);
	uv_run(&net->loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&net->loop), 0, "something is left in the loop");
	tls_identity_free(net->client.tls);
	tls_identity_free(net->server.tls);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", net->dir);
	cr_assert_eq(system(cmd), 0);
}

static void time_is_over(uv_timer_t *t)
{
	*(bool *)t->data = true;
}

static void run(struct net *net, const unsigned *counter, unsigned value, uint64_t ms)
{
	uv_timer_t timer;

	net->timed_out = false;
	uv_timer_init(&net->loop, &timer);
	timer.data = &net->timed_out;
	uv_update_time(&net->loop);
	uv_timer_start(&timer, time_is_over, ms, 0);
	while (!net->timed_out && (!counter || *counter < value))
		uv_run(&net->loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&net->loop, UV_RUN_NOWAIT);
}

bool run_until(struct net *net, const unsigned *counter, unsigned value)
{
	run(net, counter, value, 5000);
	return *counter >= value;
}

void run_for(struct net *net, uint64_t ms)
{
	run(net, NULL, 0, ms);
}

struct rpc_conn *dial(struct net *net)
{
	struct events_seen *seen = &net->client.seen;
	unsigned before = seen->nr_up + seen->nr_down;
	struct rpc_conn *conn;

	cr_assert_eq(rpc_connect(net->client.rpc, "127.0.0.1", net->port, 3000, &recorder, seen, &conn), 0);
	cr_assert_eq(seen->nr_up + seen->nr_down, before, "an event before return");
	for (int i = 0; i < 1000 && seen->nr_up + seen->nr_down == before; i++)
		run_for(net, 10);
	cr_assert_gt(seen->nr_up + seen->nr_down, before, "neither up nor down");
	return seen->conn;
}
