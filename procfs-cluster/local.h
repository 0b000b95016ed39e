/*
 * This node's /proc, under cluster pids.
 *
 * Thread: one at a time (the service's worker): reading /proc/<pid>/cmdline and its like waits for that process's
 * memory lock, which a process stuck in a page fault may hold for long.
 */
#ifndef CFS_PROCFS_LOCAL_H
#define CFS_PROCFS_LOCAL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire/codec.h"

struct local;

struct local_conf {
	const char *proc_dir;  /* "/proc" of the node's pid namespace; another one in tests */
	const char *state_dir; /* for cluster/jobs.h */
	uint32_t node_id;
};

/* Where a process is, as proc_where says. */
struct local_place {
	uint32_t node; /* this one, and then the rest is filled; or the one it left to */
	uint32_t pid, uid, gid, file_uid, file_gid;
};

/* Strings are copied. 0 or -errno. */
int local_new(const struct local_conf *conf, struct local **ret_local);
void local_free(struct local *l);

/* Appends scan records (scan.h) of the processes above pid AFTER, until all or MAX_BYTES (and one more) came together.
   ret_next: the AFTER to go on with, 0 at the end. */
int local_scan(struct local *l, uint32_t files, uint32_t after, size_t max_bytes, struct wire_writer *out,
	       uint32_t *ret_next);
/* Appends the node's files of the mask. */
int local_node(struct local *l, uint32_t node_files, struct wire_writer *out);
/* A file, link or directory listing below a process, for a caller UID, GID. PATH: "stat", "fd", "fd/3", "task/<tid>/stat".
   -ESRCH: not here; -ENOENT: not a file that is served; -EACCES; what read(2) says. */
int local_read(struct local *l, uint32_t cpid, uint32_t uid, uint32_t gid, const char *path, struct wire_writer *out);
/* -ESRCH: neither here nor known to have left from here. */
int local_where(struct local *l, uint32_t cpid, struct local_place *ret_place);
/*
 * What the plain PID means to CALLER, a process or thread of this node: a process of CALLER's own job when it is in
 * one (getpid() there is a pid of the job's namespace), else of the node. PID 0: CALLER itself, ret_tid its thread.
 */
int local_resolve(struct local *l, uint32_t pid, uint32_t caller, uint32_t *ret_cpid, uint32_t *ret_tid);
/* May UID send signals to it (kill(2))? 0, -EPERM or -ESRCH. Also says the node's pid. */
int local_may_signal(struct local *l, uint32_t cpid, uint32_t uid, uint32_t *ret_pid);
/* The job a process is in: home node and number of moves; -ENOENT for a process that is in none. */
int local_job(struct local *l, uint32_t cpid, uint32_t *ret_home, uint32_t *ret_moves);

#endif
