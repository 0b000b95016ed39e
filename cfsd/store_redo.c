/* Slot: le64 magic with version, le64 boot, le64 epoch, le64 lsn, le64 length, then that many bytes. */
#include "cfsd/store_redo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cfsd/extent.h"
#include "common/bytes.h"
#include "common/cleanup.h"

enum { SLOTS = 2, HEADER = 40, BUFFER_KEEP = 64 << 10 };
#define MAGIC 0x31302d6f64657263u
#define SLOT_SIZE ((uint64_t)64 << 20) /* more than a record can have */

static uint64_t slot_offset(uint64_t lsn)
{
	return lsn % SLOTS * SLOT_SIZE;
}

/* The record's extents as noted, behind the header. */
static int put_extents(struct wire_writer *w, const struct record *rec)
{
	struct extent e;
	size_t pos = 0, from = 0;
	int r;

	while ((r = extent_next(rec->extents, rec->extents_len, &pos, &e)) > 0) {
		size_t len = e.kind == EXTENT_APPEND ? EXTENT_HEADER : pos - from;
		uint8_t *p = wire_reserve(w, len);

		if (!p)
			return w->err;
		memcpy(p, (const uint8_t *)rec->extents + from, len);
		if (e.kind == EXTENT_APPEND)
			put_le64(p + EXTENT_HEADER - 8, 0);
		from = pos;
	}
	return r;
}

int redo_save(struct redo *redo, struct data *d, const struct record *rec)
{
	struct wire_writer *w = &redo->buf;
	uint8_t *head;
	int r;

	w->len = 0;
	w->err = 0;
	if (!wire_reserve(w, HEADER))
		return w->err;
	r = put_extents(w, rec);
	if (r < 0)
		return r;
	if (w->len > SLOT_SIZE)
		return -EMSGSIZE;
	head = w->buf;
	put_le64(head, MAGIC);
	put_le64(head + 8, redo->boot);
	put_le64(head + 16, rec->pos.epoch);
	put_le64(head + 24, rec->pos.lsn);
	put_le64(head + 32, w->len - HEADER);
	r = d->ops->write(d, 0, w->buf, w->len, slot_offset(rec->pos.lsn));
	if (w->cap > BUFFER_KEEP)
		wire_writer_release(w);
	return r;
}

static int slot_forget(struct data *d, uint64_t off)
{
	static const uint8_t zeros[HEADER];

	return d->ops->write(d, 0, zeros, sizeof(zeros), off);
}

struct slot {
	uint64_t boot, epoch, lsn, len;
};

/* 1, 0 it is empty. What is not a slot of this boot has no position. */
static int slot_load(const struct redo *redo, struct data *d, uint64_t off, struct slot *ret_slot)
{
	uint8_t head[HEADER];
	ssize_t n = d->ops->read(d, 0, head, sizeof(head), off);

	if (n < 0)
		return (int)n;
	if (n < HEADER || !get_le64(head))
		return 0;
	*ret_slot = (struct slot){ get_le64(head + 8), get_le64(head + 16), get_le64(head + 24), get_le64(head + 32) };
	if (get_le64(head) != MAGIC || ret_slot->boot != redo->boot || ret_slot->len > SLOT_SIZE - HEADER)
		ret_slot->epoch = ret_slot->lsn = 0;
	return 1;
}

static int slot_give(struct data *d, uint64_t off, const struct slot *slot, redo_fn fn, void *ctx)
{
	_cleanup_free_ void *buf = malloc((size_t)slot->len + 1);
	ssize_t n;

	if (!buf)
		return -ENOMEM;
	n = d->ops->read(d, 0, buf, (size_t)slot->len, off + HEADER);
	if (n < 0)
		return (int)n;
	return (uint64_t)n == slot->len ? fn(ctx, buf, (size_t)n) : -EBADMSG;
}

static int slot_recover(struct redo *redo, struct data *d, uint64_t off, struct wire_logpos pos, redo_fn again,
			redo_fn undo, void *ctx)
{
	struct slot slot = { 0 };
	int r = slot_load(redo, d, off, &slot);

	if (r <= 0)
		return r;
	if (slot.lsn == pos.lsn && slot.epoch == pos.epoch)
		return slot_give(d, off, &slot, again, ctx);
	if (slot.lsn == pos.lsn + 1)
		r = slot_give(d, off, &slot, undo, ctx);
	/* Killed while the slot was written: nothing was done then. */
	if (r == -EBADMSG)
		r = 0;
	return r < 0 ? r : slot_forget(d, off);
}

int redo_recover(struct redo *redo, struct data *d, struct wire_logpos pos, redo_fn again, redo_fn undo, void *ctx)
{
	int r = 0;

	for (uint64_t off = 0; !r && off < SLOTS * SLOT_SIZE; off += SLOT_SIZE)
		r = slot_recover(redo, d, off, pos, again, undo, ctx);
	return r;
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

void redo_release(struct redo *redo)
{
	wire_writer_release(&redo->buf);
}
