/* What tcp*.c share; nobody else includes it. tcp.c: the transport, dialling, listening; tcp_stream.c: one socket. */
#ifndef CFS_WIRE_TCP_INTERNAL_H
#define CFS_WIRE_TCP_INTERNAL_H

#include <uv.h>

#include "wire/tls_stream.h"
#include "wire/transport.h"

enum { TCP_RECEIVE_SIZE = 256 << 10 };

struct tcp_listener;

struct tcp {
	struct transport base;
	uv_loop_t *loop;
	struct tls_identity *tls; /* NULL: plain */
	struct tcp_listener *listeners;
	unsigned nr_handles; /* open ones, the transport itself counted as one */
	uint8_t receive[TCP_RECEIVE_SIZE];
};

struct stream {
	struct tcp *tcp;
	uv_tcp_t handle;
	uv_connect_t connecting;
	uv_write_t writing;
	const struct stream_events *ev; /* NULL: accepted and not attached */
	void *ctx;
	struct tls_stream *tls;
	struct wire_writer plain, wire, sending;
	size_t plain_done; /* of it, in `wire` already */
	bool secured, ended, closing, write_pending;
	bool deaf; /* the user wants no more bytes */
	char address[64];
};

/* An open handle of the transport less. */
void tcp_unref(struct tcp *t);

int tcp_stream_new(struct tcp *t, bool server, struct stream **ret_s);
/* The socket is connected and has its events: the handshake begins, or there is none. */
void tcp_stream_start(struct stream *s);
/* Nothing comes any more; tells the user once. */
void tcp_stream_end(struct stream *s, int err, const char *reason);
void tcp_stream_flush(struct stream *s);
void tcp_stream_close(struct stream *s);
size_t tcp_stream_backlog(const struct stream *s);

#endif
