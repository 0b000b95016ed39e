/* Who has not said hello yet: how many there may be, who has to go, what they may ask; who is not let in at all. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/wire/rpc_fixture.h"
#include "wire/errors.h"
#include "wire/frame.h"
#include "wire/rpc_internal.h"

static struct net net;

static void up(void)
{
	net_init(&net, false);
}

static void down(void)
{
	net_release(&net);
}

TestSuite(newcomers, .init = up, .fini = down, .timeout = 60);

/* A socket of 127.0.0.HOST that says nothing. */
static int idle_from(unsigned host)
{
	struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + host - 1) };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(net.port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_geq(fd, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static void crowd(int *fds, unsigned n, unsigned host)
{
	for (unsigned i = 0; i < n; i++) {
		fds[i] = idle_from(host);
		if (i % 32 == 31)
			run_for(&net, 5);
	}
	run_for(&net, 20);
}

static void disperse(const int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
}

static bool is_open(int fd)
{
	char c;

	return recv(fd, &c, 1, 0) < 0 && errno == EAGAIN;
}

static unsigned nr_open(const int *fds, unsigned n)
{
	unsigned open = 0;

	for (unsigned i = 0; i < n; i++)
		open += is_open(fds[i]);
	return open;
}

Test(newcomers, idle_sockets_keep_nobody_out)
{
	int fds[RPC_NEW_MAX + 50];

	crowd(fds, RPC_NEW_MAX + 50, 2);
	cr_assert_eq(nr_open(fds, RPC_NEW_MAX + 50), (unsigned)RPC_NEW_MAX);
	cr_assert_not(is_open(fds[0]), "the oldest had to go");
	cr_assert(is_open(fds[RPC_NEW_MAX + 49]), "not the newest");
	cr_assert(dial(&net), "there is room for one who has something to say");
	disperse(fds, RPC_NEW_MAX + 50);
}

Test(newcomers, who_takes_the_most_places_pays)
{
	int modest[20], greedy[RPC_NEW_MAX - 20];

	crowd(modest, 20, 3); /* they are older */
	crowd(greedy, RPC_NEW_MAX - 20, 2);
	for (int i = 0; i < 30; i++)
		cr_assert(dial(&net));
	cr_assert_eq(nr_open(modest, 20), 20u);
	/* Each dialled one needed a place for a moment; the first took one, the others found it free. */
	cr_assert_eq(nr_open(greedy, RPC_NEW_MAX - 20), RPC_NEW_MAX - 21u);
	cr_assert_not(is_open(greedy[0]));
	disperse(modest, 20);
	disperse(greedy, RPC_NEW_MAX - 20);
}

Test(newcomers, who_dials_without_end_waits_in_the_kernel)
{
	uint64_t began = uv_hrtime();
	unsigned accepted, ms;
	static int fds[1200];

	for (unsigned i = 0; i < 1200; i++) {
		fds[i] = idle_from(2);
		if (i % 50 == 49)
			run_for(&net, 1);
	}
	/* Of those that are open some are newcomers, the others have not been accepted. */
	accepted = 1200 - nr_open(fds, 1200) + net.server.rpc->nr_new;
	ms = (unsigned)((uv_hrtime() - began) / 1000000);
	cr_assert_leq(accepted, 1000 + ms / 2 + 10, "%u in %u ms", accepted, ms);
	run_for(&net, 1000);
	cr_assert_eq(nr_open(fds, 1200), (unsigned)RPC_NEW_MAX, "all had their turn");
	cr_assert(dial(&net));
	disperse(fds, 1200);
}

static void still_there(struct rpc_conn *conn)
{
	struct result res = { 0 };

	cr_assert_eq(rpc_call(conn, MSG_ping, &(struct msg_ping_req){ 3 }, 2000, record_done, &res), 0);
	cr_assert(run_until(&net, &res.nr_done, 1));
	cr_assert_eq(res.status, 0);
}

Test(newcomers, who_has_said_hello_is_never_displaced)
{
	struct rpc_conn *conn = dial(&net);
	int fds[2 * RPC_NEW_MAX];

	crowd(fds, 2 * RPC_NEW_MAX, 1); /* of the same host */
	still_there(conn);
	cr_assert_eq(net.server.seen.nr_down, 0u);
	disperse(fds, 2 * RPC_NEW_MAX);
	run_for(&net, 50);
	cr_assert_eq(net.server.rpc->nr_new, 0u, "places are given back");
}

/* ---- questions before hello ---- */

struct kept {
	struct rpc_req *rq[RPC_HELD_MAX + 1];
	unsigned nr;
};

static void keep(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	struct kept *k = ctx;

	(void)conn, (void)msg;
	k->rq[k->nr++] = rq;
}

static void append(struct wire_writer *w, enum msg_type type, uint64_t id, const void *msg)
{
	struct frame_header h = { .version = WIRE_VERSION, .kind = FRAME_REQUEST, .type = (uint16_t)type, .id = id };
	size_t start = frame_begin(w);

	msg_info((uint16_t)type)->encode_req(w, msg);
	cr_assert_eq(frame_end(w, start, &h), 0);
}

static void send_hellos(int fd, unsigned n)
{
	struct wire_writer w;

	wire_writer_init(&w);
	for (unsigned i = 0; i < n; i++)
		append(&w, MSG_hello, 7 + i, &(struct msg_hello_req){ WIRE_VERSION, NET_CLUSTER, 2, RPC_ROLE_NODE, "raw" });
	cr_assert_eq(send(fd, w.buf, w.len, MSG_NOSIGNAL), (ssize_t)w.len);
	wire_writer_release(&w);
}

/* Status of the next reply, 1 when the connection is closed instead. */
static int next_reply(int fd)
{
	uint8_t buf[FRAME_HEADER_LEN + 64];
	struct frame_header h;
	ssize_t n = -1;

	for (int i = 0; i < 200 && n < 0; i++) {
		run_for(&net, 10);
		n = recv(fd, buf, FRAME_HEADER_LEN, 0);
		if (n < 0 && errno != EAGAIN)
			n = 0;
	}
	if (n <= 0)
		return 1;
	cr_assert_eq(frame_header_decode(buf, 64, &h), 0);
	cr_assert_eq(recv(fd, buf, h.length, 0), (ssize_t)h.length);
	return wire_status_to_errno(h.status);
}

Test(newcomers, one_that_waits_for_its_answer_is_not_displaced_from_elsewhere)
{
	struct kept *kept = calloc(1, sizeof(*kept));
	int joining, fds[RPC_NEW_MAX + 100];
	struct msg_hello_rep rep = { .node_name = "n" };

	rpc_handle(net.server.rpc, MSG_hello, keep, kept);
	joining = idle_from(5);
	send_hellos(joining, 1);
	crowd(fds, RPC_NEW_MAX + 100, 2);
	cr_assert_eq(kept->nr, 1u);
	rpc_reply(kept->rq[0], 0, &rep);
	cr_assert_eq(next_reply(joining), 0);
	disperse(fds, RPC_NEW_MAX + 100);
	close(joining);
	free(kept);
}

Test(newcomers, they_have_one_question_at_a_time)
{
	struct kept *kept = calloc(1, sizeof(*kept));
	int fd = idle_from(2);

	rpc_handle(net.server.rpc, MSG_hello, keep, kept);
	send_hellos(fd, 3);
	cr_assert_eq(next_reply(fd), -ENOBUFS, "the second");
	cr_assert_eq(next_reply(fd), 1, "and it is dropped");
	cr_assert_eq(kept->nr, 1u);
	rpc_reply(kept->rq[0], -EIO, NULL); /* to nobody */
	close(fd);
	free(kept);
}

Test(newcomers, who_says_nothing_is_dropped_after_a_while)
{
	int silent, slow;

	net.server.rpc->new_timeout_ms = 300;
	silent = idle_from(2);
	slow = idle_from(3);
	run_for(&net, 100);
	send_hellos(slow, 1);
	cr_assert_eq(next_reply(slow), 0);
	cr_assert(is_open(silent));
	cr_assert_eq(next_reply(silent), 1);
	run_for(&net, 300);
	cr_assert(is_open(slow), "it has said hello in time");
	close(silent);
	close(slow);
}

/* ---- limits of those who are in ---- */

static void forget(void *ctx, int status, const void *rep)
{
	(void)rep;
	*(int *)ctx = status;
}

Test(newcomers, unanswered_requests_have_a_limit)
{
	struct kept *kept = calloc(1, sizeof(*kept));
	struct rpc_conn *conn = dial(&net);
	int last = 1;

	rpc_handle(net.server.rpc, MSG_ping, keep, kept);
	for (unsigned i = 0; i <= RPC_HELD_MAX; i++)
		cr_assert_eq(rpc_call(conn, MSG_ping, &(struct msg_ping_req){ i }, 0, forget, &last), 0);
	cr_assert(run_until(&net, &net.server.seen.nr_down, 1));
	cr_assert_eq(net.server.seen.err, -ENOBUFS);
	cr_assert_eq(kept->nr, (unsigned)RPC_HELD_MAX);
	for (unsigned i = 0; i < kept->nr; i++)
		rpc_reply(kept->rq[i], 0, &(struct msg_ping_rep){ i });
	cr_assert(run_until(&net, &net.client.seen.nr_down, 1));
	cr_assert_lt(last, 0);
	free(kept);
}

static void serve_much(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	static char zeros[8 << 20];

	(void)conn, (void)msg;
	++*(unsigned *)ctx;
	rpc_reply(rq, 0, &(struct msg_listxattr_rep){ .names = { zeros, sizeof(zeros) } });
}

Test(newcomers, replies_that_are_not_taken_have_a_limit)
{
	unsigned served = 0;
	int fd = idle_from(2);
	struct wire_writer w;

	rpc_handle(net.server.rpc, MSG_listxattr, serve_much, &served);
	wire_writer_init(&w);
	append(&w, MSG_hello, 1, &(struct msg_hello_req){ WIRE_VERSION, NET_CLUSTER, 2, RPC_ROLE_CLIENT, "raw" });
	for (unsigned i = 0; i < 100; i++)
		append(&w, MSG_listxattr, 2 + i, &(struct msg_listxattr_req){ .ino = 1 });
	cr_assert_eq(send(fd, w.buf, w.len, MSG_NOSIGNAL), (ssize_t)w.len);
	wire_writer_release(&w);
	cr_assert(run_until(&net, &net.server.seen.nr_down, 1));
	cr_assert_eq(net.server.seen.err, -ENOBUFS);
	cr_assert(served > 30 && served < 45, "%u replies of 8 MiB", served);
	close(fd);
}

/* ---- the gate ---- */

static int closed_for(void *ctx, uint32_t node_id)
{
	return node_id == *(uint32_t *)ctx ? -EKEYREVOKED : 0;
}

Test(newcomers, the_gate_is_asked_at_hello)
{
	uint32_t removed = 2;

	rpc_set_gate(net.server.rpc, closed_for, &removed);
	cr_assert_null(dial(&net));
	cr_assert_eq(net.client.seen.err, -EKEYREVOKED, "it is told why");
	cr_assert_eq(net.server.seen.nr_up, 0u);
	removed = 9;
	cr_assert(dial(&net));
}

Test(newcomers, the_gate_closes_behind_those_who_are_in)
{
	uint32_t removed = 9;

	rpc_set_gate(net.server.rpc, closed_for, &removed);
	cr_assert(dial(&net));
	rpc_check_gate(net.server.rpc);
	run_for(&net, 30);
	cr_assert_eq(net.server.seen.nr_down, 0u);
	removed = 2;
	rpc_check_gate(net.server.rpc);
	cr_assert(run_until(&net, &net.server.seen.nr_down, 1));
	cr_assert_eq(net.server.seen.err, -EKEYREVOKED);
	cr_assert(run_until(&net, &net.client.seen.nr_down, 1));
}

Test(newcomers, the_gate_is_asked_about_servers_too)
{
	uint32_t removed = 1;

	rpc_set_gate(net.client.rpc, closed_for, &removed);
	cr_assert_null(dial(&net));
	cr_assert_eq(net.client.seen.err, -EKEYREVOKED);
}
