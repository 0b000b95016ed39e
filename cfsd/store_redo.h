/*
 * Two slots that note the extents of the last records, by turns, so that opening the store after the process was killed
 * can complete a record whose metadata was applied, or clean up after one whose was not. They live in the data under
 * inode number 0, which no file has. Of appends only the places are noted: their bytes were in the files first.
 *
 * Not meant to survive a power loss: nothing is synced, and slots of another boot are ignored.
 */
#ifndef CFS_CFSD_STORE_REDO_H
#define CFS_CFSD_STORE_REDO_H

#include <stddef.h>
#include <stdint.h>

#include "cfsd/store.h"

struct redo {
	uint64_t boot;		/* this boot's number; 0 for memory stores */
	struct wire_writer buf; /* a slot being written; kept for its memory */
};

/* Before anything of the record is applied. */
int redo_save(struct redo *redo, struct data *d, const struct record *rec);

/* Extents of a slot, borrowed. APPENDs in it have no bytes. */
typedef int (*redo_fn)(void *ctx, const void *extents, size_t len);
/* AGAIN gets those of the record at POS, the last that was applied; UNDO those of the one after it, which was not. Then
   forgets the slots that are not for POS: a record that did not happen may be followed by another one at its position. */
int redo_recover(struct redo *redo, struct data *d, struct wire_logpos pos, redo_fn again, redo_fn undo, void *ctx);

/* Empties both slots. */
int redo_forget(struct data *d);
void redo_release(struct redo *redo);

#endif
