/*
 * A private loop with one rpc per call of once_call(). Steps per peer: resolve (blocking) -> connect -> up -> call ->
 * done; whatever ends it sets `status` and stops the loop.
 */
#include "wire/once.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

struct once {
	uv_loop_t loop;
	struct rpc *rpc;
	struct rpc_conn *conn;
	const struct msg_info *info;
	const void *req;
	void *rep;
	uint64_t give_up; /* for this peer, uv_now() of the loop */
	int status;
	bool over, sent;
};

static void finish(struct once *o, int status)
{
	if (o->over)
		return;
	o->over = true;
	o->status = status;
	uv_stop(&o->loop);
}

/* Struct and bytes in one allocation: encoded again, and decoded where it shall live. */
static int copy_reply(const struct msg_info *info, const void *rep, void **ret_copy)
{
	size_t at = (info->rep_size + 15) & ~(size_t)15;
	struct wire_writer w;
	struct wire_reader rd;
	uint8_t *copy;
	int r;

	wire_writer_init(&w);
	r = info->encode_rep(&w, rep);
	copy = r < 0 ? NULL : calloc(1, at + w.len + 1);
	if (copy) {
		if (w.len)
			memcpy(copy + at, w.buf, w.len);
		rd = (struct wire_reader){ copy + at, copy + at + w.len };
		r = info->decode_rep(&rd, copy);
	} else if (!r) {
		r = -ENOMEM;
	}
	wire_writer_release(&w);
	if (r < 0)
		free(copy);
	else
		*ret_copy = copy;
	return r;
}

static void done(void *ctx, int status, const void *rep)
{
	struct once *o = ctx;

	if (!status)
		status = copy_reply(o->info, rep, &o->rep);
	finish(o, status);
}

static void up(void *ctx, struct rpc_conn *conn)
{
	struct once *o = ctx;
	uint64_t now = uv_now(&o->loop);
	int r = rpc_call(conn, o->info->number, o->req, o->give_up > now ? (uint32_t)(o->give_up - now) : 1, done, o);

	if (r < 0)
		finish(o, r);
	else
		o->sent = true;
}

static void down(void *ctx, struct rpc_conn *conn, int err)
{
	struct once *o = ctx;

	(void)conn;
	o->conn = NULL;
	finish(o, err);
}

static int resolve(const char *host, char *ret_numeric, size_t size)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *ai;
	int r = getaddrinfo(host, NULL, &hints, &ai);

	if (r == 0) {
		r = getnameinfo(ai->ai_addr, ai->ai_addrlen, ret_numeric, (socklen_t)size, NULL, 0, NI_NUMERICHOST);
		freeaddrinfo(ai);
	}
	return r == 0 ? 0 : r == EAI_MEMORY ? -ENOMEM : -EHOSTUNREACH;
}

static int try_peer(struct once *o, const struct once_peer *peer, uint32_t timeout_ms)
{
	static const struct rpc_conn_events events = { up, down };
	char numeric[NI_MAXHOST];
	int r = resolve(peer->host, numeric, sizeof(numeric));

	if (r < 0)
		return r;
	uv_update_time(&o->loop);
	o->give_up = uv_now(&o->loop) + timeout_ms;
	o->over = o->sent = false;
	r = rpc_connect(o->rpc, numeric, peer->port, timeout_ms, &events, o, &o->conn);
	if (r < 0)
		return r;
	while (!o->over)
		uv_run(&o->loop, UV_RUN_DEFAULT);
	rpc_conn_close(o->conn);
	o->conn = NULL;
	return o->status;
}

/* Somebody was there and had something to say. */
static bool is_telling(int r)
{
	return r != -ECONNREFUSED && r != -ETIMEDOUT && r != -EHOSTUNREACH && r != -ENETUNREACH && r != -EREMCHG;
}

/* The first answer, or else the most telling reason why there is none. */
static int try_all(struct once *o, const struct once_peer *peers, size_t nr_peers, uint32_t timeout_ms)
{
	uint64_t end = uv_now(&o->loop) + timeout_ms, left;
	int why = -EINVAL, r;

	for (size_t i = 0; i < nr_peers; i++) {
		uv_update_time(&o->loop);
		left = end > uv_now(&o->loop) ? end - uv_now(&o->loop) : 0;
		if (i && !left)
			break;
		o->sent = false;
		r = try_peer(o, &peers[i], (uint32_t)(left / (nr_peers - i)));
		if (r != -EREMCHG && (!r || o->sent))
			return r;
		if (!i || (is_telling(r) && !is_telling(why)))
			why = r;
	}
	return why;
}

int once_call(const struct once_peer *peers, size_t nr_peers, const struct rpc_self *self, struct tls_identity *tls,
	      enum msg_type type, const void *req, uint32_t timeout_ms, void **ret_rep)
{
	struct once o = { .info = msg_info((uint16_t)type), .req = req };
	int r = uv_loop_init(&o.loop);

	if (r < 0)
		return r;
	r = rpc_new(&o.loop, self, tls, &o.rpc);
	if (!r) {
		r = try_all(&o, peers, nr_peers, timeout_ms);
		rpc_free(o.rpc);
	}
	/* Only closing is left; it takes no time. */
	uv_run(&o.loop, UV_RUN_DEFAULT);
	uv_loop_close(&o.loop);
	if (!r && ret_rep)
		*ret_rep = o.rep;
	else
		free(o.rep);
	return r;
}
