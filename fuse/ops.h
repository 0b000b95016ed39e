/*
 * The operations of filesystems, one file per family: each takes a request of the kernel and answers it, at once from
 * the cache or later with the server's reply. ops.c is the table libfuse calls; it sends what belongs to a subtree
 * there, and the rest here.
 */
#ifndef CFS_FUSE_OPS_H
#define CFS_FUSE_OPS_H

#include "fuse/mount.h"

/* The table for fuse_session_new(); userdata is the struct mount. */
const struct fuse_lowlevel_ops *ops_table(void);

/* op_lookup.c */
void fuse_op_lookup(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name);
void fuse_op_forget(struct mount *m, fuse_ino_t ino, uint64_t n);
/* op_attr.c */
void fuse_op_getattr(struct mount *m, fuse_req_t req, fuse_ino_t ino);
void fuse_op_setattr(struct mount *m, fuse_req_t req, fuse_ino_t ino, const struct stat *st, int to_set);
void fuse_op_statfs(struct mount *m, fuse_req_t req, fuse_ino_t ino);
/* op_create.c: new names */
void fuse_op_create(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       const struct fuse_file_info *fi);
void fuse_op_mknod(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void fuse_op_symlink(struct mount *m, fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void fuse_op_link(struct mount *m, fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);
/* op_unlink.c: names that go or change */
void fuse_op_unlink(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name);
void fuse_op_rmdir(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name);
void fuse_op_rename(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	       const char *new_name, unsigned int flags);
/* op_open.c */
void fuse_op_open(struct mount *m, fuse_req_t req, fuse_ino_t ino, const struct fuse_file_info *fi);
void fuse_op_release(struct mount *m, fuse_req_t req, fuse_ino_t ino);
/* If nobody has IN open: the server shall not hold it any more. True: it is being told. */
bool fuse_op_let_go(struct mount *m, struct inode *in);
/* op_io.c */
void fuse_op_read(struct mount *m, fuse_req_t req, fuse_ino_t ino, size_t size, off_t off);
void fuse_op_write(struct mount *m, fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
	      const struct fuse_file_info *fi);
void fuse_op_fsync(struct mount *m, fuse_req_t req, fuse_ino_t ino, int datasync);
void fuse_op_fallocate(struct mount *m, fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len);
void fuse_op_readlink(struct mount *m, fuse_req_t req, fuse_ino_t ino);
/* op_dir.c */
void fuse_op_opendir(struct mount *m, fuse_req_t req, fuse_ino_t ino, const struct fuse_file_info *fi);
void fuse_op_readdir(struct mount *m, fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		const struct fuse_file_info *fi, bool plus);
void fuse_op_releasedir(struct mount *m, fuse_req_t req, const struct fuse_file_info *fi);
/* op_xattr.c */
void fuse_op_getxattr(struct mount *m, fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void fuse_op_setxattr(struct mount *m, fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
		 int flags);
void fuse_op_listxattr(struct mount *m, fuse_req_t req, fuse_ino_t ino, size_t size);
void fuse_op_removexattr(struct mount *m, fuse_req_t req, fuse_ino_t ino, const char *name);

/* For op_create.c, whose reply brings an inode and a hold of it: counts the open and answers. */
void fuse_op_adopt_open(struct request *rq, const struct wire_attr *attr);

#endif
