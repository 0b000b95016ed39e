/*
 * Scans of all nodes: started when a process opens the directory, one request per node. What that process reads of other
 * processes comes from there as long as it has the directory open, and for a second more. Everybody else asks.
 * Thread: the loop's.
 */
#ifndef CFS_PROCFS_SCANS_H
#define CFS_PROCFS_SCANS_H

#include "procfs-cluster/nodes.h"
#include "procfs-cluster/snapshot.h"

struct scans;

/* PROC_FD: the node's /proc; borrowed. */
int scans_new(const struct subtree_host *host, struct remote *remote, struct nodes *nodes, int proc_fd,
	      struct scans **ret_s);
void scans_free(struct scans *s);

/* S: to be given to scans_close() (also before SCANS_DONE was called: then it will not be). */
struct scan;
typedef void (*scans_done)(void *ctx, struct scan *scan, struct snapshot *snapshot);
/* Starts one for CALLER (the thread that opens the directory). DONE, perhaps before return: SNAPSHOT is the scan's. */
int scans_open(struct scans *s, uint32_t caller, scans_done done, void *ctx);
void scans_close(struct scan *scan);

/* The process as a scan saw it that CALLER may go by; NULL: there is none, ask. */
struct snapshot_proc *scans_find(struct scans *s, uint32_t caller, uint32_t cpid);

/* STATUS 0 and the text (borrowed until return), the error of this file, -EAGAIN: it is not part of scans, read it
   alone; -ESRCH: the node does not answer any more. */
typedef void (*scans_read_done)(void *ctx, int status, struct text text);
/* A file of what scans_find() found. A kind nobody wanted so far is fetched for all processes of the node at once, and
   comes with the scans of the next minute. */
void scans_read(struct scans *s, uint32_t caller, uint32_t cpid, unsigned file, scans_read_done done, void *ctx);

/* Something has moved: what was seen is not to be gone by any more, but by who has the directory open. */
void scans_expire(struct scans *s);

#endif
