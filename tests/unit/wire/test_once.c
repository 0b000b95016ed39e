/* The blocking helper: a server on a thread of its own, a command on this one. */
#include "wire/once.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/wire/rpc_fixture.h"

struct server {
	uv_loop_t loop;
	uv_async_t stop;
	struct rpc *rpc;
	uint16_t port;
	int status; /* what readlink is answered with; > 0: not at all */
	unsigned nr_served;
	pthread_t thread;
};

static void serve(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	struct server *s = ctx;

	(void)conn, (void)msg;
	s->nr_served++;
	rpc_reply(rq, s->status, &(struct msg_readlink_rep){ .target = "target" });
}

static void silent(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	(void)msg, (void)rq;
	((struct server *)ctx)->nr_served++;
	rpc_conn_close(conn);
	rpc_reply(rq, 0, &(struct msg_readlink_rep){ .target = "lost" });
}

static void stop(uv_async_t *async)
{
	struct server *s = async->data;

	rpc_free(s->rpc);
	uv_close((uv_handle_t *)async, NULL);
}

static void *run_server(void *arg)
{
	struct server *s = arg;

	uv_run(&s->loop, UV_RUN_DEFAULT);
	return NULL;
}

static void server_start(struct server *s, struct tls_identity *tls, int status)
{
	static const struct rpc_self self = { NET_CLUSTER, 1, RPC_ROLE_NODE, "node1" };

	memset(s, 0, sizeof(*s));
	s->status = status;
	uv_loop_init(&s->loop);
	uv_async_init(&s->loop, &s->stop, stop);
	s->stop.data = s;
	cr_assert_eq(rpc_new(&s->loop, &self, tls, &s->rpc), 0);
	rpc_handle(s->rpc, MSG_readlink, status > 0 ? silent : serve, s);
	cr_assert_eq(rpc_listen(s->rpc, "127.0.0.1", 0, &s->port), 0);
	cr_assert_eq(pthread_create(&s->thread, NULL, run_server, s), 0);
}

static void server_stop(struct server *s)
{
	uv_async_send(&s->stop);
	pthread_join(s->thread, NULL);
	cr_assert_eq(uv_loop_close(&s->loop), 0);
}

static const struct rpc_self self = { NET_CLUSTER, 2, RPC_ROLE_CLIENT, "node2" };
static const struct msg_readlink_req req = { .ino = 1 };

TestSuite(once, .timeout = 30);

static int call(const struct once_peer *peers, size_t n, uint32_t timeout_ms, void **ret_rep)
{
	return once_call(peers, n, &self, NULL, MSG_readlink, &req, timeout_ms, ret_rep);
}

Test(once, the_reply_outlives_the_connection)
{
	struct server s;
	void *rep = NULL;

	server_start(&s, NULL, 0);
	cr_assert_eq(call(&(struct once_peer){ "127.0.0.1", s.port }, 1, 3000, &rep), 0);
	server_stop(&s);
	cr_assert_str_eq(((struct msg_readlink_rep *)rep)->target, "target");
	free(rep);
}

Test(once, nobody_needs_the_reply)
{
	struct server s;

	server_start(&s, NULL, 0);
	cr_assert_eq(call(&(struct once_peer){ "localhost", s.port }, 1, 3000, NULL), 0);
	server_stop(&s);
	cr_assert_eq(s.nr_served, 1u);
}

Test(once, the_next_candidate_is_tried)
{
	struct server wrong, right;
	void *rep = NULL;

	server_start(&wrong, NULL, -EREMCHG);
	server_start(&right, NULL, 0);
	cr_assert_eq(call((struct once_peer[]){ { "127.0.0.1", 1 },
						{ "no such name.invalid", 1 },
						{ "127.0.0.1", wrong.port },
						{ "127.0.0.1", right.port } },
			  4, 8000, &rep),
		     0);
	server_stop(&wrong);
	server_stop(&right);
	cr_assert(wrong.nr_served == 1 && right.nr_served == 1);
	free(rep);
}

Test(once, an_answer_is_final)
{
	struct server first, second;

	server_start(&first, NULL, -EPERM);
	server_start(&second, NULL, 0);
	cr_assert_eq(call((struct once_peer[]){ { "127.0.0.1", first.port }, { "127.0.0.1", second.port } }, 2, 3000,
			  NULL),
		     -EPERM);
	server_stop(&first);
	server_stop(&second);
	cr_assert_eq(second.nr_served, 0u);
}

Test(once, a_request_that_may_have_been_done_is_not_sent_elsewhere)
{
	struct server first, second;

	server_start(&first, NULL, 1);
	server_start(&second, NULL, 0);
	cr_assert_eq(call((struct once_peer[]){ { "127.0.0.1", first.port }, { "127.0.0.1", second.port } }, 2, 3000,
			  NULL),
		     -ECONNRESET);
	server_stop(&first);
	server_stop(&second);
	cr_assert_eq(second.nr_served, 0u);
}

Test(once, the_most_telling_reason_is_told)
{
	static const struct rpc_self stranger = { NET_CLUSTER + 1, 2, RPC_ROLE_CLIENT, "node2" };
	struct server s;

	server_start(&s, NULL, 0);
	for (int i = 0; i < 2; i++) {
		struct once_peer peers[] = { { "127.0.0.1", i ? 1 : s.port }, { "127.0.0.1", i ? s.port : 1 } };

		cr_assert_eq(once_call(peers, 2, &stranger, NULL, MSG_readlink, &req, 3000, NULL), -EACCES);
	}
	server_stop(&s);
	cr_assert_eq(s.nr_served, 0u);
}

Test(once, nobody_there)
{
	cr_assert_eq(call(&(struct once_peer){ "127.0.0.1", 1 }, 1, 1000, NULL), -ECONNREFUSED);
	cr_assert_eq(call(NULL, 0, 1000, NULL), -EINVAL);
}

Test(once, with_certificates)
{
	static char dir[] = "/tmp/cfs-once-XXXXXX";
	struct tls_identity *one, *two;
	struct server s;
	char cmd[64];

	cr_assert(mkdtemp(dir));
	make_node(dir, "node1", "ca", 1);
	make_node(dir, "node2", "ca", 2);
	one = load_node(dir, "node1");
	two = load_node(dir, "node2");
	server_start(&s, one, 0);
	cr_assert_eq(once_call(&(struct once_peer){ "127.0.0.1", s.port }, 1, &self, two, MSG_readlink, &req, 3000, NULL), 0);
	server_stop(&s);
	tls_identity_free(one);
	tls_identity_free(two);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	cr_assert_eq(system(cmd), 0);
}
