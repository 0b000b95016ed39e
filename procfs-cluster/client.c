/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The subtree's operations. Inode numbers say everything (tree.h), so there is no inode table and nothing to forget.
 *
 * Files are like the kernel's: size 0, read to the end, the content made at open and the same until close (direct I/O,
 * nothing cached). Names and attributes of a process are valid for a second, fixed ones for long.
 */
#include "procfs-cluster/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cluster/cpid.h"
#include "procfs-cluster/control.h"
#include "procfs-cluster/dir.h"
#include "procfs-cluster/procdir.h"
#include "procfs-cluster/rewrite.h"
#include "procfs-cluster/show.h"

#define IDENT_AGE_MS 1000u
#define LOCAL_TIMEOUT_MS 2000u

/* ---- attributes ---- */

static void reply_entry(fuse_req_t req, const struct tree_node *node, const struct ident *id)
{
	struct fuse_entry_param e;

	dir_entry_param(node, id, &e);
	fuse_reply_entry(req, &e);
}

/* A name that is not there; FOREVER when it never will be. */
static void reply_no_entry(fuse_req_t req, bool forever)
{
	struct fuse_entry_param e = { .entry_timeout = TREE_FIXED_TIMEOUT };

	if (forever)
		fuse_reply_entry(req, &e);
	else
		fuse_reply_err(req, ENOENT);
}

/* ---- lookup, getattr ---- */

struct ask {
	struct procfs *fs;
	fuse_req_t req;
	struct tree_node node;
	bool for_attr;
	struct msg_proc_local_req local;
};

static void reply_ident(struct ask *a, int status, const struct ident *id)
{
	struct fuse_entry_param e;

	if (status) {
		fuse_reply_err(a->req, status == -ESRCH ? ENOENT : -status);
	} else if (a->for_attr) {
		dir_entry_param(&a->node, id, &e);
		fuse_reply_attr(a->req, &e.attr, e.attr_timeout);
	} else {
		reply_entry(a->req, &a->node, id);
	}
	free(a);
}

static void ask_located(void *ctx, int status, const struct ident *id)
{
	reply_ident(ctx, status, id);
}

/* Answers with the attributes of NODE, whose owner has to be found out when it belongs to a process. */
static void answer_node(struct procfs *fs, fuse_req_t req, const struct tree_node *node, bool for_attr)
{
	const struct snapshot_proc *p = NULL;
	struct ident nobody = { 0 };
	struct ask *a = calloc(1, sizeof(*a));

	if (!a) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	*a = (struct ask){ .fs = fs, .req = req, .node = *node, .for_attr = for_attr };
	if (!tree_is_process(node->id)) {
		reply_ident(a, 0, &nobody);
		return;
	}
	p = scans_find(fs->scans, (uint32_t)fuse_req_ctx(req)->pid, node->cpid);
	if (p)
		reply_ident(a, 0, &p->id);
	else
		locate(fs->locator, node->cpid, IDENT_AGE_MS, ask_located, a);
}

static void plain_resolved(void *ctx, int status, const void *rep)
{
	const struct msg_proc_local_rep *r = rep;
	struct ask *a = ctx;

	if (status) {
		reply_ident(a, status, NULL);
		return;
	}
	a->node.cpid = r->cpid;
	answer_node(a->fs, a->req, &a->node, false);
	free(a);
}

/* A plain pid means what it means to the reader, on the reader's node. */
static void lookup_plain(struct procfs *fs, fuse_req_t req, uint32_t pid)
{
	struct ask *a = pid ? calloc(1, sizeof(*a)) : NULL;

	if (!a) {
		fuse_reply_err(req, pid ? ENOMEM : ENOENT);
		return;
	}
	*a = (struct ask){ .fs = fs, .req = req, .node = { .id = TREE_PID, .plain = true } };
	a->local = (struct msg_proc_local_req){ .pid = pid, .caller = (uint32_t)fuse_req_ctx(req)->pid };
	remote_call(fs->remote, fs->host->node_id, MSG_proc_local, &a->local, LOCAL_TIMEOUT_MS, plain_resolved, a);
}

static void lookup_number(struct procfs *fs, fuse_req_t req, const struct tree_node *parent, const struct tree_entry *e,
			  const char *name)
{
	struct tree_node node = { .id = e->id, .plain = parent->plain, .cpid = parent->cpid };
	uint32_t number;

	if (tree_number(name, &number) < 0) {
		reply_no_entry(req, true);
	} else if (e->id == TREE_PID && !cpid_is_cluster(number)) {
		lookup_plain(fs, req, number);
	} else if (e->id == TREE_PID) {
		node.cpid = number;
		answer_node(fs, req, &node, false);
	} else {
		node.number = e->id == TREE_TID ? cpid_pid(number) : number;
		if (node.number > TREE_NUMBER_MAX)
			fuse_reply_err(req, ENOENT);
		else
			dir_lookup_below(fs, req, &node);
	}
}

static void lookup_node(struct procfs *fs, fuse_req_t req, const char *name)
{
	const struct config *c = fs->host->config(fs->host->ctx);
	const struct config_node *n = config_node_by_name(c, name);
	struct tree_node node = { .id = TREE_NODE };

	if (!n) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	node.cpid = n->id;
	answer_node(fs, req, &node, false);
}

static void op_lookup(void *ctx, fuse_req_t req, fuse_ino_t parent_ino, const char *name)
{
	struct procfs *fs = ctx;
	struct tree_node parent = { .id = TREE_ROOT }, node;
	const struct tree_entry *e;

	/* the mount asks for the subtree's own root */
	if (parent_ino == FUSE_ROOT_ID) {
		answer_node(fs, req, &parent, false);
		return;
	}
	if (tree_node_of(parent_ino, &parent) < 0) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	e = tree_child(parent.id, name);
	if (e) {
		node = (struct tree_node){ e->id, parent.plain, parent.cpid, parent.number };
		answer_node(fs, req, &node, false);
	} else if ((e = tree_child_of_kind(parent.id, '#'))) {
		lookup_number(fs, req, &parent, e, name);
	} else if (tree_child_of_kind(parent.id, '@')) {
		lookup_node(fs, req, name);
	} else {
		reply_no_entry(req, true);
	}
}

static void op_getattr(void *ctx, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct tree_node node;

	(void)fi;
	if (tree_node_of(ino, &node) < 0)
		fuse_reply_err(req, ESTALE);
	else
		answer_node(ctx, req, &node, true);
}

/* Opening a control file with > truncates it, which changes nothing. */
static void op_setattr(void *ctx, fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	struct tree_node node;

	(void)attr;
	(void)fi;
	if (tree_node_of(ino, &node) < 0)
		fuse_reply_err(req, ESTALE);
	else if (to_set & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))
		fuse_reply_err(req, EPERM);
	else if (!(tree_entry(node.id)->mode & 0222))
		fuse_reply_err(req, EACCES);
	else
		answer_node(ctx, req, &node, true);
}

/* ---- files ---- */

struct file {
	struct show show;
	fuse_req_t req; /* of the open */
	struct fuse_file_info fi;
};

static void file_free(struct file *f)
{
	show_release(&f->show);
	free(f);
}

static struct file *file_new(struct procfs *fs, fuse_req_t req, const struct tree_node *node)
{
	struct file *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->show.fs = fs;
	f->show.node = *node;
	f->show.uid = fuse_req_ctx(req)->uid;
	f->show.caller = (uint32_t)fuse_req_ctx(req)->pid;
	f->show.ctx = f;
	f->req = req;
	wire_writer_init(&f->show.out);
	return f;
}

static void reply_open(struct file *f)
{
	f->fi.fh = (uintptr_t)f;
	f->fi.direct_io = 1;
	f->fi.noflush = 1;
	/* -ENOENT: the open was interrupted, no release will come */
	if (fuse_reply_open(f->req, &f->fi) == -ENOENT)
		file_free(f);
}

static void file_shown(void *ctx, int status)
{
	struct file *f = ctx;

	if (status) {
		fuse_reply_err(f->req, -status);
		file_free(f);
	} else {
		reply_open(f);
	}
}

static void op_open(void *ctx, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct tree_node node;
	struct file *f;
	int r = tree_node_of(ino, &node);

	f = r ? NULL : file_new(ctx, req, &node);
	if (!f) {
		fuse_reply_err(req, r ? ESTALE : ENOMEM);
		return;
	}
	f->fi = *fi;
	f->show.done = file_shown;
	if ((fi->flags & O_ACCMODE) == O_WRONLY)
		reply_open(f);
	else
		show_start(&f->show);
}

static void op_read(void *ctx, fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	const struct file *f = (const struct file *)(uintptr_t)fi->fh;
	size_t len = f->show.out.len, at = off < 0 ? 0 : (size_t)off;

	(void)ctx;
	(void)ino;
	if (at >= len)
		fuse_reply_buf(req, NULL, 0);
	else
		fuse_reply_buf(req, (const char *)f->show.out.buf + at, size < len - at ? size : len - at);
}

static void op_release(void *ctx, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ctx;
	(void)ino;
	file_free((struct file *)(uintptr_t)fi->fh);
	fuse_reply_err(req, 0);
}

static void link_shown(void *ctx, int status)
{
	struct file *f = ctx;

	if (!status)
		status = text_put(&f->show.out, "", 1);
	if (status)
		fuse_reply_err(f->req, -status);
	else
		fuse_reply_readlink(f->req, (const char *)f->show.out.buf);
	file_free(f);
}

static void op_readlink(void *ctx, fuse_req_t req, fuse_ino_t ino)
{
	struct tree_node node;
	struct file *f;
	int r = tree_node_of(ino, &node);

	f = r ? NULL : file_new(ctx, req, &node);
	if (!f) {
		fuse_reply_err(req, r ? ESTALE : ENOMEM);
		return;
	}
	f->show.done = link_shown;
	show_start(&f->show);
}

/* ---- writes ---- */

/* How often an interrupted writer is looked at. */
#define SIGNALLED_MS 200u

struct written {
	struct procfs *fs;
	fuse_req_t req;
	size_t size;
	uint32_t caller;
	struct control *control;
	uv_timer_t timer; /* runs once there was an interrupt */
};

static void timer_closed(uv_handle_t *h)
{
	free(h->data);
}

static void write_end(struct written *w, int status)
{
	fuse_req_interrupt_func(w->req, NULL, NULL);
	if (status)
		fuse_reply_err(w->req, -status);
	else
		fuse_reply_write(w->req, w->size);
	uv_close((uv_handle_t *)&w->timer, timer_closed);
}

static void write_done(void *ctx, int status)
{
	write_end(ctx, status);
}

/* True too when the writer is gone. */
static bool is_signalled(const struct procfs *fs, uint32_t tid)
{
	struct wire_writer status;
	char path[32];
	bool yes;

	wire_writer_init(&status);
	snprintf(path, sizeof(path), "%u/status", tid);
	yes = procdir_read(fs->proc_fd, path, 1 << 16, &status) || status_is_signalled(text_of(status.buf, status.len));
	wire_writer_release(&status);
	return yes;
}

/*
 * The kernel says that there is a signal once, whichever it is, and then waits for the answer. Who moves a child of its
 * own gets SIGCHLD when the original ends, just before the answer: that must not end the wait, but ^C must, also later.
 */
static void look_at_writer(uv_timer_t *timer)
{
	struct written *w = timer->data;

	if (!is_signalled(w->fs, w->caller))
		return;
	control_abandon(w->control);
	write_end(w, -EINTR);
}

static void write_interrupted(fuse_req_t req, void *data)
{
	struct written *w = data;

	(void)req;
	uv_timer_start(&w->timer, look_at_writer, 0, SIGNALLED_MS);
}

static void op_write(void *ctx, fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	struct procfs *fs = ctx;
	struct written *w = calloc(1, sizeof(*w));
	struct tree_node node;
	int r = tree_node_of(ino, &node);

	(void)off;
	(void)fi;
	if (r < 0 || !w) {
		free(w);
		fuse_reply_err(req, r < 0 ? ESTALE : ENOMEM);
		return;
	}
	w->fs = fs;
	w->req = req;
	w->size = size;
	w->caller = (uint32_t)fuse_req_ctx(req)->pid;
	uv_timer_init(fs->host->loop, &w->timer);
	w->timer.data = w;
	fuse_req_interrupt_func(req, write_interrupted, w);
	control_write(fs, &node, fuse_req_ctx(req)->uid, buf, size, write_done, w, &w->control);
}

/* ---- the whole ---- */

static void op_statfs(void *ctx, fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = { .f_bsize = 4096, .f_frsize = 4096, .f_namemax = 255 };

	(void)ctx;
	(void)ino;
	fuse_reply_statfs(req, &st);
}

static const struct subtree_ops procfs_ops = {
	.lookup = op_lookup,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.release = op_release,
	.opendir = dir_open,
	.readdir = dir_read,
	.readdirplus = dir_readplus,
	.releasedir = dir_release,
	.statfs = op_statfs,
};

int procfs_new(const struct subtree_host *host, struct procfs **ret_fs, struct subtree *ret_subtree)
{
	struct tree_node root = { .id = TREE_ROOT };
	struct procfs *fs = calloc(1, sizeof(*fs));
	int r;

	if (!fs)
		return -ENOMEM;
	fs->host = host;
	fs->proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = fs->proc_fd < 0 ? -errno : remote_new(host, &fs->remote);
	if (!r)
		r = nodes_new(host, fs->remote, &fs->nodes);
	if (!r)
		r = locator_new(host, fs->remote, fs->nodes, &fs->locator);
	if (!r)
		r = scans_new(host, fs->remote, fs->nodes, fs->proc_fd, &fs->scans);
	if (r < 0) {
		procfs_free(fs);
		return r;
	}
	*ret_subtree = (struct subtree){ .name = "proc", .root_ino = tree_ino(&root), .ops = &procfs_ops, .ctx = fs };
	*ret_fs = fs;
	return 0;
}

void procfs_free(struct procfs *fs)
{
	if (!fs)
		return;
	remote_free(fs->remote);
	scans_free(fs->scans);
	locator_free(fs->locator);
	nodes_free(fs->nodes);
	if (fs->proc_fd >= 0)
		close(fs->proc_fd);
	free(fs);
}
