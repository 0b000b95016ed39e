/*
 * Pids inside the kernel's files: from pids of a node to cluster pids (on the node), and what a reader may see of
 * them (where they are read). Pure.
 */
#ifndef CFS_PROCFS_REWRITE_H
#define CFS_PROCFS_REWRITE_H

#include <stdbool.h>
#include <stdint.h>

#include "procfs-cluster/text.h"

/* The cluster pid of a pid of the node; 0 stays 0. */
typedef uint32_t (*rewrite_map)(void *ctx, uint32_t pid);

/*
 * proc_pid_stat(5): pid, ppid, pgrp, session, tpgid. proc_pid_status(5): Tgid, Ngid, Pid, PPid, TracerPid, and the
 * outermost column of NStgid, NSpid, NSpgid, NSsid. Everything else goes through as it is, also what a later kernel
 * adds. 0, the writer's error, or -EBADMSG: not such a file.
 */
int rewrite_stat(struct text in, rewrite_map map, void *ctx, struct wire_writer *out);
int rewrite_status(struct text in, rewrite_map map, void *ctx, struct wire_writer *out);

/* What the reader sees of a node's stat. */
struct rewrite_view {
	int64_t ticks;	    /* start times are moved onto the one time line of the cluster: /cluster/proc/stat shows the
			       earliest boot time */
	unsigned first_cpu; /* processors are numbered through */
	bool hide;	    /* addresses, as the kernel does from who may not trace the process */
};

int rewrite_stat_for_reader(struct text in, const struct rewrite_view *view, struct wire_writer *out);

/* Field of stat by its number in proc_pid_stat(5) (>= 3); false when there is none. */
bool stat_field(struct text in, unsigned field, struct text *ret);
/* The innermost pid of status' NSpid line, and how many columns it has; false when there is no such line. */
bool status_nspid(struct text in, uint32_t *ret_nspid, unsigned *ret_depth);
/* From status: is a signal waiting to be taken that ends or interrupts (not one that is ignored by default, as
   SIGCHLD, nor blocked or ignored by the process)? */
bool status_is_signalled(struct text in);
/* status' Uid line: real, effective, saved, filesystem. */
bool status_uids(struct text in, uint32_t ret_uids[4]);

#endif
