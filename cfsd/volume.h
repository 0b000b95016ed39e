/*
 * Inside the file service: one volume is this node's copy of one filesystem and all that goes on with it. Shared by
 * service.c (dispatch), request.c (one file operation), sync.c (fsync), token_io.c (tokens), repl_io.c (replication),
 * resync.c (making a copy). Loop thread only.
 */
#ifndef CFS_CFSD_VOLUME_H
#define CFS_CFSD_VOLUME_H

#include "cfsd/op.h"
#include "cfsd/repl.h"
#include "cfsd/service.h"
#include "cfsd/session.h"
#include "cfsd/token.h"

enum { VOLUME_PENDING_MAX = 64, REQUEST_GRANTS_MAX = 3 };

struct resync;
struct sync_job;
struct volume;

/* A member that follows us, by the connection it came on. */
struct follower {
	uint32_t node;
	struct rpc_conn *conn;
	struct rpc_req *attach; /* its repl_attach, until the core has decided */
	uint64_t acked;		/* lsn */
	uint64_t free;		/* bytes it could still take at `acked` */
};

/* A file operation under way. Owner: v->waiting or v->held, or the sync job. */
struct request {
	struct volume *v;
	struct rpc_req *rq;
	const struct msg_info *info;
	const void *msg; /* borrowed from rq */
	uint64_t session, seq;
	uint32_t slot;
	bool change;
	void *rep;
	void *record;		       /* the stored reply that rep borrows from, when it is a replay */
	struct wire_writer scratch;    /* what else rep borrows from */
	struct token_stamp stamps[REQUEST_GRANTS_MAX]; /* of the tokens in rep */
	int status;
	uint64_t lsn;		       /* the reply waits until this is committed */
	struct request *prev, *next;
};

struct volume {
	struct file_service *svc;
	uint32_t fs;
	char name[CONFIG_NAME_MAX];
	unsigned refs; /* the service's, and one for every job in a worker */
	bool closed;
	struct store *store;
	bool store_broken; /* store_apply() failed: nothing more can be applied before it is opened anew */
	bool distrust;	   /* writes were lost (power, a failed sync): data stamps prove nothing */
	bool sync_failed;  /* and yet served from, being the only one: nothing that is asked to be durable is */
	unsigned nr_workers; /* that use the store */
	bool recovering;     /* one of them has it for itself */
	bool freeing;	     /* one of them frees data of removed inodes */
	uint64_t freed_ms;   /* when that began last */
	struct repl_log *log;
	struct repl *repl;
	enum repl_role role; /* as last logged */
	uint64_t noted_epoch;
	char in_sync[128];

	/* events of the core raised while it runs actions */
	bool stepping;
	struct repl_event pending[VOLUME_PENDING_MAX];
	size_t nr_pending;

	/* server */
	bool serving;
	uint64_t epoch, first_epoch; /* of serving: now, and when it began without a break */
	uint64_t committed;
	uint64_t generation; /* counts beginnings: late answers to what an earlier one asked are ignored */
	struct sessions *sessions;
	struct tokens *tokens;
	struct txn txn; /* of the operation being executed */
	struct request *waiting, *held;
	size_t nr_requests;
	struct sync_job *syncs;
	uint64_t *reap; /* inodes that were let go */
	size_t nr_reap, cap_reap;
	bool orphans_due; /* leftovers of earlier servers are still to be reaped */
	uint64_t note_at_ms; /* when living sessions are noted again */
	struct follower followers[CONFIG_MEMBERS_MAX];
	size_t nr_followers;

	/* member */
	struct change_call *change; /* asked of the host, not answered */
	struct rpc_conn *source; /* to the server */
	uint32_t source_node, attach_flags;
	struct wire_logpos source_loss; /* of the server's store */
	bool ack_due;
	struct wire_logpos ack_pos;
	const struct msg_repl_record_req *record; /* the one being handled */
	struct rpc_conn *record_conn;
	struct resync *resync;

	struct volume *prev, *next;
};

struct file_service {
	struct file_service_conf conf;
	struct file_service_host host;
	struct config *config; /* NULL before the first */
	struct volume *volumes;
	uv_timer_t tick;
	uv_check_t after_poll;
	struct service_op *ops; /* contexts of the handlers */
	unsigned open_handles;
	bool stopping;
};

/* ---- service.c ---- */
struct volume *volume_find(struct file_service *svc, uint32_t fs);
void volume_unref(struct volume *v);
/* Closes and opens the store. -EBUSY while workers use it. */
int volume_reopen(struct volume *v);
/* Role, epoch, lease: may a request of this epoch be served now? */
bool volume_may_serve(struct volume *v, uint64_t epoch);
/* Asks for the lease again and tells the core, which from inside its actions takes effect after them. True: valid. */
bool volume_check_lease(struct volume *v);
/* When role or in-sync set have changed: a line, and what comes with the role. */
void volume_note_role(struct volume *v);
uint64_t volume_now_ms(const struct volume *v);

/* ---- serving: volume.c ---- */
int volume_start(struct volume *v, uint64_t epoch, bool fresh);
void volume_stop(struct volume *v);
void volume_committed(struct volume *v, uint64_t lsn);
/* Applies, logs, replicates v->txn as the next record; clears it. 0 or -EREMCHG: the copy broke, nothing is known. */
int volume_commit_txn(struct volume *v);
void volume_env(struct volume *v, struct wire_writer *scratch, struct op_env *ret_env);
/* Frees what nobody holds open any more. */
void volume_reap(struct volume *v);
/* What may still be written, here and on every member that a commit waits for. */
uint64_t volume_free_bytes(struct volume *v);
/* Add to v->txn: that a session lives now; that it and its reply records are gone. */
int volume_note_session(struct volume *v, uint64_t id);
int volume_forget_session(struct volume *v, uint64_t id);
/* Forgets sessions and tokens. */
void volume_forget(struct volume *v);

/* ---- request.c ---- */
void request_handle(struct file_service *svc, const struct msg_info *info, struct rpc_conn *conn, struct rpc_req *rq,
		    const void *msg);
/* One of another kind, for an answer that request_finish() keeps back as long as it must; r->record is freed with it. */
struct request *request_begin(struct volume *v, enum msg_type type, struct rpc_req *rq, const void *msg);
/* The tokens it waited for are free. */
void request_ready(struct request *r);
/* STATUS and r->rep go out when everything up to now is committed. */
void request_finish(struct request *r, int status);
/* Answers at once and frees. */
void request_reply(struct request *r, int status);
int session_open_handle(struct volume *v, struct rpc_conn *conn, struct rpc_req *rq, const struct msg_session_open_req *m);
int session_close_handle(struct volume *v, struct rpc_conn *conn, struct rpc_req *rq,
			 const struct msg_session_close_req *m);

/* ---- sync.c ---- */
/* Takes R over: replied when everything is durable on all. */
void sync_start(struct request *r, uint64_t ino);
/* Commits or the configuration moved on. */
void sync_check(struct volume *v);
void sync_stop(struct volume *v);
/* A copy that cannot be made durable is given up as soon as another one can serve. */
void sync_hand_over(struct volume *v);
/* Now and then: data of inodes whose removal can be made durable goes. */
void sync_free_removed(struct volume *v);
/* A member that joins makes what it has durable; SYNCED tells the core. */
void sync_member(struct volume *v, uint32_t node, uint64_t lsn);
/* A member is asked to make its copy durable. */
void sync_serve(struct volume *v, struct rpc_req *rq, const struct msg_repl_sync_req *m);
/* Runs store_sync(ino) and data sync in a worker, then DONE on the loop. 0 or -errno: DONE is not called. */
int sync_local(struct volume *v, uint64_t ino, bool all_data, void (*done)(void *ctx, int status), void *ctx);

/* ---- token_io.c ---- */
extern const struct token_events token_io_events;
/* Grants what the reply of a successful operation may bring along, and notes the stamps. */
void token_io_grant(struct request *r);
/* Takes out of the reply what does not hold any more (or never did: no_stamps). */
void token_io_check(struct request *r);

/* ---- repl_io.c ---- */
/* Tells the core, runs its actions. now_ms is filled in. */
void volume_step(struct volume *v, const struct repl_event *ev);
void repl_io_conn_down(struct volume *v, struct rpc_conn *conn);
void repl_io_attach(struct volume *v, struct rpc_conn *conn, struct rpc_req *rq, const struct msg_repl_attach_req *m);
void repl_io_ack(struct volume *v, struct rpc_conn *conn, const struct msg_repl_ack_req *m);
void repl_io_record(struct volume *v, struct rpc_conn *conn, const struct msg_repl_record_req *m);
void repl_io_send_ack(struct volume *v);
void repl_io_stop(struct volume *v);

/* ---- recover.c ---- */
/* Makes the store fit to be served from at EPOCH although writes were lost; RECOVERED tells the core. */
void recover_start(struct volume *v, uint64_t epoch);

/* ---- resync.c, copy_serve.c ---- */
/* Copies everything from the server at CONN; records after POS will be spooled. 0 or -errno. */
int resync_start(struct volume *v, struct rpc_conn *conn, uint64_t epoch, struct wire_logpos pos);
int resync_spool(struct volume *v, const struct msg_repl_record_req *m);
void resync_abort(struct volume *v);
void resync_serve_keys(struct volume *v, struct rpc_req *rq, const struct msg_copy_keys_req *m);
void resync_serve_data(struct volume *v, struct rpc_req *rq, const struct msg_copy_data_req *m);

#endif
