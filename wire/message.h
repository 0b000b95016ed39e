/*
 * The expansion of messages.def: numbers, structs, codecs, names, permissions.
 *
 * Decoded strings and blobs are borrowed from the buffer they were decoded from. Decoders compare before arithmetic,
 * hold every count to its maximum and refuse trailing bytes (-EBADMSG).
 */
#ifndef CFS_WIRE_MESSAGE_H
#define CFS_WIRE_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "wire/codec.h"

#define WIRE_VERSION 2
#define WIRE_FRAME_MAX (17u << 20) /* largest frame: one 16 MiB blob and its company */

/* Field types. */
typedef uint8_t wire_u8;
typedef uint16_t wire_u16;
typedef uint32_t wire_u32;
typedef uint64_t wire_u64;
typedef const char *wire_name; /* NUL-ended, <= WIRE_NAME_MAX bytes; NULL encodes as "" */
typedef const char *wire_str;  /* NUL-ended, <= WIRE_STR_MAX bytes */
typedef struct wire_blob wire_blob;
typedef struct wire_u32s wire_u32s;

#define F(type, field) wire_##type field;
#define TYPE(name, fields)        \
	typedef struct wire_##name { \
		fields            \
	} wire_##name;
#include "wire/types.def"
#undef TYPE

#define MSG(number, name, from, state, request, reply) \
	struct msg_##name##_req {                      \
		request                                \
	};                                             \
	struct msg_##name##_rep {                      \
		reply                                  \
	};
#define ONEWAY(number, name, from, state, request) \
	struct msg_##name##_req {                  \
		request                            \
	};
#include "wire/messages.def"
#undef MSG
#undef ONEWAY
#undef F

enum msg_type {
#define MSG(number, name, from, state, request, reply) MSG_##name = number,
#define ONEWAY(number, name, from, state, request) MSG_##name = number,
#include "wire/messages.def"
#undef MSG
#undef ONEWAY
};

enum msg_from { MSG_FROM_ANY = 1, MSG_FROM_NODE, MSG_FROM_CLIENT, MSG_FROM_MEMBER };
enum msg_state { MSG_STATE_NEW, MSG_STATE_READY };

typedef int (*msg_encode)(struct wire_writer *w, const void *msg);
typedef int (*msg_decode)(struct wire_reader *r, void *ret_msg);

struct msg_info {
	uint16_t number;
	const char *name;
	enum msg_from from;
	enum msg_state state;
	bool oneway;
	size_t req_size, rep_size; /* of the structs */
	msg_encode encode_req, encode_rep;
	msg_decode decode_req, decode_rep; /* the whole reader: trailing bytes are -EBADMSG */
};

/* The row of a number, NULL when there is none. */
const struct msg_info *msg_info(uint16_t number);
/* The table itself, for tests and listings. */
const struct msg_info *msg_table(size_t *ret_len);

/* Codecs of the composite types, for those who pack them themselves (directory entries, stored inodes). */
#define TYPE(name, fields)                                                         \
	int wire_put_##name(struct wire_writer *w, const struct wire_##name *v);   \
	int wire_get_##name(struct wire_reader *r, struct wire_##name *ret_v);
#define F(type, field)
#include "wire/types.def"
#undef TYPE
#undef F

#endif
