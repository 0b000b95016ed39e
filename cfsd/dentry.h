/* Names in directories (key D). */
#ifndef CFS_CFSD_DENTRY_H
#define CFS_CFSD_DENTRY_H

#include <stdint.h>

#include "cfsd/store.h"

struct dentry {
	uint64_t ino;
	uint8_t type; /* DT_* of readdir(3): the type bits of the mode, >> 12 */
};

/* Can it be the name of an entry? -EINVAL: empty, ".", "..", or with a slash; -ENAMETOOLONG. */
int dentry_check_name(const char *name);
/* -ENOENT, -EBADMSG, -EPROTONOSUPPORT. The name was checked. */
int dentry_load(struct store *s, uint64_t parent, const char *name, struct dentry *ret_dentry);
int dentry_decode(const void *val, size_t vlen, struct dentry *ret_dentry);
int dentry_save(struct txn *txn, uint64_t parent, const char *name, uint64_t ino, uint32_t mode);
int dentry_delete(struct txn *txn, uint64_t parent, const char *name);

#endif
