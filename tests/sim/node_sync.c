/* fsync of a simulated node: the shell of cfsd/sync.c. The disk takes its time, and what was not synced power can take. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "cfsd/store_redo.h"
#include "tests/sim/node_files.h"

/* An fsync being carried out: replied when this node and every member that a commit waits for have done it. */
struct sync_job {
	struct net_request *rq;
	uint64_t lsn, ino, number;
	bool local_done;
	enum { ASKED_NOT, ASKED, ASKED_DONE } members[SIM_NODES + 1];
	struct sync_job *prev, *next;
};

/* ---- the disk ---- */

struct disk_sync {
	struct sim_node *n;
	uint64_t ino;
	void (*done)(struct sim_node *n, struct net_request *rq, uint64_t number);
	struct net_request *rq; /* owned */
	uint64_t number;
};

static void disk_sync_drop(void *arg)
{
	struct disk_sync *d = arg;

	if (d->rq)
		net_request_free(d->n->sim->net, d->rq);
	free(d);
}

static void disk_synced(void *arg)
{
	struct disk_sync d = *(struct disk_sync *)arg;
	int r = store_sync(d.n->store, d.ino);

	free(arg);
	assert(!r);
	d.done(d.n, d.rq, d.number);
}

static void disk_sync(struct sim_node *n, const struct disk_sync *what)
{
	struct disk_sync *d = malloc(sizeof(*d));

	assert(d);
	*d = *what;
	d->n = n;
	world_after(&n->sim->world, n->id, world_between(&n->sim->world, 1 * MS, 30 * MS), disk_synced, d, disk_sync_drop);
}

/* ---- at the server ---- */

static struct sync_job *job_of(struct sim_node *n, uint64_t number)
{
	struct sync_job *job;

	DL_FOREACH(n->files->syncs, job)
		if (job->number == number)
			return job;
	return NULL;
}

static void local_done(struct sim_node *n, struct net_request *rq, uint64_t number)
{
	struct sync_job *job = job_of(n, number);

	(void)rq;
	if (job)
		job->local_done = true;
	files_sync_check(n);
}

struct member_call {
	struct sim_node *n;
	uint32_t member;
	uint64_t number; /* of the job; 0: the member joins */
	const struct net_conn *conn;
};

static void member_done(void *ctx, int status, const void *rep)
{
	struct member_call mc = *(struct member_call *)ctx;
	struct node_files *f = mc.n->files;
	struct sync_job *job;

	(void)rep;
	free(ctx);
	if (!f)
		return;
	if (!mc.number) {
		if (f->follower[mc.member] == mc.conn)
			files_repl(mc.n,
				   &(struct repl_event){ .type = REPL_EV_SYNCED, .node = mc.member, .status = status });
		return;
	}
	job = job_of(mc.n, mc.number);
	if (job)
		job->members[mc.member] = status < 0 ? ASKED_NOT : ASKED_DONE;
	files_sync_check(mc.n);
}

static bool ask_member(struct sim_node *n, uint32_t member, uint64_t lsn, uint64_t ino, uint64_t number)
{
	struct net_conn *conn = n->files->follower[member];
	struct msg_repl_sync_req m = { .fs = SIM_FS, .epoch = n->files->epoch, .ino = ino, .lsn = lsn };
	struct member_call *mc;

	if (!conn || !net_conn_is_up(conn, n->id))
		return false;
	mc = malloc(sizeof(*mc));
	assert(mc);
	*mc = (struct member_call){ n, member, number, conn };
	net_call(n->sim->net, conn, n->id, MSG_repl_sync, &m, 20000 * MS, member_done, mc, free);
	return true;
}

void files_sync_member(struct sim_node *n, uint32_t member, uint64_t lsn)
{
	if (!ask_member(n, member, lsn, 0, 0))
		files_repl(n, &(struct repl_event){ .type = REPL_EV_SYNCED, .node = member, .status = -ENOTCONN });
}

static bool members_done(struct sim_node *n, struct sync_job *job)
{
	bool all = true;

	for (uint32_t i = 1; i <= SIM_NODES; i++) {
		if (i == n->id || !repl_waits_for(n->files->repl, i))
			continue;
		if (job->members[i] == ASKED_NOT && ask_member(n, i, job->lsn, job->ino, job->number))
			job->members[i] = ASKED;
		all &= job->members[i] == ASKED_DONE;
	}
	return all;
}

static void job_end(struct sim_node *n, struct sync_job *job, int status)
{
	DL_DELETE(n->files->syncs, job);
	net_reply(n->sim->net, job->rq, status, NULL);
	free(job);
}

void files_sync_check(struct sim_node *n)
{
	struct sync_job *job, *next;

	DL_FOREACH_SAFE(n->files->syncs, job, next)
		if (n->files->serving && members_done(n, job) && job->local_done && job->lsn <= n->files->committed)
			job_end(n, job, 0);
}

void files_sync_start(struct sim_node *n, struct net_request *rq, uint64_t ino)
{
	struct sync_job *job = calloc(1, sizeof(*job));

	assert(job);
	*job = (struct sync_job){ .rq = rq, .lsn = files_lsn(n), .ino = ino, .number = ++n->files->nr_syncs };
	DL_APPEND(n->files->syncs, job);
	disk_sync(n, &(struct disk_sync){ .ino = ino, .done = local_done, .number = job->number });
	members_done(n, job);
}

void files_sync_stop(struct sim_node *n)
{
	while (n->files->syncs)
		job_end(n, n->files->syncs, -EREMCHG);
}

/* The node is dead. */
void files_sync_drop(struct sim_node *n)
{
	struct sync_job *job, *next;

	DL_FOREACH_SAFE(n->files->syncs, job, next) {
		DL_DELETE(n->files->syncs, job);
		net_request_free(n->sim->net, job->rq);
		free(job);
	}
}

/* ---- at a member ---- */

static void reply_synced(struct sim_node *n, struct net_request *rq, uint64_t number)
{
	(void)number;
	net_reply(n->sim->net, rq, 0, NULL);
}

void files_sync_serve(struct sim_node *n, struct net_request *rq)
{
	const struct msg_repl_sync_req *m = rq->msg;

	if (repl_copy(n->files->repl) != LEASE_COPY_WHOLE || files_lsn(n) < m->lsn)
		net_reply(n->sim->net, rq, -EAGAIN, NULL);
	else
		disk_sync(n, &(struct disk_sync){ .ino = m->ino, .done = reply_synced, .rq = rq });
}

/* ---- power ---- */

static bool written_back(void *ctx, uint64_t ino)
{
	struct sim_node *n = ctx;

	(void)ino;
	return world_chance(&n->sim->world, 500000);
}

void node_files_power_loss(struct sim_node *n)
{
	int r;

	if (world_chance(&n->sim->world, 500000))
		meta_mem_forget(n->meta);
	data_mem_forget(n->data, written_back, n);
	/* The redo slots of another boot are ignored. */
	r = redo_forget(n->data);
	assert(!r);
	n->lost = true;
}

static void recovered(struct sim_node *n)
{
	struct repl_event ev = { .type = REPL_EV_RECOVERED, .epoch = n->files->recover_epoch };
	struct wire_logpos prev = store_position(n->store);
	int r = store_recover(n->store, ev.epoch);

	assert(!r);
	n->lost = false;
	ev.pos = store_position(n->store);
	repl_log_reset(n->files->log, ev.pos);
	check_recovered(n->sim->check, n->store, prev);
	files_repl(n, &ev);
}

void files_recover(struct sim_node *n, uint64_t epoch)
{
	n->files->recover_epoch = epoch;
	node_after(n, world_between(&n->sim->world, 1 * MS, 50 * MS), recovered);
}
