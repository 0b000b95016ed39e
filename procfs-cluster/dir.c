/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Life of an open directory: its names are collected (the root's by a scan of all nodes, a process's fd and task by
 * asking its node) -> opened -> read, from what was collected -> released.
 *
 * Offsets: 1 "." 2 ".." then the fixed names, then the numbers.
 */
#include "procfs-cluster/dir.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cluster/cpid.h"

struct dir {
	struct procfs *fs;
	struct tree_node node;
	fuse_req_t req; /* of the open, or lookup */
	struct fuse_file_info fi;
	struct ident id;   /* of the process it belongs to */
	struct show show;  /* fd, task */
	struct scan *scan; /* the root */
	struct snapshot *snapshot;
	size_t nr_fixed; /* fixed names below it */
	uint32_t *numbers;
	size_t nr_numbers;
};

static bool is_file_of_process(const struct tree_node *node)
{
	mode_t mode = tree_entry(node->id)->mode;

	return !S_ISDIR(mode) || (mode & 0077) == 0;
}

void dir_entry_param(const struct tree_node *node, const struct ident *id, struct fuse_entry_param *ret)
{
	const struct tree_entry *e = tree_entry(node->id);
	bool process = tree_is_process(node->id), private = is_file_of_process(node);
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	*ret = (struct fuse_entry_param){ .ino = tree_ino(node), .generation = 1 };
	ret->attr.st_ino = ret->ino;
	ret->attr.st_mode = e->mode;
	ret->attr.st_nlink = S_ISDIR(e->mode) ? 2 : 1;
	ret->attr.st_blksize = 4096;
	ret->attr.st_atim = ret->attr.st_mtim = ret->attr.st_ctim = now;
	if (process) {
		/* Who may signal it, its user, may move it, dumpable or not. */
		bool control = node->id == TREE_GOTO || node->id == TREE_CANTMOVE;

		ret->attr.st_uid = private && !control ? id->file_uid : id->uid;
		ret->attr.st_gid = private && !control ? id->file_gid : id->gid;
	}
	ret->attr_timeout = process ? TREE_PROCESS_TIMEOUT : TREE_FIXED_TIMEOUT;
	/* The kernel looks at mode and owner at each open. For what everybody may read the owner is for show: a question less
	   for each file of a process when top looks again. */
	if (process && (S_ISLNK(e->mode) || e->mode == (S_IFREG | 0444)))
		ret->attr_timeout = TREE_PUBLIC_TIMEOUT;
	ret->entry_timeout = process ? TREE_PROCESS_TIMEOUT : TREE_FIXED_TIMEOUT;
	if (node->id == TREE_NODE)
		ret->entry_timeout = TREE_PROCESS_TIMEOUT;
	/* Fixed names below a process stay what they are: its own name is looked at again anyway. */
	else if (process && node->id != TREE_PID && !node->number)
		ret->entry_timeout = TREE_FIXED_TIMEOUT;
	/* What a plain pid means depends on who asks. */
	if (node->plain && node->id == TREE_PID)
		ret->entry_timeout = 0;
}

static void dir_free(struct dir *d)
{
	if (d->scan)
		scans_close(d->scan);
	snapshot_unref(d->snapshot);
	show_release(&d->show);
	free(d->numbers);
	free(d);
}

static struct dir *dir_new(struct procfs *fs, fuse_req_t req, const struct tree_node *node)
{
	struct dir *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->fs = fs;
	d->node = *node;
	d->req = req;
	while (tree_child_at(node->id, d->nr_fixed))
		d->nr_fixed++;
	wire_writer_init(&d->show.out);
	return d;
}

static void reply_opened(struct dir *d)
{
	d->fi.fh = (uintptr_t)d;
	d->fi.cache_readdir = 0;
	d->fi.keep_cache = 0;
	if (fuse_reply_open(d->req, &d->fi) == -ENOENT)
		dir_free(d);
}

static void reply_failed(struct dir *d, int status)
{
	fuse_reply_err(d->req, -status);
	dir_free(d);
}

/* ---- collecting ---- */

static void scanned(void *ctx, struct scan *scan, struct snapshot *snapshot)
{
	struct dir *d = ctx;
	size_t i = 0;

	d->scan = scan;
	d->snapshot = snapshot_ref(snapshot);
	d->numbers = calloc(snapshot_count(snapshot) + 1, sizeof(*d->numbers));
	if (!d->numbers) {
		reply_failed(d, -ENOMEM);
		return;
	}
	for (struct snapshot_proc *p = NULL; (p = snapshot_next(snapshot, p));)
		d->numbers[i++] = p->id.cpid;
	d->nr_numbers = i;
	reply_opened(d);
}

/* The names in the show's output, as numbers. */
static int take_numbers(struct dir *d)
{
	const char *p = (const char *)d->show.out.buf, *end = p + d->show.out.len;

	d->numbers = calloc(d->show.out.len / 2 + 1, sizeof(*d->numbers));
	if (!d->numbers)
		return -ENOMEM;
	while (p < end && memchr(p, 0, (size_t)(end - p))) {
		if (!tree_number(p, &d->numbers[d->nr_numbers]))
			d->nr_numbers++;
		p += strlen(p) + 1;
	}
	return 0;
}

static void listed(void *ctx, int status)
{
	struct dir *d = ctx;

	d->id = d->show.id;
	if (!status)
		status = take_numbers(d);
	if (status)
		reply_failed(d, status);
	else
		reply_opened(d);
}

static void list(struct dir *d, const struct tree_node *node, void (*done)(void *ctx, int status))
{
	d->show.fs = d->fs;
	d->show.node = *node;
	d->show.uid = fuse_req_ctx(d->req)->uid;
	d->show.gid = fuse_req_ctx(d->req)->gid;
	d->show.caller = (uint32_t)fuse_req_ctx(d->req)->pid;
	d->show.done = done;
	d->show.ctx = d;
	show_start(&d->show);
}

static int collect_nodes(struct dir *d)
{
	const struct config *c = d->fs->host->config(d->fs->host->ctx);

	d->numbers = calloc(c->nr_nodes + 1, sizeof(*d->numbers));
	if (!d->numbers)
		return -ENOMEM;
	for (size_t i = 0; i < c->nr_nodes; i++)
		d->numbers[d->nr_numbers++] = c->nodes[i].id;
	return 0;
}

void dir_open(void *ctx, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct procfs *fs = ctx;
	struct tree_node node;
	struct dir *d;
	int r = tree_node_of(ino, &node);

	d = r ? NULL : dir_new(fs, req, &node);
	if (!d) {
		fuse_reply_err(req, r ? ESTALE : ENOMEM);
		return;
	}
	d->fi = *fi;
	if (tree_entry(node.id)->show) {
		list(d, &node, listed);
		return;
	}
	if (node.id == TREE_ROOT) {
		r = scans_open(fs->scans, (uint32_t)fuse_req_ctx(req)->pid, scanned, d);
		if (!r)
			return;
	} else if (node.id == TREE_NODES) {
		r = collect_nodes(d);
	}
	if (r)
		reply_failed(d, r);
	else
		reply_opened(d);
}

/* ---- a name in fd or task ---- */

static void looked_up(void *ctx, int status)
{
	struct dir *d = ctx;
	struct fuse_entry_param e;

	d->id = d->show.id;
	if (!status)
		status = take_numbers(d);
	for (size_t i = 0; i < d->nr_numbers && !status; i++) {
		uint32_t n = d->node.id == TREE_TID ? cpid_pid(d->numbers[i]) : d->numbers[i];

		if (n == d->node.number) {
			dir_entry_param(&d->node, &d->id, &e);
			fuse_reply_entry(d->req, &e);
			dir_free(d);
			return;
		}
	}
	reply_failed(d, status ? status : -ENOENT);
}

void dir_lookup_below(struct procfs *fs, fuse_req_t req, const struct tree_node *node)
{
	struct tree_node parent = { .id = tree_entry(node->id)->parent, .plain = node->plain, .cpid = node->cpid };
	struct dir *d = dir_new(fs, req, node);

	if (!d)
		fuse_reply_err(req, ENOMEM);
	else
		list(d, &parent, looked_up);
}

/* ---- listing ---- */

struct listed_entry {
	struct tree_node node;
	char name[CONFIG_NAME_MAX];
};

/* The entry at an index; false after the last. */
static bool entry_at(const struct dir *d, size_t index, struct listed_entry *ret)
{
	const struct tree_entry *self = tree_entry(d->node.id), *e;
	struct tree_node node = d->node;
	char buf[16];

	if (index < 2) {
		node.id = index ? self->parent : self->id;
		*ret = (struct listed_entry){ node, "" };
		strcpy(ret->name, index ? ".." : ".");
		return true;
	}
	index -= 2;
	if (index < d->nr_fixed) {
		e = tree_child_at(self->id, index);
		node.id = e->id;
		*ret = (struct listed_entry){ node, "" };
		snprintf(ret->name, sizeof(ret->name), "%s", e->name);
		return true;
	}
	index -= d->nr_fixed;
	if (index >= d->nr_numbers)
		return false;
	e = tree_child_of_kind(self->id, self->id == TREE_NODES ? '@' : '#');
	node.id = e->id;
	if (e->id == TREE_PID || e->id == TREE_NODE)
		node.cpid = d->numbers[index];
	else
		node.number = e->id == TREE_TID ? cpid_pid(d->numbers[index]) : d->numbers[index];
	*ret = (struct listed_entry){ node, "" };
	if (e->id == TREE_NODE)
		snprintf(ret->name, sizeof(ret->name), "%s", show_node_name(d->fs, d->numbers[index], buf));
	else
		snprintf(ret->name, sizeof(ret->name), "%u", d->numbers[index]);
	return true;
}

/* Attributes for readdirplus; without them (ino 0) the kernel looks the name up itself. */
static void entry_param(const struct dir *d, const struct listed_entry *e, struct fuse_entry_param *ret)
{
	const struct snapshot_proc *p;
	static const struct ident nobody;

	if (e->name[0] == '.') {
		*ret = (struct fuse_entry_param){ .attr.st_mode = S_IFDIR };
	} else if (e->node.id == TREE_PID) {
		p = snapshot_find(d->snapshot, e->node.cpid);
		dir_entry_param(&e->node, p ? &p->id : &nobody, ret);
	} else if (!tree_is_process(e->node.id) || d->id.cpid) {
		dir_entry_param(&e->node, &d->id, ret);
	} else {
		*ret = (struct fuse_entry_param){ .attr.st_mode = tree_entry(e->node.id)->mode };
	}
}

static void read_dir(fuse_req_t req, size_t size, off_t off, const struct dir *d, bool plus)
{
	char *buf = malloc(size);
	size_t used = 0, len;
	struct listed_entry e;

	if (!buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	for (size_t i = (size_t)off; entry_at(d, i, &e); i++) {
		struct fuse_entry_param param;

		entry_param(d, &e, &param);
		param.attr.st_ino = tree_ino(&e.node);
		len = plus ? fuse_add_direntry_plus(req, buf + used, size - used, e.name, &param, (off_t)i + 1) :
			     fuse_add_direntry(req, buf + used, size - used, e.name, &param.attr, (off_t)i + 1);
		if (len > size - used)
			break;
		used += len;
	}
	fuse_reply_buf(req, buf, used);
	free(buf);
}

void dir_read(void *ctx, fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)ctx;
	(void)ino;
	read_dir(req, size, off, (const struct dir *)(uintptr_t)fi->fh, false);
}

void dir_readplus(void *ctx, fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)ctx;
	(void)ino;
	read_dir(req, size, off, (const struct dir *)(uintptr_t)fi->fh, true);
}

void dir_release(void *ctx, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ctx;
	(void)ino;
	dir_free((struct dir *)(uintptr_t)fi->fh);
	fuse_reply_err(req, 0);
}
