/* The joining side: what it believes of the answer, and what is left on its disk when that is wrong. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster/state_dir.h"
#include "cluster/token.h"
#include "common/file.h"
#include "tests/lib/tmpdir.h"
#include "tests/unit/wire/rpc_fixture.h"

enum { CLUSTER = 0x77 };

/* A node of another's making, on a thread. */
struct server {
	uv_loop_t loop;
	uv_async_t stop;
	struct rpc *rpc;
	struct tls_identity *tls;
	uint16_t port;
	const char *ca; /* that signs, and whose certificate is given */
	bool for_another_key;
	int status;
	pthread_t thread;
};

static struct tmpdir tmp;
static struct server srv;
static struct node_identity me;

static char *in_tmp(const char *name)
{
	static char paths[4][192];
	static unsigned n;
	char *path = paths[n++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", tmp.path, name);
	return path;
}

static void serve_join(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_join_req *req = msg;
	struct server *s = ctx;
	struct config c = { .version = 1, .cluster_id = CLUSTER, .name = "test", .next_node_id = 8 };
	char *ca = NULL, *cert = NULL, *csr = strndup(req->csr.p, req->csr.len), *other = NULL;
	size_t ca_len, conf_len;
	void *conf = NULL;

	(void)conn;
	cr_assert_eq(tls_request_create(in_tmp("another"), &other), 0);
	cr_assert_eq(tls_ca_sign(in_tmp(s->ca), s->for_another_key ? other : csr, 7, req->node_name, &cert), 0);
	cr_assert_eq(file_load(in_tmp(s->ca), "ca.crt", 8192, &ca, &ca_len), 0);
	cr_assert_eq(config_encode(&c, &conf, &conf_len), 0);
	rpc_reply(rq, s->status, &(struct msg_join_rep){ CLUSTER, 7, { ca, (uint32_t)ca_len }, { cert, (uint32_t)strlen(cert) },
							 { conf, (uint32_t)conf_len } });
	free(ca);
	free(cert);
	free(csr);
	free(other);
	free(conf);
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

static void up(void)
{
	static const struct rpc_self self = { CLUSTER, 1, RPC_ROLE_NODE, "node1" };

	tmpdir_make(&tmp);
	make_node(tmp.path, "node1", "ca", 1);
	cr_assert_eq(tls_ca_create(in_tmp("evil"), "evil"), 0);
	srv = (struct server){ .ca = "ca", .tls = load_node(tmp.path, "node1") };
	uv_loop_init(&srv.loop);
	uv_async_init(&srv.loop, &srv.stop, stop);
	srv.stop.data = &srv;
	cr_assert_eq(rpc_new(&srv.loop, &self, srv.tls, &srv.rpc), 0);
	rpc_handle(srv.rpc, MSG_join, serve_join, &srv);
	cr_assert_eq(rpc_listen(srv.rpc, "127.0.0.1", 0, &srv.port), 0);
	cr_assert_eq(pthread_create(&srv.thread, NULL, run_server, &srv), 0);
	me = (struct node_identity){ .host = "127.0.0.1", .port = 7480, .name = "joiner" };
}

static void down(void)
{
	uv_async_send(&srv.stop);
	pthread_join(srv.thread, NULL);
	uv_loop_close(&srv.loop);
	tls_identity_free(srv.tls);
	tmpdir_remove(&tmp);
}

TestSuite(join, .init = up, .fini = down, .timeout = 30);

/* With a token of the cluster of CA. */
static int join(const char *ca)
{
	struct join_token t = { .secret = { 1 } };
	char *text;
	int r;

	cr_assert_eq(tls_ca_fingerprint(in_tmp(ca), t.ca_sha256), 0);
	text = join_token_encode(&t);
	r = state_dir_join(in_tmp("state"), "127.0.0.1", srv.port, text, &me, 3000);
	free(text);
	return r;
}

static void expect_no_node(void)
{
	struct node_identity id;

	cr_assert_eq(node_identity_load(in_tmp("state"), &id), -ENOENT);
	cr_assert_eq(state_dir_is_free(in_tmp("state")), 0, "it may be tried again");
}

Test(join, a_good_answer_makes_a_node)
{
	struct tls_identity *tls;
	struct node_identity id;

	cr_assert_eq(join("ca"), 0);
	cr_assert_eq(node_identity_load(in_tmp("state"), &id), 0);
	cr_assert(id.id == 7 && id.cluster_id == CLUSTER && !strcmp(id.cluster_name, "test") && !strcmp(id.name, "joiner"));
	cr_assert_eq(tls_identity_load(in_tmp("state/tls"), &tls), 0);
	tls_identity_free(tls);
	cr_assert_eq(join("ca"), -EEXIST);
}

Test(join, a_token_of_another_cluster_is_not_sent)
{
	cr_assert_eq(join("evil"), -EKEYREJECTED);
	expect_no_node();
}

Test(join, another_ca_than_the_token_names_is_not_taken)
{
	srv.ca = "evil";
	cr_assert_eq(join("ca"), -EKEYREJECTED);
	expect_no_node();
	srv.ca = "ca";
	cr_assert_eq(join("ca"), 0, "what was left there does not matter");
}

Test(join, a_certificate_for_another_key_is_not_taken)
{
	srv.for_another_key = true;
	cr_assert_eq(join("ca"), -EKEYREJECTED);
	expect_no_node();
}

Test(join, refusals_are_told_apart)
{
	static const struct {
		int said, told;
	} cases[] = { { -EEXIST, -ENOTUNIQ },
		      { -EKEYEXPIRED, -EKEYEXPIRED },
		      { -EADDRINUSE, -EADDRINUSE },
		      { -EHOSTUNREACH, -EHOSTUNREACH },
		      { -EPROTONOSUPPORT, -EPROTONOSUPPORT } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		srv.status = cases[i].said;
		cr_assert_eq(join("ca"), cases[i].told, "%zu", i);
		expect_no_node();
	}
}
