/* The data part of a record, as bytes. */
#ifndef CFS_CFSD_EXTENT_H
#define CFS_CFSD_EXTENT_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "cfsd/store.h"

enum { EXTENT_HEADER = 25 };

struct extent {
	enum extent_kind kind;
	uint64_t ino, off, len;
	const void *bytes; /* WRITE, APPEND; borrowed */
};

/* Steps through encoded extents from *pos (0 at first): 1 an extent, 0 end, -EBADMSG torn. */
int extent_next(const void *buf, size_t len, size_t *pos, struct extent *ret_extent);

#endif
