/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files are like the kernel's: size 0, read to the end, the content made at open, and again when it is read from the start
 * once more (top keeps stat open and goes back), else the same until close; direct I/O, nothing cached.
 */
#include "procfs-cluster/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "procfs-cluster/control.h"
#include "procfs-cluster/procdir.h"
#include "procfs-cluster/rewrite.h"
#include "procfs-cluster/show.h"

struct file {
	struct show show; /* content in the making */
	struct wire_writer content;
	bool was_read, making;
	size_t size;	/* of the read that waits for it */
	fuse_req_t req; /* that waits: open, or read */
	struct fuse_file_info fi;
};

static void file_free(struct file *f)
{
	show_release(&f->show);
	wire_writer_release(&f->content);
	free(f);
}

/* NULL: the request is answered. */
static struct file *file_new(struct procfs *fs, fuse_req_t req, fuse_ino_t ino, void (*shown)(void *ctx, int status))
{
	struct tree_node node;
	int r = tree_node_of(ino, &node);
	struct file *f = r ? NULL : calloc(1, sizeof(*f));

	if (!f) {
		fuse_reply_err(req, r ? ESTALE : ENOMEM);
		return NULL;
	}
	f->show.fs = fs;
	f->show.node = node;
	f->show.done = shown;
	f->show.uid = fuse_req_ctx(req)->uid;
	f->show.gid = fuse_req_ctx(req)->gid;
	f->show.caller = (uint32_t)fuse_req_ctx(req)->pid;
	f->show.ctx = f;
	f->req = req;
	wire_writer_init(&f->show.out);
	wire_writer_init(&f->content);
	return f;
}

/* What was made is the content from now on. */
static void take_content(struct file *f)
{
	wire_writer_release(&f->content);
	f->content = f->show.out;
	wire_writer_init(&f->show.out);
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
		take_content(f);
		reply_open(f);
	}
}

void file_open(void *ctx, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct file *f = file_new(ctx, req, ino, file_shown);

	if (!f)
		return;
	f->fi = *fi;
	if ((fi->flags & O_ACCMODE) == O_WRONLY)
		reply_open(f);
	else
		show_start(&f->show);
}

static void reply_read(fuse_req_t req, const struct file *f, size_t size, size_t at)
{
	size_t len = f->content.len;

	if (at >= len)
		fuse_reply_buf(req, NULL, 0);
	else
		fuse_reply_buf(req, (const char *)f->content.buf + at, size < len - at ? size : len - at);
}

static void file_shown_again(void *ctx, int status)
{
	struct file *f = ctx;

	f->making = false;
	if (status) {
		show_release(&f->show);
		fuse_reply_err(f->req, -status);
	} else {
		take_content(f);
		reply_read(f->req, f, f->size, 0);
	}
}

void file_read(void *ctx, fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct file *f = (struct file *)(uintptr_t)fi->fh;

	(void)ctx;
	(void)ino;
	/* A thread that reads beside one that starts over gets what there was. */
	if (off || !f->was_read || f->making) {
		f->was_read = true;
		reply_read(req, f, size, off < 0 ? 0 : (size_t)off);
		return;
	}
	f->making = true;
	f->req = req;
	f->size = size;
	f->show.done = file_shown_again;
	show_start(&f->show);
}

void file_release(void *ctx, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
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

void file_readlink(void *ctx, fuse_req_t req, fuse_ino_t ino)
{
	struct file *f = file_new(ctx, req, ino, link_shown);

	if (f)
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

void file_write(void *ctx, fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
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
