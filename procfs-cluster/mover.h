/*
 * Asks this node's cfs-migrated: goto and cantmove of 0x06xx, on its own port. Dials when there is something to ask.
 * Thread: the loop's.
 */
#ifndef CFS_PROCFS_MOVER_H
#define CFS_PROCFS_MOVER_H

#include <stdint.h>

#include "wire/rpc.h"

struct mover;

/* HOST is copied. PORT: of cfs-migrated (base + 2). */
int mover_new(struct rpc *rpc, const char *host, uint16_t port, struct mover **ret_m);
/* What is under way ends with -ECANCELED. NULL is fine. */
void mover_free(struct mover *m);

/* STATUS 0 or a negative errno; TEXT, LEN: reasons (borrowed until return), of cantmove. Called exactly once. */
typedef void (*mover_done)(void *ctx, int status, const char *text, size_t len);

/* Moves the tree of CPID to the node of that name, or "home". Done when it runs there, or has failed. */
void mover_goto(struct mover *m, uint32_t cpid, uint32_t uid, const char *node, mover_done done, void *ctx);
void mover_cantmove(struct mover *m, uint32_t cpid, mover_done done, void *ctx);

#endif
