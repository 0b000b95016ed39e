/* Positions and grants as heartbeats carry them: packed entries of one length (wire/messages.def). */
#include <errno.h>

#include "cluster/lease.h"
#include "common/bytes.h"

static int count(const struct wire_blob *b, size_t len, size_t *ret_nr)
{
	if (b->len % len || b->len / len > CONFIG_FS_MAX)
		return -EBADMSG;
	*ret_nr = b->len / len;
	return 0;
}

struct wire_blob lease_pack_positions(const struct lease_position *pos, size_t nr, uint8_t *buf)
{
	for (size_t i = 0; i < nr; i++) {
		uint8_t *p = buf + i * LEASE_POSITION_LEN;

		put_le32(p, pos[i].fs);
		put_le64(p + 4, pos[i].epoch);
		put_le64(p + 12, pos[i].lsn);
		put_le64(p + 20, pos[i].at);
		p[28] = (uint8_t)pos[i].copy;
	}
	return (struct wire_blob){ buf, (uint32_t)(nr * LEASE_POSITION_LEN) };
}

int lease_unpack_positions(const struct wire_blob *b, struct lease_position *ret, size_t *ret_nr)
{
	size_t nr;
	int r = count(b, LEASE_POSITION_LEN, &nr);

	if (r < 0)
		return r;
	for (size_t i = 0; i < nr; i++) {
		const uint8_t *p = (const uint8_t *)b->p + i * LEASE_POSITION_LEN;

		if (p[28] > LEASE_COPY_NONE)
			return -EBADMSG;
		ret[i] = (struct lease_position){ .fs = get_le32(p),
						  .epoch = get_le64(p + 4),
						  .lsn = get_le64(p + 12),
						  .at = get_le64(p + 20),
						  .copy = (enum lease_copy)p[28] };
	}
	*ret_nr = nr;
	return 0;
}

struct wire_blob lease_pack_grants(const struct lease_grant *grants, size_t nr, uint8_t *buf)
{
	for (size_t i = 0; i < nr; i++) {
		put_le32(buf + i * LEASE_GRANT_LEN, grants[i].fs);
		put_le64(buf + i * LEASE_GRANT_LEN + 4, grants[i].epoch);
	}
	return (struct wire_blob){ buf, (uint32_t)(nr * LEASE_GRANT_LEN) };
}

int lease_unpack_grants(const struct wire_blob *b, struct lease_grant *ret, size_t *ret_nr)
{
	size_t nr;
	int r = count(b, LEASE_GRANT_LEN, &nr);

	if (r < 0)
		return r;
	for (size_t i = 0; i < nr; i++) {
		const uint8_t *p = (const uint8_t *)b->p + i * LEASE_GRANT_LEN;

		ret[i] = (struct lease_grant){ get_le32(p), get_le64(p + 4) };
	}
	*ret_nr = nr;
	return 0;
}
