/*
 * fsync: everything an operation has seen is made durable here, in a worker, and on every member that a commit waits
 * for. A member that cannot is let go (its connection is closed; the core then drops it from the in-sync set), so the
 * answer is always about the members that count.
 *
 * A copy that could not be made durable once is none any more: the kernel tells once of pages that it could not write and
 * takes them for clean then, so no later sync would know. It is given up, and all of it copied anew. A server hands over,
 * and the client's fsync is asked again there. The last copy goes on, but says of nothing any more that it is durable.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "cfsd/local.h"
#include "cfsd/system.h"
#include "cfsd/volume.h"
#include "common/log.h"

enum asked { ASKED_NOT, ASKED, ASKED_DONE };

struct sync_job {
	struct volume *v;
	struct request *r; /* NULL: answered */
	uint64_t ino;
	unsigned refs; /* the list's, the worker's, one for every member asked */
	bool local_done;
	struct {
		uint32_t node;
		enum asked state;
	} members[CONFIG_MEMBERS_MAX];
	size_t nr_members;
	struct sync_job *prev, *next;
};

struct sync_call {
	struct sync_job *job;
	uint32_t node;
};

/* ---- the worker ---- */

struct sync_work {
	uv_work_t work;
	struct volume *v;
	int (*run)(struct store *s, uint64_t ino);
	uint64_t ino;
	int status;
	void (*done)(void *ctx, int status);
	void *ctx;
};

static void work_run(uv_work_t *work)
{
	struct sync_work *w = work->data;

	w->status = w->run(w->v->store, w->ino);
}

static void work_end(uv_work_t *work, int cancelled)
{
	struct sync_work *w = work->data;

	w->v->nr_workers--;
	w->done(w->ctx, cancelled ? -ECANCELED : w->status);
	volume_unref(w->v);
	free(w);
}

static int start_work(struct volume *v, int (*run)(struct store *s, uint64_t ino), uint64_t ino,
		      void (*done)(void *ctx, int status), void *ctx)
{
	struct sync_work *w = malloc(sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	*w = (struct sync_work){ .v = v, .run = run, .ino = ino, .done = done, .ctx = ctx };
	w->work.data = w;
	r = uv_queue_work(v->svc->conf.loop, &w->work, work_run, work_end);
	if (r < 0) {
		free(w);
		return r;
	}
	v->refs++;
	v->nr_workers++;
	return 0;
}

/* Data that was written below the store, too. */
static int sync_everything(struct store *s, uint64_t ino)
{
	int r = store_data(s)->ops->sync(store_data(s), 0);

	return r < 0 ? r : store_sync(s, ino);
}

int sync_local(struct volume *v, uint64_t ino, bool all_data, void (*done)(void *ctx, int status), void *ctx)
{
	return start_work(v, all_data ? sync_everything : store_sync, ino, done, ctx);
}

/* ---- the server's side ---- */

static void job_unref(struct sync_job *job)
{
	if (--job->refs == 0)
		free(job);
}

static void job_end(struct sync_job *job, int status)
{
	struct request *r = job->r;

	if (!r)
		return;
	job->r = NULL;
	DL_DELETE(job->v->syncs, job);
	request_reply(r, status);
	job_unref(job);
}

static enum asked *member_state(struct sync_job *job, uint32_t node)
{
	for (size_t i = 0; i < job->nr_members; i++)
		if (job->members[i].node == node)
			return &job->members[i].state;
	assert(job->nr_members < CONFIG_MEMBERS_MAX);
	job->members[job->nr_members].node = node;
	job->members[job->nr_members].state = ASKED_NOT;
	return &job->members[job->nr_members++].state;
}

static void let_member_go(struct volume *v, uint32_t node)
{
	for (size_t i = 0; i < v->nr_followers; i++) {
		struct rpc_conn *conn = v->followers[i].conn;

		if (v->followers[i].node != node || !conn)
			continue;
		repl_io_conn_down(v, conn);
		rpc_conn_close(conn);
	}
}

static void member_done(void *ctx, int status, const void *rep)
{
	struct sync_call *call = ctx;
	struct sync_job *job = call->job;

	(void)rep;
	if (job->r) {
		/* Asked anew if it is back by the time somebody looks, and counted until it is dropped. */
		*member_state(job, call->node) = status < 0 ? ASKED_NOT : ASKED_DONE;
		if (status < 0 && status != -ECONNRESET && status != -ECANCELED) {
			log_warn("fs", "%s: node %u cannot make its copy durable: %s", job->v->name, call->node,
				 strerror(-status));
			let_member_go(job->v, call->node);
		}
		if (job->r)
			sync_check(job->v);
	}
	job_unref(job);
	free(call);
}

/* Longer than any disk should take; one that takes longer is let go. */
enum { MEMBER_SYNC_MS = 20000 };

static void ask_member(struct sync_job *job, const struct follower *f, enum asked *state)
{
	struct msg_repl_sync_req req = {
		.fs = job->v->fs, .epoch = job->v->epoch, .ino = job->ino, .lsn = job->r->lsn
	};
	struct sync_call *call = malloc(sizeof(*call));

	if (!call)
		return;
	*call = (struct sync_call){ job, f->node };
	if (rpc_call(f->conn, MSG_repl_sync, &req, MEMBER_SYNC_MS, member_done, call) < 0) {
		free(call);
		return;
	}
	*state = ASKED;
	job->refs++;
}

/* Has every member that counts done it? Asks those that were not asked yet. */
static bool members_done(struct sync_job *job)
{
	struct volume *v = job->v;
	const struct config_fs *fs = repl_config(v->repl);
	bool all = true;

	for (size_t i = 0; i < fs->nr_members; i++) {
		enum asked *state;

		if (!repl_waits_for(v->repl, fs->members[i]))
			continue;
		state = member_state(job, fs->members[i]);
		if (*state == ASKED_NOT)
			for (size_t k = 0; k < v->nr_followers; k++)
				if (v->followers[k].node == fs->members[i] && v->followers[k].conn)
					ask_member(job, &v->followers[k], state);
		all &= *state == ASKED_DONE;
	}
	return all;
}

void sync_check(struct volume *v)
{
	struct sync_job *job, *next;

	DL_FOREACH_SAFE(v->syncs, job, next)
		if (members_done(job) && job->local_done && job->r->lsn <= v->committed)
			job_end(job, 0);
}

/* Did writes get lost (and not only the time to wait for them)? */
static bool is_loss(int status)
{
	return status == -EIO || status == -ENOSPC || status == -EDQUOT;
}

static void give_up(struct volume *v)
{
	v->store_broken = true;
	volume_step(v, &(struct repl_event){ .type = REPL_EV_BROKEN });
}

void sync_hand_over(struct volume *v)
{
	if (!v->sync_failed || v->store_broken || !repl_can_hand_over(v->repl))
		return;
	log_warn("fs", "%s: another member serves from here on", v->name);
	give_up(v);
}

/* For clients that come back, and for the copies to come: what was not synced by now may be gone. */
static void note_loss(struct volume *v)
{
	struct wire_logpos pos = { .epoch = v->epoch, .lsn = store_position(v->store).lsn + 1 };

	txn_clear(&v->txn);
	if (v->serving && system_put_loss(&v->txn.meta, pos) == 0)
		volume_commit_txn(v);
	txn_clear(&v->txn);
}

static void lost_writes(struct volume *v, int status)
{
	if (v->sync_failed || v->store_broken || v->closed)
		return;
	log_error("fs", "%s: this copy cannot be made durable: %s", v->name, strerror(-status));
	v->distrust = true;
	v->sync_failed = true;
	if (local_note_lost(v->store) < 0)
		log_error("fs", "%s: nor can that be noted: do not restart this node before another has a copy", v->name);
	if (repl_role(v->repl) != REPL_SERVER) {
		give_up(v);
		return;
	}
	sync_hand_over(v);
	if (!v->store_broken) {
		log_error("fs", "%s: it is the last one: nothing is durable until another member has a copy", v->name);
		note_loss(v);
	}
}

static void local_done(void *ctx, int status)
{
	struct sync_job *job = ctx;
	struct volume *v = job->v;

	/* Handing over answers the request: ask there. */
	if (is_loss(status))
		lost_writes(v, status);
	/* Another sync may have been told of what this one was to write. */
	if (!status && v->sync_failed)
		status = -EIO;
	job->local_done = !status;
	if (job->r && status < 0)
		job_end(job, status == -ENOSPC ? -ENOSPC : -EIO);
	else if (job->r)
		sync_check(v);
	job_unref(job);
}

void sync_start(struct request *r, uint64_t ino)
{
	struct sync_job *job = r->v->sync_failed ? NULL : calloc(1, sizeof(*job));
	int s = job ? 0 : r->v->sync_failed ? -EIO : -ENOMEM;

	r->lsn = store_position(r->v->store).lsn;
	if (!s) {
		*job = (struct sync_job){ .v = r->v, .r = r, .ino = ino, .refs = 2 };
		s = sync_local(r->v, ino, false, local_done, job);
	}
	if (s < 0) {
		free(job);
		request_reply(r, s);
		return;
	}
	DL_APPEND(r->v->syncs, job);
	members_done(job);
}

void sync_stop(struct volume *v)
{
	while (v->syncs)
		job_end(v->syncs, -EREMCHG);
}

/* ---- data of removed inodes ---- */

/* Each time costs a sync: seldom, unless there is little space. */
enum { FREE_MS = 1000, FREE_SOON_MS = 50 };
#define FREE_SOON_BYTES ((uint64_t)1 << 30)

static int free_removed(struct store *s, uint64_t ino)
{
	(void)ino;
	return store_free_removed(s);
}

static void freed(void *ctx, int status)
{
	struct volume *v = ctx;

	v->freeing = false;
	if (is_loss(status))
		lost_writes(v, status);
}

void sync_free_removed(struct volume *v)
{
	uint64_t now = volume_now_ms(v);

	if (v->freeing || v->recovering || v->resync || v->store_broken || v->sync_failed || !store_has_removed(v->store))
		return;
	if (now < v->freed_ms + (volume_free_bytes(v) < FREE_SOON_BYTES ? FREE_SOON_MS : FREE_MS))
		return;
	v->freed_ms = now;
	v->freeing = start_work(v, free_removed, 0, freed, v) == 0;
}

/* ---- a member that joins ---- */

struct member_sync {
	struct volume *v; /* a reference */
	struct rpc_conn *conn; /* compared only */
	uint32_t node;
};

static void member_synced(void *ctx, int status, const void *rep)
{
	struct member_sync *ms = ctx;
	struct volume *v = ms->v;
	bool current = false;

	(void)rep;
	/* An answer on an earlier connection says nothing about what was sent on this one. */
	for (size_t i = 0; i < v->nr_followers; i++)
		current |= v->followers[i].node == ms->node && v->followers[i].conn == ms->conn;
	if (current)
		volume_step(v, &(struct repl_event){ .type = REPL_EV_SYNCED, .node = ms->node, .status = status });
	volume_unref(v);
	free(ms);
}

void sync_member(struct volume *v, uint32_t node, uint64_t lsn)
{
	struct msg_repl_sync_req req = { .fs = v->fs, .epoch = v->epoch, .lsn = lsn };
	struct member_sync *ms = malloc(sizeof(*ms));
	const struct follower *f = NULL;
	int r = -ENOTCONN;

	for (size_t i = 0; i < v->nr_followers; i++)
		if (v->followers[i].node == node && v->followers[i].conn)
			f = &v->followers[i];
	if (f && ms) {
		*ms = (struct member_sync){ v, f->conn, node };
		r = rpc_call(f->conn, MSG_repl_sync, &req, MEMBER_SYNC_MS, member_synced, ms);
	}
	if (r < 0) {
		free(ms);
		volume_step(v, &(struct repl_event){ .type = REPL_EV_SYNCED, .node = node, .status = r });
		return;
	}
	v->refs++;
}

/* ---- the member's side ---- */

struct serving {
	struct volume *v; /* the worker holds a reference */
	struct rpc_req *rq;
};

static void serve_done(void *ctx, int status)
{
	struct serving *s = ctx;
	struct volume *v = s->v;

	if (!status && v->sync_failed)
		status = -EIO;
	rpc_reply(s->rq, status, NULL);
	free(s);
	if (is_loss(status))
		lost_writes(v, status);
}

void sync_serve(struct volume *v, struct rpc_req *rq, const struct msg_repl_sync_req *m)
{
	struct serving *s = malloc(sizeof(*s));
	int r = -EREMCHG;

	if (!s) {
		rpc_reply(rq, -ENOMEM, NULL);
		return;
	}
	*s = (struct serving){ v, rq };
	if (m->epoch >= repl_epoch(v->repl) || repl_config(v->repl)->server == v->source_node)
		r = repl_copy(v->repl) == LEASE_COPY_WHOLE && store_position(v->store).lsn >= m->lsn ? 0 : -EAGAIN;
	if (!r)
		r = sync_local(v, m->ino, false, serve_done, s);
	if (r < 0) {
		free(s);
		rpc_reply(rq, r, NULL);
	}
}
