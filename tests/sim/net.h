/*
 * The simulated network: connections between processes that behave like TCP ones. Bytes arrive in order or the
 * connection breaks; a cut network is silent; an end may learn of a break late. Requests and replies go over it
 * through the real codecs (wire/message.h), so what the table says is what is simulated.
 */
#ifndef CFS_TESTS_SIM_NET_H
#define CFS_TESTS_SIM_NET_H

#include "tests/sim/world.h"
#include "wire/message.h"

struct net;
struct net_conn; /* one end's view is told by (conn, proc) */

/* Chances per million, per message. */
struct net_faults {
	uint32_t reset;	   /* the connection breaks */
	uint32_t slow;	   /* the message takes up to slow_max_us more, and all behind it */
	uint64_t slow_max_us;
};

/* A request: reply with net_reply() once, any time while both live; later is dropped silently. ONEWAY: id 0. */
struct net_request {
	struct net_conn *conn; /* referenced */
	uint32_t from, to;
	uint64_t id;
	const struct msg_info *info;
	void *buf; /* what msg borrows from */
	void *msg;
};

struct net_events {
	void (*up)(void *ctx, struct net_conn *c, uint32_t peer, bool dialled);
	void (*down)(void *ctx, struct net_conn *c, uint32_t peer);
	/* RQ belongs to the handler: net_reply() or net_request_free(). */
	void (*request)(void *ctx, struct net_request *rq);
};

typedef void (*net_done)(void *ctx, int status, const void *rep);

void net_init(struct world *w, struct net **ret_net);
void net_free(struct net *n);
void net_set_faults(struct net *n, const struct net_faults *f);
/* A process starts listening; call at every start. At its death call net_kill(). */
void net_attach(struct net *n, uint32_t proc, const struct net_events *ev, void *ctx);
void net_kill(struct net *n, uint32_t proc);
/* Blocks or opens the way between two processes, both directions. */
void net_cut(struct net *n, uint32_t a, uint32_t b, bool cut);
void net_heal(struct net *n);

/* `up` or `down` follows. */
struct net_conn *net_connect(struct net *n, uint32_t from, uint32_t to);
void net_close(struct net *n, struct net_conn *c, uint32_t by);
/* Was this end told `up`, and not yet `down`? */
bool net_conn_is_up(const struct net_conn *c, uint32_t proc);
/* Counts connections: of two between the same ends the newer has the higher one. */
uint64_t net_conn_serial(const struct net_conn *c);
/* Encodes and sends. DONE is called exactly once, or, when the caller dies, DROP(ctx) (may be NULL). TIMEOUT 0: while
   the connection lives. */
void net_call(struct net *n, struct net_conn *c, uint32_t from, enum msg_type type, const void *req,
	      uint64_t timeout_us, net_done done, void *ctx, void (*drop)(void *ctx));
void net_send(struct net *n, struct net_conn *c, uint32_t from, enum msg_type type, const void *msg);
void net_reply(struct net *n, struct net_request *rq, int status, const void *rep);
/* The same with the reply already encoded. */
void net_reply_bytes(struct net *n, struct net_request *rq, int status, const void *buf, size_t len);
void net_request_free(struct net *n, struct net_request *rq);

#endif
