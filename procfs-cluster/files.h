/* The expansion of files.def. */
#ifndef CFS_PROCFS_FILES_H
#define CFS_PROCFS_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum proc_file_flags {
	PF_BULK = 1 << 0,
	PF_STAT = 1 << 1,
	PF_STATUS = 1 << 2,
	PF_OWNER = 1 << 3,
	PF_LINK = 1 << 4,
	PF_DIR = 1 << 5,
	PF_ZERO = 1 << 6,
	PF_THREAD = 1 << 7,
	PF_ROOT = 1 << 8,
};

enum proc_file {
#define PROC_FILE(number, name, mode, flags) PROC_FILE_##name = number,
#define NODE_FILE(number, name, join)
#include "procfs-cluster/files.def"
#undef PROC_FILE
#undef NODE_FILE
	PROC_FILE_NR
};

enum node_file {
#define PROC_FILE(number, name, mode, flags)
#define NODE_FILE(number, name, join) NODE_FILE_##name = number,
#include "procfs-cluster/files.def"
#undef PROC_FILE
#undef NODE_FILE
	NODE_FILE_NR
};

struct proc_file_info {
	const char *name;
	unsigned mode, flags;
};

/* The kernel's rule for files with PF_OWNER: a process that is not dumpable has files of root's. */
static inline bool proc_may_trace(uint32_t uid, uint32_t gid, uint32_t file_uid, uint32_t file_gid)
{
	return !uid || (uid == file_uid && gid == file_gid);
}

/* Whether who may open the file by its mode may read it, too. */
static inline bool proc_may_read(unsigned flags, uint32_t uid, uint32_t gid, uint32_t file_uid, uint32_t file_gid)
{
	return !(flags & PF_ROOT && uid) && (!(flags & PF_OWNER) || proc_may_trace(uid, gid, file_uid, file_gid));
}

/* Rows of the table by number; NULL name for a number that is none. */
const struct proc_file_info *proc_file_info(unsigned number);
const char *node_file_name(unsigned number);
/* The number of a name, or -ENOENT. */
int proc_file_by_name(const char *name);

#endif
