/*
 * The consensus' disk: one LevelDB with the log, the hard state and the snapshot (which holds the state machine).
 *
 *   m/version  le32 format            m/hard  le64 term, le64 vote
 *   m/snap     u64 index, u64 term, u64 conf_index, blob conf, blob state
 *   l/<be64 index>                    u64 term, u8 type, blob data
 *
 * Writes are jobs: built on the caller's thread, written by one writer thread in order, all that wait in one synced
 * batch, all or nothing. A write that fails (disk full) is tried again for ever: it is never reported as done, so the
 * server keeps silent instead of lying.
 */
#ifndef CFS_CLUSTER_RAFT_STORE_H
#define CFS_CLUSTER_RAFT_STORE_H

#include "cluster/raft_core.h"
#include "common/mailbox.h"

struct raft_store;
struct raft_job;

/* DIR is created. -EIO with the reason logged, -EPROTONOSUPPORT: made by a newer version. Blocking. */
int raft_store_open(const char *dir, struct raft_store **ret_st);
/* After the last job; ends the writer. Blocking. NULL is fine. */
void raft_store_close(struct raft_store *st);

/* Everything there is, borrowed from the loaded block until raft_store_unload(). -EBADMSG: damaged. Blocking. */
int raft_store_load(struct raft_store *st, const struct raft_core_disk **ret_disk);
void raft_store_unload(struct raft_store *st);

/* NULL when out of memory. */
struct raft_job *raft_job_new(void);
void raft_job_free(struct raft_job *job);
void raft_job_hard_state(struct raft_job *job, uint64_t term, uint64_t vote);
/* Entries from INDEX on are deleted, up to LAST which the log on disk reaches. */
void raft_job_truncate(struct raft_job *job, uint64_t index, uint64_t last);
int raft_job_entry(struct raft_job *job, uint64_t index, const struct raft_core_entry *e);
/* And deletes the entries first .. last. */
int raft_job_snapshot(struct raft_job *job, const struct raft_core_snapshot *s, uint64_t first, uint64_t last);

/* Starts the writer thread; what is done is told through MB. */
int raft_store_start(struct raft_store *st, struct mailbox *mb);
/* Takes JOB over. DONE(ARG) runs on MB's thread when it is synced, in the order of the writes. */
void raft_store_write(struct raft_store *st, struct raft_job *job, mailbox_fn done, void *arg);
/* Blocking, without the writer thread: for making a state directory. 0 or -EIO. Takes JOB over. */
int raft_store_write_now(struct raft_store *st, struct raft_job *job);

#endif
