/* The jobs of cfs run: start, stdio, signals, the end. Each request is passed to the job's cfs-job; see chan.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "migrate/internal.h"
#include "wire/errors.h"

struct run_call {
	struct service *svc;
	struct rpc_req *rq;
	char id[JOB_ID_MAX];
};

static struct run_call *call_new(struct service *svc, struct rpc_req *rq, const char *id)
{
	struct run_call *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->svc = svc;
	c->rq = rq;
	snprintf(c->id, sizeof(c->id), "%s", id);
	return c;
}

/* ---- start ---- */

static void reply_start(struct run_call *c, int error, const char *reason, uint32_t cpid)
{
	struct msg_job_start_rep rep = { .error = wire_status_from_errno(error), .reason = reason, .job = c->id, .cpid = cpid };

	rpc_reply(c->rq, 0, &rep);
	free(c);
}

static void kept(void *ctx, int status, const struct job_packet *rep, int fd)
{
	(void)ctx;
	(void)rep;
	(void)fd;
	if (status)
		log_warn("migrate", "cfs-job does not remember its job: %s", strerror(-status));
}

static int started_as(struct guest *g, pid_t root, uint32_t cpid)
{
	uint8_t pair[8];
	struct wire_blob packed = { pair, sizeof(pair) };
	int r;

	put_le32(pair, (uint32_t)root);
	put_le32(pair + 4, cpid);
	g->root = root;
	g->cpid = cpid;
	g->running = g->waited = true;
	r = guest_set_pids(g, &packed);
	guest_keep(g, 0, 0, kept, NULL);
	return r ? r : guest_publish(g);
}

static void started(void *ctx, int status, const struct job_packet *rep, int fd)
{
	struct run_call *c = ctx;
	struct guest *g = guest_by_id(c->svc, c->id);
	uint32_t cpid;
	int r = status;

	(void)fd;
	if (!g || r) {
		reply_start(c, r ? r : -ECHILD, strerror(r ? -r : ECHILD), 0);
		if (g)
			guest_kill(g);
		return;
	}
	/* cfs-job gave it the same number in both namespaces; or, when it could not, we name it by its own. */
	cpid = cpid_make(c->svc->conf.node_id, (uint32_t)rep->arg[0]);
	r = started_as(g, (pid_t)rep->arg[0], cpid);
	if (r) {
		guest_kill(g);
		reply_start(c, r, "cannot note the job", 0);
		return;
	}
	reply_start(c, 0, "", cpid);
}

/* The request as cfs-job reads it, in memory that can be passed: an environment may be large. */
static int spec_fd(const struct msg_job_start_req *req)
{
	struct wire_writer w;
	int fd, r;

	wire_writer_init(&w);
	r = msg_info(MSG_job_start)->encode_req(&w, req);
	fd = r ? r : memfd_create("cfs-job-spec", MFD_CLOEXEC);
	if (fd < 0 && !r)
		fd = -errno;
	if (fd >= 0 && write(fd, w.buf, w.len) != (ssize_t)w.len) {
		close(fd);
		fd = -ENOSPC;
	}
	wire_writer_release(&w);
	return fd;
}

static void on_start(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	struct service *svc = ctx;
	_cleanup_free_ struct job_packet *p = calloc(1, sizeof(*p));
	_cleanup_close_ int fd = spec_fd(msg);
	struct run_call *c = call_new(svc, rq, "");
	struct guest *g = NULL;
	int r = p && c ? fd : -ENOMEM;

	(void)conn;
	if (!c) {
		rpc_reply(rq, -ENOMEM, NULL);
		return;
	}
	snprintf(c->id, sizeof(c->id), "run-%u-%016llx", svc->conf.node_id, (unsigned long long)service_random());
	if (r >= 0)
		r = guest_spawn(svc, c->id, svc->conf.node_id, 0, &g);
	if (r >= 0) {
		p->op = JOB_EXEC;
		p->arg[0] = g->job.root + 1;
		r = jobctl_call(g->jc, p, fd, started, c);
	}
	if (r < 0) {
		if (g)
			guest_kill(g);
		reply_start(c, r, strerror(-r), 0);
	}
}

/* ---- stdio ---- */

/* A job that is not here: where it went, as far as we know. */
static uint32_t went_to(struct service *svc, const char *id)
{
	struct away a;
	uint32_t node;

	if (away_read(svc->conf.state_dir, id, &a))
		return 0;
	node = a.node;
	away_release(&a);
	return node;
}

static void reply_gone(struct service *svc, struct rpc_req *rq, const char *id, uint64_t out_off, uint64_t err_off)
{
	struct msg_job_read_rep rep = { .out_off = out_off, .err_off = err_off, .flags = JOB_GONE, .node = went_to(svc, id) };

	if (rep.node)
		rpc_reply(rq, 0, &rep);
	else
		rpc_reply(rq, -ESRCH, NULL);
}

static void news(void *ctx, int status, const struct job_packet *rep, int fd)
{
	struct run_call *c = ctx;
	struct msg_job_read_rep out = { 0 };
	struct guest *g = guest_to_read(c->svc, c->id);

	(void)fd;
	if (status) {
		rpc_reply(c->rq, status, NULL);
		free(c);
		return;
	}
	out.out_off = (uint64_t)rep->arg[0];
	out.err_off = (uint64_t)rep->arg[1];
	out.flags = (uint32_t)rep->arg[2];
	out.status = (uint32_t)rep->arg[3];
	out.out = (struct wire_blob){ rep->data, rep->len[0] };
	out.err = (struct wire_blob){ rep->data + rep->len[0], rep->len[1] };
	if ((out.flags & JOB_GONE) && g) {
		out.node = g->went_to;
		g->served = true;
	}
	rpc_reply(c->rq, 0, &out);
	free(c);
}

static void on_read(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_job_read_req *req = msg;
	struct service *svc = ctx;
	struct guest *g = guest_to_read(svc, req->job);
	struct run_call *c;
	int r;

	(void)conn;
	if (!g || !g->jc) {
		reply_gone(svc, rq, req->job, req->out_off, req->err_off);
		return;
	}
	c = call_new(svc, rq, req->job);
	r = c ? jobctl_op(g->jc, JOB_READ, (int64_t)req->out_off, (int64_t)req->err_off, news, c) : -ENOMEM;
	if (r) {
		free(c);
		rpc_reply(rq, r, NULL);
	}
}

static void written(void *ctx, int status, const struct job_packet *rep, int fd)
{
	struct run_call *c = ctx;
	struct msg_job_write_rep out = { 0 };

	(void)fd;
	if (!status) {
		out.off = (uint64_t)rep->arg[0];
		out.flags = (uint32_t)rep->arg[1];
	}
	rpc_reply(c->rq, status, &out);
	free(c);
}

static void on_write(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_job_write_req *req = msg;
	struct service *svc = ctx;
	struct guest *g = guest_by_id(svc, req->job);
	_cleanup_free_ struct job_packet *p = calloc(1, sizeof(*p));
	struct run_call *c = call_new(svc, rq, req->job);
	int r = p && c ? 0 : -ENOMEM;

	(void)conn;
	if (!r && (!g || !g->running))
		r = -EREMCHG;
	if (!r && req->data.len > JOB_STREAM_CHUNK)
		r = -EMSGSIZE;
	if (!r) {
		p->op = JOB_WRITE;
		p->arg[0] = (int64_t)req->off;
		p->arg[1] = req->eof;
		p->len[0] = req->data.len;
		memcpy(p->data, req->data.p, req->data.len);
		r = jobctl_call(g->jc, p, -1, written, c);
	}
	if (r) {
		free(c);
		rpc_reply(rq, r, NULL);
	}
}

/* ---- signals, the end ---- */

static void op_done(void *ctx, int status, const struct job_packet *rep, int fd)
{
	struct run_call *c = ctx;

	(void)rep;
	(void)fd;
	rpc_reply(c->rq, status, NULL);
	free(c);
}

static void pass(struct service *svc, struct rpc_req *rq, const char *id, enum job_op op, int64_t arg)
{
	struct guest *g = guest_by_id(svc, id);
	struct run_call *c = g ? call_new(svc, rq, id) : NULL;
	int r = !g || !g->running ? -EREMCHG : !c ? -ENOMEM : jobctl_op(g->jc, op, arg, 0, op_done, c);

	if (r) {
		free(c);
		rpc_reply(rq, r, NULL);
	}
}

static void on_signal(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_job_signal_req *req = msg;

	(void)conn;
	pass(ctx, rq, req->job, JOB_SIGNAL, req->signo);
}

static void on_end(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_job_end_req *req = msg;

	(void)conn;
	pass(ctx, rq, req->job, JOB_COLLECTED, 0);
}

void run_handlers(struct service *svc)
{
	rpc_handle(svc->rpc, MSG_job_start, on_start, svc);
	rpc_handle(svc->rpc, MSG_job_read, on_read, svc);
	rpc_handle(svc->rpc, MSG_job_write, on_write, svc);
	rpc_handle(svc->rpc, MSG_job_signal, on_signal, svc);
	rpc_handle(svc->rpc, MSG_job_end, on_end, svc);
}
