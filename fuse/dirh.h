/*
 * An open directory: its names as fetched, in pieces, from the server. An entry keeps its place in the handle's list
 * as long as the list lives, so offsets (places) stay good for seekdir(3); a rewind begins a new list. Pure.
 */
#ifndef CFS_FUSE_DIRH_H
#define CFS_FUSE_DIRH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/codec.h"

struct dirh_entry {
	uint64_t ino;
	uint32_t mode; /* type bits */
	uint32_t name; /* place in the names buffer */
};

struct dirh {
	uint64_t ino;
	struct dirh_entry *entries;
	size_t nr_entries, cap_entries;
	size_t nr_local; /* at the front, not the server's: "." and the like */
	struct wire_writer names; /* NUL-ended, one after the other */
	bool eof;		  /* all entries are here */
	bool started;		  /* something was fetched or added since the last rewind */
	/* For the cache: all pieces came with the names token, and when the first was asked for. */
	bool tokens;
	uint64_t stamp;
};

void dirh_init(struct dirh *d, uint64_t ino);
void dirh_release(struct dirh *d);
/* Begins a new list. */
void dirh_rewind(struct dirh *d);
/* 0 or -ENOMEM. */
int dirh_add(struct dirh *d, const char *name, uint64_t ino, uint32_t mode);
/* Adds the entries of a readdir reply (wire/fileop.h). -EBADMSG: not entries; what was good stays. */
int dirh_add_piece(struct dirh *d, const struct wire_blob *entries);
const char *dirh_name(const struct dirh *d, size_t i);
/* Where to go on fetching: the last of the server's names; "" at the start. */
const char *dirh_last_name(const struct dirh *d);

#endif
