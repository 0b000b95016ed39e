/*
 * The seam between rpc and what carries its bytes: ordered, reliable, and with an identity also secret and
 * authenticated. rpc knows streams only through these operations. Everything happens on the loop's thread.
 *
 * Life of a stream: connect or accept -> open -> (space, received)... -> ended -> close -> closed. `ended` comes at
 * most once; close may come at any time, from inside any event too, and is the user's duty. `closed` is the last event
 * and never comes before close has returned; after it the stream is gone.
 */
#ifndef CFS_WIRE_TRANSPORT_H
#define CFS_WIRE_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "wire/codec.h"

struct tls_identity;

struct stream_events {
	/* Connected; with an identity, both ends are verified. */
	void (*open)(void *ctx);
	/* Where the next received bytes go, and how many at most (never 0). */
	uint8_t *(*space)(void *ctx, size_t *ret_len);
	/* N bytes were put there. Negative: nothing more is wanted. */
	int (*received)(void *ctx, size_t n);
	/* Nothing comes any more. ERR: -ECONNRESET when the other end closed, or what failed; REASON in words. */
	void (*ended)(void *ctx, int err, const char *reason);
	void (*closed)(void *ctx);
};

struct transport;
struct stream;

/* A stream was accepted: ops->attach() it, or ops->close() it. */
typedef void (*stream_accepted)(void *ctx, struct stream *s);

struct transport_ops {
	const char *name;
	/* HOST numeric. PORT 0 picks one. 0 or -errno. */
	int (*listen)(struct transport *t, const char *host, uint16_t port, stream_accepted accepted, void *ctx,
		      uint16_t *ret_port);
	/* 0, then `open` or `ended`, never before return; or -errno and no stream. */
	int (*connect)(struct transport *t, const char *host, uint16_t port, const struct stream_events *ev, void *ctx,
		       struct stream **ret_s);
	void (*attach)(struct stream *s, const struct stream_events *ev, void *ctx);
	/* What is appended here is sent by the next flush. Valid as long as the stream; only ever append. */
	struct wire_writer *(*out)(struct stream *s);
	void (*flush)(struct stream *s);
	/* Bytes not yet taken by the layer below. */
	size_t (*backlog)(const struct stream *s);
	/* Sends what can be sent without waiting, then closes. */
	void (*close)(struct stream *s);
	/* Node id the other end has proved; 0: none. False when nothing is proved on this transport (plain, for tests). */
	bool (*proven_node)(const struct stream *s, uint32_t *ret_node);
	/* "host:port" of the other end. */
	const char *(*address)(const struct stream *s);
	/* Closes the listeners. Every stream must have been closed; memory goes when the loop has run. */
	void (*free)(struct transport *t);
};

/* First member of every implementation's struct. */
struct transport {
	const struct transport_ops *ops;
};

/* TCP with TLS 1.3; TLS NULL: plain TCP. */
int tcp_transport_new(uv_loop_t *loop, struct tls_identity *tls, struct transport **ret_t);

#endif
