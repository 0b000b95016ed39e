/*
 * Timeouts of names and attributes are 0: the kernel asks for each use and is answered from the daemon's memory while
 * a token is held, so a revoke needs no word to the kernel about names.
 */
#include "fuse/reply.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define BLOCK_SIZE 4096

static fuse_req_t take(struct request *rq)
{
	fuse_req_t freq = rq->freq;

	assert(freq);
	rq->freq = NULL;
	return freq;
}

/* Our error numbers are the kernel's; what only means "somewhere else, later" never gets here. */
static int to_errno(int status)
{
	assert(status <= 0);
	/* The kernel takes ENOSYS as "never ask again", for the whole mount. */
	if (status == -ENOSYS)
		return EOPNOTSUPP;
	return -status;
}

void reply_raw_err(fuse_req_t freq, int status)
{
	fuse_reply_err(freq, to_errno(status));
}

void reply_err(struct request *rq, int status)
{
	reply_raw_err(take(rq), status);
	request_free(rq);
}

void reply_fill_stat(const struct mount *m, const struct wire_attr *attr, struct stat *ret_st)
{
	memset(ret_st, 0, sizeof(*ret_st));
	ret_st->st_ino = mount_fuse_ino(m, attr->ino);
	ret_st->st_mode = attr->mode;
	ret_st->st_nlink = attr->nlink;
	ret_st->st_uid = attr->uid;
	ret_st->st_gid = attr->gid;
	ret_st->st_rdev = attr->rdev;
	ret_st->st_size = (off_t)attr->size;
	ret_st->st_blksize = BLOCK_SIZE;
	ret_st->st_blocks = (blkcnt_t)attr->blocks;
	ret_st->st_atim = (struct timespec){ (time_t)(attr->atime / 1000000000), (long)(attr->atime % 1000000000) };
	ret_st->st_mtim = (struct timespec){ (time_t)(attr->mtime / 1000000000), (long)(attr->mtime % 1000000000) };
	ret_st->st_ctim = (struct timespec){ (time_t)(attr->ctime / 1000000000), (long)(attr->ctime % 1000000000) };
}

static void fill_entry(const struct mount *m, const struct wire_attr *attr, struct fuse_entry_param *ret_e)
{
	memset(ret_e, 0, sizeof(*ret_e));
	ret_e->ino = mount_fuse_ino(m, attr->ino);
	reply_fill_stat(m, attr, &ret_e->attr);
}

void reply_entry(struct request *rq, const struct wire_attr *attr)
{
	struct mount *m = rq->m;
	struct fuse_entry_param e;

	fill_entry(m, attr, &e);
	if (inode_lookup(m->inodes, attr->ino) < 0) {
		reply_err(rq, -ENOMEM);
		return;
	}
	if (fuse_reply_entry(take(rq), &e) < 0)
		inode_forget(m->inodes, attr->ino, 1);
	request_free(rq);
}

void reply_attr(struct request *rq, const struct wire_attr *attr)
{
	struct stat st;

	reply_fill_stat(rq->m, attr, &st);
	fuse_reply_attr(take(rq), &st, 0);
	request_free(rq);
}

bool reply_open(struct request *rq)
{
	bool ok = fuse_reply_open(take(rq), &rq->fi) == 0;

	request_free(rq);
	return ok;
}

bool reply_create(struct request *rq, const struct wire_attr *attr)
{
	struct mount *m = rq->m;
	struct fuse_entry_param e;
	bool ok;

	fill_entry(m, attr, &e);
	if (inode_lookup(m->inodes, attr->ino) < 0) {
		reply_err(rq, -ENOMEM);
		return false;
	}
	ok = fuse_reply_create(take(rq), &e, &rq->fi) == 0;
	if (!ok)
		inode_forget(m->inodes, attr->ino, 1);
	request_free(rq);
	return ok;
}

void reply_write(struct request *rq, size_t written)
{
	fuse_reply_write(take(rq), written);
	request_free(rq);
}

void reply_buf(struct request *rq, const void *buf, size_t len)
{
	fuse_reply_buf(take(rq), buf, len);
	request_free(rq);
}

void reply_xattr(struct request *rq, const void *value, size_t len, size_t size)
{
	if (size == 0)
		fuse_reply_xattr(take(rq), len);
	else if (len > size)
		reply_raw_err(take(rq), -ERANGE);
	else
		fuse_reply_buf(take(rq), value, len);
	request_free(rq);
}

void reply_readlink(struct request *rq, const char *target)
{
	fuse_reply_readlink(take(rq), target);
	request_free(rq);
}

void reply_statfs(struct request *rq, const struct msg_statfs_rep *rep)
{
	struct statvfs st = {
		.f_bsize = rep->bsize,
		.f_frsize = rep->bsize,
		.f_blocks = rep->blocks,
		.f_bfree = rep->bfree,
		.f_bavail = rep->bavail,
		.f_files = rep->files,
		.f_ffree = rep->ffree,
		.f_favail = rep->ffree,
		.f_namemax = rep->namelen,
	};

	fuse_reply_statfs(take(rq), &st);
	request_free(rq);
}

void reply_none(fuse_req_t freq)
{
	fuse_reply_none(freq);
}
