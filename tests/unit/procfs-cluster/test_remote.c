/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls over real connections: answers, deadlines while dialling and after, nodes that are not there. */
#include "procfs-cluster/remote.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "tests/lib/procfs_world.h"

static struct world w;
static struct remote *r;
static struct rpc_req *held;

static void handle_where(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	struct msg_proc_where_rep rep = { .node = 1, .pid = ((const struct msg_proc_where_req *)msg)->cpid };

	(void)ctx;
	(void)conn;
	rpc_reply(rq, 0, &rep);
}

static void hold(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	(void)ctx;
	(void)conn;
	(void)msg;
	held = rq;
}

static void setup(void)
{
	world_init(&w, 3, 1);
	rpc_handle(w.nodes[1].rpc, MSG_proc_where, handle_where, NULL);
	rpc_handle(w.nodes[2].rpc, MSG_proc_where, hold, NULL);
	cr_assert_eq(remote_new(&w.host, &r), 0);
}

static void teardown(void)
{
	if (held)
		rpc_reply(held, -EIO, NULL);
	world_disconnect(&w);
	remote_free(r);
	cr_assert_eq(world_release(&w), 0);
}

TestSuite(remote, .init = setup, .fini = teardown);

struct outcome {
	int done, status;
	uint32_t pid;
};

static void done(void *ctx, int status, const void *rep)
{
	struct outcome *o = ctx;

	o->done++;
	o->status = status;
	o->pid = status ? 0 : ((const struct msg_proc_where_rep *)rep)->pid;
}

static struct outcome call(uint32_t node, uint32_t timeout_ms)
{
	static const struct msg_proc_where_req req = { .cpid = 77 };
	struct outcome o = { 0 };

	remote_call(r, node, MSG_proc_where, &req, timeout_ms, done, &o);
	world_run(&w, &o.done, 3000);
	cr_assert_eq(o.done, 1);
	return o;
}

Test(remote, answers)
{
	struct outcome o = call(1, 500);

	cr_assert_eq(o.status, 0);
	cr_assert_eq(o.pid, 77u);
	o = call(1, 0);
	cr_assert_eq(o.status, 0);
}

Test(remote, one_that_does_not_answer)
{
	uint64_t before = uv_hrtime();

	cr_assert_eq(call(2, 200).status, -ETIMEDOUT);
	cr_assert_lt(uv_hrtime() - before, 600000000u);
}

Test(remote, one_that_cannot_even_be_dialled)
{
	uint64_t before = uv_hrtime();

	cr_assert_eq(call(3, 200).status, -ETIMEDOUT);
	cr_assert_lt(uv_hrtime() - before, 600000000u);
}

Test(remote, one_that_is_not_there)
{
	cr_assert_eq(call(9, 200).status, -EHOSTUNREACH);
	w.nodes[1].port = 1;
	cr_assert_eq(call(1, 200).status, -EHOSTUNREACH);
}

Test(remote, errors_of_the_other_side_are_its_own)
{
	static const struct msg_proc_local_req req;
	struct outcome o = { 0 };

	remote_call(r, 1, MSG_proc_local, &req, 500, done, &o);
	world_run(&w, &o.done, 3000);
	cr_assert_eq(o.status, -ENOSYS);
}

Test(remote, a_lost_connection_ends_the_call)
{
	static const struct msg_proc_where_req req;
	struct outcome o = { 0 };

	remote_call(r, 2, MSG_proc_where, &req, 0, done, &o);
	while (!held)
		uv_run(&w.loop, UV_RUN_ONCE);
	rpc_conn_close(rpc_req_conn(held));
	world_run(&w, &o.done, 3000);
	cr_assert_eq(o.status, -EHOSTUNREACH);
}
