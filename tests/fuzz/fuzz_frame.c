/*
 * The frame parser: the input is a stream, its first byte says in which pieces it comes. Whatever comes, the pieces do
 * not matter, and a frame that was accepted is encoded to the same bytes.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/fuzz.h"
#include "wire/frame.h"

enum { BODY_MAX = 4096 };

struct summary {
	unsigned nr_frames;
	uint64_t bytes;
	int end; /* -errno, or 0 */
};

static void check_header(const struct frame *frame)
{
	uint8_t bytes[FRAME_HEADER_LEN];
	struct frame_header h;

	assert(frame->h.length <= BODY_MAX);
	frame_header_encode(&frame->h, bytes);
	assert(!frame_header_decode(bytes, BODY_MAX, &h));
	assert(h.length == frame->h.length && h.type == frame->h.type && h.id == frame->h.id);
}

static struct summary parse(const uint8_t *data, size_t len, size_t step)
{
	struct summary sum = { 0 };
	struct frame_parser p;
	struct frame *frame;
	size_t n, space;

	frame_parser_init(&p, BODY_MAX);
	for (; len > 0 && !sum.end; data += n, len -= n) {
		uint8_t *to = frame_parser_space(&p, &space);
		int r;

		assert(space > 0);
		n = len < step ? len : step;
		n = n < space ? n : space;
		memcpy(to, data, n);
		r = frame_parser_advance(&p, n, &frame);
		if (r < 0)
			sum.end = r;
		if (r <= 0)
			continue;
		check_header(frame);
		sum.nr_frames++;
		sum.bytes += frame->h.length;
		free(frame);
	}
	frame_parser_release(&p);
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct summary a, b;

	if (!len)
		return 0;
	a = parse(data + 1, len - 1, data[0] + 1u);
	b = parse(data + 1, len - 1, SIZE_MAX);
	assert(a.nr_frames == b.nr_frames && a.bytes == b.bytes && a.end == b.end);
	return 0;
}
