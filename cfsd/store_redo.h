/*
 * Two slots that hold the extents of the last records, by turns, so that a record whose metadata was applied can be
 * completed after the process was killed. They live in the data under inode number 0, which no file has.
 *
 * Not meant to survive a power loss: nothing is synced, and slots of another boot are ignored.
 */
#ifndef CFS_CFSD_STORE_REDO_H
#define CFS_CFSD_STORE_REDO_H

#include <stddef.h>
#include <stdint.h>

#include "cfsd/store.h"

struct redo {
	uint64_t boot; /* this boot's number; 0 for memory stores */
};

/* Before the record's metadata is applied. */
int redo_save(struct redo *redo, struct data *d, const struct record *rec);
/* 1 and the extents (malloc'ed) of the record at POS, 0 when it had none. Forgets the slots that are not for POS: a
   record that did not happen may be followed by another one at its position. */
int redo_load(struct redo *redo, struct data *d, struct wire_logpos pos, void **ret_extents, size_t *ret_len);

/* Empties both slots. */
int redo_forget(struct data *d);

#endif
