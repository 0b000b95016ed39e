/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process service's two threads: many requests at once, good and bad, and an end in the middle of them. */
#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster/cpid.h"
#include "procfs-cluster/remote.h"
#include "procfs-cluster/service.h"
#include "tests/lib/procfs_world.h"

enum { ROUNDS = 5, CALLS = 60 };

struct call {
	int *left;
	int expected, status;
};

static void done(void *ctx, int status, const void *rep)
{
	struct call *c = ctx;

	(void)rep;
	c->status = status;
	--*c->left;
}

/* LEFT as world_run() wants it. */
static void run(struct world *w, const int *left)
{
	for (int i = 0, over = 0; *left && i < 600; i++)
		world_run(w, &over, 50);
	if (*left)
		errx(1, "%d requests were not answered", *left);
}

static void ask(struct world *w, struct remote *r, struct call calls[CALLS], int *left)
{
	static const struct msg_proc_scan_req scan = { .files = 0xf, .node_files = 0x7f };
	const struct msg_proc_read_req gone = { .cpid = cpid_make(1, 4194303), .path = "stat" };
	const struct msg_proc_read_req self = { .cpid = cpid_make(1, (uint32_t)getpid()), .path = "maps" };

	*left = CALLS;
	for (int i = 0; i < CALLS; i++) {
		calls[i] = (struct call){ left, i % 3 == 1 ? -ESRCH : 0, 1 };
		if (i % 3 == 0)
			remote_call(r, 1, MSG_proc_scan, &scan, 20000, done, &calls[i]);
		else
			remote_call(r, 1, MSG_proc_read, i % 3 == 1 ? &gone : &self, 20000, done, &calls[i]);
	}
	run(w, left);
}

int main(void)
{
	struct world *w = malloc(sizeof(*w));
	struct proc_service_conf conf = { .node_id = 1, .migrated_host = "127.0.0.1", .migrated_port = 1 };
	char dir[] = "/tmp/cfs-race-XXXXXX";
	struct proc_service *service;
	struct call calls[CALLS];
	struct remote *r;
	int left;

	if (!w || !mkdtemp(dir))
		err(1, "start");
	conf.state_dir = dir;
	world_init(w, 1, 0);
	if (proc_service_new(&w->loop, w->nodes[1].rpc, &conf, &service) || remote_new(&w->host, &r))
		errx(1, "no service");
	for (int round = 0; round < ROUNDS; round++) {
		ask(w, r, calls, &left);
		for (int i = 0; i < CALLS; i++)
			if (calls[i].status != calls[i].expected)
				errx(1, "request %d: %s", i, strerror(-calls[i].status));
	}
	left = CALLS;
	for (int i = 0; i < CALLS; i++)
		remote_call(r, 1, MSG_proc_where, &(const struct msg_proc_where_req){ .cpid = 1 }, 20000, done, &calls[i]);
	uv_run(&w->loop, UV_RUN_ONCE);
	uv_run(&w->loop, UV_RUN_ONCE);
	proc_service_free(service);
	run(w, &left);
	world_disconnect(w);
	remote_free(r);
	left = world_release(w);
	free(w);
	rmdir(dir);
	return left ? 1 : 0;
}
