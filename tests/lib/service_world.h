/*
 * Three file services in one process, over loopback and on disk stores, with a cluster that the test plays: it holds the
 * configuration, gives leases, and decides who is promoted.
 */
#ifndef CFS_TESTS_SERVICE_WORLD_H
#define CFS_TESTS_SERVICE_WORLD_H

#include <criterion/criterion.h>

#include "cfsd/local.h"
#include "cfsd/service.h"
#include "common/bytes.h"
#include "wire/fileop.h"

enum { NODES = 3, FS = 1, CLUSTER = 42 };

struct world;

struct node {
	struct world *w;
	uint32_t id;
	char dir[64], name[8];
	struct rpc *rpc;
	struct file_service *svc;
	uint16_t port;
	bool leased;
	uint64_t capacity; /* 0: the store is on disk */
	struct store *store; /* as last opened; the service's */
	struct data_ops bad_disk;
	const struct data_ops *good_disk;
	struct wire_logpos pos;
	struct lease_position said;
};

struct change {
	struct node *node;
	void (*done)(void *ctx, int status);
	void *ctx;
	uint64_t expected;
	uint32_t server, in_sync[CONFIG_MEMBERS_MAX];
	size_t n;
};

struct world {
	uv_loop_t loop;
	uv_timer_t timer;
	struct config config;
	struct node nodes[NODES + 1]; /* by id */
	struct change changes[16];
	size_t nr_changes;
	struct rpc *client;
	struct client *clients[4];
	size_t nr_clients;
	char dir[32];
	bool hold_changes;
};

#define UNTIL(w, what)                                                       \
	do {                                                                 \
		uint64_t end_ = uv_now(&(w)->loop) + 10000;                  \
		while (!(what) && uv_now(&(w)->loop) < end_)                 \
			turn(w);                                             \
		cr_assert(what, "waited for: %s", #what);                    \
	} while (0)

struct client {
	struct world *w;
	struct rpc_conn *conn;
	bool up;
	uint64_t session, epoch;
	struct wire_logpos loss;
	uint64_t seq[64];
	int revokes;
	bool ignore_revokes;
	struct rpc_req *ignored;
};

struct call {
	bool done;
	int status;
	size_t size;
	void *rep;
};

void set_in_sync(struct world *w, const uint32_t *in_sync, size_t n, uint32_t server);
void turn(struct world *w);
void node_up(struct world *w, uint32_t id);
/* As far as the others can tell, it is dead at once. */
void node_down(struct world *w, uint32_t id);
struct world *world_new(size_t nr_members, size_t nr_in_sync);
void world_free(struct world *w);
size_t nr_in_sync(const struct world *w);
/* Node 1 serves, the others have come into sync. */
struct world *world_of(size_t n);
/* The server dies: the standby with the longest log takes over. */
void fail_over(struct world *w);
void call_done(void *ctx, int status, const void *rep);
int call(struct client *c, enum msg_type type, const void *req, void *rep, size_t size);
void client_connect(struct client *c);
/* To the server of the moment, until it lets us in. */
void client_open(struct client *c, const uint64_t *opens, size_t n);
struct wire_ophdr hdr(struct client *c, uint32_t slot, uint64_t seq);
struct client *client_new(struct world *w, uint64_t session);
int create_at(struct client *c, uint64_t seq, const char *name, uint64_t *ret_ino);
int append_at(struct client *c, uint64_t seq, uint64_t ino, const char *text, uint64_t *ret_off);
uint64_t next(struct client *c);
int lookup(struct client *c, const char *name, struct msg_lookup_rep *ret_rep);
const char *content(struct client *c, uint64_t ino);
int unlink_name(struct client *c, const char *name);
int release(struct client *c, uint64_t ino);
int fsync_ino(struct client *c, uint64_t ino);
int getattr(struct client *c, uint64_t ino, struct msg_getattr_rep *ret_rep);
void stat_fs(struct client *c, struct msg_fs_stat_rep *ret_rep);

#endif
