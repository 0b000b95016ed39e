#include "tests/sim/raft_sim.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "tests/sim/net.h"
#include "tests/sim/raft_disk.h"

enum { SERVERS_MAX = 5, TERMS_MAX = 4096, BUSY = 200 };

struct group;

struct server {
	struct group *g;
	uint32_t id;
	bool up;
	struct raft_disk *disk;
	struct raft_core *rc;
	uint64_t hard_pending;
	struct raft_actions outbox;
	struct net_conn *peer[SERVERS_MAX + 1];
	uint64_t serial[SERVERS_MAX + 1];
	uint64_t applied, hash; /* the state machine: a chain of hashes */
	uint64_t busy_ms;
	unsigned timeouts; /* in busy_ms */
};

struct group {
	struct sim_conf conf;
	struct world world;
	struct net *net;
	uint32_t n;
	struct server *servers[SERVERS_MAX + 1];
	uint32_t leader_of[TERMS_MAX]; /* by term */
	uint64_t *hashes;	       /* by index: what was applied there first */
	size_t nr_hashes;
	uint64_t submitted;
	bool storm, failed;
	bool torn; /* faults are splits in two, and each side changes the membership */
	uint32_t want[SERVERS_MAX]; /* voters asked for */
	size_t nr_want;
	char why[256];
};

static void step(struct server *s, struct raft_core_event *ev);

static void fail(struct group *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fail(struct group *g, const char *fmt, ...)
{
	va_list ap;

	if (g->failed)
		return;
	g->failed = true;
	va_start(ap, fmt);
	vsnprintf(g->why, sizeof(g->why), fmt, ap);
	va_end(ap);
	world_log(&g->world, 0, "FAILED: %s", g->why);
}

static uint64_t now_ms(const struct server *s)
{
	return world_clock_ms(&s->g->world, s->id);
}

struct later {
	struct server *s;
	void (*fn)(struct server *s);
};

static void run_later(void *arg)
{
	struct later l = *(struct later *)arg;

	free(arg);
	l.fn(l.s);
}

static void after(struct server *s, uint64_t delay_us, void (*fn)(struct server *s))
{
	struct later *l = malloc(sizeof(*l));

	assert(l);
	*l = (struct later){ s, fn };
	world_after(&s->g->world, s->id, delay_us, run_later, l, free);
}

/* ---- the state machine and what must be true of it ---- */

static uint64_t mix(uint64_t hash, uint64_t index, uint64_t term, const void *data, size_t len)
{
	const uint8_t *p = data;

	hash = (hash ^ index) * 0x9e3779b97f4a7c15u;
	hash = (hash ^ term) * 0xbf58476d1ce4e5b9u;
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ p[i]) * 0x100000001b3u;
	return hash ^ hash >> 29;
}

static void note_state(struct server *s)
{
	struct group *g = s->g;

	if (s->applied >= g->nr_hashes) {
		size_t n = s->applied + 1024;

		g->hashes = realloc(g->hashes, n * sizeof(*g->hashes));
		assert(g->hashes);
		memset(g->hashes + g->nr_hashes, 0, (n - g->nr_hashes) * sizeof(*g->hashes));
		g->nr_hashes = n;
	}
	if (!g->hashes[s->applied])
		g->hashes[s->applied] = s->hash;
	else if (g->hashes[s->applied] != s->hash)
		fail(g, "server %u applied something else at %" PRIu64, s->id, s->applied);
}

static void apply(struct server *s, const struct raft_action *a)
{
	if (a->index <= s->applied) {
		fail(s->g, "server %u applies %" PRIu64 " after %" PRIu64, s->id, a->index, s->applied);
		return;
	}
	s->hash = mix(s->hash, a->index, a->term, a->data, a->len);
	s->applied = a->index;
	world_log(&s->g->world, s->id, "applies %" PRIu64 " of term %" PRIu64, a->index, a->term);
	note_state(s);
}

static void restore(struct server *s, const struct raft_action *a)
{
	assert(a->len == 16);
	s->applied = get_le64(a->data);
	s->hash = get_le64((const uint8_t *)a->data + 8);
	note_state(s);
}

static void check_leader(struct server *s)
{
	uint64_t term = raft_core_term(s->rc);

	if (!raft_core_is_leader(s->rc) || term >= TERMS_MAX)
		return;
	if (s->g->leader_of[term] && s->g->leader_of[term] != s->id)
		fail(s->g, "servers %u and %u lead in term %" PRIu64, s->g->leader_of[term], s->id, term);
	s->g->leader_of[term] = s->id;
}

/* ---- actions ---- */

static void send_now(struct server *s, const struct raft_action *a)
{
	struct msg_raft_req m = { .message = { a->data, (uint32_t)a->len } };
	struct net_conn *c = a->to <= s->g->n ? s->peer[a->to] : NULL;

	if (c && net_conn_is_up(c, s->id))
		net_send(s->g->net, c, s->id, MSG_raft, &m);
}

static void send_or_wait(struct server *s, struct raft_action *a)
{
	struct raft_actions *o = &s->outbox;

	if (!s->hard_pending) {
		send_now(s, a);
		return;
	}
	if (o->nr == o->cap) {
		o->cap = o->cap ? 2 * o->cap : 16;
		o->v = realloc(o->v, o->cap * sizeof(*o->v));
		assert(o->v);
	}
	o->v[o->nr++] = *a;
	a->data = NULL;
}

static void hard_state_synced(void *ctx, uint64_t number)
{
	struct server *s = ctx;

	if (s->hard_pending != number)
		return;
	s->hard_pending = 0;
	for (size_t i = 0; i < s->outbox.nr; i++)
		send_now(s, &s->outbox.v[i]);
	raft_actions_release(&s->outbox);
}

static bool run_action(struct server *s, struct raft_action *a)
{
	switch (a->kind) {
	case RAFT_ACT_HARD_STATE:
		world_log(&s->g->world, s->id, "term %" PRIu64 ", vote for %" PRIu64, a->term, a->vote);
		s->hard_pending = raft_disk_write(s->disk, a, s->rc);
		break;
	case RAFT_ACT_ENTRIES:
	case RAFT_ACT_SNAPSHOT:
	case RAFT_ACT_SNAPSHOT_INSTALL:
		world_log(&s->g->world, s->id, "writes: kind %d, %u from %" PRIu64, a->kind, a->nr, a->index);
		raft_disk_write(s->disk, a, s->rc);
		break;
	case RAFT_ACT_SEND:
		send_or_wait(s, a);
		break;
	case RAFT_ACT_APPLY:
		apply(s, a);
		break;
	case RAFT_ACT_RESTORE:
		restore(s, a);
		break;
	case RAFT_ACT_WANT_STATE:
		return true;
	case RAFT_ACT_LEAD:
	case RAFT_ACT_FOLLOW:
		world_log(&s->g->world, s->id, a->kind == RAFT_ACT_LEAD ? "leads" : "follows");
		break;
	case RAFT_ACT_FATAL:
		fail(s->g, "server %u gave up: its log contradicts what is committed", s->id);
		break;
	}
	return false;
}

static void run_actions(struct server *s, struct raft_actions *acts)
{
	bool want_state = false;

	for (size_t i = 0; i < acts->nr && !s->g->failed; i++)
		want_state |= run_action(s, &acts->v[i]);
	raft_actions_release(acts);
	if (want_state && !s->g->failed) {
		uint8_t state[16];
		struct raft_core_event ev = { .kind = RAFT_EV_STATE, .data = state, .len = sizeof(state) };

		put_le64(state, s->applied);
		put_le64(state + 8, s->hash);
		step(s, &ev);
	}
}

static void step(struct server *s, struct raft_core_event *ev)
{
	struct raft_actions acts;

	raft_actions_init(&acts);
	ev->now_ms = now_ms(s);
	raft_core_step(s->rc, ev, &acts, NULL, NULL);
	run_actions(s, &acts);
	check_leader(s);
}

static void persisted(void *ctx, uint64_t index, uint64_t term)
{
	step(ctx, &(struct raft_core_event){ .kind = RAFT_EV_PERSISTED, .index = index, .term = term });
}

static void installed(void *ctx, uint64_t index)
{
	step(ctx, &(struct raft_core_event){ .kind = RAFT_EV_INSTALLED, .index = index });
}

static const struct raft_disk_events disk_events = { persisted, installed, hard_state_synced };

/* ---- timers ---- */

static void timer(struct server *s)
{
	uint64_t now = now_ms(s), at = raft_core_timeout(s->rc);

	if (now >= at) {
		if (s->busy_ms / 20 != now / 20)
			s->timeouts = 0;
		s->busy_ms = now;
		if (++s->timeouts > BUSY)
			fail(s->g, "server %u: its timer fires without end", s->id);
		step(s, &(struct raft_core_event){ .kind = RAFT_EV_TIMEOUT });
		now = now_ms(s);
		at = raft_core_timeout(s->rc);
	}
	/* A daemon sleeps until the timeout; new ones may come with messages, so this one looks every 2 ms. */
	if (!s->g->failed)
		after(s, at <= now ? 10 : 2 * MS, timer);
}

static void work(struct server *s)
{
	struct group *g = s->g;
	uint8_t data[8];

	if (raft_core_is_leader(s->rc) && g->storm) {
		put_le64(data, ++g->submitted);
		step(s, &(struct raft_core_event){ .kind = RAFT_EV_SUBMIT, .data = data, .len = sizeof(data) });
	}
	after(s, world_between(&g->world, 2 * MS, 30 * MS), work);
}

static bool contains(const uint32_t *ids, size_t n, uint32_t id)
{
	for (size_t i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

/* A leader never changes itself: one that is not wanted hands over when one that is wanted can take it. */
static void hand_over(struct server *s)
{
	struct group *g = s->g;
	uint32_t voters[RAFT_CORE_SERVERS_MAX];
	size_t n = raft_core_voters(s->rc, true, voters);

	for (size_t i = 0; i < g->nr_want; i++)
		if (contains(voters, n, g->want[i])) {
			step(s, &(struct raft_core_event){ .kind = RAFT_EV_TRANSFER, .from = g->want[i] });
			return;
		}
}

/* Whoever leads brings the membership nearer to what is wanted. */
static void steer(struct server *s)
{
	struct group *g = s->g;

	/* All are told: who comes to lead begins at once, when its predecessor's change may still be under way. */
	step(s, &(struct raft_core_event){ .kind = RAFT_EV_MEMBERS, .ids = g->want, .nr_ids = g->nr_want });
	if (raft_core_is_leader(s->rc)) {
		if (!contains(g->want, g->nr_want, s->id) && world_chance(&g->world, 50000))
			hand_over(s);
	}
	after(s, 20 * MS, steer);
}

static void redial(struct server *s)
{
	for (uint32_t p = 1; p <= s->g->n; p++)
		if (p != s->id && !s->peer[p])
			s->peer[p] = net_connect(s->g->net, s->id, p);
	after(s, world_between(&s->g->world, 30 * MS, 60 * MS), redial);
}

/* ---- network ---- */

static void up(void *ctx, struct net_conn *c, uint32_t peer, bool dialled)
{
	(void)ctx;
	(void)c;
	(void)peer;
	(void)dialled;
}

static void down(void *ctx, struct net_conn *c, uint32_t peer)
{
	struct server *s = ctx;

	if (s->peer[peer] == c)
		s->peer[peer] = NULL;
}

static void request(void *ctx, struct net_request *rq)
{
	struct server *s = ctx;
	const struct msg_raft_req *m = rq->msg;
	struct raft_core_event ev = {
		.kind = RAFT_EV_RECEIVE, .from = rq->from, .data = m->message.p, .len = m->message.len
	};

	if (net_conn_serial(rq->conn) >= s->serial[rq->from]) {
		s->serial[rq->from] = net_conn_serial(rq->conn);
		step(s, &ev);
	}
	net_request_free(s->g->net, rq);
}

static const struct net_events events = { up, down, request };

/* ---- life ---- */

static void start(struct server *s)
{
	struct group *g = s->g;
	struct raft_core_conf conf = { .id = s->id,
				       .election_ms = 200,
				       .heartbeat_ms = 40,
				       .seed = (uint32_t)world_rand(&g->world),
				       .guards_off = g->conf.guards_off,
				       .snapshot_threshold = 30,
				       .snapshot_trailing = 10 };
	struct raft_core_disk disk;
	struct raft_actions acts;

	world_start(&g->world, s->id);
	world_log(&g->world, s->id, "starts");
	s->up = true;
	s->applied = s->hash = s->hard_pending = 0;
	memset(s->peer, 0, sizeof(s->peer));
	memset(s->serial, 0, sizeof(s->serial));
	raft_actions_init(&s->outbox);
	net_attach(g->net, s->id, &events, s);
	raft_disk_attach(s->disk, &disk_events, s);
	raft_disk_load(s->disk, &disk);
	raft_actions_init(&acts);
	if (raft_core_new(&conf, now_ms(s), &disk, &acts, &s->rc)) {
		fail(g, "server %u does not start", s->id);
		return;
	}
	run_actions(s, &acts);
	timer(s);
	work(s);
	steer(s);
	redial(s);
}

static void stop(struct server *s)
{
	net_kill(s->g->net, s->id);
	world_kill(&s->g->world, s->id);
	world_log(&s->g->world, s->id, "dies");
	s->up = false;
	raft_actions_release(&s->outbox);
	raft_core_free(s->rc);
	s->rc = NULL;
}

static void revive(void *arg)
{
	struct server *s = arg;

	if (!s->up)
		start(s);
}

static void heal(void *arg)
{
	net_heal(((struct group *)arg)->net);
}

/* Voters: an odd number of servers, by chance. */
static void want_others(struct group *g)
{
	uint32_t nr = world_chance(&g->world, 500000) ? 3 : g->n, have = 0;

	memset(g->want, 0, sizeof(g->want));
	for (uint32_t i = 1; i <= g->n && have < nr; i++)
		if (world_rand(&g->world) % (g->n - i + 1) < nr - have)
			g->want[have++] = i;
	g->nr_want = have;
}

/* Two sides that do not hear of each other, for a time in which both may elect; by turns all but one are wanted. */
static void tear(void *arg)
{
	struct group *g = arg;
	uint32_t side[SERVERS_MAX + 1], out = (uint32_t)world_between(&g->world, 1, g->n);

	if (!g->storm || g->failed)
		return;
	net_heal(g->net);
	for (uint32_t i = 1; i <= g->n; i++)
		side[i] = (uint32_t)world_between(&g->world, 0, 1);
	for (uint32_t a = 1; a <= g->n; a++)
		for (uint32_t b = a + 1; b <= g->n; b++)
			if (side[a] != side[b])
				net_cut(g->net, a, b, true);
	g->nr_want = 0;
	for (uint32_t i = 1; i <= g->n; i++)
		if (i != out)
			g->want[g->nr_want++] = i;
	world_after(&g->world, 0, world_between(&g->world, 10 * MS, world_chance(&g->world, 300000) ? 60 * MS : 700 * MS), tear, g, NULL);
}

static void strike(void *arg)
{
	struct group *g = arg;
	struct server *s = g->servers[world_between(&g->world, 1, g->n)];
	uint64_t dice = world_between(&g->world, 0, 9);

	if (!g->storm || g->failed)
		return;
	if (dice < 3) {
		want_others(g);
	} else if (dice < 6 && s->up) {
		stop(s);
		world_after(&g->world, 0, world_between(&g->world, 10 * MS, 2000 * MS), revive, s, NULL);
	} else {
		for (uint32_t p = 1; p <= g->n; p++)
			if (p != s->id && world_chance(&g->world, 600000))
				net_cut(g->net, s->id, p, true);
		world_after(&g->world, 0, world_between(&g->world, 50 * MS, 2000 * MS), heal, g, NULL);
	}
	world_after(&g->world, 0, world_between(&g->world, 20 * MS, 800 * MS), strike, g, NULL);
}

/* ---- the end ---- */

static struct server *leader(struct group *g)
{
	for (uint32_t i = 1; i <= g->n; i++)
		if (g->servers[i]->up && raft_core_leads(g->servers[i]->rc, now_ms(g->servers[i])))
			return g->servers[i];
	return NULL;
}

/* The voters are those wanted, and hold what the leader holds. */
static bool together(struct group *g)
{
	struct server *l = leader(g);
	uint32_t voters[RAFT_CORE_SERVERS_MAX];
	size_t n = l ? raft_core_voters(l->rc, true, voters) : 0;

	if (!l || n != g->nr_want)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!contains(g->want, n, voters[i]) || g->servers[voters[i]]->applied != l->applied)
			return false;
	return true;
}

static void log_group(struct group *g)
{
	for (uint32_t i = 1; i <= g->n; i++) {
		const struct server *s = g->servers[i];
		uint32_t voters[RAFT_CORE_SERVERS_MAX];
		size_t n = raft_core_voters(s->rc, true, voters);

		world_log(&g->world, i, "%s term %" PRIu64 " applied %" PRIu64 " commit %" PRIu64 " last %" PRIu64,
			  raft_core_is_leader(s->rc) ? "leads" : "follows", raft_core_term(s->rc), s->applied,
			  raft_core_commit(s->rc), raft_core_last(s->rc));
		for (size_t k = 0; k < n; k++)
			world_log(&g->world, i, "    counts %u as a voter", voters[k]);
		n = raft_core_voters(s->rc, false, voters);
		for (size_t k = 0; k < n; k++)
			world_log(&g->world, i, "    %u votes by the log's last word", voters[k]);
	}
}

static void settle(struct group *g, const char *what)
{
	uint64_t until = g->world.now + g->conf.calm_us;

	while (!g->failed && g->world.now < until && !together(g))
		world_run(&g->world, g->world.now + 50 * MS);
	if (!g->failed && !together(g)) {
		log_group(g);
		fail(g, "%s", what);
	}
}

static void calm_down(struct group *g)
{
	struct net_faults none = { 0 };

	g->storm = false;
	net_heal(g->net);
	net_set_faults(g->net, &none);
	for (uint32_t i = 1; i <= g->n; i++)
		revive(g->servers[i]);
	settle(g, "the group does not come together");
	for (int i = 0; i < 2 && !g->failed; i++) {
		want_others(g);
		settle(g, "the membership can no longer be changed");
	}
}

static void build(struct group *g)
{
	uint32_t first[3] = { 1, 2, 3 };
	struct net_faults faults = { .reset = (uint32_t)world_between(&g->world, 0, 10000),
				     .slow = (uint32_t)world_between(&g->world, 0, 50000),
				     .slow_max_us = world_between(&g->world, 1 * MS, 300 * MS) };
	void *buf;
	size_t len;
	int r = raft_core_bootstrap(first, 3, &buf, &len);

	assert(!r);
	g->torn = world_chance(&g->world, 500000);
	g->n = g->torn ? 4 : world_chance(&g->world, 500000) ? 3 : SERVERS_MAX;
	net_init(&g->world, &g->net);
	net_set_faults(g->net, &faults);
	for (uint32_t i = 1; i <= g->n; i++) {
		struct server *s = g->servers[i] = calloc(1, sizeof(*s));

		assert(s);
		s->g = g;
		s->id = i;
		s->disk = raft_disk_new(&g->world, i);
		if (i <= 3)
			raft_disk_bootstrap(s->disk, 1, RAFT_CORE_CHANGE, buf, len);
		start(s);
	}
	free(buf);
	memcpy(g->want, first, sizeof(first));
	g->nr_want = 3;
}

bool raft_sim_run(const struct sim_conf *conf, char *ret_why, size_t len)
{
	struct group *g = calloc(1, sizeof(*g));
	bool ok;

	assert(g);
	g->conf = *conf;
	g->storm = true;
	world_init(&g->world, conf->seed, conf->trace);
	build(g);
	world_after(&g->world, 0, 800 * MS, g->torn ? tear : strike, g, NULL);
	while (!g->failed && g->world.now < conf->storm_us)
		world_run(&g->world, g->world.now + 100 * MS);
	if (!g->failed)
		calm_down(g);
	ok = !g->failed;
	snprintf(ret_why, len, "%s", g->why);
	for (uint32_t i = 1; i <= g->n; i++)
		if (g->servers[i]->up)
			stop(g->servers[i]);
	world_release(&g->world);
	net_free(g->net);
	for (uint32_t i = 1; i <= g->n; i++) {
		raft_disk_free(g->servers[i]->disk);
		free(g->servers[i]);
	}
	free(g->hashes);
	free(g);
	return ok;
}
