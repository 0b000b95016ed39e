/*
 * The cluster's stat, meminfo, loadavg, uptime, cpuinfo, version and vmstat out of the nodes' ones, in the kernel's
 * format. Pure: text in, text out. A part that is not what it should be is left out.
 */
#ifndef CFS_PROCFS_AGGREGATE_H
#define CFS_PROCFS_AGGREGATE_H

#include "procfs-cluster/text.h"

/* One node's file; the parts come by ascending node id, the reader's node first for version. */
struct aggregate_part {
	struct text text;
};

typedef int (*aggregate_fn)(const struct aggregate_part *parts, size_t nr, struct wire_writer *out);

/* cpu: sums; cpuN: renumbered; btime: the earliest; counters: sums (of intr the total only). */
int aggregate_stat(const struct aggregate_part *parts, size_t nr, struct wire_writer *out);
/* Sums by key, in the order of the first node; Hugepagesize: of the first. */
int aggregate_meminfo(const struct aggregate_part *parts, size_t nr, struct wire_writer *out);
int aggregate_vmstat(const struct aggregate_part *parts, size_t nr, struct wire_writer *out);
/* Sums; the last pid is the greatest. */
int aggregate_loadavg(const struct aggregate_part *parts, size_t nr, struct wire_writer *out);
/* The longest; idle time: the sum. */
int aggregate_uptime(const struct aggregate_part *parts, size_t nr, struct wire_writer *out);
/* One after the other; processor renumbered, physical id made distinct. */
int aggregate_cpuinfo(const struct aggregate_part *parts, size_t nr, struct wire_writer *out);
/* Each line that differs from those before it. */
int aggregate_version(const struct aggregate_part *parts, size_t nr, struct wire_writer *out);

/* The function for a node file of files.def. */
aggregate_fn aggregate_of(unsigned node_file);
/* btime of a node's stat, seconds since the epoch; 0 when there is none. */
uint64_t aggregate_btime(struct text stat);
/* How many processors a node's stat has. */
unsigned aggregate_cpus(struct text stat);

#endif
