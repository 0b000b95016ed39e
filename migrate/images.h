/*
 * The image files of one dump: a directory on tmpfs, sent piece by piece while CRIU makes it, written on the other side.
 * Reading from and writing to tmpfs does not block, so it is done on the loop.
 *
 * Nearly all there is to send is the pages of memory, which CRIU appends to pages-1.img, then pages-2.img, and so on: these
 * are followed as they grow. The other files may change until the dump is complete, and go then.
 */
#ifndef CFS_MIGRATE_IMAGES_H
#define CFS_MIGRATE_IMAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define IMAGES_PIECE (256u << 10)
#define IMAGES_NAME_MAX 256

/* A walk over all files of a directory; release with images_release(). */
struct images {
	int dir;
	bool complete;
	unsigned page_nr; /* the file of pages that is followed */
	char page_name[32];
	char **names; /* of the other files; NULL: not complete */
	size_t nr, next;
	int fd;	    /* of the file at hand, -1: not open */
	bool begun; /* a piece of it was sent */
	uint64_t off, bytes;
};

/* Makes the directory all images live in, a tmpfs of its own. 0 or -errno. */
int images_base(const char *base);
/* Makes the directory of one move (0700). 0 or -errno. */
int images_create(const char *path);
/* Removes the directory and the files in it. */
void images_remove(const char *path);
/* Removes all directories in BASE but those that KEEP says yes to. */
void images_sweep(const char *base, bool (*keep)(void *ctx, const char *path), void *ctx);
/* Opens PATH, where a dump is about to be made, for sending. */
int images_open(struct images *im, const char *path);
/* The dump is complete: all files are there, and none changes any more. 0 or -errno. */
int images_complete(struct images *im, const char *path);
void images_release(struct images *im);
/* The next piece: 1 and its place; 0 at the end; -EAGAIN while there is nothing, or -errno. BUF holds IMAGES_PIECE bytes.
   Logs (*.log) are left out; an empty file gives one empty piece. */
int images_next(struct images *im, void *buf, const char **ret_name, uint64_t *ret_off, size_t *ret_len);
/* Writes a received piece. -EINVAL: a name that is not a plain file name. */
int images_write(const char *path, const char *name, uint64_t off, const void *buf, size_t len);

#endif
