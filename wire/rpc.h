/*
 * Request and reply between nodes, over authenticated streams, on one libuv loop.
 *
 * Everything here is called, and calls back, on the loop's thread only. One struct rpc per loop: it owns the identity
 * (TLS), the handlers, the listeners and the connections. Nothing above knows which transport is below.
 *
 * Life of a connection: dialled or accepted -> TLS -> hello (version, cluster, node, role) -> up -> ... -> down.
 * `down` is called once, after every pending call was completed with -ECONNRESET (or -ETIMEDOUT when that was the
 * cause); a connection is never revived: whoever wants it back dials again.
 */
#ifndef CFS_WIRE_RPC_H
#define CFS_WIRE_RPC_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "wire/message.h"

struct rpc;
struct rpc_conn;
struct rpc_req;
struct tls_identity; /* wire/tls.h */

/* NONE: one that is just joining. It says no hello: its connections are up once secured, and only rows of state NEW
   (`join`) can be called on them. For the acceptor such a connection never comes up; `up` and `down` are not told. */
enum rpc_role { RPC_ROLE_NONE, RPC_ROLE_NODE, RPC_ROLE_CLIENT };

/* Who we are; the strings are borrowed and must outlive the rpc. */
struct rpc_self {
	uint64_t cluster_id;
	uint32_t node_id;
	enum rpc_role role;
	const char *node_name;
};

/* What hello and the certificate said about the other end. */
struct rpc_peer {
	uint32_t node_id; /* 0 until hello, and for one that is just joining */
	enum rpc_role role;
	char node_name[256];
	char address[64]; /* "host:port" as seen by the socket */
};

/*
 * A request arrived. Must be answered exactly once by rpc_reply(), now or later. MSG (struct msg_<name>_req) and all
 * its borrowed fields live until rpc_reply(). For ONEWAY rows rq is NULL and MSG lives until the handler returns.
 */
typedef void (*rpc_handler)(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg);

/* A call ended: status 0 and REP (struct msg_<name>_rep, borrowed until return), or a negative errno and NULL. */
typedef void (*rpc_done)(void *ctx, int status, const void *rep);

struct rpc_conn_events {
	void (*up)(void *ctx, struct rpc_conn *conn);
	/* ERR says why (-ECONNREFUSED, -ETIMEDOUT, -EPROTONOSUPPORT for another version, -EKEYREJECTED for TLS, ...). The
	   connection is freed after return. */
	void (*down)(void *ctx, struct rpc_conn *conn, int err);
};

/* TLS: NULL gives plain TCP (tests only); borrowed. SELF is copied, its strings borrowed. SIGPIPE is ignored from here on
   unless the program has a handler. */
int rpc_new(uv_loop_t *loop, const struct rpc_self *self, struct tls_identity *tls, struct rpc **ret_rpc);
/* Closes everything (pending calls end with -ECANCELED, no `down` events); memory goes when the loop has run. */
void rpc_free(struct rpc *rpc);

/* HANDLER serves messages of this number (enum msg_type). A message without handler is answered with -ENOSYS. */
void rpc_handle(struct rpc *rpc, enum msg_type type, rpc_handler handler, void *ctx);
/* For accepted connections: told when one is up and when it is gone. EVENTS is copied. */
void rpc_on_accept(struct rpc *rpc, const struct rpc_conn_events *events, void *ctx);
/*
 * Asked about every peer whose certificate is good, at hello: 0, or why it must not come in (-EKEYREVOKED: the node was
 * removed). No gate: all may. rpc_check_gate() asks again about all that are in and drops those who must go.
 */
typedef int (*rpc_gate)(void *ctx, uint32_t node_id);
void rpc_set_gate(struct rpc *rpc, rpc_gate gate, void *ctx);
void rpc_check_gate(struct rpc *rpc);
/* HOST is a numeric address. PORT 0 picks one; ret_port (may be NULL) tells. 0 or -errno. */
int rpc_listen(struct rpc *rpc, const char *host, uint16_t port, uint16_t *ret_port);

/* Starts to connect; `up` or `down` follows, never before return. Gives up after TIMEOUT_MS. HOST is numeric, EVENTS is
   copied. */
int rpc_connect(struct rpc *rpc, const char *host, uint16_t port, uint32_t timeout_ms,
		const struct rpc_conn_events *events, void *ctx, struct rpc_conn **ret_conn);
/* Right after rpc_connect(): NODE_ID is to be there; if it is another one, `down` follows with -EHOSTUNREACH. Every node of the
   cluster has a good certificate, and addresses change hands. */
void rpc_conn_expect(struct rpc_conn *conn, uint32_t node_id);
/* Ends it: pending calls end with -ECANCELED, `down` is not called. NULL is fine. */
void rpc_conn_close(struct rpc_conn *conn);

const struct rpc_peer *rpc_conn_peer(const struct rpc_conn *conn);
bool rpc_conn_is_up(const struct rpc_conn *conn);
/* A pointer of the user's, for accepted connections too. */
void rpc_conn_set_data(struct rpc_conn *conn, void *data);
void *rpc_conn_data(const struct rpc_conn *conn);
/* Bytes queued and not yet taken by the kernel: for back-pressure. */
size_t rpc_conn_backlog(const struct rpc_conn *conn);

/*
 * Sends a request (struct msg_<name>_req; encoded before return, so everything in it may go). DONE is called exactly
 * once, never before return, unless a negative errno is returned (-ENOTCONN, -EMSGSIZE, -ENOBUFS, -ENOMEM).
 * TIMEOUT_MS 0: as long as the connection lives.
 */
int rpc_call(struct rpc_conn *conn, enum msg_type type, const void *req, uint32_t timeout_ms, rpc_done done, void *ctx);
/* Sends a ONEWAY row. */
int rpc_send(struct rpc_conn *conn, enum msg_type type, const void *msg);

/* Answers RQ and frees it. STATUS 0 with REP (NULL when the reply has no fields), or a negative errno. */
void rpc_reply(struct rpc_req *rq, int status, const void *rep);
struct rpc_conn *rpc_req_conn(const struct rpc_req *rq); /* NULL when it went away meanwhile */

#endif
