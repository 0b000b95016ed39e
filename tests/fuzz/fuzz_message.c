/*
 * The decoders of all messages: two bytes choose the row, one request or reply, the rest is the body. What is accepted
 * is encoded again to the very same bytes (one message has one encoding).
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "tests/lib/fuzz.h"
#include "wire/message.h"

enum { MSG_SIZE = 4096 };

static void round_trip(msg_decode decode, msg_encode encode, size_t size, const uint8_t *body, size_t len)
{
	_Alignas(16) uint8_t msg[MSG_SIZE] = { 0 };
	struct wire_reader r = { body, body + len };
	struct wire_writer w;

	assert(size <= sizeof(msg));
	if (decode(&r, msg) < 0)
		return;
	assert(r.p == r.end);
	wire_writer_init(&w);
	assert(!encode(&w, msg));
	assert(w.len == len && (!len || !memcmp(w.buf, body, len)));
	wire_writer_release(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct msg_info *m;

	if (len < 3)
		return 0;
	m = msg_info(get_le16(data));
	if (!m) {
		size_t n;
		const struct msg_info *table = msg_table(&n);

		m = &table[get_le16(data) % n];
	}
	if (data[2] & 1 && !m->oneway)
		round_trip(m->decode_rep, m->encode_rep, m->rep_size, data + 3, len - 3);
	else
		round_trip(m->decode_req, m->encode_req, m->req_size, data + 3, len - 3);
	return 0;
}
