/*
 * Keys of the metadata store. LAYOUT.md says what is behind each; a new kind of key is a letter here, a builder, and
 * its line there. Numbers are big-endian so that iteration is in numeric order.
 */
#ifndef CFS_CFSD_META_KEY_H
#define CFS_CFSD_META_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	META_DENTRY = 'D',  /* D parent:be64 name */
	META_INODE = 'I',   /* I ino:be64 */
	META_CONTENT = 'F', /* F ino:be64            contents of a small file */
	META_TARGET = 'T',  /* T ino:be64            target of a symbolic link */
	META_XATTR = 'X',   /* X ino:be64 name */
	META_ORPHAN = 'O',  /* O ino:be64            unlinked, still open */
	META_REPLY = 'R',   /* R session:be64 slot:be32   (value: the session part's) */
	META_SESSION = 'C', /* C session:be64             (value: the session part's) */
	META_SYSTEM = 'S',  /* S text */
	META_REMOVED = 'Z', /* Z ino:be64            its data is to be removed; of one copy, not transferred */
};

#define META_KEY_MAX (1 + 8 + 255)

struct meta_key {
	size_t len;
	uint8_t b[META_KEY_MAX];
};

/* NAME is at most 255 bytes. An empty name gives the prefix of all names of the directory (of all xattrs). */
void meta_key_dentry(struct meta_key *k, uint64_t parent, const char *name);
void meta_key_xattr(struct meta_key *k, uint64_t ino, const char *name);
void meta_key_inode(struct meta_key *k, uint64_t ino);
void meta_key_content(struct meta_key *k, uint64_t ino);
void meta_key_target(struct meta_key *k, uint64_t ino);
void meta_key_orphan(struct meta_key *k, uint64_t ino);
void meta_key_removed(struct meta_key *k, uint64_t ino);
void meta_key_reply(struct meta_key *k, uint64_t session, uint32_t slot);
void meta_key_session(struct meta_key *k, uint64_t session);
/* WHAT: see cfsd/system.h and cfsd/local.c. */
void meta_key_system(struct meta_key *k, const char *what);
bool meta_key_is_system(const void *key, size_t klen, const char *what);

/* The number behind the letter KIND (inode, session, parent); false when the key is of another kind or too short. */
bool meta_key_number(const void *key, size_t klen, char kind, uint64_t *ret_number);
/* The name behind the number of a D or X key, not NUL-ended. Call after meta_key_number(). */
const char *meta_key_name(const void *key, size_t klen, size_t *ret_len);
/* The slot of an R key. */
bool meta_key_slot(const void *key, size_t klen, uint32_t *ret_slot);

#endif
