/*
 * The target of a move: carries out what the core (move.h, states.def) says.
 *
 * Life: made by move_begin, with an empty cfs-job -> images arrive -> restored and held -> told -> RUNNING (the guest
 * stays, the target is freed when the source has been answered) or GONE. Found again after a restart of cfs-migrated as
 * long as its cfs-job holds it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/fault.h"
#include "common/log.h"
#include "migrate/criu.h"
#include "migrate/images.h"
#include "migrate/internal.h"
#include "wire/errors.h"

#define ASK_TIMEOUT_MS 3000
#define PID_MAX_DEFAULT 32768

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

static void feed(struct target *t, enum target_event event);

static void reply(struct rpc_req **rq, enum msg_type type, int error, const char *reason)
{
	struct msg_move_begin_rep begin = { .error = wire_status_from_errno(error), .reason = reason };
	struct msg_move_restore_rep restore = { .error = begin.error, .reason = reason };

	if (!*rq)
		return;
	if (type == MSG_move_begin)
		rpc_reply(*rq, 0, &begin);
	else if (type == MSG_move_restore)
		rpc_reply(*rq, 0, &restore);
	else
		rpc_reply(*rq, error, NULL);
	*rq = NULL;
}

static void target_release(struct target *t)
{
	LL_DELETE(t->svc->targets, t);
	reply(&t->begin_rq, MSG_move_begin, -ECANCELED, t->reason);
	reply(&t->restore_rq, MSG_move_restore, -ECANCELED, t->reason);
	reply(&t->decide_rq, MSG_move_decide, -ESRCH, NULL);
	if (t->guest)
		t->guest->target = NULL;
	criu_free(t->criu);
	images_remove(t->images_path);
	free(t->pipes);
	free(t);
}

static void unpend(struct target *t)
{
	t->pending--;
	if ((t->state == TARGET_GONE || t->state == TARGET_RUNNING) && !t->pending && !t->acting && !t->criu)
		target_release(t);
}

static void fail(struct target *t, const char *what, int error)
{
	if (!t->reason[0])
		snprintf(t->reason, sizeof(t->reason), "%s: %s", what, strerror(-error));
	feed(t, TARGET_RESTORE_FAILED);
}

/* ---- restore ---- */

static void resumed(void *ctx, int status, const struct job_packet *rep, int fd)
{
	struct target *t = ctx;

	(void)rep;
	(void)fd;
	if (status)
		log_error("migrate", "cfs-job of %s does not take over: %s", t->id, strerror(-status));
	feed(t, TARGET_RESUMED);
	unpend(t);
}

/* CRIU has detached: the copy runs. */
static void take_over(struct target *t)
{
	struct guest *g = t->guest;
	int r;

	fault_hit(FAULT_move_target_resumed);
	g->running = true;
	g->last_move = t->move;
	away_remove(t->svc->conf.state_dir, t->id);
	t->pending++;
	r = jobctl_op(g->jc, JOB_RESUMED, g->root, g->waited, resumed, t);
	if (r)
		resumed(t, r, NULL, -1);
}

static void criu_over(void *ctx, int status, const char *reason)
{
	struct target *t = ctx;

	criu_free(t->criu);
	t->criu = NULL;
	t->criu_waits = false;
	t->pending++;
	if (t->state == TARGET_RESUMING && t->guest) {
		if (status)
			log_warn("migrate", "criu after the resume of job %s: %s", t->id, reason);
		take_over(t);
	} else if (t->state == TARGET_RESTORING) {
		snprintf(t->reason, sizeof(t->reason), "criu: %s", reason);
		feed(t, TARGET_RESTORE_FAILED);
	}
	unpend(t);
}

/* cfs-job knows now that this copy is promised: from here on a restart finds it. */
static void promised(void *ctx, int status, const struct job_packet *rep, int fd)
{
	struct target *t = ctx;
	int r = status;

	(void)rep;
	(void)fd;
	if (!r && t->guest)
		r = guest_publish(t->guest);
	if (!r && fault_hit(FAULT_move_target_restored))
		r = -EIO;
	if (r)
		fail(t, "cannot keep the copy", r);
	else
		feed(t, TARGET_RESTORED);
	unpend(t);
}

static void criu_hook(void *ctx, enum criu_hook hook, pid_t pid)
{
	struct target *t = ctx;

	(void)pid;
	if (hook != CRIU_HOOK_PRE_RESUME) {
		criu_ack(t->criu, true);
		return;
	}
	t->criu_waits = true;
	if (!t->guest || t->state != TARGET_RESTORING)
		return; /* given up meanwhile: cfs-job dies, and all with it */
	t->pending++;
	guest_keep(t->guest, t->move, t->source, promised, t);
}

static const struct criu_events criu_events = { .hook = criu_hook, .done = criu_over };

static void criu_started(void *ctx, int status, const struct job_packet *rep, int fd)
{
	struct target *t = ctx;
	struct criu_inherit inherit[3];
	size_t nr = 0;
	int r = status;

	(void)rep;
	for (int i = 0; i < 3 && t->pipes; i++)
		if (t->pipes->arg[i] >= 0)
			inherit[nr++] = (struct criu_inherit){ t->keys[i], (int)t->pipes->arg[i] };
	if (!r)
		r = criu_new(t->svc->loop, fd, &criu_events, t, &t->criu);
	if (!r)
		r = criu_restore(t->criu, t->images_path, inherit, nr);
	if (r)
		fail(t, "cannot start criu", r);
	unpend(t);
}

static void start_criu(struct target *t)
{
	struct job *j = &t->guest->job;
	_cleanup_free_ pid_t *pids = calloc(j->nr_pids + 1, sizeof(*pids));
	int r = -ENOMEM;

	t->pending++;
	for (size_t i = 0; pids && i < j->nr_pids; i++)
		pids[i] = (pid_t)j->pids[i].nspid;
	if (pids)
		r = jobctl_op(t->guest->jc, JOB_CRIU, CRIU_FOR_RESTORE, tree_free_pids(pids, j->nr_pids, PID_MAX_DEFAULT), criu_started, t);
	if (r)
		criu_started(t, r, NULL, -1);
}

static void pipes_made(void *ctx, int status, const struct job_packet *rep, int fd)
{
	struct target *t = ctx;

	(void)fd;
	if (status || !t->guest) {
		fail(t, "cannot make the job's pipes", status ? status : -ECONNRESET);
	} else {
		memcpy(t->pipes, rep, offsetof(struct job_packet, data));
		start_criu(t);
	}
	unpend(t);
}

static void act_restore(struct target *t)
{
	struct guest *g = t->guest;
	int r;

	if (!t->pipes) {
		start_criu(t);
		return;
	}
	t->pending++;
	r = jobctl_call(g->jc, t->pipes, -1, pipes_made, t);
	if (r)
		pipes_made(t, r, NULL, -1);
}

/* ---- actions ---- */

static void act_open(struct target *t)
{
	int r = images_create(t->images_path);

	if (!r)
		r = guest_spawn(t->svc, t->id, t->home, t->moves, &t->guest);
	if (r) {
		snprintf(t->reason, sizeof(t->reason), "cannot make room for it: %s", strerror(-r));
		t->guest = NULL;
		return;
	}
	t->guest->target = t;
	t->guest->cpid = t->cpid;
	t->guest->waited = t->waited;
}

static void act_accept(struct target *t)
{
	if (t->guest) {
		reply(&t->begin_rq, MSG_move_begin, 0, "");
		return;
	}
	reply(&t->begin_rq, MSG_move_begin, -EAGAIN, t->reason);
	feed(t, TARGET_ABORT);
}

static void act_discard(struct target *t)
{
	struct guest *g = t->guest;

	if (!g)
		return;
	job_remove(t->svc->conf.state_dir, t->id);
	guest_kill(g); /* guest_down() finds no target and nothing published */
}

static void asked(void *ctx, int status, const void *msg)
{
	const struct msg_move_query_rep *rep = msg;
	struct target *t = ctx;

	t->asking = false;
	if (!status && rep->verdict == MOVE_COMMIT)
		feed(t, TARGET_COMMIT);
	else if (!status && rep->verdict == MOVE_ABORT)
		feed(t, TARGET_ABORT);
	unpend(t);
}

static void ask_ready(void *ctx, int status, struct rpc_conn *conn)
{
	struct target *t = ctx;
	struct msg_move_query_req req = { .move = t->move };

	if (!status)
		status = rpc_call(conn, MSG_move_query, &req, ASK_TIMEOUT_MS, asked, t);
	if (status)
		asked(t, status, NULL);
}

static void act_ask(struct target *t)
{
	if (t->asking)
		return;
	t->asking = true;
	t->pending++;
	peer_connect(t->svc, t->source, ask_ready, t);
}

static void act_resume(struct target *t)
{
	if (t->criu_waits) {
		t->criu_waits = false;
		if (criu_ack(t->criu, true) == 0)
			return;
	}
	/* It had been told before cfs-migrated restarted, and has ended since. */
	if (t->guest && !t->criu)
		take_over(t);
}

static void act(struct target *t, uint32_t action)
{
	switch (action) {
	case ACT_OPEN: act_open(t); break;
	case ACT_ACCEPT: act_accept(t); break;
	case ACT_RESTORE: act_restore(t); break;
	case ACT_VOTE_YES: reply(&t->restore_rq, MSG_move_restore, 0, ""); break;
	case ACT_VOTE_NO: reply(&t->restore_rq, MSG_move_restore, -EIO, t->reason); break;
	case ACT_DISCARD: act_discard(t); break;
	case ACT_ASK: act_ask(t); break;
	case ACT_RESUME: act_resume(t); break;
	case ACT_CONFIRM: reply(&t->decide_rq, MSG_move_decide, 0, NULL); break;
	case ACT_DENY: reply(&t->decide_rq, MSG_move_decide, -ESRCH, NULL); break;
	default: log_error("migrate", "a target cannot do action %x", action);
	}
}

/* As source_feed(): whoever calls holds a count in pending. */
static void feed(struct target *t, enum target_event event)
{
	t->todo |= target_step(&t->state, event);
	if (t->acting)
		return;
	t->acting = true;
	while (t->todo) {
		uint32_t action = t->todo & (~t->todo + 1);

		t->todo &= ~action;
		act(t, action);
	}
	t->acting = false;
}

/* ---- messages ---- */

static struct target *target_by_move(struct service *svc, uint64_t move)
{
	struct target *t;

	LL_SEARCH_SCALAR(svc->targets, t, move, move);
	return t;
}

static struct target *target_new(struct service *svc, uint64_t move, uint32_t source, const char *id)
{
	struct target *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->svc = svc;
	t->move = move;
	t->source = source;
	snprintf(t->id, sizeof(t->id), "%s", id);
	snprintf(t->images_path, sizeof(t->images_path), "%s/in-%016" PRIx64, svc->images_dir, move);
	LL_PREPEND(svc->targets, t);
	return t;
}

static void refuse_begin(struct rpc_req *rq, int error, const char *reason)
{
	reply(&rq, MSG_move_begin, error, reason);
}

static void on_begin(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_move_begin_req *req = msg;
	struct service *svc = ctx;
	struct target *t;

	if (target_by_move(svc, req->move)) {
		refuse_begin(rq, -EALREADY, "this move has begun already");
		return;
	}
	if (guest_by_id(svc, req->job)) {
		refuse_begin(rq, -EEXIST, "the job is there already");
		return;
	}
	t = target_new(svc, req->move, rpc_conn_peer(conn)->node_id, req->job);
	if (!t) {
		refuse_begin(rq, -ENOMEM, "out of memory");
		return;
	}
	t->begin_rq = rq;
	t->home = req->home;
	t->moves = req->moves;
	t->cpid = req->cpid;
	t->waited = req->waited;
	t->pending++;
	feed(t, TARGET_BEGIN);
	unpend(t);
}

static void on_chunk(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_move_chunk_req *req = msg;
	struct target *t = target_by_move(ctx, req->move);

	(void)conn;
	if (!t || t->state != TARGET_RECEIVING)
		rpc_reply(rq, -ESTALE, NULL);
	else
		rpc_reply(rq, images_write(t->images_path, req->file, req->off, req->data.p, req->data.len), NULL);
}

static int take_io(struct target *t, const struct wire_jobio *io)
{
	const uint64_t inos[3] = { io->in_ino, io->out_ino, io->err_ino };
	struct job_packet *p;

	if (!io->in_ino && !io->out_ino && !io->err_ino)
		return 0;
	if (io->unread.len > JOB_STREAM_CHUNK)
		return -EBADMSG;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->op = JOB_PIPES;
	for (int i = 0; i < 3; i++) {
		p->arg[i] = (int64_t)inos[i];
		snprintf(t->keys[i], sizeof(t->keys[i]), "pipe:[%" PRIu64 "]", inos[i]);
	}
	p->arg[3] = (int64_t)io->in_off;
	p->arg[4] = (int64_t)io->out_off;
	p->arg[5] = (int64_t)io->err_off;
	p->arg[6] = io->in_ended;
	p->len[0] = io->unread.len;
	memcpy(p->data, io->unread.p, io->unread.len);
	t->pipes = p;
	return 0;
}

static void on_restore(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_move_restore_req *req = msg;
	struct target *t = target_by_move(ctx, req->move);
	int r;

	(void)conn;
	if (!t || t->state != TARGET_RECEIVING || !t->guest) {
		reply(&rq, MSG_move_restore, -ESTALE, "there is no such move");
		return;
	}
	t->restore_rq = rq;
	t->guest->root = (pid_t)req->root;
	r = guest_set_pids(t->guest, &req->pids);
	if (!r)
		r = take_io(t, &req->io);
	t->pending++;
	if (r)
		reply(&t->restore_rq, MSG_move_restore, r, "it sent something unknown");
	feed(t, r ? TARGET_ABORT : TARGET_RESTORE);
	unpend(t);
}

static void on_decide(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_move_decide_req *req = msg;
	struct service *svc = ctx;
	struct target *t = target_by_move(svc, req->move);

	(void)conn;
	if (!t) {
		/* Freed after it was confirmed, and the confirmation got lost; or never heard of. guest.move tells. */
		struct guest *g;

		LL_FOREACH(svc->guests, g)
		{
			if (req->commit && g->running && g->last_move == req->move) {
				rpc_reply(rq, 0, NULL);
				return;
			}
		}
		rpc_reply(rq, req->commit ? (svc->adopting ? -EAGAIN : -ESRCH) : 0, NULL);
		return;
	}
	reply(&t->decide_rq, MSG_move_decide, -EALREADY, NULL);
	t->decide_rq = rq;
	t->pending++;
	feed(t, req->commit ? TARGET_COMMIT : TARGET_ABORT);
	unpend(t);
}

static void on_query(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_move_query_req *req = msg;
	struct msg_move_query_rep rep = { .verdict = (uint8_t)source_query(ctx, req->move) };

	(void)conn;
	rpc_reply(rq, 0, &rep);
}

static void on_moved(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_job_moved_req *req = msg;
	struct service *svc = ctx;
	struct away a = { .node = req->node };
	int r;

	(void)conn;
	if (!req->node) {
		rpc_reply(rq, away_remove(svc->conf.state_dir, req->job), NULL);
		return;
	}
	snprintf(a.id, sizeof(a.id), "%s", req->job);
	a.nr_cpids = req->cpids.len / 4;
	a.cpids = calloc(a.nr_cpids + 1, sizeof(*a.cpids));
	for (size_t i = 0; a.cpids && i < a.nr_cpids; i++)
		a.cpids[i] = get_le32((const uint8_t *)req->cpids.p + 4 * i);
	r = a.cpids ? away_write(svc->conf.state_dir, &a) : -ENOMEM;
	away_release(&a);
	rpc_reply(rq, r, NULL);
}

void target_handlers(struct service *svc)
{
	rpc_handle(svc->rpc, MSG_move_begin, on_begin, svc);
	rpc_handle(svc->rpc, MSG_move_chunk, on_chunk, svc);
	rpc_handle(svc->rpc, MSG_move_restore, on_restore, svc);
	rpc_handle(svc->rpc, MSG_move_decide, on_decide, svc);
	rpc_handle(svc->rpc, MSG_move_query, on_query, svc);
	rpc_handle(svc->rpc, MSG_job_moved, on_moved, svc);
}

/* ---- the world around ---- */

static void feed_all(struct service *svc, uint32_t source, enum target_event event)
{
	struct target *t, *tmp;

	LL_FOREACH_SAFE(svc->targets, t, tmp)
	{
		if (source && t->source != source)
			continue;
		if (event == TARGET_PEER_LOST && !t->reason[0])
			snprintf(t->reason, sizeof(t->reason), "the source went away");
		t->pending++;
		feed(t, event);
		unpend(t);
	}
}

void target_peer_lost(struct service *svc, uint32_t node)
{
	feed_all(svc, node, TARGET_PEER_LOST);
}

void targets_tick(struct service *svc)
{
	feed_all(svc, 0, TARGET_TICK);
}

void target_guest_down(struct target *t)
{
	t->guest = NULL;
	t->pending++;
	job_remove(t->svc->conf.state_dir, t->id);
	if (t->state == TARGET_RESTORING) {
		fail(t, "cfs-job ended", -ECHILD);
	} else if (t->state == TARGET_HELD || t->state == TARGET_RESUMING) {
		/* A promise that cannot be kept: somebody killed it. The source learns that nothing is here. */
		log_error("migrate", "the copy of job %s was killed while it was held", t->id);
		t->state = TARGET_GONE;
	} else {
		feed(t, TARGET_ABORT);
	}
	unpend(t);
}

void target_adopt(struct guest *g, uint64_t move, uint32_t source, int criu_sock)
{
	struct target *t = target_new(g->svc, move, source, g->job.id);
	struct job old;

	if (!t || criu_sock < 0 || criu_new(g->svc->loop, criu_sock, &criu_events, t, &t->criu)) {
		guest_kill(g);
		return;
	}
	if (job_read(g->svc->conf.state_dir, g->job.id, &old) == 0) {
		g->job.pids = old.pids;
		g->job.nr_pids = old.nr_pids;
		g->root = g->root ? g->root : (pid_t)(old.nr_pids ? old.pids[0].nspid : 0);
		old.pids = NULL;
		job_release(&old);
	}
	job_identify(&g->job);
	t->guest = g;
	g->target = t;
	criu_adopt(t->criu);
	t->criu_waits = true;
	t->pending++;
	feed(t, TARGET_RESTART_HELD);
	unpend(t);
}
