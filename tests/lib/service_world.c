/* See service_world.h. */
#include "tests/lib/service_world.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the cluster ---- */

static int open_store(void *ctx, uint32_t fs, struct store **ret_s)
{
	struct node *n = ctx;
	struct meta *meta;
	struct data *data;

	(void)fs;
	if (!n->capacity) {
		cr_assert_eq(store_open_disk(n->dir, &n->store), 0);
	} else {
		cr_assert_eq(meta_mem_open(&meta), 0);
		cr_assert_eq(data_mem_open(n->capacity, &data), 0);
		cr_assert_eq(store_open(meta, data, &n->store), 0);
	}
	*ret_s = n->store;
	return 0;
}

static bool lease_valid(void *ctx, uint32_t fs, uint64_t epoch)
{
	struct node *n = ctx;
	const struct config_fs *f = &n->w->config.fs[0];

	return fs == FS && n->leased && f->server == n->id && f->epoch == epoch;
}

static void report(void *ctx, const struct lease_position *pos)
{
	struct node *n = ctx;

	n->said = *pos;
	/* A copy that is not whole has no position that counts. */
	n->pos = pos->copy == LEASE_COPY_WHOLE ? (struct wire_logpos){ pos->epoch, pos->lsn } : (struct wire_logpos){ 0 };
}

static void change(void *ctx, uint32_t fs, uint64_t expected, uint32_t server, const uint32_t *in_sync, size_t nr_in_sync,
		   void (*done)(void *done_ctx, int status), void *done_ctx)
{
	struct node *n = ctx;
	struct change *c = &n->w->changes[n->w->nr_changes++];

	(void)fs;
	*c = (struct change){ .node = n, .done = done, .ctx = done_ctx, .expected = expected, .server = server, .n = nr_in_sync };
	memcpy(c->in_sync, in_sync, nr_in_sync * sizeof(*in_sync));
}

static void publish(struct world *w)
{
	w->config.version++;
	for (int i = 1; i <= NODES; i++)
		if (w->nodes[i].svc)
			file_service_config(w->nodes[i].svc, &w->config);
}

void set_in_sync(struct world *w, const uint32_t *in_sync, size_t n, uint32_t server)
{
	struct config_fs *f = &w->config.fs[0];

	f->epoch++;
	f->server = server;
	f->nr_in_sync = n;
	memcpy(f->in_sync, in_sync, n * sizeof(*in_sync));
	publish(w);
}

static void run_changes(struct world *w)
{
	while (w->nr_changes && !w->hold_changes) {
		struct change c = w->changes[0];
		bool current = c.expected == w->config.fs[0].epoch;

		memmove(w->changes, w->changes + 1, --w->nr_changes * sizeof(c));
		if (current)
			set_in_sync(w, c.in_sync, c.n, c.server);
		c.done(c.ctx, current ? 0 : -EAGAIN);
	}
}

/* ---- the world ---- */

static void wake(uv_timer_t *t)
{
	(void)t;
}

void turn(struct world *w)
{
	uv_run(&w->loop, UV_RUN_ONCE);
	run_changes(w);
}

void node_up(struct world *w, uint32_t id)
{
	struct node *n = &w->nodes[id];
	struct rpc_self self = { CLUSTER, id, RPC_ROLE_NODE, n->name };
	struct file_service_host host = { open_store, lease_valid, report, change, n };
	struct file_service_conf conf = { .loop = &w->loop, .self = id, .spool_dir = w->dir, .expire_ms = 400,
					  .log_records = 64, .log_bytes = 1 << 20 };

	cr_assert_eq(rpc_new(&w->loop, &self, NULL, &n->rpc), 0);
	cr_assert_eq(rpc_listen(n->rpc, "127.0.0.1", n->port, &n->port), 0);
	conf.rpc = n->rpc;
	cr_assert_eq(file_service_new(&conf, &host, &n->svc), 0);
	n->leased = true;
	w->config.nodes[id - 1].port = n->port;
	publish(w);
}

void node_down(struct world *w, uint32_t id)
{
	struct node *n = &w->nodes[id];
	size_t k = 0;

	n->leased = false;
	file_service_free(n->svc);
	rpc_free(n->rpc);
	n->svc = NULL;
	n->rpc = NULL;
	for (size_t i = 0; i < w->nr_changes; i++)
		if (w->changes[i].node != n)
			w->changes[k++] = w->changes[i];
	w->nr_changes = k;
}

struct world *world_new(size_t nr_members, size_t nr_in_sync)
{
	static const uint32_t ids[] = { 1, 2, 3 };
	struct rpc_self self = { CLUSTER, 9, RPC_ROLE_CLIENT, "client" };
	struct world *w = calloc(1, sizeof(*w));
	struct config_fs *f = &w->config.fs[0];

	strcpy(w->dir, "/tmp/cfs-service.XXXXXX");
	cr_assert(mkdtemp(w->dir));
	uv_loop_init(&w->loop);
	uv_timer_init(&w->loop, &w->timer);
	uv_timer_start(&w->timer, wake, 10, 10);
	cr_assert_eq(rpc_new(&w->loop, &self, NULL, &w->client), 0);
	w->config.nr_fs = 1;
	w->config.nr_nodes = NODES;
	*f = (struct config_fs){ .id = FS, .name = "root", .path = "/", .epoch = 1, .server = 1, .nr_members = nr_members,
				 .nr_in_sync = nr_in_sync };
	memcpy(f->members, ids, sizeof(ids));
	memcpy(f->in_sync, ids, sizeof(ids));
	for (uint32_t id = 1; id <= NODES; id++) {
		struct node *n = &w->nodes[id];
		struct config_node *cn = &w->config.nodes[id - 1];

		n->w = w;
		n->id = id;
		snprintf(n->name, sizeof(n->name), "node%u", id);
		snprintf(n->dir, sizeof(n->dir), "%s/%u", w->dir, id);
		*cn = (struct config_node){ .id = id, .host = "127.0.0.1", .state = NODE_UP };
		strcpy(cn->name, n->name);
	}
	return w;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void free_clients(struct world *w);

void world_free(struct world *w)
{
	for (uint32_t id = 1; id <= NODES; id++)
		if (w->nodes[id].svc)
			node_down(w, id);
	free_clients(w);
	rpc_free(w->client);
	uv_close((uv_handle_t *)&w->timer, NULL);
	uv_run(&w->loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&w->loop), 0, "everything was closed");
	nftw(w->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	free(w);
}

size_t nr_in_sync(const struct world *w)
{
	return w->config.fs[0].nr_in_sync;
}

struct world *world_of(size_t n)
{
	struct world *w = world_new(n, 1);

	for (uint32_t id = 1; id <= n; id++)
		node_up(w, id);
	UNTIL(w, nr_in_sync(w) == n);
	return w;
}

void fail_over(struct world *w)
{
	uint32_t dead = w->config.fs[0].server, left[NODES], best = 0;
	size_t n = 0;

	node_down(w, dead);
	for (size_t i = 0; i < w->config.fs[0].nr_in_sync; i++) {
		uint32_t id = w->config.fs[0].in_sync[i];

		if (id == dead || !w->nodes[id].svc)
			continue;
		left[n++] = id;
		if (!best || w->nodes[id].pos.lsn > w->nodes[best].pos.lsn)
			best = id;
	}
	cr_assert(best, "an in-sync standby is left");
	set_in_sync(w, left, n, best);
}

static void client_up(void *ctx, struct rpc_conn *conn)
{
	struct client *c = ctx;

	(void)conn;
	c->up = true;
}

static void client_down(void *ctx, struct rpc_conn *conn, int err)
{
	struct client *c = ctx;

	(void)conn;
	(void)err;
	c->up = false;
	c->conn = NULL;
}

void call_done(void *ctx, int status, const void *rep)
{
	struct call *call = ctx;

	call->done = true;
	call->status = status;
	if (rep && call->rep)
		memcpy(call->rep, rep, call->size);
}

int call(struct client *c, enum msg_type type, const void *req, void *rep, size_t size)
{
	struct call call = { .rep = rep, .size = size };
	int r = c->conn ? rpc_call(c->conn, type, req, 8000, call_done, &call) : -ENOTCONN;

	if (r < 0)
		return r;
	UNTIL(c->w, call.done);
	return call.status;
}

void client_connect(struct client *c)
{
	static const struct rpc_conn_events events = { client_up, client_down };
	struct node *n = &c->w->nodes[c->w->config.fs[0].server];

	rpc_conn_close(c->conn);
	c->conn = NULL;
	c->up = false;
	cr_assert_eq(rpc_connect(c->w->client, "127.0.0.1", n->port, 1000, &events, c, &c->conn), 0);
	UNTIL(c->w, c->up || !c->conn);
}

void client_open(struct client *c, const uint64_t *opens, size_t n)
{
	uint8_t packed[64];
	struct msg_session_open_rep rep;
	uint64_t end = uv_now(&c->w->loop) + 10000;
	int r = -EREMCHG;

	for (size_t i = 0; i < n; i++)
		put_le64(packed + 8 * i, opens[i]);
	while (r < 0 && uv_now(&c->w->loop) < end) {
		struct msg_session_open_req req = { .fs = FS,
						    .session = c->session,
						    .client = "test",
						    .opens = { packed, (uint32_t)(8 * n) } };

		client_connect(c);
		req.epoch = c->w->config.fs[0].epoch;
		r = call(c, MSG_session_open, &req, &rep, sizeof(rep));
		if (r < 0)
			turn(c->w);
	}
	cr_assert_eq(r, 0);
	cr_assert_eq(rep.slots, 64);
	c->epoch = rep.epoch;
	c->loss = rep.loss;
}

struct wire_ophdr hdr(struct client *c, uint32_t slot, uint64_t seq)
{
	return (struct wire_ophdr){ FS, c->epoch, c->session, slot, seq };
}

struct client *client_new(struct world *w, uint64_t session)
{
	struct client *c = calloc(1, sizeof(*c));

	c->w = w;
	c->session = session;
	w->clients[w->nr_clients++] = c;
	client_open(c, NULL, 0);
	return c;
}

static void free_clients(struct world *w)
{
	for (size_t i = 0; i < w->nr_clients; i++) {
		if (w->clients[i]->ignored)
			rpc_reply(w->clients[i]->ignored, 0, NULL);
		rpc_conn_close(w->clients[i]->conn);
		free(w->clients[i]);
	}
}

int create_at(struct client *c, uint64_t seq, const char *name, uint64_t *ret_ino)
{
	struct msg_create_req req = {
		.h = hdr(c, 0, seq), .parent = 1, .entry = name, .mode = 0100644, .flags = CREATE_EXCL
	};
	struct msg_create_rep rep;
	int r = call(c, MSG_create, &req, &rep, sizeof(rep));

	if (!r && ret_ino)
		*ret_ino = rep.attr.ino;
	return r;
}

int append_at(struct client *c, uint64_t seq, uint64_t ino, const char *text, uint64_t *ret_off)
{
	struct msg_write_req req = { .h = hdr(c, 0, seq),
				     .ino = ino,
				     .flags = WRITE_APPEND,
				     .data = { text, (uint32_t)strlen(text) } };
	struct msg_write_rep rep;
	int r = call(c, MSG_write, &req, &rep, sizeof(rep));

	if (!r && ret_off)
		*ret_off = rep.off;
	return r;
}

uint64_t next(struct client *c)
{
	return ++c->seq[0];
}

int lookup(struct client *c, const char *name, struct msg_lookup_rep *ret_rep)
{
	struct msg_lookup_req req = { .h = hdr(c, 0, 0), .parent = 1, .entry = name };

	return call(c, MSG_lookup, &req, ret_rep, sizeof(*ret_rep));
}

static struct read_call {
	struct call call;
	char text[65536];
	size_t len;
} reading;

static void read_done(void *ctx, int status, const void *rep_)
{
	struct read_call *rd = ctx;
	const struct msg_read_rep *rep = rep_;

	rd->call.done = true;
	rd->call.status = status;
	rd->len = 0;
	if (!status) {
		cr_assert_lt(rep->data.len, sizeof(rd->text));
		memcpy(rd->text, rep->data.p, rep->data.len);
		rd->len = rep->data.len;
	}
}

const char *content(struct client *c, uint64_t ino)
{
	struct msg_read_req req = { .h = hdr(c, 0, 0), .ino = ino, .len = 60000 };

	memset(&reading, 0, sizeof(reading));
	cr_assert_eq(rpc_call(c->conn, MSG_read, &req, 8000, read_done, &reading), 0);
	UNTIL(c->w, reading.call.done);
	cr_assert_eq(reading.call.status, 0);
	return reading.text;
}

int unlink_name(struct client *c, const char *name)
{
	struct msg_unlink_req req = { .h = hdr(c, 0, next(c)), .parent = 1, .entry = name };

	return call(c, MSG_unlink, &req, NULL, 0);
}

int release(struct client *c, uint64_t ino)
{
	struct msg_release_req req = { .h = hdr(c, 0, 0), .ino = ino };

	return call(c, MSG_release, &req, NULL, 0);
}

int fsync_ino(struct client *c, uint64_t ino)
{
	struct msg_fsync_req req = { .h = hdr(c, 0, 0), .ino = ino };

	return call(c, MSG_fsync, &req, NULL, 0);
}

int getattr(struct client *c, uint64_t ino, struct msg_getattr_rep *ret_rep)
{
	struct msg_getattr_req req = { .h = hdr(c, 0, 0), .ino = ino };

	return call(c, MSG_getattr, &req, ret_rep, sizeof(*ret_rep));
}

void stat_fs(struct client *c, struct msg_fs_stat_rep *ret_rep)
{
	struct msg_fs_stat_req req = { .fs = FS };

	cr_assert_eq(call(c, MSG_fs_stat, &req, ret_rep, sizeof(*ret_rep)), 0);
}
