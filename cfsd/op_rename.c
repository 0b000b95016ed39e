/* rename: rename(2) and renameat2(2) with RENAME_NOREPLACE or RENAME_EXCHANGE. */
#include <stdio.h>

#include "cfsd/op_impl.h"

enum { DEPTH_LIMIT = 1 << 16 }; /* deeper than any path can be: the parents form a loop */

/* Everything a rename touches. TO_DIR is &FROM when both names are in one directory. */
struct rename {
	struct inode from, to;	     /* the directories */
	struct inode *to_dir;
	struct inode moved, present; /* what is under the old name, and under the new one */
	bool has_present;
};

/* 1: INO is DIR or above it. */
static int is_above(struct op_env *env, uint64_t ino, uint64_t dir)
{
	for (int depth = 0; depth < DEPTH_LIMIT; depth++) {
		struct inode in;
		int r;

		if (dir == ino)
			return 1;
		if (dir == INODE_ROOT)
			return 0;
		r = inode_load(env->store, dir, &in);
		if (r < 0)
			return r;
		dir = in.parent;
	}
	return -EIO;
}

static int load(struct op_env *env, const struct msg_rename_req *req, struct rename *rn)
{
	int r = op_load_parent(env, req->parent, req->entry, &rn->from);

	rn->to_dir = req->parent == req->new_parent ? &rn->from : &rn->to;
	if (!r)
		r = op_load_parent(env, req->new_parent, req->new_entry, rn->to_dir);
	if (!r)
		r = op_load_entry(env, req->parent, req->entry, &rn->moved);
	if (r < 0)
		return r;
	r = op_load_entry(env, req->new_parent, req->new_entry, &rn->present);
	rn->has_present = !r;
	return r == -ENOENT ? 0 : r;
}

/* No directory may come below itself. */
static int check_loops(struct op_env *env, const struct msg_rename_req *req, const struct rename *rn)
{
	int r = 0;

	if (req->parent == req->new_parent)
		return 0;
	if (inode_is_dir(&rn->moved))
		r = is_above(env, rn->moved.ino, req->new_parent);
	if (r)
		return r < 0 ? r : -EINVAL;
	if (rn->has_present && inode_is_dir(&rn->present))
		r = is_above(env, rn->present.ino, req->parent);
	if (r > 0)
		r = req->flags & RENAME_EXCHANGE ? -EINVAL : -ENOTEMPTY;
	return r;
}

static int check_replace(const struct rename *rn)
{
	if (!rn->has_present)
		return 0;
	if (inode_is_dir(&rn->moved) && !inode_is_dir(&rn->present))
		return -ENOTDIR;
	if (!inode_is_dir(&rn->moved) && inode_is_dir(&rn->present))
		return -EISDIR;
	return inode_is_dir(&rn->present) && rn->present.size ? -ENOTEMPTY : 0;
}

/* 1: there is nothing to do. */
static int check(struct op_env *env, const struct msg_rename_req *req, const struct rename *rn)
{
	int r;

	if (rn->has_present && req->flags & RENAME_NOREPLACE)
		return -EEXIST;
	if (!rn->has_present && req->flags & RENAME_EXCHANGE)
		return -ENOENT;
	/* rename(2): two names of one file, or the same name, stay as they are. */
	if (rn->has_present && rn->present.ino == rn->moved.ino)
		return 1;
	r = check_loops(env, req, rn);
	if (!r && !(req->flags & RENAME_EXCHANGE))
		r = check_replace(rn);
	if (!r && inode_is_dir(&rn->moved) && rn->to_dir->nlink >= INODE_LINK_MAX)
		r = -EMLINK;
	if (!r && !rn->has_present)
		r = op_check_space(env, OP_META_SPACE);
	return r;
}

/* IN goes from one directory to another: whose subdirectory it is. */
static void change_parent(struct inode *in, struct inode *from, struct inode *to)
{
	if (!inode_is_dir(in))
		return;
	from->nlink--;
	to->nlink++;
	in->parent = to->ino;
}

static int save_dirs(struct op_env *env, struct rename *rn, struct txn *txn)
{
	int r;

	inode_touch_content(&rn->from, env->now_ns);
	r = inode_save(txn, &rn->from);
	if (r < 0 || rn->to_dir == &rn->from)
		return r;
	inode_touch_content(rn->to_dir, env->now_ns);
	return inode_save(txn, rn->to_dir);
}

static int exchange(struct op_env *env, const struct msg_rename_req *req, struct rename *rn, struct txn *txn)
{
	int r = dentry_save(txn, req->parent, req->entry, rn->present.ino, rn->present.mode);

	change_parent(&rn->present, rn->to_dir, &rn->from);
	inode_touch(&rn->present, env->now_ns);
	return r < 0 ? r : inode_save(txn, &rn->present);
}

static int replace(struct op_env *env, const struct msg_rename_req *req, struct rename *rn, struct txn *txn)
{
	int r = dentry_delete(txn, req->parent, req->entry);

	rn->from.size--;
	if (!rn->has_present) {
		rn->to_dir->size++;
		return r;
	}
	if (inode_is_dir(&rn->present))
		rn->to_dir->nlink--;
	return r < 0 ? r : op_drop_link(env, &rn->present, txn);
}

static int change(struct op_env *env, const struct msg_rename_req *req, struct rename *rn, struct txn *txn)
{
	int r = req->flags & RENAME_EXCHANGE ? exchange(env, req, rn, txn) : replace(env, req, rn, txn);

	if (!r)
		r = dentry_save(txn, req->new_parent, req->new_entry, rn->moved.ino, rn->moved.mode);
	change_parent(&rn->moved, &rn->from, rn->to_dir);
	inode_touch(&rn->moved, env->now_ns);
	if (!r)
		r = inode_save(txn, &rn->moved);
	return r < 0 ? r : save_dirs(env, rn, txn);
}

int op_rename(struct op_env *env, const struct msg_rename_req *req, struct msg_rename_rep *rep, struct txn *txn)
{
	struct rename rn;
	int r;

	if (req->flags & ~(uint32_t)(RENAME_NOREPLACE | RENAME_EXCHANGE) ||
	    req->flags == (RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	r = load(env, req, &rn);
	if (!r)
		r = check(env, req, &rn);
	if (!r)
		r = change(env, req, &rn, txn);
	if (r < 0)
		return r;
	rep->replaced = rn.has_present ? rn.present.ino : 0;
	op_fill_attr(env, &rn.moved, &rep->attr);
	op_fill_attr(env, &rn.from, &rep->dir_attr);
	op_fill_attr(env, rn.to_dir, &rep->new_dir_attr);
	return 0;
}
