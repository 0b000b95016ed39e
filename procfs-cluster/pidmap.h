/*
 * Pids of the node <-> cluster pids, at one moment. Only processes of jobs (in a pid namespace of their own) are in the
 * table; everybody else is node << 22 | pid.
 */
#ifndef CFS_PROCFS_PIDMAP_H
#define CFS_PROCFS_PIDMAP_H

#include <stddef.h>
#include <stdint.h>

struct pidmap_guest {
	uint32_t pid, cpid, nspid;
	uint64_t pidns;
};

struct pidmap {
	uint32_t node;
	size_t nr, cap;
	struct pidmap_guest *guests; /* by ascending pid */
};

void pidmap_init(struct pidmap *m, uint32_t node);
void pidmap_release(struct pidmap *m);
/* Guests come in any order; pidmap_sort() before the first look-up. */
int pidmap_add(struct pidmap *m, const struct pidmap_guest *g);
void pidmap_sort(struct pidmap *m);

/* rewrite_map: CTX is the pidmap. */
uint32_t pidmap_cpid(void *ctx, uint32_t pid);
const struct pidmap_guest *pidmap_guest(const struct pidmap *m, uint32_t pid);
/* The pid that would have this cluster pid here; 0 when none can. It may not exist. */
uint32_t pidmap_pid(const struct pidmap *m, uint32_t cpid);
/* The guest with NSPID in the namespace, NULL when there is none. */
const struct pidmap_guest *pidmap_in_ns(const struct pidmap *m, uint64_t pidns, uint32_t nspid);

#endif
