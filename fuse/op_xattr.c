/*
 * Extended attributes: user.* and trusted.* are the server's. The kernel asks for security.capability around writes
 * and for ACLs around everything; those are answered here, and cannot be set.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuse/ops.h"
#include "fuse/reply.h"

static bool is_stored(const char *name)
{
	return !strncmp(name, "user.", 5) || !strncmp(name, "trusted.", 8);
}

static void getxattr_done(struct request *rq, int status, const void *rep_)
{
	const struct msg_getxattr_rep *rep = rep_;

	if (status < 0)
		reply_err(rq, status);
	else
		reply_xattr(rq, rep->value.p, rep->value.len, rq->size);
}

void fuse_op_getxattr(struct mount *m, fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct request *rq;

	if (!is_stored(name)) {
		reply_raw_err(req, strncmp(name, "security.", 9) ? -EOPNOTSUPP : -ENODATA);
		return;
	}
	rq = request_new(m, req);
	if (!rq || !request_set_name(rq, name))
		return;
	rq->size = size;
	rq->msg.getxattr.ino = mount_ino(m, ino);
	rq->msg.getxattr.attr_name = rq->name;
	request_call(rq, MSG_getxattr, false, getxattr_done);
}

/* The inode's ctime changed, and the reply does not say to what. */
static void changed_done(struct request *rq, int status, const void *rep)
{
	(void)rep;
	cache_drop_attr(rq->m->cache, rq->ino);
	reply_err(rq, status);
}

void fuse_op_setxattr(struct mount *m, fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
		 int flags)
{
	struct request *rq;

	if (!is_stored(name)) {
		reply_raw_err(req, -EOPNOTSUPP);
		return;
	}
	rq = request_new(m, req);
	if (!rq || !request_set_name(rq, name))
		return;
	rq->buf = malloc(size ? size : 1);
	if (!rq->buf) {
		reply_err(rq, -ENOMEM);
		return;
	}
	memcpy(rq->buf, value, size);
	rq->ino = mount_ino(m, ino);
	rq->msg.setxattr.ino = rq->ino;
	rq->msg.setxattr.attr_name = rq->name;
	rq->msg.setxattr.flags = (uint32_t)flags;
	rq->msg.setxattr.value = (struct wire_blob){ rq->buf, (uint32_t)size };
	request_call(rq, MSG_setxattr, true, changed_done);
}

static void listxattr_done(struct request *rq, int status, const void *rep_)
{
	const struct msg_listxattr_rep *rep = rep_;

	if (status < 0)
		reply_err(rq, status);
	else
		reply_xattr(rq, rep->names.p, rep->names.len, rq->size);
}

void fuse_op_listxattr(struct mount *m, fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct request *rq = request_new(m, req);

	if (!rq)
		return;
	rq->size = size;
	rq->msg.listxattr.ino = mount_ino(m, ino);
	request_call(rq, MSG_listxattr, false, listxattr_done);
}

void fuse_op_removexattr(struct mount *m, fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct request *rq;

	if (!is_stored(name)) {
		reply_raw_err(req, -EOPNOTSUPP);
		return;
	}
	rq = request_new(m, req);
	if (!rq || !request_set_name(rq, name))
		return;
	rq->ino = mount_ino(m, ino);
	rq->msg.removexattr.ino = rq->ino;
	rq->msg.removexattr.attr_name = rq->name;
	request_call(rq, MSG_removexattr, true, changed_done);
}
