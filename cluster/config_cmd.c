/* The expansion of commands.def into codecs. A command is its number (u8) and its fields. Pure, any thread. */
#include <errno.h>

#include "cluster/config.h"

#define CMD(number, name, fields)                                                        \
	static int encode_##name(struct wire_writer *w, const struct cmd_##name *v)      \
	{                                                                                \
		int r = 0;                                                               \
		fields                                                                   \
		return r;                                                                \
	}
#define F(type, field)  \
	if (!r)         \
		r = wire_put_##type(w, &v->field);
#include "cluster/commands.def"
#undef CMD
#undef F

#define CMD(number, name, fields)                                                        \
	static int decode_##name(struct wire_reader *rd, struct cmd_##name *ret_v)       \
	{                                                                                \
		struct cmd_##name v = { 0 };                                             \
		int r = 0;                                                               \
		fields                                                                   \
		if (!r && rd->p != rd->end)                                              \
			r = -EBADMSG;                                                    \
		if (!r)                                                                  \
			*ret_v = v;                                                      \
		return r;                                                                \
	}
#define F(type, field)  \
	if (!r)         \
		r = wire_get_##type(rd, &v.field);
#include "cluster/commands.def"
#undef CMD
#undef F

int config_cmd_encode(struct wire_writer *w, enum config_cmd type, const void *cmd)
{
	uint8_t number = (uint8_t)type;

	wire_put_u8(w, &number);
	switch (type) {
#define CMD(num, name, fields)            \
	case CMD_##name:                  \
		encode_##name(w, cmd);    \
		break;
#include "cluster/commands.def"
#undef CMD
	}
	return w->err;
}

int config_cmd_type(const void *buf, size_t len)
{
	return len ? *(const uint8_t *)buf : 0;
}

int config_cmd_decode(const void *buf, size_t len, enum config_cmd type, void *ret_cmd)
{
	struct wire_reader r = { buf, (const uint8_t *)buf + len };
	uint8_t number;

	if (wire_get_u8(&r, &number) < 0 || number != type)
		return -EBADMSG;
	switch (type) {
#define CMD(num, name, fields) \
	case CMD_##name:       \
		return decode_##name(&r, ret_cmd);
#include "cluster/commands.def"
#undef CMD
	}
	return -EBADMSG;
}
