/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Nodes that know where each process is, as the test says: place[node][pid]. */
#include "procfs-cluster/locate.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <unistd.h>

#include "cluster/cpid.h"
#include "tests/lib/procfs_world.h"

enum { NR = 5, PIDS = 16 };

static struct world w;
static struct remote *remote;
static struct nodes *nodes;
static struct locator *l;
static uint32_t place[NR + 1][PIDS]; /* 0: unknown there */
static unsigned asked[NR + 1];

static void handle_where(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	uint32_t id = (uint32_t)(uintptr_t)ctx, pid = cpid_pid(((const struct msg_proc_where_req *)msg)->cpid);
	struct msg_proc_where_rep rep = { .node = place[id][pid] };

	(void)conn;
	asked[id]++;
	if (rep.node == id)
		rep = (struct msg_proc_where_rep){ id, 1000 + pid, 1, 2, 3, 4 };
	rpc_reply(rq, rep.node ? 0 : -ESRCH, &rep);
}

static void setup(void)
{
	world_init(&w, NR, 1); /* node 5 is silent */
	for (uintptr_t id = 1; id < NR; id++)
		rpc_handle(w.nodes[id].rpc, MSG_proc_where, handle_where, (void *)id);
	cr_assert_eq(remote_new(&w.host, &remote), 0);
	cr_assert_eq(nodes_new(&w.host, remote, &nodes), 0);
	cr_assert_eq(locator_new(&w.host, remote, nodes, &l), 0);
}

static void teardown(void)
{
	world_disconnect(&w);
	remote_free(remote);
	locator_free(l);
	nodes_free(nodes);
	cr_assert_eq(world_release(&w), 0);
}

TestSuite(locate, .init = setup, .fini = teardown);

struct outcome {
	int done, status;
	struct ident id;
};

static void done(void *ctx, int status, const struct ident *id)
{
	struct outcome *o = ctx;

	o->done++;
	o->status = status;
	if (!status)
		o->id = *id;
}

static struct outcome find(uint32_t cpid, uint32_t max_age_ms)
{
	struct outcome o = { 0 };

	locate(l, cpid, max_age_ms, done, &o);
	world_run(&w, &o.done, 6000);
	cr_assert_eq(o.done, 1);
	return o;
}

Test(locate, at_its_birth_node)
{
	struct outcome o;

	place[2][7] = 2;
	o = find(cpid_make(2, 7), 0);
	cr_assert_eq(o.status, 0);
	cr_assert(o.id.node == 2 && o.id.pid == 1007 && o.id.uid == 1 && o.id.gid == 2 && o.id.file_uid == 3);
	cr_assert_eq(asked[1] + asked[3] + asked[4], 0u);
}

Test(locate, follows_the_moves)
{
	place[1][7] = 2;
	place[2][7] = 3;
	place[3][7] = 3;
	cr_assert_eq(find(cpid_make(1, 7), 0).id.node, 3u);
	/* the next question goes straight there */
	cr_assert_eq(find(cpid_make(1, 7), 0).id.node, 3u);
	cr_assert(asked[1] == 1 && asked[2] == 1 && asked[3] == 2);
}

Test(locate, remembers_for_as_long_as_one_likes)
{
	place[2][7] = 2;
	find(cpid_make(2, 7), 0);
	cr_assert_eq(find(cpid_make(2, 7), 1000).id.pid, 1007u);
	cr_assert_eq(asked[2], 1u);
	locate_forget(l, cpid_make(2, 7));
	find(cpid_make(2, 7), 1000);
	cr_assert_eq(asked[2], 2u);
}

Test(locate, went_home_from_where_it_was_last_seen)
{
	place[1][7] = 2;
	place[2][7] = 2;
	find(cpid_make(1, 7), 0);
	place[2][7] = 0;
	place[1][7] = 1;
	cr_assert_eq(find(cpid_make(1, 7), 0).id.node, 1u);
}

Test(locate, gone)
{
	cr_assert_eq(find(cpid_make(2, 7), 0).status, -ESRCH);
	place[2][7] = 2;
	find(cpid_make(2, 7), 0);
	place[2][7] = 0;
	cr_assert_eq(find(cpid_make(2, 7), 0).status, -ESRCH);
	cr_assert_eq(find(77, 0).status, -ESRCH, "a plain pid has no birth node");
}

Test(locate, nodes_that_point_at_each_other)
{
	place[1][7] = 2;
	place[2][7] = 1;
	cr_assert_eq(find(cpid_make(1, 7), 0).status, -ESRCH);
	cr_assert_lt(asked[1] + asked[2], 20u);
}

Test(locate, of_a_node_that_is_down)
{
	struct outcome o;

	place[4][7] = 4;
	o = find(cpid_make(5, 7), 0);
	cr_assert_eq(o.status, 0);
	cr_assert_eq(o.id.node, 4u);
	cr_assert_eq(find(cpid_make(5, 8), 0).status, -EHOSTUNREACH, "it may be there and not be seen");
	cr_assert_eq(find(cpid_make(77, 8), 0).status, -EHOSTUNREACH);
}

Test(locate, a_lost_node_is_waited_for_once)
{
	uint64_t before;

	cr_assert_eq(find(cpid_make(5, 8), 0).status, -EHOSTUNREACH);
	before = uv_hrtime();
	for (uint32_t pid = 1; pid < 10; pid++)
		cr_assert_eq(find(cpid_make(5, pid), 0).status, -EHOSTUNREACH);
	cr_assert_lt(uv_hrtime() - before, 500000000u);
	cr_assert(nodes_is_silent(nodes, 5));
	nodes_heard(nodes, 5, 0);
	cr_assert_eq(nodes_patience(nodes, 5, 1000), 1000u, "it has answered again");
}

Test(locate, a_silent_node_is_asked_once_a_second)
{
	nodes_heard(nodes, 4, -ETIMEDOUT);
	cr_assert_eq(nodes_patience(nodes, 4, 1000), 0u);
	usleep(1100000);
	uv_update_time(&w.loop);
	cr_assert_gt(nodes_patience(nodes, 4, 1000), 0u, "is it back?");
	cr_assert_eq(nodes_patience(nodes, 4, 1000), 0u);
	place[4][7] = 4;
	usleep(1100000);
	uv_update_time(&w.loop);
	cr_assert_eq(find(cpid_make(4, 7), 0).status, 0);
	cr_assert(!nodes_is_silent(nodes, 4));
}
