/*
 * What the mount remembers of the filesystem while it holds tokens: attributes, names (present and absent), whole
 * directory listings, and whether the kernel's pages of a file are still good. Pure: no clock, no socket.
 *
 * Rules
 *  - Nothing is kept that a token did not come with; a revoke, or the loss of the session, takes it away.
 *  - Replies can be overtaken: a revoke may arrive between a request and a reply that was made before it. Each request
 *    takes a stamp when it is sent, and a reply is kept only if nothing of its inode was lost since that stamp.
 *  - Own changes: cache_name_changing() before sending (what it touches is unknown from here on), cache_names_changed()
 *    or cache_name_unknown() with the reply.
 *  - Bounded: the least recently used inodes are forgotten. Tokens of forgotten ones stay granted; a revoke of them
 *    finds nothing, which is fine.
 */
#ifndef CFS_FUSE_CACHE_H
#define CFS_FUSE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/message.h"

struct cache;

/* Limits: inodes, and names of all directories together. 0 or -ENOMEM. */
int cache_new(size_t max_inodes, size_t max_names, struct cache **ret_cache);
void cache_free(struct cache *c);
/* Forgets everything; replies to what was sent before are not kept. */
void cache_clear(struct cache *c);
/* To be taken when a request is sent, and given with its reply. */
uint64_t cache_stamp(const struct cache *c);
/* The server takes TOKENS (TOKEN_*) of INO back. */
void cache_revoke(struct cache *c, uint64_t ino, uint32_t tokens);

/* ---- attributes ---- */
/* A reply's attributes and tokens of the inode. Older ones than those known (attr.change) are not kept. */
void cache_put_attr(struct cache *c, const struct wire_attr *attr, uint32_t tokens, uint64_t stamp);
bool cache_get_attr(struct cache *c, uint64_t ino, struct wire_attr *ret_attr);
/* An own change altered them in a way the reply does not tell. */
void cache_drop_attr(struct cache *c, uint64_t ino);

/* ---- names ---- */
enum cache_answer { CACHE_UNKNOWN, CACHE_ABSENT, CACHE_PRESENT };
/* INO 0: absent. Kept when DIR_TOKENS has TOKEN_NAMES. */
void cache_put_name(struct cache *c, uint64_t dir, const char *name, uint64_t ino, uint32_t mode, uint32_t dir_tokens,
		    uint64_t stamp);
enum cache_answer cache_get_name(struct cache *c, uint64_t dir, const char *name, uint64_t *ret_ino);
void cache_name_changing(struct cache *c, uint64_t dir, const char *name);
/* What a name is after a change: ino 0, absent. */
struct cache_name {
	const char *name;
	uint64_t ino;
	uint32_t mode;
};
/* An own change of names is done. The reply told the directory's attributes and brought DIR_TOKENS of it. */
void cache_names_changed(struct cache *c, const struct wire_attr *dir, uint32_t dir_tokens, const struct cache_name *names,
			 size_t n, uint64_t stamp);
/* It failed, or its outcome is not known in detail. */
void cache_name_unknown(struct cache *c, uint64_t dir, const char *name);

/* ---- listings ---- */
/* The names token of DIR came with a reply. */
void cache_put_names_token(struct cache *c, uint64_t dir, uint64_t stamp);
/* All names of DIR as of STAMP have been put by cache_put_name() with the same STAMP: what is not there is absent. */
void cache_set_complete(struct cache *c, uint64_t dir, uint64_t stamp);
typedef int (*cache_entry_fn)(void *ctx, const char *name, uint64_t ino, uint32_t mode);
/* 1 and every name given to FN, 0 when the listing is not known, or FN's negative error. */
int cache_list(struct cache *c, uint64_t dir, cache_entry_fn fn, void *ctx);

/* ---- the kernel's pages of a file ---- */
/* May pages read before stay? True while the DATA token was held since they were read. */
bool cache_pages_kept(struct cache *c, uint64_t ino);
/* The kernel has no pages of INO now (it drops them at an open without keep_cache). */
void cache_pages_dropped(struct cache *c, uint64_t ino);
/* A read or write reply put content into pages. */
void cache_pages_filled(struct cache *c, uint64_t ino, uint32_t tokens, uint64_t stamp);

size_t cache_nr_inodes(const struct cache *c);
size_t cache_nr_names(const struct cache *c);

#endif
