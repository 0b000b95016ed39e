/* The primitives: limits on both sides, sticky writers, readers that never go past the end. */
#include "wire/codec.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct wire_reader reader(const struct wire_writer *w)
{
	return (struct wire_reader){ w->buf, w->buf + w->len };
}

Test(codec, numbers_are_little_endian)
{
	const uint8_t u8 = 0xab, want[] = { 0xab, 0x34, 0x12, 0x78, 0x56, 0x34, 0x12, 8, 7, 6, 5, 4, 3, 2, 1 };
	const uint16_t u16 = 0x1234;
	const uint32_t u32 = 0x12345678;
	const uint64_t u64 = 0x0102030405060708;
	uint8_t r8;
	uint16_t r16;
	uint32_t r32;
	uint64_t r64;
	struct wire_writer w;
	struct wire_reader r;

	wire_writer_init(&w);
	cr_assert_eq(wire_put_u8(&w, &u8), 0);
	cr_assert_eq(wire_put_u16(&w, &u16), 0);
	cr_assert_eq(wire_put_u32(&w, &u32), 0);
	cr_assert_eq(wire_put_u64(&w, &u64), 0);
	cr_assert_eq(w.len, sizeof(want));
	cr_assert(!memcmp(w.buf, want, sizeof(want)));
	r = reader(&w);
	cr_assert(!wire_get_u8(&r, &r8) && r8 == u8);
	cr_assert(!wire_get_u16(&r, &r16) && r16 == u16);
	cr_assert(!wire_get_u32(&r, &r32) && r32 == u32);
	cr_assert(!wire_get_u64(&r, &r64) && r64 == u64);
	cr_assert_eq(wire_get_u8(&r, &r8), -EBADMSG);
	wire_writer_release(&w);
}

Test(codec, an_empty_reader_gives_nothing)
{
	struct wire_reader r = { NULL, NULL };
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;
	const char *s;
	struct wire_blob b;
	struct wire_u32s v;

	cr_assert_eq(wire_get_u16(&r, &u16), -EBADMSG);
	cr_assert_eq(wire_get_u32(&r, &u32), -EBADMSG);
	cr_assert_eq(wire_get_u64(&r, &u64), -EBADMSG);
	cr_assert_eq(wire_get_name(&r, &s), -EBADMSG);
	cr_assert_eq(wire_get_str(&r, &s), -EBADMSG);
	cr_assert_eq(wire_get_blob(&r, &b), -EBADMSG);
	cr_assert_eq(wire_get_u32s(&r, &v), -EBADMSG);
}

static void text_limit(size_t max, int (*put)(struct wire_writer *, const char *const *),
		       int (*get)(struct wire_reader *, const char **))
{
	char *text = malloc(max + 2);
	const char *s = text, *back = NULL;
	struct wire_writer w;
	struct wire_reader r;

	memset(text, 'x', max + 1);
	text[max + 1] = 0;
	wire_writer_init(&w);
	cr_assert_eq(put(&w, &s), -EMSGSIZE);
	cr_assert_eq(put(&w, &s), -EMSGSIZE, "a writer that failed stays failed");
	cr_assert_null(wire_reserve(&w, 1));
	wire_writer_release(&w);
	text[max] = 0;
	cr_assert_eq(put(&w, &s), 0);
	r = reader(&w);
	cr_assert_eq(get(&r, &back), 0);
	cr_assert_str_eq(back, text);
	cr_assert_eq(r.p, r.end);
	wire_writer_release(&w);
	free(text);
}

Test(codec, texts_have_a_limit)
{
	text_limit(WIRE_NAME_MAX, wire_put_name, wire_get_name);
	text_limit(WIRE_STR_MAX, wire_put_str, wire_get_str);
}

Test(codec, a_null_text_is_empty)
{
	const char *none = NULL, *back = NULL;
	struct wire_writer w;
	struct wire_reader r;

	wire_writer_init(&w);
	cr_assert_eq(wire_put_name(&w, &none), 0);
	cr_assert_eq(wire_put_str(&w, &none), 0);
	r = reader(&w);
	cr_assert(!wire_get_name(&r, &back) && !*back);
	cr_assert(!wire_get_str(&r, &back) && !*back);
	wire_writer_release(&w);
}

/* BYTES must be refused by GET, and the reader stay where it was. */
#define REFUSED(get, ret, ...)                                                \
	do {                                                                  \
		const uint8_t bad_[] = { __VA_ARGS__ };                      \
		struct wire_reader r_ = { bad_, bad_ + sizeof(bad_) };        \
		cr_assert_eq(get(&r_, ret), -EBADMSG);                        \
		cr_assert_eq(r_.p, bad_);                                    \
	} while (0)

Test(codec, bad_texts_are_refused)
{
	const char *s;

	REFUSED(wire_get_name, &s, 3, 'a', 'b', 'c');		 /* no NUL */
	REFUSED(wire_get_name, &s, 3, 'a', 'b', 'c', 'd', 0);	 /* NUL elsewhere */
	REFUSED(wire_get_name, &s, 3, 'a', 0, 'c', 0);		 /* NUL inside */
	REFUSED(wire_get_name, &s, 255, 'a', 0);		 /* longer than there is */
	REFUSED(wire_get_str, &s, 1, 0, 'a');
	REFUSED(wire_get_str, &s, 2, 0, 0, 'a', 0);
	REFUSED(wire_get_str, &s, 0xff, 0xff, 'a', 0);
	REFUSED(wire_get_str, &s, 0);
}

Test(codec, a_str_over_the_limit_is_refused_though_it_is_there)
{
	static uint8_t bytes[2 + WIRE_STR_MAX + 2];
	struct wire_reader r = { bytes, bytes + sizeof(bytes) };
	const char *s;

	memset(bytes, 'x', sizeof(bytes));
	bytes[0] = (WIRE_STR_MAX + 1) & 0xff;
	bytes[1] = (WIRE_STR_MAX + 1) >> 8;
	bytes[sizeof(bytes) - 1] = 0;
	cr_assert_eq(wire_get_str(&r, &s), -EBADMSG);
}

Test(codec, bad_blobs_are_refused)
{
	struct wire_blob b;

	REFUSED(wire_get_blob, &b, 1, 0, 0, 0);
	REFUSED(wire_get_blob, &b, 0xff, 0xff, 0xff, 0xff, 'x');
	REFUSED(wire_get_blob, &b, 0xfc, 0xff, 0xff, 0xff, 'x'); /* + 4 wraps in 32 bits */
	REFUSED(wire_get_blob, &b, 1, 0, 0);
}

Test(codec, a_blob_over_the_limit_is_refused_though_it_is_there)
{
	size_t len = (size_t)WIRE_BLOB_MAX + 1;
	uint8_t *bytes = calloc(1, len + 4);
	struct wire_reader r = { bytes, bytes + len + 4 };
	struct wire_blob b = { bytes, WIRE_BLOB_MAX + 1 };
	struct wire_writer w;

	bytes[0] = 1;
	bytes[3] = WIRE_BLOB_MAX >> 24;
	cr_assert_eq(wire_get_blob(&r, &b), -EBADMSG);
	wire_writer_init(&w);
	cr_assert_eq(wire_put_blob(&w, &b), -EMSGSIZE);
	wire_writer_release(&w);
	b.len--;
	cr_assert_eq(wire_put_blob(&w, &b), 0);
	r = reader(&w);
	cr_assert_eq(wire_get_blob(&r, &b), 0);
	cr_assert_eq(b.len, WIRE_BLOB_MAX);
	wire_writer_release(&w);
	free(bytes);
}

Test(codec, an_empty_blob_may_have_no_bytes)
{
	struct wire_blob b = { NULL, 0 };
	struct wire_writer w;
	struct wire_reader r;

	wire_writer_init(&w);
	cr_assert_eq(wire_put_blob(&w, &b), 0);
	b.len = 5;
	r = reader(&w);
	cr_assert(!wire_get_blob(&r, &b) && b.len == 0);
	wire_writer_release(&w);
}

Test(codec, number_lists_have_a_limit)
{
	struct wire_u32s v = { .n = WIRE_U32S_MAX + 1 }, back;
	static uint8_t bytes[1 + 4 * (WIRE_U32S_MAX + 1)] = { WIRE_U32S_MAX + 1 };
	struct wire_reader r = { bytes, bytes + sizeof(bytes) };
	struct wire_writer w;

	cr_assert_eq(wire_get_u32s(&r, &back), -EBADMSG);
	REFUSED(wire_get_u32s, &back, 2, 1, 0, 0, 0, 2, 0, 0);
	wire_writer_init(&w);
	cr_assert_eq(wire_put_u32s(&w, &v), -EMSGSIZE);
	wire_writer_release(&w);
	v.n = WIRE_U32S_MAX;
	for (uint32_t i = 0; i < v.n; i++)
		v.v[i] = i * 0x01010101u;
	cr_assert_eq(wire_put_u32s(&w, &v), 0);
	r = reader(&w);
	cr_assert_eq(wire_get_u32s(&r, &back), 0);
	cr_assert_eq(r.p, r.end);
	cr_assert_eq(back.n, v.n);
	cr_assert(!memcmp(back.v, v.v, sizeof(v.v)));
	wire_writer_release(&w);
}

Test(codec, reserve_counts_and_grows)
{
	struct wire_writer w;
	uint8_t *p;

	wire_writer_init(&w);
	cr_assert_not_null(wire_reserve(&w, 0));
	cr_assert_eq(w.len, 0u);
	p = wire_reserve(&w, 3);
	memcpy(p, "abc", 3);
	p = wire_reserve(&w, 100000);
	cr_assert_eq(p, w.buf + 3);
	cr_assert(!memcmp(w.buf, "abc", 3));
	cr_assert_eq(w.len, 100003u);
	cr_assert_null(wire_reserve(&w, SIZE_MAX));
	cr_assert_eq(w.err, -ENOMEM);
	wire_writer_release(&w);
}
