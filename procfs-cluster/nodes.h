/*
 * The nodes as /cluster/proc sees them: whom to ask, who was silent, their stat, meminfo, ... as of a moment ago.
 * Thread: the loop's.
 */
#ifndef CFS_PROCFS_NODES_H
#define CFS_PROCFS_NODES_H

#include <stdbool.h>

#include "procfs-cluster/files.h"
#include "procfs-cluster/remote.h"
#include "procfs-cluster/text.h"

/* A node that does not answer within this is left out, and not asked again for NODES_SILENT_MS. */
#define NODES_TIMEOUT_MS 500u
#define NODES_SILENT_MS 5000u

struct nodes;

int nodes_new(const struct subtree_host *host, struct remote *remote, struct nodes **ret_n);
void nodes_free(struct nodes *n);

/* Ids of the nodes to ask, ascending: those whose state says that they run, and that were not silent just now. */
size_t nodes_to_ask(struct nodes *n, uint32_t ids[CONFIG_NODES_MAX]);
/* What a call to the node ended with; says once in the log when one falls silent or is heard again. */
void nodes_heard(struct nodes *n, uint32_t id, int status);

/* True for one that was silent and is not to be asked yet. */
bool nodes_is_silent(struct nodes *n, uint32_t id);
/* For how long a single question may wait for the node: TIMEOUT_MS, or when it is silent a moment once a second, to see
   whether it is back, and else 0: who reads many files one by one waits for a lost node once. */
uint32_t nodes_patience(struct nodes *n, uint32_t id, uint32_t timeout_ms);

typedef void (*nodes_done)(void *ctx);
/* Brings the node files of MASK (bits 1 << NODE_FILE_*) of ONLY (0: of all nodes) up to date, then calls DONE: perhaps
   before return. An uptime younger than a tenth of a second is taken as it is. */
void nodes_fetch(struct nodes *n, uint32_t mask, uint32_t only, nodes_done done, void *ctx);
/* A file as it was last fetched; false when the node did not answer. Borrowed until the next fetch. */
bool nodes_file(struct nodes *n, uint32_t id, unsigned file, struct text *ret);
/* Takes in node files that came with a scan. */
void nodes_load(struct nodes *n, uint32_t id, const void *packed, size_t len);

/* By how many clock ticks start times of NODE are to be moved onto the line of the node that was booted first. */
int64_t nodes_ticks(struct nodes *n, uint32_t id);
/* What the node's processor 0 is called in the cluster's stat and cpuinfo. */
unsigned nodes_first_cpu(struct nodes *n, uint32_t id);
/* True when the node's boot time is known. */
bool nodes_boot_known(struct nodes *n, uint32_t id);

#endif
