/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Nodes that answer scans with processes the test gives them, in pieces of one, and count what they are asked. */
#include "procfs-cluster/scans.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "cluster/cpid.h"
#include "procfs-cluster/scan.h"
#include "tests/lib/procfs_world.h"
#include "writer.h"

enum { NR = 3, PER_NODE = 4 };

static struct world w;
static struct remote *remote;
static struct nodes *nodes;
static struct scans *s;
static unsigned asked[NR + 1], pieces[NR + 1];
static uint32_t files_asked[NR + 1];
static bool mute;
static struct rpc_req *held[8];
static unsigned nr_held;
static int proc_fd;
static uint32_t me;

/* Every process has pid 1..4; the last one's environ is too large for scans. */
static void put_process(struct wire_writer *out, uint32_t node, uint32_t pid, uint32_t files)
{
	struct scan_proc p = { .cpid = cpid_make(node, pid), .pid = pid };
	char texts[2][32];

	snprintf(texts[0], sizeof(texts[0]), "stat %u", pid);
	snprintf(texts[1], sizeof(texts[1]), "environ %u", pid);
	if (files & 1u << PROC_FILE_stat)
		p.files[p.nr_files++] = (struct scan_file){ PROC_FILE_stat, SCAN_DATA, text_str(texts[0]) };
	if (files & 1u << PROC_FILE_environ && pid == 1)
		p.files[p.nr_files++] = (struct scan_file){ PROC_FILE_environ, SCAN_DENIED, text_str("") };
	else if (files & 1u << PROC_FILE_environ && pid < PER_NODE)
		p.files[p.nr_files++] = (struct scan_file){ PROC_FILE_environ, SCAN_DATA, text_str(texts[1]) };
	cr_assert_eq(scan_put(out, &p), 0);
}

static void handle_scan(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_proc_scan_req *m = msg;
	uint32_t id = (uint32_t)(uintptr_t)ctx;
	struct msg_proc_scan_rep rep = { 0 };
	struct wire_writer out, node;

	(void)conn;
	if (!m->after)
		asked[id]++;
	pieces[id]++;
	files_asked[id] = m->files;
	if (mute && id == 2) {
		cr_assert_lt(nr_held, 8u);
		held[nr_held++] = rq;
		return;
	}
	wire_writer_init(&out);
	wire_writer_init(&node);
	put_process(&out, id, m->after + 1, m->files);
	if (m->node_files & 1u << NODE_FILE_stat)
		scan_put_node(&node, NODE_FILE_stat, id == 1 ? "btime 100\n" : "btime 103\n", 10);
	rep.procs = (struct wire_blob){ out.buf, (uint32_t)out.len };
	rep.node = (struct wire_blob){ node.buf, (uint32_t)node.len };
	rep.next = m->after + 1 < PER_NODE ? m->after + 1 : 0;
	rpc_reply(rq, 0, &rep);
	wire_writer_release(&out);
	wire_writer_release(&node);
}

static void setup(void)
{
	me = (uint32_t)getpid();
	world_init(&w, NR, 1); /* node 3 is silent */
	for (uintptr_t id = 1; id < NR; id++)
		rpc_handle(w.nodes[id].rpc, MSG_proc_scan, handle_scan, (void *)id);
	proc_fd = open("/proc", O_RDONLY | O_DIRECTORY);
	cr_assert_eq(remote_new(&w.host, &remote), 0);
	cr_assert_eq(nodes_new(&w.host, remote, &nodes), 0);
	cr_assert_eq(scans_new(&w.host, remote, nodes, proc_fd, &s), 0);
}

static void teardown(void)
{
	while (nr_held)
		rpc_reply(held[--nr_held], -EIO, NULL);
	world_disconnect(&w);
	remote_free(remote);
	scans_free(s);
	nodes_free(nodes);
	close(proc_fd);
	cr_assert_eq(world_release(&w), 0);
}

TestSuite(scans, .init = setup, .fini = teardown);

struct opened {
	int done;
	struct scan *scan;
	size_t count;
};

static void scanned(void *ctx, struct scan *scan, struct snapshot *snapshot)
{
	struct opened *o = ctx;

	o->done++;
	o->scan = scan;
	o->count = snapshot_count(snapshot);
}

static struct opened open_dir(void)
{
	struct opened o = { 0 };

	cr_assert_eq(scans_open(s, me, scanned, &o), 0);
	world_run(&w, &o.done, 3000);
	cr_assert_eq(o.done, 1);
	return o;
}

struct outcome {
	int done, status;
	char text[64];
};

static void was_read(void *ctx, int status, struct text t)
{
	struct outcome *o = ctx;

	o->done++;
	o->status = status;
	snprintf(o->text, sizeof(o->text), "%.*s", (int)text_len(t), t.p);
}

static struct outcome read_file(uint32_t cpid, unsigned file)
{
	struct outcome o = { 0 };

	scans_read(s, me, cpid, file, was_read, &o);
	world_run(&w, &o.done, 3000);
	cr_assert_eq(o.done, 1);
	return o;
}

Test(scans, all_nodes_that_answer_one_request_each)
{
	uint64_t before = uv_hrtime();
	struct opened o = open_dir();

	cr_assert_lt(uv_hrtime() - before, 900000000u);
	cr_assert_eq(o.count, 2u * PER_NODE);
	cr_assert(asked[1] == 1 && asked[2] == 1);
	cr_assert_eq(pieces[1], PER_NODE);
	cr_assert_str_eq(read_file(cpid_make(2, 3), PROC_FILE_stat).text, "stat 3");
	cr_assert_eq(asked[2], 1u, "what is read comes from the scan");
	cr_assert_eq(nodes_ticks(nodes, 2), 3 * sysconf(_SC_CLK_TCK));
	cr_assert_eq(nodes_ticks(nodes, 1), 0);
	scans_close(o.scan);
}

Test(scans, a_silent_node_is_waited_for_once)
{
	struct opened first = open_dir(), second;
	uint64_t before = uv_hrtime();

	second = open_dir();
	cr_assert_lt(uv_hrtime() - before, 300000000u);
	cr_assert_eq(second.count, first.count);
	cr_assert(nodes_is_silent(nodes, 3));
	scans_close(first.scan);
	scans_close(second.scan);
}

Test(scans, a_kind_is_fetched_for_all_at_once)
{
	struct outcome o[3] = { 0 };
	struct opened opened = open_dir();

	asked[1] = asked[2] = 0;
	for (uint32_t pid = 1; pid <= 3; pid++)
		scans_read(s, me, cpid_make(1, pid), PROC_FILE_environ, was_read, &o[pid - 1]);
	world_run(&w, &o[0].done, 3000);
	cr_assert(o[0].done == 1 && o[1].done == 1 && o[2].done == 1);
	cr_assert_eq(o[0].status, -EACCES);
	cr_assert_str_eq(o[1].text, "environ 2");
	cr_assert(asked[1] == 1 && asked[2] == 0);
	cr_assert_eq(files_asked[1], 1u << PROC_FILE_environ);
	/* the one that is too large is to be read alone, and does not make everything be fetched again */
	cr_assert_eq(read_file(cpid_make(1, 4), PROC_FILE_environ).status, -EAGAIN);
	cr_assert_eq(asked[1], 1u);
	scans_close(opened.scan);
	/* next time it comes along */
	opened = open_dir();
	cr_assert(files_asked[1] & 1u << PROC_FILE_environ);
	cr_assert_str_eq(read_file(cpid_make(2, 2), PROC_FILE_environ).text, "environ 2");
	scans_close(opened.scan);
}

Test(scans, a_node_lost_between_costs_one_wait)
{
	struct opened o = open_dir();
	uint64_t before;

	mute = true;
	cr_assert_eq(read_file(cpid_make(2, 1), PROC_FILE_environ).status, -ESRCH);
	before = uv_hrtime();
	for (uint32_t pid = 1; pid <= PER_NODE; pid++)
		cr_assert_eq(read_file(cpid_make(2, pid), PROC_FILE_environ).status, -ESRCH);
	cr_assert_lt(uv_hrtime() - before, 300000000u);
	cr_assert_str_eq(read_file(cpid_make(2, 3), PROC_FILE_stat).text, "stat 3", "what is here is given");
	scans_close(o.scan);
}

Test(scans, only_who_scanned_goes_by_it)
{
	struct opened o = open_dir();

	cr_assert_not_null(scans_find(s, me, cpid_make(1, 1)));
	cr_assert_null(scans_find(s, 1, cpid_make(1, 1)));
	cr_assert_null(scans_find(s, 4194303, cpid_make(1, 1)));
	cr_assert_null(scans_find(s, me, cpid_make(1, 99)));
	cr_assert_eq(read_file(cpid_make(1, 1), PROC_FILE_maps).status, -EAGAIN);
	scans_close(o.scan);
	cr_assert_not_null(scans_find(s, me, cpid_make(1, 1)), "for a second more");
	scans_expire(s);
	cr_assert_null(scans_find(s, me, cpid_make(1, 1)));
}

Test(scans, closed_before_it_is_done)
{
	struct opened o = { 0 };
	struct snapshot_proc *p;

	cr_assert_eq(scans_open(s, me, scanned, &o), 0);
	p = scans_find(s, me, cpid_make(1, 1));
	cr_assert_null(p, "not before it is complete");
	world_run(&w, &o.done, 1500);
	cr_assert_eq(o.done, 1);
	scans_close(o.scan);
}
