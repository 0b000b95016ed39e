#include "cfsd/content.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cfsd/meta_key.h"
#include "common/cleanup.h"

static bool is_inline(const struct inode *in)
{
	return in->layout == INODE_INLINE;
}

/* What the key F holds, with room up to CONTENT_INLINE_MAX, zeros behind. *ret_len 0: there is no key. */
static int load(const struct op_env *env, const struct inode *in, uint8_t ret_bytes[CONTENT_INLINE_MAX], size_t *ret_len)
{
	struct meta *m = store_meta(env->store);
	_cleanup_free_ void *val = NULL;
	struct meta_key k;
	size_t len = 0;
	int r = 0;

	meta_key_content(&k, in->ino);
	if (in->size)
		r = m->ops->get(m, k.b, k.len, &val, &len);
	if (r < 0 && r != -ENOENT)
		return r;
	if (len > CONTENT_INLINE_MAX || len > in->size)
		return -EBADMSG;
	if (len)
		memcpy(ret_bytes, val, len);
	memset(ret_bytes + len, 0, CONTENT_INLINE_MAX - len);
	*ret_len = len;
	return 0;
}

/* LEN 0: no key. */
static int save(struct txn *txn, const struct inode *in, const void *bytes, size_t len)
{
	struct meta_key k;

	meta_key_content(&k, in->ino);
	return len ? batch_put(&txn->meta, k.b, k.len, bytes, len) : batch_del(&txn->meta, k.b, k.len);
}

int content_read(struct op_env *env, const struct inode *in, void *buf, size_t len, uint64_t off)
{
	struct data *d = store_data(env->store);
	uint8_t bytes[CONTENT_INLINE_MAX];
	ssize_t n = 0;
	size_t have;
	int r;

	if (!is_inline(in)) {
		n = d->ops->read(d, in->ino, buf, len, off);
		if (n < 0)
			return (int)n;
	} else if (off < CONTENT_INLINE_MAX) {
		r = load(env, in, bytes, &have);
		if (r < 0)
			return r;
		n = (ssize_t)(len < CONTENT_INLINE_MAX - off ? len : CONTENT_INLINE_MAX - off);
		memcpy(buf, bytes + off, (size_t)n);
	}
	memset((uint8_t *)buf + n, 0, len - (size_t)n);
	return 0;
}

static int write_inline(struct op_env *env, const struct inode *in, const void *buf, size_t len, size_t off,
			struct txn *txn)
{
	uint8_t bytes[CONTENT_INLINE_MAX];
	size_t have;
	int r;

	/* Nothing is left of what was there. */
	if (!off && len >= in->size)
		return save(txn, in, buf, len);
	r = load(env, in, bytes, &have);
	if (r < 0)
		return r;
	memcpy(bytes + off, buf, len);
	return save(txn, in, bytes, have > off + len ? have : off + len);
}

/* Into a backing file, which is not there yet. */
static int move_out(struct op_env *env, struct inode *in, struct txn *txn)
{
	uint8_t bytes[CONTENT_INLINE_MAX];
	size_t have;
	int r = load(env, in, bytes, &have);

	in->layout = INODE_FILE;
	if (r < 0 || !have)
		return r;
	r = save(txn, in, NULL, 0);
	return r < 0 ? r : txn_append(txn, in->ino, 0, bytes, have);
}

int content_write(struct op_env *env, struct inode *in, const void *buf, size_t len, uint64_t off, struct txn *txn)
{
	uint64_t end = off + len;
	bool fresh = is_inline(in) && end > CONTENT_INLINE_MAX;
	int r;

	if (fresh) {
		r = move_out(env, in, txn);
		if (r < 0)
			return r;
	}
	/* Nobody sees what is beyond the end before the record is applied, or in a backing file that is not used yet. */
	if (is_inline(in))
		r = write_inline(env, in, buf, len, (size_t)off, txn);
	else if (fresh || off >= in->size)
		r = txn_append(txn, in->ino, off, buf, len);
	else
		r = txn_write(txn, in->ino, off, buf, len);
	if (end > in->size)
		in->size = end;
	in->stamp = env->pos;
	return r;
}

static int shrink_inline(struct op_env *env, const struct inode *in, uint64_t size, struct txn *txn)
{
	uint8_t bytes[CONTENT_INLINE_MAX];
	size_t have;
	int r = load(env, in, bytes, &have);

	return r < 0 || have <= size ? r : save(txn, in, bytes, (size_t)size);
}

int content_set_size(struct op_env *env, struct inode *in, uint64_t size, struct txn *txn)
{
	int r = 0;

	/* What is kept is never longer than the inode says, so a file that grows has zeros there. */
	if (size < in->size) {
		if (is_inline(in))
			r = shrink_inline(env, in, size, txn);
		else if (size)
			r = txn_truncate(txn, in->ino, size);
		else
			r = txn_remove(txn, in->ino);
		if (!size)
			in->layout = INODE_INLINE;
		in->stamp = env->pos;
	}
	in->size = size;
	return r;
}

int content_punch(struct op_env *env, struct inode *in, uint64_t off, uint64_t len, struct txn *txn)
{
	uint8_t bytes[CONTENT_INLINE_MAX];
	size_t have;
	int r;

	if (off >= in->size)
		return 0;
	if (len > in->size - off)
		len = in->size - off;
	in->stamp = env->pos;
	if (!is_inline(in))
		return txn_punch(txn, in->ino, off, len);
	r = load(env, in, bytes, &have);
	if (r < 0 || off >= have)
		return r;
	memset(bytes + off, 0, len < have - off ? (size_t)len : have - (size_t)off);
	return save(txn, in, bytes, have);
}

int content_free(const struct inode *in, struct txn *txn)
{
	if (!is_inline(in))
		return txn_remove(txn, in->ino);
	return in->size ? save(txn, in, NULL, 0) : 0;
}

uint64_t content_blocks(const struct op_env *env, const struct inode *in)
{
	struct data *d = store_data(env->store);

	if (!S_ISREG(in->mode) || !in->size)
		return 0;
	if (!is_inline(in))
		return d->ops->blocks(d, in->ino);
	return CONTENT_INLINE_MAX / 512;
}
