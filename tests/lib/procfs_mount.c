/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * /cluster/proc alone, in one process: N process services that all read this machine's /proc, under node ids 1..N, and
 * the tree over them at DIR/proc. For tests of the tree with stock programs, without a cluster.
 *
 *   procfs_mount N DIR STATE_DIR
 *
 * Node 1 is the reader's. Node N + 1 is in the configuration, up, and never answers. A stand-in for cfs-migrated takes a
 * tenth of a second for every goto and refuses those to node3. Ends when DIR is unmounted.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuse/subtree.h"
#include "procfs-cluster/client.h"
#include "procfs-cluster/service.h"
#include "wire/errors.h"

enum { NODES_MAX = 16 };

struct node {
	struct rpc_self self;
	struct rpc *rpc;
	struct proc_service *service;
	struct rpc_conn *conn; /* of the client */
	struct waiter *waiters;
	uint16_t port;
	char name[16];
};

struct waiter {
	struct waiter *next;
	subtree_conn_done done;
	void *ctx;
};

struct world {
	uv_loop_t loop;
	unsigned nr;
	struct node nodes[NODES_MAX + 2];
	struct rpc *client;
	struct rpc_self client_self;
	struct config config;
	struct subtree_host host;
	struct subtree subtree;
	struct procfs *fs;
	struct fuse_session *session;
	uv_poll_t poll;
};

/* ---- cfs-migrated's stand-in ---- */

struct move {
	uv_timer_t timer;
	struct rpc_req *rq;
	struct msg_goto_rep rep;
};

static void move_closed(uv_handle_t *h)
{
	free(h->data);
}

static void move_done(uv_timer_t *t)
{
	struct move *m = t->data;

	rpc_reply(m->rq, 0, &m->rep);
	uv_close((uv_handle_t *)t, move_closed);
}

static void handle_goto(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_goto_req *req = msg;
	struct move *m = calloc(1, sizeof(*m));
	struct world *w = ctx;

	(void)conn;
	m->rq = rq;
	if (!strcmp(req->node, "node3"))
		m->rep = (struct msg_goto_rep){ wire_status_from_errno(-EOPNOTSUPP), "device fd 3" };
	uv_timer_init(&w->loop, &m->timer);
	m->timer.data = m;
	uv_timer_start(&m->timer, move_done, 100, 0);
}

static void handle_cantmove(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	static const char reasons[] = "device fd 3 /dev/kvm\n";
	struct msg_cantmove_rep rep = { .reasons = { reasons, sizeof(reasons) - 1 } };

	(void)ctx;
	(void)conn;
	(void)msg;
	rpc_reply(rq, 0, &rep);
}

/* ---- connections of the client ---- */

static void tell_waiters(struct node *n, int status)
{
	struct waiter *list = n->waiters, *next;

	n->waiters = NULL;
	for (; list; list = next) {
		next = list->next;
		list->done(list->ctx, status, status ? NULL : n->conn);
		free(list);
	}
}

static void on_up(void *ctx, struct rpc_conn *conn)
{
	(void)conn;
	tell_waiters(ctx, 0);
}

static void on_down(void *ctx, struct rpc_conn *conn, int status)
{
	struct node *n = ctx;

	(void)conn;
	n->conn = NULL;
	tell_waiters(n, status);
}

static void node_conn(void *ctx, uint32_t id, subtree_conn_done done, void *done_ctx)
{
	static const struct rpc_conn_events events = { on_up, on_down };
	struct world *w = ctx;
	struct node *n = &w->nodes[id <= w->nr + 1 ? id : 0];
	struct waiter *waiter;
	int r = 0;

	if (!n->port) {
		done(done_ctx, -ENXIO, NULL);
		return;
	}
	if (n->conn && rpc_conn_is_up(n->conn)) {
		done(done_ctx, 0, n->conn);
		return;
	}
	waiter = malloc(sizeof(*waiter));
	*waiter = (struct waiter){ n->waiters, done, done_ctx };
	n->waiters = waiter;
	if (!n->conn)
		r = rpc_connect(w->client, "127.0.0.1", n->port, 5000, &events, n, &n->conn);
	if (r < 0)
		tell_waiters(n, r);
}

static const struct config *get_config(void *ctx)
{
	struct world *w = ctx;

	return &w->config;
}

/* ---- the world ---- */

static void start_node(struct world *w, uint32_t id, const char *state_dir)
{
	struct proc_service_conf conf = { .node_id = id, .state_dir = state_dir, .migrated_host = "127.0.0.1" };
	struct node *n = &w->nodes[id];
	int r;

	snprintf(n->name, sizeof(n->name), "node%u", id);
	n->self = (struct rpc_self){ .cluster_id = 1, .node_id = id, .role = RPC_ROLE_NODE, .node_name = n->name };
	r = rpc_new(&w->loop, &n->self, NULL, &n->rpc);
	if (!r)
		r = rpc_listen(n->rpc, "127.0.0.1", 0, &n->port);
	if (r < 0)
		errx(1, "node %u: %s", id, strerror(-r));
	rpc_handle(n->rpc, MSG_goto, handle_goto, w);
	rpc_handle(n->rpc, MSG_cantmove, handle_cantmove, w);
	conf.migrated_port = n->port;
	r = proc_service_new(&w->loop, n->rpc, &conf, &n->service);
	if (r < 0)
		errx(1, "node %u: %s", id, strerror(-r));
}

/* A port where connections are taken by the kernel and nobody ever says a word. */
static uint16_t silent_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(fd, (struct sockaddr *)&a, len) < 0 || listen(fd, 64) < 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		err(1, "a port");
	return ntohs(a.sin_port);
}

static void make_config(struct world *w)
{
	struct config *c = &w->config;

	snprintf(c->name, sizeof(c->name), "test");
	c->nr_nodes = w->nr + 1;
	for (uint32_t i = 0; i < c->nr_nodes; i++) {
		c->nodes[i] = (struct config_node){ .id = i + 1, .state = NODE_UP, .host = "127.0.0.1" };
		snprintf(c->nodes[i].name, sizeof(c->nodes[i].name), "node%u", i + 1);
	}
}

/* ---- FUSE ---- */

static struct world *world_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static void ll_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct world *w = world_of(req);

	if (parent != FUSE_ROOT_ID || !strcmp(name, "proc"))
		w->subtree.ops->lookup(w->subtree.ctx, req, parent, name);
	else
		fuse_reply_err(req, ENOENT);
}

static void ll_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st = { .st_ino = FUSE_ROOT_ID, .st_mode = S_IFDIR | 0755, .st_nlink = 2 };
	struct world *w = world_of(req);

	if (ino != FUSE_ROOT_ID)
		w->subtree.ops->getattr(w->subtree.ctx, req, ino, fi);
	else
		fuse_reply_attr(req, &st, 1000);
}

#define PASS(op, params, ...)                                                        \
	static void ll_##op params                                                   \
	{                                                                            \
		world_of(req)->subtree.ops->op(world_of(req)->subtree.ctx, __VA_ARGS__); \
	}

PASS(setattr, (fuse_req_t req, fuse_ino_t ino, struct stat *st, int set, struct fuse_file_info *fi), req, ino, st, set, fi)
PASS(readlink, (fuse_req_t req, fuse_ino_t ino), req, ino)
PASS(open, (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi), req, ino, fi)
PASS(read, (fuse_req_t req, fuse_ino_t ino, size_t n, off_t off, struct fuse_file_info *fi), req, ino, n, off, fi)
PASS(write, (fuse_req_t req, fuse_ino_t ino, const char *b, size_t n, off_t off, struct fuse_file_info *fi), req, ino, b, n,
     off, fi)
PASS(release, (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi), req, ino, fi)
PASS(opendir, (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi), req, ino, fi)
PASS(readdir, (fuse_req_t req, fuse_ino_t ino, size_t n, off_t off, struct fuse_file_info *fi), req, ino, n, off, fi)
PASS(readdirplus, (fuse_req_t req, fuse_ino_t ino, size_t n, off_t off, struct fuse_file_info *fi), req, ino, n, off, fi)
PASS(releasedir, (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi), req, ino, fi)
PASS(statfs, (fuse_req_t req, fuse_ino_t ino), req, ino)

static const struct fuse_lowlevel_ops ops = {
	.lookup = ll_lookup,
	.getattr = ll_getattr,
	.setattr = ll_setattr,
	.readlink = ll_readlink,
	.open = ll_open,
	.read = ll_read,
	.write = ll_write,
	.release = ll_release,
	.opendir = ll_opendir,
	.readdir = ll_readdir,
	.readdirplus = ll_readdirplus,
	.releasedir = ll_releasedir,
	.statfs = ll_statfs,
};

static void on_request(uv_poll_t *poll, int status, int events)
{
	struct world *w = poll->data;
	struct fuse_buf buf = { 0 };
	int r;

	(void)status;
	(void)events;
	while ((r = fuse_session_receive_buf(w->session, &buf)) > 0)
		fuse_session_process_buf(w->session, &buf);
	free(buf.mem);
	if (fuse_session_exited(w->session) || (r < 0 && r != -EAGAIN && r != -EINTR))
		uv_stop(&w->loop);
}

static void mount_tree(struct world *w, const char *dir)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);

	if (fuse_opt_add_arg(&args, "procfs_mount") ||
	    fuse_opt_add_arg(&args, "-ofsname=procfs_mount,default_permissions,allow_other"))
		errx(1, "no memory");
	w->session = fuse_session_new(&args, &ops, sizeof(ops), w);
	if (!w->session || fuse_session_mount(w->session, dir) < 0)
		errx(1, "cannot mount %s", dir);
	fuse_opt_free_args(&args);
	fcntl(fuse_session_fd(w->session), F_SETFL, O_NONBLOCK);
	uv_poll_init(&w->loop, &w->poll, fuse_session_fd(w->session));
	w->poll.data = w;
	uv_poll_start(&w->poll, UV_READABLE, on_request);
}

static void stop(struct world *w)
{
	uv_close((uv_handle_t *)&w->poll, NULL);
	fuse_session_unmount(w->session);
	fuse_session_destroy(w->session);
	for (unsigned i = 1; i <= w->nr + 1; i++)
		rpc_conn_close(w->nodes[i].conn);
	procfs_free(w->fs);
	for (unsigned i = 1; i <= w->nr + 1; i++) {
		w->nodes[i].conn = NULL;
		tell_waiters(&w->nodes[i], -ECANCELED);
	}
	for (unsigned i = 1; i <= w->nr; i++) {
		proc_service_free(w->nodes[i].service);
		rpc_free(w->nodes[i].rpc);
	}
	rpc_free(w->client);
	uv_run(&w->loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&w->loop))
		warnx("something is left on the loop");
}

int main(int argc, char **argv)
{
	struct world *w = calloc(1, sizeof(*w));

	if (argc != 4 || atoi(argv[1]) < 1 || atoi(argv[1]) > NODES_MAX)
		errx(2, "usage: procfs_mount N DIR STATE_DIR");
	uv_loop_init(&w->loop);
	w->nr = (unsigned)atoi(argv[1]);
	for (uint32_t i = 1; i <= w->nr; i++)
		start_node(w, i, argv[3]);
	w->nodes[w->nr + 1].port = silent_port();
	make_config(w);
	w->client_self = (struct rpc_self){ .cluster_id = 1, .node_id = 1, .role = RPC_ROLE_CLIENT, .node_name = "node1" };
	if (rpc_new(&w->loop, &w->client_self, NULL, &w->client) < 0)
		errx(1, "no client");
	w->host = (struct subtree_host){ &w->loop, 1, w, get_config, node_conn };
	if (procfs_new(&w->host, &w->fs, &w->subtree) < 0)
		errx(1, "no tree");
	mount_tree(w, argv[2]);
	uv_run(&w->loop, UV_RUN_DEFAULT);
	stop(w);
	free(w);
	return 0;
}
