#include "tests/sim/net.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

struct net_conn {
	struct net *net;
	uint64_t serial;
	uint32_t end[2];     /* 0 dialled, 1 accepted */
	bool told_up[2];     /* that end was told `up` and not yet `down` */
	bool doomed;	     /* nothing arrives any more */
	uint64_t arrival[2]; /* when the last message towards end i arrives: in order */
	unsigned refs;	     /* events, requests and calls that point here */
	struct net_conn *prev, *next;
};

struct pending {
	struct net_conn *conn;
	uint32_t from, incarnation;
	uint64_t id;
	const struct msg_info *info;
	net_done done;
	void *ctx;
	void (*drop)(void *ctx);
	struct pending *prev, *next;
};

struct endpoint {
	const struct net_events *ev;
	void *ctx;
};

struct net {
	struct world *w;
	struct net_faults faults;
	struct endpoint ep[WORLD_PROCS_MAX];
	bool cut[WORLD_PROCS_MAX][WORLD_PROCS_MAX];
	struct net_conn *conns;
	struct pending *calls;
	uint64_t ids;
};

/* One thing on its way: to an end of a connection. */
struct flight {
	struct net_conn *conn;
	int end;
	uint64_t id;
	const struct msg_info *info;
	bool reply;
	int status;
	void *buf;
	size_t len;
};

static void conn_unref(struct net_conn *c)
{
	if (--c->refs)
		return;
	DL_DELETE(c->net->conns, c);
	free(c);
}

static void flight_drop(void *arg)
{
	struct flight *f = arg;

	conn_unref(f->conn);
	free(f->buf);
	free(f);
}

static int end_of(const struct net_conn *c, uint32_t proc)
{
	return c->end[1] == proc;
}

static struct flight *flight_new(struct net_conn *c, int end)
{
	struct flight *f = calloc(1, sizeof(*f));

	assert(f);
	f->conn = c;
	f->end = end;
	c->refs++;
	return f;
}

/* Its caller is dead. */
static void pending_drop(struct net *n, struct pending *p)
{
	DL_DELETE(n->calls, p);
	if (p->drop)
		p->drop(p->ctx);
	conn_unref(p->conn);
	free(p);
}

static void end_calls(struct net *n, struct net_conn *c, uint32_t from, int status)
{
	struct pending *p, *next, *mine = NULL;

	DL_FOREACH_SAFE(n->calls, p, next) {
		if (p->conn != c || p->from != from)
			continue;
		DL_DELETE(n->calls, p);
		DL_APPEND(mine, p);
	}
	DL_FOREACH_SAFE(mine, p, next) {
		DL_DELETE(mine, p);
		p->done(p->ctx, status, NULL);
		conn_unref(p->conn);
		free(p);
	}
}

static void tell_down(void *arg)
{
	struct flight *f = arg;
	struct net_conn *c = f->conn;
	struct net *n = c->net;
	uint32_t proc = c->end[f->end];

	if (c->told_up[f->end]) {
		c->told_up[f->end] = false;
		end_calls(n, c, proc, -ECONNRESET);
		n->ep[proc].ev->down(n->ep[proc].ctx, c, c->end[!f->end]);
		conn_unref(c);
	}
	flight_drop(f);
}

/* Both ends learn of it: mostly soon, sometimes late (a half-open connection). */
static void doom(struct net_conn *c, bool soon)
{
	struct world *w = c->net->w;

	if (c->doomed)
		return;
	c->doomed = true;
	for (int e = 0; e < 2; e++) {
		uint64_t delay = soon && !world_chance(w, 50000) ? world_between(w, 100, 2 * MS) :
								    world_between(w, 200 * MS, 4000 * MS);

		if (w->procs[c->end[e]].up)
			world_after(w, c->end[e], delay, tell_down, flight_new(c, e), flight_drop);
	}
}

static void arrive(void *arg);

/* Puts F on its way, behind what is already under way to that end. */
static void launch(struct flight *f)
{
	struct net_conn *c = f->conn;
	struct net *n = c->net;
	uint32_t to = c->end[f->end], from = c->end[!f->end];
	uint64_t delay = world_between(n->w, 100, 1500);

	if (n->cut[from][to])
		doom(c, false);
	else if (world_chance(n->w, n->faults.reset))
		doom(c, true);
	if (c->doomed || !n->w->procs[to].up) {
		flight_drop(f);
		return;
	}
	if (world_chance(n->w, n->faults.slow))
		delay += world_between(n->w, 0, n->faults.slow_max_us);
	if (n->w->now + delay < c->arrival[f->end])
		delay = c->arrival[f->end] - n->w->now;
	c->arrival[f->end] = n->w->now + delay;
	world_after(n->w, to, delay, arrive, f, flight_drop);
}

static void arrive_reply(struct net *n, struct flight *f)
{
	struct pending *p;
	struct wire_reader r = { f->buf, (uint8_t *)f->buf + f->len };
	void *rep = NULL;

	DL_FOREACH(n->calls, p)
		if (p->id == f->id && p->from == f->conn->end[f->end])
			break;
	if (!p)
		return;
	DL_DELETE(n->calls, p);
	if (!f->status) {
		rep = calloc(1, p->info->rep_size + 1);
		assert(rep && !p->info->decode_rep(&r, rep));
	}
	p->done(p->ctx, f->status, rep);
	free(rep);
	conn_unref(p->conn);
	free(p);
}

static void arrive_request(struct net *n, struct flight *f)
{
	struct endpoint *ep = &n->ep[f->conn->end[f->end]];
	struct net_request *rq = calloc(1, sizeof(*rq));
	struct wire_reader r = { f->buf, (uint8_t *)f->buf + f->len };

	assert(rq);
	*rq = (struct net_request){ .conn = f->conn,
				    .from = f->conn->end[!f->end],
				    .to = f->conn->end[f->end],
				    .id = f->id,
				    .info = f->info,
				    .buf = f->buf,
				    .msg = calloc(1, f->info->req_size + 1) };
	assert(rq->msg && !f->info->decode_req(&r, rq->msg));
	f->buf = NULL;
	f->conn->refs++;
	ep->ev->request(ep->ctx, rq);
}

static void arrive(void *arg)
{
	struct flight *f = arg;
	struct net *n = f->conn->net;

	/* A doomed connection still delivers what was already in the kernel; a closed end takes nothing. */
	if (f->conn->told_up[f->end]) {
		if (f->reply)
			arrive_reply(n, f);
		else
			arrive_request(n, f);
	}
	flight_drop(f);
}

static void tell_up(void *arg)
{
	struct flight *f = arg;
	struct net_conn *c = f->conn;
	struct net *n = c->net;
	uint32_t proc = c->end[f->end];

	if (!c->doomed && n->ep[proc].ev) {
		c->told_up[f->end] = true;
		c->refs++;
		n->ep[proc].ev->up(n->ep[proc].ctx, c, c->end[!f->end], f->end == 0);
	} else if (f->end == 0) {
		n->ep[proc].ev->down(n->ep[proc].ctx, c, c->end[1]);
	}
	flight_drop(f);
}

static void refuse(void *arg)
{
	struct flight *f = arg;
	struct endpoint *ep = &f->conn->net->ep[f->conn->end[0]];

	ep->ev->down(ep->ctx, f->conn, f->conn->end[1]);
	flight_drop(f);
}

struct net_conn *net_connect(struct net *n, uint32_t from, uint32_t to)
{
	struct net_conn *c = calloc(1, sizeof(*c));
	struct flight *f;
	uint64_t rtt = world_between(n->w, 200, 3000);

	assert(c);
	c->net = n;
	c->serial = ++n->ids;
	c->end[0] = from;
	c->end[1] = to;
	DL_APPEND(n->conns, c);
	f = flight_new(c, 0);
	if (n->cut[from][to] || !n->w->procs[to].up || !n->ep[to].ev) {
		c->doomed = true;
		world_after(n->w, from, n->cut[from][to] ? 300 * MS : rtt, refuse, f, flight_drop);
		return c;
	}
	world_after(n->w, to, rtt / 2, tell_up, flight_new(c, 1), flight_drop);
	c->arrival[1] = n->w->now + rtt / 2;
	world_after(n->w, from, rtt, tell_up, f, flight_drop);
	c->arrival[0] = n->w->now + rtt;
	return c;
}

void net_close(struct net *n, struct net_conn *c, uint32_t by)
{
	int e = end_of(c, by);

	c->refs++;
	if (c->told_up[e]) {
		c->told_up[e] = false;
		end_calls(n, c, by, -ECANCELED);
		conn_unref(c);
	}
	doom(c, true);
	conn_unref(c);
}

bool net_conn_is_up(const struct net_conn *c, uint32_t proc)
{
	return c->told_up[end_of(c, proc)];
}

uint64_t net_conn_serial(const struct net_conn *c)
{
	return c->serial;
}

static void encode(struct flight *f, msg_encode fn, const void *msg)
{
	struct wire_writer w;

	wire_writer_init(&w);
	if (msg)
		fn(&w, msg);
	assert(!w.err);
	f->buf = w.buf;
	f->len = w.len;
}

static void timed_out(void *arg)
{
	struct flight *f = arg;
	struct net *n = f->conn->net;
	struct pending *p;

	DL_FOREACH(n->calls, p)
		if (p->id == f->id)
			break;
	if (p) {
		DL_DELETE(n->calls, p);
		p->done(p->ctx, -ETIMEDOUT, NULL);
		conn_unref(p->conn);
		free(p);
	}
	flight_drop(f);
}

void net_call(struct net *n, struct net_conn *c, uint32_t from, enum msg_type type, const void *req,
	      uint64_t timeout_us, net_done done, void *ctx, void (*drop)(void *ctx))
{
	struct flight *f = flight_new(c, !end_of(c, from));
	struct pending *p = calloc(1, sizeof(*p));

	assert(p && c->told_up[end_of(c, from)]);
	f->info = msg_info((uint16_t)type);
	f->id = ++n->ids;
	*p = (struct pending){ .conn = c,
			       .from = from,
			       .incarnation = n->w->procs[from].incarnation,
			       .id = f->id,
			       .info = f->info,
			       .done = done,
			       .ctx = ctx,
			       .drop = drop };
	c->refs++;
	DL_APPEND(n->calls, p);
	if (timeout_us) {
		struct flight *t = flight_new(c, 0);

		t->id = f->id;
		world_after(n->w, from, timeout_us, timed_out, t, flight_drop);
	}
	encode(f, f->info->encode_req, req);
	launch(f);
}

void net_send(struct net *n, struct net_conn *c, uint32_t from, enum msg_type type, const void *msg)
{
	struct flight *f = flight_new(c, !end_of(c, from));

	(void)n;
	f->info = msg_info((uint16_t)type);
	encode(f, f->info->encode_req, msg);
	launch(f);
}

void net_request_free(struct net *n, struct net_request *rq)
{
	(void)n;
	conn_unref(rq->conn);
	free(rq->buf);
	free(rq->msg);
	free(rq);
}

void net_reply_bytes(struct net *n, struct net_request *rq, int status, const void *buf, size_t len)
{
	struct net_conn *c = rq->conn;

	if (rq->id && c->told_up[end_of(c, rq->to)]) {
		struct flight *f = flight_new(c, !end_of(c, rq->to));

		f->reply = true;
		f->id = rq->id;
		f->status = status;
		f->buf = malloc(len + 1);
		f->len = len;
		assert(f->buf);
		if (len)
			memcpy(f->buf, buf, len);
		launch(f);
	}
	net_request_free(n, rq);
}

void net_reply(struct net *n, struct net_request *rq, int status, const void *rep)
{
	struct wire_writer w;

	wire_writer_init(&w);
	if (!status && rep)
		rq->info->encode_rep(&w, rep);
	assert(!w.err);
	net_reply_bytes(n, rq, status, w.buf, w.len);
	wire_writer_release(&w);
}

void net_init(struct world *w, struct net **ret_net)
{
	struct net *n = calloc(1, sizeof(*n));

	assert(n);
	n->w = w;
	*ret_net = n;
}

void net_free(struct net *n)
{
	struct pending *p, *np;

	DL_FOREACH_SAFE(n->calls, p, np)
		pending_drop(n, p);
	/* What is left are the ends that were up to the last. */
	for (struct net_conn *c = n->conns, *next; c; c = next) {
		next = c->next;
		free(c);
	}
	free(n);
}

void net_set_faults(struct net *n, const struct net_faults *f)
{
	n->faults = *f;
}

void net_attach(struct net *n, uint32_t proc, const struct net_events *ev, void *ctx)
{
	n->ep[proc] = (struct endpoint){ ev, ctx };
}

/* The kernel of a dead process resets its connections; its pending calls die with it. Call before world_kill(). */
void net_kill(struct net *n, uint32_t proc)
{
	struct pending *p, *np;

	DL_FOREACH_SAFE(n->calls, p, np)
		if (p->from == proc)
			pending_drop(n, p);
	for (struct net_conn *c = n->conns, *next; c; c = next) {
		next = c->next;
		if (c->end[0] != proc && c->end[1] != proc)
			continue;
		c->refs++;
		if (c->told_up[end_of(c, proc)]) {
			c->told_up[end_of(c, proc)] = false;
			conn_unref(c);
		}
		doom(c, true);
		conn_unref(c);
	}
	n->ep[proc] = (struct endpoint){ 0 };
}

void net_cut(struct net *n, uint32_t a, uint32_t b, bool cut)
{
	n->cut[a][b] = n->cut[b][a] = cut;
}

void net_heal(struct net *n)
{
	memset(n->cut, 0, sizeof(n->cut));
}
