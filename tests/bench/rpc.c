/*
 * What a request costs: two threads, each with its loop, over loopback.
 *
 *   rpc [SECONDS per measurement]
 *
 * One ping at a time (latency), 64 at a time (CPU per message), blobs of 1 MiB read and written four at a time.
 */
#include <err.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "wire/rpc.h"
#include "wire/tls.h"

enum { BLOB = 1 << 20 };

struct bench {
	uv_loop_t server_loop, loop;
	uv_async_t stop;
	struct rpc *server, *client;
	struct rpc_conn *conn;
	uint16_t port;
	uint64_t end; /* uv_hrtime() */
	uint64_t nr;  /* replies */
	unsigned depth, in_flight;
	enum msg_type type;
	uint8_t blob[BLOB];
};

static void serve_read(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	(void)conn, (void)msg;
	rpc_reply(rq, 0, &(struct msg_read_rep){ .data = { ((struct bench *)ctx)->blob, BLOB } });
}

static void serve_write(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	(void)ctx, (void)conn;
	rpc_reply(rq, 0, &(struct msg_write_rep){ .written = ((const struct msg_write_req *)msg)->data.len });
}

static void done(void *ctx, int status, const void *rep);

static void call(struct bench *b)
{
	const struct msg_ping_req ping = { .stamp = b->nr };
	const struct msg_read_req read = { .len = BLOB };
	const struct msg_write_req write = { .data = { b->blob, BLOB } };
	const void *req = b->type == MSG_ping ? (const void *)&ping : b->type == MSG_read ? (const void *)&read : &write;

	if (rpc_call(b->conn, b->type, req, 10000, done, b) < 0)
		errx(1, "call");
	b->in_flight++;
}

static void done(void *ctx, int status, const void *rep)
{
	struct bench *b = ctx;

	(void)rep;
	if (status)
		errx(1, "status %d", status);
	b->nr++;
	b->in_flight--;
	if (uv_hrtime() < b->end)
		call(b);
	else if (!b->in_flight)
		uv_stop(&b->loop);
}

static void measure(struct bench *b, const char *what, enum msg_type type, unsigned depth, double seconds)
{
	uint64_t start = uv_hrtime();
	double t;

	b->type = type;
	b->nr = 0;
	b->end = start + (uint64_t)(seconds * 1e9);
	for (unsigned i = 0; i < depth; i++)
		call(b);
	uv_run(&b->loop, UV_RUN_DEFAULT);
	t = (double)(uv_hrtime() - start) / 1e9;
	if (type == MSG_ping)
		printf("  %-24s %8.1f us each, %9.0f /s\n", what, t / (double)b->nr * 1e6, (double)b->nr / t);
	else
		printf("  %-24s %8.0f MiB/s\n", what, (double)b->nr / t);
}

static void up(void *ctx, struct rpc_conn *conn)
{
	(void)conn;
	uv_stop(&((struct bench *)ctx)->loop);
}

static void down(void *ctx, struct rpc_conn *conn, int status)
{
	(void)ctx, (void)conn;
	errx(1, "connection: %s", strerror(-status));
}

static void stop(uv_async_t *async)
{
	rpc_free(((struct bench *)async->data)->server);
	uv_close((uv_handle_t *)async, NULL);
}

static void *serve(void *arg)
{
	uv_run(&((struct bench *)arg)->server_loop, UV_RUN_DEFAULT);
	return NULL;
}

static void run(struct tls_identity *tls, double seconds)
{
	static const struct rpc_self server = { 1, 1, RPC_ROLE_NODE, "server" };
	static const struct rpc_self client = { 1, 1, RPC_ROLE_CLIENT, "client" };
	static const struct rpc_conn_events events = { up, down };
	static struct bench b;
	pthread_t thread;

	memset(&b, 0, sizeof(b));
	uv_loop_init(&b.server_loop);
	uv_loop_init(&b.loop);
	uv_async_init(&b.server_loop, &b.stop, stop);
	b.stop.data = &b;
	if (rpc_new(&b.server_loop, &server, tls, &b.server) || rpc_new(&b.loop, &client, tls, &b.client))
		errx(1, "rpc");
	rpc_handle(b.server, MSG_read, serve_read, &b);
	rpc_handle(b.server, MSG_write, serve_write, &b);
	if (rpc_listen(b.server, "127.0.0.1", 0, &b.port))
		errx(1, "listen");
	pthread_create(&thread, NULL, serve, &b);
	if (rpc_connect(b.client, "127.0.0.1", b.port, 5000, &events, &b, &b.conn))
		errx(1, "connect");
	uv_run(&b.loop, UV_RUN_DEFAULT);
	measure(&b, "ping, one at a time", MSG_ping, 1, seconds);
	measure(&b, "ping, 64 at a time", MSG_ping, 64, seconds);
	measure(&b, "read 1 MiB, 4 at a time", MSG_read, 4, seconds);
	measure(&b, "write 1 MiB, 4 at a time", MSG_write, 4, seconds);
	uv_async_send(&b.stop);
	pthread_join(thread, NULL);
	rpc_free(b.client);
	uv_run(&b.loop, UV_RUN_DEFAULT);
	uv_loop_close(&b.loop);
	uv_loop_close(&b.server_loop);
}

static struct tls_identity *identity(const char *dir)
{
	struct tls_identity *id;
	char *csr, *cert, path[128];
	FILE *f;

	if (tls_ca_create(dir, "bench") || tls_request_create(dir, &csr) || tls_ca_sign(dir, csr, 1, "one", &cert))
		errx(1, "certificates");
	snprintf(path, sizeof(path), "%s/node.crt", dir);
	f = fopen(path, "w");
	if (!f || fputs(cert, f) < 0 || fclose(f) || tls_identity_load(dir, &id))
		errx(1, "%s", path);
	free(csr);
	free(cert);
	return id;
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 2;
	char dir[] = "/tmp/cfs-bench-XXXXXX", cmd[64];
	struct tls_identity *id;

	if (!mkdtemp(dir))
		err(1, "mkdtemp");
	id = identity(dir);
	printf("TLS 1.3\n");
	run(id, seconds);
	printf("plain TCP\n");
	run(NULL, seconds);
	tls_identity_free(id);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd) != 0;
}
