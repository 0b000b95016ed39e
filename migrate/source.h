/* A move away from this node: what source.c, source_io.c and source_send.c share. */
#ifndef CFS_MIGRATE_SOURCE_H
#define CFS_MIGRATE_SOURCE_H

#include "migrate/criu.h"
#include "migrate/images.h"
#include "migrate/internal.h"
#include "migrate/plan.h"
#include "migrate/record.h"

struct source {
	struct service *svc;
	enum source_state state;
	uint32_t todo; /* actions not yet carried out */
	bool acting;
	unsigned pending; /* callbacks that will still come: not freed before */
	struct source_params p;
	struct tree tree;
	struct record rec;
	char job[JOB_ID_MAX];
	uint32_t home, moves;
	bool whole; /* the tree is all of a guest, its cfs-job goes along */
	bool left;  /* cfs-job was told JOB_LEAVE */
	bool restarted;
	source_done done;
	void *done_ctx;
	int error;
	char reason[REASON_MAX];

	struct criu *criu; /* NULL: none, or over */
	bool criu_waits;   /* at post-dump */
	bool held;	   /* the cgroup is frozen by ACT_HOLD */
	char images_path[256];
	struct images images;
	uv_timer_t look; /* for pages that came */
	bool looking;
	void *piece;	 /* the one that is being sent */
	unsigned pieces; /* under way */
	struct plan_conf conf;	  /* for the second look, when all stands still */
	struct reasons reasons;	  /* what that one found */
	struct job_packet *leave; /* cfs-job's answer to JOB_LEAVE; NULL: none */
	uint8_t *pids;		  /* packed for move_restore */
	uint32_t pids_len;
	/* uv_hrtime(): CRIU began to stop it, the images were complete, all were sent, the target voted */
	uint64_t frozen_at, dumped_at, sent_at, voted_at, bytes;
	bool telling, asked_vote;
	uv_process_t criu_process; /* of an ordinary process's dump; a guest's is a child of its cfs-job */
	uv_work_t sync_work;
	struct source *next;
};

void source_feed(struct source *s, enum source_event event);
/* Remembers why, the first time. */
void source_fail(struct source *s, int error, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* A callback that was counted in pending has come: call last in it. */
void source_unpend(struct source *s);

/* The tree is stopped: takes down who goes, and under which cluster pids. 0 or -errno. */
int source_final_tree(struct source *s);
/* CRIU has ended: put everything back, or tidy up, as the state says. May free S. */
void source_criu_over(struct source *s, int status, const char *reason);

/* Actions: begin and dump (source_io.c), send (source_send.c); the rest is in source.c. */
void source_begin(struct source *s);
void source_dump(struct source *s);
void source_send(struct source *s);

/* The directory of the images is there: begins to send what comes into it. 0 or -errno. */
int source_send_open(struct source *s);
/* Nothing more will be sent. */
void source_send_stop(struct source *s);

#endif
