/* Directories of the tree: attributes of entries, and listing them. */
#ifndef CFS_PROCFS_DIR_H
#define CFS_PROCFS_DIR_H

#include "fuse/subtree.h"
#include "procfs-cluster/show.h"

/* Seconds the kernel may go by a name or attributes: those in the table, those of a process. */
#define TREE_FIXED_TIMEOUT 3600.0
#define TREE_PROCESS_TIMEOUT 1.0
#define TREE_PUBLIC_TIMEOUT 10.0

/* ID: the process a node belongs to; all 0 for what belongs to none. */
void dir_entry_param(const struct tree_node *node, const struct ident *id, struct fuse_entry_param *ret);
/* Answers the lookup of a descriptor or thread: whether it is there is seen in the listing of its directory. */
void dir_lookup_below(struct procfs *fs, fuse_req_t req, const struct tree_node *node);

/* Operations of struct subtree_ops; CTX is the procfs. */
void dir_open(void *ctx, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void dir_read(void *ctx, fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void dir_readplus(void *ctx, fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void dir_release(void *ctx, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

#endif
