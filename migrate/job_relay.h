/*
 * stdio of a job: three pipes whose far ends the job holds, and byte streams with offsets on our side.
 *
 * Offsets count from the start of the job and go on over moves: the old node keeps serving what its reader has not yet
 * acknowledged, the new one begins where the old one ended, so the reader neither loses nor repeats a byte.
 * Everything is non-blocking; the owner polls.
 */
#ifndef CFS_MIGRATE_JOB_RELAY_H
#define CFS_MIGRATE_JOB_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "migrate/chan.h"

#define RELAY_BUFFER (256u << 10)

/* What comes out of the job: start is the offset of buf[0]. */
struct relay_out {
	int fd;	     /* our (read) end, -1: none or ended */
	uint64_t ino; /* 0: this stream is not relayed */
	uint64_t start;
	size_t len;
	uint8_t *buf;
};

/* What goes into it; held back here only until the pipe has room. */
struct relay_in {
	int fd; /* our (write) end, -1: none or ended */
	uint64_t ino;
	uint64_t off; /* bytes that went into the pipe */
	size_t pos, len;
	bool eof_wanted, ended, broken;
	uint8_t buf[JOB_STREAM_CHUNK];
};

struct relay {
	struct relay_in in;
	struct relay_out out, err;
};

void relay_init(struct relay *r);
void relay_release(struct relay *r);

/* Makes a pipe; RET_FD is the job's end (the caller's, close-on-exec). 0 or -errno. */
int relay_in_open(struct relay_in *in, int *ret_fd);
int relay_out_open(struct relay_out *out, int *ret_fd);

/* Takes what is in the pipe, as far as there is room. */
void relay_out_pull(struct relay_out *out);
/* Takes the pipe empty, growing the buffer: only for a stopped or ended job, whose pipe is finite. 0 or -ENOMEM. */
int relay_out_drain(struct relay_out *out);
bool relay_out_ended(const struct relay_out *out);
/* Drops what lies before OFF. -EINVAL: OFF is not within what we have. */
int relay_out_ack(struct relay_out *out, uint64_t off);
static inline uint64_t relay_out_end(const struct relay_out *out)
{
	return out->start + out->len;
}

/* Takes LEN bytes that belong at OFF; -EAGAIN: not finished with the last ones, -EINVAL: another offset is due. */
int relay_in_put(struct relay_in *in, uint64_t off, const void *buf, size_t len, bool eof);
/* Writes what the pipe takes. True when nothing is left to write (or nobody reads any more). */
bool relay_in_push(struct relay_in *in);
/* Copies what the job has not read yet; it stays in the pipe. Bytes, or -errno. */
int relay_in_unread(const struct relay_in *in, void *buf, size_t size);

#endif
