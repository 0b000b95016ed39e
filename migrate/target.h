/* A move to this node: what target.c and target_msg.c share. */
#ifndef CFS_MIGRATE_TARGET_H
#define CFS_MIGRATE_TARGET_H

#include "migrate/criu.h"
#include "migrate/images.h"
#include "migrate/internal.h"

struct target {
	struct service *svc;
	enum target_state state;
	uint32_t todo;
	bool acting, asking;
	unsigned pending;
	uint64_t move;
	uint32_t source;
	uint32_t home, moves, cpid;
	bool waited;
	struct guest *guest; /* NULL: gone */
	char id[JOB_ID_MAX];
	char images_path[256];
	struct criu *criu;
	bool criu_waits; /* at pre-resume */
	struct rpc_req *begin_rq, *restore_rq, *decide_rq;
	pid_t root;
	struct job_packet *pipes; /* the request, then the answer: numbers of the job's ends */
	char keys[3][32];	  /* what they replace */
	char reason[REASON_MAX];
	struct target *next;
};

struct target *target_new(struct service *svc, uint64_t move, uint32_t source, const char *id);
/* Feeds an event. Whoever calls it holds a count in pending. */
void target_feed(struct target *t, enum target_event event);
/* A callback that was counted in pending has come: call last in it. */
void target_unpend(struct target *t);
/* Answers *RQ, a request of TYPE, if there is one, and clears it. */
void target_reply(struct rpc_req **rq, enum msg_type type, int error, const char *reason);

#endif
