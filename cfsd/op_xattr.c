/* Extended attributes, xattr(7). Whose may be set on what, the kernel decides. */
#include <linux/limits.h>
#include <string.h>
#include <sys/xattr.h>

#include "cfsd/meta_key.h"
#include "cfsd/op_impl.h"
#include "common/cleanup.h"

static int check_name(const char *name)
{
	if (!name || !*name)
		return -ERANGE;
	if (strlen(name) > XATTR_NAME_MAX)
		return -ERANGE;
	/* Access control lists that nobody checks would be worse than none. */
	return !strncmp(name, "system.", 7) ? -EOPNOTSUPP : 0;
}

static int load_value(struct op_env *env, uint64_t ino, const char *name, void **ret_val, size_t *ret_vlen)
{
	struct meta *m = store_meta(env->store);
	struct meta_key k;
	int r;

	meta_key_xattr(&k, ino, name);
	r = m->ops->get(m, k.b, k.len, ret_val, ret_vlen);
	return r == -ENOENT ? -ENODATA : r;
}

int op_getxattr(struct op_env *env, const struct msg_getxattr_req *req, struct msg_getxattr_rep *rep, struct txn *txn)
{
	_cleanup_free_ void *val = NULL;
	struct inode in;
	uint8_t *copy;
	size_t vlen;
	int r = check_name(req->attr_name);

	(void)txn;
	if (!r)
		r = inode_load(env->store, req->ino, &in);
	if (!r)
		r = in.nr_xattrs ? load_value(env, req->ino, req->attr_name, &val, &vlen) : -ENODATA;
	if (r < 0)
		return r;
	copy = wire_reserve(env->scratch, vlen);
	if (!copy)
		return env->scratch->err;
	memcpy(copy, val, vlen);
	rep->value = (struct wire_blob){ .p = copy, .len = (uint32_t)vlen };
	return 0;
}

/* setxattr(2): may this name be set, and is it a new one (1) or not (0)? */
static int check_flags(struct op_env *env, const struct msg_setxattr_req *req, const struct inode *in)
{
	_cleanup_free_ void *old = NULL;
	size_t vlen;
	int r = in->nr_xattrs ? load_value(env, req->ino, req->attr_name, &old, &vlen) : -ENODATA;

	if (r < 0 && r != -ENODATA)
		return r;
	if (!r && req->flags & XATTR_CREATE)
		return -EEXIST;
	if (r && req->flags & XATTR_REPLACE)
		return -ENODATA;
	return r ? 1 : 0;
}

int op_setxattr(struct op_env *env, const struct msg_setxattr_req *req, struct msg_setxattr_rep *rep, struct txn *txn)
{
	struct meta_key k;
	struct inode in;
	int r = check_name(req->attr_name);

	(void)rep;
	if (!r && req->flags & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE))
		r = -EINVAL;
	if (!r && req->value.len > XATTR_SIZE_MAX)
		r = -E2BIG;
	if (!r)
		r = inode_load(env->store, req->ino, &in);
	if (!r)
		r = check_flags(env, req, &in);
	if (r > 0 && in.nr_xattrs >= INODE_XATTR_MAX)
		return -ENOSPC;
	if (r < 0)
		return r;
	in.nr_xattrs += (uint32_t)r;
	r = op_check_space(env, OP_META_SPACE + req->value.len);
	if (r < 0)
		return r;
	meta_key_xattr(&k, req->ino, req->attr_name);
	r = batch_put(&txn->meta, k.b, k.len, req->value.len ? req->value.p : "", req->value.len);
	inode_touch(&in, env->now_ns);
	return r < 0 ? r : inode_save(txn, &in);
}

int op_removexattr(struct op_env *env, const struct msg_removexattr_req *req, struct msg_removexattr_rep *rep,
		   struct txn *txn)
{
	_cleanup_free_ void *old = NULL;
	struct meta_key k;
	struct inode in;
	size_t vlen;
	int r = check_name(req->attr_name);

	(void)rep;
	if (!r)
		r = inode_load(env->store, req->ino, &in);
	if (!r)
		r = load_value(env, req->ino, req->attr_name, &old, &vlen);
	if (r < 0)
		return r;
	meta_key_xattr(&k, req->ino, req->attr_name);
	r = batch_del(&txn->meta, k.b, k.len);
	in.nr_xattrs--;
	inode_touch(&in, env->now_ns);
	return r < 0 ? r : inode_save(txn, &in);
}

static int put_names(struct op_env *env, uint64_t ino)
{
	struct meta *m = store_meta(env->store);
	struct meta_iter *it;
	struct meta_key from;
	const void *key, *val;
	size_t klen, vlen, nlen;
	uint64_t at;
	int r;

	meta_key_xattr(&from, ino, "");
	r = m->ops->iter_new(m, from.b, from.len, &it);
	if (r < 0)
		return r;
	while ((r = m->ops->iter_next(it, &key, &klen, &val, &vlen)) > 0) {
		const char *name;
		uint8_t *p;

		r = 0;
		if (!meta_key_number(key, klen, META_XATTR, &at) || at != ino)
			break;
		name = meta_key_name(key, klen, &nlen);
		p = wire_reserve(env->scratch, nlen + 1);
		if (!p) {
			r = env->scratch->err;
			break;
		}
		memcpy(p, name, nlen);
		p[nlen] = 0;
	}
	m->ops->iter_free(it);
	return r;
}

int op_listxattr(struct op_env *env, const struct msg_listxattr_req *req, struct msg_listxattr_rep *rep, struct txn *txn)
{
	size_t start = env->scratch->len;
	struct inode in;
	int r = inode_load(env->store, req->ino, &in);

	(void)txn;
	if (!r && in.nr_xattrs)
		r = put_names(env, req->ino);
	if (!r)
		rep->names = (struct wire_blob){ .p = env->scratch->len > start ? env->scratch->buf + start : NULL,
						 .len = (uint32_t)(env->scratch->len - start) };
	return r;
}
