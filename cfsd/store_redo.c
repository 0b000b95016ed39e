/* Slot: le64 magic with version, le64 boot, le64 epoch, le64 lsn, le64 length, then that many bytes. */
#include "cfsd/store_redo.h"

#include <errno.h>
#include <stdlib.h>

#include "common/bytes.h"
#include "common/cleanup.h"

enum { SLOTS = 2, HEADER = 40 };
#define MAGIC 0x31302d6f64657263u
#define SLOT_SIZE ((uint64_t)64 << 20) /* more than a record can have */

static uint64_t slot_offset(uint64_t lsn)
{
	return lsn % SLOTS * SLOT_SIZE;
}

int redo_save(struct redo *redo, struct data *d, const struct record *rec)
{
	uint64_t off = slot_offset(rec->pos.lsn);
	uint8_t head[HEADER];
	int r;

	if (rec->extents_len > SLOT_SIZE - HEADER)
		return -EMSGSIZE;
	put_le64(head, MAGIC);
	put_le64(head + 8, redo->boot);
	put_le64(head + 16, rec->pos.epoch);
	put_le64(head + 24, rec->pos.lsn);
	put_le64(head + 32, rec->extents_len);
	r = d->ops->write(d, 0, rec->extents, rec->extents_len, off + HEADER);
	return r < 0 ? r : d->ops->write(d, 0, head, sizeof(head), off);
}

static int slot_forget(struct data *d, uint64_t off)
{
	static const uint8_t zeros[HEADER];

	return d->ops->write(d, 0, zeros, sizeof(zeros), off);
}

/* 1 the slot at OFF holds the record at POS, *ret_len long; 0 it is empty; -ENOENT it holds something else. */
static int slot_check(const struct redo *redo, struct data *d, uint64_t off, struct wire_logpos pos, uint64_t *ret_len)
{
	uint8_t head[HEADER];
	ssize_t n = d->ops->read(d, 0, head, sizeof(head), off);

	if (n < 0)
		return (int)n;
	if (n < HEADER || !get_le64(head))
		return 0;
	*ret_len = get_le64(head + 32);
	if (get_le64(head) != MAGIC || get_le64(head + 8) != redo->boot || get_le64(head + 16) != pos.epoch ||
	    get_le64(head + 24) != pos.lsn || *ret_len > SLOT_SIZE - HEADER)
		return -ENOENT;
	return 1;
}

static int slot_read(struct data *d, uint64_t off, size_t len, void **ret_extents)
{
	_cleanup_free_ void *buf = malloc(len + 1);
	ssize_t n;

	if (!buf)
		return -ENOMEM;
	n = d->ops->read(d, 0, buf, len, off + HEADER);
	if (n < 0)
		return (int)n;
	if ((size_t)n != len)
		return -EBADMSG;
	*ret_extents = TAKE_PTR(buf);
	return 1;
}

int redo_load(struct redo *redo, struct data *d, struct wire_logpos pos, void **ret_extents, size_t *ret_len)
{
	bool found = false;

	for (uint64_t off = 0; off < SLOTS * SLOT_SIZE; off += SLOT_SIZE) {
		uint64_t len = 0;
		int r = slot_check(redo, d, off, pos, &len);

		if (r == -ENOENT)
			r = slot_forget(d, off);
		else if (r > 0)
			r = slot_read(d, off, (size_t)len, ret_extents);
		if (r < 0)
			return r;
		if (r > 0) {
			*ret_len = (size_t)len;
			found = true;
		}
	}
	return found;
}

int redo_forget(struct data *d)
{
	uint8_t head[HEADER];

	for (uint64_t off = 0; off < SLOTS * SLOT_SIZE; off += SLOT_SIZE) {
		ssize_t n = d->ops->read(d, 0, head, sizeof(head), off);
		int r = n > 0 ? slot_forget(d, off) : (int)n;

		if (r < 0)
			return r;
	}
	return 0;
}
