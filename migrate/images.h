/*
 * The image files of one dump: a directory on tmpfs, its files sent piece by piece and written on the other side.
 * Reading from and writing to tmpfs does not block, so it is done on the loop.
 */
#ifndef CFS_MIGRATE_IMAGES_H
#define CFS_MIGRATE_IMAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define IMAGES_PIECE (1u << 20)
#define IMAGES_NAME_MAX 256

/* A walk over all files of a directory; release with images_release(). */
struct images {
	int dir;
	char **names;
	size_t nr, next;
	int fd; /* of names[next], -1: not open */
	uint64_t off, bytes;
};

/* Makes the directory all images live in; mounts a tmpfs there unless it is on one. 0 or -errno. */
int images_base(const char *base);
/* Makes the directory of one move (0700). 0 or -errno. */
int images_create(const char *path);
/* Removes the directory and the files in it. */
void images_remove(const char *path);
/* Opens for sending; logs (*.log) are left out. 0 or -errno. */
int images_open(struct images *im, const char *path);
void images_release(struct images *im);
/* The next piece: 1 and its place, 0 at the end, -errno. BUF holds IMAGES_PIECE bytes. An empty file gives one empty piece. */
int images_next(struct images *im, void *buf, const char **ret_name, uint64_t *ret_off, size_t *ret_len);
/* Writes a received piece. -EINVAL: a name that is not a plain file name. */
int images_write(const char *path, const char *name, uint64_t off, const void *buf, size_t len);

#endif
