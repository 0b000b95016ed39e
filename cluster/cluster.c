/*
 * The cluster thread: start, the functions of cluster.h, goodbye, end. What runs on it is in raft_io.c (consensus),
 * links.c (connections), heartbeat.c (leases), propose.c, config_io.c, join.c. The thread never waits for a disk but at
 * start and end: the log has a writer thread of its own, all other files a worker.
 *
 * The user's thread and this one talk by letters (common/mailbox.h); leases and positions are read and written by any.
 */
#include "cluster/cluster.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "cluster/internal.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/worker.h"

enum {
	STACK_SIZE = 512 << 10,
	RT_PRIORITY = 10,
	GOODBYE_MS = 700,  /* for others to take over what we serve */
	TRANSFER_MS = 300, /* for another to lead */
};

uint64_t cluster_now_ms(void)
{
	struct timespec ts;

	/* Goes on while the machine sleeps: a lease must not survive that. */
	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

struct cluster *cluster_ref(struct cluster *cl)
{
	atomic_fetch_add(&cl->refs, 1);
	return cl;
}

void cluster_unref(struct cluster *cl)
{
	if (atomic_fetch_sub(&cl->refs, 1) != 1)
		return;
	tls_identity_free(cl->tls);
	pthread_mutex_destroy(&cl->pos_lock);
	uv_sem_destroy(&cl->started);
	free(cl->config);
	free(cl->applied);
	free(cl->state_dir);
	free(cl->tls_dir);
	free(cl);
}

/* Voters know it from the consensus, others from the answers to their heartbeats. */
uint32_t cluster_leader(const struct cluster *cl)
{
	uint32_t ids[RAFT_CORE_SERVERS_MAX];
	size_t n = raft_core_voters(cl->core, false, ids);

	for (size_t i = 0; i < n; i++)
		if (ids[i] == cl->id.id)
			return raft_core_leader(cl->core);
	return cl->leader;
}

/* ---- the thread's life ---- */

/* Load must not look like death. Refused without privileges: that costs a failover at worst, never data. */
static void take_priority(void)
{
	struct sched_param param = { .sched_priority = RT_PRIORITY };
	pthread_attr_t attr;
	void *stack;
	size_t size;
	int r = pthread_setschedparam(pthread_self(), SCHED_RR | SCHED_RESET_ON_FORK, &param);

	if (r)
		log_debug("cluster", "no real-time priority: %s", strerror(r));
	if (pthread_getattr_np(pthread_self(), &attr))
		return;
	if (pthread_attr_getstack(&attr, &stack, &size) || mlock(stack, size) < 0)
		log_debug("cluster", "the thread's memory is not locked: %s", strerror(errno));
	pthread_attr_destroy(&attr);
}

static void finish(struct cluster *cl)
{
	uv_close((uv_handle_t *)&cl->tick, NULL);
	uv_close((uv_handle_t *)&cl->heartbeat_timer, NULL);
	config_io_stop(cl);
	propose_stop(cl);
	links_stop(cl);
	rpc_free(cl->rpc); /* ends what was sent with -ECANCELED */
	propose_complete(cl);
	raft_io_stop(cl);
	worker_free(cl->worker);
	mailbox_free(cl->mb);
}

static bool others_lead_what_i_serve(struct cluster *cl)
{
	for (size_t i = 0; i < cl->config->nr_fs; i++)
		if (cl->config->fs[i].server == cl->id.id && cl->config->fs[i].nr_in_sync > 1)
			return false;
	return true;
}

static bool may_go(struct cluster *cl, uint64_t now)
{
	uint32_t ids[RAFT_CORE_SERVERS_MAX];
	const struct config_node *self = config_node_by_id(cl->config, cl->id.id);

	if (now >= cl->leave_until_ms)
		return true;
	if (!cl->goodbye_said) {
		heartbeat_send(cl);
		return false;
	}
	if (!self || self->state == NODE_UP || !others_lead_what_i_serve(cl))
		return false;
	if (!raft_core_is_leader(cl->core) || raft_core_voters(cl->core, false, ids) == 1)
		return true;
	if (!cl->transferring) {
		cl->transferring = true;
		cl->leave_until_ms = now + TRANSFER_MS;
		raft_io_transfer(cl);
	}
	return false;
}

static void on_tick(uv_timer_t *t)
{
	struct cluster *cl = t->data;
	uint64_t now = cluster_now_ms();

	links_tick(cl, now);
	heartbeat_tick(cl, now);
	config_poll_tick(cl, now);
	propose_tick(cl, now);
	join_tick(cl, now);
	if (cl->leaving && may_go(cl, now))
		finish(cl);
}

/* A removed node has a good certificate still. */
static int may_come_in(void *ctx, uint32_t node_id)
{
	struct cluster *cl = ctx;

	return config_node_was_removed(cl->config, node_id) ? -EKEYREVOKED : 0;
}

static int listen_at(struct cluster *cl)
{
	struct rpc_self self = { cl->id.cluster_id, cl->id.id, RPC_ROLE_NODE, cl->id.name };
	int r = rpc_new(&cl->loop, &self, cl->tls, &cl->rpc);

	if (r < 0)
		return r;
	rpc_on_accept(cl->rpc, &links_accept_events, cl);
	rpc_set_gate(cl->rpc, may_come_in, cl);
	raft_io_serve(cl);
	propose_serve(cl);
	heartbeat_serve(cl);
	config_serve(cl);
	join_serve(cl);
	return rpc_listen(cl->rpc, cl->id.host, cl->id.port, NULL);
}

static int begin(struct cluster *cl)
{
	int r = mailbox_new(&cl->loop, &cl->mb);

	if (r < 0)
		return r;
	r = worker_new(&cl->loop, &cl->worker);
	if (!r)
		r = listen_at(cl);
	if (r < 0) {
		log_error("cluster", "%s:%u: %s", cl->id.host, cl->id.port, strerror(-r));
	} else {
		r = raft_io_start(cl);
		if (r < 0)
			log_error("cluster", "the raft log in %s cannot be used: %s", cl->state_dir, strerror(-r));
	}
	if (r < 0) {
		if (cl->rpc)
			rpc_free(cl->rpc);
		if (cl->raft_timer.data)
			uv_close((uv_handle_t *)&cl->raft_timer, NULL);
		worker_free(cl->worker);
		mailbox_free(cl->mb);
		return r;
	}
	uv_timer_init(&cl->loop, &cl->tick);
	cl->tick.data = cl;
	uv_timer_start(&cl->tick, on_tick, 0, CLUSTER_TICK_MS);
	heartbeat_start(cl);
	return 0;
}

static void *cluster_thread(void *arg)
{
	struct cluster *cl = arg;
	int r = uv_loop_init(&cl->loop);

	if (!r) {
		r = begin(cl);
		if (!r)
			take_priority();
	}
	cl->start_status = r;
	uv_sem_post(&cl->started);
	/* Until finish(), or what begin() left behind, has closed all. */
	uv_run(&cl->loop, UV_RUN_DEFAULT);
	uv_loop_close(&cl->loop);
	return NULL;
}

/* ---- start ---- */

/* The configuration on file is what everybody begins with. */
static int load(struct cluster *cl)
{
	int r = node_identity_load(cl->state_dir, &cl->id);

	if (!r)
		r = tls_identity_load(cl->tls_dir, &cl->tls);
	if (!r)
		r = join_load(cl);
	if (!r)
		r = raft_io_open(cl);
	if (r < 0)
		return r;
	r = config_file_load(cl->state_dir, cl->config);
	if (r < 0) {
		if (r != -ENOENT)
			log_warn("cluster", "%s/config cannot be used: %s", cl->state_dir, strerror(-r));
		*cl->config = (struct config){ 0 };
	}
	return 0;
}

struct fs_change {
	struct cluster *cl;
	struct cmd_fs_change cmd;
	cluster_done done;
	void *ctx;
	int status;
};

static struct cluster *make(const struct cluster_conf *conf)
{
	struct cluster *cl = calloc(1, sizeof(*cl));

	if (!cl)
		return NULL;
	atomic_init(&cl->refs, 1);
	pthread_mutex_init(&cl->pos_lock, NULL);
	uv_sem_init(&cl->started, 0);
	cl->times = conf->times.heartbeat_ms ? conf->times : (struct cluster_times)CLUSTER_TIMES_DEFAULT;
	cl->config = calloc(1, sizeof(*cl->config));
	cl->applied = calloc(1, sizeof(*cl->applied));
	cl->state_dir = strdup(conf->state_dir);
	if (asprintf(&cl->tls_dir, "%s/tls", conf->state_dir) < 0)
		cl->tls_dir = NULL;
	if (!cl->config || !cl->applied || !cl->state_dir || !cl->tls_dir) {
		cluster_unref(cl);
		return NULL;
	}
	return cl;
}

static int run_thread(struct cluster *cl)
{
	pthread_attr_t attr;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	r = pthread_create(&cl->thread, &attr, cluster_thread, cl);
	pthread_attr_destroy(&attr);
	if (r)
		return -r;
	uv_sem_wait(&cl->started);
	if (cl->start_status < 0)
		pthread_join(cl->thread, NULL);
	return cl->start_status;
}

int cluster_start(const struct cluster_conf *conf, struct mailbox *mb, const struct cluster_events *events, void *ctx,
		  struct cluster **ret_cluster)
{
	struct cluster *cl = make(conf);
	int r;

	if (!cl)
		return -ENOMEM;
	cl->user_mb = mb;
	cl->events = events;
	cl->ctx = ctx;
	r = load(cl);
	if (!r) {
		lease_leader_init(&cl->lease_leader, cl->id.id, &cl->times, 0);
		lease_node_init(&cl->lease_node, cl->id.id, &cl->times);
		/* Before the thread posts newer ones. */
		if (cl->config->version || cl->config->cluster_id)
			config_tell(cl);
		r = run_thread(cl);
	}
	if (r < 0) {
		cl->stopped = true;
		raft_store_close(cl->store);
		cluster_unref(cl);
		return r;
	}
	*ret_cluster = cl;
	return 0;
}

/* ---- stop ---- */

static void leave(void *arg)
{
	struct cluster *cl = arg;

	cl->leaving = true;
	cl->leave_until_ms = cluster_now_ms() + GOODBYE_MS;
	lease_node_drop(&cl->lease_node);
	heartbeat_publish(cl);
	heartbeat_send(cl);
	cl->lead_tick_ms = 0;
}

void cluster_stop(struct cluster *cl)
{
	if (!cl)
		return;
	cl->stopped = true;
	if (mailbox_post(cl->mb, leave, cl) < 0)
		abort(); /* the thread cannot be told to end */
	pthread_join(cl->thread, NULL);
	cluster_unref(cl);
}

/* ---- for the user ---- */

uint32_t cluster_node_id(const struct cluster *cl)
{
	return cl->id.id;
}

uint64_t cluster_id(const struct cluster *cl)
{
	return cl->id.cluster_id;
}

const struct node_identity *cluster_identity(const struct cluster *cl)
{
	return &cl->id;
}

bool cluster_lease_valid(struct cluster *cl, uint32_t fs, uint64_t epoch)
{
	for (size_t i = 0; i < CONFIG_FS_MAX; i++) {
		uint64_t until;

		if (atomic_load(&cl->lease[i].fs) != fs || atomic_load(&cl->lease[i].epoch) != epoch)
			continue;
		until = atomic_load(&cl->lease[i].until_ms);
		/* The end is of this epoch, or the epoch has changed by now (heartbeat_publish). */
		return atomic_load(&cl->lease[i].epoch) == epoch && cluster_now_ms() < until;
	}
	return false;
}

void cluster_report_position(struct cluster *cl, const struct lease_position *pos)
{
	LOCK_SCOPE(&cl->pos_lock);
	size_t i = 0;

	while (i < cl->nr_pos && cl->pos[i].fs != pos->fs)
		i++;
	if (i == CONFIG_FS_MAX)
		return;
	if (i == cl->nr_pos)
		cl->nr_pos++;
	cl->pos[i] = *pos;
}

static void change_told(void *arg)
{
	struct fs_change *f = arg;

	if (!f->cl->stopped)
		f->done(f->ctx, f->status);
	cluster_unref(f->cl);
	free(f);
}

static void change_done(void *ctx, int status, uint32_t result)
{
	struct fs_change *f = ctx;

	(void)result;
	f->status = status;
	if (mailbox_post(f->cl->user_mb, change_told, f) < 0)
		log_error("cluster", "no memory to tell of a change of filesystem %u", f->cmd.fs);
}

static void change_start(void *arg)
{
	struct fs_change *f = arg;

	if (f->cl->store)
		propose_cmd(f->cl, CMD_fs_change, &f->cmd, change_done, f);
	else
		change_done(f, -ESHUTDOWN, 0);
}

void cluster_fs_change(struct cluster *cl, uint32_t fs, uint64_t expected, uint32_t server, const uint32_t *in_sync,
		       size_t nr_in_sync, cluster_done done, void *ctx)
{
	struct fs_change *f = calloc(1, sizeof(*f));

	/* The callback must come, and not from here: without memory there is no way on. */
	if (!f || nr_in_sync > WIRE_U32S_MAX)
		abort();
	*f = (struct fs_change){ .cl = cluster_ref(cl), .done = done, .ctx = ctx };
	f->cmd = (struct cmd_fs_change){ .fs = fs, .expected = expected, .server = server };
	f->cmd.in_sync.n = (uint32_t)nr_in_sync;
	memcpy(f->cmd.in_sync.v, in_sync, nr_in_sync * sizeof(*in_sync));
	if (mailbox_post(cl->mb, change_start, f) < 0)
		abort();
}
