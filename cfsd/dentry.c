#include "cfsd/dentry.h"

#include <errno.h>
#include <string.h>

#include "cfsd/meta_key.h"
#include "common/bytes.h"
#include "common/cleanup.h"

/* Value: u8 version, le64 ino, u8 type. */
enum { DENTRY_VERSION = 1, DENTRY_LEN = 10 };

int dentry_check_name(const char *name)
{
	if (!name || !*name || !strcmp(name, ".") || !strcmp(name, "..") || strchr(name, '/'))
		return -EINVAL;
	return strlen(name) > WIRE_NAME_MAX ? -ENAMETOOLONG : 0;
}

int dentry_decode(const void *val, size_t vlen, struct dentry *ret_dentry)
{
	const uint8_t *v = val;

	if (vlen && v[0] > DENTRY_VERSION)
		return -EPROTONOSUPPORT;
	if (vlen != DENTRY_LEN || v[0] != DENTRY_VERSION)
		return -EBADMSG;
	*ret_dentry = (struct dentry){ .ino = get_le64(v + 1), .type = v[9] };
	return 0;
}

int dentry_load(struct store *s, uint64_t parent, const char *name, struct dentry *ret_dentry)
{
	struct meta *m = store_meta(s);
	_cleanup_free_ void *val = NULL;
	struct meta_key k;
	size_t vlen;
	int r;

	meta_key_dentry(&k, parent, name);
	r = m->ops->get(m, k.b, k.len, &val, &vlen);
	return r < 0 ? r : dentry_decode(val, vlen, ret_dentry);
}

int dentry_save(struct txn *txn, uint64_t parent, const char *name, uint64_t ino, uint32_t mode)
{
	uint8_t val[DENTRY_LEN] = { DENTRY_VERSION };
	struct meta_key k;

	put_le64(val + 1, ino);
	val[9] = (uint8_t)(mode >> 12);
	meta_key_dentry(&k, parent, name);
	return batch_put(&txn->meta, k.b, k.len, val, sizeof(val));
}

int dentry_delete(struct txn *txn, uint64_t parent, const char *name)
{
	struct meta_key k;

	meta_key_dentry(&k, parent, name);
	return batch_del(&txn->meta, k.b, k.len);
}
