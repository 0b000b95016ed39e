/* Life, death and connections of a simulated node. */
#include "tests/sim/node.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct later {
	struct sim_node *n;
	void (*fn)(struct sim_node *n);
};

static void run_later(void *arg)
{
	struct later l = *(struct later *)arg;

	free(arg);
	l.fn(l.n);
}

void node_after(struct sim_node *n, uint64_t delay_us, void (*fn)(struct sim_node *n))
{
	struct later *l = malloc(sizeof(*l));

	assert(l);
	*l = (struct later){ n, fn };
	world_after(&n->sim->world, n->id, delay_us, run_later, l, free);
}

uint64_t node_clock(const struct sim_node *n)
{
	return world_clock_ms(&n->sim->world, n->id);
}

bool node_alive(const struct sim_node *n)
{
	return n->up;
}

/* ---- connections ---- */

static void redial(struct sim_node *n)
{
	for (uint32_t p = 1; p <= SIM_NODES; p++)
		if (p != n->id && !n->peer[p])
			n->peer[p] = net_connect(n->sim->net, n->id, p);
	node_after(n, world_between(&n->sim->world, 40 * MS, 60 * MS), redial);
}

static void up(void *ctx, struct net_conn *c, uint32_t peer, bool dialled)
{
	struct sim_node *n = ctx;

	if (peer > SIM_NODES || n->peer[peer] != c)
		node_files_up(n, c, peer, dialled);
}

static void down(void *ctx, struct net_conn *c, uint32_t peer)
{
	struct sim_node *n = ctx;

	if (peer <= SIM_NODES && n->peer[peer] == c)
		n->peer[peer] = NULL;
	else
		node_files_down(n, c, peer);
}

static void request(void *ctx, struct net_request *rq)
{
	struct sim_node *n = ctx;

	if (rq->info->number == MSG_ping)
		net_reply(n->sim->net, rq, 0, &(struct msg_ping_rep){ 0 });
	else if (!node_cluster_request(n, rq) && !node_files_request(n, rq))
		sim_fail(n->sim, "node %u: nobody handles %s", n->id, rq->info->name);
}

static const struct net_events events = { up, down, request };

/* ---- life ---- */

struct sim_node *node_new(struct sim *s, uint32_t id, const struct config *bootstrap)
{
	struct sim_node *n = calloc(1, sizeof(*n));
	struct store *store;
	int r;

	assert(n);
	n->sim = s;
	n->id = id;
	n->disk = raft_disk_new(&s->world, id);
	node_cluster_bootstrap(n, bootstrap);
	r = meta_mem_open(&n->meta);
	assert(!r);
	r = data_mem_open(1u << 30, &n->data);
	assert(!r);
	r = store_open(n->meta, n->data, &store);
	assert(!r);
	r = store_format(store, 1, 0);
	assert(!r);
	r = store_sync(store, 0);
	assert(!r);
	store_detach(store, &n->meta, &n->data);
	return n;
}

void node_start(struct sim_node *n)
{
	world_start(&n->sim->world, n->id);
	world_log(&n->sim->world, n->id, "starts");
	n->up = true;
	memset(n->peer, 0, sizeof(n->peer));
	net_attach(n->sim->net, n->id, &events, n);
	node_files_start(n);
	node_cluster_start(n);
	if (!n->sim->failed)
		redial(n);
}

void node_kill(struct sim_node *n)
{
	world_log(&n->sim->world, n->id, "dies");
	net_kill(n->sim->net, n->id);
	world_kill(&n->sim->world, n->id);
	n->up = false;
	node_files_stop(n);
	node_cluster_stop(n);
	n->dirty = true;
}

void node_power_loss(struct sim_node *n)
{
	if (n->up)
		node_kill(n);
	world_log(&n->sim->world, n->id, "loses power");
	node_files_power_loss(n);
}

void node_free(struct sim_node *n)
{
	if (!n)
		return;
	if (n->up)
		node_kill(n);
	raft_disk_free(n->disk);
	n->meta->ops->close(n->meta);
	n->data->ops->close(n->data);
	free(n);
}
