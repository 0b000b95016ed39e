/* Little-endian loads and stores (wire), big-endian ones (ordered keys), checked arithmetic. */
#ifndef CFS_COMMON_BYTES_H
#define CFS_COMMON_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BYTES_ACCESS(bits, order)                                                 \
	static inline void put_##order##bits(void *p, uint##bits##_t v)           \
	{                                                                         \
		uint##bits##_t x = hto##order##bits(v);                           \
		memcpy(p, &x, sizeof(x));                                         \
	}                                                                         \
	static inline uint##bits##_t get_##order##bits(const void *p)             \
	{                                                                         \
		uint##bits##_t x;                                                 \
		memcpy(&x, p, sizeof(x));                                         \
		return order##bits##toh(x);                                       \
	}
BYTES_ACCESS(16, le)
BYTES_ACCESS(32, le)
BYTES_ACCESS(64, le)
BYTES_ACCESS(16, be)
BYTES_ACCESS(32, be)
BYTES_ACCESS(64, be)
#undef BYTES_ACCESS

/* True, and *ret untouched by meaning, when the sum or product does not fit. */
#define add_overflows(a, b, ret) __builtin_add_overflow(a, b, ret)
#define mul_overflows(a, b, ret) __builtin_mul_overflow(a, b, ret)

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
