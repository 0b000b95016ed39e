/*
 * What a node notes about its own copy, in S keys that are never replicated or copied: a copy that is being made anew,
 * and whether the machine went down while the copy was in use (then what was not synced may be gone).
 */
#ifndef CFS_CFSD_LOCAL_H
#define CFS_CFSD_LOCAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cfsd/store.h"

/* Keys that belong to one copy: these, its position, what is to be removed. */
bool local_is_key(const void *key, size_t klen);

/* Durable before anything of the copy is overwritten. 0 or -errno. */
int local_mark_copying(struct store *s);
/* The copy is whole and ends at POS; durable. */
int local_mark_whole(struct store *s, struct wire_logpos pos);
bool local_is_copying(struct store *s);
/* Sets the position of the copy, without applying anything, for what follows to be applied to. */
int local_set_position(struct store *s, struct wire_logpos pos);

/* *ret_lost: the machine went down while the copy was in use, and nobody has dealt with that yet. 0 or -errno. */
int local_power_lost(struct store *s, bool *ret_lost);
/* Writes were lost though the machine did not go down (a failed sync): from the next start on as after a loss of power. */
int local_note_lost(struct store *s);
/* The copy is in use from here on, in this boot; dealt with. */
int local_note_opened(struct store *s);
/* Everything is synced, nothing will be changed any more. */
int local_note_closed(struct store *s);

#endif
