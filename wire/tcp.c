/*
 * The transport over TCP: dialling, listening, addresses. Sockets themselves are in tcp_stream.c. Loop thread only.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "wire/tcp_internal.h"

/*
 * A handshake costs half a millisecond, perhaps of a thread that keeps leases: who dials without end waits in the
 * kernel. Enough for every node and mount to come back at once.
 */
enum { BACKLOG = 256, ACCEPTS_PER_S = 500, ACCEPTS_AT_ONCE = 1000, ACCEPT_PAUSE_MS = 10 };

struct tcp_listener {
	uv_tcp_t handle;
	uv_timer_t pause; /* one waits to be accepted; libuv does not look for more */
	unsigned nr_handles;
	uint64_t credit, credit_ms; /* accepts that may be made, and when that was counted */
	struct tcp *tcp;
	stream_accepted accepted;
	void *ctx;
	struct tcp_listener *next;
};

void tcp_unref(struct tcp *t)
{
	if (--t->nr_handles == 0)
		free(t);
}

static int parse_address(const char *host, uint16_t port, struct sockaddr_storage *ret_addr)
{
	memset(ret_addr, 0, sizeof(*ret_addr));
	if (strchr(host, ':'))
		return uv_ip6_addr(host, port, (struct sockaddr_in6 *)ret_addr);
	return uv_ip4_addr(host, port, (struct sockaddr_in *)ret_addr);
}

static uint16_t format_address(const struct sockaddr_storage *ss, char *ret_text, size_t size)
{
	char host[INET6_ADDRSTRLEN] = "?";
	uint16_t port;

	if (ss->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;

		port = ntohs(in6->sin6_port);
		uv_ip6_name(in6, host, sizeof(host));
		snprintf(ret_text, size, "[%s]:%u", host, port);
	} else {
		const struct sockaddr_in *in = (const struct sockaddr_in *)ss;

		port = ntohs(in->sin_port);
		uv_ip4_name(in, host, sizeof(host));
		snprintf(ret_text, size, "%s:%u", host, port);
	}
	return port;
}

static void connected(uv_connect_t *req, int status)
{
	struct stream *s = req->data;

	if (status == UV_ECANCELED || s->closing)
		return;
	if (status < 0)
		tcp_stream_end(s, status, uv_strerror(status));
	else
		tcp_stream_start(s);
}

static int tcp_connect(struct transport *base, const char *host, uint16_t port, const struct stream_events *ev,
		       void *ctx, struct stream **ret_s)
{
	struct tcp *t = (struct tcp *)base;
	struct sockaddr_storage addr;
	struct stream *s;
	int r = parse_address(host, port, &addr);

	if (r < 0 || (r = tcp_stream_new(t, false, &s)) < 0)
		return r;
	format_address(&addr, s->address, sizeof(s->address));
	s->connecting.data = s;
	r = uv_tcp_connect(&s->connecting, &s->handle, (const struct sockaddr *)&addr, connected);
	if (r < 0) {
		tcp_stream_close(s);
		return r;
	}
	s->ev = ev;
	s->ctx = ctx;
	*ret_s = s;
	return 0;
}

static void attach(struct stream *s, const struct stream_events *ev, void *ctx)
{
	s->ev = ev;
	s->ctx = ctx;
	tcp_stream_start(s);
}

static bool take_credit(struct tcp_listener *l)
{
	uint64_t now = uv_now(l->tcp->loop), gained = (now - l->credit_ms) * ACCEPTS_PER_S / 1000;

	if (gained) {
		l->credit = l->credit + gained < ACCEPTS_AT_ONCE ? l->credit + gained : ACCEPTS_AT_ONCE;
		l->credit_ms = now;
	}
	if (!l->credit)
		return false;
	l->credit--;
	return true;
}

static void accept_one(uv_stream_t *server, int status);

static void pause_over(uv_timer_t *t)
{
	struct tcp_listener *l = t->data;

	accept_one((uv_stream_t *)&l->handle, 0);
}

static void accept_one(uv_stream_t *server, int status)
{
	struct tcp_listener *l = server->data;
	struct sockaddr_storage addr = { 0 };
	int len = sizeof(addr);
	struct stream *s;

	if (status < 0)
		return;
	/* Until uv_accept() is called libuv holds this one and leaves the others to the kernel. */
	if (!take_credit(l) || tcp_stream_new(l->tcp, true, &s) < 0) {
		uv_timer_start(&l->pause, pause_over, ACCEPT_PAUSE_MS, 0);
		return;
	}
	if (uv_accept(server, (uv_stream_t *)&s->handle) < 0) {
		tcp_stream_close(s);
		return;
	}
	uv_tcp_getpeername(&s->handle, (struct sockaddr *)&addr, &len);
	format_address(&addr, s->address, sizeof(s->address));
	l->accepted(l->ctx, s);
}

static void listener_closed(uv_handle_t *h)
{
	struct tcp_listener *l = h->data;

	tcp_unref(l->tcp);
	if (--l->nr_handles == 0)
		free(l);
}

static void close_listener(struct tcp_listener *l)
{
	uv_close((uv_handle_t *)&l->pause, listener_closed);
	uv_close((uv_handle_t *)&l->handle, listener_closed);
}

static int start_listening(struct tcp_listener *l, const struct sockaddr_storage *addr, uint16_t *ret_port)
{
	struct sockaddr_storage bound;
	char text[64];
	int len = sizeof(bound);
	int r;

	if ((r = uv_tcp_bind(&l->handle, (const struct sockaddr *)addr, 0)) < 0 ||
	    (r = uv_listen((uv_stream_t *)&l->handle, BACKLOG, accept_one)) < 0 ||
	    (r = uv_tcp_getsockname(&l->handle, (struct sockaddr *)&bound, &len)) < 0)
		return r;
	*ret_port = format_address(&bound, text, sizeof(text));
	return 0;
}

static int tcp_listen(struct transport *base, const char *host, uint16_t port, stream_accepted accepted, void *ctx,
		      uint16_t *ret_port)
{
	struct tcp *t = (struct tcp *)base;
	struct sockaddr_storage addr;
	struct tcp_listener *l;
	int r = parse_address(host, port, &addr);

	if (r < 0)
		return r;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	*l = (struct tcp_listener){ .tcp = t, .accepted = accepted, .ctx = ctx, .credit = ACCEPTS_AT_ONCE };
	l->credit_ms = uv_now(t->loop);
	r = uv_tcp_init(t->loop, &l->handle);
	if (r < 0) {
		free(l);
		return r;
	}
	uv_timer_init(t->loop, &l->pause);
	l->handle.data = l->pause.data = l;
	l->nr_handles = 2;
	t->nr_handles += 2;
	r = start_listening(l, &addr, ret_port);
	if (r < 0)
		close_listener(l);
	else
		LL_PREPEND(t->listeners, l);
	return r;
}

static struct wire_writer *out(struct stream *s)
{
	return &s->plain;
}

static bool proven_node(const struct stream *s, uint32_t *ret_node)
{
	*ret_node = s->tls && s->secured ? tls_stream_peer_node(s->tls) : 0;
	return s->tls;
}

static const char *address(const struct stream *s)
{
	return s->address;
}

static void tcp_free(struct transport *base)
{
	struct tcp *t = (struct tcp *)base;
	struct tcp_listener *l, *next;

	LL_FOREACH_SAFE(t->listeners, l, next)
		close_listener(l);
	t->listeners = NULL;
	tcp_unref(t);
}

static const struct transport_ops tcp_ops = {
	.name = "tcp",
	.listen = tcp_listen,
	.connect = tcp_connect,
	.attach = attach,
	.out = out,
	.flush = tcp_stream_flush,
	.backlog = tcp_stream_backlog,
	.close = tcp_stream_close,
	.proven_node = proven_node,
	.address = address,
	.free = tcp_free,
};

int tcp_transport_new(uv_loop_t *loop, struct tls_identity *tls, struct transport **ret_t)
{
	struct tcp *t = malloc(sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->base.ops = &tcp_ops;
	t->loop = loop;
	t->tls = tls;
	t->listeners = NULL;
	t->nr_handles = 1;
	*ret_t = &t->base;
	return 0;
}
