/*
 * New names: files, directories, special files, symlinks, hard links. The name is unknown from the sending on; the
 * reply says what it is now, and what may be remembered.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fuse/ops.h"
#include "fuse/reply.h"
#include "wire/fileop.h"

static struct request *new_name(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct request *rq = request_new(m, req);

	if (!rq || !request_set_name(rq, name))
		return NULL;
	rq->ino = mount_ino(m, parent);
	cache_name_changing(m->cache, rq->ino, name);
	return rq;
}

/* The change failed: answered. */
static void not_made(struct request *rq, int status)
{
	cache_name_unknown(rq->m->cache, rq->ino, rq->name);
	reply_err(rq, status);
}

/* What every reply about a new name tells. */
#define NAME_MADE(rq, rep) \
	name_made(rq, &(rep)->attr, (rep)->tokens, &(rep)->dir_attr, (rep)->dir_tokens)

static void name_made(struct request *rq, const struct wire_attr *attr, uint32_t tokens, const struct wire_attr *dir,
		      uint32_t dir_tokens)
{
	struct cache *c = rq->m->cache;

	cache_names_changed(c, dir, dir_tokens, &(struct cache_name){ rq->name, attr->ino, attr->mode }, 1, rq->stamp);
	cache_put_attr(c, attr, tokens, rq->stamp);
}

static void create_done(struct request *rq, int status, const void *rep_)
{
	const struct msg_create_rep *rep = rep_;

	if (status < 0) {
		not_made(rq, status);
		return;
	}
	NAME_MADE(rq, rep);
	fuse_op_adopt_open(rq, &rep->attr);
}

void fuse_op_create(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       const struct fuse_file_info *fi)
{
	struct request *rq = new_name(m, req, parent, name);
	struct msg_create_req *msg;

	if (!rq)
		return;
	rq->fi = *fi;
	msg = &rq->msg.create;
	msg->cred = request_cred(rq);
	msg->parent = rq->ino;
	msg->entry = rq->name;
	msg->mode = mode;
	msg->flags = (fi->flags & O_EXCL ? CREATE_EXCL : 0) | (fi->flags & O_TRUNC ? CREATE_TRUNC : 0);
	request_call(rq, MSG_create, true, create_done);
}

static void mknod_done(struct request *rq, int status, const void *rep_)
{
	const struct msg_mknod_rep *rep = rep_;

	if (status < 0) {
		not_made(rq, status);
		return;
	}
	NAME_MADE(rq, rep);
	/* A new directory whose names we are granted: all of them are known, none. */
	if (S_ISDIR(rep->attr.mode) && (rep->tokens & TOKEN_NAMES))
		cache_set_complete(rq->m->cache, rep->attr.ino, rq->stamp);
	reply_entry(rq, &rep->attr);
}

void fuse_op_mknod(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct request *rq = new_name(m, req, parent, name);

	if (!rq)
		return;
	rq->msg.mknod = (struct msg_mknod_req){
		.cred = request_cred(rq), .parent = rq->ino, .entry = rq->name, .mode = mode, .rdev = rdev
	};
	request_call(rq, MSG_mknod, true, mknod_done);
}

static void symlink_done(struct request *rq, int status, const void *rep_)
{
	const struct msg_symlink_rep *rep = rep_;

	if (status < 0) {
		not_made(rq, status);
		return;
	}
	NAME_MADE(rq, rep);
	reply_entry(rq, &rep->attr);
}

void fuse_op_symlink(struct mount *m, fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct request *rq;

	if (strlen(target) > WIRE_STR_MAX) {
		reply_raw_err(req, -ENAMETOOLONG);
		return;
	}
	rq = new_name(m, req, parent, name);
	if (!rq)
		return;
	rq->buf = strdup(target);
	if (!rq->buf) {
		cache_name_unknown(m->cache, rq->ino, rq->name);
		reply_err(rq, -ENOMEM);
		return;
	}
	rq->msg.symlink = (struct msg_symlink_req){
		.cred = request_cred(rq), .parent = rq->ino, .entry = rq->name, .target = rq->buf
	};
	request_call(rq, MSG_symlink, true, symlink_done);
}

static void link_done(struct request *rq, int status, const void *rep_)
{
	const struct msg_link_rep *rep = rep_;

	if (status < 0) {
		not_made(rq, status);
		return;
	}
	NAME_MADE(rq, rep);
	reply_entry(rq, &rep->attr);
}

void fuse_op_link(struct mount *m, fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct request *rq = new_name(m, req, parent, name);

	if (!rq)
		return;
	rq->msg.link =
		(struct msg_link_req){ .ino = mount_ino(m, ino), .parent = rq->ino, .entry = rq->name };
	request_call(rq, MSG_link, true, link_done);
}
