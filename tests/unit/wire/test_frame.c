/* The parser: any cutting of the stream gives the same frames, and no length is believed. */
#include "wire/frame.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "wire/message.h"

static size_t put_frame(struct wire_writer *w, enum frame_kind kind, uint64_t id, const void *body, size_t len)
{
	struct frame_header h = { .version = WIRE_VERSION, .kind = (uint8_t)kind, .type = 0x0102, .id = id };
	size_t start = frame_begin(w);

	if (len)
		memcpy(wire_reserve(w, len), body, len);
	cr_assert_eq(frame_end(w, start, &h), 0);
	cr_assert_eq(h.length, len);
	return w->len - start;
}

Test(frame, the_header_is_as_documented)
{
	const struct frame_header h = { .version = 1, .kind = FRAME_REPLY, .length = 0x01020304, .type = 0x0506,
					.status = 0x0708, .id = 0x090a0b0c0d0e0f10 };
	static const uint8_t want[FRAME_HEADER_LEN] = { 'C', 'F', 1, 2, 4, 3, 2, 1, 6, 5, 8, 7,
							0, 0, 0, 0, 0x10, 0xf, 0xe, 0xd, 0xc, 0xb, 0xa, 9 };
	uint8_t bytes[FRAME_HEADER_LEN];
	struct frame_header back;

	frame_header_encode(&h, bytes);
	cr_assert(!memcmp(bytes, want, sizeof(want)));
	cr_assert_eq(frame_header_decode(bytes, 0x01020304, &back), 0);
	cr_assert(back.version == h.version && back.kind == h.kind && back.length == h.length && back.type == h.type &&
		  back.status == h.status && back.id == h.id);
	cr_assert_eq(frame_header_decode(bytes, 0x01020303, &back), -EMSGSIZE);
}

static int decode_with(size_t at, uint8_t value)
{
	struct frame_header h = { .version = WIRE_VERSION, .kind = FRAME_REQUEST, .type = 1 };
	uint8_t bytes[FRAME_HEADER_LEN];

	frame_header_encode(&h, bytes);
	bytes[at] = value;
	return frame_header_decode(bytes, 100, &h);
}

Test(frame, headers_that_are_none)
{
	cr_assert_eq(decode_with(0, 'X'), -EBADMSG);
	cr_assert_eq(decode_with(1, 'X'), -EBADMSG);
	cr_assert_eq(decode_with(2, 99), 0, "the version is for the connection to judge");
	cr_assert_eq(decode_with(3, 0), -EBADMSG);
	cr_assert_eq(decode_with(3, 4), -EBADMSG);
	cr_assert_eq(decode_with(4, 101), -EMSGSIZE);
	cr_assert_eq(decode_with(7, 0xff), -EMSGSIZE);
	cr_assert_eq(decode_with(10, 1), -EBADMSG, "only replies have a status");
	for (size_t i = 12; i < 16; i++)
		cr_assert_eq(decode_with(i, 1), -EBADMSG, "no flags yet");
}

/* Feeds all of it in pieces of STEP bytes; counts frames and checks that each is whole. */
static unsigned feed(const uint8_t *bytes, size_t len, size_t step)
{
	struct frame_parser p;
	unsigned n = 0;

	frame_parser_init(&p, 1000);
	while (len > 0) {
		struct frame *frame;
		size_t space, take;
		uint8_t *to = frame_parser_space(&p, &space);
		int r;

		cr_assert_gt(space, 0u);
		take = step < len ? step : len;
		take = take < space ? take : space;
		memcpy(to, bytes, take);
		bytes += take;
		len -= take;
		r = frame_parser_advance(&p, take, &frame);
		cr_assert_geq(r, 0);
		cr_assert(!r || frame_parser_is_between(&p));
		if (!r)
			continue;
		cr_assert_eq(frame->h.id, ++n);
		for (uint32_t i = 0; i < frame->h.length; i++)
			cr_assert_eq(frame->body[i], (uint8_t)n);
		free(frame);
	}
	cr_assert(frame_parser_is_between(&p));
	frame_parser_release(&p);
	return n;
}

Test(frame, any_cutting_gives_the_same_frames)
{
	static const size_t lens[] = { 0, 1, 23, 24, 25, 0, 1000 };
	struct wire_writer w;
	uint8_t body[1000];

	wire_writer_init(&w);
	for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
		memset(body, (int)i + 1, sizeof(body));
		put_frame(&w, FRAME_REQUEST, i + 1, body, lens[i]);
	}
	for (size_t step = 1; step <= w.len; step += step < 60 ? 1 : 97)
		cr_assert_eq(feed(w.buf, w.len, step), ARRAY_LEN(lens), "in pieces of %zu", step);
	wire_writer_release(&w);
}

static int parse_header(uint32_t max, const uint8_t bytes[FRAME_HEADER_LEN], struct frame_parser *p)
{
	struct frame *frame;
	size_t space;

	frame_parser_init(p, max);
	memcpy(frame_parser_space(p, &space), bytes, FRAME_HEADER_LEN);
	cr_assert_eq(space, (size_t)FRAME_HEADER_LEN);
	return frame_parser_advance(p, FRAME_HEADER_LEN, &frame);
}

Test(frame, an_oversized_frame_is_refused_before_its_body)
{
	struct frame_header h = { .version = 1, .kind = FRAME_REQUEST, .length = WIRE_FRAME_MAX + 1 };
	uint8_t bytes[FRAME_HEADER_LEN];
	struct frame_parser p;

	frame_header_encode(&h, bytes);
	cr_assert_eq(parse_header(WIRE_FRAME_MAX, bytes, &p), -EMSGSIZE);
	frame_parser_release(&p);
	bytes[0] = 0;
	cr_assert_eq(parse_header(WIRE_FRAME_MAX, bytes, &p), -EBADMSG);
	frame_parser_release(&p);
}

Test(frame, a_torn_frame_is_seen_and_released)
{
	struct frame_header h = { .version = 1, .kind = FRAME_REQUEST, .length = 100 };
	uint8_t bytes[FRAME_HEADER_LEN];
	struct frame_parser p;
	size_t space;

	frame_header_encode(&h, bytes);
	cr_assert_eq(parse_header(100, bytes, &p), 0);
	cr_assert(!frame_parser_is_between(&p));
	frame_parser_space(&p, &space);
	cr_assert_eq(space, 100u);
	frame_parser_release(&p);
	cr_assert(frame_parser_is_between(&p));
}

Test(frame, a_body_that_failed_leaves_no_trace)
{
	struct frame_header h = { .version = 1, .kind = FRAME_REQUEST };
	static char text[WIRE_STR_MAX + 2];
	const char *s = text;
	struct wire_writer w;
	size_t start;

	memset(text, 'x', sizeof(text) - 1);
	wire_writer_init(&w);
	put_frame(&w, FRAME_REQUEST, 1, "ab", 2);
	start = frame_begin(&w);
	cr_assert_eq(wire_put_str(&w, &s), -EMSGSIZE);
	cr_assert_eq(frame_end(&w, start, &h), -EMSGSIZE);
	cr_assert_eq(w.len, start);
	put_frame(&w, FRAME_REQUEST, 2, "cd", 2);
	cr_assert_eq(w.len, 2 * (FRAME_HEADER_LEN + 2u));
	wire_writer_release(&w);
}

Test(frame, a_body_over_the_limit_is_not_sent)
{
	struct frame_header h = { .version = 1, .kind = FRAME_REQUEST };
	struct wire_writer w;
	size_t start;

	wire_writer_init(&w);
	start = frame_begin(&w);
	cr_assert(wire_reserve(&w, (size_t)WIRE_FRAME_MAX + 1));
	cr_assert_eq(frame_end(&w, start, &h), -EMSGSIZE);
	cr_assert_eq(w.len, 0u);
	wire_writer_release(&w);
}
