/* Names to inodes. Answered from memory when the directory's names and the inode's attributes are held. */
#include <errno.h>

#include "fuse/ops.h"
#include "fuse/reply.h"

static void lookup_done(struct request *rq, int status, const void *rep_)
{
	const struct msg_lookup_rep *rep = rep_;
	struct cache *c = rq->m->cache;

	if (status < 0) {
		reply_err(rq, status);
		return;
	}
	cache_put_name(c, rq->ino, rq->name, rep->attr.ino, rep->attr.mode, rep->dir_tokens, rq->stamp);
	if (!rep->attr.ino) {
		reply_err(rq, -ENOENT);
		return;
	}
	cache_put_attr(c, &rep->attr, rep->tokens, rq->stamp);
	reply_entry(rq, &rep->attr);
}

void fuse_op_lookup(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct request *rq = request_new(m, req);
	uint64_t dir = mount_ino(m, parent), ino;
	enum cache_answer known = CACHE_UNKNOWN;
	struct wire_attr attr;

	if (!rq || !request_set_name(rq, name))
		return;
	if (mount_cache_usable(m))
		known = cache_get_name(m->cache, dir, name, &ino);
	if (known == CACHE_ABSENT) {
		reply_err(rq, -ENOENT);
		return;
	}
	if (known == CACHE_PRESENT && cache_get_attr(m->cache, ino, &attr)) {
		reply_entry(rq, &attr);
		return;
	}
	rq->ino = dir;
	rq->msg.lookup.parent = dir;
	rq->msg.lookup.entry = rq->name;
	request_call(rq, MSG_lookup, false, lookup_done);
}

void fuse_op_forget(struct mount *m, fuse_ino_t ino, uint64_t n)
{
	inode_forget(m->inodes, mount_ino(m, ino), n);
}
