/* What local.c and local_file.c share. */
#ifndef CFS_PROCFS_LOCAL_INTERNAL_H
#define CFS_PROCFS_LOCAL_INTERNAL_H

#include "cluster/jobs.h"
#include "procfs-cluster/local.h"
#include "procfs-cluster/pidmap.h"
#include "procfs-cluster/rewrite.h"
#include "procfs-cluster/scan.h"

#define LOCAL_FILE_MAX (8u << 20)

struct local {
	int proc_fd;
	uint32_t node;
	struct jobs *jobs;
	struct wire_writer raw;	   /* a file as the kernel has it */
	struct wire_writer cooked; /* the files of one record */
	struct wire_writer thread; /* of one thread */
};

/* What a writer holds, borrowed. */
struct text local_text(const struct wire_writer *w);
/* A file into l->raw. PATHs are below /proc. */
int local_raw(struct local *l, const char *path);
/* What the node's pids are called in the cluster, now. Release the map. */
int local_map(struct local *l, struct pidmap *ret_map);
/* The pid of a process that is here; 0 when it is not. */
uint32_t local_find(struct local *l, const struct pidmap *map, uint32_t cpid);
/* Fills the four ids of RET. -ESRCH. */
int local_owners(struct local *l, uint32_t pid, struct scan_proc *ret);
/* A file of the kernel onto OUT, its pids rewritten as FLAGS (PF_*) say. */
int local_cook(struct local *l, const char *path, unsigned flags, size_t max, rewrite_map map, void *map_ctx,
	       struct wire_writer *out);
/* The names of the process's directory DIR (fd, fdinfo, task), each ended by NUL. */
int local_list(struct local *l, struct pidmap *map, uint32_t pid, unsigned dir, struct wire_writer *out);
/* The threads of a process, as scans have them. -EFBIG: too many. */
int local_threads(struct local *l, struct pidmap *map, uint32_t pid, struct wire_writer *out);
/* Threads have pids of their own; those of a guest are named as its job says. */
uint32_t local_thread_cpid(struct local *l, const struct pidmap *map, uint32_t pid, uint32_t tid);

#endif
