/* readdir. */
#include <string.h>

#include "cfsd/meta_key.h"
#include "cfsd/op_impl.h"
#include "common/bytes.h"

enum { READDIR_MAX = 1 << 20 };

/* Adds one entry if it fits below LIMIT: 1 it does, 0 not. */
static int put_entry(struct op_env *env, const char *name, size_t nlen, const struct inode *in, size_t limit)
{
	struct wire_writer *w = env->scratch;
	size_t start = w->len;
	struct wire_attr attr;
	uint8_t *p = wire_reserve(w, 2);

	if (!p)
		return w->err;
	op_fill_attr(env, in, &attr);
	wire_put_attr(w, &attr);
	p = wire_reserve(w, nlen + 1);
	if (!p)
		return w->err;
	memcpy(p, name, nlen);
	p[nlen] = 0;
	if (w->len > limit) {
		w->len = start;
		return 0;
	}
	put_le16(w->buf + start, (uint16_t)(w->len - start));
	return 1;
}

/* The entry under the iterator: 1 taken, 0 no more room, -ENODATA past the directory. */
static int take_entry(struct op_env *env, uint64_t dir, const struct batch_item *item, size_t limit)
{
	struct dentry de;
	struct inode in;
	const char *name;
	uint64_t parent;
	size_t nlen;
	int r;

	if (!meta_key_number(item->key, item->klen, META_DENTRY, &parent) || parent != dir)
		return -ENODATA;
	name = meta_key_name(item->key, item->klen, &nlen);
	r = dentry_decode(item->val, item->vlen, &de);
	if (!r)
		r = inode_load(env->store, de.ino, &in);
	if (r < 0)
		return r == -ESTALE ? -EIO : r;
	return put_entry(env, name, nlen, &in, limit);
}

static int fill(struct op_env *env, const struct msg_readdir_req *req, size_t limit, uint8_t *ret_eof)
{
	struct meta *m = store_meta(env->store);
	struct batch_item item;
	struct meta_iter *it;
	struct meta_key from;
	int r;

	meta_key_dentry(&from, req->ino, req->after ? req->after : "");
	/* The smallest key behind that of AFTER. */
	if (req->after && *req->after)
		from.b[from.len++] = 0;
	r = m->ops->iter_new(m, from.b, from.len, &it);
	if (r < 0)
		return r;
	do {
		r = m->ops->iter_next(it, &item.key, &item.klen, &item.val, &item.vlen);
		if (!r)
			r = -ENODATA;
		if (r > 0)
			r = take_entry(env, req->ino, &item, limit);
	} while (r > 0);
	m->ops->iter_free(it);
	*ret_eof = r == -ENODATA;
	return r == -ENODATA ? 0 : r;
}

int op_readdir(struct op_env *env, const struct msg_readdir_req *req, struct msg_readdir_rep *rep, struct txn *txn)
{
	size_t max = req->max_bytes < READDIR_MAX ? req->max_bytes : READDIR_MAX;
	size_t start = env->scratch->len;
	struct inode dir;
	int r = op_load_dir(env, req->ino, &dir);

	(void)txn;
	if (!r && req->after && strlen(req->after) > WIRE_NAME_MAX)
		r = -ENAMETOOLONG;
	if (!r)
		r = fill(env, req, start + max, &rep->eof);
	if (r < 0)
		return r;
	if (env->scratch->len == start && !rep->eof)
		return -EINVAL; /* getdents(2): the buffer is too small for one entry */
	if (env->scratch->len > start)
		rep->entries = (struct wire_blob){ .p = env->scratch->buf + start,
						   .len = (uint32_t)(env->scratch->len - start) };
	return 0;
}
