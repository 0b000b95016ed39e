/*
 * The expansion of types.def and messages.def into codecs and the table of rows. No state but constants, any thread.
 * The tables are included once per purpose with another F: a field becomes one call of its type's codec.
 */
#include "wire/message.h"

#include <errno.h>

/* ---- composite types ---- */

#define TYPE(name, fields)                                                       \
	int wire_put_##name(struct wire_writer *w, const struct wire_##name *v)  \
	{                                                                        \
		int r = 0;                                                       \
		fields                                                           \
		return r;                                                        \
	}
#define F(type, field)  \
	if (!r)         \
		r = wire_put_##type(w, &v->field);
#include "wire/types.def"
#undef TYPE
#undef F

#define TYPE(name, fields)                                                       \
	int wire_get_##name(struct wire_reader *rd, struct wire_##name *ret_v)   \
	{                                                                        \
		struct wire_##name v = { 0 };                                    \
		int r = 0;                                                       \
		fields                                                           \
		if (!r)                                                          \
			*ret_v = v;                                              \
		return r;                                                        \
	}
#define F(type, field)  \
	if (!r)         \
		r = wire_get_##type(rd, &v.field);
#include "wire/types.def"
#undef TYPE
#undef F

/* ---- messages ---- */

/* A row without fields leaves W, M and V unused. */
#define ENCODE(name, part, fields)                                                            \
	static int encode_##name##_##part(struct wire_writer *w, const void *msg)             \
	{                                                                                     \
		const struct msg_##name##_##part *v __attribute__((unused)) = msg;            \
		int r = 0;                                                                    \
		fields                                                                        \
		return r ? r : w->err;                                                        \
	}
#define MSG(number, name, from, state, request, reply) ENCODE(name, req, request) ENCODE(name, rep, reply)
#define ONEWAY(number, name, from, state, request) ENCODE(name, req, request)
#define F(type, field)  \
	if (!r)         \
		r = wire_put_##type(w, &v->field);
#include "wire/messages.def"
#undef ENCODE
#undef MSG
#undef ONEWAY
#undef F

#define DECODE(name, part, fields)                                                            \
	static int decode_##name##_##part(struct wire_reader *rd, void *ret_msg)              \
	{                                                                                     \
		struct msg_##name##_##part v = {};                                            \
		int r = 0;                                                                    \
		fields                                                                        \
		if (!r && rd->p != rd->end)                                                   \
			r = -EBADMSG;                                                         \
		if (!r)                                                                       \
			*(struct msg_##name##_##part *)ret_msg = v;                           \
		return r;                                                                     \
	}
#define MSG(number, name, from, state, request, reply) DECODE(name, req, request) DECODE(name, rep, reply)
#define ONEWAY(number, name, from, state, request) DECODE(name, req, request)
#define F(type, field)  \
	if (!r)         \
		r = wire_get_##type(rd, &v.field);
#include "wire/messages.def"
#undef DECODE
#undef MSG
#undef ONEWAY
#undef F

/* ---- the table ---- */

#define MSG(num, nm, fr, st, request, reply)                                                               \
	{                                                                                                  \
		.number = num,                                                                             \
		.name = #nm,                                                                               \
		.from = MSG_FROM_##fr,                                                                     \
		.state = MSG_STATE_##st,                                                                   \
		.req_size = sizeof(struct msg_##nm##_req),                                                 \
		.rep_size = sizeof(struct msg_##nm##_rep),                                                 \
		.encode_req = encode_##nm##_req,                                                           \
		.encode_rep = encode_##nm##_rep,                                                           \
		.decode_req = decode_##nm##_req,                                                           \
		.decode_rep = decode_##nm##_rep,                                                           \
	},
#define ONEWAY(num, nm, fr, st, request)                                                                   \
	{                                                                                                  \
		.number = num,                                                                             \
		.name = #nm,                                                                               \
		.from = MSG_FROM_##fr,                                                                     \
		.state = MSG_STATE_##st,                                                                   \
		.oneway = true,                                                                            \
		.req_size = sizeof(struct msg_##nm##_req),                                                 \
		.encode_req = encode_##nm##_req,                                                           \
		.decode_req = decode_##nm##_req,                                                           \
	},
static const struct msg_info table[] = {
#include "wire/messages.def"
};
#undef MSG
#undef ONEWAY

enum {
#define MSG(number, name, from, state, request, reply) ROW_##name,
#define ONEWAY(number, name, from, state, request) ROW_##name,
#include "wire/messages.def"
#undef MSG
#undef ONEWAY
	NR_ROWS
};

/* The compiler refuses a number given twice. */
const struct msg_info *msg_info(uint16_t number)
{
	switch (number) {
#define MSG(number, name, from, state, request, reply) \
	case MSG_##name:                               \
		return &table[ROW_##name];
#define ONEWAY(number, name, from, state, request) \
	case MSG_##name:                           \
		return &table[ROW_##name];
#include "wire/messages.def"
#undef MSG
#undef ONEWAY
	default:
		return NULL;
	}
}

const struct msg_info *msg_table(size_t *ret_len)
{
	*ret_len = NR_ROWS;
	return table;
}
