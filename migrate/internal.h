/*
 * What the files of cfs-migrated share: one service per node, its peers, the jobs that live here (guests), the moves
 * away from here (sources) and to here (targets). One thread, one loop.
 */
#ifndef CFS_MIGRATE_INTERNAL_H
#define CFS_MIGRATE_INTERNAL_H

#include <stdbool.h>
#include <uv.h>

#include "cluster/config.h"
#include "cluster/jobs.h"
#include "migrate/jobctl.h"
#include "migrate/move.h"
#include "migrate/service.h"
#include "migrate/tree.h"
#include "wire/rpc.h"

#define REASON_MAX 1024

struct hold;
struct peer;
struct source;
struct target;

/* ---- guests: jobs that run here in a pid namespace of their own (guest.c) ---- */

struct guest {
	struct service *svc;
	struct job job;	 /* as in the registry; job.root is the cfs-job */
	uint32_t cpid;	 /* of the root process */
	pid_t root;	 /* the root process, in the job's namespace; 0: none yet */
	bool waited;	 /* a cfs run wants its exit status */
	bool running;	 /* resumed: may be seen and moved */
	bool moving;	 /* a source is at work on it */
	bool leaving;	 /* found so after a restart: its cfs-job waits for the outcome of a move */
	uint32_t went_to; /* node it left to; 0: it is here */
	bool served;	  /* after it left: all its output was read */
	char sock[256];
	struct jobctl *jc; /* NULL when it is gone */
	struct target *target; /* while it is being received */
	uint64_t last_move;    /* that brought it here */
	struct guest *next;
};

/* Starts a cfs-job for job ID (HOME: where the job was started; MOVES so far). The guest is in svc->guests. 0 or -errno. */
int guest_spawn(struct service *svc, const char *id, uint32_t home, uint32_t moves, struct guest **ret_guest);
/* Kills everything in it; the guest goes away later. */
void guest_kill(struct guest *g);
/* The guest of that name that lives here (or is being received). */
struct guest *guest_by_id(struct service *svc, const char *id);
/* The one to read output from: first what a job that has left still owes, then the one that lives here. */
struct guest *guest_to_read(struct service *svc, const char *id);
struct guest *guest_by_pidns(struct service *svc, uint64_t pidns);
/* The process of a guest that has this cluster pid: its pid on this node; 0: none. */
pid_t guest_find_cpid(struct service *svc, uint32_t cpid, struct guest **ret_guest);
/* Writes the registry's file. */
int guest_publish(struct guest *g);
/* Sets the map of cluster pids from packed le32 pairs (move_restore.pids). 0, -EBADMSG, -ENOMEM. */
int guest_set_pids(struct guest *g, const struct wire_blob *packed);
/* What cfs-job shall remember for the next cfs-migrated. MOVE: that brings it here; 0: it was started here. */
void guest_keep(struct guest *g, uint64_t move, uint32_t source, jobctl_done done, void *ctx);
/* Takes up the jobs that an earlier cfs-migrated left. */
void guests_adopt(struct service *svc);
/* A job ended or moved: tells its home (node 0: ended, and everybody is told). */
void guest_announce(struct service *svc, const char *id, uint32_t home, uint32_t node, const uint32_t *cpids, size_t nr);

/* ---- numbers of processes that went elsewhere (holds.c) ---- */

/* Keeps those that are in use, lets the others go. */
void holds_update(struct service *svc);

/* ---- peers (peer.c) ---- */

/* A connection to NODE, or a negative errno and NULL: -ENOENT not in the configuration, -EHOSTDOWN, ... */
typedef void (*peer_ready)(void *ctx, int status, struct rpc_conn *conn);
/* READY is called once, perhaps before return. */
void peer_connect(struct service *svc, uint32_t node, peer_ready ready, void *ctx);
void peers_free(struct service *svc);

/* ---- source (source.c) ---- */

/* The end of a move: error 0, or a negative errno and a sentence. */
typedef void (*source_done)(void *ctx, int error, const char *reason);

struct source_params {
	pid_t root;	      /* on this node */
	struct guest *guest;  /* whose process it is; NULL: an ordinary one */
	uint32_t cpid;
	uint32_t target;
};

/* DONE is called once, perhaps before return. */
void source_start(struct service *svc, const struct source_params *params, source_done done, void *ctx);
/* Why the tree of ROOT cannot move; text malloc'ed, NULL: it can. 0 or -errno. */
int source_plan(struct service *svc, const struct source_params *params, struct tree *ret_tree, char **ret_text);
enum move_verdict source_query(struct service *svc, uint64_t move);
void source_peer_lost(struct service *svc, uint32_t node);
void sources_tick(struct service *svc);
/* Takes up the moves that an earlier cfs-migrated left; when all its guests are known. */
void sources_restart(struct service *svc);

/* ---- target (target.c) ---- */

void target_handlers(struct service *svc);
void target_peer_lost(struct service *svc, uint32_t node);
void targets_tick(struct service *svc);
/* A guest's cfs-job ended while it was being received. */
void target_guest_down(struct target *t);
/* One of them has its images in PATH. */
bool target_uses(struct service *svc, const char *path);
/* A guest that an earlier cfs-migrated was receiving. CRIU_SOCK is taken over, -1: none. */
void target_adopt(struct guest *g, uint64_t move, uint32_t source, int criu_sock);

/* ---- cfs run (run.c) ---- */

void run_handlers(struct service *svc);

/* ---- the service (service.c) ---- */

struct service {
	uv_loop_t *loop;
	struct rpc *rpc;
	struct service_conf conf;
	char images_dir[128], jobs_dir[128]; /* below the run directory: sun_path is short */
	struct config config;
	bool have_config;
	struct jobs *registry;
	struct peer *peers;
	struct guest *guests;
	struct source *sources;
	struct target *targets;
	struct hold *holds;
	uv_timer_t tick;
	size_t adopting; /* cfs-jobs that have not said yet what they are */
};

const struct config_node *service_node(struct service *svc, uint32_t id);
/* The name of a node for messages to users. */
const char *service_node_name(struct service *svc, uint32_t id);
uint64_t service_random(void);

#endif
