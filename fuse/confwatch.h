/*
 * Follows the cluster's configuration from outside the quorum: asks a few nodes at a time, its own first, to answer
 * when there is something newer (config_get). One of them being cut off or slow costs nothing.
 */
#ifndef CFS_FUSE_CONFWATCH_H
#define CFS_FUSE_CONFWATCH_H

#include <uv.h>

#include "cluster/config.h"
#include "wire/rpc.h"

struct confwatch;

typedef void (*confwatch_changed)(void *ctx);

/* Starts from CONFIG (copied), asks over RPC. CHANGED is called after each newer configuration. 0 or -ENOMEM. */
int confwatch_new(uv_loop_t *loop, struct rpc *rpc, uint32_t own_node, const struct config *config,
		  confwatch_changed changed, void *ctx, struct confwatch **ret_watch);
void confwatch_free(struct confwatch *w);
const struct config *confwatch_config(const struct confwatch *w);
/* Ask again at once whoever is not being asked. */
void confwatch_refresh(struct confwatch *w);
/* Addresses tried and what came of it, as a text list. */
void confwatch_describe(const struct confwatch *w, char *buf, size_t len);

#endif
