/*
 * Where is a process now? Asks the node it was last seen on, else the one it was born on, follows those it left to; when
 * its birth node cannot be asked, all others.
 * Thread: the loop's.
 */
#ifndef CFS_PROCFS_LOCATE_H
#define CFS_PROCFS_LOCATE_H

#include "procfs-cluster/nodes.h"
#include "procfs-cluster/snapshot.h"

struct locator;

int locator_new(const struct subtree_host *host, struct remote *remote, struct nodes *nodes, struct locator **ret_l);
void locator_free(struct locator *l);

/* STATUS 0 and who it is (borrowed until return); -ESRCH: gone; -EHOSTUNREACH: who would know does not answer. */
typedef void (*locate_done)(void *ctx, int status, const struct ident *id);
/* Calls DONE, perhaps before return; with what was learnt less than MAX_AGE_MS ago, else it asks. */
void locate(struct locator *l, uint32_t cpid, uint32_t max_age_ms, locate_done done, void *ctx);
/* It may have moved: the next question is asked. */
void locate_forget(struct locator *l, uint32_t cpid);

#endif
