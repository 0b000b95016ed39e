/* What the op_*.c share. */
#ifndef CFS_CFSD_OP_IMPL_H
#define CFS_CFSD_OP_IMPL_H

#include <errno.h>

#include "cfsd/dentry.h"
#include "cfsd/inode.h"
#include "cfsd/op.h"

#define OP(name, change)                                                                                       \
	int op_##name(struct op_env *env, const struct msg_##name##_req *req, struct msg_##name##_rep *rep,    \
		      struct txn *txn);
#include "cfsd/ops.def"
#undef OP

/* What one new name, inode or attribute may cost on disk, generously: with less than that nothing is made. */
#define OP_META_SPACE ((uint64_t)64 << 10)

/* -ENOSPC unless BYTES more can be stored. Asked before anything is changed, so that a full disk stops no server. */
int op_check_space(struct op_env *env, uint64_t bytes);

/* A directory: -ESTALE, -ENOTDIR. */
int op_load_dir(struct op_env *env, uint64_t ino, struct inode *ret_dir);
/* A directory in which NAME can be made or removed: -EINVAL, -ENAMETOOLONG for the name, -ENOENT when it is removed. */
int op_load_parent(struct op_env *env, uint64_t ino, const char *name, struct inode *ret_dir);
/* Entry and inode: -ENOENT; -EIO when the name leads nowhere. */
int op_load_entry(struct op_env *env, uint64_t parent, const char *name, struct inode *ret_inode);

void op_fill_attr(struct op_env *env, const struct inode *in, struct wire_attr *ret_attr);

/* A new inode in DIR, not yet saved; takes a number. CRED may be NULL (root). */
int op_new_inode(struct op_env *env, const struct inode *dir, const struct wire_cred *cred, uint32_t mode, struct txn *txn,
		 struct inode *ret_inode);
/* Puts IN into DIR under NAME and saves both: the common end of create, mknod and symlink. */
int op_add_new(struct op_env *env, struct inode *dir, const char *name, struct inode *in, struct txn *txn);
/* One name less (for a directory: the name). The inode goes with the last one, or becomes an orphan while it is open. */
int op_drop_link(struct op_env *env, struct inode *in, struct txn *txn);
/* Removes all there is of an inode. */
int op_free_inode(struct op_env *env, const struct inode *in, struct txn *txn);
/* A regular file's size. -EFBIG. Times are the caller's. */
int op_set_size(struct op_env *env, struct inode *in, uint64_t size, struct txn *txn);

#endif
