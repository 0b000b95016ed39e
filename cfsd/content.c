#include "cfsd/content.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cfsd/meta_key.h"
#include "common/cleanup.h"

/* Has a key F. */
static bool has_head(const struct inode *in)
{
	return in->layout != INODE_FILE;
}

/* Has a backing file. */
static bool has_file(const struct inode *in)
{
	return in->layout != INODE_INLINE;
}

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* How many of LEN bytes at OFF are in the head. */
static size_t in_head(const struct inode *in, uint64_t off, uint64_t len)
{
	return has_head(in) && off < CONTENT_HEAD ? (size_t)min64(len, CONTENT_HEAD - off) : 0;
}

/* What the key F holds, with room up to CONTENT_HEAD, zeros behind. *ret_len 0: there is no key. */
static int load(const struct op_env *env, const struct inode *in, uint8_t ret_bytes[CONTENT_HEAD], size_t *ret_len)
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
	if (len > CONTENT_HEAD || len > in->size)
		return -EBADMSG;
	if (len)
		memcpy(ret_bytes, val, len);
	memset(ret_bytes + len, 0, CONTENT_HEAD - len);
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

static int read_head(struct op_env *env, const struct inode *in, void *buf, size_t len, uint64_t off)
{
	uint8_t bytes[CONTENT_HEAD];
	size_t have;
	int r = load(env, in, bytes, &have);

	if (!r)
		memcpy(buf, bytes + off, len);
	return r;
}

int content_read(struct op_env *env, const struct inode *in, void *buf, size_t len, uint64_t off)
{
	struct data *d = store_data(env->store);
	size_t done = in_head(in, off, len);
	ssize_t n = 0;
	int r = done ? read_head(env, in, buf, done, off) : 0;

	if (!r && done < len && has_file(in))
		n = d->ops->read(d, in->ino, (uint8_t *)buf + done, len - done, off + done);
	if (r < 0 || n < 0)
		return r < 0 ? r : (int)n;
	done += (size_t)n;
	memset((uint8_t *)buf + done, 0, len - done);
	return 0;
}

static int write_head(struct op_env *env, const struct inode *in, const void *buf, size_t len, size_t off, struct txn *txn)
{
	uint8_t bytes[CONTENT_HEAD];
	size_t have;
	int r;

	/* Nothing is left of what was there. */
	if (!off && (len >= in->size || len == CONTENT_HEAD))
		return save(txn, in, buf, len);
	r = load(env, in, bytes, &have);
	if (r < 0)
		return r;
	memcpy(bytes + off, buf, len);
	return save(txn, in, bytes, have > off + len ? have : off + len);
}

/* The first write beyond the head gives it a backing file: for everything, if nothing is in the head yet. */
static int begin_file(struct op_env *env, struct inode *in)
{
	uint8_t bytes[CONTENT_HEAD];
	size_t have;
	int r = load(env, in, bytes, &have);

	if (!r)
		in->layout = have ? INODE_HEAD : INODE_FILE;
	return r;
}

int content_write(struct op_env *env, struct inode *in, const void *buf, size_t len, uint64_t off, struct txn *txn)
{
	uint64_t end = off + len;
	bool fresh = !has_file(in) && end > CONTENT_HEAD;
	size_t head;
	int r = fresh ? begin_file(env, in) : 0;

	head = in_head(in, off, len);
	if (!r && head)
		r = write_head(env, in, buf, head, (size_t)off, txn);
	buf = (const uint8_t *)buf + head;
	off += head;
	len -= head;
	/* Nobody sees what is beyond the end before the record is applied, or in a backing file that is not used yet. */
	if (!r && len && (fresh || off >= in->size))
		r = txn_append(txn, in->ino, off, buf, len);
	else if (!r && len)
		r = txn_write(txn, in->ino, off, buf, len);
	if (end > in->size)
		in->size = end;
	in->stamp = env->pos;
	return r;
}

static int shrink_head(struct op_env *env, const struct inode *in, uint64_t size, struct txn *txn)
{
	uint8_t bytes[CONTENT_HEAD];
	size_t have;
	int r = load(env, in, bytes, &have);

	return r < 0 || have <= size ? r : save(txn, in, bytes, (size_t)size);
}

int content_set_size(struct op_env *env, struct inode *in, uint64_t size, struct txn *txn)
{
	int r = 0;

	/* What is kept is never longer than the inode says, so a file that grows has zeros there. */
	if (size < in->size) {
		if (has_head(in) && size < CONTENT_HEAD)
			r = shrink_head(env, in, size, txn);
		if (!r && has_file(in))
			r = txn_truncate(txn, in->ino, size);
		in->stamp = env->pos;
	}
	in->size = size;
	return r;
}

static int punch_head(struct op_env *env, const struct inode *in, size_t off, size_t len, struct txn *txn)
{
	uint8_t bytes[CONTENT_HEAD];
	size_t have;
	int r = load(env, in, bytes, &have);

	if (r < 0 || off >= have)
		return r;
	memset(bytes + off, 0, min64(len, have - off));
	return save(txn, in, bytes, have);
}

int content_punch(struct op_env *env, struct inode *in, uint64_t off, uint64_t len, struct txn *txn)
{
	size_t head;
	int r = 0;

	if (off >= in->size)
		return 0;
	len = min64(len, in->size - off);
	head = in_head(in, off, len);
	in->stamp = env->pos;
	if (head)
		r = punch_head(env, in, (size_t)off, head, txn);
	if (!r && has_file(in) && len > head)
		r = txn_punch(txn, in->ino, off + head, len - head);
	return r;
}

int content_free(const struct inode *in, struct txn *txn)
{
	int r = has_head(in) && in->size ? save(txn, in, NULL, 0) : 0;

	return r < 0 || !has_file(in) ? r : txn_remove(txn, in->ino);
}

uint64_t content_blocks(const struct op_env *env, const struct inode *in)
{
	struct data *d = store_data(env->store);

	if (!S_ISREG(in->mode) || !in->size)
		return 0;
	return (has_head(in) ? CONTENT_HEAD / 512 : 0) + (has_file(in) ? d->ops->blocks(d, in->ino) : 0);
}
