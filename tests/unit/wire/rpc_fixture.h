/*
 * Two or more rpc in one loop, over loopback: certificates in a directory of the test's, recorded events, and a loop
 * that runs until something is true or five seconds are over.
 */
#ifndef TESTS_UNIT_WIRE_RPC_FIXTURE_H
#define TESTS_UNIT_WIRE_RPC_FIXTURE_H

#include <stdbool.h>
#include <uv.h>

#include "wire/rpc.h"
#include "wire/tls.h"

/* What a side was told. */
struct events_seen {
	struct rpc_conn *conn; /* last one that came up */
	unsigned nr_up, nr_down;
	int err; /* of the last `down` */
};

struct result {
	unsigned nr_done;
	int status;
	uint64_t stamp;
};

struct side {
	struct rpc *rpc;
	struct rpc_self self;
	struct tls_identity *tls;
	struct events_seen seen;
};

struct net {
	uv_loop_t loop;
	char dir[64];
	struct side server, client;
	uint16_t port;
	bool timed_out;
};

enum { NET_CLUSTER = 0xc1057e };

/* A server that listens and a client that does not connect yet. TLS: with certificates of one CA. */
void net_init(struct net *net, bool tls);
/* Frees what is left and checks that the loop has nothing any more. */
void net_release(struct net *net);

/* DIR/<name> gets a CA and a node certificate for NODE_ID. */
void make_node(const char *dir, const char *name, const char *ca_name, uint32_t node_id);
struct tls_identity *load_node(const char *dir, const char *name);

extern const struct rpc_conn_events recorder;
void record_done(void *ctx, int status, const void *rep); /* a struct result; of ping */

/* Runs the loop until *COUNTER >= VALUE; false after five seconds. */
bool run_until(struct net *net, const unsigned *counter, unsigned value);
void run_for(struct net *net, uint64_t ms);
/* Dials and waits for up or down. NULL when it went down. */
struct rpc_conn *dial(struct net *net);

#endif
