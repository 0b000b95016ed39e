/* What rpc*.c share; nobody else includes it. rpc.c: requests, replies, calls; rpc_conn.c: connections and hello. */
#ifndef CFS_WIRE_RPC_INTERNAL_H
#define CFS_WIRE_RPC_INTERNAL_H

#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(elt) ((elt)->oom = true)
#include <uthash.h>
#include <uv.h>

#include "wire/deadline.h"
#include "wire/frame.h"
#include "wire/rpc.h"
#include "wire/transport.h"

/* Limits on what others can make us hold; a connection that exceeds one is dropped. */
enum {
	RPC_ACCEPTED_MAX = 4096,	  /* accepted connections of one rpc */
	RPC_NEW_MAX = 256,		  /* of these, before hello; one more displaces one of them */
	RPC_NEW_FRAME_MAX = 128 << 10,	  /* largest body before hello */
	RPC_NEW_TIMEOUT_MS = 20000,	  /* an accepted connection that has not said hello; long enough to join */
	RPC_COMPLAIN_MS = 10000,	  /* between two lines about connections displaced */
	RPC_HELD_MAX = 65536,		  /* unanswered requests of one connection */
	RPC_HELD_BYTES_MAX = 1 << 30,	  /* their bodies */
	RPC_CALL_BACKLOG_MAX = 64 << 20,  /* rpc_call() and rpc_send() are refused beyond */
	RPC_REPLY_BACKLOG_MAX = 256 << 20 /* replies must not be refused: the connection goes instead */
};

/* Something with a deadline; expired() is called when it was not removed in time. */
struct rpc_due {
	struct deadline d;
	void (*expired)(struct rpc_due *due);
};

struct rpc_service {
	rpc_handler fn;
	void *ctx;
};

struct rpc {
	uv_loop_t *loop;
	struct rpc_self self;
	struct transport *transport;
	struct rpc_service *services; /* one per row of the message table */
	struct rpc_conn_events accept_events;
	void *accept_ctx;
	struct rpc_conn *conns;	    /* all that are not closed, but for */
	struct rpc_conn *newcomers; /* those accepted that have not said hello, the oldest first */
	struct rpc_conn *dirty; /* something to send, or to be dropped; served before the loop sleeps */
	unsigned nr_accepted, nr_new;
	unsigned nr_displaced; /* not yet told of */
	uint64_t complain_ms;  /* not before */
	uint32_t new_timeout_ms; /* RPC_NEW_TIMEOUT_MS; shorter in tests */
	rpc_gate gate;
	void *gate_ctx;
	struct deadlines deadlines;
	uv_timer_t timer;
	uint64_t timer_due;
	uv_prepare_t prepare;
	unsigned refs; /* itself, two handles, connections until closed */
	bool freed;    /* by the user: no events any more */
};

enum rpc_conn_state {
	CONN_OPENING, /* dialling, TLS */
	CONN_NEW,     /* secured, hello on its way or awaited */
	CONN_UP,
	CONN_OVER, /* closed by the user or dropped; memory waits for the stream */
};

struct rpc_call {
	struct rpc_due due; /* first member */
	struct rpc_conn *conn;
	const struct msg_info *info;
	uint64_t id;
	rpc_done done;
	void *ctx;
	bool oom;
	UT_hash_handle hh;
};

struct rpc_conn {
	struct rpc_due setup; /* first member; until up */
	struct rpc *rpc;
	struct stream *stream;
	enum rpc_conn_state state;
	bool dialled, is_dirty, complained;
	int err; /* to be dropped, and why */
	struct frame_parser parser;
	struct rpc_peer peer;
	uint32_t expected; /* node id; 0: any */
	struct rpc_conn_events events;
	void *ctx, *data;
	struct rpc_call *calls; /* uthash by id */
	uint64_t next_id;
	struct rpc_req *reqs; /* unanswered */
	unsigned nr_reqs;
	size_t held_bytes;	/* their bodies */
	struct rpc_conn *prev, *next;		  /* rpc->conns or rpc->newcomers */
	struct rpc_conn *dirty_prev, *dirty_next; /* rpc->dirty */
};

struct rpc_req {
	struct rpc_conn *conn; /* NULL: gone */
	const struct msg_info *info;
	uint64_t id;
	struct frame *frame; /* what msg borrows from */
	struct rpc_req *prev, *next;
	_Alignas(16) uint8_t msg[]; /* struct msg_<name>_req */
};

/* ---- rpc.c ---- */
void rpc_unref(struct rpc *rpc);
int rpc_due_add(struct rpc *rpc, struct rpc_due *due, uint32_t timeout_ms);
void rpc_due_remove(struct rpc *rpc, struct rpc_due *due);
void rpc_mark_dirty(struct rpc_conn *conn);
/* A whole frame; the frame is taken. */
void rpc_received(struct rpc_conn *conn, struct frame *frame);
/* Sends a reply without a request at hand: errors, hello. REP as in rpc_reply(). */
void rpc_send_reply(struct rpc_conn *conn, const struct msg_info *info, uint16_t type, uint64_t id, int status,
		    const void *rep);
/* rpc_call() in any state. */
int rpc_start_call(struct rpc_conn *conn, enum msg_type type, const void *req, uint32_t timeout_ms, rpc_done done,
		   void *ctx);
void rpc_complete_all(struct rpc_conn *conn, int status);

/* ---- rpc_conn.c ---- */
void rpc_accepted(void *ctx, struct stream *s);
/* To be dropped before the loop sleeps again; the first reason stays. */
void rpc_conn_fail(struct rpc_conn *conn, int err);
/* The dropping itself: completes calls, tells the user, closes. */
void rpc_conn_drop(struct rpc_conn *conn);
/* An accepted connection that has not said hello. */
bool rpc_conn_is_newcomer(const struct rpc_conn *conn);
/* Frames of another version: the only thing that is understood of them is who must be told. */
void rpc_conn_other_version(struct rpc_conn *conn, const struct frame_header *h);
void rpc_serve_hello(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg);

#endif
