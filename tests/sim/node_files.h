/* Inside of the simulated file service: what node_files.c and node_repl.c share. New at every start of the node. */
#ifndef CFS_TESTS_SIM_NODE_FILES_H
#define CFS_TESTS_SIM_NODE_FILES_H

#include "cfsd/op.h"
#include "cfsd/repl_log.h"
#include "cfsd/session.h"
#include "tests/sim/check.h"
#include "tests/sim/node.h"

/* A record with bytes of its own. */
struct spooled {
	struct record rec;
	struct spooled *prev, *next;
};

/* A reply that waits until LSN is committed. */
struct held {
	uint64_t lsn;
	struct net_request *rq;
	int status;
	struct wire_writer rep; /* encoded reply, when status is 0 */
	uint64_t session;
	uint32_t slot;
	uint64_t seq;
	struct held *prev, *next;
};

/* Copying everything from the server, page after page. */
struct copying {
	bool on, keys_done;
	uint64_t number; /* of the attempt: answers to an earlier one are stale */
	uint32_t from;
	uint64_t epoch;
	struct wire_logpos pos;
	struct batch after; /* last key seen */
	uint64_t *inos; /* whose data is to be fetched */
	size_t nr_inos, next_ino;
	uint64_t off;
	struct spooled *spool;
};

struct node_files {
	struct repl *repl;
	struct repl_log *log;
	struct net_conn *source;	       /* dialled by us to the server */
	uint32_t source_node;
	bool source_up;
	uint64_t attach_epoch;
	struct wire_logpos attach_pos;
	uint32_t attach_flags;
	uint64_t change_epoch; /* of the change proposed last */
	struct net_conn *follower[SIM_NODES + 1]; /* accepted: on which they attached */
	struct net_request *attach_rq[SIM_NODES + 1];
	struct copying copy;
	bool stepping; /* inside repl_step's actions: further events queue */
	struct queued_event {
		struct repl_event ev;
		struct queued_event *prev, *next;
	} *events;
	const struct record *incoming; /* the record of the event being acted on */
	/* serving */
	bool serving;
	uint64_t epoch, committed;
	struct sessions *sessions;
	struct held *held;
	struct sync_job *syncs;
	uint64_t nr_syncs, recover_epoch;
};

uint64_t files_lsn(const struct sim_node *n);
/* Queues or runs an event with its actions. */
void files_repl(struct sim_node *n, struct repl_event *ev);
/* Applies a change made here: store, log, then MADE. */
int files_made(struct sim_node *n, const struct record *rec);
/* node_files.c, called by the actions */
void files_serve(struct sim_node *n, uint64_t epoch, bool fresh);
void files_stop_serving(struct sim_node *n);
void files_commit(struct sim_node *n, uint64_t lsn);
/* node_sync.c */
/* Takes RQ over. */
void files_sync_start(struct sim_node *n, struct net_request *rq, uint64_t ino);
void files_sync_check(struct sim_node *n);
void files_sync_stop(struct sim_node *n);
void files_sync_drop(struct sim_node *n);
void files_sync_member(struct sim_node *n, uint32_t member, uint64_t lsn);
void files_sync_serve(struct sim_node *n, struct net_request *rq);
void files_recover(struct sim_node *n, uint64_t epoch);
/* node_repl.c */
bool files_repl_request(struct sim_node *n, struct net_request *rq);
void files_copy_abort(struct sim_node *n);

#endif
