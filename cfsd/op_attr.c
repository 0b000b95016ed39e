/* setattr. */
#include "cfsd/op_impl.h"

static int check_size(const struct inode *in)
{
	if (inode_is_dir(in))
		return -EISDIR;
	return S_ISREG(in->mode) ? 0 : -EINVAL;
}

/* utimensat(2): a given time is taken as it is, "now" is the time of the change. */
static void set_times(struct op_env *env, const struct msg_setattr_req *req, struct inode *in)
{
	if (req->valid & SETATTR_ATIME)
		in->atime = req->atime;
	if (req->valid & SETATTR_ATIME_NOW)
		in->atime = env->now_ns;
	if (req->valid & SETATTR_MTIME)
		in->mtime = req->mtime;
	if (req->valid & SETATTR_MTIME_NOW)
		in->mtime = in->ctime;
}

int op_setattr(struct op_env *env, const struct msg_setattr_req *req, struct msg_setattr_rep *rep, struct txn *txn)
{
	struct inode in;
	int r = inode_load(env->store, req->ino, &in);

	if (!r && req->valid & SETATTR_SIZE)
		r = check_size(&in);
	if (!r && req->valid & SETATTR_SIZE)
		r = op_set_size(env, &in, req->size, txn);
	if (r < 0)
		return r;
	if (req->valid) {
		if (req->valid & SETATTR_MODE)
			in.mode = (in.mode & S_IFMT) | (req->mode & 07777);
		if (req->valid & SETATTR_UID)
			in.uid = req->uid;
		if (req->valid & SETATTR_GID)
			in.gid = req->gid;
		if (req->valid & SETATTR_KILL_PRIV)
			inode_kill_priv(&in);
		if (req->valid & SETATTR_SIZE)
			inode_touch_content(&in, env->now_ns);
		else
			inode_touch(&in, env->now_ns);
		set_times(env, req, &in);
		r = inode_save(txn, &in);
	}
	if (!r)
		op_fill_attr(env, &in, &rep->attr);
	return r;
}
