/*
 * Calls to the process services of nodes, each with a deadline that counts from the start, dialling included.
 * Thread: the loop's.
 */
#ifndef CFS_PROCFS_REMOTE_H
#define CFS_PROCFS_REMOTE_H

#include <stdint.h>

#include "fuse/subtree.h"

struct remote;

/* HOST is borrowed for the life of the remote. */
int remote_new(const struct subtree_host *host, struct remote **ret_r);
/* Calls under way are done with -ECANCELED. NULL is fine. */
void remote_free(struct remote *r);

/*
 * REQ and all it points to must live until DONE, which is called exactly once, perhaps before return. TIMEOUT_MS 0: as
 * long as the connection lives. A status of the connection itself (refused, reset, no such node) is told as
 * -EHOSTUNREACH, a deadline as -ETIMEDOUT.
 */
void remote_call(struct remote *r, uint32_t node, enum msg_type type, const void *req, uint32_t timeout_ms, rpc_done done,
		 void *ctx);

#endif
