/* Two rpc in one loop over loopback, with TLS: calls and everything that can end them. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/wire/rpc_fixture.h"

static struct net net;

static void up(void)
{
	net_init(&net, true);
}

static void down(void)
{
	net_release(&net);
}

TestSuite(rpc, .init = up, .fini = down, .timeout = 30);

Test(rpc, a_call_is_answered)
{
	struct rpc_conn *conn = dial(&net);
	struct msg_ping_req ping = { .stamp = 42 };
	struct result res = { 0 };

	cr_assert(conn);
	cr_assert_eq(rpc_call(conn, MSG_ping, &ping, 0, record_done, &res), 0);
	cr_assert_eq(res.nr_done, 0u);
	cr_assert(run_until(&net, &res.nr_done, 1));
	cr_assert_eq(res.status, 0);
	cr_assert_eq(res.stamp, 42u);
}

Test(rpc, both_ends_know_each_other)
{
	struct rpc_conn *conn = dial(&net);
	const struct rpc_peer *p;

	cr_assert(conn);
	p = rpc_conn_peer(conn);
	cr_assert(p->node_id == 1 && p->role == RPC_ROLE_NODE && !strcmp(p->node_name, "node1"));
	cr_assert(run_until(&net, &net.server.seen.nr_up, 1));
	p = rpc_conn_peer(net.server.seen.conn);
	cr_assert(p->node_id == 2 && p->role == RPC_ROLE_CLIENT && !strcmp(p->node_name, "node2"));
	cr_assert(!strncmp(p->address, "127.0.0.1:", 10));
}
