/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * /cluster/proc alone, in one process: N process services that all read this machine's /proc, under node ids 1..N, and
 * the tree over them at DIR/proc. For tests of the tree with stock programs, without a cluster.
 *
 *   procfs_mount N DIR STATE_DIR
 *
 * Node 1 is the reader's. Node N + 1 is in the configuration, up, and never answers. A stand-in for cfs-migrated takes a
 * tenth of a second for every goto, three seconds to node1, and refuses those to node3. SIGUSR1: says on stderr how many
 * requests for single files there were. Ends when DIR is unmounted.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "procfs-cluster/client.h"
#include "procfs-cluster/service.h"
#include "tests/lib/procfs_world.h"
#include "wire/errors.h"
#include "wire/rpc_internal.h"

struct fixture {
	struct world world;
	struct proc_service *services[WORLD_NODES_MAX + 1];
	struct counted {
		struct fixture *f;
		struct rpc_service next; /* who answers */
	} reads[WORLD_NODES_MAX + 1];
	unsigned nr_reads;
	uv_signal_t ask;
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
	uv_timer_start(&m->timer, move_done, strcmp(req->node, "node1") ? 100 : 3000, 0);
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

/* ---- how many files are read one by one ---- */

static void count_read(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	struct counted *c = ctx;

	c->f->nr_reads++;
	c->next.fn(c->next.ctx, conn, rq, msg);
}

static void count_reads_of(struct fixture *f, uint32_t id)
{
	struct rpc *rpc = f->world.nodes[id].rpc;
	size_t n;

	f->reads[id] = (struct counted){ f, rpc->services[msg_info(MSG_proc_read) - msg_table(&n)] };
	rpc_handle(rpc, MSG_proc_read, count_read, &f->reads[id]);
}

static void say_reads(uv_signal_t *sig, int signum)
{
	struct fixture *f = sig->data;

	(void)signum;
	fprintf(stderr, "reads: %u\n", f->nr_reads);
}

static void start_services(struct fixture *f, unsigned nr, const char *state_dir)
{
	for (uint32_t id = 1; id <= nr; id++) {
		struct world_node *n = &f->world.nodes[id];
		struct proc_service_conf conf = { .node_id = id, .state_dir = state_dir, .migrated_host = "127.0.0.1" };
		int r;

		conf.migrated_port = n->port;
		rpc_handle(n->rpc, MSG_goto, handle_goto, &f->world);
		rpc_handle(n->rpc, MSG_cantmove, handle_cantmove, NULL);
		r = proc_service_new(&f->world.loop, n->rpc, &conf, &f->services[id]);
		if (r < 0)
			errx(1, "%s: %s", n->name, strerror(-r));
		count_reads_of(f, id);
	}
}

/* ---- FUSE ---- */

static struct fixture *fixture_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static void ll_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fixture *f = fixture_of(req);

	if (parent != FUSE_ROOT_ID || !strcmp(name, "proc"))
		f->subtree.ops->lookup(f->subtree.ctx, req, parent, name);
	else
		fuse_reply_err(req, ENOENT);
}

static void ll_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st = { .st_ino = FUSE_ROOT_ID, .st_mode = S_IFDIR | 0755, .st_nlink = 2 };
	struct fixture *f = fixture_of(req);

	if (ino != FUSE_ROOT_ID)
		f->subtree.ops->getattr(f->subtree.ctx, req, ino, fi);
	else
		fuse_reply_attr(req, &st, 1000);
}

#define PASS(op, params, ...)                                                        \
	static void ll_##op params                                                   \
	{                                                                            \
		fixture_of(req)->subtree.ops->op(fixture_of(req)->subtree.ctx, __VA_ARGS__); \
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
	struct fixture *f = poll->data;
	struct fuse_buf buf = { 0 };
	int r;

	(void)status;
	(void)events;
	while ((r = fuse_session_receive_buf(f->session, &buf)) > 0)
		fuse_session_process_buf(f->session, &buf);
	free(buf.mem);
	if (fuse_session_exited(f->session) || (r < 0 && r != -EAGAIN && r != -EINTR))
		uv_stop(&f->world.loop);
}

static void mount_tree(struct fixture *f, const char *dir)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);

	if (fuse_opt_add_arg(&args, "procfs_mount") ||
	    fuse_opt_add_arg(&args, "-ofsname=procfs_mount,default_permissions,allow_other"))
		errx(1, "no memory");
	f->session = fuse_session_new(&args, &ops, sizeof(ops), f);
	if (!f->session || fuse_session_mount(f->session, dir) < 0)
		errx(1, "cannot mount %s", dir);
	fuse_opt_free_args(&args);
	fcntl(fuse_session_fd(f->session), F_SETFL, O_NONBLOCK);
	uv_poll_init(&f->world.loop, &f->poll, fuse_session_fd(f->session));
	f->poll.data = f;
	uv_poll_start(&f->poll, UV_READABLE, on_request);
}

static int stop(struct fixture *f)
{
	uv_close((uv_handle_t *)&f->poll, NULL);
	uv_close((uv_handle_t *)&f->ask, NULL);
	world_disconnect(&f->world);
	procfs_free(f->fs);
	fuse_session_unmount(f->session);
	fuse_session_destroy(f->session);
	for (unsigned i = 1; i <= f->world.nr; i++)
		proc_service_free(f->services[i]);
	return world_release(&f->world);
}

int main(int argc, char **argv)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int nr = argc == 4 ? atoi(argv[1]) : 0, r;

	if (!f || nr < 1 || nr >= WORLD_NODES_MAX)
		errx(2, "usage: procfs_mount N DIR STATE_DIR");
	world_init(&f->world, (unsigned)nr + 1, 1);
	start_services(f, (unsigned)nr, argv[3]);
	if (procfs_new(&f->world.host, &f->fs, &f->subtree) < 0)
		errx(1, "no tree");
	uv_signal_init(&f->world.loop, &f->ask);
	f->ask.data = f;
	uv_signal_start(&f->ask, say_reads, SIGUSR1);
	mount_tree(f, argv[2]);
	uv_run(&f->world.loop, UV_RUN_DEFAULT);
	r = stop(f);
	if (r)
		warnx("something is left on the loop");
	free(f);
	return r != 0;
}
