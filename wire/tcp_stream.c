/*
 * TCP, with TLS when there is an identity. One struct stream per socket; loop thread only.
 *
 * Sending: rpc appends frames to `plain`. A flush turns slices of it into `wire` (encrypted, or as they are) and gives
 * these to the kernel; what the kernel does not take waits in `sending`, under one uv_write, and `plain` grows meanwhile,
 * so that many small messages become one record and one system call. `sending` is not touched until it was taken: `wire`
 * may grow at any time, by what TLS answers of its own accord. Receiving: ciphertext comes into one buffer shared by all
 * streams of the loop and is decrypted straight into the frame at hand.
 *
 * Memory: a stream lives until libuv has closed its handle, whatever happens inside its events.
 */
#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "wire/tcp_internal.h"

enum {
	SLICE_SIZE = 256 << 10, /* encrypted at once: bounds `wire`, fits the cache */
	DIRECT_MIN = 16 << 10,	/* plain: from here on received without a copy */
	KEEP_CAP = 1 << 20,	/* an idle stream keeps no larger buffer */
	KEEPALIVE_IDLE_S = 5,
	KEEPALIVE_INTERVAL_S = 2,
	KEEPALIVE_COUNT = 3,
	USER_TIMEOUT_MS = 10000,
	ANSWERS_MAX = 1 << 20, /* ciphertext that waits: more than a slice and TLS' own messages cannot come together */
};

void tcp_stream_end(struct stream *s, int err, const char *reason)
{
	if (s->ended || s->closing)
		return;
	s->ended = true;
	uv_read_stop((uv_stream_t *)&s->handle);
	if (s->ev)
		s->ev->ended(s->ctx, err, reason);
}

/* ---- sending ---- */

static void empty(struct wire_writer *w)
{
	w->len = 0;
	if (w->cap > KEEP_CAP)
		wire_writer_release(w);
}

static void written(uv_write_t *req, int status)
{
	struct stream *s = req->data;

	s->write_pending = false;
	empty(&s->sending);
	if (status == UV_ECANCELED)
		return;
	if (status < 0)
		tcp_stream_end(s, status, uv_strerror(status));
	else
		tcp_stream_flush(s);
}

/* Bytes taken (some may be left), or -errno. */
static ssize_t try_write(struct stream *s, uint8_t *p, size_t len)
{
	uv_buf_t buf = uv_buf_init((char *)p, (unsigned)len);
	int r = uv_try_write((uv_stream_t *)&s->handle, &buf, 1);

	return r == UV_EAGAIN ? 0 : r;
}

/* What has been sent leaves the front once it is more than what is left: amortized, every byte moves at most once. */
static void plain_advance(struct stream *s, size_t n)
{
	s->plain_done += n;
	if (s->plain_done == s->plain.len) {
		empty(&s->plain);
		s->plain_done = 0;
	} else if (s->plain_done > SLICE_SIZE && s->plain_done > s->plain.len / 2) {
		s->plain.len -= s->plain_done;
		memmove(s->plain.buf, s->plain.buf + s->plain_done, s->plain.len);
		s->plain_done = 0;
	}
}

/* Moves the next slice of `plain` into `wire`. 1, 0 when there is nothing (to say yet), or -errno. */
static int fill_wire(struct stream *s)
{
	size_t n = s->plain.len - s->plain_done;
	int r = 0;

	if (!n || !s->secured)
		return 0;
	if (n > SLICE_SIZE)
		n = SLICE_SIZE;
	if (s->tls) {
		r = tls_stream_write(s->tls, s->plain.buf + s->plain_done, n);
	} else {
		uint8_t *p = wire_reserve(&s->wire, n);

		if (p)
			memcpy(p, s->plain.buf + s->plain_done, n);
		else
			r = -ENOMEM;
	}
	if (r < 0)
		return r;
	plain_advance(s, n);
	return 1;
}

/* `wire` without its first N bytes. */
static int write_rest(struct stream *s, size_t n)
{
	struct wire_writer idle = s->sending;
	uv_buf_t buf;
	int r;

	assert(!idle.len);
	s->sending = s->wire;
	s->wire = idle;
	buf = uv_buf_init((char *)s->sending.buf + n, (unsigned)(s->sending.len - n));
	s->writing.data = s;
	r = uv_write(&s->writing, (uv_stream_t *)&s->handle, &buf, 1, written);
	if (!r)
		s->write_pending = true;
	return r;
}

/* One step of sending: 1 go on, 0 nothing to do or the kernel is full, -errno. */
static int flush_step(struct stream *s)
{
	ssize_t n;
	int r;

	if (!s->wire.len) {
		r = fill_wire(s);
		if (r <= 0)
			return r;
	}
	n = try_write(s, s->wire.buf, s->wire.len);
	if (n < 0)
		return (int)n;
	if ((size_t)n < s->wire.len)
		return write_rest(s, (size_t)n);
	empty(&s->wire);
	return 1;
}

void tcp_stream_flush(struct stream *s)
{
	int r = 1;

	while (r > 0 && !s->write_pending && !s->ended)
		r = flush_step(s);
	if (r < 0)
		tcp_stream_end(s, r, uv_strerror(r));
}

size_t tcp_stream_backlog(const struct stream *s)
{
	return s->plain.len - s->plain_done + s->wire.len + s->sending.len;
}

/* ---- receiving ---- */

/* N bytes are where space() said. False when no more are wanted, or the stream was closed meanwhile. */
static bool deliver(struct stream *s, size_t n)
{
	if (s->ev->received(s->ctx, n) < 0 && !s->closing) {
		s->deaf = true;
		uv_read_stop((uv_stream_t *)&s->handle);
	}
	return !s->deaf && !s->closing;
}

static void secured(struct stream *s)
{
	s->secured = true;
	s->ev->open(s->ctx);
	if (!s->closing)
		tcp_stream_flush(s);
}

static void receive_plain(struct stream *s, const uint8_t *p, size_t len)
{
	size_t n;

	for (bool more = true; more && len > 0; p += n, len -= n) {
		uint8_t *to = s->ev->space(s->ctx, &n);

		if (n > len)
			n = len;
		memcpy(to, p, n);
		more = deliver(s, n);
	}
}

/* Decrypts until OpenSSL wants more: then it has taken everything that was lent. */
static void receive_tls(struct stream *s)
{
	while (!s->closing && !s->ended) {
		size_t len;
		uint8_t *to = s->ev->space(s->ctx, &len);
		ssize_t n = tls_stream_read(s->tls, to, len);

		if (n < 0)
			tcp_stream_end(s, (int)n, tls_stream_reason(s->tls));
		if (n <= 0 || !deliver(s, (size_t)n))
			return;
	}
}

/* TLS answers some messages by itself (KeyUpdate): one who sends many and takes no answers does not fill our memory. */
static bool answers_pile_up(const struct stream *s)
{
	return s->wire.len > ANSWERS_MAX;
}

static void take_tls(struct stream *s, const uint8_t *p, size_t len)
{
	int r;

	if (answers_pile_up(s)) {
		tcp_stream_end(s, -ENOBUFS, "takes no answers");
		return;
	}
	tls_stream_lend(s->tls, p, len);
	if (!s->secured) {
		r = tls_stream_handshake(s->tls);
		if (r < 0)
			tcp_stream_end(s, r, tls_stream_reason(s->tls));
		else if (r > 0)
			secured(s);
		else
			tcp_stream_flush(s);
		if (r <= 0)
			return;
	}
	receive_tls(s);
}

/* The place libuv reads into: the frame itself when that saves a copy of some size. */
static void alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret_buf)
{
	struct stream *s = h->data;
	uint8_t *to = s->tcp->receive;
	size_t len = TCP_RECEIVE_SIZE;

	(void)suggested;
	if (!s->tls) {
		uint8_t *direct = s->ev->space(s->ctx, &len);

		if (len >= DIRECT_MIN)
			to = direct;
		else
			len = TCP_RECEIVE_SIZE;
	}
	*ret_buf = uv_buf_init((char *)to, (unsigned)len);
}

static void got(uv_stream_t *h, ssize_t n, const uv_buf_t *buf)
{
	struct stream *s = h->data;
	const uint8_t *p = (const uint8_t *)buf->base;

	if (n == 0 || s->closing || s->ended || s->deaf)
		return;
	if (n < 0)
		tcp_stream_end(s, n == UV_EOF ? -ECONNRESET : (int)n, n == UV_EOF ? "closed by the other end" : uv_strerror((int)n));
	else if (s->tls)
		take_tls(s, p, (size_t)n);
	else if (p != s->tcp->receive)
		deliver(s, (size_t)n);
	else
		receive_plain(s, p, (size_t)n);
}

/* ---- making and closing ---- */

static void stream_closed(uv_handle_t *h)
{
	struct stream *s = h->data;

	if (s->ev)
		s->ev->closed(s->ctx);
	tls_stream_free(s->tls);
	wire_writer_release(&s->plain);
	wire_writer_release(&s->wire);
	wire_writer_release(&s->sending);
	tcp_unref(s->tcp);
	free(s);
}

void tcp_stream_close(struct stream *s)
{
	if (s->closing)
		return;
	/* Also after `ended`: an alert or a last reply tells the other end why. */
	if (uv_is_writable((uv_stream_t *)&s->handle))
		for (int r = 1; r > 0 && !s->write_pending;)
			r = flush_step(s);
	s->closing = true;
	uv_close((uv_handle_t *)&s->handle, stream_closed);
}

int tcp_stream_new(struct tcp *t, bool server, struct stream **ret_s)
{
	struct stream *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->tcp = t;
	if (t->tls && (r = tls_stream_new(t->tls, server, &s->wire, &s->tls)) < 0) {
		free(s);
		return r;
	}
	r = uv_tcp_init(t->loop, &s->handle);
	if (r < 0) {
		tls_stream_free(s->tls);
		free(s);
		return r;
	}
	s->handle.data = s;
	t->nr_handles++;
	*ret_s = s;
	return 0;
}

/*
 * tcp(7): small frames must not wait for acknowledgements, and a dead host is noticed in about ten seconds, with data
 * on the way (TCP_USER_TIMEOUT) or without. A convenience: who depends on a peer has deadlines of its own.
 */
static void set_options(struct stream *s)
{
	const int idle = KEEPALIVE_IDLE_S, interval = KEEPALIVE_INTERVAL_S, count = KEEPALIVE_COUNT;
	const unsigned timeout = USER_TIMEOUT_MS;
	int fd;

	uv_tcp_nodelay(&s->handle, 1);
	uv_tcp_keepalive(&s->handle, 1, (unsigned)idle);
	if (uv_fileno((uv_handle_t *)&s->handle, &fd) < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
}

/* The socket is connected: the handshake begins, or there is none. */
void tcp_stream_start(struct stream *s)
{
	int r;

	set_options(s);
	r = uv_read_start((uv_stream_t *)&s->handle, alloc, got);
	if (!r && !s->tls) {
		secured(s);
		return;
	}
	if (!r)
		r = tls_stream_handshake(s->tls);
	if (r < 0)
		tcp_stream_end(s, r, s->tls ? tls_stream_reason(s->tls) : uv_strerror(r));
	else
		tcp_stream_flush(s);
}

