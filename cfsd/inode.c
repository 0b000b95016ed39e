#include "cfsd/inode.h"

#include <errno.h>

#include "cfsd/meta_key.h"
#include "common/cleanup.h"

enum { INODE_VERSION = 1 };

int inode_decode(uint64_t ino, const void *val, size_t vlen, struct inode *ret_inode)
{
	struct wire_reader r = { .p = val, .end = (const uint8_t *)val + vlen };
	struct inode in = { .ino = ino };
	uint8_t version;
	int err = wire_get_u8(&r, &version);

	if (err < 0)
		return err;
	if (version > INODE_VERSION)
		return -EPROTONOSUPPORT;
#define F(type, field) err = err ? err : wire_get_##type(&r, &in.field);
	INODE_FIELDS
#undef F
	if (err < 0 || r.p != r.end || version != INODE_VERSION)
		return -EBADMSG;
	*ret_inode = in;
	return 0;
}

int inode_load(struct store *s, uint64_t ino, struct inode *ret_inode)
{
	struct meta *m = store_meta(s);
	_cleanup_free_ void *val = NULL;
	struct meta_key k;
	size_t vlen;
	int r;

	meta_key_inode(&k, ino);
	r = m->ops->get(m, k.b, k.len, &val, &vlen);
	if (r < 0)
		return r == -ENOENT ? -ESTALE : r;
	return inode_decode(ino, val, vlen, ret_inode);
}

int inode_save(struct txn *txn, const struct inode *in)
{
	struct wire_writer w;
	struct meta_key k;
	uint8_t version = INODE_VERSION;
	int err;

	wire_writer_init(&w);
	err = wire_put_u8(&w, &version);
#define F(type, field) err = err ? err : wire_put_##type(&w, &in->field);
	INODE_FIELDS
#undef F
	meta_key_inode(&k, in->ino);
	if (!err)
		err = batch_put(&txn->meta, k.b, k.len, w.buf, w.len);
	wire_writer_release(&w);
	return err;
}

void inode_to_attr(const struct inode *in, uint64_t blocks, struct wire_attr *ret_attr)
{
	*ret_attr = (struct wire_attr){
		.ino = in->ino,
		.mode = in->mode,
		.nlink = in->nlink,
		.uid = in->uid,
		.gid = in->gid,
		.rdev = in->rdev,
		.size = in->size,
		.blocks = blocks,
		.atime = in->atime,
		.mtime = in->mtime,
		.ctime = in->ctime,
		.btime = in->btime,
		.change = in->change,
	};
}

void inode_touch(struct inode *in, uint64_t now_ns)
{
	in->ctime = now_ns > in->ctime ? now_ns : in->ctime + 1;
	in->change++;
}

void inode_touch_content(struct inode *in, uint64_t now_ns)
{
	inode_touch(in, now_ns);
	in->mtime = in->ctime;
}

void inode_kill_priv(struct inode *in)
{
	if (inode_is_dir(in))
		return;
	in->mode &= ~(uint32_t)S_ISUID;
	/* Without group execution the bit once meant mandatory locking, and stays. */
	if (in->mode & S_IXGRP)
		in->mode &= ~(uint32_t)S_ISGID;
}
