/*
 * Frame header and incremental parser. Pure: no clock, socket or log; any thread, one at a time per parser.
 *
 *    0  u16 magic "CF"    2  u8 version    3  u8 kind    4  u32 length of the body
 *    8  u16 type         10  u16 status   12  u32 flags (0)                        16  u64 id
 */
#include "wire/frame.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/bytes.h"
#include "wire/message.h"

void frame_header_encode(const struct frame_header *h, uint8_t ret_bytes[FRAME_HEADER_LEN])
{
	put_le16(ret_bytes, FRAME_MAGIC);
	ret_bytes[2] = h->version;
	ret_bytes[3] = h->kind;
	put_le32(ret_bytes + 4, h->length);
	put_le16(ret_bytes + 8, h->type);
	put_le16(ret_bytes + 10, h->status);
	put_le32(ret_bytes + 12, 0);
	put_le64(ret_bytes + 16, h->id);
}

int frame_header_decode(const uint8_t bytes[FRAME_HEADER_LEN], uint32_t max, struct frame_header *ret_h)
{
	struct frame_header h = {
		.version = bytes[2],
		.kind = bytes[3],
		.length = get_le32(bytes + 4),
		.type = get_le16(bytes + 8),
		.status = get_le16(bytes + 10),
		.id = get_le64(bytes + 16),
	};

	if (get_le16(bytes) != FRAME_MAGIC || h.kind < FRAME_REQUEST || h.kind > FRAME_ONEWAY)
		return -EBADMSG;
	/* Flags are for later versions; one that is set and not understood changes the meaning of the body. */
	if (get_le32(bytes + 12) || (h.status && h.kind != FRAME_REPLY))
		return -EBADMSG;
	if (h.length > max)
		return -EMSGSIZE;
	*ret_h = h;
	return 0;
}

void frame_parser_init(struct frame_parser *p, uint32_t max)
{
	*p = (struct frame_parser){ .max = max };
}

void frame_parser_release(struct frame_parser *p)
{
	free(p->frame);
	frame_parser_init(p, p->max);
}

uint8_t *frame_parser_space(struct frame_parser *p, size_t *ret_len)
{
	size_t in_body;

	if (!p->frame) {
		*ret_len = FRAME_HEADER_LEN - p->have;
		return p->header + p->have;
	}
	in_body = p->have - FRAME_HEADER_LEN;
	*ret_len = p->frame->h.length - in_body;
	return p->frame->body + in_body;
}

/* The memory of a long body is not touched before its bytes come, so a lie about the length costs address space only. */
static int start_body(struct frame_parser *p)
{
	struct frame_header h;
	int r = frame_header_decode(p->header, p->max, &h);

	if (r < 0)
		return r;
	p->frame = malloc(sizeof(*p->frame) + h.length);
	if (!p->frame)
		return -ENOMEM;
	p->frame->h = h;
	return 0;
}

int frame_parser_advance(struct frame_parser *p, size_t n, struct frame **ret_frame)
{
	int r;

	p->have += n;
	if (p->have < FRAME_HEADER_LEN)
		return 0;
	if (!p->frame && (r = start_body(p)) < 0)
		return r;
	assert(p->have <= FRAME_HEADER_LEN + (size_t)p->frame->h.length);
	if (p->have < FRAME_HEADER_LEN + (size_t)p->frame->h.length)
		return 0;
	*ret_frame = p->frame;
	p->frame = NULL;
	p->have = 0;
	return 1;
}

bool frame_parser_is_between(const struct frame_parser *p)
{
	return p->have == 0;
}

size_t frame_begin(struct wire_writer *w)
{
	size_t start = w->len;

	wire_reserve(w, FRAME_HEADER_LEN);
	return start;
}

int frame_end(struct wire_writer *w, size_t start, struct frame_header *h)
{
	int err = w->err;
	size_t body;

	if (!err) {
		body = w->len - start - FRAME_HEADER_LEN;
		if (body <= WIRE_FRAME_MAX) {
			h->length = (uint32_t)body;
			frame_header_encode(h, w->buf + start);
			return 0;
		}
		err = -EMSGSIZE;
	}
	w->err = 0;
	w->len = start;
	return err;
}
