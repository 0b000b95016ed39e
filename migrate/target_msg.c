/* The messages between two cfs-migrated, as the target (and the home of a job) gets them; see states.def. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/bytes.h"
#include "common/fault.h"
#include "migrate/target.h"

static struct target *target_by_move(struct service *svc, uint64_t move)
{
	struct target *t;

	LL_SEARCH_SCALAR(svc->targets, t, move, move);
	return t;
}

static void refuse_begin(struct rpc_req *rq, int error, const char *reason)
{
	target_reply(&rq, MSG_move_begin, error, reason);
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
	target_feed(t, TARGET_BEGIN);
	target_unpend(t);
}

static void on_chunk(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_move_chunk_req *req = msg;
	struct target *t = target_by_move(ctx, req->move);
	int r = -ESTALE;

	(void)conn;
	if (t && t->state == TARGET_RECEIVING)
		r = fault_hit(FAULT_move_target_receiving);
	if (!r)
		r = images_write(t->images_path, req->file, req->off, req->data.p, req->data.len);
	rpc_reply(rq, r, NULL);
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
		target_reply(&rq, MSG_move_restore, -ESTALE, "there is no such move");
		return;
	}
	t->restore_rq = rq;
	t->guest->root = (pid_t)req->root;
	r = guest_set_pids(t->guest, &req->pids);
	if (!r)
		r = take_io(t, &req->io);
	t->pending++;
	if (r)
		target_reply(&t->restore_rq, MSG_move_restore, r, "it sent something unknown");
	target_feed(t, r ? TARGET_ABORT : TARGET_RESTORE);
	target_unpend(t);
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
	target_reply(&t->decide_rq, MSG_move_decide, -EALREADY, NULL);
	t->decide_rq = rq;
	t->pending++;
	target_feed(t, req->commit ? TARGET_COMMIT : TARGET_ABORT);
	target_unpend(t);
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
