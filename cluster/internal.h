/* Shared by the files of the cluster thread only (cluster.c and those it drives). */
#ifndef CFS_CLUSTER_INTERNAL_H
#define CFS_CLUSTER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "cluster/cluster.h"
#include "cluster/raft_core.h"
#include "cluster/raft_store.h"
#include "cluster/state_dir.h"
#include "wire/rpc.h"
#include "wire/tls.h"

enum {
	CLUSTER_TICK_MS = 20,	     /* links, proposals, lost leases */
	CLUSTER_LEAD_TICK_MS = 40,   /* the leader's duties */
	CLUSTER_POLL_HOLD_MS = 2000, /* how long config_get waits for news */
	CLUSTER_PROPOSE_MS = 3000,   /* how long a proposal looks for a quorum */
	CLUSTER_LINKS_MAX = CONFIG_NODES_MAX,
};

/* A connection we keep to another node. */
struct link {
	struct cluster *cl;
	uint32_t node; /* 0: slot is free */
	struct rpc_conn *conn;
	bool up;
	uint64_t dial_ms; /* not before */
	uint32_t backoff_ms;
	uint64_t in_seq; /* the newest accepted connection that brought consensus messages (G13) */
};

/* STATUS 0 and the command's RESULT, or a negative errno: config_apply()'s, or -EHOSTUNREACH. */
typedef void (*propose_done)(void *ctx, int status, uint32_t result);

enum proposal_state { PROPOSAL_WAITS, PROPOSAL_IN_LOG, PROPOSAL_SENT, PROPOSAL_OVER };
struct proposal {
	struct proposal *prev, *next;
	struct cluster *cl;
	enum proposal_state state;
	uint64_t index, term; /* IN_LOG */
	uint64_t deadline_ms, retry_ms;
	bool local_only; /* asked for by another node: not forwarded again */
	int status;
	uint32_t result;
	propose_done done;
	void *ctx;
	size_t len;
	uint8_t command[];
};

struct held_send {
	struct held_send *next;
	uint32_t to;
	size_t len;
	void *data;
};

/* Someone waits for a newer configuration. */
struct poll {
	struct poll *prev, *next;
	struct rpc_req *rq;
	uint64_t known, until_ms;
};

struct cluster {
	atomic_int refs; /* the user, the thread, letters on their way to the user */
	struct node_identity id;
	struct cluster_times times;
	char *state_dir, *tls_dir;

	/* the user's thread */
	struct mailbox *user_mb;
	const struct cluster_events *events;
	void *ctx;
	bool stopped;

	/* any thread */
	struct {
		_Atomic uint32_t fs;
		_Atomic uint64_t epoch, until_ms;
	} lease[CONFIG_FS_MAX]; /* written by the cluster thread; until goes to 0 before epoch changes */
	pthread_mutex_t pos_lock;
	struct lease_position pos[CONFIG_FS_MAX];
	size_t nr_pos;

	/* the cluster thread */
	pthread_t thread;
	uv_sem_t started;
	int start_status;
	uv_loop_t loop;
	struct mailbox *mb;
	struct tls_identity *tls;
	struct rpc *rpc;
	uv_timer_t tick, raft_timer, heartbeat_timer;
	struct config *config;	/* the newest known */
	struct config *applied; /* the state machine of the log */

	struct raft_store *store;
	struct raft_core *core;
	unsigned raft_depth;	   /* inside a step of the core */
	unsigned hold_completions; /* the list of proposals is being walked */
	unsigned nr_unsynced_votes;	   /* hard states on their way to the disk */
	struct held_send *held, **held_tail; /* wait for those */
	uint64_t disk_first, disk_last;	   /* entries in the store */
	struct proposal *proposals;

	struct link links[CLUSTER_LINKS_MAX];
	uint64_t next_seq; /* of accepted connections */

	struct worker *worker;
	bool has_ca_key;	/* in the state directory */
	uint8_t ca_sha256[32];
	bool told_removed;	/* that this node was removed: others have said so */

	struct lease_leader lease_leader;
	struct lease_node lease_node;
	uint32_t leader; /* as heard in answers; voters know better (cluster_leader) */
	uint32_t ask_next;
	uint64_t leader_heard_ms;
	uint64_t lead_tick_ms, ca_key_ms;

	struct poll *polls;
	bool polling;
	uint64_t poll_ms; /* ask again not before */

	bool leaving, goodbye_said, transferring;
	uint64_t leave_until_ms;
};

/* ---- cluster.c ---- */
uint64_t cluster_now_ms(void);
struct cluster *cluster_ref(struct cluster *cl);
void cluster_unref(struct cluster *cl);
/* 0 when unknown. */
uint32_t cluster_leader(const struct cluster *cl);

/* ---- raft_io.c ---- */
int raft_io_open(struct cluster *cl);
int raft_io_start(struct cluster *cl);
void raft_io_stop(struct cluster *cl);
/* INDEX and TERM of the entry; -EREMCHG, -EAGAIN. */
int raft_io_submit(struct cluster *cl, const void *cmd, size_t len, uint64_t *ret_index, uint64_t *ret_term);
void raft_io_members(struct cluster *cl, const uint32_t *ids, size_t nr);
int raft_io_transfer(struct cluster *cl);
void raft_io_serve(struct cluster *cl);

/* ---- propose.c ---- */
void propose(struct cluster *cl, const void *cmd, size_t len, propose_done done, void *ctx);
void propose_cmd(struct cluster *cl, enum config_cmd type, const void *cmd, propose_done done, void *ctx);
/* Entry INDEX, TERM was applied with RESULT. */
void propose_applied(struct cluster *cl, uint64_t index, uint64_t term, int result);
/* What is in our log may or may not come to pass. */
void propose_lost(struct cluster *cl);
/* Calls back those that are over; not inside a step of the core. */
void propose_complete(struct cluster *cl);
void propose_tick(struct cluster *cl, uint64_t now);
void propose_stop(struct cluster *cl);
void propose_serve(struct cluster *cl);

/* ---- links.c ---- */
struct link *link_of(struct cluster *cl, uint32_t node);
/* The connection to NODE, NULL when it is not up. */
struct rpc_conn *link_conn(struct cluster *cl, uint32_t node);
/* The leader's, or when it is unknown one after the other of those that are up. */
struct rpc_conn *link_to_ask(struct cluster *cl);
void links_tick(struct cluster *cl, uint64_t now);
void links_stop(struct cluster *cl);
extern const struct rpc_conn_events links_accept_events;

/* ---- heartbeat.c ---- */
void heartbeat_start(struct cluster *cl);
void heartbeat_lead(struct cluster *cl, bool leads);
void heartbeat_tick(struct cluster *cl, uint64_t now);
/* The leases, as any thread may ask for them. */
void heartbeat_publish(struct cluster *cl);
/* Sends one now; LEAVING says goodbye. */
void heartbeat_send(struct cluster *cl);
void heartbeat_serve(struct cluster *cl);

/* ---- config_io.c ---- */
/* Takes C when it is newer: tells everybody who waits. */
void config_adopt(struct cluster *cl, const struct config *c);
/* Posts the newest to the user. */
void config_tell(struct cluster *cl);
void config_adopt_bytes(struct cluster *cl, const struct wire_blob *b);
void config_poll_tick(struct cluster *cl, uint64_t now);
void config_fetch(struct cluster *cl); /* from the leader, at once */
void config_io_stop(struct cluster *cl);
void config_serve(struct cluster *cl);

/* ---- join.c ---- */
int join_load(struct cluster *cl); /* before the thread runs */
void join_serve(struct cluster *cl);
void join_tick(struct cluster *cl, uint64_t now); /* a voter gets itself the CA's key */

#endif
