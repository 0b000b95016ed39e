/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "procfs-cluster/control.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cluster/cpid.h"
#include "tests/lib/procfs_world.h"

static struct world w;
static struct procfs fs;
static uint32_t lives_on; /* the one process */
static int answer;	  /* of proc_control */
static bool leaves;	  /* just before it is asked for the first time */
static unsigned asked;
static char verb[300], argument[300];
static uint32_t uid;

static void handle_where(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	struct msg_proc_where_rep rep = { .node = lives_on, .pid = 7 };

	(void)ctx;
	(void)conn;
	(void)msg;
	rpc_reply(rq, lives_on ? 0 : -ESRCH, &rep);
}

static void handle_control(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_proc_control_req *m = msg;

	(void)conn;
	asked++;
	if (leaves) {
		leaves = false;
		lives_on = 2;
	}
	snprintf(verb, sizeof(verb), "%s", m->verb);
	snprintf(argument, sizeof(argument), "%s", m->argument);
	uid = m->uid;
	rpc_reply(rq, (uintptr_t)ctx == lives_on ? answer : -ESRCH, NULL);
}

static void setup(void)
{
	world_init(&w, 3, 0);
	w.config.nodes[2].state = NODE_DOWN;
	for (uintptr_t id = 1; id <= 3; id++) {
		rpc_handle(w.nodes[id].rpc, MSG_proc_where, handle_where, (void *)id);
		rpc_handle(w.nodes[id].rpc, MSG_proc_control, handle_control, (void *)id);
	}
	fs.host = &w.host;
	cr_assert_eq(remote_new(&w.host, &fs.remote), 0);
	cr_assert_eq(nodes_new(&w.host, fs.remote, &fs.nodes), 0);
	cr_assert_eq(locator_new(&w.host, fs.remote, fs.nodes, &fs.locator), 0);
	cr_assert_eq(scans_new(&w.host, fs.remote, fs.nodes, -1, &fs.scans), 0);
	lives_on = 1;
}

static void teardown(void)
{
	world_disconnect(&w);
	remote_free(fs.remote);
	scans_free(fs.scans);
	locator_free(fs.locator);
	nodes_free(fs.nodes);
	cr_assert_eq(world_release(&w), 0);
}

TestSuite(control, .init = setup, .fini = teardown);

Test(control, what_goto_takes)
{
	static const struct {
		const char *text, *target;
		int status;
	} cases[] = {
		{ "node2\n", "node2", 0 },	{ "node2", "node2", 0 },	{ "  node2 \n", "node2", 0 },
		{ "2\n", "node2", 0 },		{ "home\n", "home", 0 },	{ "", NULL, -EINVAL },
		{ "\n", NULL, -EINVAL },	{ "node9\n", NULL, -EINVAL },	{ "9\n", NULL, -EINVAL },
		{ "node2 x\n", NULL, -EINVAL }, { "node2\nx", NULL, -EINVAL },	{ "node", NULL, -EINVAL },
		{ "-1\n", NULL, -EINVAL },	{ "0\n", NULL, -EINVAL },	{ "4294967298\n", NULL, -EINVAL },
		{ "node3\n", NULL, -EHOSTUNREACH },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char target[CONFIG_NAME_MAX] = "untouched";

		cr_expect_eq(control_parse_goto(&w.config, cases[i].text, strlen(cases[i].text), target), cases[i].status,
			     "%s", cases[i].text);
		cr_expect_str_eq(target, cases[i].target ? cases[i].target : "untouched");
	}
}

struct outcome {
	int done, status;
};

static void done(void *ctx, int status)
{
	struct outcome *o = ctx;

	o->done++;
	o->status = status;
}

static int write_to(enum tree_id id, const char *text)
{
	struct tree_node node = { .id = id, .cpid = cpid_make(1, 7) };
	struct outcome o = { 0 };
	struct control *c;

	control_write(&fs, &node, 1000, text, strlen(text), done, &o, &c);
	world_run(&w, &o.done, 3000);
	cr_assert_eq(o.done, 1);
	return o.status;
}

Test(control, goes_to_the_node_where_it_is)
{
	cr_assert_eq(write_to(TREE_GOTO, "node2\n"), 0);
	cr_assert_eq(asked, 1u);
	cr_assert_str_eq(verb, "goto");
	cr_assert_str_eq(argument, "node2");
	cr_assert_eq(uid, 1000u);
}

Test(control, follows_one_that_has_just_left)
{
	leaves = true;
	cr_assert_eq(write_to(TREE_GOTO, "home"), 0);
	cr_assert_eq(asked, 2u);
}

Test(control, tells_why_not)
{
	static const int errors[] = { -EPERM, -EBUSY, -EOPNOTSUPP, -ETIMEDOUT, -EHOSTUNREACH };

	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
		answer = errors[i];
		cr_expect_eq(write_to(TREE_GOTO, "node2\n"), errors[i]);
	}
	asked = 0;
	cr_assert_eq(write_to(TREE_GOTO, "nowhere\n"), -EINVAL);
	cr_assert_eq(write_to(TREE_GOTO, "node3\n"), -EHOSTUNREACH);
	cr_assert_eq(write_to(TREE_WHERE, "node2\n"), -EACCES);
	cr_assert_eq(asked, 0u);
	lives_on = 0;
	cr_assert_eq(write_to(TREE_GOTO, "node2\n"), -ESRCH);
}

Test(control, a_writer_that_does_not_wait)
{
	struct tree_node node = { .id = TREE_GOTO, .cpid = cpid_make(1, 7) };
	struct outcome o = { 0 };
	struct control *c;

	control_write(&fs, &node, 0, "node2", 5, done, &o, &c);
	cr_assert_not_null(c);
	control_abandon(c);
	while (!asked)
		uv_run(&w.loop, UV_RUN_ONCE);
	world_run(&w, &o.done, 100);
	cr_assert_eq(o.done, 0);
}
