/* Connections to the file and process ports of nodes, made when first wanted, kept and shared. */
#ifndef CFS_FUSE_CONNPOOL_H
#define CFS_FUSE_CONNPOOL_H

#include "cluster/config.h"
#include "wire/rpc.h"

struct connpool;

typedef void (*connpool_done)(void *ctx, int status, struct rpc_conn *conn);

int connpool_new(struct rpc *rpc, struct connpool **ret_pool);
/* Before the rpc goes. Those who wait get -ECANCELED. */
void connpool_free(struct connpool *cp);
/* See client_node_conn(). NODE is looked up in CONFIG: -ENXIO when it is not there. */
void connpool_get(struct connpool *cp, const struct config *config, uint32_t node_id, connpool_done done, void *ctx);

#endif
