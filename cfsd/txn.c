/* Building a change. Extent: u8 kind, le64 ino, le64 off, le64 len, then the bytes when it is a WRITE or APPEND. */
#include <string.h>

#include "cfsd/extent.h"
#include "cfsd/store.h"
#include "common/bytes.h"

void txn_init(struct txn *t)
{
	batch_init(&t->meta);
	wire_writer_init(&t->extents);
}

void txn_release(struct txn *t)
{
	batch_release(&t->meta);
	wire_writer_release(&t->extents);
}

void txn_clear(struct txn *t)
{
	t->meta.len = 0;
	t->meta.err = 0;
	t->extents.len = 0;
	t->extents.err = 0;
}

int txn_error(const struct txn *t)
{
	return t->meta.err ? t->meta.err : t->extents.err;
}

bool txn_is_empty(const struct txn *t)
{
	return !t->meta.len && !t->extents.len;
}

static int put_extent(struct txn *t, enum extent_kind kind, uint64_t ino, uint64_t off, const void *buf, uint64_t len)
{
	size_t room = EXTENT_HEADER + (buf ? (size_t)len : 0);
	uint8_t *p = wire_reserve(&t->extents, room);

	if (!p)
		return t->extents.err;
	p[0] = (uint8_t)kind;
	put_le64(p + 1, ino);
	put_le64(p + 9, off);
	put_le64(p + 17, len);
	if (buf)
		memcpy(p + EXTENT_HEADER, buf, len);
	return 0;
}

int txn_write(struct txn *t, uint64_t ino, uint64_t off, const void *buf, size_t len)
{
	return put_extent(t, EXTENT_WRITE, ino, off, buf, len);
}

int txn_append(struct txn *t, uint64_t ino, uint64_t off, const void *buf, size_t len)
{
	return put_extent(t, EXTENT_APPEND, ino, off, buf, len);
}

int txn_truncate(struct txn *t, uint64_t ino, uint64_t size)
{
	return put_extent(t, EXTENT_TRUNCATE, ino, size, NULL, 0);
}

int txn_punch(struct txn *t, uint64_t ino, uint64_t off, uint64_t len)
{
	return put_extent(t, EXTENT_PUNCH, ino, off, NULL, len);
}

int txn_remove(struct txn *t, uint64_t ino)
{
	return put_extent(t, EXTENT_REMOVE, ino, 0, NULL, 0);
}

int extent_next(const void *buf, size_t len, size_t *pos, struct extent *ret_extent)
{
	if (*pos == len)
		return 0;
	if (*pos > len || len - *pos < EXTENT_HEADER)
		return -EBADMSG;
	const uint8_t *p = (const uint8_t *)buf + *pos;
	struct extent e = {
		.kind = p[0], .ino = get_le64(p + 1), .off = get_le64(p + 9), .len = get_le64(p + 17)
	};
	size_t left = len - *pos - EXTENT_HEADER;
	uint64_t end;

	if (e.kind < EXTENT_WRITE || e.kind > EXTENT_APPEND || !e.ino || add_overflows(e.off, e.len, &end) ||
	    end > INT64_MAX)
		return -EBADMSG;
	*pos += EXTENT_HEADER;
	if (e.kind == EXTENT_WRITE || e.kind == EXTENT_APPEND) {
		if (e.len > left)
			return -EBADMSG;
		e.bytes = p + EXTENT_HEADER;
		*pos += e.len;
	}
	*ret_extent = e;
	return 1;
}
