/* Item: u8 kind (1 put, 2 del), le16 key length, le32 value length (0 for del), key, value. */
#include "cfsd/batch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"

enum { ITEM_PUT = 1, ITEM_DEL = 2, ITEM_HEADER = 7 };

void batch_init(struct batch *b)
{
	*b = (struct batch){ 0 };
}

void batch_release(struct batch *b)
{
	free(b->buf);
	batch_init(b);
}

static uint8_t *reserve(struct batch *b, size_t len)
{
	uint8_t *p;

	if (b->err)
		return NULL;
	if (b->cap - b->len < len) {
		size_t cap = b->cap ? b->cap : 512;

		while (cap - b->len < len)
			cap *= 2;
		p = realloc(b->buf, cap);
		if (!p) {
			b->err = -ENOMEM;
			return NULL;
		}
		b->buf = p;
		b->cap = cap;
	}
	p = b->buf + b->len;
	b->len += len;
	return p;
}

static int put_item(struct batch *b, uint8_t kind, const void *key, size_t klen, const void *val, size_t vlen)
{
	if (klen > UINT16_MAX || vlen > UINT32_MAX)
		return b->err = -EMSGSIZE;
	uint8_t *p = reserve(b, ITEM_HEADER + klen + vlen);

	if (!p)
		return b->err;
	p[0] = kind;
	put_le16(p + 1, (uint16_t)klen);
	put_le32(p + 3, (uint32_t)vlen);
	memcpy(p + ITEM_HEADER, key, klen);
	if (vlen)
		memcpy(p + ITEM_HEADER + klen, val, vlen);
	return 0;
}

int batch_put(struct batch *b, const void *key, size_t klen, const void *val, size_t vlen)
{
	return put_item(b, ITEM_PUT, key, klen, val, vlen);
}

int batch_del(struct batch *b, const void *key, size_t klen)
{
	return put_item(b, ITEM_DEL, key, klen, NULL, 0);
}

int batch_append(struct batch *b, const void *buf, size_t len)
{
	uint8_t *p = len ? reserve(b, len) : NULL;

	if (p)
		memcpy(p, buf, len);
	return b->err;
}

int batch_next(const void *buf, size_t len, size_t *pos, struct batch_item *ret_item)
{
	if (*pos == len)
		return 0;
	if (*pos > len || len - *pos < ITEM_HEADER)
		return -EBADMSG;
	const uint8_t *p = (const uint8_t *)buf + *pos;
	size_t left = len - *pos - ITEM_HEADER;
	size_t klen = get_le16(p + 1), vlen = get_le32(p + 3);

	if ((p[0] != ITEM_PUT && p[0] != ITEM_DEL) || (p[0] == ITEM_DEL && vlen))
		return -EBADMSG;
	if (klen > left || vlen > left - klen)
		return -EBADMSG;
	p += ITEM_HEADER;
	*ret_item = (struct batch_item){
		.key = p,
		.klen = klen,
		.val = p[-ITEM_HEADER] == ITEM_PUT ? p + klen : NULL,
		.vlen = vlen,
	};
	*pos += ITEM_HEADER + klen + vlen;
	return 1;
}
