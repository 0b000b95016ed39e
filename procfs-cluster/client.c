/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The subtree's operations on names. Inode numbers say everything (tree.h), so there is no inode table and nothing to
 * forget. Names and attributes of a process are valid for a second, fixed ones for long.
 */
#include "procfs-cluster/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "cluster/cpid.h"
#include "procfs-cluster/dir.h"
#include "procfs-cluster/file.h"
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
	.readlink = file_readlink,
	.open = file_open,
	.read = file_read,
	.write = file_write,
	.release = file_release,
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
