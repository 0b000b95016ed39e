/* Who is not let in, and what a broken or hostile peer can do: lose its own connection, nothing else. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/bytes.h"
#include "tests/unit/wire/rpc_fixture.h"
#include "wire/errors.h"
#include "wire/frame.h"

static struct net net;

static void down(void)
{
	net_release(&net);
}

static void up_tls(void)
{
	net_init(&net, true);
}

static void up_plain(void)
{
	net_init(&net, false);
}

/* ---- identity ---- */

TestSuite(refuse_tls, .init = up_tls, .fini = down, .timeout = 30);

/* The client becomes somebody else. */
static void become(struct tls_identity *tls, uint64_t cluster, uint32_t node_id, enum rpc_role role)
{
	rpc_free(net.client.rpc);
	uv_run(&net.loop, UV_RUN_NOWAIT);
	tls_identity_free(net.client.tls);
	net.client.tls = tls;
	net.client.self = (struct rpc_self){ cluster, node_id, role, "somebody" };
	cr_assert_eq(rpc_new(&net.loop, &net.client.self, tls, &net.client.rpc), 0);
}

static void refused(int err)
{
	cr_assert_null(dial(&net));
	cr_assert_eq(net.client.seen.err, err, "%d", net.client.seen.err);
	cr_assert_eq(net.client.seen.nr_down, 1u);
	run_for(&net, 20);
	cr_assert_eq(net.server.seen.nr_up, 0u);
}

Test(refuse_tls, a_certificate_of_another_ca)
{
	make_node(net.dir, "stranger", "other-ca", 2);
	become(load_node(net.dir, "stranger"), NET_CLUSTER, 2, RPC_ROLE_NODE);
	refused(-EKEYREJECTED);
}

Test(refuse_tls, another_node_than_the_certificate_says)
{
	make_node(net.dir, "node3", "ca", 3);
	become(load_node(net.dir, "node3"), NET_CLUSTER, 2, RPC_ROLE_NODE);
	refused(-EKEYREJECTED);
}

Test(refuse_tls, another_cluster)
{
	become(load_node(net.dir, "node2"), NET_CLUSTER + 1, 2, RPC_ROLE_NODE);
	refused(-EACCES);
}

Test(refuse_tls, a_role_that_is_none)
{
	become(load_node(net.dir, "node2"), NET_CLUSTER, 2, (enum rpc_role)77);
	refused(-EINVAL);
}

Test(refuse_tls, a_plain_client_at_a_tls_server)
{
	become(NULL, NET_CLUSTER, 2, RPC_ROLE_NODE);
	cr_assert_null(dial(&net));
	cr_assert_lt(net.client.seen.err, 0);
	cr_assert_eq(net.server.seen.nr_up, 0u);
}

static struct tls_identity *joiner(const char *ca)
{
	struct tls_identity *id;
	uint8_t sha256[32];
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", net.dir, ca);
	cr_assert_eq(tls_ca_fingerprint(path, sha256), 0);
	cr_assert_eq(tls_identity_joining(sha256, &id), 0);
	return id;
}

Test(refuse_tls, a_joiner_that_says_hello)
{
	become(joiner("ca"), NET_CLUSTER, 2, RPC_ROLE_NODE);
	refused(-EKEYREJECTED);
}

Test(refuse_tls, a_joiner_with_the_fingerprint_of_another_ca)
{
	make_node(net.dir, "stranger", "other-ca", 2);
	become(joiner("other-ca"), 0, 0, RPC_ROLE_NONE);
	refused(-EKEYREJECTED);
}

static void never(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	(void)conn, (void)msg;
	++*(unsigned *)ctx;
	rpc_reply(rq, -EIO, NULL);
}

Test(refuse_tls, a_joiner_may_say_nothing_that_is_not_for_any)
{
	struct msg_readlink_req req = { .ino = 1 };
	struct result res = { 0 };
	struct rpc_conn *conn;
	unsigned served = 0;

	become(joiner("ca"), 0, 0, RPC_ROLE_NONE);
	rpc_handle(net.server.rpc, MSG_readlink, never, &served);
	conn = dial(&net);
	cr_assert(conn, "it comes up without hello: %d", net.client.seen.err);
	cr_assert_eq(rpc_call(conn, MSG_readlink, &req, 0, record_done, &res), 0);
	cr_assert(run_until(&net, &res.nr_done, 1));
	cr_assert_eq(res.status, -EPERM);
	cr_assert(run_until(&net, &net.client.seen.nr_down, 1), "and is dropped");
	cr_assert_eq(served, 0u);
	cr_assert_eq(net.server.seen.nr_up, 0u);
}

/* The same row through the same door as `join`: ANY, NEW. */
static void serve_as_join(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_hello_req *req = msg;
	struct msg_hello_rep rep = { .cluster_id = 77, .node_name = req->node_name };

	cr_assert_eq(rpc_conn_peer(conn)->node_id, 0u);
	cr_assert_eq(rpc_conn_peer(conn)->role, RPC_ROLE_NONE);
	++*(unsigned *)ctx;
	rpc_reply(rq, 0, &rep);
}

static void join_done(void *ctx, int status, const void *msg)
{
	const struct msg_hello_rep *rep = msg;
	struct result *res = ctx;

	res->nr_done++;
	res->status = status;
	res->stamp = status ? 0 : rep->cluster_id;
}

Test(refuse_tls, a_joiner_may_call_what_is_for_any_more_than_once)
{
	struct msg_hello_req req = { .node_name = "joining" };
	struct result res = { 0 };
	struct rpc_conn *conn;
	unsigned served = 0;

	become(joiner("ca"), 0, 0, RPC_ROLE_NONE);
	rpc_handle(net.server.rpc, MSG_hello, serve_as_join, &served);
	conn = dial(&net);
	cr_assert(conn);
	for (unsigned i = 1; i <= 2; i++) {
		cr_assert_eq(rpc_call(conn, MSG_hello, &req, 0, join_done, &res), 0);
		cr_assert(run_until(&net, &res.nr_done, i));
		cr_assert(res.status == 0 && res.stamp == 77);
	}
	cr_assert_eq(served, 2u);
	cr_assert_eq(net.server.seen.nr_up, 0u);
}

/* ---- nobody there ---- */

Test(refuse_tls, a_port_nobody_listens_on)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(in);

	cr_assert(!bind(fd, (struct sockaddr *)&in, len) && !getsockname(fd, (struct sockaddr *)&in, &len));
	net.port = ntohs(in.sin_port);
	cr_assert_null(dial(&net));
	cr_assert_eq(net.client.seen.err, -ECONNREFUSED);
	close(fd);
}

Test(refuse_tls, an_address_that_is_none)
{
	struct rpc_conn *conn;

	cr_assert_lt(rpc_connect(net.client.rpc, "node1.example", 1, 100, &recorder, &net.client.seen, &conn), 0);
	cr_assert_lt(rpc_listen(net.client.rpc, "127.0.0.1.5", 0, NULL), 0);
	cr_assert_eq(rpc_listen(net.client.rpc, "127.0.0.1", net.port, NULL), -EADDRINUSE);
}

/* ---- raw peers ---- */

TestSuite(refuse_raw, .init = up_plain, .fini = down, .timeout = 30);

static int raw_connect(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				  .sin_port = htons(net.port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert(fd >= 0 && !connect(fd, (struct sockaddr *)&in, sizeof(in)));
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

/* Bytes received; 0: the other end closed; -1: nothing within a second. */
static ssize_t raw_read(int fd, void *buf, size_t len)
{
	for (int i = 0; i < 100; i++) {
		ssize_t n = recv(fd, buf, len, 0);

		if (n >= 0)
			return n;
		if (errno != EAGAIN)
			return 0;
		run_for(&net, 10);
	}
	return -1;
}

static void raw_send(int fd, const void *buf, size_t len)
{
	cr_assert_eq(send(fd, buf, len, MSG_NOSIGNAL), (ssize_t)len);
}

static size_t hello_frame(uint8_t *buf, uint8_t version, uint16_t inner_version)
{
	struct msg_hello_req hello = { inner_version, NET_CLUSTER, 2, RPC_ROLE_NODE, "raw" };
	struct frame_header h = { .version = version, .kind = FRAME_REQUEST, .type = MSG_hello, .id = 7 };
	struct wire_writer w;
	size_t len;

	wire_writer_init(&w);
	cr_assert_eq(frame_begin(&w), 0u);
	msg_info(MSG_hello)->encode_req(&w, &hello);
	cr_assert_eq(frame_end(&w, 0, &h), 0);
	len = w.len;
	memcpy(buf, w.buf, len);
	wire_writer_release(&w);
	return len;
}

/* A connection that works is there before, during and after what the raw peer does. */
static struct rpc_conn *witness;

static void witness_is_well(void)
{
	struct result res = { 0 };

	cr_assert_eq(rpc_call(witness, MSG_ping, &(struct msg_ping_req){ 3 }, 1000, record_done, &res), 0);
	cr_assert(run_until(&net, &res.nr_done, 1));
	cr_assert_eq(res.status, 0);
}

static void dropped_after(const void *bytes, size_t len, bool after_hello)
{
	uint8_t buf[1024];
	int fd;

	witness = dial(&net);
	cr_assert(witness);
	fd = raw_connect();
	if (after_hello) {
		raw_send(fd, buf, hello_frame(buf, WIRE_VERSION, WIRE_VERSION));
		cr_assert_gt(raw_read(fd, buf, sizeof(buf)), 0);
		cr_assert_eq(net.server.seen.nr_up, 2u);
	}
	raw_send(fd, bytes, len);
	cr_assert_eq(raw_read(fd, buf, sizeof(buf)), 0, "the connection is closed");
	if (after_hello)
		cr_assert_eq(net.server.seen.nr_down, 1u);
	witness_is_well();
	close(fd);
}

Test(refuse_raw, garbage_before_hello)
{
	static const char text[] = "GET / HTTP/1.1\r\nHost: node1\r\n\r\n";

	dropped_after(text, sizeof(text), false);
}

Test(refuse_raw, garbage_after_hello)
{
	static const char text[] = "this is no frame at all, is it";

	dropped_after(text, sizeof(text), true);
	cr_assert_eq(net.server.seen.err, -EBADMSG);
}

static void header(uint8_t bytes[FRAME_HEADER_LEN], uint8_t kind, uint16_t type, uint32_t length)
{
	struct frame_header h = { .version = WIRE_VERSION, .kind = kind, .type = type, .length = length, .id = 9 };

	frame_header_encode(&h, bytes);
}

Test(refuse_raw, an_oversized_frame)
{
	uint8_t bytes[FRAME_HEADER_LEN];

	header(bytes, FRAME_REQUEST, MSG_ping, WIRE_FRAME_MAX + 1);
	dropped_after(bytes, sizeof(bytes), true);
	cr_assert_eq(net.server.seen.err, -EMSGSIZE);
}

Test(refuse_raw, a_large_frame_before_hello)
{
	uint8_t bytes[FRAME_HEADER_LEN];

	header(bytes, FRAME_REQUEST, MSG_hello, 1 << 20);
	dropped_after(bytes, sizeof(bytes), false);
}

Test(refuse_raw, a_request_that_cannot_be_decoded)
{
	uint8_t bytes[FRAME_HEADER_LEN + 3] = { 0 };

	header(bytes, FRAME_REQUEST, MSG_ping, 3);
	dropped_after(bytes, sizeof(bytes), true);
	cr_assert_eq(net.server.seen.err, -EBADMSG);
}

Test(refuse_raw, a_torn_frame)
{
	uint8_t bytes[FRAME_HEADER_LEN + 3] = { 0 }, buf[512];
	int fd;

	witness = dial(&net);
	fd = raw_connect();
	raw_send(fd, buf, hello_frame(buf, WIRE_VERSION, WIRE_VERSION));
	cr_assert_gt(raw_read(fd, buf, sizeof(buf)), 0);
	header(bytes, FRAME_REQUEST, MSG_ping, 8);
	raw_send(fd, bytes, sizeof(bytes));
	run_for(&net, 20);
	cr_assert_eq(net.server.seen.nr_down, 0u);
	close(fd);
	cr_assert(run_until(&net, &net.server.seen.nr_down, 1));
	cr_assert_eq(net.server.seen.err, -ECONNRESET);
	witness_is_well();
}

Test(refuse_raw, a_reply_nobody_asked_for_is_ignored)
{
	uint8_t bytes[FRAME_HEADER_LEN], buf[512];
	int fd = raw_connect();

	raw_send(fd, buf, hello_frame(buf, WIRE_VERSION, WIRE_VERSION));
	cr_assert_gt(raw_read(fd, buf, sizeof(buf)), 0);
	header(bytes, FRAME_REPLY, MSG_ping, 0);
	raw_send(fd, bytes, sizeof(bytes));
	run_for(&net, 30);
	cr_assert_eq(net.server.seen.nr_down, 0u);
	close(fd);
}

Test(refuse_raw, an_unknown_message_is_enosys_and_the_connection_stays)
{
	uint8_t bytes[FRAME_HEADER_LEN], buf[512];
	struct frame_header h;
	int fd = raw_connect();

	raw_send(fd, buf, hello_frame(buf, WIRE_VERSION, WIRE_VERSION));
	cr_assert_gt(raw_read(fd, buf, sizeof(buf)), 0);
	header(bytes, FRAME_REQUEST, 0xfffe, 0);
	raw_send(fd, bytes, sizeof(bytes));
	cr_assert_eq(raw_read(fd, buf, sizeof(buf)), FRAME_HEADER_LEN);
	cr_assert_eq(frame_header_decode(buf, 0, &h), 0);
	cr_assert(h.kind == FRAME_REPLY && h.id == 9 && wire_status_to_errno(h.status) == -ENOSYS);
	cr_assert_eq(net.server.seen.nr_down, 0u);
	close(fd);
}

Test(refuse_raw, frames_that_come_byte_by_byte_and_several_at_once)
{
	uint8_t frame[FRAME_HEADER_LEN + 8], buf[1024], twice[2 * sizeof(frame)];
	int fd = raw_connect();
	size_t len = hello_frame(buf, WIRE_VERSION, WIRE_VERSION), got = 0;

	for (size_t i = 0; i < len; i++) {
		raw_send(fd, buf + i, 1);
		run_for(&net, 1);
	}
	cr_assert_gt(raw_read(fd, buf, sizeof(buf)), 0);
	header(frame, FRAME_REQUEST, MSG_ping, 8);
	put_le64(frame + FRAME_HEADER_LEN, 0x1122);
	memcpy(twice, frame, sizeof(frame));
	memcpy(twice + sizeof(frame), frame, sizeof(frame));
	raw_send(fd, twice, sizeof(twice));
	while (got < sizeof(twice)) {
		ssize_t n = raw_read(fd, buf + got, sizeof(buf) - got);

		cr_assert_gt(n, 0);
		got += (size_t)n;
	}
	cr_assert_eq(got, sizeof(twice));
	cr_assert_eq(get_le64(buf + FRAME_HEADER_LEN), 0x1122u);
	close(fd);
}

/* ---- versions ---- */

Test(refuse_raw, a_client_of_another_version_is_told_ours)
{
	uint8_t buf[512];
	struct frame_header h;
	int fd = raw_connect();

	raw_send(fd, buf, hello_frame(buf, WIRE_VERSION + 1, WIRE_VERSION + 1));
	cr_assert_eq(raw_read(fd, buf, sizeof(buf)), FRAME_HEADER_LEN);
	cr_assert_eq(frame_header_decode(buf, 0, &h), 0);
	cr_assert(h.kind == FRAME_REPLY && h.version == WIRE_VERSION && h.type == MSG_hello && h.id == 7);
	cr_assert_eq(wire_status_to_errno(h.status), -EPROTONOSUPPORT);
	cr_assert_eq(raw_read(fd, buf, sizeof(buf)), 0);
	cr_assert_eq(net.server.seen.nr_up, 0u);
	close(fd);
}

Test(refuse_raw, a_hello_of_another_version_in_a_frame_of_ours)
{
	uint8_t buf[512];
	struct frame_header h;
	int fd = raw_connect();

	raw_send(fd, buf, hello_frame(buf, WIRE_VERSION, WIRE_VERSION + 1));
	cr_assert_eq(raw_read(fd, buf, sizeof(buf)), FRAME_HEADER_LEN);
	cr_assert_eq(frame_header_decode(buf, 0, &h), 0);
	cr_assert_eq(wire_status_to_errno(h.status), -EPROTONOSUPPORT);
	cr_assert_eq(raw_read(fd, buf, sizeof(buf)), 0);
	close(fd);
}

static int raw_listen(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(in);

	cr_assert(!bind(fd, (struct sockaddr *)&in, len) && !listen(fd, 5) &&
		  !getsockname(fd, (struct sockaddr *)&in, &len));
	net.port = ntohs(in.sin_port);
	return fd;
}

Test(refuse_raw, a_server_of_another_version_ends_the_connection)
{
	struct frame_header h = { .version = WIRE_VERSION + 1, .kind = FRAME_REPLY, .type = MSG_hello, .id = 1 };
	uint8_t buf[512];
	struct rpc_conn *conn;
	int fd, listener = raw_listen();

	cr_assert_eq(rpc_connect(net.client.rpc, "127.0.0.1", net.port, 2000, &recorder, &net.client.seen, &conn), 0);
	run_for(&net, 20);
	fd = accept(listener, NULL, NULL);
	cr_assert_geq(fd, 0);
	cr_assert_gt(raw_read(fd, buf, sizeof(buf)), FRAME_HEADER_LEN);
	h.status = wire_status_from_errno(-EPROTONOSUPPORT);
	frame_header_encode(&h, buf);
	raw_send(fd, buf, FRAME_HEADER_LEN);
	cr_assert(run_until(&net, &net.client.seen.nr_down, 1));
	cr_assert_eq(net.client.seen.err, -EPROTONOSUPPORT);
	cr_assert_eq(net.client.seen.nr_up, 0u);
	close(fd);
	close(listener);
}

Test(refuse_raw, a_server_that_says_nothing_times_out)
{
	struct rpc_conn *conn;
	int listener = raw_listen();

	cr_assert_eq(rpc_connect(net.client.rpc, "127.0.0.1", net.port, 150, &recorder, &net.client.seen, &conn), 0);
	cr_assert(run_until(&net, &net.client.seen.nr_down, 1));
	cr_assert_eq(net.client.seen.err, -ETIMEDOUT);
	close(listener);
}

Test(refuse_raw, a_reply_that_cannot_be_decoded_completes_the_call)
{
	struct frame_header h = { .version = WIRE_VERSION, .kind = FRAME_REPLY, .type = MSG_hello, .id = 1, .length = 3 };
	uint8_t buf[512] = { 0 };
	struct rpc_conn *conn;
	int fd, listener = raw_listen();

	cr_assert_eq(rpc_connect(net.client.rpc, "127.0.0.1", net.port, 2000, &recorder, &net.client.seen, &conn), 0);
	run_for(&net, 20);
	fd = accept(listener, NULL, NULL);
	cr_assert_gt(raw_read(fd, buf, sizeof(buf)), FRAME_HEADER_LEN);
	frame_header_encode(&h, buf);
	raw_send(fd, buf, FRAME_HEADER_LEN + 3);
	cr_assert(run_until(&net, &net.client.seen.nr_down, 1));
	cr_assert_eq(net.client.seen.err, -EBADMSG);
	close(fd);
	close(listener);
}
