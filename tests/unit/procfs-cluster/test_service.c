/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The service on this machine's /proc, asked over rpc; node 2 stands in for cfs-migrated. */
#include "procfs-cluster/service.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cluster/cpid.h"
#include "procfs-cluster/files.h"
#include "procfs-cluster/remote.h"
#include "procfs-cluster/scan.h"
#include "tests/lib/procfs_world.h"
#include "wire/errors.h"
#include "writer.h"

static struct world w;
static struct remote *r;
static struct proc_service *service;
static char dir[64];
static struct msg_goto_rep goto_rep;
static unsigned nr_goto;
static uint32_t goto_uid;

static void handle_goto(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	(void)ctx;
	(void)conn;
	nr_goto++;
	goto_uid = ((const struct msg_goto_req *)msg)->uid;
	rpc_reply(rq, 0, &goto_rep);
}

static void handle_cantmove(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	struct msg_cantmove_rep rep = { .reasons = { "gpu\n", 4 } };

	(void)ctx;
	(void)conn;
	(void)msg;
	rpc_reply(rq, 0, &rep);
}

static void setup(void)
{
	struct proc_service_conf conf = { .node_id = 1, .state_dir = dir, .migrated_host = "127.0.0.1" };

	strcpy(dir, "/tmp/cfs-service-XXXXXX");
	cr_assert(mkdtemp(dir));
	world_init(&w, 2, 0);
	rpc_handle(w.nodes[2].rpc, MSG_goto, handle_goto, NULL);
	rpc_handle(w.nodes[2].rpc, MSG_cantmove, handle_cantmove, NULL);
	conf.migrated_port = w.nodes[2].port;
	cr_assert_eq(proc_service_new(&w.loop, w.nodes[1].rpc, &conf, &service), 0);
	cr_assert_eq(remote_new(&w.host, &r), 0);
}

static void teardown(void)
{
	proc_service_free(service);
	world_disconnect(&w);
	remote_free(r);
	cr_assert_eq(world_release(&w), 0);
	cr_assert_eq(rmdir(dir), 0);
}

TestSuite(service, .init = setup, .fini = teardown);

struct outcome {
	int done, status;
	char text[256];
	size_t len;
	uint32_t a, b;
};

static void done(void *ctx, int status, const void *rep)
{
	struct outcome *o = ctx;

	(void)rep;
	o->done++;
	o->status = status;
}

static void read_done(void *ctx, int status, const void *rep)
{
	const struct msg_proc_read_rep *m = rep;
	struct outcome *o = ctx;

	done(ctx, status, rep);
	if (status)
		return;
	o->len = m->data.len;
	snprintf(o->text, sizeof(o->text), "%.*s", (int)m->data.len, (const char *)m->data.p);
}

static void local_done(void *ctx, int status, const void *rep)
{
	const struct msg_proc_local_rep *m = rep;
	struct outcome *o = ctx;

	done(ctx, status, rep);
	o->a = status ? 0 : m->cpid;
	o->b = status ? 0 : m->tid;
}

static void scan_done(void *ctx, int status, const void *rep)
{
	const struct msg_proc_scan_rep *m = rep;
	struct outcome *o = ctx;
	struct wire_reader reader;
	struct scan_proc p;

	done(ctx, status, rep);
	cr_assert_eq(status, 0);
	reader = (struct wire_reader){ m->procs.p, (const uint8_t *)m->procs.p + m->procs.len };
	while (scan_get(&reader, &p) > 0)
		o->a++;
	o->b = m->next;
	o->len = m->node.len;
}

static struct outcome call(enum msg_type type, const void *req, rpc_done fn)
{
	struct outcome o = { 0 };

	remote_call(r, 1, type, req, 5000, fn, &o);
	world_run(&w, &o.done, 6000);
	cr_assert_eq(o.done, 1);
	return o;
}

static uint32_t self(void)
{
	return cpid_make(1, (uint32_t)getpid());
}

static struct outcome read_file(const char *path)
{
	struct msg_proc_read_req req = { .cpid = self(), .path = path };

	return call(MSG_proc_read, &req, read_done);
}

Test(service, scans)
{
	struct msg_proc_scan_req req = { .files = 1, .node_files = 1u << NODE_FILE_uptime };
	struct outcome all = call(MSG_proc_scan, &req, scan_done), piece;

	cr_assert_gt(all.a, 2u);
	cr_assert_eq(all.b, 0u);
	cr_assert_gt(all.len, 5u);
	req.max_bytes = 1;
	piece = call(MSG_proc_scan, &req, scan_done);
	cr_assert_eq(piece.a, 1u);
	cr_assert_neq(piece.b, 0u);
	req.files = 0;
	cr_assert_eq(call(MSG_proc_scan, &req, scan_done).a, 0u);
}

Test(service, reads)
{
	cr_assert_eq(read_file("comm").status, 0);
	cr_assert_eq(read_file("mem").status, -ENOENT);
	cr_assert_str_eq(read_file("home").text, "1\n");
	cr_assert_str_eq(read_file("nmigs").text, "0\n");
	cr_assert_str_eq(read_file("cantmove").text, "gpu\n");
}

Test(service, the_absent)
{
	struct msg_proc_read_req req = { .cpid = cpid_make(1, 4194303), .path = "comm" };
	static const char *const paths[] = { "comm", "home", "cantmove" };

	for (size_t i = 0; i < 3; i++) {
		req.path = paths[i];
		cr_expect_eq(call(MSG_proc_read, &req, read_done).status, -ESRCH, "%s", paths[i]);
	}
}

Test(service, plain_pids)
{
	struct msg_proc_local_req req = { .caller = (uint32_t)getpid() };
	struct outcome o = call(MSG_proc_local, &req, local_done);

	cr_assert(o.a == self() && o.b == self());
}

static int control(uint32_t uid, const char *verb)
{
	struct msg_proc_control_req req = { .cpid = self(), .uid = uid, .verb = verb, .argument = "node2" };

	return call(MSG_proc_control, &req, done).status;
}

Test(service, control_is_for_those_who_may_signal)
{
	cr_assert_eq(control(getuid(), "goto"), 0);
	cr_assert_eq(goto_uid, getuid());
	cr_assert_eq(control(0, "goto"), 0);
	cr_assert_eq(control(getuid() + 1, "goto"), -EPERM);
	cr_assert_eq(nr_goto, 2u);
	cr_assert_eq(control(0, "dance"), -EOPNOTSUPP);
}

Test(service, control_tells_what_migrated_says)
{
	goto_rep = (struct msg_goto_rep){ wire_status_from_errno(-EBUSY), "moving already" };
	cr_assert_eq(control(0, "goto"), -EBUSY);
}

Test(service, without_migrated)
{
	rpc_free(w.nodes[2].rpc);
	w.nodes[2].rpc = NULL;
	cr_assert_eq(control(0, "goto"), -EHOSTUNREACH);
	cr_assert_eq(read_file("cantmove").status, -EHOSTUNREACH);
	cr_assert_eq(read_file("comm").status, 0);
}

Test(service, freed_while_asked)
{
	struct msg_proc_scan_req req = { .files = 0xff };
	struct outcome o[20] = { 0 };

	call(MSG_proc_local, &(struct msg_proc_local_req){ .caller = (uint32_t)getpid() }, local_done);
	for (size_t i = 0; i < 20; i++)
		remote_call(r, 1, MSG_proc_scan, &req, 5000, done, &o[i]);
	for (int i = 0; i < 5; i++)
		uv_run(&w.loop, UV_RUN_ONCE);
	proc_service_free(service);
	service = NULL;
	for (size_t i = 0; i < 20; i++) {
		world_run(&w, &o[i].done, 3000);
		cr_assert_eq(o[i].done, 1);
		cr_assert(o[i].status == 0 || o[i].status == -ENOSYS);
	}
}
