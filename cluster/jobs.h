/*
 * Where the processes of moved jobs live: small files that cfs-migrated writes on each node, and the process service
 * (and anybody else on the node) reads.
 *
 *   <state>/migrate/jobs/<id>.json   a job that runs here in a pid namespace of its own ("guest", or made by cfs run)
 *   <state>/migrate/away/<id>.json   a job that left this node: where it went
 *
 * Rules for the writer (cfs-migrated):
 *  - job_write() when the job's processes are restored and may be seen (before they are resumed), and again whenever
 *    the map changes; job_remove() when the last process ended or the job has left.
 *  - away_write() on the node that a job leaves, right after the decision, before the original is killed, so that a
 *    process is never nowhere; also on the home node when it learns that the job went on. away_remove() on a node that
 *    the job comes back to, and when the job ended.
 *  - A process of a job that is not in `pids` was born in the job on this node: its cluster pid is this node's id and
 *    its pid in the node's (not the job's) namespace. Before a job moves, each such process gets a line in the map
 *    that travels with it. job_cpid() is that rule; use it on both sides.
 *
 * Files are replaced atomically (rename) and are durable when the call returns. A job file of before a reboot is
 * recognised by the start time of its root and ignored.
 */
#ifndef CFS_CLUSTER_JOBS_H
#define CFS_CLUSTER_JOBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cluster/cpid.h"

#define JOB_ID_MAX 64u
#define JOB_PIDS_MAX 65536u

struct job_pid {
	uint32_t nspid; /* inside the job's pid namespace: what getpid() says, on every node */
	uint32_t cpid;
};

struct job {
	char id[JOB_ID_MAX]; /* cluster-wide; [A-Za-z0-9._-]+, not starting with a dot */
	uint32_t home;	     /* node where it was started */
	uint32_t moves;	     /* how often it has moved */
	pid_t root;	     /* PID 1 of its namespace (cfs-job), as a pid of the node */
	uint64_t root_start; /* field 22 of /proc/<root>/stat: tells it from a later process with that pid */
	uint64_t pidns;	     /* inode number of /proc/<root>/ns/pid */
	size_t nr_pids;
	struct job_pid *pids; /* owned */
};

struct away {
	char id[JOB_ID_MAX];
	uint32_t node; /* where it went */
	size_t nr_cpids;
	uint32_t *cpids; /* owned: the processes that went */
};

bool job_id_is_valid(const char *id);
void job_release(struct job *job);
void away_release(struct away *away);

/* The cluster pid of the job's process NSPID, which has HOST_PID on this node NODE. */
uint32_t job_cpid(const struct job *job, uint32_t node, uint32_t nspid, uint32_t host_pid);
/* Fills root_start and pidns of a job whose root is set. 0, -ESRCH, or -errno. */
int job_identify(struct job *job);

/* Writer. STATE_DIR is cfsd's (/var/lib/cfs); missing directories are made. -EINVAL: not an id. */
int job_write(const char *state_dir, const struct job *job);
int job_remove(const char *state_dir, const char *id); /* a missing file is fine */
int away_write(const char *state_dir, const struct away *away);
int away_remove(const char *state_dir, const char *id);
/* Reads one. -ENOENT, -EBADMSG: not such a file. Release the result. */
int job_read(const char *state_dir, const char *id, struct job *ret_job);
int away_read(const char *state_dir, const char *id, struct away *ret_away);

/* Reader: all files of a node, read again when the directories have changed. One thread. */
struct jobs;

int jobs_new(const char *state_dir, struct jobs **ret_jobs);
void jobs_free(struct jobs *jobs);
/* Looks whether something changed (two stat(2)), and reads it. Results of the lookups below live until the next one. */
int jobs_refresh(struct jobs *jobs);
/* How many jobs run here. */
size_t jobs_count(const struct jobs *jobs);
/* The job that has this pid namespace, NULL when none has. */
const struct job *jobs_by_pidns(const struct jobs *jobs, uint64_t pidns);
const struct job *jobs_by_id(const struct jobs *jobs, const char *id);
/* The node a process of this cluster pid left to, 0 when it did not leave from here. */
uint32_t jobs_away_node(const struct jobs *jobs, uint32_t cpid);
/* Every cluster pid that left from here. */
void jobs_each_away(const struct jobs *jobs, void (*fn)(void *ctx, uint32_t cpid), void *ctx);

#endif
