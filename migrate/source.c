/*
 * The source of a move: carries out what the core (move.h, states.def) says.
 *
 * Life: made when the plan found nothing against it -> through the states -> DONE or FAILED -> freed when the last
 * callback has come. After a decision a source lives until its target has confirmed, over restarts of cfs-migrated.
 */
#include "migrate/source.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/fault.h"
#include "common/log.h"
#include "migrate/plan.h"

#define DECIDE_TIMEOUT_MS 10000

void source_fail(struct source *s, int error, const char *fmt, ...)
{
	va_list ap;

	if (s->error)
		return;
	s->error = error;
	va_start(ap, fmt);
	vsnprintf(s->reason, sizeof(s->reason), fmt, ap);
	va_end(ap);
}

static void source_release(struct source *s)
{
	LL_DELETE(s->svc->sources, s);
	criu_free(s->criu);
	images_release(&s->images);
	tree_release(&s->tree);
	record_release(&s->rec);
	free(s->reasons.text);
	free(s->piece);
	free(s->leave);
	free(s->pids);
	free(s);
}

static bool is_over(const struct source *s)
{
	return (s->state == SOURCE_DONE || s->state == SOURCE_FAILED) && !s->pending && !s->todo && !s->acting && !s->criu;
}

void source_unpend(struct source *s)
{
	s->pending--;
	if (is_over(s))
		source_release(s);
}

static struct guest *its_guest(struct source *s)
{
	return guest_by_id(s->svc, s->job);
}

static void ignore_answer(void *ctx, int status, const struct job_packet *rep, int fd)
{
	(void)ctx;
	(void)status;
	(void)rep;
	(void)fd;
}

static void tell_job(struct source *s, enum job_op op)
{
	struct guest *g = its_guest(s);

	if (s->left && g && g->jc)
		jobctl_op(g->jc, op, 0, 0, ignore_answer, NULL);
}

/* ---- actions ---- */

/* From here on neither CRIU's death nor ours lets the original run: checked, since CRIU may have died just before. */
static void act_hold(struct source *s)
{
	int r;

	if (fault_hit(FAULT_move_source_voted))
		source_fail(s, -EIO, "fault point");
	r = cgroup_freeze(s->rec.cgroup, true);
	if (r) {
		source_fail(s, r, "cannot freeze the cgroup: %s", strerror(-r));
		return;
	}
	if (!tree_tracer(s->p.root))
		source_fail(s, -EREMOTEIO, "criu let go of the process");
	s->held = true;
}

static void act_record(struct source *s)
{
	int r;

	if (s->error) {
		source_feed(s, SOURCE_RECORD_FAILED);
		return;
	}
	s->rec.decided = true;
	r = record_write(s->svc->conf.state_dir, &s->rec);
	if (r) {
		s->rec.decided = false;
		source_fail(s, r, "cannot write the decision: %s", strerror(-r));
		source_feed(s, SOURCE_RECORD_FAILED);
		return;
	}
	fault_hit(FAULT_move_source_decided);
	source_feed(s, SOURCE_RECORDED);
}

static void write_away(struct source *s)
{
	struct away a = { .node = s->p.target };

	snprintf(a.id, sizeof(a.id), "%s", s->job);
	a.cpids = calloc(s->pids_len / 8 + 1, sizeof(*a.cpids));
	if (!a.cpids)
		return;
	for (uint32_t i = 0; i < s->pids_len / 8; i++)
		a.cpids[i] = get_le32(s->pids + 8 * i + 4);
	a.nr_cpids = s->pids_len / 8;
	if (away_write(s->svc->conf.state_dir, &a))
		log_warn("migrate", "cannot note where job %s went", s->job);
	if (s->home != s->svc->conf.node_id)
		guest_announce(s->svc, s->job, s->home, s->p.target, a.cpids, a.nr_cpids);
	away_release(&a);
}

/* The original ends: by CRIU when it still holds it, by us after a restart. */
static void act_kill(struct source *s)
{
	struct guest *g = its_guest(s);

	if (s->pids)
		write_away(s);
	tell_job(s, JOB_LEFT);
	if (g && s->whole) {
		g->went_to = s->p.target;
		job_remove(s->svc->conf.state_dir, s->job);
	}
	if (s->criu_waits) {
		s->criu_waits = false;
		criu_ack(s->criu, true);
		return;
	}
	record_kill_procs(&s->rec);
	cgroup_freeze(s->rec.cgroup, false);
	cgroup_leave(s->rec.cgroup);
}

/* Everything back: what CRIU does first, then what we did. */
static void put_back(struct source *s)
{
	struct guest *g = its_guest(s);
	int r = 0;

	if (s->rec.cgroup[0]) {
		cgroup_freeze(s->rec.cgroup, false);
		r = cgroup_leave(s->rec.cgroup);
	}
	if (r)
		log_warn("migrate", "cannot leave %s: %s", s->rec.cgroup, strerror(-r));
	tell_job(s, JOB_STAY);
	if (g)
		g->moving = g->leaving = false;
	record_remove(s->svc->conf.state_dir, s->rec.move);
	images_remove(s->images_path);
	source_feed(s, SOURCE_THAWED);
}

static void act_thaw(struct source *s)
{
	source_send_stop(s);
	if (s->criu_waits) {
		s->criu_waits = false;
		criu_ack(s->criu, false); /* its `done` goes on */
	} else if (!s->criu) {
		put_back(s);
	}
}

static void told(void *ctx, int status, const void *rep)
{
	struct source *s = ctx;

	(void)rep;
	s->telling = false;
	if (s->state == SOURCE_COMMITTED && !status)
		source_feed(s, SOURCE_CONFIRMED);
	else if (s->state == SOURCE_COMMITTED && status == -ESRCH)
		source_feed(s, SOURCE_LOST);
	source_unpend(s);
}

static void tell_ready(void *ctx, int status, struct rpc_conn *conn)
{
	struct source *s = ctx;
	struct msg_move_decide_req req = { .move = s->rec.move, .commit = s->state == SOURCE_COMMITTED };

	if (!status)
		status = rpc_call(conn, MSG_move_decide, &req, DECIDE_TIMEOUT_MS, told, s);
	if (status)
		told(s, status, NULL);
}

static void act_tell(struct source *s)
{
	if (s->telling)
		return;
	s->telling = true;
	s->pending++;
	peer_connect(s->svc, s->p.target, tell_ready, s);
}

static double ms(uint64_t from, uint64_t to)
{
	return (double)(to - from) / 1e6;
}

static void log_end(struct source *s)
{
	const char *node = service_node_name(s->svc, s->p.target);
	uint64_t now = uv_hrtime();

	if (s->state == SOURCE_FAILED)
		log_info("migrate", "move of pid %u to %s failed: %s", s->p.cpid, node, s->reason);
	else if (s->restarted)
		log_info("migrate", "move of pid %u to %s is complete", s->p.cpid, node);
	else
		log_info("migrate", "moved pid %u to %s: frozen %.0f ms, %.0f MB (dump %.0f, transfer %.0f, restore %.0f, commit %.0f ms)",
			 s->p.cpid, node, ms(s->frozen_at, now), (double)s->bytes / 1e6, ms(s->frozen_at, s->dumped_at),
			 ms(s->dumped_at, s->sent_at), ms(s->sent_at, s->voted_at), ms(s->voted_at, now));
}

static void act_reply(struct source *s)
{
	source_done done = s->done;

	log_end(s);
	s->done = NULL;
	if (done)
		done(s->done_ctx, s->state == SOURCE_DONE ? 0 : s->error ? s->error : -EIO, s->reason);
}

static void act(struct source *s, uint32_t action)
{
	switch (action) {
	case ACT_BEGIN: source_begin(s); break;
	case ACT_DUMP: source_dump(s); break;
	case ACT_SEND: source_send(s); break;
	case ACT_HOLD: act_hold(s); break;
	case ACT_RECORD: act_record(s); break;
	case ACT_TELL: act_tell(s); break;
	case ACT_KILL: act_kill(s); break;
	case ACT_THAW: act_thaw(s); break;
	case ACT_FORGET: record_remove(s->svc->conf.state_dir, s->rec.move); break;
	case ACT_REPLY: act_reply(s); break;
	default: log_error("migrate", "a source cannot do action %x", action);
	}
}

/* An action may report at once, and so feed the next event from inside: its actions join the list. */
void source_feed(struct source *s, enum source_event event)
{
	s->todo |= source_step(&s->state, event);
	if (s->acting)
		return;
	s->acting = true;
	while (s->todo) {
		uint32_t action = s->todo & (~s->todo + 1);

		s->todo &= ~action;
		act(s, action);
	}
	s->acting = false;
	/* Whoever calls us from a callback holds a count in pending, or is CRIU's: those free. */
}

/* ---- plan and start ---- */

static struct plan_conf plan_conf_of(struct service *svc, const struct source_params *p, const struct tree *tree)
{
	pid_t ns_of = p->guest ? p->guest->job.root : getpid();

	return (struct plan_conf){
		.cfs_type = svc->conf.cfs_type,
		.pidns = tree_namespace(ns_of, "pid"),
		.mntns = tree_namespace(ns_of, "mnt"),
		.relay = p->guest && tree->procs[0].nspid == p->guest->root ? p->guest->job.root : 0,
	};
}

int source_plan(struct service *svc, const struct source_params *p, struct tree *tree, char **ret_text)
{
	struct reasons reasons = { 0 };
	struct plan_conf conf;
	int r = tree_read(tree, p->root);

	if (r)
		return r;
	conf = plan_conf_of(svc, p, tree);
	r = plan_check(&conf, tree, &reasons);
	if (r)
		free(reasons.text);
	else
		*ret_text = reasons.text;
	return r;
}

static int pack_pids(struct source *s)
{
	uint8_t *p = malloc(8 * s->tree.nr + 1);

	if (!p)
		return -ENOMEM;
	for (size_t i = 0; i < s->tree.nr; i++) {
		const struct tree_proc *t = &s->tree.procs[i];
		uint32_t cpid = s->p.guest ? job_cpid(&s->p.guest->job, s->svc->conf.node_id, (uint32_t)t->nspid, (uint32_t)t->pid) :
					     cpid_make(s->svc->conf.node_id, (uint32_t)t->pid);

		put_le32(p + 8 * i, (uint32_t)t->nspid);
		put_le32(p + 8 * i + 4, cpid);
	}
	free(s->pids);
	s->pids = p;
	s->pids_len = (uint32_t)(8 * s->tree.nr);
	return 0;
}

int source_final_tree(struct source *s)
{
	int r = tree_read(&s->tree, s->p.root);

	if (!r) {
		s->conf = plan_conf_of(s->svc, &s->p, &s->tree);
		s->conf.tracer = tree_tracer(s->p.root);
		r = pack_pids(s);
	}
	if (!r)
		r = record_set_procs(&s->rec, &s->tree, s->pids);
	return r;
}

static void name_job(struct source *s)
{
	struct guest *g = s->p.guest;

	s->whole = g && s->tree.procs[0].nspid == g->root;
	if (s->whole) {
		snprintf(s->job, sizeof(s->job), "%s", g->job.id);
		s->home = g->job.home;
		s->moves = g->job.moves;
		return;
	}
	/* A part of a guest is a new job; it stays at home where that one was. */
	s->home = g ? g->job.home : s->svc->conf.node_id;
	snprintf(s->job, sizeof(s->job), "%u-%u-%" PRIx64, s->svc->conf.node_id, s->p.cpid, s->tree.procs[0].start);
}

static struct source *source_new(struct service *svc, const struct source_params *p)
{
	struct source *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->svc = svc;
	s->p = *p;
	s->images.fd = s->images.dir = -1;
	tree_init(&s->tree);
	LL_PREPEND(svc->sources, s);
	return s;
}

static bool is_busy(struct service *svc, const struct source_params *p)
{
	struct source *s;

	LL_FOREACH(svc->sources, s)
	{
		if (s->state != SOURCE_DONE && s->state != SOURCE_FAILED && (s->p.root == p->root || tree_has(&s->tree, p->root)))
			return true;
	}
	return p->guest && p->guest->moving;
}

void source_start(struct service *svc, const struct source_params *p, source_done done, void *ctx)
{
	_cleanup_free_ char *text = NULL;
	struct source *s;
	int r;

	if (is_busy(svc, p)) {
		done(ctx, -EBUSY, "it is being moved already");
		return;
	}
	s = source_new(svc, p);
	if (!s) {
		done(ctx, -ENOMEM, "out of memory");
		return;
	}
	r = source_plan(svc, p, &s->tree, &text);
	if (r || text) {
		done(ctx, r ? r : -EOPNOTSUPP, r ? strerror(-r) : text);
		source_release(s);
		return;
	}
	name_job(s);
	s->rec.move = service_random();
	s->rec.target = p->target;
	s->rec.cpid = p->cpid;
	snprintf(s->rec.job, sizeof(s->rec.job), "%s", s->job);
	s->done = done;
	s->done_ctx = ctx;
	if (p->guest)
		p->guest->moving = true;
	s->pending++;
	source_feed(s, SOURCE_START);
	source_unpend(s);
}

/* ---- the world around ---- */

enum move_verdict source_query(struct service *svc, uint64_t move)
{
	struct source *s;

	LL_FOREACH(svc->sources, s)
	{
		if (s->rec.move == move)
			return source_verdict(s->state);
	}
	/* Still finding out what the last cfs-migrated left. */
	return svc->adopting ? MOVE_UNDECIDED : MOVE_ABORT;
}

static void feed_all(struct service *svc, uint32_t node, enum source_event event)
{
	struct source *s, *tmp;

	LL_FOREACH_SAFE(svc->sources, s, tmp)
	{
		if (node && s->p.target != node)
			continue;
		if (event == SOURCE_PEER_LOST)
			source_fail(s, -EHOSTUNREACH, "%s cannot be reached", service_node_name(svc, s->p.target));
		s->pending++;
		source_feed(s, event);
		source_unpend(s);
	}
}

void source_peer_lost(struct service *svc, uint32_t node)
{
	feed_all(svc, node, SOURCE_PEER_LOST);
}

void sources_tick(struct service *svc)
{
	feed_all(svc, 0, SOURCE_TICK);
}

static int take_up(void *ctx, struct record *rec)
{
	struct service *svc = ctx;
	struct source_params p = { .target = rec->target, .cpid = rec->cpid };
	struct source *s = source_new(svc, &p);
	struct guest *g;

	if (!s)
		return -ENOMEM;
	s->rec = *rec;
	rec->procs = NULL;
	snprintf(s->job, sizeof(s->job), "%s", rec->job);
	g = its_guest(s);
	s->whole = s->left = g && g->leaving;
	s->restarted = true;
	s->home = g ? g->job.home : svc->conf.node_id;
	if (record_get_pids(&s->rec, &s->pids, &s->pids_len))
		s->pids = NULL;
	log_info("migrate", "move of pid %u to %s was %s when cfs-migrated ended", rec->cpid, service_node_name(svc, rec->target),
		 rec->decided ? "decided: it goes on" : "not decided: the process stays");
	source_fail(s, -ECANCELED, "cfs-migrated was restarted");
	s->pending++;
	source_feed(s, rec->decided ? SOURCE_RESTART_DECIDED : SOURCE_RESTART_UNDECIDED);
	source_unpend(s);
	return 0;
}

static bool has_use(void *ctx, const char *path)
{
	struct service *svc = ctx;
	struct source *s;

	LL_FOREACH(svc->sources, s)
	{
		if (!strcmp(s->images_path, path))
			return true;
	}
	return target_uses(svc, path);
}

void sources_restart(struct service *svc)
{
	struct guest *g;
	int r = record_each(svc->conf.state_dir, take_up, svc);

	/* Of moves that an earlier cfs-migrated had begun to send or to receive. */
	images_sweep(svc->images_dir, has_use, svc);

	if (r)
		log_warn("migrate", "cannot read the records of moves: %s", strerror(-r));
	LL_FOREACH(svc->guests, g)
	{
		if (g->leaving && !g->went_to && g->jc)
			jobctl_op(g->jc, JOB_STAY, 0, 0, ignore_answer, NULL);
		g->leaving = false;
	}
}

/* ---- CRIU's end (called from source_io.c) ---- */

void source_criu_over(struct source *s, int status, const char *reason)
{
	criu_free(s->criu);
	s->criu = NULL;
	s->criu_waits = false;
	s->pending++;
	switch (s->state) {
	case SOURCE_DUMPING:
	case SOURCE_SENDING:
		source_fail(s, -EOPNOTSUPP, "criu: %s", reason);
		source_feed(s, SOURCE_DUMP_FAILED);
		break;
	case SOURCE_ABORTING:
		put_back(s);
		break;
	case SOURCE_COMMITTED:
	case SOURCE_DONE:
		/* The tree is dead. Who was in its cgroup but not of it (an orphan of the tree's past) goes on. */
		if (status)
			record_kill_procs(&s->rec);
		cgroup_freeze(s->rec.cgroup, false);
		cgroup_leave(s->rec.cgroup);
		images_remove(s->images_path);
		break;
	case SOURCE_DECIDING:
	case SOURCE_IDLE:
	case SOURCE_PREPARING:
	case SOURCE_FAILED:
		break;
	}
	source_unpend(s);
}
