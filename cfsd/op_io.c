/* open, release, read, write, fsync, fallocate. Who has what open is the session part's business. */
#include <fcntl.h>
#include <string.h>

#include "cfsd/content.h"
#include "cfsd/op_impl.h"

/* What a read of anything but a regular file answers. */
static int load_file(struct op_env *env, uint64_t ino, struct inode *ret_inode)
{
	int r = inode_load(env->store, ino, ret_inode);

	if (r < 0)
		return r;
	if (inode_is_dir(ret_inode))
		return -EISDIR;
	return S_ISREG(ret_inode->mode) ? 0 : -EINVAL;
}

int op_open(struct op_env *env, const struct msg_open_req *req, struct msg_open_rep *rep, struct txn *txn)
{
	struct inode in;
	int r = inode_load(env->store, req->ino, &in);

	if (!r && inode_is_dir(&in) && req->flags & (OPEN_WRITE | OPEN_TRUNC))
		r = -EISDIR;
	if (r < 0)
		return r;
	if (req->flags & OPEN_TRUNC && S_ISREG(in.mode)) {
		r = op_set_size(env, &in, 0, txn);
		inode_touch_content(&in, env->now_ns);
		if (!r)
			r = inode_save(txn, &in);
	}
	if (!r)
		op_fill_attr(env, &in, &rep->attr);
	return r;
}

int op_release(struct op_env *env, const struct msg_release_req *req, struct msg_release_rep *rep, struct txn *txn)
{
	(void)env;
	(void)req;
	(void)rep;
	(void)txn;
	return 0;
}

int op_read(struct op_env *env, const struct msg_read_req *req, struct msg_read_rep *rep, struct txn *txn)
{
	size_t len = req->len < WIRE_BLOB_MAX ? req->len : WIRE_BLOB_MAX;
	struct inode in;
	uint8_t *buf;
	int r = load_file(env, req->ino, &in);

	(void)txn;
	if (r < 0)
		return r;
	if (req->off >= in.size)
		return 0;
	if (len > in.size - req->off)
		len = (size_t)(in.size - req->off);
	buf = wire_reserve(env->scratch, len);
	if (!buf)
		return env->scratch->err;
	r = content_read(env, &in, buf, len, req->off);
	if (r < 0)
		return r;
	rep->data = (struct wire_blob){ .p = buf, .len = (uint32_t)len };
	return 0;
}

/* Blocks when LEN bytes at OFF are written to a file that has BLOCKS now: exact for files without holes. */
static uint64_t blocks_after(uint64_t blocks, const struct inode *in, uint64_t off, uint64_t len)
{
	uint64_t first = off / 4096, last = (off + len + 4095) / 4096;
	uint64_t most = (in->size + 4095) / 4096;
	uint64_t grown = blocks + (last - first) * 8;

	return grown < most * 8 ? grown : blocks > most * 8 ? blocks : most * 8;
}

/* Overwriting what is there needs no space, so databases go on when the disk is full. */
static int check_write_space(struct op_env *env, const struct inode *in, uint64_t blocks, uint64_t end, uint64_t len)
{
	if (end <= in->size && blocks * 512 >= in->size)
		return 0;
	return op_check_space(env, len + OP_META_SPACE);
}

int op_write(struct op_env *env, const struct msg_write_req *req, struct msg_write_rep *rep, struct txn *txn)
{
	uint64_t len = req->data.len, off, blocks;
	struct inode in;
	int r = load_file(env, req->ino, &in);

	if (r < 0)
		return r;
	off = req->flags & WRITE_APPEND ? in.size : req->off;
	if (len && off >= INODE_SIZE_MAX)
		return -EFBIG;
	if (len > INODE_SIZE_MAX - off)
		len = INODE_SIZE_MAX - off;
	blocks = content_blocks(env, &in);
	rep->off = off;
	if (len) {
		r = check_write_space(env, &in, blocks, off + len, len);
		if (!r)
			r = content_write(env, &in, req->data.p, (size_t)len, off, txn);
		if (r < 0)
			return r;
		if (req->flags & WRITE_KILL_PRIV)
			inode_kill_priv(&in);
		inode_touch_content(&in, env->now_ns);
		r = inode_save(txn, &in);
		blocks = in.layout == INODE_INLINE ? content_blocks(env, &in) : blocks_after(blocks, &in, off, len);
	}
	rep->written = (uint32_t)len;
	inode_to_attr(&in, blocks, &rep->attr);
	return r;
}

int op_fsync(struct op_env *env, const struct msg_fsync_req *req, struct msg_fsync_rep *rep, struct txn *txn)
{
	struct inode in;

	(void)rep;
	(void)txn;
	return req->ino ? inode_load(env->store, req->ino, &in) : 0;
}

/* fallocate(2) without mode: the size, and that there is room for it now. */
static int extend(struct op_env *env, struct inode *in, uint64_t end, struct txn *txn)
{
	int r;

	if (end <= in->size)
		return 0;
	r = op_check_space(env, end - in->size + OP_META_SPACE);
	return r < 0 ? r : op_set_size(env, in, end, txn);
}

int op_fallocate(struct op_env *env, const struct msg_fallocate_req *req, struct msg_fallocate_rep *rep, struct txn *txn)
{
	struct inode in;
	int r = inode_load(env->store, req->ino, &in);

	if (r < 0)
		return r;
	if (!S_ISREG(in.mode))
		return inode_is_dir(&in) ? -EISDIR : -ENODEV;
	if (req->mode && req->mode != (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE))
		return -EOPNOTSUPP;
	if (!req->len)
		return -EINVAL;
	if (req->off > INODE_SIZE_MAX || req->len > INODE_SIZE_MAX - req->off)
		return -EFBIG;
	if (req->mode)
		r = content_punch(env, &in, req->off, req->len, txn);
	else
		r = extend(env, &in, req->off + req->len, txn);
	if (r < 0)
		return r;
	inode_touch_content(&in, env->now_ns);
	r = inode_save(txn, &in);
	if (!r)
		op_fill_attr(env, &in, &rep->attr);
	return r;
}
