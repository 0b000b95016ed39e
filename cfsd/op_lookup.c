/* lookup, getattr, readlink, statfs. */
#include <stdlib.h>
#include <string.h>

#include "cfsd/meta_key.h"
#include "cfsd/op_impl.h"

int op_lookup(struct op_env *env, const struct msg_lookup_req *req, struct msg_lookup_rep *rep, struct txn *txn)
{
	struct inode dir, in;
	int r = dentry_check_name(req->entry);

	(void)txn;
	if (!r)
		r = op_load_dir(env, req->parent, &dir);
	if (!r)
		r = op_load_entry(env, req->parent, req->entry, &in);
	if (!r)
		op_fill_attr(env, &in, &rep->attr);
	return r == -ENOENT ? 0 : r; /* attr.ino 0: there is no such name */
}

int op_getattr(struct op_env *env, const struct msg_getattr_req *req, struct msg_getattr_rep *rep, struct txn *txn)
{
	struct inode in;
	int r = inode_load(env->store, req->ino, &in);

	(void)txn;
	if (!r)
		op_fill_attr(env, &in, &rep->attr);
	return r;
}

int op_readlink(struct op_env *env, const struct msg_readlink_req *req, struct msg_readlink_rep *rep, struct txn *txn)
{
	struct meta *m = store_meta(env->store);
	struct meta_key k;
	struct inode in;
	void *val = NULL;
	uint8_t *copy;
	size_t vlen;
	int r = inode_load(env->store, req->ino, &in);

	(void)txn;
	if (r < 0)
		return r;
	if (!S_ISLNK(in.mode))
		return -EINVAL;
	meta_key_target(&k, req->ino);
	r = m->ops->get(m, k.b, k.len, &val, &vlen);
	if (r < 0)
		return r == -ENOENT ? -EIO : r;
	copy = wire_reserve(env->scratch, vlen + 1);
	if (copy) {
		memcpy(copy, val, vlen);
		copy[vlen] = 0;
		rep->target = (const char *)copy;
	}
	free(val);
	return env->scratch->err;
}

int op_statfs(struct op_env *env, const struct msg_statfs_req *req, struct msg_statfs_rep *rep, struct txn *txn)
{
	struct data *d = store_data(env->store);
	uint64_t total, free;
	int r = d->ops->space(d, &total, &free);

	(void)req;
	(void)txn;
	if (r < 0)
		return r;
	rep->bsize = 4096;
	rep->blocks = total / rep->bsize;
	rep->bfree = free / rep->bsize;
	rep->bavail = rep->bfree;
	/* Inodes take only space, so there can be as many as there is space for. */
	rep->ffree = free / rep->bsize;
	rep->files = store_nr_inodes(env->store) + rep->ffree;
	rep->namelen = WIRE_NAME_MAX;
	return 0;
}
