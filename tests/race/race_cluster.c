/*
 * The cluster thread and everybody who talks to it: threads ask for leases and report positions while the loop's thread
 * changes the filesystem and stops and starts the node. For TSan.
 */
#include <assert.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cluster/cluster.h"
#include "cluster/state_dir.h"
#include "tests/lib/ports.h"

enum { ASKERS = 3, CHANGES = 20, LIMIT_S = 60 };

struct race {
	uv_loop_t loop;
	struct mailbox *mb;
	struct cluster *cl;
	struct config config;
	uv_timer_t timer;
	bool changing;
	int changes;
	time_t end;
	atomic_bool stop;
	atomic_uint_fast64_t epoch, valid;
};

static void on_config(void *ctx, const struct config *c)
{
	struct race *r = ctx;

	r->config = *c;
	atomic_store(&r->epoch, c->fs[0].epoch);
}

static void on_lost(void *ctx, uint32_t fs)
{
	(void)ctx;
	(void)fs;
}

static const struct cluster_events events = { on_config, on_lost };

static void *ask(void *arg)
{
	struct race *r = arg;

	for (uint64_t lsn = 1; !atomic_load(&r->stop); lsn++) {
		if (cluster_lease_valid(r->cl, 1, atomic_load(&r->epoch)))
			atomic_fetch_add(&r->valid, 1);
		cluster_report_position(r->cl, &(struct lease_position){ 1, atomic_load(&r->epoch), lsn });
	}
	return NULL;
}

static void changed(void *ctx, int status)
{
	struct race *r = ctx;

	assert(status == 0);
	r->changing = false;
	r->changes++;
}

static void on_timer(uv_timer_t *t)
{
	struct race *r = t->data;
	uint32_t self = 1;

	assert(time(NULL) < r->end);
	if (r->changes == CHANGES && atomic_load(&r->valid) > 0) {
		uv_close((uv_handle_t *)t, NULL);
		uv_stop(&r->loop);
	} else if (r->changes < CHANGES && !r->changing && r->config.nr_fs) {
		r->changing = true;
		cluster_fs_change(r->cl, 1, r->config.fs[0].epoch, 1, &self, 1, changed, r);
	}
}

static void run(const char *dir)
{
	struct race *r = calloc(1, sizeof(*r));
	struct cluster_conf conf = { .state_dir = dir };
	pthread_t askers[ASKERS];

	r->end = time(NULL) + LIMIT_S;
	uv_loop_init(&r->loop);
	assert(mailbox_new(&r->loop, &r->mb) == 0);
	assert(cluster_start(&conf, r->mb, &events, r, &r->cl) == 0);
	for (int i = 0; i < ASKERS; i++)
		pthread_create(&askers[i], NULL, ask, r);
	uv_timer_init(&r->loop, &r->timer);
	r->timer.data = r;
	uv_timer_start(&r->timer, on_timer, 0, 2);
	uv_run(&r->loop, UV_RUN_DEFAULT);
	atomic_store(&r->stop, true);
	for (int i = 0; i < ASKERS; i++)
		pthread_join(askers[i], NULL);
	cluster_stop(r->cl);
	mailbox_free(r->mb);
	uv_run(&r->loop, UV_RUN_DEFAULT);
	assert(uv_loop_close(&r->loop) == 0);
	free(r);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

int main(void)
{
	struct node_identity id = { .id = 1, .cluster_name = "race", .name = "node1", .host = "127.0.0.1" };
	char tmp[] = "/tmp/cfs-race-XXXXXX", dir[64];

	assert(mkdtemp(tmp));
	snprintf(dir, sizeof(dir), "%s/state", tmp);
	id.port = ports_find(1, 1);
	assert(state_dir_init(dir, &id) == 0);
	run(dir);
	run(dir);
	nftw(tmp, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}
