/* create, mknod, symlink: new inodes. */
#include <string.h>

#include "cfsd/meta_key.h"
#include "cfsd/op_impl.h"

/* open(2) with O_CREAT found the name taken. */
static int create_existing(struct op_env *env, const struct msg_create_req *req, struct inode *in, struct txn *txn)
{
	int r;

	if (req->flags & CREATE_EXCL)
		return -EEXIST;
	if (inode_is_dir(in))
		return -EISDIR;
	/* A symbolic link, fifo or device that the client did not know of when it asked: it must look up again. */
	if (!S_ISREG(in->mode))
		return -ESTALE;
	if (!(req->flags & CREATE_TRUNC))
		return 0;
	r = op_set_size(env, in, 0, txn);
	inode_touch_content(in, env->now_ns);
	return r < 0 ? r : inode_save(txn, in);
}

int op_create(struct op_env *env, const struct msg_create_req *req, struct msg_create_rep *rep, struct txn *txn)
{
	struct inode dir, in;
	int r = op_load_parent(env, req->parent, req->entry, &dir);

	if (r < 0)
		return r;
	r = op_load_entry(env, req->parent, req->entry, &in);
	if (!r) {
		r = create_existing(env, req, &in, txn);
	} else if (r == -ENOENT) {
		r = op_new_inode(env, &dir, &req->cred, S_IFREG | (req->mode & 07777), txn, &in);
		if (!r)
			r = op_add_new(env, &dir, req->entry, &in, txn);
	}
	if (r < 0)
		return r;
	op_fill_attr(env, &in, &rep->attr);
	op_fill_attr(env, &dir, &rep->dir_attr);
	return 0;
}

/* The name must be free. */
static int load_free_name(struct op_env *env, uint64_t parent, const char *name, struct inode *ret_dir)
{
	struct dentry de;
	int r = op_load_parent(env, parent, name, ret_dir);

	if (r < 0)
		return r;
	r = dentry_load(env->store, parent, name, &de);
	return !r ? -EEXIST : r == -ENOENT ? 0 : r;
}

int op_mknod(struct op_env *env, const struct msg_mknod_req *req, struct msg_mknod_rep *rep, struct txn *txn)
{
	uint32_t type = req->mode & S_IFMT, mode = (type ? type : S_IFREG) | (req->mode & 07777);
	struct inode dir, in;
	int r;

	if (!S_ISREG(mode) && !S_ISDIR(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode) && !S_ISCHR(mode) && !S_ISBLK(mode))
		return -EINVAL;
	r = load_free_name(env, req->parent, req->entry, &dir);
	if (!r && S_ISDIR(mode) && dir.nlink >= INODE_LINK_MAX)
		r = -EMLINK;
	if (!r)
		r = op_new_inode(env, &dir, &req->cred, mode, txn, &in);
	if (r < 0)
		return r;
	if (S_ISCHR(mode) || S_ISBLK(mode))
		in.rdev = req->rdev;
	if (S_ISDIR(mode))
		dir.nlink++;
	r = op_add_new(env, &dir, req->entry, &in, txn);
	if (r < 0)
		return r;
	op_fill_attr(env, &in, &rep->attr);
	op_fill_attr(env, &dir, &rep->dir_attr);
	return 0;
}

int op_symlink(struct op_env *env, const struct msg_symlink_req *req, struct msg_symlink_rep *rep, struct txn *txn)
{
	size_t len = req->target ? strlen(req->target) : 0;
	struct inode dir, in;
	struct meta_key k;
	int r;

	if (!len)
		return -ENOENT;
	if (len > WIRE_STR_MAX)
		return -ENAMETOOLONG;
	r = load_free_name(env, req->parent, req->entry, &dir);
	if (!r)
		r = op_new_inode(env, &dir, &req->cred, S_IFLNK | 0777, txn, &in);
	if (r < 0)
		return r;
	in.size = len;
	meta_key_target(&k, in.ino);
	r = batch_put(&txn->meta, k.b, k.len, req->target, len);
	if (!r)
		r = op_add_new(env, &dir, req->entry, &in, txn);
	if (r < 0)
		return r;
	op_fill_attr(env, &in, &rep->attr);
	op_fill_attr(env, &dir, &rep->dir_attr);
	return 0;
}

int op_link(struct op_env *env, const struct msg_link_req *req, struct msg_link_rep *rep, struct txn *txn)
{
	struct inode dir, in;
	int r = inode_load(env->store, req->ino, &in);

	if (r < 0)
		return r;
	if (inode_is_dir(&in))
		return -EPERM;
	r = load_free_name(env, req->parent, req->entry, &dir);
	if (!r && !in.nlink)
		r = -ENOENT; /* an orphan does not come back */
	if (!r && in.nlink >= INODE_LINK_MAX)
		r = -EMLINK;
	if (!r)
		r = op_check_space(env, OP_META_SPACE);
	if (r < 0)
		return r;
	in.nlink++;
	inode_touch(&in, env->now_ns);
	r = op_add_new(env, &dir, req->entry, &in, txn);
	if (r < 0)
		return r;
	op_fill_attr(env, &in, &rep->attr);
	op_fill_attr(env, &dir, &rep->dir_attr);
	return 0;
}
