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
#include "migrate/images.h"
#include "migrate/target.h"
#include "migrate/timers.h"
#include "wire/errors.h"

#define ASK_TIMEOUT_MS 3000
#define PID_MAX_DEFAULT 32768

void target_reply(struct rpc_req **rq, enum msg_type type, int error, const char *reason)
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
	target_reply(&t->begin_rq, MSG_move_begin, -ECANCELED, t->reason);
	target_reply(&t->restore_rq, MSG_move_restore, -ECANCELED, t->reason);
	target_reply(&t->decide_rq, MSG_move_decide, -ESRCH, NULL);
	if (t->guest)
		t->guest->target = NULL;
	criu_free(t->criu);
	images_remove(t->images_path);
	free(t->pipes);
	free(t);
}

void target_unpend(struct target *t)
{
	t->pending--;
	if ((t->state == TARGET_GONE || t->state == TARGET_RUNNING) && !t->pending && !t->acting && !t->criu)
		target_release(t);
}

static void fail(struct target *t, const char *what, int error)
{
	if (!t->reason[0])
		snprintf(t->reason, sizeof(t->reason), "%s: %s", what, strerror(-error));
	target_feed(t, TARGET_RESTORE_FAILED);
}

/* ---- restore ---- */

static void resumed(void *ctx, int status, const struct job_packet *rep, int fd)
{
	struct target *t = ctx;

	(void)rep;
	(void)fd;
	if (status)
		log_error("migrate", "cfs-job of %s does not take over: %s", t->id, strerror(-status));
	target_feed(t, TARGET_RESUMED);
	target_unpend(t);
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
		target_feed(t, TARGET_RESTORE_FAILED);
	}
	target_unpend(t);
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
		target_feed(t, TARGET_RESTORED);
	target_unpend(t);
}

static void rearm_timers(const struct guest *g)
{
	struct tree tree;

	tree_init(&tree);
	if (tree_read(&tree, g->job.root) == 0)
		for (size_t i = 1; i < tree.nr; i++)
			timers_rearm(tree.procs[i].pid);
	tree_release(&tree);
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
	rearm_timers(t->guest);
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
	target_unpend(t);
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
	target_unpend(t);
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
		target_reply(&t->begin_rq, MSG_move_begin, 0, "");
		return;
	}
	target_reply(&t->begin_rq, MSG_move_begin, -EAGAIN, t->reason);
	target_feed(t, TARGET_ABORT);
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
		target_feed(t, TARGET_COMMIT);
	else if (!status && rep->verdict == MOVE_ABORT)
		target_feed(t, TARGET_ABORT);
	target_unpend(t);
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
	case ACT_VOTE_YES: target_reply(&t->restore_rq, MSG_move_restore, 0, ""); break;
	case ACT_VOTE_NO: target_reply(&t->restore_rq, MSG_move_restore, -EIO, t->reason); break;
	case ACT_DISCARD: act_discard(t); break;
	case ACT_ASK: act_ask(t); break;
	case ACT_RESUME: act_resume(t); break;
	case ACT_CONFIRM: target_reply(&t->decide_rq, MSG_move_decide, 0, NULL); break;
	case ACT_DENY: target_reply(&t->decide_rq, MSG_move_decide, -ESRCH, NULL); break;
	default: log_error("migrate", "a target cannot do action %x", action);
	}
}

/* As source_feed(): whoever calls holds a count in pending. */
void target_feed(struct target *t, enum target_event event)
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

struct target *target_new(struct service *svc, uint64_t move, uint32_t source, const char *id)
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
		target_feed(t, event);
		target_unpend(t);
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

bool target_uses(struct service *svc, const char *path)
{
	struct target *t;

	LL_FOREACH(svc->targets, t)
	{
		if (!strcmp(t->images_path, path))
			return true;
	}
	return false;
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
		target_feed(t, TARGET_ABORT);
	}
	target_unpend(t);
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
	target_feed(t, TARGET_RESTART_HELD);
	target_unpend(t);
}
