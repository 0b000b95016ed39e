/*
 * /cluster/proc in the mount: a subtree of fuse/subtree.h. Made and freed on the loop's thread.
 */
#ifndef CFS_PROCFS_CLIENT_H
#define CFS_PROCFS_CLIENT_H

#include "fuse/subtree.h"

struct procfs;

/* HOST is borrowed for the life of it. ret_subtree is what to give the mount: name "proc". 0 or -errno. */
int procfs_new(const struct subtree_host *host, struct procfs **ret_fs, struct subtree *ret_subtree);
/* After the connections are closed (so that no call is under way) and the last request was answered; the loop runs once
   more. NULL is fine. */
void procfs_free(struct procfs *fs);

#endif
