/*
 * The processes of all nodes as one scan found them, with the files that came along. Pure: bytes in, look-ups out.
 *
 * Files are added node by node and, later, kind by kind (a reader that wants every process's environ). Counted
 * references: the directory that was opened, and whoever reads from it.
 */
#ifndef CFS_PROCFS_SNAPSHOT_H
#define CFS_PROCFS_SNAPSHOT_H

#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#include "procfs-cluster/files.h"
#include "procfs-cluster/text.h"

/* Who a process is: enough for the attributes of its directory and files. */
struct ident {
	uint32_t cpid, node, pid;
	uint32_t uid, gid, file_uid, file_gid;
};

struct snapshot_proc {
	struct ident id;
	uint32_t have;	 /* kinds that were asked for and are in (bits 1 << PROC_FILE_*) */
	uint32_t failed; /* of these, the ones with an error: states below */
	struct text files[PROC_FILE_NR]; /* by number */
	uint8_t states[PROC_FILE_NR];
	UT_hash_handle hh; /* by id.cpid */
};

struct snapshot;

int snapshot_new(struct snapshot **ret_s);
struct snapshot *snapshot_ref(struct snapshot *s);
void snapshot_unref(struct snapshot *s);

/* Takes in a piece of NODE's scan (scan.h). With ADD new processes are taken, else only files for those that are there.
   0, -EBADMSG (what came before the bad place is in), -ENOMEM. */
int snapshot_load(struct snapshot *s, uint32_t node, const void *procs, size_t len, int add);
/* Sorted by cluster pid; call when all pieces are in. */
void snapshot_sort(struct snapshot *s);

struct snapshot_proc *snapshot_find(const struct snapshot *s, uint32_t cpid);
size_t snapshot_count(const struct snapshot *s);
/* From one to the next in order; NULL: the first, and after the last. */
struct snapshot_proc *snapshot_next(const struct snapshot *s, struct snapshot_proc *p);

#endif
