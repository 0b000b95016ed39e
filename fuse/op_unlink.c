/* Names that go, and names that move. The inodes they named change too (link count, ctime): their attributes are dropped. */
#include <errno.h>
#include <linux/fs.h>

#include "fuse/ops.h"
#include "fuse/reply.h"

static void name_gone(struct request *rq, int status, uint64_t ino)
{
	struct cache *c = rq->m->cache;

	if (status < 0) {
		cache_name_unknown(c, rq->ino, rq->name);
	} else {
		cache_name_changed(c, rq->ino, rq->name, 0, 0, rq->stamp);
		cache_drop_attr(c, ino);
	}
	reply_err(rq, status);
}

static void unlink_done(struct request *rq, int status, const void *rep)
{
	name_gone(rq, status, status < 0 ? 0 : ((const struct msg_unlink_rep *)rep)->ino);
}

static void rmdir_done(struct request *rq, int status, const void *rep)
{
	name_gone(rq, status, status < 0 ? 0 : ((const struct msg_rmdir_rep *)rep)->ino);
}

static struct request *old_name(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct request *rq = request_new(m, req);

	if (!rq || !request_set_name(rq, name))
		return NULL;
	rq->ino = mount_ino(m, parent);
	cache_name_changing(m->cache, rq->ino, name);
	return rq;
}

void fuse_op_unlink(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct request *rq = old_name(m, req, parent, name);

	if (!rq)
		return;
	rq->msg.unlink.parent = rq->ino;
	rq->msg.unlink.entry = rq->name;
	request_call(rq, MSG_unlink, true, unlink_done);
}

void fuse_op_rmdir(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct request *rq = old_name(m, req, parent, name);

	if (!rq)
		return;
	rq->msg.rmdir.parent = rq->ino;
	rq->msg.rmdir.entry = rq->name;
	request_call(rq, MSG_rmdir, true, rmdir_done);
}

static void rename_done(struct request *rq, int status, const void *rep_)
{
	const struct msg_rename_rep *rep = rep_;
	struct cache *c = rq->m->cache;

	/* The type of what moved is not in the reply: both names are asked for again. */
	cache_name_unknown(c, rq->ino, rq->name);
	cache_name_unknown(c, rq->msg.rename.new_parent, rq->new_name);
	if (status == 0) {
		cache_drop_attr(c, rep->ino);
		if (rep->replaced)
			cache_drop_attr(c, rep->replaced);
	}
	reply_err(rq, status);
}

void fuse_op_rename(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	       const char *new_name, unsigned int flags)
{
	struct request *rq;

	if (flags & ~(unsigned int)(RENAME_NOREPLACE | RENAME_EXCHANGE)) {
		reply_raw_err(req, -EINVAL);
		return;
	}
	rq = old_name(m, req, parent, name);
	if (!rq || !request_set_new_name(rq, new_name))
		return;
	rq->msg.rename = (struct msg_rename_req){ .parent = rq->ino,
						  .entry = rq->name,
						  .new_parent = mount_ino(m, new_parent),
						  .new_entry = rq->new_name,
						  .flags = flags };
	cache_name_changing(m->cache, rq->msg.rename.new_parent, new_name);
	request_call(rq, MSG_rename, true, rename_done);
}
