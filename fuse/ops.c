/*
 * The table libfuse calls. Each entry sends the request to where its inode belongs: a subtree, or the operations of
 * filesystems (ops.h).
 */
#include "fuse/ops.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "fuse/reply.h"

static struct mount *mount_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static bool is_sub(fuse_ino_t ino)
{
	return ino & SUBTREE_INO_BIT;
}

/* The subtree's own name: it is there, and nothing in the filesystem can take its place. */
static bool is_sub_name(const struct mount *m, fuse_ino_t parent, const char *name)
{
	return parent == FUSE_ROOT_ID && m->subtree.ops && !strcmp(name, m->subtree.name);
}

/*
 * Calls the subtree's operation when INO is one of its inodes: true, and the request is taken care of. IF_NULL is the
 * answer when it has none.
 */
#define SUBTREE_CALL(m, ino, req, if_null, op, ...)                                    \
	(is_sub(ino) && ((m)->subtree.ops && (m)->subtree.ops->op ?                   \
				 (m)->subtree.ops->op((m)->subtree.ctx, __VA_ARGS__) : \
				 reply_raw_err(req, if_null),                          \
			 true))

static void ll_init(void *userdata, struct fuse_conn_info *conn)
{
	struct mount *m = userdata;

	conn->want &= ~(unsigned int)(FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_SPLICE_READ |
				      FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE | FUSE_CAP_WRITEBACK_CACHE |
				      FUSE_CAP_EXPLICIT_INVAL_DATA);
	conn->want |= conn->capable & (FUSE_CAP_ASYNC_READ | FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_PARALLEL_DIROPS |
				       FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_ASYNC_DIO);
	conn->max_write = m->max_io;
	conn->max_readahead = m->max_io;
	conn->max_background = 64;
	conn->congestion_threshold = 48;
}

static void ll_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct mount *m = mount_of(req);

	if (is_sub_name(m, parent, name))
		m->subtree.ops->lookup(m->subtree.ctx, req, parent, name);
	else if (!SUBTREE_CALL(m, parent, req, -ENOENT, lookup, req, parent, name))
		fuse_op_lookup(m, req, parent, name);
}

static void forget_one(struct mount *m, fuse_ino_t ino, uint64_t n)
{
	if (!is_sub(ino))
		fuse_op_forget(m, ino, n);
	else if (m->subtree.ops && m->subtree.ops->forget)
		m->subtree.ops->forget(m->subtree.ctx, ino, n);
}

static void ll_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	forget_one(mount_of(req), ino, n);
	reply_none(req);
}

static void ll_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		forget_one(mount_of(req), forgets[i].ino, forgets[i].nlookup);
	reply_none(req);
}

static void ll_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);

	if (!SUBTREE_CALL(m, ino, req, -EOPNOTSUPP, getattr, req, ino, fi))
		fuse_op_getattr(m, req, ino);
}

static void ll_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);

	if (!SUBTREE_CALL(m, ino, req, -EPERM, setattr, req, ino, st, to_set, fi))
		fuse_op_setattr(m, req, ino, st, to_set);
}

static void ll_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct mount *m = mount_of(req);

	if (!SUBTREE_CALL(m, ino, req, -EINVAL, readlink, req, ino))
		fuse_op_readlink(m, req, ino);
}

/* True, and answered: NAME in PARENT cannot be made, removed or replaced. */
static bool refuse_name(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name, int own_name)
{
	if (!is_sub(parent) && !is_sub_name(m, parent, name))
		return false;
	reply_raw_err(req, is_sub(parent) ? -EPERM : own_name);
	return true;
}

static void ll_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct mount *m = mount_of(req);

	if (!refuse_name(m, req, parent, name, -EEXIST))
		fuse_op_mknod(m, req, parent, name, mode, rdev);
}

static void ll_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct mount *m = mount_of(req);

	if (!refuse_name(m, req, parent, name, -EEXIST))
		fuse_op_mknod(m, req, parent, name, mode | S_IFDIR, 0);
}

static void ll_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);

	if (!refuse_name(m, req, parent, name, -EISDIR))
		fuse_op_create(m, req, parent, name, mode | S_IFREG, fi);
}

static void ll_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct mount *m = mount_of(req);

	if (!refuse_name(m, req, parent, name, -EEXIST))
		fuse_op_symlink(m, req, target, parent, name);
}

static void ll_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct mount *m = mount_of(req);

	if (refuse_name(m, req, parent, name, -EEXIST))
		return;
	if (is_sub(ino))
		reply_raw_err(req, -EXDEV);
	else
		fuse_op_link(m, req, ino, parent, name);
}

static void ll_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct mount *m = mount_of(req);

	if (!refuse_name(m, req, parent, name, -EISDIR))
		fuse_op_unlink(m, req, parent, name);
}

static void ll_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct mount *m = mount_of(req);

	if (!refuse_name(m, req, parent, name, -EBUSY))
		fuse_op_rmdir(m, req, parent, name);
}

static void ll_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name,
		      unsigned int flags)
{
	struct mount *m = mount_of(req);

	if (is_sub(parent) != is_sub(new_parent))
		reply_raw_err(req, -EXDEV);
	else if (!refuse_name(m, req, parent, name, -EBUSY) && !refuse_name(m, req, new_parent, new_name, -EBUSY))
		fuse_op_rename(m, req, parent, name, new_parent, new_name, flags);
}

static void ll_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);

	if (!SUBTREE_CALL(m, ino, req, -EOPNOTSUPP, open, req, ino, fi))
		fuse_op_open(m, req, ino, fi);
}

static void ll_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);

	if (!SUBTREE_CALL(m, ino, req, -EINVAL, read, req, ino, size, off, fi))
		fuse_op_read(m, req, ino, size, off);
}

static void ll_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);

	if (!SUBTREE_CALL(m, ino, req, -EINVAL, write, req, ino, buf, size, off, fi))
		fuse_op_write(m, req, ino, buf, size, off, fi);
}

static void ll_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);

	if (!SUBTREE_CALL(m, ino, req, 0, release, req, ino, fi))
		fuse_op_release(m, req, ino);
}

static void ll_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)fi;
	if (is_sub(ino))
		reply_raw_err(req, -EINVAL);
	else
		fuse_op_fsync(mount_of(req), req, ino, datasync);
}

static void ll_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);

	if (!SUBTREE_CALL(m, ino, req, -EOPNOTSUPP, opendir, req, ino, fi))
		fuse_op_opendir(m, req, ino, fi);
}

static void ll_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);

	if (!SUBTREE_CALL(m, ino, req, -EOPNOTSUPP, readdir, req, ino, size, off, fi))
		fuse_op_readdir(m, req, ino, size, off, fi, false);
}

static void ll_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);

	if (!SUBTREE_CALL(m, ino, req, -EOPNOTSUPP, readdirplus, req, ino, size, off, fi))
		fuse_op_readdir(m, req, ino, size, off, fi, true);
}

static void ll_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);

	if (!SUBTREE_CALL(m, ino, req, 0, releasedir, req, ino, fi))
		fuse_op_releasedir(m, req, fi);
}

static void ll_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct mount *m = mount_of(req);

	if (!SUBTREE_CALL(m, ino, req, -EOPNOTSUPP, statfs, req, ino))
		fuse_op_statfs(m, req, ino);
}

static void ll_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	if (is_sub(ino))
		reply_raw_err(req, -EOPNOTSUPP);
	else
		fuse_op_setxattr(mount_of(req), req, ino, name, value, size, flags);
}

static void ll_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	if (is_sub(ino))
		reply_raw_err(req, -EOPNOTSUPP);
	else
		fuse_op_getxattr(mount_of(req), req, ino, name, size);
}

static void ll_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	if (is_sub(ino))
		reply_raw_err(req, -EOPNOTSUPP);
	else
		fuse_op_listxattr(mount_of(req), req, ino, size);
}

static void ll_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	if (is_sub(ino))
		reply_raw_err(req, -EOPNOTSUPP);
	else
		fuse_op_removexattr(mount_of(req), req, ino, name);
}

static void ll_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
	(void)fi;
	if (is_sub(ino))
		reply_raw_err(req, -EOPNOTSUPP);
	else
		fuse_op_fallocate(mount_of(req), req, ino, mode, off, len);
}

const struct fuse_lowlevel_ops *ops_table(void)
{
	static const struct fuse_lowlevel_ops table = {
		.init = ll_init,
		.lookup = ll_lookup,
		.forget = ll_forget,
		.forget_multi = ll_forget_multi,
		.getattr = ll_getattr,
		.setattr = ll_setattr,
		.readlink = ll_readlink,
		.mknod = ll_mknod,
		.mkdir = ll_mkdir,
		.unlink = ll_unlink,
		.rmdir = ll_rmdir,
		.symlink = ll_symlink,
		.rename = ll_rename,
		.link = ll_link,
		.create = ll_create,
		.open = ll_open,
		.read = ll_read,
		.write = ll_write,
		/* No flush: nothing waits here to be written, and the kernel writes its pages back without being asked to. */
		.release = ll_release,
		.fsync = ll_fsync,
		.opendir = ll_opendir,
		.readdir = ll_readdir,
		.readdirplus = ll_readdirplus,
		.releasedir = ll_releasedir,
		.fsyncdir = ll_fsync,
		.statfs = ll_statfs,
		.setxattr = ll_setxattr,
		.getxattr = ll_getxattr,
		.listxattr = ll_listxattr,
		.removexattr = ll_removexattr,
		.fallocate = ll_fallocate,
	};

	return &table;
}
