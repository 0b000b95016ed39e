/*
 * The packed form of scan answers (proc_scan.procs and .node).
 *
 * procs: records, by ascending pid of the node:
 *   le32 cpid, pid, uid, gid, file_uid, file_gid; u8 number of files; for each file:
 *   u8 number (files.def), u8 state (enum scan_state), le32 length, bytes (none unless SCAN_DATA)
 *   The bytes of task are such records themselves, one a thread: cpid, pid, zeros, files; none of an only thread.
 * node:  u8 number (files.def), le32 length, bytes; repeated
 */
#ifndef CFS_PROCFS_SCAN_H
#define CFS_PROCFS_SCAN_H

#include <stdint.h>

#include "procfs-cluster/text.h"
#include "wire/codec.h"

#define SCAN_FILES_MAX 32u

/* Numbers are wire format. */
enum scan_state { SCAN_DATA = 0, SCAN_GONE = 1, SCAN_DENIED = 2, SCAN_ABSENT = 3 };

struct scan_file {
	uint8_t number;
	uint8_t state;
	struct text text; /* borrowed */
};

struct scan_proc {
	uint32_t cpid;
	uint32_t pid;		     /* in the node's namespace */
	uint32_t uid, gid;	     /* of its directory: its effective ids */
	uint32_t file_uid, file_gid; /* of its files: root's when it is not dumpable */
	unsigned nr_files;
	struct scan_file files[SCAN_FILES_MAX];
};

/* 0 or the writer's error. */
int scan_put(struct wire_writer *w, const struct scan_proc *p);
/* 1 and the next record; 0 at the end; -EBADMSG. */
int scan_get(struct wire_reader *r, struct scan_proc *ret);

int scan_put_node(struct wire_writer *w, unsigned number, const void *p, size_t len);
int scan_get_node(struct wire_reader *r, unsigned *ret_number, struct text *ret_text);

/* The state that stands for a negative errno, and the errno a state stands for (0 for SCAN_DATA). */
enum scan_state scan_state_of(int err);
int scan_state_error(unsigned state);

#endif
