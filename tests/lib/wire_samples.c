#include "tests/lib/wire_samples.h"

#include <string.h>

/* A type may be in no message yet. */
#define _unused_ __attribute__((unused))

/* N counts the fields of a message from 1. */
static void fill_u8(uint8_t *v, unsigned *n)
{
	*v = (uint8_t)(0x10 + (*n)++);
}

static _unused_ void fill_u16(uint16_t *v, unsigned *n)
{
	*v = (uint16_t)(0x2000 + (*n)++);
}

static void fill_u32(uint32_t *v, unsigned *n)
{
	*v = 0x30000000u + (*n)++;
}

static void fill_u64(uint64_t *v, unsigned *n)
{
	*v = 0x4000000000000000u + (*n)++;
}

static void fill_name(const char **v, unsigned *n)
{
	static const char *const names[] = { "name", "", "n\xc3\xa4me with space" };

	*v = names[(*n)++ % 3];
}

static void fill_str(const char **v, unsigned *n)
{
	static const char *const strs[] = { "a/longer/str", "" };

	*v = strs[(*n)++ % 2];
}

static void fill_blob(struct wire_blob *v, unsigned *n)
{
	static const uint8_t bytes[] = { 0, 0xff, 'b', 'l', 'o', 'b' };

	*v = (struct wire_blob){ bytes, (uint32_t)((*n)++ % (sizeof(bytes) + 1)) };
}

static _unused_ void fill_u32s(struct wire_u32s *v, unsigned *n)
{
	v->n = (*n)++ % 4;
	for (uint32_t i = 0; i < v->n; i++)
		v->v[i] = 0x50000000u + i;
}

#define SAME(type, ctype)                                           \
	static _unused_ bool same_##type(const ctype *a, const ctype *b)     \
	{                                                           \
		return *a == *b;                                    \
	}
SAME(u8, uint8_t)
SAME(u16, uint16_t)
SAME(u32, uint32_t)
SAME(u64, uint64_t)

static bool same_name(const char *const *a, const char *const *b)
{
	return !strcmp(*a, *b);
}

static bool same_str(const char *const *a, const char *const *b)
{
	return !strcmp(*a, *b);
}

static bool same_blob(const struct wire_blob *a, const struct wire_blob *b)
{
	return a->len == b->len && (!a->len || !memcmp(a->p, b->p, a->len));
}

static _unused_ bool same_u32s(const struct wire_u32s *a, const struct wire_u32s *b)
{
	return a->n == b->n && !memcmp(a->v, b->v, a->n * sizeof(a->v[0]));
}

#define TYPE(name, fields)                                       \
	static _unused_ void fill_##name(struct wire_##name *v, unsigned *n) \
	{                                                        \
		fields                                           \
	}
#define F(type, field) fill_##type(&v->field, n);
#include "wire/types.def"
#undef TYPE
#undef F

#define TYPE(name, fields)                                                              \
	static _unused_ bool same_##name(const struct wire_##name *a, const struct wire_##name *b) \
	{                                                                               \
		return true fields;                                                     \
	}
#define F(type, field) &&same_##type(&a->field, &b->field)
#include "wire/types.def"
#undef TYPE
#undef F

#define FILL(name, part, fields)                                                  \
	static void fill_##name##_##part(void *msg)                               \
	{                                                                         \
		struct msg_##name##_##part *v _unused_ = msg;      \
		unsigned count = 1, *n _unused_ = &count;          \
		fields                                                            \
	}
#define MSG(number, name, from, state, request, reply) FILL(name, req, request) FILL(name, rep, reply)
#define ONEWAY(number, name, from, state, request) FILL(name, req, request)
#define F(type, field) fill_##type(&v->field, n);
#include "wire/messages.def"
#undef MSG
#undef ONEWAY
#undef F

#define EQUAL(name, part, fields)                                                 \
	static bool equal_##name##_##part(const void *x, const void *y)           \
	{                                                                         \
		const struct msg_##name##_##part *a _unused_ = x;  \
		const struct msg_##name##_##part *b _unused_ = y;  \
		return true fields;                                               \
	}
#define MSG(number, name, from, state, request, reply) EQUAL(name, req, request) EQUAL(name, rep, reply)
#define ONEWAY(number, name, from, state, request) EQUAL(name, req, request)
#define F(type, field) &&same_##type(&a->field, &b->field)
#include "wire/messages.def"
#undef MSG
#undef ONEWAY
#undef F

size_t wire_samples(struct wire_sample *ret_samples, size_t max)
{
	const struct wire_sample all[] = {
#define MSG(number, name, from, state, request, reply)                                  \
	{ msg_info(number), fill_##name##_req, fill_##name##_rep, equal_##name##_req,   \
	  equal_##name##_rep },
#define ONEWAY(number, name, from, state, request) \
	{ msg_info(number), fill_##name##_req, NULL, equal_##name##_req, NULL },
#include "wire/messages.def"
#undef MSG
#undef ONEWAY
	};
	size_t n = sizeof(all) / sizeof(all[0]);

	if (n > max)
		return 0;
	memcpy(ret_samples, all, sizeof(all));
	return n;
}
