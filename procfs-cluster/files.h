/* The expansion of files.def. */
#ifndef CFS_PROCFS_FILES_H
#define CFS_PROCFS_FILES_H

#include <stddef.h>
#include <stdint.h>

enum proc_file_flags {
	PF_BULK = 1 << 0,
	PF_STAT = 1 << 1,
	PF_STATUS = 1 << 2,
	PF_OWNER = 1 << 3,
	PF_LINK = 1 << 4,
	PF_DIR = 1 << 5,
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

/* Rows of the table by number; NULL name for a number that is none. */
const struct proc_file_info *proc_file_info(unsigned number);
const char *node_file_name(unsigned number);
/* The number of a name, or -ENOENT. */
int proc_file_by_name(const char *name);

#endif
