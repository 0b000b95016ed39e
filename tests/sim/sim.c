/* One run: build the cluster, let a storm of faults pass over it, give it time to come together, check everything. */
#include "tests/sim/sim.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cfsd/local.h"
#include "tests/sim/check.h"
#include "tests/sim/client.h"
#include "tests/sim/node.h"

void sim_fail(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	if (s->failed)
		return;
	s->failed = true;
	va_start(ap, fmt);
	vsnprintf(s->why, sizeof(s->why), fmt, ap);
	va_end(ap);
	world_log(&s->world, 0, "FAILED: %s", s->why);
}

static struct config first_config(void)
{
	struct config c = { .version = 0, .cluster_id = 1, .name = "sim", .next_node_id = SIM_NODES + 1 };
	struct config_fs *fs = &c.fs[0];

	for (uint32_t i = 0; i < SIM_NODES; i++) {
		struct config_node *n = &c.nodes[c.nr_nodes++];

		n->id = i + 1;
		snprintf(n->name, sizeof(n->name), "node%u", i + 1);
		snprintf(n->host, sizeof(n->host), "10.0.0.%u", i + 1);
		n->port = 7480;
		n->state = NODE_UP;
		n->voter = true;
		fs->members[fs->nr_members++] = n->id;
		fs->in_sync[fs->nr_in_sync++] = n->id;
	}
	fs->id = SIM_FS;
	strcpy(fs->name, "root");
	strcpy(fs->path, "/");
	fs->epoch = 1;
	fs->server = 1;
	c.nr_fs = 1;
	return c;
}

/* ---- faults ---- */

static void revive(void *arg)
{
	struct sim_node *n = arg;

	if (!node_alive(n))
		node_start(n);
}

static void crash_one(struct sim *s)
{
	struct sim_node *n = s->nodes[world_between(&s->world, 1, SIM_NODES)];

	if (!node_alive(n))
		return;
	node_kill(n);
	world_after(&s->world, 0, world_between(&s->world, 10 * MS, 3000 * MS), revive, n, NULL);
}

static bool whole(const struct sim *s);

static void cut_power(struct sim *s, bool all)
{
	for (uint32_t i = 1; i <= SIM_NODES; i++) {
		struct sim_node *n = s->nodes[i];

		if (!all && world_chance(&s->world, 500000))
			continue;
		node_power_loss(n);
		world_after(&s->world, 0, world_between(&s->world, 10 * MS, 2000 * MS), revive, n, NULL);
	}
}

/* Right after the last one has come into sync. */
static void cut_power_when_whole(void *arg)
{
	struct sim *s = arg;

	if (!s->storm || s->failed)
		return;
	if (whole(s))
		cut_power(s, true);
	else
		world_after(&s->world, 0, 2 * MS, cut_power_when_whole, s, NULL);
}

static void lose_power(struct sim *s)
{
	uint64_t how = world_between(&s->world, 0, 2);

	if (how && !whole(s))
		cut_power_when_whole(s);
	else
		cut_power(s, how == 1);
}

static void heal(void *arg)
{
	struct sim *s = arg;

	world_log(&s->world, 0, "the network is whole");
	net_heal(s->net);
}

/* Takes one node, sometimes with a client, off the network; or cuts one link. */
static void cut_some(struct sim *s)
{
	uint32_t who = (uint32_t)world_between(&s->world, 1, SIM_NODES + s->nr_clients);
	bool link_only = world_chance(&s->world, 300000);
	uint32_t friend = (uint32_t)world_between(&s->world, 1, SIM_NODES + s->nr_clients);

	for (uint32_t p = 1; p <= SIM_NODES + s->nr_clients; p++)
		if (p != who && (link_only ? p == friend : p != friend))
			net_cut(s->net, who, p, true);
	world_log(&s->world, 0, "%u is cut off%s %u", who, link_only ? " from" : " with", friend);
	world_after(&s->world, 0, world_between(&s->world, 50 * MS, 3000 * MS), heal, s, NULL);
}

static void strike(void *arg)
{
	struct sim *s = arg;

	if (!s->storm || s->failed)
		return;
	switch (world_between(&s->world, 0, 5)) {
	case 0:
	case 1:
		crash_one(s);
		break;
	case 2:
		lose_power(s);
		break;
	default:
		cut_some(s);
	}
	world_after(&s->world, 0, world_between(&s->world, 100 * MS, 2500 * MS), strike, s, NULL);
}

/* ---- the end ---- */

static bool idle(const struct sim *s)
{
	for (size_t i = 0; i < s->nr_clients; i++)
		if (!sim_client_idle(s->clients[i]))
			return false;
	return true;
}

/* Every node knows the newest configuration, and in it everyone is in sync. */
static bool whole(const struct sim *s)
{
	const struct config_fs *first = config_fs_by_id(&s->nodes[1]->view, SIM_FS);

	for (uint32_t i = 1; i <= SIM_NODES; i++) {
		const struct config_fs *fs = config_fs_by_id(&s->nodes[i]->view, SIM_FS);

		if (!fs || fs->epoch != first->epoch || fs->nr_in_sync != SIM_NODES)
			return false;
	}
	return true;
}

/* What is of one copy only is passed over. */
static int next_shared(struct meta *m, struct meta_iter *it, const void **key, size_t *klen, const void **val, size_t *vlen)
{
	int r;

	do
		r = m->ops->iter_next(it, key, klen, val, vlen);
	while (r > 0 && local_is_key(*key, *klen));
	return r;
}

static bool same_content(struct meta *a, struct meta *b)
{
	const void *ka, *va, *kb, *vb;
	size_t kla, vla, klb, vlb;
	struct meta_iter *ia, *ib;
	int ra, rb;
	bool same = true;

	a->ops->iter_new(a, "", 0, &ia);
	b->ops->iter_new(b, "", 0, &ib);
	do {
		ra = next_shared(a, ia, &ka, &kla, &va, &vla);
		rb = next_shared(b, ib, &kb, &klb, &vb, &vlb);
		if (ra != rb || (ra > 0 && (kla != klb || vla != vlb || memcmp(ka, kb, kla) || memcmp(va, vb, vla))))
			same = false;
	} while (same && ra > 0);
	a->ops->iter_free(ia);
	b->ops->iter_free(ib);
	return same;
}

static void check_end(struct sim *s)
{
	uint32_t server = config_fs_by_id(&s->nodes[1]->view, SIM_FS)->server;

	if (!idle(s))
		sim_fail(s, "clients still wait after the calm");
	else if (!whole(s))
		sim_fail(s, "not everyone is in sync after the calm");
	for (uint32_t i = 1; i <= SIM_NODES && !s->failed; i++)
		if (!same_content(s->nodes[i]->meta, s->nodes[server]->meta))
			sim_fail(s, "node %u holds something else than the server, node %u", i, server);
	if (!s->failed)
		check_history(s->check, store_position(s->nodes[server]->store));
}

static void calm_down(struct sim *s)
{
	uint64_t until = s->world.now + s->conf.calm_us;
	struct net_faults none = { 0 };

	s->storm = false;
	net_heal(s->net);
	net_set_faults(s->net, &none);
	for (uint32_t i = 1; i <= SIM_NODES; i++)
		revive(s->nodes[i]);
	/* Together for two seconds: a failure that was about to be noticed has been. */
	for (int quiet = 0; quiet < 20 && !s->failed && s->world.now < until;) {
		world_run(&s->world, s->world.now + 100 * MS);
		quiet = idle(s) && whole(s) ? quiet + 1 : 0;
	}
}

static void build(struct sim *s)
{
	struct config c = first_config();
	struct net_faults faults = { .reset = (uint32_t)world_between(&s->world, 0, 3000),
				     .slow = (uint32_t)world_between(&s->world, 0, 50000),
				     .slow_max_us = world_between(&s->world, 1 * MS, 300 * MS) };

	net_init(&s->world, &s->net);
	net_set_faults(s->net, &faults);
	check_new(s, &s->check);
	for (uint32_t i = 1; i <= SIM_NODES; i++)
		s->nodes[i] = node_new(s, i, &c);
	for (uint32_t i = 1; i <= SIM_NODES; i++)
		node_start(s->nodes[i]);
	s->nr_clients = world_between(&s->world, 1, 3);
	for (uint32_t i = 0; i < s->nr_clients; i++) {
		s->clients[i] = sim_client_new(s, SIM_CLIENT(i));
		sim_client_start(s->clients[i]);
	}
}

static void tear_down(struct sim *s)
{
	for (uint32_t i = 1; i <= SIM_NODES; i++)
		node_free(s->nodes[i]);
	world_release(&s->world);
	net_free(s->net);
	for (size_t i = 0; i < s->nr_clients; i++)
		sim_client_free(s->clients[i]);
	check_free(s->check);
}

bool sim_run(const struct sim_conf *conf, char *ret_why, size_t len)
{
	struct sim *s = calloc(1, sizeof(*s));
	uint64_t until;
	bool ok;

	assert(s);
	s->conf = *conf;
	s->storm = true;
	world_init(&s->world, conf->seed, conf->trace);
	build(s);
	world_after(&s->world, 0, 1500 * MS, strike, s, NULL);
	until = conf->storm_us;
	while (!s->failed && s->world.now < until)
		world_run(&s->world, s->world.now + 100 * MS);
	if (!s->failed)
		calm_down(s);
	if (!s->failed)
		check_end(s);
	ok = !s->failed;
	snprintf(ret_why, len, "%s", s->why);
	tear_down(s);
	free(s);
	return ok;
}
