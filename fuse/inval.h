/*
 * The notifier: the one thread that tells the kernel to drop what it caches. A notification can block until a request
 * of the same inode is answered, so it must never come from the thread that answers, and never be sent under a lock.
 */
#ifndef CFS_FUSE_INVAL_H
#define CFS_FUSE_INVAL_H

#include <stdint.h>

#include "common/mailbox.h"

struct fuse_session;
struct inval;

/* Starts the thread. DONE functions run on MB's loop. 0 or -errno. */
int inval_new(struct fuse_session *se, struct mailbox *mb, struct inval **ret_inval);
/* After the mount is gone (else a blocked notification is waited for). What is queued is dropped, its DONE not run. */
void inval_free(struct inval *iv);
/* Drops the pages and attributes of the inode, dirty pages written back first; then DONE (may be NULL). */
void inval_pages(struct inval *iv, uint64_t fuse_ino, mailbox_fn done, void *ctx);
/* Detaches the mount point: from here because it may write back pages, which the loop has to serve. */
void inval_unmount(struct inval *iv, const char *dir);

#endif
