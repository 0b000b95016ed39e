/* unlink, rmdir, and the end of orphans. */
#include "cfsd/meta_key.h"
#include "cfsd/op_impl.h"

/* The common end of unlink and rmdir. */
static int remove_entry(struct op_env *env, struct inode *dir, const char *name, struct inode *in, struct txn *txn)
{
	int r = dentry_delete(txn, dir->ino, name);

	if (!r)
		r = op_drop_link(env, in, txn);
	dir->size--;
	inode_touch_content(dir, env->now_ns);
	return r < 0 ? r : inode_save(txn, dir);
}

int op_unlink(struct op_env *env, const struct msg_unlink_req *req, struct msg_unlink_rep *rep, struct txn *txn)
{
	struct inode dir, in;
	int r = op_load_parent(env, req->parent, req->entry, &dir);

	if (!r)
		r = op_load_entry(env, req->parent, req->entry, &in);
	if (!r && inode_is_dir(&in))
		r = -EISDIR;
	if (!r)
		r = remove_entry(env, &dir, req->entry, &in, txn);
	if (r < 0)
		return r;
	rep->ino = in.ino;
	op_fill_attr(env, &dir, &rep->dir_attr);
	return 0;
}

int op_rmdir(struct op_env *env, const struct msg_rmdir_req *req, struct msg_rmdir_rep *rep, struct txn *txn)
{
	struct inode dir, in;
	int r = op_load_parent(env, req->parent, req->entry, &dir);

	if (!r)
		r = op_load_entry(env, req->parent, req->entry, &in);
	if (!r && !inode_is_dir(&in))
		r = -ENOTDIR;
	if (!r && in.size)
		r = -ENOTEMPTY;
	if (r < 0)
		return r;
	dir.nlink--;
	r = remove_entry(env, &dir, req->entry, &in, txn);
	if (r < 0)
		return r;
	rep->ino = in.ino;
	op_fill_attr(env, &dir, &rep->dir_attr);
	return 0;
}

int op_reap(struct op_env *env, uint64_t ino, struct txn *txn)
{
	struct inode in;
	struct meta_key k;
	int r = inode_load(env->store, ino, &in);

	if (!r && in.nlink)
		r = -ENOENT;
	if (r < 0)
		return r == -ESTALE ? -ENOENT : r;
	meta_key_orphan(&k, ino);
	r = batch_del(&txn->meta, k.b, k.len);
	if (!r)
		r = op_free_inode(env, &in, txn);
	if (r < 0)
		txn_clear(txn);
	return r;
}

int op_orphans(struct store *s, int (*fn)(void *ctx, uint64_t ino), void *ctx)
{
	struct meta *m = store_meta(s);
	const uint8_t from = META_ORPHAN;
	struct meta_iter *it;
	const void *key, *val;
	size_t klen, vlen;
	uint64_t ino;
	int r = m->ops->iter_new(m, &from, 1, &it);

	if (r < 0)
		return r;
	while ((r = m->ops->iter_next(it, &key, &klen, &val, &vlen)) > 0) {
		r = 0;
		if (!meta_key_number(key, klen, META_ORPHAN, &ino))
			break;
		r = fn(ctx, ino);
		if (r < 0)
			break;
	}
	m->ops->iter_free(it);
	return r;
}
