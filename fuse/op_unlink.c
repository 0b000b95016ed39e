/* Names that go, and names that move. The inodes they named change too (link count, ctime): their attributes are dropped. */
#include <errno.h>
#include <linux/fs.h>

#include "fuse/ops.h"
#include "fuse/reply.h"

/* The change failed: answered. */
static void not_gone(struct request *rq, int status)
{
	cache_name_unknown(rq->m->cache, rq->ino, rq->name);
	reply_err(rq, status);
}

static void name_gone(struct request *rq, uint64_t ino, const struct wire_attr *dir, uint32_t dir_tokens)
{
	cache_names_changed(rq->m->cache, dir, dir_tokens, &(struct cache_name){ .name = rq->name }, 1, rq->stamp);
	cache_drop_attr(rq->m->cache, ino);
	reply_err(rq, 0);
}

static void unlink_done(struct request *rq, int status, const void *rep_)
{
	const struct msg_unlink_rep *rep = rep_;

	if (status < 0)
		not_gone(rq, status);
	else
		name_gone(rq, rep->ino, &rep->dir_attr, rep->dir_tokens);
}

static void rmdir_done(struct request *rq, int status, const void *rep_)
{
	const struct msg_rmdir_rep *rep = rep_;

	if (status < 0)
		not_gone(rq, status);
	else
		name_gone(rq, rep->ino, &rep->dir_attr, rep->dir_tokens);
}

/* The name is about to go, and its inode with it if nobody holds that: we do not, unless it is open. */
static void name_goes(struct mount *m, uint64_t dir, const char *name)
{
	struct inode *in = NULL;
	uint64_t ino;

	if (cache_get_name(m->cache, dir, name, &ino) == CACHE_PRESENT)
		in = inode_find(m->inodes, ino);
	if (in)
		fuse_op_let_go(m, in);
	cache_name_changing(m->cache, dir, name);
}

static struct request *old_name(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct request *rq = request_new(m, req);

	if (!rq || !request_set_name(rq, name))
		return NULL;
	rq->ino = mount_ino(m, parent);
	return rq;
}

void fuse_op_unlink(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct request *rq = old_name(m, req, parent, name);

	if (!rq)
		return;
	name_goes(m, rq->ino, name);
	rq->msg.unlink.parent = rq->ino;
	rq->msg.unlink.entry = rq->name;
	request_call(rq, MSG_unlink, true, unlink_done);
}

void fuse_op_rmdir(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct request *rq = old_name(m, req, parent, name);

	if (!rq)
		return;
	cache_name_changing(m->cache, rq->ino, name);
	rq->msg.rmdir.parent = rq->ino;
	rq->msg.rmdir.entry = rq->name;
	request_call(rq, MSG_rmdir, true, rmdir_done);
}

/* A plain rename that did something: all of it is known. */
static void renamed(struct request *rq, const struct msg_rename_rep *rep)
{
	struct cache_name names[] = { { .name = rq->name }, { rq->new_name, rep->attr.ino, rep->attr.mode } };
	bool one_dir = rep->dir_attr.ino == rep->new_dir_attr.ino;
	struct cache *c = rq->m->cache;

	cache_names_changed(c, &rep->dir_attr, rep->dir_tokens, names, one_dir ? 2 : 1, rq->stamp);
	if (!one_dir)
		cache_names_changed(c, &rep->new_dir_attr, rep->new_dir_tokens, &names[1], 1, rq->stamp);
	cache_put_attr(c, &rep->attr, rep->tokens, rq->stamp);
	if (rep->replaced)
		cache_drop_attr(c, rep->replaced);
}

static void rename_done(struct request *rq, int status, const void *rep_)
{
	const struct msg_rename_rep *rep = rep_;
	struct cache *c = rq->m->cache;

	/* What an exchange, or a rename that had nothing to do, left under the names is not in the reply. */
	if (status == 0 && !(rq->msg.rename.flags & RENAME_EXCHANGE) && rep->replaced != rep->attr.ino) {
		renamed(rq, rep);
	} else {
		cache_name_unknown(c, rq->ino, rq->name);
		cache_name_unknown(c, rq->msg.rename.new_parent, rq->new_name);
		if (status == 0)
			cache_drop_attr(c, rep->attr.ino);
		if (status == 0 && rep->replaced)
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
	cache_name_changing(m->cache, rq->ino, name);
	name_goes(m, rq->msg.rename.new_parent, new_name);
	request_call(rq, MSG_rename, true, rename_done);
}
