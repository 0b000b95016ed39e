#include "cfsd/meta_key.h"

#include <assert.h>
#include <string.h>

#include "common/bytes.h"

static void key_number(struct meta_key *k, uint8_t kind, uint64_t number)
{
	k->b[0] = kind;
	put_be64(k->b + 1, number);
	k->len = 9;
}

static void key_name(struct meta_key *k, uint8_t kind, uint64_t number, const char *name)
{
	size_t len = strlen(name);

	assert(len <= 255);
	key_number(k, kind, number);
	memcpy(k->b + k->len, name, len);
	k->len += len;
}

void meta_key_dentry(struct meta_key *k, uint64_t parent, const char *name)
{
	key_name(k, META_DENTRY, parent, name);
}

void meta_key_xattr(struct meta_key *k, uint64_t ino, const char *name)
{
	key_name(k, META_XATTR, ino, name);
}

void meta_key_inode(struct meta_key *k, uint64_t ino)
{
	key_number(k, META_INODE, ino);
}

void meta_key_content(struct meta_key *k, uint64_t ino)
{
	key_number(k, META_CONTENT, ino);
}

void meta_key_target(struct meta_key *k, uint64_t ino)
{
	key_number(k, META_TARGET, ino);
}

void meta_key_orphan(struct meta_key *k, uint64_t ino)
{
	key_number(k, META_ORPHAN, ino);
}

void meta_key_removed(struct meta_key *k, uint64_t ino)
{
	key_number(k, META_REMOVED, ino);
}

void meta_key_reply(struct meta_key *k, uint64_t session, uint32_t slot)
{
	key_number(k, META_REPLY, session);
	put_be32(k->b + k->len, slot);
	k->len += 4;
}

void meta_key_session(struct meta_key *k, uint64_t session)
{
	key_number(k, META_SESSION, session);
}

void meta_key_system(struct meta_key *k, const char *what)
{
	size_t len = strlen(what);

	k->b[0] = META_SYSTEM;
	memcpy(k->b + 1, what, len);
	k->len = 1 + len;
}

bool meta_key_is_system(const void *key, size_t klen, const char *what)
{
	const uint8_t *k = key;
	size_t len = strlen(what);

	return klen == 1 + len && k[0] == META_SYSTEM && !memcmp(k + 1, what, len);
}

bool meta_key_number(const void *key, size_t klen, char kind, uint64_t *ret_number)
{
	const uint8_t *k = key;

	if (klen < 9 || k[0] != (uint8_t)kind)
		return false;
	*ret_number = get_be64(k + 1);
	return true;
}

const char *meta_key_name(const void *key, size_t klen, size_t *ret_len)
{
	*ret_len = klen - 9;
	return (const char *)key + 9;
}

bool meta_key_slot(const void *key, size_t klen, uint32_t *ret_slot)
{
	const uint8_t *k = key;

	if (klen != 13 || k[0] != META_REPLY)
		return false;
	*ret_slot = get_be32(k + 9);
	return true;
}
