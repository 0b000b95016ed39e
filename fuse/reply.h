/*
 * The only callers of fuse_reply_*. Each answers a request and ends it (the request is gone when they return), so that
 * a second answer is an assertion and a missing one a leak the tests see.
 */
#ifndef CFS_FUSE_REPLY_H
#define CFS_FUSE_REPLY_H

#include "fuse/request.h"

/* STATUS: 0 or a negative errno. */
void reply_err(struct request *rq, int status);
/* For a fuse request that has no struct request. */
void reply_raw_err(fuse_req_t freq, int status);
/* A name's inode; the kernel holds one more lookup of it. */
void reply_entry(struct request *rq, const struct wire_attr *attr);
void reply_attr(struct request *rq, const struct wire_attr *attr);
/* An opened file or directory as rq->fi says. False: the kernel has given up on it, it is not open. */
bool reply_open(struct request *rq);
bool reply_create(struct request *rq, const struct wire_attr *attr);
void reply_write(struct request *rq, size_t written);
void reply_buf(struct request *rq, const void *buf, size_t len);
/* An xattr value or list, as getxattr(2) wants it: its length for SIZE 0, -ERANGE when it does not fit. */
void reply_xattr(struct request *rq, const void *value, size_t len, size_t size);
void reply_readlink(struct request *rq, const char *target);
void reply_statfs(struct request *rq, const struct msg_statfs_rep *rep);
void reply_none(fuse_req_t freq);

/* stat(2) form of attributes. */
void reply_fill_stat(const struct mount *m, const struct wire_attr *attr, struct stat *ret_st);

#endif
