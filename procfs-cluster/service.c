/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Life of a request: handler (loop) -> run (worker) -> finish (loop): reply, or for what cfs-migrated decides, ask it
 * and reply when it answers. The request's message stays valid until the reply, so the worker reads it in place.
 */
#include "procfs-cluster/service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/cpid.h"
#include "common/bytes.h"
#include "common/worker.h"
#include "procfs-cluster/local.h"
#include "procfs-cluster/mover.h"
#include "procfs-cluster/text.h"
#include "wire/message.h"
#include "wire/rpc.h"

/* Requests that may be under way; the next is refused. */
#define TASKS_MAX 1024u
/* A piece of a scan: most nodes need one. */
#define SCAN_BYTES_MAX (1u << 20)

struct proc_service {
	struct rpc *rpc;	/* once it has our handlers */
	struct local *local; /* the worker's while it runs */
	struct mover *mover;
	struct worker *worker;
	unsigned nr_tasks;
};

struct task;
typedef void (*task_fn)(struct task *t);

struct task {
	struct proc_service *service;
	struct rpc_req *rq;
	const void *msg; /* struct msg_<name>_req, borrowed from rq */
	task_fn run;	 /* on the worker */
	task_fn finish;	 /* on the loop; ends in task_reply() */
	int status;
	struct wire_writer data, node;
	union {
		struct msg_proc_scan_rep scan;
		struct msg_proc_where_rep where;
		struct msg_proc_local_rep local;
	} rep;
};

static void task_reply(struct task *t, const void *rep)
{
	rpc_reply(t->rq, t->status, t->status ? NULL : rep);
	t->service->nr_tasks--;
	wire_writer_release(&t->data);
	wire_writer_release(&t->node);
	free(t);
}

static void finish(void *arg)
{
	struct task *t = arg;

	t->finish(t);
}

static void run(void *arg)
{
	struct task *t = arg;

	t->run(t);
	/* Without memory for the way back: try until there is some, for an unanswered request hangs its caller. */
	while (worker_back(t->service->worker, finish, t) < 0)
		;
}

static void task_start(struct proc_service *s, struct rpc_req *rq, const void *msg, task_fn run_fn, task_fn finish_fn)
{
	struct task *t = s->nr_tasks < TASKS_MAX ? calloc(1, sizeof(*t)) : NULL;
	int r;

	if (!t) {
		rpc_reply(rq, s->nr_tasks < TASKS_MAX ? -ENOMEM : -EAGAIN, NULL);
		return;
	}
	*t = (struct task){ .service = s, .rq = rq, .msg = msg, .run = run_fn, .finish = finish_fn };
	wire_writer_init(&t->data);
	wire_writer_init(&t->node);
	s->nr_tasks++;
	/* From here on it is the worker's: it may have run before this returns. */
	r = worker_do(s->worker, run, t);
	if (r < 0) {
		t->status = r;
		task_reply(t, NULL);
	}
}

static struct wire_blob writer_blob(const struct wire_writer *w)
{
	return (struct wire_blob){ w->buf, (uint32_t)w->len };
}

/* ---- proc_scan ---- */

static void scan_run(struct task *t)
{
	const struct msg_proc_scan_req *m = t->msg;
	uint32_t max = m->max_bytes && m->max_bytes < SCAN_BYTES_MAX ? m->max_bytes : SCAN_BYTES_MAX;

	t->status = local_node(t->service->local, m->node_files, &t->node);
	if (!t->status && m->files)
		t->status = local_scan(t->service->local, m->files, m->after, max, &t->data, &t->rep.scan.next);
}

static void scan_finish(struct task *t)
{
	t->rep.scan.node = writer_blob(&t->node);
	t->rep.scan.procs = writer_blob(&t->data);
	task_reply(t, &t->rep.scan);
}

static void handle_scan(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	(void)conn;
	task_start(ctx, rq, msg, scan_run, scan_finish);
}

/* ---- proc_read ---- */

/* Files about moving that are no file of the kernel's. -ENOENT: none of them. */
static int read_job_file(struct local *l, const struct msg_proc_read_req *m, struct wire_writer *out)
{
	uint32_t home = cpid_node(m->cpid), moves = 0;
	struct local_place place;
	bool is_home = !strcmp(m->path, "home");
	int r;

	if (!is_home && strcmp(m->path, "nmigs"))
		return -ENOENT;
	r = local_where(l, m->cpid, &place);
	if (!r && !place.pid)
		r = -ESRCH;
	if (r < 0)
		return r;
	r = local_job(l, m->cpid, &home, &moves);
	if (r < 0 && r != -ENOENT)
		return r;
	return text_printf(out, "%u\n", is_home ? home : moves);
}

static void read_run(struct task *t)
{
	const struct msg_proc_read_req *m = t->msg;
	struct local_place place;

	if (!strcmp(m->path, "cantmove")) {
		t->status = local_where(t->service->local, m->cpid, &place);
		if (!t->status && !place.pid)
			t->status = -ESRCH;
		return;
	}
	t->status = read_job_file(t->service->local, m, &t->data);
	if (t->status == -ENOENT)
		t->status = local_read(t->service->local, m->cpid, m->uid, m->gid, m->path, &t->data);
}

static void cantmove_answered(void *ctx, int status, const char *text, size_t len)
{
	struct msg_proc_read_rep rep = { .data = { text, (uint32_t)len } };
	struct task *t = ctx;

	t->status = status;
	task_reply(t, &rep);
}

static void read_finish(struct task *t)
{
	const struct msg_proc_read_req *m = t->msg;
	struct msg_proc_read_rep rep = { .data = writer_blob(&t->data) };

	if (!t->status && !strcmp(m->path, "cantmove"))
		mover_cantmove(t->service->mover, m->cpid, cantmove_answered, t);
	else
		task_reply(t, &rep);
}

static void handle_read(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	(void)conn;
	task_start(ctx, rq, msg, read_run, read_finish);
}

/* ---- proc_where, proc_local ---- */

static void where_run(struct task *t)
{
	const struct msg_proc_where_req *m = t->msg;
	struct msg_proc_where_rep *rep = &t->rep.where;
	struct local_place p;

	t->status = local_where(t->service->local, m->cpid, &p);
	if (!t->status)
		*rep = (struct msg_proc_where_rep){ p.node, p.pid, p.uid, p.gid, p.file_uid, p.file_gid };
}

static void where_finish(struct task *t)
{
	task_reply(t, &t->rep.where);
}

static void handle_where(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	(void)conn;
	task_start(ctx, rq, msg, where_run, where_finish);
}

static void local_run(struct task *t)
{
	const struct msg_proc_local_req *m = t->msg;
	uint32_t cpid = 0, tid = 0;

	t->status = local_resolve(t->service->local, m->pid, m->caller, &cpid, &tid);
	t->rep.local = (struct msg_proc_local_rep){ .cpid = cpid, .tid = tid };
}

static void local_finish(struct task *t)
{
	task_reply(t, &t->rep.local);
}

static void handle_local(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	(void)conn;
	task_start(ctx, rq, msg, local_run, local_finish);
}

/* ---- proc_control ---- */

static void control_run(struct task *t)
{
	const struct msg_proc_control_req *m = t->msg;
	uint32_t pid;

	t->status = strcmp(m->verb, "goto") ? -EOPNOTSUPP : local_may_signal(t->service->local, m->cpid, m->uid, &pid);
}

static void control_done(void *ctx, int status, const char *text, size_t len)
{
	struct task *t = ctx;

	(void)text;
	(void)len;
	t->status = status;
	task_reply(t, NULL);
}

static void control_finish(struct task *t)
{
	const struct msg_proc_control_req *m = t->msg;

	if (t->status)
		task_reply(t, NULL);
	else
		mover_goto(t->service->mover, m->cpid, m->uid, m->argument, control_done, t);
}

static void handle_control(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	(void)conn;
	task_start(ctx, rq, msg, control_run, control_finish);
}

/* ---- the service ---- */

static const struct {
	enum msg_type type;
	rpc_handler handler;
} handlers[] = {
	{ MSG_proc_scan, handle_scan },	  { MSG_proc_read, handle_read },	{ MSG_proc_where, handle_where },
	{ MSG_proc_local, handle_local }, { MSG_proc_control, handle_control },
};

int proc_service_new(uv_loop_t *loop, struct rpc *rpc, const struct proc_service_conf *conf, struct proc_service **ret)
{
	struct local_conf local = { conf->proc_dir ? conf->proc_dir : "/proc", conf->state_dir, conf->node_id };
	struct proc_service *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	r = local_new(&local, &s->local);
	if (!r)
		r = mover_new(rpc, conf->migrated_host, conf->migrated_port, &s->mover);
	if (!r)
		r = worker_new(loop, &s->worker);
	if (r < 0) {
		proc_service_free(s);
		return r;
	}
	for (size_t i = 0; i < ARRAY_LEN(handlers); i++)
		rpc_handle(rpc, handlers[i].type, handlers[i].handler, s);
	s->rpc = rpc;
	*ret = s;
	return 0;
}

void proc_service_free(struct proc_service *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < ARRAY_LEN(handlers) && s->rpc; i++)
		rpc_handle(s->rpc, handlers[i].type, NULL, NULL);
	/* The worker's last answers may still ask the mover, which then ends them. */
	worker_free(s->worker);
	mover_free(s->mover);
	local_free(s->local);
	free(s);
}
