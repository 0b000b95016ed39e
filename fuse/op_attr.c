/* Attributes of inodes, and of the filesystem. */
#include <errno.h>

#include "fuse/channel.h"
#include "fuse/ops.h"
#include "fuse/reply.h"
#include "wire/fileop.h"

static void getattr_done(struct request *rq, int status, const void *rep_)
{
	const struct msg_getattr_rep *rep = rep_;

	if (status < 0) {
		reply_err(rq, status);
		return;
	}
	cache_put_attr(rq->m->cache, &rep->attr, rep->tokens, rq->stamp);
	reply_attr(rq, &rep->attr);
}

void fuse_op_getattr(struct mount *m, fuse_req_t req, fuse_ino_t ino)
{
	struct request *rq = request_new(m, req);
	struct wire_attr attr;

	if (!rq)
		return;
	if (mount_cache_usable(m) && cache_get_attr(m->cache, mount_ino(m, ino), &attr)) {
		reply_attr(rq, &attr);
		return;
	}
	rq->msg.getattr.ino = mount_ino(m, ino);
	request_call(rq, MSG_getattr, false, getattr_done);
}

static void setattr_done(struct request *rq, int status, const void *rep_)
{
	const struct msg_setattr_rep *rep = rep_;

	if (status < 0) {
		reply_err(rq, status);
		return;
	}
	cache_put_attr(rq->m->cache, &rep->attr, rep->tokens, rq->stamp);
	reply_attr(rq, &rep->attr);
}

static uint64_t to_ns(struct timespec ts)
{
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint32_t setattr_valid(int to_set, bool kill_priv)
{
	static const struct {
		int fuse;
		uint32_t wire;
	} bits[] = {
		{ FUSE_SET_ATTR_MODE, SETATTR_MODE },	      { FUSE_SET_ATTR_UID, SETATTR_UID | SETATTR_KILL_PRIV },
		{ FUSE_SET_ATTR_SIZE, SETATTR_SIZE },	      { FUSE_SET_ATTR_GID, SETATTR_GID | SETATTR_KILL_PRIV },
		{ FUSE_SET_ATTR_ATIME, SETATTR_ATIME },	      { FUSE_SET_ATTR_MTIME, SETATTR_MTIME },
		{ FUSE_SET_ATTR_ATIME_NOW, SETATTR_ATIME_NOW }, { FUSE_SET_ATTR_MTIME_NOW, SETATTR_MTIME_NOW },
	};
	uint32_t valid = kill_priv ? SETATTR_KILL_PRIV : 0;

	for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++)
		if (to_set & bits[i].fuse)
			valid |= bits[i].wire;
	return valid;
}

void fuse_op_setattr(struct mount *m, fuse_req_t req, fuse_ino_t ino, const struct stat *st, int to_set)
{
	struct request *rq = request_new(m, req);
	struct msg_setattr_req *msg;

	if (!rq)
		return;
	rq->ino = mount_ino(m, ino);
	msg = &rq->msg.setattr;
	msg->cred = request_cred(rq);
	msg->ino = rq->ino;
	msg->valid = setattr_valid(to_set, channel_kills_priv(m->channel));
	msg->mode = st->st_mode;
	msg->uid = st->st_uid;
	msg->gid = st->st_gid;
	msg->size = (uint64_t)st->st_size;
	msg->atime = to_ns(st->st_atim);
	msg->mtime = to_ns(st->st_mtim);
	request_call(rq, MSG_setattr, true, setattr_done);
}

static void statfs_done(struct request *rq, int status, const void *rep)
{
	if (status < 0)
		reply_err(rq, status);
	else
		reply_statfs(rq, rep);
}

void fuse_op_statfs(struct mount *m, fuse_req_t req, fuse_ino_t ino)
{
	struct request *rq = request_new(m, req);

	if (!rq)
		return;
	rq->msg.statfs.ino = mount_ino(m, ino);
	request_call(rq, MSG_statfs, false, statfs_done);
}
