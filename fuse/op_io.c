/*
 * Contents: every read and write goes to the server, every write before it is answered (the kernel's pages are the only
 * cache of contents, and it is write-through).
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fuse/channel.h"
#include "fuse/ops.h"
#include "fuse/reply.h"
#include "wire/fileop.h"

/* While one is under way a page of the file may be locked: a revoke must not wait for the notifier then. */
static int io_begin(struct request *rq, uint64_t ino)
{
	struct inode *in = inode_find_or_add(rq->m->inodes, ino);

	if (!in)
		return -ENOMEM;
	rq->ino = ino;
	in->nr_io++;
	return 0;
}

static void io_end(struct request *rq)
{
	struct inode *in = inode_find(rq->m->inodes, rq->ino);

	assert(in && in->nr_io);
	in->nr_io--;
	inode_settle(rq->m->inodes, in);
}

static void read_done(struct request *rq, int status, const void *rep_)
{
	const struct msg_read_rep *rep = rep_;

	io_end(rq);
	if (status < 0) {
		reply_err(rq, status);
		return;
	}
	cache_pages_filled(rq->m->cache, rq->ino, rep->tokens, rq->stamp);
	reply_buf(rq, rep->data.p, rep->data.len < rq->size ? rep->data.len : rq->size);
}

void fuse_op_read(struct mount *m, fuse_req_t req, fuse_ino_t ino, size_t size, off_t off)
{
	struct request *rq = request_new(m, req);

	if (!rq)
		return;
	if (io_begin(rq, mount_ino(m, ino)) < 0) {
		reply_err(rq, -ENOMEM);
		return;
	}
	rq->size = size;
	rq->msg.read.ino = rq->ino;
	rq->msg.read.off = (uint64_t)off;
	rq->msg.read.len = (uint32_t)size;
	request_call(rq, MSG_read, false, read_done);
}

static void write_done(struct request *rq, int status, const void *rep_)
{
	const struct msg_write_rep *rep = rep_;
	const struct msg_write_req *msg = &rq->msg.write;
	struct mount *m = rq->m;
	bool elsewhere;

	io_end(rq);
	if (status < 0) {
		reply_err(rq, status);
		return;
	}
	cache_put_attr(m->cache, &rep->attr, rep->tokens, rq->stamp);
	cache_pages_filled(m->cache, rq->ino, rep->tokens, rq->stamp);
	/* The kernel took its own idea of the end of file, and has the data in its pages there. */
	elsewhere = (msg->flags & WRITE_APPEND) && rep->off != msg->off;
	if (elsewhere && m->inval)
		inval_pages(m->inval, mount_fuse_ino(m, rq->ino), NULL, NULL);
	reply_write(rq, rep->written);
}

void fuse_op_write(struct mount *m, fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
	      const struct fuse_file_info *fi)
{
	struct request *rq = request_new(m, req);
	struct msg_write_req *msg;
	bool kill_priv = channel_kills_priv(m->channel);
	const void *data;

	if (!rq)
		return;
	/* Kept until the server has answered: it may have to be sent again. */
	rq->buf = channel_keep_data(m->channel, buf, size, &data);
	if (!rq->buf || io_begin(rq, mount_ino(m, ino)) < 0) {
		reply_err(rq, -ENOMEM);
		return;
	}
	msg = &rq->msg.write;
	msg->ino = rq->ino;
	msg->off = (uint64_t)off;
	msg->data = (struct wire_blob){ data, (uint32_t)size };
	/* What comes from the page cache (mmap) has its place; only write(2) appends. */
	if ((fi->flags & O_APPEND) && !fi->writepage)
		msg->flags |= WRITE_APPEND;
	if (kill_priv)
		msg->flags |= WRITE_KILL_PRIV;
	request_call(rq, MSG_write, true, write_done);
}

static void fsync_done(struct request *rq, int status, const void *rep)
{
	struct inode *in = inode_find(rq->m->inodes, rq->msg.fsync.ino);

	(void)rep;
	if (!status && in)
		status = inode_synced(in, rq->off, rq->m->nr_losses);
	reply_err(rq, status);
}

void fuse_op_fsync(struct mount *m, fuse_req_t req, fuse_ino_t ino, int datasync)
{
	struct request *rq = request_new(m, req);
	struct inode *in;

	if (!rq)
		return;
	rq->msg.fsync.ino = mount_ino(m, ino);
	rq->msg.fsync.datasync = (uint32_t)datasync;
	in = inode_find(m->inodes, rq->msg.fsync.ino);
	rq->off = in ? in->changes : 0;
	request_call(rq, MSG_fsync, false, fsync_done);
}

static void fallocate_done(struct request *rq, int status, const void *rep_)
{
	const struct msg_fallocate_rep *rep = rep_;

	if (status < 0) {
		reply_err(rq, status);
		return;
	}
	/* No tokens came with it: what is known of the inode is asked for again. */
	cache_drop_attr(rq->m->cache, rep->attr.ino);
	reply_err(rq, 0);
}

void fuse_op_fallocate(struct mount *m, fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len)
{
	struct request *rq = request_new(m, req);

	if (!rq)
		return;
	rq->msg.fallocate = (struct msg_fallocate_req){
		.ino = mount_ino(m, ino), .mode = (uint32_t)mode, .off = (uint64_t)off, .len = (uint64_t)len
	};
	request_call(rq, MSG_fallocate, true, fallocate_done);
}

static void readlink_done(struct request *rq, int status, const void *rep_)
{
	const struct msg_readlink_rep *rep = rep_;

	if (status < 0)
		reply_err(rq, status);
	else
		reply_readlink(rq, rep->target);
}

void fuse_op_readlink(struct mount *m, fuse_req_t req, fuse_ino_t ino)
{
	struct request *rq = request_new(m, req);

	if (!rq)
		return;
	rq->msg.readlink.ino = mount_ino(m, ino);
	request_call(rq, MSG_readlink, false, readlink_done);
}
