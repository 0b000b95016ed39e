/*
 * Cursor and buffer primitives of the wire format (WIRE.md, "Field types"). No state, any thread.
 * Strings travel with their NUL, so that a decoded one can be borrowed from the frame.
 */
#include "wire/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"

/* Doubling from here: most messages fit the first allocation. */
enum { WRITER_START = 512 };

void wire_writer_init(struct wire_writer *w)
{
	*w = (struct wire_writer){ 0 };
}

void wire_writer_release(struct wire_writer *w)
{
	free(w->buf);
	wire_writer_init(w);
}

static int grow(struct wire_writer *w, size_t need)
{
	size_t cap = w->cap ? w->cap : WRITER_START;
	uint8_t *buf;

	while (cap < need)
		if (mul_overflows(cap, 2u, &cap))
			return -ENOMEM;
	buf = realloc(w->buf, cap);
	if (!buf)
		return -ENOMEM;
	w->buf = buf;
	w->cap = cap;
	return 0;
}

uint8_t *wire_reserve(struct wire_writer *w, size_t len)
{
	size_t need;
	uint8_t *p;

	if (w->err)
		return NULL;
	if (add_overflows(w->len, len, &need)) {
		w->err = -ENOMEM;
		return NULL;
	}
	/* An empty buffer grows too: NULL means failure. */
	if ((need > w->cap || !w->buf) && (w->err = grow(w, need)) < 0)
		return NULL;
	p = w->buf + w->len;
	w->len = need;
	return p;
}

int wire_put_u8(struct wire_writer *w, const uint8_t *v)
{
	uint8_t *p = wire_reserve(w, sizeof(*v));

	if (p)
		*p = *v;
	return w->err;
}

int wire_put_u16(struct wire_writer *w, const uint16_t *v)
{
	uint8_t *p = wire_reserve(w, sizeof(*v));

	if (p)
		put_le16(p, *v);
	return w->err;
}

int wire_put_u32(struct wire_writer *w, const uint32_t *v)
{
	uint8_t *p = wire_reserve(w, sizeof(*v));

	if (p)
		put_le32(p, *v);
	return w->err;
}

int wire_put_u64(struct wire_writer *w, const uint64_t *v)
{
	uint8_t *p = wire_reserve(w, sizeof(*v));

	if (p)
		put_le64(p, *v);
	return w->err;
}

static int fail(struct wire_writer *w, int err)
{
	if (!w->err)
		w->err = err;
	return w->err;
}

int wire_put_name(struct wire_writer *w, const char *const *v)
{
	const char *s = *v ? *v : "";
	size_t len = strlen(s);
	uint8_t *p;

	if (len > WIRE_NAME_MAX)
		return fail(w, -EMSGSIZE);
	p = wire_reserve(w, 1 + len + 1);
	if (p) {
		p[0] = (uint8_t)len;
		memcpy(p + 1, s, len + 1);
	}
	return w->err;
}

int wire_put_str(struct wire_writer *w, const char *const *v)
{
	const char *s = *v ? *v : "";
	size_t len = strlen(s);
	uint8_t *p;

	if (len > WIRE_STR_MAX)
		return fail(w, -EMSGSIZE);
	p = wire_reserve(w, 2 + len + 1);
	if (p) {
		put_le16(p, (uint16_t)len);
		memcpy(p + 2, s, len + 1);
	}
	return w->err;
}

int wire_put_blob(struct wire_writer *w, const struct wire_blob *v)
{
	uint8_t *p;

	if (v->len > WIRE_BLOB_MAX)
		return fail(w, -EMSGSIZE);
	p = wire_reserve(w, 4 + (size_t)v->len);
	if (p) {
		put_le32(p, v->len);
		if (v->len)
			memcpy(p + 4, v->p, v->len);
	}
	return w->err;
}

int wire_put_u32s(struct wire_writer *w, const struct wire_u32s *v)
{
	uint8_t *p;

	if (v->n > WIRE_U32S_MAX)
		return fail(w, -EMSGSIZE);
	p = wire_reserve(w, 1 + 4 * (size_t)v->n);
	if (p) {
		*p++ = (uint8_t)v->n;
		for (uint32_t i = 0; i < v->n; i++, p += 4)
			put_le32(p, v->v[i]);
	}
	return w->err;
}

static size_t left(const struct wire_reader *r)
{
	return (size_t)(r->end - r->p);
}

int wire_get_u8(struct wire_reader *r, uint8_t *ret)
{
	if (left(r) < sizeof(*ret))
		return -EBADMSG;
	*ret = *r->p++;
	return 0;
}

int wire_get_u16(struct wire_reader *r, uint16_t *ret)
{
	if (left(r) < sizeof(*ret))
		return -EBADMSG;
	*ret = get_le16(r->p);
	r->p += sizeof(*ret);
	return 0;
}

int wire_get_u32(struct wire_reader *r, uint32_t *ret)
{
	if (left(r) < sizeof(*ret))
		return -EBADMSG;
	*ret = get_le32(r->p);
	r->p += sizeof(*ret);
	return 0;
}

int wire_get_u64(struct wire_reader *r, uint64_t *ret)
{
	if (left(r) < sizeof(*ret))
		return -EBADMSG;
	*ret = get_le64(r->p);
	r->p += sizeof(*ret);
	return 0;
}

/* LEN bytes without NUL, then NUL, from P: one text has one encoding. */
static int take_text(struct wire_reader *r, const uint8_t *p, size_t len, const char **ret)
{
	if ((size_t)(r->end - p) < len + 1 || p[len] || memchr(p, 0, len))
		return -EBADMSG;
	*ret = (const char *)p;
	r->p = p + len + 1;
	return 0;
}

int wire_get_name(struct wire_reader *r, const char **ret)
{
	if (left(r) < 1)
		return -EBADMSG;
	return take_text(r, r->p + 1, r->p[0], ret);
}

int wire_get_str(struct wire_reader *r, const char **ret)
{
	size_t len;

	if (left(r) < 2)
		return -EBADMSG;
	len = get_le16(r->p);
	if (len > WIRE_STR_MAX)
		return -EBADMSG;
	return take_text(r, r->p + 2, len, ret);
}

int wire_get_blob(struct wire_reader *r, struct wire_blob *ret)
{
	uint32_t len;

	if (left(r) < 4)
		return -EBADMSG;
	len = get_le32(r->p);
	if (len > WIRE_BLOB_MAX || left(r) - 4 < len)
		return -EBADMSG;
	*ret = (struct wire_blob){ r->p + 4, len };
	r->p += 4 + (size_t)len;
	return 0;
}

int wire_get_u32s(struct wire_reader *r, struct wire_u32s *ret)
{
	const uint8_t *p = r->p;
	uint32_t n;

	if (left(r) < 1)
		return -EBADMSG;
	n = *p++;
	if (n > WIRE_U32S_MAX || left(r) - 1 < 4 * (size_t)n)
		return -EBADMSG;
	ret->n = n;
	for (uint32_t i = 0; i < n; i++, p += 4)
		ret->v[i] = get_le32(p);
	r->p = p;
	return 0;
}
