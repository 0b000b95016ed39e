/* Two rpc in one loop over loopback, with TLS: calls and everything that can end them. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

Test(rpc, another_node_than_expected_is_not_talked_to)
{
	struct events_seen *seen = &net.client.seen;
	struct rpc_conn *conn;

	for (uint32_t node = 1; node <= 2; node++) {
		cr_assert_eq(rpc_connect(net.client.rpc, "127.0.0.1", net.port, 3000, &recorder, seen, &conn), 0);
		rpc_conn_expect(conn, node);
		cr_assert(run_until(&net, node == 1 ? &seen->nr_up : &seen->nr_down, 1));
	}
	cr_assert_eq(seen->nr_up, 1u, "node 1 listens");
	cr_assert_eq(seen->err, -EHOSTUNREACH);
}

Test(rpc, thousands_of_calls_keep_their_replies_apart)
{
	enum { NR = 5000 };
	struct rpc_conn *conn = dial(&net);
	struct result *res = calloc(NR, sizeof(*res));

	cr_assert(conn && res);
	for (uint64_t i = 0; i < NR; i++) {
		struct msg_ping_req ping = { .stamp = i * 7 };

		cr_assert_eq(rpc_call(conn, MSG_ping, &ping, 4000, record_done, &res[i]), 0);
	}
	cr_assert(run_until(&net, &res[NR - 1].nr_done, 1));
	for (uint64_t i = 0; i < NR; i++)
		cr_assert(res[i].nr_done == 1 && !res[i].status && res[i].stamp == i * 7, "call %d", (int)i);
	free(res);
}

/* ---- a service that holds on to its requests ---- */

struct held {
	struct rpc_req *rq[8];
	const struct msg_readlink_req *msg[8];
	unsigned n;
};

static void hold(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	struct held *h = ctx;

	cr_assert_eq(rpc_req_conn(rq), conn);
	h->rq[h->n] = rq;
	h->msg[h->n++] = msg;
}

struct text_result {
	unsigned nr_done;
	int status;
	char target[64];
};

static void text_done(void *ctx, int status, const void *rep)
{
	struct text_result *res = ctx;

	res->nr_done++;
	res->status = status;
	if (!status)
		snprintf(res->target, sizeof(res->target), "%s", ((const struct msg_readlink_rep *)rep)->target);
}

static struct rpc_conn *call_held(struct held *h, struct text_result *res, uint32_t timeout_ms)
{
	struct msg_readlink_req req = { .ino = 5 };
	struct rpc_conn *conn = dial(&net);

	cr_assert(conn);
	rpc_handle(net.server.rpc, MSG_readlink, hold, h);
	cr_assert_eq(rpc_call(conn, MSG_readlink, &req, timeout_ms, text_done, res), 0);
	cr_assert(run_until(&net, &h->n, h->n + 1));
	return conn;
}

Test(rpc, a_late_reply_out_of_order_finds_its_call)
{
	struct held h = { .n = 0 };
	struct text_result first = { 0 }, second = { 0 };
	struct msg_readlink_req req = { .ino = 6 };
	struct rpc_conn *conn = call_held(&h, &first, 0);
	struct msg_readlink_rep rep = { .target = "two" };

	cr_assert_eq(rpc_call(conn, MSG_readlink, &req, 0, text_done, &second), 0);
	cr_assert(run_until(&net, &h.n, 2));
	cr_assert(h.msg[0]->ino == 5 && h.msg[1]->ino == 6, "a held request is still whole");
	rpc_reply(h.rq[1], 0, &rep);
	cr_assert(run_until(&net, &second.nr_done, 1));
	cr_assert_str_eq(second.target, "two");
	cr_assert_eq(first.nr_done, 0u);
	rpc_reply(h.rq[0], -ENOENT, NULL);
	cr_assert(run_until(&net, &first.nr_done, 1));
	cr_assert_eq(first.status, -ENOENT);
}

Test(rpc, a_call_times_out_alone)
{
	struct held h = { .n = 0 };
	struct text_result res = { 0 };
	struct result ping_res = { 0 };
	struct msg_ping_req ping = { .stamp = 1 };
	struct msg_readlink_rep rep = { .target = "late" };
	struct rpc_conn *conn = call_held(&h, &res, 100);

	cr_assert(run_until(&net, &res.nr_done, 1));
	cr_assert_eq(res.status, -ETIMEDOUT);
	/* The reply that comes after all hurts nobody. */
	rpc_reply(h.rq[0], 0, &rep);
	cr_assert_eq(rpc_call(conn, MSG_ping, &ping, 1000, record_done, &ping_res), 0);
	cr_assert(run_until(&net, &ping_res.nr_done, 1));
	cr_assert(ping_res.status == 0 && res.nr_done == 1);
	cr_assert_eq(net.client.seen.nr_down, 0u);
}

Test(rpc, deadlines_of_different_length_expire_in_order)
{
	struct held h = { .n = 0 };
	struct text_result slow = { 0 }, quick = { 0 };
	struct msg_readlink_req req = { .ino = 1 };
	struct rpc_conn *conn = call_held(&h, &slow, 400);

	cr_assert_eq(rpc_call(conn, MSG_readlink, &req, 50, text_done, &quick), 0);
	cr_assert(run_until(&net, &quick.nr_done, 1));
	cr_assert_eq(slow.nr_done, 0u);
	cr_assert(run_until(&net, &slow.nr_done, 1));
	cr_assert(slow.status == -ETIMEDOUT && quick.status == -ETIMEDOUT);
	for (unsigned i = 0; i < h.n; i++)
		rpc_reply(h.rq[i], -EIO, NULL);
}

Test(rpc, a_lost_connection_completes_its_calls_and_then_goes_down)
{
	struct held h = { .n = 0 };
	struct text_result res = { 0 };
	call_held(&h, &res, 0);
	rpc_conn_close(net.server.seen.conn);
	cr_assert_null(rpc_req_conn(h.rq[0]), "a request of a closed connection has none");
	cr_assert(run_until(&net, &net.client.seen.nr_down, 1));
	cr_assert(res.nr_done == 1 && res.status == -ECONNRESET);
	cr_assert_eq(net.client.seen.err, -ECONNRESET);
	cr_assert_eq(net.server.seen.nr_down, 0u, "who closes is not told");
	rpc_reply(h.rq[0], 0, &(struct msg_readlink_rep){ .target = "for nobody" });
	cr_assert_null(net.client.seen.conn);
}

Test(rpc, the_acceptor_hears_of_a_client_that_went)
{
	struct held h = { .n = 0 };
	struct text_result res = { 0 };
	struct rpc_conn *conn = call_held(&h, &res, 0);

	rpc_conn_close(conn);
	cr_assert(res.nr_done == 1 && res.status == -ECANCELED);
	cr_assert(run_until(&net, &net.server.seen.nr_down, 1));
	cr_assert_eq(net.client.seen.nr_down, 0u);
	cr_assert_null(rpc_req_conn(h.rq[0]));
	rpc_reply(h.rq[0], -EIO, NULL);
}

Test(rpc, freeing_an_rpc_cancels_its_calls)
{
	struct held h = { .n = 0 };
	struct text_result res = { 0 };

	call_held(&h, &res, 0);
	rpc_free(net.client.rpc);
	net.client.rpc = NULL;
	cr_assert(res.nr_done == 1 && res.status == -ECANCELED);
	cr_assert(run_until(&net, &net.server.seen.nr_down, 1));
	cr_assert_eq(net.client.seen.nr_down, 0u);
	rpc_reply(h.rq[0], -EIO, NULL);
}

/* ---- callbacks that pull the ground away ---- */

struct closer {
	struct rpc_conn *conn;
	struct text_result res;
	int call_err;
};

static void close_in_done(void *ctx, int status, const void *rep)
{
	struct closer *c = ctx;
	struct msg_readlink_req req = { .ino = 1 };

	text_done(&c->res, status, rep);
	c->call_err = rpc_call(c->conn, MSG_readlink, &req, 0, close_in_done, c);
	rpc_conn_close(c->conn);
}

Test(rpc, a_connection_may_be_closed_inside_a_completion)
{
	struct held h = { .n = 0 };
	struct text_result other = { 0 };
	struct msg_readlink_req req = { .ino = 1 };
	struct closer c = { .call_err = 1 };

	c.conn = call_held(&h, &other, 0);
	cr_assert_eq(rpc_call(c.conn, MSG_readlink, &req, 0, close_in_done, &c), 0);
	cr_assert(run_until(&net, &h.n, 2));
	rpc_conn_close(net.server.seen.conn);
	cr_assert(run_until(&net, &c.res.nr_done, 1));
	run_for(&net, 50);
	cr_assert_eq(c.res.status, -ECONNRESET);
	cr_assert_eq(c.call_err, -ENOTCONN);
	cr_assert_eq(other.nr_done, 1u);
	cr_assert_eq(net.client.seen.nr_down, 0u, "closed by its user, so no event");
	rpc_reply(h.rq[0], -EIO, NULL);
	rpc_reply(h.rq[1], -EIO, NULL);
}

static void close_in_handler(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	(void)msg;
	rpc_conn_close(conn);
	rpc_reply(rq, 0, &(struct msg_readlink_rep){ .target = "x" });
	++*(unsigned *)ctx;
}

Test(rpc, a_connection_may_be_closed_inside_a_handler)
{
	struct rpc_conn *conn = dial(&net);
	struct msg_readlink_req req = { .ino = 1 };
	struct text_result a = { 0 }, b = { 0 };
	unsigned handled = 0;

	rpc_handle(net.server.rpc, MSG_readlink, close_in_handler, &handled);
	cr_assert_eq(rpc_call(conn, MSG_readlink, &req, 0, text_done, &a), 0);
	cr_assert_eq(rpc_call(conn, MSG_readlink, &req, 0, text_done, &b), 0);
	cr_assert(run_until(&net, &net.client.seen.nr_down, 1));
	cr_assert_eq(handled, 1u, "nothing is served after the close");
	cr_assert(a.status == -ECONNRESET && b.status == -ECONNRESET);
}

static void free_in_handler(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	(void)conn, (void)msg;
	rpc_free(net.server.rpc);
	net.server.rpc = NULL;
	rpc_reply(rq, -EIO, NULL);
	++*(unsigned *)ctx;
}

Test(rpc, an_rpc_may_be_freed_inside_a_handler)
{
	struct rpc_conn *conn = dial(&net);
	struct msg_readlink_req req = { .ino = 1 };
	struct text_result res = { 0 };
	unsigned handled = 0;

	rpc_handle(net.server.rpc, MSG_readlink, free_in_handler, &handled);
	cr_assert_eq(rpc_call(conn, MSG_readlink, &req, 0, text_done, &res), 0);
	cr_assert(run_until(&net, &res.nr_done, 1));
	cr_assert_eq(res.status, -ECONNRESET);
}

/* ---- large ones ---- */

/* Tells the length and the last byte of what came. */
static void take_write(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_write_req *req = msg;

	(void)ctx, (void)conn;
	rpc_reply(rq, 0,
		  &(struct msg_write_rep){ .off = req->off, .written = req->data.len,
					   .attr.size = ((const uint8_t *)req->data.p)[req->data.len - 1] });
}

struct write_result {
	unsigned nr_done;
	int status;
	struct msg_write_rep rep;
};

static void write_done(void *ctx, int status, const void *rep)
{
	struct write_result *res = ctx;

	res->nr_done++;
	res->status = status;
	if (!status)
		res->rep = *(const struct msg_write_rep *)rep;
}

Test(rpc, big_blobs_go_through_beside_small_calls)
{
	enum { NR = 3 };
	struct rpc_conn *conn = dial(&net);
	uint8_t *bytes = malloc(WIRE_BLOB_MAX);
	struct write_result res[NR] = { 0 };
	struct result ping_res = { 0 };

	memset(bytes, 'b', WIRE_BLOB_MAX);
	bytes[WIRE_BLOB_MAX - 1] = 'e';
	rpc_handle(net.server.rpc, MSG_write, take_write, NULL);
	for (unsigned i = 0; i < NR; i++) {
		struct msg_write_req req = { .off = i, .data = { bytes, WIRE_BLOB_MAX } };

		cr_assert_eq(rpc_call(conn, MSG_write, &req, 0, write_done, &res[i]), 0);
	}
	cr_assert_gt(rpc_conn_backlog(conn), (size_t)WIRE_BLOB_MAX);
	cr_assert_eq(rpc_call(conn, MSG_ping, &(struct msg_ping_req){ 1 }, 0, record_done, &ping_res), 0);
	cr_assert(run_until(&net, &ping_res.nr_done, 1));
	for (unsigned i = 0; i < NR; i++) {
		cr_assert(res[i].nr_done == 1 && !res[i].status);
		cr_assert(res[i].rep.off == i && res[i].rep.written == WIRE_BLOB_MAX && res[i].rep.attr.size == 'e');
	}
	cr_assert_eq(rpc_conn_backlog(conn), 0u);
	free(bytes);
}

static void give_blob(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_read_req *req = msg;
	uint8_t *bytes = malloc(req->len);

	(void)ctx, (void)conn;
	for (uint32_t i = 0; i < req->len; i++)
		bytes[i] = (uint8_t)(i * 31 >> 3);
	rpc_reply(rq, 0, &(struct msg_read_rep){ .data = { bytes, req->len } });
	free(bytes);
}

static void check_blob(void *ctx, int status, const void *rep)
{
	const struct wire_blob *b = &((const struct msg_read_rep *)rep)->data;

	cr_assert_eq(status, 0);
	for (uint32_t i = 0; i < b->len; i++)
		cr_assert_eq(((const uint8_t *)b->p)[i], (uint8_t)(i * 31 >> 3));
	++*(unsigned *)ctx;
}

Test(rpc, replies_of_every_size_around_the_record_limit_arrive_whole)
{
	static const uint32_t sizes[] = { 0, 1, 100, 16383, 16384, 16385, 65536, 262144, 262145, 1 << 20 };
	struct rpc_conn *conn = dial(&net);
	unsigned nr_done = 0;

	rpc_handle(net.server.rpc, MSG_read, give_blob, NULL);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct msg_read_req req = { .len = sizes[i] };

		cr_assert_eq(rpc_call(conn, MSG_read, &req, 0, check_blob, &nr_done), 0);
	}
	cr_assert(run_until(&net, &nr_done, sizeof(sizes) / sizeof(sizes[0])));
}

Test(rpc, a_reply_that_is_too_large_is_an_error_and_the_connection_stays)
{
	struct rpc_conn *conn = dial(&net);
	struct msg_read_req req = { .len = WIRE_BLOB_MAX + 1 };
	struct result ping_res = { 0 };
	struct text_result res = { 0 };

	rpc_handle(net.server.rpc, MSG_read, give_blob, NULL);
	cr_assert_eq(rpc_call(conn, MSG_read, &req, 0, text_done, &res), 0);
	cr_assert(run_until(&net, &res.nr_done, 1));
	cr_assert_eq(res.status, -EMSGSIZE);
	cr_assert_eq(rpc_call(conn, MSG_ping, &(struct msg_ping_req){ 1 }, 0, record_done, &ping_res), 0);
	cr_assert(run_until(&net, &ping_res.nr_done, 1));
	cr_assert_eq(ping_res.status, 0);
}

Test(rpc, a_request_that_is_too_large_is_refused_at_once)
{
	static char text[WIRE_NAME_MAX + 2];
	struct rpc_conn *conn = dial(&net);
	struct msg_lookup_req req = { .entry = text };
	struct result res = { 0 };

	memset(text, 'x', sizeof(text) - 1);
	cr_assert_eq(rpc_call(conn, MSG_lookup, &req, 0, record_done, &res), -EMSGSIZE);
	cr_assert_eq(rpc_call(conn, MSG_ping, &(struct msg_ping_req){ 1 }, 0, record_done, &res), 0);
	cr_assert(run_until(&net, &res.nr_done, 1));
	cr_assert(res.nr_done == 1 && res.status == 0);
}

Test(rpc, the_send_queue_has_a_limit)
{
	struct rpc_conn *conn = dial(&net);
	uint8_t *bytes = calloc(1, WIRE_BLOB_MAX);
	struct msg_write_req req = { .data = { bytes, WIRE_BLOB_MAX } };
	struct write_result res = { 0 };
	int r = 0;
	unsigned n = 0;

	while (!r && n < 100) {
		r = rpc_call(conn, MSG_write, &req, 0, write_done, &res);
		n += !r;
	}
	cr_assert_eq(r, -ENOBUFS);
	cr_assert(n >= 4 && n <= 6, "%u", n);
	rpc_handle(net.server.rpc, MSG_write, take_write, NULL);
	cr_assert(run_until(&net, &res.nr_done, n), "what was taken is answered");
	free(bytes);
}

/* ---- what is not served ---- */

Test(rpc, a_message_nobody_handles_is_enosys)
{
	struct rpc_conn *conn = dial(&net);
	struct text_result res = { 0 };

	cr_assert_eq(rpc_call(conn, MSG_readlink, &(struct msg_readlink_req){ .ino = 1 }, 0, text_done, &res), 0);
	cr_assert(run_until(&net, &res.nr_done, 1));
	cr_assert_eq(res.status, -ENOSYS);
}

Test(rpc, what_the_role_may_not_send_is_refused)
{
	struct rpc_conn *conn = dial(&net);
	struct held h = { .n = 0 };
	struct text_result res = { 0 };
	struct msg_revoke_req revoke = { .ino = 1 };

	/* revoke is for nodes; this one said it is a client. */
	rpc_handle(net.server.rpc, MSG_revoke, hold, &h);
	cr_assert_eq(rpc_call(conn, MSG_revoke, &revoke, 0, text_done, &res), 0);
	cr_assert(run_until(&net, &res.nr_done, 1));
	cr_assert(res.status == -EPERM && h.n == 0);
	cr_assert_eq(net.client.seen.nr_down, 0u);
}

static void serve_revoke(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	(void)conn, (void)msg;
	++*(unsigned *)ctx;
	rpc_reply(rq, 0, NULL);
}

static void revoke_done(void *ctx, int status, const void *rep)
{
	(void)rep;
	cr_assert_eq(status, 0);
	++*(unsigned *)ctx;
}

Test(rpc, the_server_may_call_on_the_connection_of_the_client)
{
	struct msg_revoke_req revoke = { .ino = 9 };
	unsigned served = 0, done = 0;

	cr_assert(dial(&net));
	rpc_handle(net.client.rpc, MSG_revoke, serve_revoke, &served);
	cr_assert(run_until(&net, &net.server.seen.nr_up, 1));
	cr_assert_eq(rpc_call(net.server.seen.conn, MSG_revoke, &revoke, 0, revoke_done, &done), 0);
	cr_assert(run_until(&net, &done, 1));
	cr_assert_eq(served, 1u);
}

Test(rpc, hello_cannot_be_said_twice)
{
	struct rpc_conn *conn = dial(&net);
	struct msg_hello_req hello = { WIRE_VERSION, NET_CLUSTER, 1, RPC_ROLE_NODE, "node1" };
	struct result res = { 0 };

	cr_assert_eq(rpc_call(conn, MSG_hello, &hello, 0, record_done, &res), 0);
	cr_assert(run_until(&net, &res.nr_done, 1));
	cr_assert_eq(res.status, -EPERM);
	cr_assert_eq(rpc_conn_peer(net.server.seen.conn)->node_id, 2u);
}

Test(rpc, user_data_stays_with_the_connection)
{
	struct rpc_conn *conn = dial(&net);

	cr_assert_null(rpc_conn_data(conn));
	rpc_conn_set_data(conn, &net);
	cr_assert_eq(rpc_conn_data(conn), &net);
	rpc_conn_close(NULL);
}

/* libuv's clock stands still while a callback runs; a deadline counts from the call. */
Test(rpc, a_deadline_counts_from_the_call_not_from_the_last_turn_of_the_loop)
{
	struct rpc_conn *conn = dial(&net);
	struct result res = { 0 };

	usleep(300000);
	cr_assert_eq(rpc_call(conn, MSG_ping, &(struct msg_ping_req){ 1 }, 200, record_done, &res), 0);
	cr_assert(run_until(&net, &res.nr_done, 1));
	cr_assert_eq(res.status, 0);
}
