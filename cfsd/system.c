/* Values: u8 version, then le64 numbers; format: u8 0, le32 version of the whole layout. */
#include "cfsd/system.h"

#include <errno.h>
#include <stdlib.h>

#include "cfsd/meta_key.h"
#include "common/bytes.h"
#include "common/cleanup.h"

enum { FORMAT_VERSION = 2, FORMAT_OLDEST = 1, PAIR_VERSION = 1, FORMAT_LEN = 5, PAIR_LEN = 17 };

int system_put_format(struct batch *b)
{
	uint8_t val[FORMAT_LEN] = { 0 };
	struct meta_key k;

	put_le32(val + 1, FORMAT_VERSION);
	meta_key_system(&k, SYSTEM_FORMAT);
	return batch_put(b, k.b, k.len, val, sizeof(val));
}

static int put_pair(struct batch *b, const char *key, uint64_t first, uint64_t second)
{
	uint8_t val[PAIR_LEN] = { PAIR_VERSION };
	struct meta_key k;

	put_le64(val + 1, first);
	put_le64(val + 9, second);
	meta_key_system(&k, key);
	return batch_put(b, k.b, k.len, val, sizeof(val));
}

int system_put_position(struct batch *b, struct wire_logpos pos)
{
	return put_pair(b, SYSTEM_POSITION, pos.epoch, pos.lsn);
}

int system_put_loss(struct batch *b, struct wire_logpos pos)
{
	return put_pair(b, SYSTEM_LOSS, pos.epoch, pos.lsn);
}

int system_put_counters(struct batch *b, const struct system_counters *c)
{
	return put_pair(b, SYSTEM_NEXT_INO, c->next_ino, c->nr_inodes);
}

static int pair_decode(const void *val, size_t vlen, uint64_t *ret_first, uint64_t *ret_second)
{
	const uint8_t *v = val;

	if (vlen && v[0] > PAIR_VERSION)
		return -EPROTONOSUPPORT;
	if (vlen != PAIR_LEN || v[0] != PAIR_VERSION)
		return -EBADMSG;
	*ret_first = get_le64(v + 1);
	*ret_second = get_le64(v + 9);
	return 0;
}

int system_counters_decode(const void *val, size_t vlen, struct system_counters *ret_c)
{
	return pair_decode(val, vlen, &ret_c->next_ino, &ret_c->nr_inodes);
}

int system_loss_decode(const void *val, size_t vlen, struct wire_logpos *ret_pos)
{
	return pair_decode(val, vlen, &ret_pos->epoch, &ret_pos->lsn);
}

static int get(struct meta *m, const char *key, void **ret_val, size_t *ret_vlen)
{
	struct meta_key k;

	meta_key_system(&k, key);
	return m->ops->get(m, k.b, k.len, ret_val, ret_vlen);
}

/* 1 ours, or one that ours can go on with; 0 there is none. */
static int check_format(struct meta *m, bool *ret_older)
{
	_cleanup_free_ void *val = NULL;
	size_t vlen;
	int r = get(m, SYSTEM_FORMAT, &val, &vlen);
	uint32_t version;

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (vlen < FORMAT_LEN)
		return -EBADMSG;
	version = get_le32((const uint8_t *)val + 1);
	if (version > FORMAT_VERSION)
		return -EPROTONOSUPPORT;
	*ret_older = version < FORMAT_VERSION;
	return vlen == FORMAT_LEN && version >= FORMAT_OLDEST ? 1 : -EBADMSG;
}

static int load_pair(struct meta *m, const char *key, uint64_t *ret_first, uint64_t *ret_second)
{
	_cleanup_free_ void *val = NULL;
	size_t vlen;
	int r = get(m, key, &val, &vlen);

	if (r < 0)
		return r == -ENOENT ? -EBADMSG : r;
	return pair_decode(val, vlen, ret_first, ret_second);
}

/* There is none as long as all was well. */
static int load_loss(struct meta *m, struct wire_logpos *ret_pos)
{
	_cleanup_free_ void *val = NULL;
	size_t vlen;
	int r = get(m, SYSTEM_LOSS, &val, &vlen);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return system_loss_decode(val, vlen, ret_pos);
}

int system_load(struct meta *m, struct system_state *ret_state)
{
	struct system_state st = { 0 };
	int r = check_format(m, &st.older);

	if (r > 0) {
		st.formatted = true;
		r = load_pair(m, SYSTEM_POSITION, &st.pos.epoch, &st.pos.lsn);
		if (!r)
			r = load_pair(m, SYSTEM_NEXT_INO, &st.counters.next_ino, &st.counters.nr_inodes);
		if (!r)
			r = load_loss(m, &st.loss);
	}
	if (!r)
		*ret_state = st;
	return r;
}
