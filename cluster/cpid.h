/*
 * Cluster pids: node id << 22 | pid at birth, for the life of the process, wherever it runs. 22 bits is the kernel's
 * pid limit (PID_MAX_LIMIT); node ids start at 1, so a number below 1 << 22 is a plain local pid, and the whole fits
 * pid_t as long as node ids stay below 512.
 */
#ifndef CFS_CLUSTER_CPID_H
#define CFS_CLUSTER_CPID_H

#include <stdbool.h>
#include <stdint.h>

#define CPID_SHIFT 22u
#define CPID_PID_MAX (1u << CPID_SHIFT) /* pids are below this */
#define CPID_NODE_MAX 511u		/* greatest node id whose cluster pids fit pid_t */

static inline uint32_t cpid_make(uint32_t node, uint32_t pid)
{
	return node << CPID_SHIFT | (pid & (CPID_PID_MAX - 1));
}

/* The node of birth; 0 for a plain local pid. */
static inline uint32_t cpid_node(uint32_t cpid)
{
	return cpid >> CPID_SHIFT;
}

static inline uint32_t cpid_pid(uint32_t cpid)
{
	return cpid & (CPID_PID_MAX - 1);
}

static inline bool cpid_is_cluster(uint32_t pid)
{
	return pid >= CPID_PID_MAX;
}

#endif
