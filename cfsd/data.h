/* The seam under file contents: bytes by inode number. Implementations: data_file.c (backing files), data_mem.c. */
#ifndef CFS_CFSD_DATA_H
#define CFS_CFSD_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct data;

/* A backing file. */
struct data_item {
	uint64_t ino, size;
};

struct data_ops {
	/* Bytes read (short only at the end of the backing file; the caller zero-fills up to the inode's size), -errno. */
	ssize_t (*read)(struct data *d, uint64_t ino, void *buf, size_t len, uint64_t off);
	/* All of it or -errno. Creates the file. */
	int (*write)(struct data *d, uint64_t ino, const void *buf, size_t len, uint64_t off);
	/* Both do nothing when there is no backing file: what was never written reads as zeros. */
	int (*truncate)(struct data *d, uint64_t ino, uint64_t size);
	int (*punch)(struct data *d, uint64_t ino, uint64_t off, uint64_t len);
	int (*remove)(struct data *d, uint64_t ino); /* absent is fine */
	/* All backing files, malloc'ed. */
	int (*list)(struct data *d, struct data_item **ret_files, size_t *ret_n);
	/* Makes the file durable (INO 0: every file). May block long: called from a worker thread. */
	int (*sync)(struct data *d, uint64_t ino);
	/* Bytes in use by the file, in 512-byte blocks, and what is left below: free counts what may still be promised,
	   i.e. without the reserve that keeps the server itself alive on a full disk. */
	uint64_t (*blocks)(struct data *d, uint64_t ino);
	int (*space)(struct data *d, uint64_t *ret_total, uint64_t *ret_free);
	void (*close)(struct data *d);
};

struct data {
	const struct data_ops *ops;
};

int data_file_open(const char *dir, struct data **ret_d);
int data_mem_open(uint64_t capacity, struct data **ret_d);
/* data_mem only: power loss, every file is again what it was at its last sync, but for those that KEEP (NULL: none) says
   had been written back in time. */
void data_mem_forget(struct data *d, bool (*keep)(void *ctx, uint64_t ino), void *ctx);

#endif
