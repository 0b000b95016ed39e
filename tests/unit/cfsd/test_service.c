/*
 * Three file services in one process, over loopback and on disk stores, with a cluster that the test plays: it holds the
 * configuration, gives leases, and decides who is promoted.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cfsd/service.h"
#include "common/bytes.h"
#include "wire/fileop.h"

enum { NODES = 3, FS = 1, CLUSTER = 42 };

struct world;

struct node {
	struct world *w;
	uint32_t id;
	char dir[64], name[8];
	struct rpc *rpc;
	struct file_service *svc;
	uint16_t port;
	bool leased;
	uint64_t capacity; /* 0: the store is on disk */
	struct store *store; /* as last opened; the service's */
	struct data_ops bad_disk;
	struct wire_logpos pos;
};

struct change {
	struct node *node;
	void (*done)(void *ctx, int status);
	void *ctx;
	uint64_t expected;
	uint32_t server, in_sync[CONFIG_MEMBERS_MAX];
	size_t n;
};

struct world {
	uv_loop_t loop;
	uv_timer_t timer;
	struct config config;
	struct node nodes[NODES + 1]; /* by id */
	struct change changes[16];
	size_t nr_changes;
	struct rpc *client;
	struct client *clients[4];
	size_t nr_clients;
	char dir[32];
	bool hold_changes;
};

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

static void report(void *ctx, uint32_t fs, struct wire_logpos pos)
{
	struct node *n = ctx;

	(void)fs;
	n->pos = pos;
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

static void set_in_sync(struct world *w, const uint32_t *in_sync, size_t n, uint32_t server)
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

static void turn(struct world *w)
{
	uv_run(&w->loop, UV_RUN_ONCE);
	run_changes(w);
}

#define UNTIL(w, what)                                                       \
	do {                                                                 \
		uint64_t end_ = uv_now(&(w)->loop) + 10000;                  \
		while (!(what) && uv_now(&(w)->loop) < end_)                 \
			turn(w);                                             \
		cr_assert(what, "waited for: %s", #what);                    \
	} while (0)

static void node_up(struct world *w, uint32_t id)
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

/* As far as the others can tell, it is dead at once. */
static void node_down(struct world *w, uint32_t id)
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

static struct world *world_new(size_t nr_members, size_t nr_in_sync)
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

static void world_free(struct world *w)
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

static size_t nr_in_sync(const struct world *w)
{
	return w->config.fs[0].nr_in_sync;
}

/* Node 1 serves, the others have come into sync. */
static struct world *world_of(size_t n)
{
	struct world *w = world_new(n, 1);

	for (uint32_t id = 1; id <= n; id++)
		node_up(w, id);
	UNTIL(w, nr_in_sync(w) == n);
	return w;
}

/* The server dies: the standby with the longest log takes over. */
static void fail_over(struct world *w)
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

/* ---- a client ---- */

struct client {
	struct world *w;
	struct rpc_conn *conn;
	bool up;
	uint64_t session, epoch;
	uint64_t seq[64];
	int revokes;
	bool ignore_revokes;
	struct rpc_req *ignored;
};

struct call {
	bool done;
	int status;
	size_t size;
	void *rep;
};

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

static void call_done(void *ctx, int status, const void *rep)
{
	struct call *call = ctx;

	call->done = true;
	call->status = status;
	if (rep && call->rep)
		memcpy(call->rep, rep, call->size);
}

static int call(struct client *c, enum msg_type type, const void *req, void *rep, size_t size)
{
	struct call call = { .rep = rep, .size = size };
	int r = c->conn ? rpc_call(c->conn, type, req, 8000, call_done, &call) : -ENOTCONN;

	if (r < 0)
		return r;
	UNTIL(c->w, call.done);
	return call.status;
}

static void client_connect(struct client *c)
{
	static const struct rpc_conn_events events = { client_up, client_down };
	struct node *n = &c->w->nodes[c->w->config.fs[0].server];

	rpc_conn_close(c->conn);
	c->conn = NULL;
	c->up = false;
	cr_assert_eq(rpc_connect(c->w->client, "127.0.0.1", n->port, 1000, &events, c, &c->conn), 0);
	UNTIL(c->w, c->up || !c->conn);
}

/* To the server of the moment, until it lets us in. */
static void client_open(struct client *c, const uint64_t *opens, size_t n)
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
}

static struct wire_ophdr hdr(struct client *c, uint32_t slot, uint64_t seq)
{
	return (struct wire_ophdr){ FS, c->epoch, c->session, slot, seq };
}

static struct client *client_new(struct world *w, uint64_t session)
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

static int create_at(struct client *c, uint64_t seq, const char *name, uint64_t *ret_ino)
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

static int append_at(struct client *c, uint64_t seq, uint64_t ino, const char *text, uint64_t *ret_off)
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

static uint64_t next(struct client *c)
{
	return ++c->seq[0];
}

static int lookup(struct client *c, const char *name, struct msg_lookup_rep *ret_rep)
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

static const char *content(struct client *c, uint64_t ino)
{
	struct msg_read_req req = { .h = hdr(c, 0, 0), .ino = ino, .len = 60000 };

	memset(&reading, 0, sizeof(reading));
	cr_assert_eq(rpc_call(c->conn, MSG_read, &req, 8000, read_done, &reading), 0);
	UNTIL(c->w, reading.call.done);
	cr_assert_eq(reading.call.status, 0);
	return reading.text;
}

static int unlink_name(struct client *c, const char *name)
{
	struct msg_unlink_req req = { .h = hdr(c, 0, next(c)), .parent = 1, .entry = name };

	return call(c, MSG_unlink, &req, NULL, 0);
}

static int release(struct client *c, uint64_t ino)
{
	struct msg_release_req req = { .h = hdr(c, 0, 0), .ino = ino };

	return call(c, MSG_release, &req, NULL, 0);
}

static int fsync_ino(struct client *c, uint64_t ino)
{
	struct msg_fsync_req req = { .h = hdr(c, 0, 0), .ino = ino };

	return call(c, MSG_fsync, &req, NULL, 0);
}

static int getattr(struct client *c, uint64_t ino, struct msg_getattr_rep *ret_rep)
{
	struct msg_getattr_req req = { .h = hdr(c, 0, 0), .ino = ino };

	return call(c, MSG_getattr, &req, ret_rep, sizeof(*ret_rep));
}

static void stat_fs(struct client *c, struct msg_fs_stat_rep *ret_rep)
{
	struct msg_fs_stat_req req = { .fs = FS };

	cr_assert_eq(call(c, MSG_fs_stat, &req, ret_rep, sizeof(*ret_rep)), 0);
}

/* ---- tests ---- */

Test(service, one_node_serves)
{
	struct world *w = world_of(1);
	struct client *c = client_new(w, 100);
	struct msg_fs_stat_rep st;
	struct msg_lookup_rep l;
	uint64_t ino, off;

	cr_assert_eq(create_at(c, next(c), "a", &ino), 0);
	cr_assert_eq(append_at(c, next(c), ino, "hello ", &off), 0);
	cr_assert_eq(off, 0);
	cr_assert_eq(append_at(c, next(c), ino, "world", &off), 0);
	cr_assert_eq(off, 6);
	cr_assert_str_eq(content(c, ino), "hello world");
	cr_assert_eq(fsync_ino(c, ino), 0);
	cr_assert_eq(lookup(c, "a", &l), 0);
	cr_assert_eq(l.attr.size, 11);
	cr_assert(l.tokens & TOKEN_ATTR);
	cr_assert(l.dir_tokens & TOKEN_NAMES);
	cr_assert_eq(create_at(c, next(c), "a", NULL), -EEXIST);
	stat_fs(c, &st);
	cr_assert_eq(st.sessions, 1);
	cr_assert_eq(st.committed, st.pos.lsn);
	cr_assert_eq(st.held, 0);
	world_free(w);
}

Test(service, resent_change_happens_once)
{
	struct world *w = world_of(1);
	struct client *c = client_new(w, 100);
	uint64_t ino, again, seq, off;

	seq = next(c);
	cr_assert_eq(create_at(c, seq, "a", &ino), 0);
	cr_assert_eq(create_at(c, seq, "a", &again), 0, "exclusive, and yet the same answer");
	cr_assert_eq(ino, again);
	seq = next(c);
	cr_assert_eq(append_at(c, seq, ino, "x", &off), 0);
	cr_assert_eq(append_at(c, seq, ino, "x", &off), 0);
	cr_assert_eq(off, 0);
	cr_assert_str_eq(content(c, ino), "x");
	cr_assert_eq(append_at(c, seq - 1, ino, "x", &off), -EINVAL);
	world_free(w);
}

Test(service, requests_without_a_session_or_server_are_sent_elsewhere)
{
	struct world *w = world_of(2);
	struct client *c = client_new(w, 100);
	struct msg_lookup_rep l;

	c->session = 101;
	cr_assert_eq(lookup(c, "a", &l), -EREMCHG, "no such session");
	c->session = 100;
	cr_assert_eq(lookup(c, "a", &l), 0);
	c->epoch += 5;
	cr_assert_eq(lookup(c, "a", &l), -EREMCHG, "an epoch to come");
	c->epoch -= 5;
	w->nodes[1].leased = false;
	cr_assert_eq(lookup(c, "a", &l), -EREMCHG, "no lease");
	w->nodes[1].leased = true;
	cr_assert_eq(lookup(c, "a", &l), 0, "the session is still there");
	world_free(w);
}

Test(service, failover_keeps_everything_and_repeats_nothing)
{
	struct world *w = world_of(3);
	struct client *c = client_new(w, 100);
	struct msg_fs_stat_rep st;
	uint64_t ino, off, again, seq;

	cr_assert_eq(create_at(c, next(c), "a", &ino), 0);
	cr_assert_eq(append_at(c, next(c), ino, "one ", NULL), 0);
	seq = next(c);
	cr_assert_eq(append_at(c, seq, ino, "two ", &off), 0);
	fail_over(w);
	cr_assert_neq(w->config.fs[0].server, 1);
	client_open(c, &ino, 1);
	cr_assert_eq(append_at(c, seq, ino, "two ", &again), 0, "the client has not heard: it asks again");
	cr_assert_eq(again, off);
	cr_assert_str_eq(content(c, ino), "one two ");
	cr_assert_eq(append_at(c, next(c), ino, "three", &off), 0);
	cr_assert_str_eq(content(c, ino), "one two three");
	/* And once more, down to the last. */
	fail_over(w);
	client_open(c, &ino, 1);
	cr_assert_str_eq(content(c, ino), "one two three");
	cr_assert_eq(append_at(c, next(c), ino, "!", &off), 0);
	stat_fs(c, &st);
	cr_assert_eq(st.committed, st.pos.lsn);
	world_free(w);
}

Test(service, standby_that_dies_is_dropped_and_comes_back)
{
	struct world *w = world_of(3);
	struct client *c = client_new(w, 100);
	uint64_t ino;

	cr_assert_eq(create_at(c, next(c), "a", &ino), 0);
	node_down(w, 3);
	cr_assert_eq(append_at(c, next(c), ino, "while away", NULL), 0, "answered once it is dropped");
	cr_assert_eq(nr_in_sync(w), 2);
	cr_assert_eq(fsync_ino(c, ino), 0);
	node_up(w, 3);
	UNTIL(w, nr_in_sync(w) == 3);
	UNTIL(w, w->nodes[3].pos.lsn == w->nodes[1].pos.lsn);
	/* It has really everything. */
	fail_over(w);
	node_down(w, w->config.fs[0].server == 2 ? 2 : 3);
	fail_over(w);
	client_open(c, NULL, 0);
	cr_assert_str_eq(content(c, ino), "while away");
	world_free(w);
}

static int fail_sync(struct data *d, uint64_t ino)
{
	(void)d;
	(void)ino;
	return -EIO;
}

Test(service, standby_that_cannot_sync_is_no_copy_any_more)
{
	struct world *w = world_of(2);
	struct client *c = client_new(w, 100);
	struct node *n = &w->nodes[2];
	struct data *d;
	uint64_t ino;

	cr_assert_eq(create_at(c, next(c), "a", &ino), 0);
	cr_assert_eq(append_at(c, next(c), ino, "text", NULL), 0);
	d = store_data(n->store);
	n->bad_disk = *d->ops;
	n->bad_disk.sync = fail_sync;
	d->ops = &n->bad_disk;
	cr_assert_eq(fsync_ino(c, ino), 0);
	cr_assert_eq(nr_in_sync(w), 1);
	for (int i = 0; i < 50; i++)
		turn(w);
	cr_assert_eq(nr_in_sync(w), 1, "a second sync would not find what the first one lost");
	cr_assert_eq(n->pos.lsn, 0);
	world_free(w);
}

Test(service, nothing_is_answered_before_the_configuration_changed)
{
	struct world *w = world_of(2);
	struct client *c = client_new(w, 100);
	struct msg_create_req req = { .h = hdr(c, 0, 1), .parent = 1, .entry = "a", .mode = 0100644 };
	struct msg_lookup_req look = { .h = hdr(c, 0, 0), .parent = 1, .entry = "a" };
	struct call change = { 0 }, read = { 0 };
	uint64_t until;

	w->hold_changes = true;
	node_down(w, 2);
	cr_assert_eq(rpc_call(c->conn, MSG_create, &req, 8000, call_done, &change), 0);
	cr_assert_eq(rpc_call(c->conn, MSG_lookup, &look, 8000, call_done, &read), 0);
	until = uv_now(&w->loop) + 700;
	while (uv_now(&w->loop) < until)
		turn(w);
	cr_assert_not(change.done, "the dead member is still recorded in sync");
	cr_assert_not(read.done, "nor may anybody see it");
	w->hold_changes = false;
	UNTIL(w, change.done && read.done);
	cr_assert_eq(change.status, 0);
	cr_assert_eq(read.status, 0);
	world_free(w);
}

Test(service, what_is_not_committed_is_not_copied)
{
	struct world *w = world_new(3, 1);
	struct call change = { 0 };
	struct msg_create_req req = { .parent = 1, .entry = "a", .mode = 0100644 };
	struct client *c;

	node_up(w, 1);
	node_up(w, 2);
	UNTIL(w, nr_in_sync(w) == 2);
	c = client_new(w, 100);
	w->hold_changes = true;
	node_down(w, 2);
	req.h = hdr(c, 0, 1);
	cr_assert_eq(rpc_call(c->conn, MSG_create, &req, 8000, call_done, &change), 0);
	node_up(w, 3);
	for (int i = 0; i < 50; i++)
		turn(w);
	cr_assert_not(change.done);
	cr_assert_eq(w->nodes[3].pos.lsn, 0, "waits for the change it would see");
	w->hold_changes = false;
	UNTIL(w, change.done && nr_in_sync(w) == 2);
	UNTIL(w, w->nodes[3].pos.lsn == w->nodes[1].pos.lsn);
	world_free(w);
}

Test(service, copy_under_load)
{
	struct world *w = world_of(1);
	struct client *c = client_new(w, 100);
	uint64_t ino[200], off;
	char name[16], big[20001];
	struct msg_lookup_rep l;

	memset(big, 'b', 20000);
	big[20000] = 0;
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		cr_assert_eq(create_at(c, next(c), name, &ino[i]), 0);
		cr_assert_eq(append_at(c, next(c), ino[i], i % 10 ? name : big, NULL), 0);
	}
	w->config.fs[0].nr_members = 2;
	node_up(w, 2);
	/* Overwritten, removed and made while the copy is under way. */
	for (int i = 0; i < 200; i += 2) {
		snprintf(name, sizeof(name), "f%d", i);
		if (i % 4)
			cr_assert_eq(unlink_name(c, name), 0);
		else
			cr_assert_eq(append_at(c, next(c), ino[i], "+", &off), 0);
		cr_assert_eq(release(c, ino[i]), 0);
	}
	UNTIL(w, nr_in_sync(w) == 2);
	cr_assert_eq(append_at(c, next(c), ino[1], "+", NULL), 0);
	fail_over(w);
	client_open(c, NULL, 0);
	for (int i = 0; i < 200; i++) {
		char want[20010];

		snprintf(name, sizeof(name), "f%d", i);
		cr_assert_eq(lookup(c, name, &l), 0);
		if (i % 4 == 2) {
			cr_assert_eq(l.attr.ino, 0, "%s was removed", name);
			continue;
		}
		cr_assert_eq(l.attr.ino, ino[i]);
		snprintf(want, sizeof(want), "%s%s", i % 10 ? name : big, i % 4 == 0 || i == 1 ? "+" : "");
		cr_assert_str_eq(content(c, ino[i]), want, "%s", name);
	}
	world_free(w);
}

Test(service, member_away_for_long_copies_what_changed)
{
	struct world *w = world_of(2);
	struct client *c = client_new(w, 100);
	static char big[20001]; /* in a backing file */
	struct msg_setattr_req empty = { .valid = SETATTR_SIZE };
	struct msg_lookup_rep l;
	uint64_t ino, kept, large[2];
	char name[16];

	memset(big, 'b', sizeof(big) - 1);
	for (int i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), "large%d", i);
		cr_assert_eq(create_at(c, next(c), name, &large[i]), 0);
		cr_assert_eq(append_at(c, next(c), large[i], big, NULL), 0);
	}
	cr_assert_eq(create_at(c, next(c), "kept", &kept), 0);
	cr_assert_eq(append_at(c, next(c), kept, "kept", NULL), 0);
	cr_assert_eq(create_at(c, next(c), "stale", &ino), 0);
	cr_assert_eq(release(c, ino), 0);
	node_down(w, 2);
	UNTIL(w, nr_in_sync(w) == 1);
	cr_assert_eq(unlink_name(c, "stale"), 0);
	/* One goes back inline, one moves out. */
	empty.h = hdr(c, 0, next(c));
	empty.ino = large[0];
	cr_assert_eq(call(c, MSG_setattr, &empty, &(struct msg_setattr_rep){ 0 }, sizeof(struct msg_setattr_rep)), 0);
	cr_assert_eq(append_at(c, next(c), kept, big, NULL), 0);
	/* More than the 64 records that are kept. */
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		cr_assert_eq(create_at(c, next(c), name, &ino), 0);
	}
	node_up(w, 2);
	UNTIL(w, nr_in_sync(w) == 2);
	fail_over(w);
	client_open(c, NULL, 0);
	cr_assert_eq(lookup(c, "stale", &l), 0);
	cr_assert_eq(l.attr.ino, 0);
	cr_assert_eq(lookup(c, "n99", &l), 0);
	cr_assert_eq(l.attr.ino, ino);
	cr_assert_str_eq(content(c, large[0]), "");
	cr_assert_str_eq(content(c, large[1]), big);
	cr_assert(!strncmp(content(c, kept), "kept", 4) && !strcmp(reading.text + 4, big));
	world_free(w);
}

Test(service, interrupted_copy_is_never_promoted)
{
	struct world *w = world_of(1);
	struct client *c = client_new(w, 100);
	static const uint32_t two[] = { 2 };
	char name[16];
	uint64_t until;

	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		cr_assert_eq(create_at(c, next(c), name, NULL), 0);
	}
	w->hold_changes = true;
	w->config.fs[0].nr_members = 2;
	node_up(w, 2);
	for (int i = 0; i < 6; i++)
		turn(w);
	node_down(w, 1);
	if (w->nodes[2].pos.lsn)
		cr_skip_test("the copy was too fast to be interrupted");
	set_in_sync(w, two, 1, 2);
	until = uv_now(&w->loop) + 200;
	while (uv_now(&w->loop) < until)
		turn(w);
	cr_assert_eq(w->nodes[2].pos.lsn, 0, "it reports nothing that could be promoted");
	client_connect(c);
	cr_assert_eq(lookup(c, "f0", &(struct msg_lookup_rep){ 0 }), -EREMCHG, "and serves nothing");
	world_free(w);
}

Test(service, unlinked_file_lives_while_open_also_after_failover)
{
	struct world *w = world_of(2);
	struct client *c = client_new(w, 100), *d = client_new(w, 101);
	struct msg_getattr_rep a;
	uint64_t ino, off;

	cr_assert_eq(create_at(c, next(c), "a", &ino), 0);
	cr_assert_eq(append_at(c, next(c), ino, "still here", NULL), 0);
	cr_assert_eq(unlink_name(d, "a"), 0);
	cr_assert_str_eq(content(c, ino), "still here");
	fail_over(w);
	client_open(d, NULL, 0);
	cr_assert_eq(getattr(d, ino, &a), 0, "the other may still hold it");
	client_open(c, &ino, 1);
	cr_assert_eq(append_at(c, next(c), ino, "!", &off), 0);
	cr_assert_str_eq(content(c, ino), "still here!");
	cr_assert_eq(release(c, ino), 0);
	cr_assert_eq(getattr(c, ino, &a), -ESTALE, "nobody holds it");
	world_free(w);
}

Test(service, orphan_of_a_client_that_never_came_back_goes)
{
	struct world *w = world_of(2);
	struct client *c = client_new(w, 100), *d = client_new(w, 101);
	struct msg_getattr_rep a;
	uint64_t ino;

	cr_assert_eq(create_at(c, next(c), "a", &ino), 0);
	cr_assert_eq(unlink_name(d, "a"), 0);
	rpc_conn_close(c->conn);
	c->conn = NULL;
	fail_over(w);
	client_open(d, NULL, 0);
	UNTIL(w, getattr(d, ino, &a) == -ESTALE);
	world_free(w);
}

Test(service, full_standby_is_no_space_and_nothing_else)
{
	struct world *w = world_new(2, 1);
	static char block[65536];
	struct client *c;
	uint64_t ino, off;
	int n = 0, r;

	w->nodes[2].capacity = 4 << 20;
	node_up(w, 1);
	node_up(w, 2);
	UNTIL(w, nr_in_sync(w) == 2);
	c = client_new(w, 100);
	memset(block, 'b', sizeof(block) - 1);
	cr_assert_eq(create_at(c, next(c), "big", &ino), 0);
	while ((r = append_at(c, next(c), ino, block, &off)) == 0 && n < 100)
		n++;
	cr_assert_eq(r, -ENOSPC);
	cr_assert_gt(n, 20, "most of it can be used");
	cr_assert_eq(nr_in_sync(w), 2, "nobody is to blame");
	cr_assert_eq(fsync_ino(c, ino), 0);
	cr_assert_eq(unlink_name(c, "big"), 0, "what frees space goes");
	cr_assert_eq(release(c, ino), 0);
	for (n = 0; n < 1000 && (r = create_at(c, next(c), "another", &ino)) == -ENOSPC; n++)
		turn(w);
	cr_assert_eq(r, 0);
	cr_assert_eq(append_at(c, next(c), ino, "fits", NULL), 0);
	cr_assert_eq(nr_in_sync(w), 2);
	world_free(w);
}

Test(service, server_whose_copy_is_gone_serves_nothing)
{
	struct world *w = world_new(1, 1);
	struct client c = { .w = w, .session = 100 };
	uint64_t until;

	/* The first epoch makes a filesystem, a later one has one. */
	w->config.fs[0].epoch = 7;
	node_up(w, 1);
	until = uv_now(&w->loop) + 100;
	while (uv_now(&w->loop) < until)
		turn(w);
	cr_assert_eq(w->nodes[1].pos.lsn, 0);
	client_connect(&c);
	cr_assert_eq(lookup(&c, "a", &(struct msg_lookup_rep){ 0 }), -EREMCHG);
	rpc_conn_close(c.conn);
	world_free(w);
}

/* ---- tokens ---- */

static struct client *the_clients[2];

static void on_revoke(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_revoke_req *m = msg;

	(void)ctx;
	(void)m;
	for (int i = 0; i < 2; i++) {
		struct client *c = the_clients[i];

		if (!c || c->conn != conn)
			continue;
		c->revokes++;
		if (c->ignore_revokes)
			c->ignored = rq;
		else
			rpc_reply(rq, 0, NULL);
	}
}

static void two_clients(struct world *w)
{
	the_clients[0] = client_new(w, 100);
	the_clients[1] = client_new(w, 101);
	rpc_handle(w->client, MSG_revoke, on_revoke, NULL);
}

Test(service, change_revokes_the_tokens_of_others)
{
	struct world *w = world_of(2);
	struct client *c, *d;
	struct msg_lookup_rep l;
	uint64_t ino;

	two_clients(w);
	c = the_clients[0];
	d = the_clients[1];
	cr_assert_eq(create_at(c, next(c), "a", &ino), 0);
	cr_assert_eq(lookup(d, "a", &l), 0);
	cr_assert(l.tokens & TOKEN_ATTR);
	cr_assert_eq(append_at(c, next(c), ino, "x", NULL), 0);
	cr_assert_eq(d->revokes, 1, "its attributes changed");
	cr_assert_eq(c->revokes, 0);
	cr_assert_eq(append_at(c, next(c), ino, "x", NULL), 0);
	cr_assert_eq(d->revokes, 1, "it has none any more");
	cr_assert_eq(lookup(d, "a", &l), 0);
	cr_assert_eq(l.attr.size, 2);
	world_free(w);
}

Test(service, client_that_does_not_give_back_is_fenced)
{
	struct world *w = world_of(1);
	struct client *c, *d;
	struct msg_lookup_rep l;
	uint64_t ino, before;

	two_clients(w);
	c = the_clients[0];
	d = the_clients[1];
	d->ignore_revokes = true;
	cr_assert_eq(create_at(c, next(c), "a", &ino), 0);
	cr_assert_eq(lookup(d, "a", &l), 0);
	before = uv_now(&w->loop);
	cr_assert_eq(append_at(c, next(c), ino, "x", NULL), 0);
	cr_assert_geq(uv_now(&w->loop), before + 1400, "not before it distrusts its cache");
	cr_assert_eq(lookup(d, "a", &l), -EREMCHG, "it has to come anew");
	world_free(w);
}
