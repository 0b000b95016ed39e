/*
 * One TLS 1.3 connection as a pure transformation: ciphertext in, plaintext out, and back. No socket, no clock of its
 * own; used by the transports of this folder on the loop's thread.
 */
#ifndef CFS_WIRE_TLS_STREAM_H
#define CFS_WIRE_TLS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire/codec.h"
#include "wire/tls.h"

struct tls_stream;

/* OUT collects what shall go to the other end; borrowed, and emptied by the user. */
int tls_stream_new(struct tls_identity *id, bool server, struct wire_writer *out, struct tls_stream **ret_s);
void tls_stream_free(struct tls_stream *s);

/* Lends received bytes until the next call of handshake or read that returns 0; by then all were taken. */
void tls_stream_lend(struct tls_stream *s, const uint8_t *bytes, size_t len);
/*
 * 1: done and the other end verified; 0: needs more bytes; -EKEYREJECTED, -EKEYEXPIRED: the certificate of either end;
 * -EPROTO: no TLS 1.3. OUT may hold something to send in every case (an alert tells the other end why).
 */
int tls_stream_handshake(struct tls_stream *s);
/* Plaintext bytes (at most one record), 0: needs more bytes, -ECONNRESET: ended, or as above; -EBADMSG: forged. */
ssize_t tls_stream_read(struct tls_stream *s, void *buf, size_t len);
/* Encrypts all of it into OUT. 0 or -errno. */
int tls_stream_write(struct tls_stream *s, const void *buf, size_t len);

/* Node id of the verified certificate, 0: the other end has none (only a server accepts that). */
uint32_t tls_stream_peer_node(const struct tls_stream *s);
/* Why the last call failed, in words. */
const char *tls_stream_reason(const struct tls_stream *s);

#endif
