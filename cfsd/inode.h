/* The inode as it is stored (key I), and the rules for its times. */
#ifndef CFS_CFSD_INODE_H
#define CFS_CFSD_INODE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "cfsd/store.h"
#include "wire/message.h"

enum {
	INODE_ROOT = 1,
	INODE_LINK_MAX = INT32_MAX,
	INODE_XATTR_MAX = 256, /* number of xattrs */
};
/* Where the contents are: one backing file; the key F; the beginning in the key F, the rest in a backing file. */
enum { INODE_FILE = 0, INODE_INLINE = 1, INODE_HEAD = 2 };
/* Half of what ext4 can hold in one backing file. */
#define INODE_SIZE_MAX ((uint64_t)1 << 43)

/* Stored fields, in order. A change of this list is a new version (inode.c, LAYOUT.md). */
#define INODE_FIELDS                                                                                       \
	F(u32, mode) F(u32, nlink) F(u32, uid) F(u32, gid) F(u64, rdev) F(u64, size) F(u64, atime)         \
	F(u64, mtime) F(u64, ctime) F(u64, btime)                                                          \
	F(u64, change)	  /* grows with every change of the inode */                                       \
	F(logpos, stamp)  /* regular files: the record that last changed the data */                       \
	F(u64, parent)	  /* directories: where ".." leads */                                              \
	F(u32, nr_xattrs)                                                                                  \
	F(u8, layout)	  /* regular files: INODE_FILE, INODE_INLINE, INODE_HEAD */

struct inode {
	uint64_t ino;
#define F(type, field) wire_##type field;
	INODE_FIELDS
#undef F
};

/* -ESTALE: there is no such inode (any more); -EBADMSG torn, -EPROTONOSUPPORT written by a newer version. */
int inode_load(struct store *s, uint64_t ino, struct inode *ret_inode);
int inode_save(struct txn *txn, const struct inode *in);
int inode_decode(uint64_t ino, const void *val, size_t vlen, struct inode *ret_inode);
void inode_to_attr(const struct inode *in, uint64_t blocks, struct wire_attr *ret_attr);

/*
 * ctime only the filesystem sets, so it is made to grow strictly with every change, even when the clock stands still or
 * another server's clock is behind. A change of content sets mtime to the same value: no two contents of a file or
 * directory made by writing have the same mtime.
 */
void inode_touch(struct inode *in, uint64_t now_ns);
/* Content changed too: bytes of a file, names of a directory. */
void inode_touch_content(struct inode *in, uint64_t now_ns);
/* What write(2), truncate(2) and chown(2) do to the set-id bits of a file. */
void inode_kill_priv(struct inode *in);

static inline bool inode_is_dir(const struct inode *in)
{
	return S_ISDIR(in->mode);
}

#endif
