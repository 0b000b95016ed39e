/*
 * Frames: what travels on a connection, a header of 24 bytes and the body of one message (WIRE.md, "Frames").
 * The parser is pure and fed with bytes as they come; it says where the next ones shall go, so that a body is received
 * straight into its frame. It believes no length beyond the limit it was given.
 */
#ifndef CFS_WIRE_FRAME_H
#define CFS_WIRE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/codec.h"

enum { FRAME_HEADER_LEN = 24, FRAME_MAGIC = 0x4643 /* "CF" */ };

enum frame_kind { FRAME_REQUEST = 1, FRAME_REPLY = 2, FRAME_ONEWAY = 3 };

struct frame_header {
	uint8_t version;
	uint8_t kind;	 /* enum frame_kind */
	uint32_t length; /* of the body */
	uint16_t type;	 /* enum msg_type */
	uint16_t status; /* replies: wire/errors.h; 0 in the others */
	uint64_t id;	 /* a reply has its request's; 0 in ONEWAY */
};

struct frame {
	struct frame_header h;
	uint8_t body[];
};

/* Writes 24 bytes. */
void frame_header_encode(const struct frame_header *h, uint8_t ret_bytes[FRAME_HEADER_LEN]);
/* MAX: largest body accepted. -EBADMSG: not a header; -EMSGSIZE: body over MAX. Any version passes. */
int frame_header_decode(const uint8_t bytes[FRAME_HEADER_LEN], uint32_t max, struct frame_header *ret_h);

struct frame_parser {
	uint32_t max; /* largest body accepted; may be raised between frames */
	uint8_t header[FRAME_HEADER_LEN];
	size_t have;	     /* bytes of the frame at hand, header included */
	struct frame *frame; /* allocated once the header is complete */
};

void frame_parser_init(struct frame_parser *p, uint32_t max);
void frame_parser_release(struct frame_parser *p);

/* Where the next bytes of the stream go, and how many at most (never 0). */
uint8_t *frame_parser_space(struct frame_parser *p, size_t *ret_len);
/*
 * N bytes (at most what frame_parser_space() offered) were put there. 1: a frame is complete, *ret_frame is the
 * caller's to free(); 0: more is needed; -EBADMSG, -EMSGSIZE, -ENOMEM: the stream is useless from here on.
 */
int frame_parser_advance(struct frame_parser *p, size_t n, struct frame **ret_frame);
/* True between two frames: a stream that ends otherwise is torn. */
bool frame_parser_is_between(const struct frame_parser *p);

/* Starts a frame at the end of W: room for the header. Returns its offset in W. */
size_t frame_begin(struct wire_writer *w);
/*
 * The body is in W: fills the header at START in (length included). 0, or the writer's error, or -EMSGSIZE; then W is
 * as it was before frame_begin(), and good again.
 */
int frame_end(struct wire_writer *w, size_t start, struct frame_header *h);

#endif
