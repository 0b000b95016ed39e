/* Steps that several operations have in common. */
#include "cfsd/content.h"
#include "cfsd/meta_key.h"
#include "cfsd/op_impl.h"
#include "cfsd/system.h"

int op_check_space(struct op_env *env, uint64_t bytes)
{
	struct data *d = store_data(env->store);
	uint64_t total, free;
	int r = d->ops->space(d, &total, &free);

	if (r < 0)
		return r;
	return free < bytes ? -ENOSPC : 0;
}

int op_load_dir(struct op_env *env, uint64_t ino, struct inode *ret_dir)
{
	struct inode dir;
	int r = inode_load(env->store, ino, &dir);

	if (r < 0)
		return r;
	if (!inode_is_dir(&dir))
		return -ENOTDIR;
	*ret_dir = dir;
	return 0;
}

int op_load_parent(struct op_env *env, uint64_t ino, const char *name, struct inode *ret_dir)
{
	int r = dentry_check_name(name);

	if (!r)
		r = op_load_dir(env, ino, ret_dir);
	return !r && !ret_dir->nlink ? -ENOENT : r;
}

int op_load_entry(struct op_env *env, uint64_t parent, const char *name, struct inode *ret_inode)
{
	struct dentry de;
	int r = dentry_load(env->store, parent, name, &de);

	if (!r)
		r = inode_load(env->store, de.ino, ret_inode);
	return r == -ESTALE ? -EIO : r;
}

void op_fill_attr(struct op_env *env, const struct inode *in, struct wire_attr *ret_attr)
{
	inode_to_attr(in, content_blocks(env, in), ret_attr);
}

static int save_counters(struct op_env *env, uint64_t made, uint64_t freed, struct txn *txn)
{
	struct system_counters c = {
		.next_ino = store_next_ino(env->store) + made,
		.nr_inodes = store_nr_inodes(env->store) + made - freed,
	};

	return system_put_counters(&txn->meta, &c);
}

int op_new_inode(struct op_env *env, const struct inode *dir, const struct wire_cred *cred, uint32_t mode, struct txn *txn,
		 struct inode *ret_inode)
{
	int r = op_check_space(env, OP_META_SPACE);

	if (!r)
		r = save_counters(env, 1, 0, txn);
	if (r < 0)
		return r;
	*ret_inode = (struct inode){
		.ino = store_next_ino(env->store),
		.mode = mode,
		.nlink = S_ISDIR(mode) ? 2 : 1,
		.uid = cred ? cred->uid : 0,
		.gid = cred ? cred->gid : 0,
		.atime = env->now_ns,
		.mtime = env->now_ns,
		.ctime = env->now_ns,
		.btime = env->now_ns,
		.change = 1,
		.parent = S_ISDIR(mode) ? dir->ino : 0,
		.layout = S_ISREG(mode) ? INODE_INLINE : 0,
	};
	/* mkdir(2): below a set-group-ID directory all belongs to its group, and so it goes on below. */
	if (dir->mode & S_ISGID) {
		ret_inode->gid = dir->gid;
		if (S_ISDIR(mode))
			ret_inode->mode |= S_ISGID;
	}
	return 0;
}

int op_add_new(struct op_env *env, struct inode *dir, const char *name, struct inode *in, struct txn *txn)
{
	int r = dentry_save(txn, dir->ino, name, in->ino, in->mode);

	if (!r)
		r = inode_save(txn, in);
	inode_touch_content(dir, env->now_ns);
	dir->size++;
	return r < 0 ? r : inode_save(txn, dir);
}

static int delete_xattrs(struct op_env *env, uint64_t ino, struct txn *txn)
{
	struct meta *m = store_meta(env->store);
	struct meta_key from;
	struct meta_iter *it;
	const void *key, *val;
	size_t klen, vlen;
	uint64_t at;
	int r;

	meta_key_xattr(&from, ino, "");
	r = m->ops->iter_new(m, from.b, from.len, &it);
	if (r < 0)
		return r;
	while ((r = m->ops->iter_next(it, &key, &klen, &val, &vlen)) > 0) {
		if (!meta_key_number(key, klen, META_XATTR, &at) || at != ino) {
			r = 0;
			break;
		}
		r = batch_del(&txn->meta, key, klen);
		if (r < 0)
			break;
	}
	m->ops->iter_free(it);
	return r;
}

int op_free_inode(struct op_env *env, const struct inode *in, struct txn *txn)
{
	struct meta_key k;
	int r = in->nr_xattrs ? delete_xattrs(env, in->ino, txn) : 0;

	meta_key_inode(&k, in->ino);
	if (!r)
		r = batch_del(&txn->meta, k.b, k.len);
	if (!r && S_ISLNK(in->mode)) {
		meta_key_target(&k, in->ino);
		r = batch_del(&txn->meta, k.b, k.len);
	}
	if (!r && S_ISREG(in->mode))
		r = content_free(in, txn);
	return r < 0 ? r : save_counters(env, 0, 1, txn);
}

int op_drop_link(struct op_env *env, struct inode *in, struct txn *txn)
{
	struct meta_key k;
	int r = 0;

	inode_touch(in, env->now_ns);
	in->nlink = inode_is_dir(in) ? 0 : in->nlink - 1;
	if (!in->nlink && !(env->is_open && env->is_open(env->is_open_ctx, in->ino)))
		return op_free_inode(env, in, txn);
	if (!in->nlink) {
		meta_key_orphan(&k, in->ino);
		r = batch_put(&txn->meta, k.b, k.len, NULL, 0);
	}
	return r < 0 ? r : inode_save(txn, in);
}

int op_set_size(struct op_env *env, struct inode *in, uint64_t size, struct txn *txn)
{
	return size > INODE_SIZE_MAX ? -EFBIG : content_set_size(env, in, size, txn);
}
