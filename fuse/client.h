/*
 * The mount's way to the cluster: its rpc endpoint, the configuration it follows, its session with the server of one
 * filesystem, and connections to nodes for others who need them (subtree_host of fuse/subtree.h).
 *
 * Runs on one loop's thread. The decisions are in client_core.[ch], confwatch.[ch] follows the configuration.
 */
#ifndef CFS_FUSE_CLIENT_H
#define CFS_FUSE_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "cluster/config.h"
#include "fuse/client_core.h"
#include "wire/rpc.h"

struct client;

/*
 * One file operation under way; embedded by its owner, who fills type, req and done. REQ points to the message struct
 * with its ophdr in front, which the client fills in; it and all it borrows stay until DONE. DONE gets the server's
 * answer (REP borrowed until it returns), or -EINTR (client_interrupt), or -EIO (soft mount); nothing else.
 */
struct client_op {
	struct core_op core; /* core.change set by the owner */
	enum msg_type type;
	void *req;
	void (*done)(struct client_op *op, int status, const void *rep);
	struct client *client; /* set by client_submit() */
};

struct client_conf {
	uv_loop_t *loop;
	const struct rpc_self *self;
	struct tls_identity *tls; /* NULL: plain TCP (tests) */
	const char *mount_name;	  /* tells the server's administrator who this is */
	uint32_t fs;
	uint64_t soft_ms; /* 0: hard */
};

struct client_events {
	/* The session is open, for the first time or again; nothing granted earlier holds. */
	void (*opened)(void *ctx, const struct msg_session_open_rep *rep);
	/* It is lost: drop what is cached. Operations wait. */
	void (*lost)(void *ctx);
	/* Appends the inodes held open, as session_open wants them (packed le64). */
	void (*opens)(void *ctx, struct wire_writer *w);
	/* The server takes tokens back: drop, then rpc_reply(RQ). */
	void (*revoke)(void *ctx, uint64_t ino, uint32_t tokens, struct rpc_req *rq);
};

/* CONFIG: the last one known, to start from. 0 or -errno. */
int client_new(const struct client_conf *conf, const struct config *config, const struct client_events *events,
	       void *ctx, struct client **ret_client);
/* Ends the session at the server, at most for a second, then calls DONE. Operations still waiting are left. */
void client_shutdown(struct client *cl, void (*done)(void *ctx), void *ctx);
/* Memory goes when the loop has run. */
void client_free(struct client *cl);

void client_submit(struct client *cl, struct client_op *op);
/* Ends OP with -EINTR if nothing of it was ever sent; else does nothing. */
void client_interrupt(struct client *cl, struct client_op *op);
/* May what is cached under tokens be used now? */
bool client_is_fresh(struct client *cl);

/* The newest configuration known; borrowed until the loop runs on. */
const struct config *client_config(struct client *cl);
/* Why nothing is reached yet, for a message: who serves, and the nodes asked with their addresses. */
void client_describe(struct client *cl, char *buf, size_t len);

typedef void (*client_conn_done)(void *ctx, int status, struct rpc_conn *conn);
/* A shared connection to the node's file and process port, see subtree_host.node_conn in fuse/subtree.h. */
void client_node_conn(struct client *cl, uint32_t node_id, client_conn_done done, void *ctx);

#endif
