/* Reading a /proc directory: the system calls, nothing of the cluster. PATHs are relative to it. */
#ifndef CFS_PROCFS_PROCDIR_H
#define CFS_PROCFS_PROCDIR_H

#include <stddef.h>
#include <stdint.h>

#include "wire/codec.h"

/* Appends the content. -EFBIG when it is more than MAX (nothing is appended then), or what open(2), read(2) said. */
int procdir_read(int proc_fd, const char *path, size_t max, struct wire_writer *out);
/* Appends the text of a link, without a NUL. */
int procdir_readlink(int proc_fd, const char *path, struct wire_writer *out);
/* The directory's names that are numbers, ascending; malloc'ed. */
int procdir_numbers(int proc_fd, const char *path, uint32_t **ret_numbers, size_t *ret_nr);
/* Inode number of what PATH leads to (a namespace). */
int procdir_inode(int proc_fd, const char *path, uint64_t *ret_ino);

#endif
