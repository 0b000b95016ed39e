/*
 * The source's memory of a move, a small file in <state>/migrate/moves. It is written before the tree is touched
 * (decided 0: what to undo after a crash) and again, durably, as the decision (decided 1).
 */
#ifndef CFS_MIGRATE_RECORD_H
#define CFS_MIGRATE_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/jobs.h"
#include "migrate/cgroup.h"
#include "migrate/tree.h"

struct record {
	uint64_t move;
	uint32_t target; /* node */
	uint32_t cpid;
	bool decided;
	char job[JOB_ID_MAX];
	char cgroup[CGROUP_PATH_MAX];
	/* "pid:start:nspid:cpid,..." of the tree, owned; NULL: none. What a restart has to kill after a decision. */
	char *procs;
};

/* Fills procs from a tree and its packed le32 (pid in the namespace, cluster pid) pairs. 0 or -ENOMEM. */
int record_set_procs(struct record *rec, const struct tree *tree, const uint8_t *pids);
/* The packed pairs again, malloc'ed. 0, -ENOENT: there are none, -ENOMEM. */
int record_get_pids(const struct record *rec, uint8_t **ret_pids, uint32_t *ret_len);
/* Kills those of procs that still are who they were. */
void record_kill_procs(const struct record *rec);
void record_release(struct record *rec);

/* Writes it; durable on return when it says decided. After a failure it says what it said before, or nothing. */
int record_write(const char *state_dir, const struct record *rec);
int record_remove(const char *state_dir, uint64_t move);
/* Calls FN for each, which takes over procs by setting it NULL; stops at a negative result and returns it. Unreadable files are skipped. */
int record_each(const char *state_dir, int (*fn)(void *ctx, struct record *rec), void *ctx);

#endif
