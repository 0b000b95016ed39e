/* Files and links of the tree: operations of struct subtree_ops; CTX is the procfs. */
#ifndef CFS_PROCFS_FILE_H
#define CFS_PROCFS_FILE_H

#include "fuse/subtree.h"

void file_open(void *ctx, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void file_read(void *ctx, fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void file_release(void *ctx, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void file_readlink(void *ctx, fuse_req_t req, fuse_ino_t ino);
/* Answered when what was asked for is done; a signal that ends or interrupts the writer ends the waiting. */
void file_write(void *ctx, fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		struct fuse_file_info *fi);

#endif
