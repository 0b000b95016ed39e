/*
 * Consensus in memory: servers with a disk that writes late, FIFO links that delay, lose connections and are cut, a
 * virtual clock. What is applied must be the same everywhere; there is one leader a term.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/raft_internal.h"
#include "common/bytes.h"

enum { SERVERS = 5, LOG_MAX = 4096, QUEUE_MAX = 8192 };

struct write {
	uint64_t at, index, nr, term;
	struct raft_core_entry *v; /* owned */
	struct raft_action *snap;  /* owned; SNAPSHOT or SNAPSHOT_INSTALL */
};

struct server {
	struct raft_core *core;
	uint64_t term, vote, start, nr, applied;
	struct raft_core_entry disk[LOG_MAX];
	struct raft_mem_snapshot snap;
	struct write w[64];
	size_t nr_w;
	uint64_t sum, fires; /* the state machine: a hash; timeouts fired */
	bool leads, fatal;
};

struct letter {
	uint64_t at;
	uint32_t from, to;
	void *data;
	size_t len;
};

struct world {
	uint64_t now;
	unsigned seed;
	struct server s[SERVERS + 1];
	struct letter q[QUEUE_MAX];
	size_t nr_q;
	bool cut[SERVERS + 1][SERVERS + 1];
	uint64_t sum_at[LOG_MAX]; /* of the first who applied it */
	uint32_t leader_of[LOG_MAX];
	uint32_t disk_ms, delay_ms, guards_off, threshold, trailing;
};

static unsigned chance(struct world *w, unsigned n)
{
	w->seed = w->seed * 1103515245u + 12345u;
	return (w->seed >> 16) % n;
}

static void drive(struct world *w, uint32_t id, struct raft_actions *a);

static void step(struct world *w, uint32_t id, struct raft_core_event ev)
{
	struct raft_actions a;

	raft_actions_init(&a);
	ev.now_ms = w->now;
	raft_core_step(w->s[id].core, &ev, &a, NULL, NULL);
	drive(w, id, &a);
	raft_actions_release(&a);
}

static void disk_cut(struct server *s, uint64_t index)
{
	while (s->nr && s->start + s->nr > index)
		free((void *)s->disk[--s->nr].data);
}

static void disk_snapshot(struct server *s, const struct raft_action *a)
{
	cr_assert_eq(raft_mem_snapshot_set(&s->snap, &a->snapshot), 0);
	if (a->kind == RAFT_ACT_SNAPSHOT_INSTALL) {
		disk_cut(s, 0);
		s->start = a->snapshot.index + 1;
		return;
	}
	while (s->nr && s->start < a->cut) {
		free((void *)s->disk[0].data);
		memmove(s->disk, s->disk + 1, --s->nr * sizeof(*s->disk));
		s->start++;
	}
}

static void write_free(struct write *x)
{
	for (uint64_t i = 0; i < x->nr; i++)
		free((void *)x->v[i].data);
	free(x->v);
	if (x->snap)
		free(x->snap->data);
	free(x->snap);
}

/* The first write reaches the disk; TELL the core. */
static void write_done(struct world *w, uint32_t id, bool tell)
{
	struct server *s = &w->s[id];
	struct write x = s->w[0];
	struct raft_core_event ev = { 0 };

	memmove(s->w, s->w + 1, --s->nr_w * sizeof(*s->w));
	if (x.snap) {
		disk_snapshot(s, x.snap);
		ev = (struct raft_core_event){ .kind = RAFT_EV_INSTALLED, .index = x.snap->snapshot.index };
		tell = tell && x.snap->kind == RAFT_ACT_SNAPSHOT_INSTALL;
	} else {
		if (!s->nr)
			s->start = s->start ? s->start : 1;
		disk_cut(s, x.index);
		cr_assert_eq(s->start + s->nr, x.index, "the log on disk has no hole");
		for (uint64_t i = 0; i < x.nr; i++) {
			s->disk[s->nr] = x.v[i];
			x.v[i].data = NULL;
			s->nr++;
		}
		ev = (struct raft_core_event){ .kind = RAFT_EV_PERSISTED, .index = x.index + x.nr - 1, .term = x.term };
	}
	write_free(&x);
	if (tell)
		step(w, id, ev);
}

static void send(struct world *w, uint32_t from, struct raft_action *a)
{
	uint64_t at = w->now + 1 + chance(w, w->delay_ms + 1);

	if (w->cut[from][a->to] || w->nr_q == QUEUE_MAX || a->to > SERVERS)
		return;
	for (size_t i = 0; i < w->nr_q; i++)
		if (w->q[i].from == from && w->q[i].to == a->to && w->q[i].at > at)
			at = w->q[i].at; /* FIFO */
	w->q[w->nr_q++] = (struct letter){ at, from, a->to, a->data, a->len };
	a->data = NULL;
}

static void apply(struct world *w, uint32_t id, const struct raft_action *a)
{
	struct server *s = &w->s[id];

	cr_assert_gt(a->index, s->applied);
	s->applied = a->index;
	for (size_t i = 0; i < a->len; i++)
		s->sum = s->sum * 31 + ((const uint8_t *)a->data)[i];
	if (!w->sum_at[a->index])
		w->sum_at[a->index] = s->sum;
	cr_assert_eq(w->sum_at[a->index], s->sum, "server %u at %llu", id, (unsigned long long)a->index);
}

static void drive(struct world *w, uint32_t id, struct raft_actions *acts)
{
	struct server *s = &w->s[id];
	bool state = false;

	for (size_t i = 0; i < acts->nr; i++) {
		struct raft_action *a = &acts->v[i];

		switch (a->kind) {
		case RAFT_ACT_HARD_STATE:
			s->term = a->term;
			s->vote = a->vote;
			break;
		case RAFT_ACT_ENTRIES: {
			struct write *x = &s->w[s->nr_w++];

			cr_assert_lt(s->nr_w, ARRAY_LEN(s->w));
			*x = (struct write){ w->now + w->disk_ms, a->index, a->nr, a->term, calloc(a->nr, sizeof(*x->v)), NULL };
			for (uint64_t k = 0; k < a->nr; k++) {
				x->v[k] = raft_core_entry(s->core, a->index + k);
				x->v[k].data = memcpy(malloc(x->v[k].len), x->v[k].data, x->v[k].len);
			}
			break;
		}
		case RAFT_ACT_SNAPSHOT:
		case RAFT_ACT_SNAPSHOT_INSTALL:
			s->w[s->nr_w] = (struct write){ .at = w->now + w->disk_ms, .snap = malloc(sizeof(*a)) };
			*s->w[s->nr_w++].snap = *a;
			a->data = NULL;
			break;
		case RAFT_ACT_SEND:
			send(w, id, a);
			break;
		case RAFT_ACT_APPLY:
			apply(w, id, a);
			break;
		case RAFT_ACT_RESTORE:
			cr_assert_eq(a->len, 8);
			s->sum = get_le64(a->data);
			s->applied = a->index;
			break;
		case RAFT_ACT_WANT_STATE:
			state = true;
			break;
		case RAFT_ACT_LEAD: {
			uint64_t t = raft_core_term(s->core);

			cr_assert(!w->leader_of[t] || w->leader_of[t] == id, "two leaders in term %llu", (unsigned long long)t);
			w->leader_of[t] = id;
			s->leads = true;
			break;
		}
		case RAFT_ACT_FOLLOW:
			s->leads = false;
			break;
		case RAFT_ACT_FATAL:
			s->fatal = true;
		}
	}
	if (state) {
		uint8_t sum[8];

		put_le64(sum, s->sum);
		step(w, id, (struct raft_core_event){ .kind = RAFT_EV_STATE, .data = sum, .len = 8 });
	}
}

static void start(struct world *w, uint32_t id)
{
	struct server *s = &w->s[id];
	struct raft_core_conf conf = { id, 200, 40, id * 77 + w->seed, w->guards_off, w->threshold, w->trailing };
	struct raft_core_disk disk = { s->term, s->vote, s->snap.s, s->start, s->disk, s->nr };
	struct raft_actions a;

	s->applied = s->sum = 0;
	raft_actions_init(&a);
	cr_assert_eq(raft_core_new(&conf, w->now, &disk, &a, &s->core), 0);
	drive(w, id, &a);
	raft_actions_release(&a);
}

/* With its unwritten writes. */
static void kill_server(struct world *w, uint32_t id)
{
	struct server *s = &w->s[id];

	while (s->nr_w)
		write_free(&s->w[--s->nr_w]);
	raft_core_free(s->core);
	s->core = NULL;
	s->leads = false;
	for (size_t i = 0; i < w->nr_q;)
		if (w->q[i].from == id || w->q[i].to == id) {
			free(w->q[i].data);
			w->q[i] = w->q[--w->nr_q];
		} else {
			i++;
		}
}

static void format(struct world *w, uint32_t id, const uint32_t *voters, size_t nr)
{
	struct server *s = &w->s[id];
	void *buf;
	size_t len;

	cr_assert_eq(raft_core_bootstrap(voters, nr, &buf, &len), 0);
	s->term = s->start = s->nr = 1;
	s->disk[0] = (struct raft_core_entry){ 1, RAFT_CORE_CHANGE, buf, (uint32_t)len };
}

static struct world *setup(size_t nr_voters, size_t nr_servers, unsigned seed)
{
	static const uint32_t ids[] = { 1, 2, 3, 4, 5 };
	struct world *w = calloc(1, sizeof(*w));

	*w = (struct world){ .now = 1000, .seed = seed, .disk_ms = 2, .delay_ms = 2, .threshold = 1000 };
	for (uint32_t id = 1; id <= nr_servers; id++) {
		w->s[id].start = 1;
		if (id <= nr_voters)
			format(w, id, ids, nr_voters);
		start(w, id);
	}
	return w;
}

static void teardown(struct world *w)
{
	for (uint32_t id = 1; id <= SERVERS; id++) {
		if (w->s[id].core)
			kill_server(w, id);
		disk_cut(&w->s[id], 0);
		raft_mem_snapshot_release(&w->s[id].snap);
	}
	while (w->nr_q)
		free(w->q[--w->nr_q].data);
	free(w);
}

/* One connection may deliver only what is in front: the earliest of its queue. */
static void deliver(struct world *w)
{
	for (size_t i = 0; i < w->nr_q;) {
		struct letter l = w->q[i];

		if (l.at > w->now) {
			i++;
			continue;
		}
		memmove(w->q + i, w->q + i + 1, (--w->nr_q - i) * sizeof(*w->q));
		if (w->s[l.to].core && !w->cut[l.from][l.to])
			step(w, l.to, (struct raft_core_event){ .kind = RAFT_EV_RECEIVE, .from = l.from, .data = l.data, .len = l.len });
		free(l.data);
	}
}

static void run(struct world *w, uint64_t ms)
{
	for (uint64_t end = w->now + ms; w->now < end; w->now++) {
		deliver(w);
		for (uint32_t id = 1; id <= SERVERS; id++) {
			struct server *s = &w->s[id];

			while (s->core && s->nr_w && s->w[0].at <= w->now)
				write_done(w, id, true);
			if (s->core && raft_core_timeout(s->core) <= w->now) {
				s->fires++;
				step(w, id, (struct raft_core_event){ .kind = RAFT_EV_TIMEOUT });
			}
			cr_assert_not(s->fatal);
		}
	}
}

static uint32_t leader(struct world *w)
{
	for (uint32_t id = 1; id <= SERVERS; id++)
		if (w->s[id].core && w->s[id].leads && raft_core_leads(w->s[id].core, w->now))
			return id;
	return 0;
}

static uint32_t wait_leader(struct world *w, uint64_t ms)
{
	for (uint64_t end = w->now + ms; w->now < end && !leader(w);)
		run(w, 1);
	return leader(w);
}

static int submit(struct world *w, uint32_t id, const char *cmd)
{
	struct raft_core_event ev = { .kind = RAFT_EV_SUBMIT, .now_ms = w->now, .data = cmd, .len = strlen(cmd) };
	uint64_t index = 0, term = 0;
	struct raft_actions a;
	int r;

	raft_actions_init(&a);
	r = raft_core_step(w->s[id].core, &ev, &a, &index, &term);
	if (!r)
		cr_assert(index && term == raft_core_term(w->s[id].core));
	drive(w, id, &a);
	raft_actions_release(&a);
	return r;
}

static void want(struct world *w, uint32_t id, size_t nr, const uint32_t *ids)
{
	step(w, id, (struct raft_core_event){ .kind = RAFT_EV_MEMBERS, .ids = ids, .nr_ids = nr });
}

static void same_everywhere(struct world *w, uint64_t applied)
{
	for (uint32_t id = 1; id <= SERVERS; id++)
		if (w->s[id].core) {
			cr_assert_eq(w->s[id].applied, applied, "server %u applied %llu of %llu", id,
				     (unsigned long long)w->s[id].applied, (unsigned long long)applied);
			cr_assert_eq(w->s[id].sum, w->sum_at[applied]);
		}
}

Test(raft_core, one_server_elects_itself_at_start)
{
	struct world *w = setup(1, 1, 1);

	run(w, 10);
	cr_assert_eq(leader(w), 1);
	cr_assert_eq(submit(w, 1, "a"), 0);
	cr_assert_eq(w->s[1].applied, 0, "not before it is on disk");
	run(w, 10);
	cr_assert_gt(w->s[1].applied, 0);
	uint64_t term = raft_core_term(w->s[1].core);
	kill_server(w, 1);
	start(w, 1);
	run(w, 10);
	cr_assert_eq(leader(w), 1);
	cr_assert_eq(w->s[1].sum, 'a');
	cr_assert_gt(raft_core_term(w->s[1].core), term, "what it had sent and not synced is of another term");
	cr_assert_eq(w->s[1].vote, 1);
	teardown(w);
}

Test(raft_core, three_servers_elect_and_survive_the_leaders_death)
{
	struct world *w = setup(3, 3, 2);
	uint32_t first = wait_leader(w, 3000), second;
	uint64_t died, applied;

	cr_assert(first);
	for (int i = 0; i < 20; i++)
		cr_assert_eq(submit(w, first, "command"), 0);
	run(w, 100);
	same_everywhere(w, w->s[first].applied);
	applied = w->s[first].applied;
	cr_assert_eq(submit(w, first % 3 + 1, "x"), -EREMCHG);
	cr_assert_eq(raft_core_leader(w->s[first % 3 + 1].core), first);
	kill_server(w, first);
	died = w->now;
	second = wait_leader(w, 5000);
	cr_assert(second && second != first);
	cr_assert_lt(w->now - died, 1500);
	cr_assert_geq(w->s[second].applied, applied);
	cr_assert_eq(submit(w, second, "after"), 0);
	start(w, first);
	run(w, 1000);
	cr_assert_eq(leader(w), second, "the one that came back does not disturb");
	same_everywhere(w, w->s[second].applied);
	cr_assert_gt(w->s[first].applied, applied);
	teardown(w);
}

Test(raft_core, an_isolated_leader_stops_leading_and_its_entries_are_replaced)
{
	struct world *w = setup(3, 3, 3);
	uint32_t old = wait_leader(w, 3000);

	run(w, 100);
	for (uint32_t id = 1; id <= 3; id++)
		w->cut[old][id] = w->cut[id][old] = true;
	cr_assert_eq(submit(w, old, "lost"), 0);
	run(w, 300);
	cr_assert_not(raft_core_leads(w->s[old].core, w->now));
	cr_assert_not(w->s[old].leads);
	cr_assert(wait_leader(w, 3000));
	cr_assert_eq(submit(w, leader(w), "kept"), 0);
	run(w, 100);
	memset(w->cut, 0, sizeof(w->cut));
	run(w, 1000);
	same_everywhere(w, w->s[leader(w)].applied);
	teardown(w);
}

Test(raft_core, membership_grows_from_one_to_three_and_replaces_a_dead_voter)
{
	struct world *w = setup(1, 4, 4);
	uint32_t ids[RAFT_CORE_SERVERS_MAX];

	run(w, 10);
	cr_assert_eq(submit(w, 1, "one"), 0);
	want(w, 1, 3, (uint32_t[]){ 1, 2, 3 });
	run(w, 2000);
	cr_assert_eq(raft_core_voters(w->s[1].core, true, ids), 3);
	cr_assert_eq(leader(w), 1);
	cr_assert_eq(w->s[3].sum, w->s[1].sum);
	kill_server(w, 3);
	run(w, 500);
	cr_assert_eq(leader(w), 1);
	want(w, 1, 3, (uint32_t[]){ 1, 2, 4 });
	run(w, 2000);
	cr_assert_eq(raft_core_voters(w->s[1].core, true, ids), 3);
	cr_assert(ids[0] == 1 && ids[1] == 2 && ids[2] == 4);
	cr_assert_eq(raft_core_servers(w->s[1].core, ids), 3, "the dead one is out");
	kill_server(w, 1);
	cr_assert(wait_leader(w, 3000));
	teardown(w);
}

Test(raft_core, a_promotion_waits_for_a_server_that_is_not_there_yet)
{
	struct world *w = setup(1, 1, 5);
	uint32_t ids[RAFT_CORE_SERVERS_MAX];

	run(w, 10);
	want(w, 1, 3, (uint32_t[]){ 1, 2, 3 });
	run(w, 7000);
	cr_assert_eq(raft_core_voters(w->s[1].core, false, ids), 1, "it does not vote before it has the log");
	cr_assert_eq(submit(w, 1, "works"), 0);
	w->s[2].start = w->s[3].start = 1;
	start(w, 2);
	start(w, 3);
	run(w, 8000);
	cr_assert_eq(raft_core_voters(w->s[1].core, true, ids), 3);
	teardown(w);
}

Test(raft_core, snapshots_are_taken_and_installed)
{
	struct world *w = setup(3, 3, 6);
	uint32_t l, behind;

	w->threshold = 20;
	w->trailing = 5;
	for (uint32_t id = 1; id <= 3; id++) {
		kill_server(w, id);
		start(w, id);
	}
	l = wait_leader(w, 3000);
	behind = l % 3 + 1;
	kill_server(w, behind);
	for (int i = 0; i < 100; i++) {
		cr_assert_eq(submit(w, l, "command"), 0);
		run(w, 5);
	}
	run(w, 100);
	cr_assert_gt(w->s[l].snap.s.index, 80);
	cr_assert_lt(w->s[l].nr, 30, "the log is cut");
	start(w, behind);
	run(w, 3000);
	cr_assert_gt(w->s[behind].snap.s.index, 80, "installed");
	same_everywhere(w, w->s[l].applied);
	kill_server(w, behind);
	start(w, behind);
	cr_assert_gt(w->s[behind].applied, 80, "restored at start");
	run(w, 1000);
	same_everywhere(w, w->s[leader(w)].applied);
	teardown(w);
}

Test(raft_core, leadership_is_handed_over)
{
	struct world *w = setup(3, 3, 7);
	uint32_t old = wait_leader(w, 3000), to = old % 3 + 1;

	run(w, 300);
	step(w, old, (struct raft_core_event){ .kind = RAFT_EV_TRANSFER, .from = to });
	cr_assert_not(raft_core_leads(w->s[old].core, w->now), "no leases from here on");
	run(w, 150);
	cr_assert_eq(leader(w), to);
	teardown(w);
}

/* Crashes, cuts and load, then peace: nobody may differ, nobody may be stuck. */
static void chaos(unsigned seed)
{
	struct world *w = setup(3, 3, seed);
	char cmd[16];

	w->threshold = 30;
	w->trailing = 10;
	w->delay_ms = 10;
	for (int i = 0; i < 150; i++) {
		uint32_t a = 1 + chance(w, 3), b = 1 + chance(w, 3);

		if (chance(w, 4) == 0)
			w->cut[a][b] = w->cut[b][a] = a != b && !w->cut[a][b];
		if (chance(w, 12) == 0) {
			if (w->s[a].core)
				kill_server(w, a);
			else
				start(w, a);
		}
		snprintf(cmd, sizeof(cmd), "c%d", i);
		if (leader(w))
			submit(w, leader(w), cmd);
		w->disk_ms = 1 + chance(w, 20);
		run(w, chance(w, 80));
	}
	memset(w->cut, 0, sizeof(w->cut));
	for (uint32_t id = 1; id <= 3; id++)
		if (!w->s[id].core)
			start(w, id);
	cr_assert(wait_leader(w, 10000), "seed %u has no leader", seed);
	cr_assert_eq(submit(w, leader(w), "end"), 0);
	run(w, 4000);
	same_everywhere(w, w->s[leader(w)].applied);
	for (uint32_t id = 1; id <= 3; id++)
		cr_assert_lt(w->s[id].fires * 10, w->now, "seed %u: a busy loop", seed);
	teardown(w);
}

Test(raft_core, chaos)
{
	for (unsigned seed = 1; seed <= 60; seed++)
		chaos(seed);
}

/* ---- single guards ---- */

static void receive(struct world *w, uint32_t to, uint32_t from, struct raft_message *m)
{
	struct wire_writer b;

	wire_writer_init(&b);
	cr_assert_eq(raft_message_encode(w->s[from].core, m, &b), 0);
	step(w, to, (struct raft_core_event){ .kind = RAFT_EV_RECEIVE, .from = from, .data = b.buf, .len = b.len });
	wire_writer_release(&b);
}

Test(raft_guards, g6_a_vote_result_moves_nobody_but_a_candidate)
{
	struct world *w = setup(3, 3, 8);
	uint32_t l = wait_leader(w, 3000);
	uint64_t term = raft_core_term(w->s[l].core);
	struct raft_message m = { .type = RAFT_REQUEST_VOTE_RESULT, .request_vote_result = { .version = 2, .term = term + 9 } };

	receive(w, l, l % 3 + 1, &m);
	cr_assert_eq(raft_core_term(w->s[l].core), term);
	teardown(w);
}

Test(raft_guards, g8_a_report_of_a_write_that_was_overtaken_is_dropped)
{
	struct world *w = setup(3, 3, 9);
	uint32_t l = wait_leader(w, 3000);
	uint64_t last = raft_core_last(w->s[l].core);

	run(w, 100);
	step(w, l, (struct raft_core_event){ .kind = RAFT_EV_PERSISTED, .index = last + 5, .term = 1 });
	step(w, l, (struct raft_core_event){ .kind = RAFT_EV_PERSISTED, .index = last, .term = 1 });
	step(w, l, (struct raft_core_event){ .kind = RAFT_EV_INSTALLED, .index = last });
	cr_assert_eq(submit(w, l, "x"), 0);
	step(w, l, (struct raft_core_event){ .kind = RAFT_EV_PERSISTED, .index = last + 1, .term = 99 });
	cr_assert_eq(w->s[l].core->r.last_stored, last);
	run(w, 100);
	same_everywhere(w, last + 1);
	teardown(w);
}

Test(raft_guards, g2_timeouts_have_a_distance)
{
	struct world *w = setup(1, 1, 10);
	struct raft_core *rc = w->s[1].core;

	rc->last_timeout_ms = w->now;
	cr_assert_eq(raft_guard_timeout(rc, w->now - 500), w->now + 10);
	cr_assert_eq(raft_guard_timeout(rc, w->now + 500), w->now + 500);
	rc->conf.guards_off = RAFT_GUARD(2);
	cr_assert_eq(raft_guard_timeout(rc, w->now - 500), w->now - 500);
	teardown(w);
}

Test(raft_guards, g11_no_change_before_an_entry_of_the_own_term_is_applied)
{
	struct world *w = setup(3, 4, 11);
	uint32_t l = wait_leader(w, 3000);
	struct raft_core *rc = w->s[l].core;

	run(w, 200);
	cr_assert(raft_guard_may_change(rc, 4));
	rc->applied_term--;
	cr_assert_not(raft_guard_may_change(rc, 4));
	rc->conf.guards_off = RAFT_GUARD(11);
	cr_assert(raft_guard_may_change(rc, 4));
	rc->applied_term++;
	teardown(w);
}

Test(raft_guards, g4_entries_from_below_our_snapshot_are_taken_as_received)
{
	struct world *w = setup(1, 1, 12);
	struct raft_core *rc = w->s[1].core;
	struct raft_core_entry e[6];
	struct raft_append_entries a = { .term = 1, .prev_log_index = 4, .prev_log_term = 1, .n_entries = 6 };
	uint64_t start = rc->log.start, snap = rc->snap.s.index;

	a.term = raft_core_term(rc);
	for (int i = 0; i < 6; i++)
		e[i] = (struct raft_core_entry){ 1, RAFT_CORE_COMMAND, "123456789", (uint32_t)i + 1 };
	cr_assert_eq(raft_buffers_entries(e, 6, &a.entries), 0);
	rc->log.start = 7; /* entries 5.. from the leader; ours begin at 7, the snapshot ends at 8 */
	rc->snap.s.index = 8;
	rc->snap.s.term = 1;
	struct raft_message m = { .type = RAFT_APPEND_ENTRIES, .append_entries = a };
	cr_assert_not(raft_guard_before_receive(rc, &m));
	cr_assert_eq(m.append_entries.prev_log_index, 8);
	cr_assert_eq(m.append_entries.n_entries, 2, "9 and 10 are new");
	cr_assert_eq(m.append_entries.entries[0].buf.len, 5);
	m.append_entries.prev_log_index = 2;
	cr_assert_not(raft_guard_before_receive(rc, &m));
	cr_assert_eq(m.append_entries.n_entries, 0, "nothing new");
	raft_buffers_message_dropped(&m);
	rc->log.start = start;
	rc->snap.s.index = snap;
	teardown(w);
}

Test(raft_guards, one_that_does_not_vote_by_its_own_log_gives_its_vote)
{
	struct world *w = setup(1, 2, 15);
	uint64_t term;

	run(w, 10);
	want(w, 1, 1, (uint32_t[]){ 1 });
	want(w, 1, 3, (uint32_t[]){ 1, 2, 3 });
	for (int i = 0; i < 2000 && w->s[2].core->r.configuration.n < 2; i++)
		run(w, 1);
	w->cut[1][2] = w->cut[2][1] = true; /* it knows itself as a spare; its promotion may be in the other's log */
	run(w, 500);
	term = raft_core_term(w->s[2].core);
	struct raft_message m = { .type = RAFT_REQUEST_VOTE,
				  .request_vote = { .version = 2, .term = term + 1, .candidate_id = 1, .last_log_index = 99, .last_log_term = term + 1, .disrupt_leader = true } };
	receive(w, 2, 1, &m);
	cr_assert_eq(w->s[2].term, term + 1);
	cr_assert_eq(w->s[2].vote, 1);
	uint32_t ids[RAFT_CORE_SERVERS_MAX];
	for (size_t i = 0, n = raft_core_voters(w->s[2].core, false, ids); i < n; i++)
		cr_assert_neq(ids[i], 2, "lent for the step only");
	teardown(w);
}

Test(raft_guards, one_is_not_told_of_its_own_demotion_before_it_is_committed)
{
	struct world *w = setup(3, 3, 16);
	uint32_t l = wait_leader(w, 3000), other = l % 3 + 1, gone = 6 - l - other;

	run(w, 300);
	w->cut[l][other] = w->cut[other][l] = true; /* nothing can be committed without it */
	want(w, l, 2, (uint32_t[]){ l, other });
	run(w, 120);
	cr_assert_eq(w->s[l].core->r.configuration_uncommitted_index, raft_core_last(w->s[l].core));
	cr_assert_lt(raft_core_last(w->s[gone].core), raft_core_last(w->s[l].core));
	cr_assert_eq(w->s[gone].core->r.configuration_uncommitted_index, 0);
	w->cut[l][other] = w->cut[other][l] = false;
	run(w, 1000);
	uint32_t ids[RAFT_CORE_SERVERS_MAX];
	cr_assert_eq(raft_core_voters(w->s[l].core, true, ids), 2);
	cr_assert_eq(raft_core_servers(w->s[l].core, ids), 2);
	teardown(w);
}

Test(raft_guards, g12_one_that_has_the_whole_log_is_promoted_without_catching_up)
{
	struct world *w = setup(3, 3, 17);
	uint32_t l = wait_leader(w, 3000), x = l % 3 + 1, ids[RAFT_CORE_SERVERS_MAX];

	run(w, 300);
	want(w, l, 2, (uint32_t[]){ l, 6 - l - x });
	run(w, 1000);
	cr_assert_eq(raft_core_voters(w->s[l].core, true, ids), 2);
	want(w, l, 3, (uint32_t[]){ 1, 2, 3 });
	run(w, 1000);
	cr_assert_eq(raft_core_voters(w->s[l].core, true, ids), 3);
	teardown(w);
}

Test(raft_guards, a_restarted_voter_gives_no_vote_at_once)
{
	struct world *w = setup(3, 3, 13);
	uint32_t l = wait_leader(w, 3000), f = l % 3 + 1;
	uint64_t term = raft_core_term(w->s[l].core);
	struct raft_message m = { .type = RAFT_REQUEST_VOTE,
				  .request_vote = { .version = 2, .term = term + 1, .candidate_id = f % 3 + 1, .last_log_index = 99, .last_log_term = term } };

	run(w, 300);
	kill_server(w, f);
	start(w, f);
	if (m.request_vote.candidate_id == l)
		m.request_vote.candidate_id = 6 - l - f;
	receive(w, f, (uint32_t)m.request_vote.candidate_id, &m);
	cr_assert_eq(w->s[f].vote == m.request_vote.candidate_id && w->s[f].term == term + 1, false);
	cr_assert_eq(raft_core_term(w->s[f].core), term);
	teardown(w);
}

Test(raft_wire, torn_messages_are_refused)
{
	struct world *w = setup(3, 3, 14);
	uint32_t l = wait_leader(w, 3000);
	size_t seen = 0;

	cr_assert_eq(submit(w, l, "something"), 0);
	for (size_t i = 0; i < w->nr_q; i++) {
		struct letter *q = &w->q[i];
		struct raft_message m;
		uint8_t *longer = malloc(q->len + 1);

		for (size_t n = 0; n < q->len; n++)
			cr_assert_eq(raft_message_decode(q->data, n, q->from, "1", &m), -EBADMSG);
		memcpy(longer, q->data, q->len);
		longer[q->len] = 0;
		cr_assert_eq(raft_message_decode(longer, q->len + 1, q->from, "1", &m), -EBADMSG);
		cr_assert_eq(raft_message_decode(q->data, q->len, q->from, "1", &m), 0);
		raft_buffers_message_dropped(&m);
		free(longer);
		seen++;
	}
	cr_assert_geq(seen, 2);
	cr_assert_eq(raft_core_step(w->s[l].core, &(struct raft_core_event){ .kind = RAFT_EV_RECEIVE, .now_ms = w->now, .from = 2, .data = "\x09", .len = 1 },
				    &(struct raft_actions){ 0 }, NULL, NULL), -EBADMSG);
	teardown(w);
}

Test(raft_wire, a_membership_is_checked_before_the_library_sees_it)
{
	uint8_t good[64];
	void *buf;
	size_t len;

	cr_assert_eq(raft_core_bootstrap((uint32_t[]){ 1, 12 }, 2, &buf, &len), 0);
	cr_assert(raft_membership_is_valid(buf, len));
	for (size_t n = 0; n + 8 <= len; n++)
		cr_assert_not(raft_membership_is_valid(buf, n), "%zu", n);
	memcpy(good, buf, len);
	good[0] = 2;
	cr_assert_not(raft_membership_is_valid(good, len), "format");
	good[0] = 1;
	good[1] = 200;
	cr_assert_not(raft_membership_is_valid(good, len), "count");
	cr_assert_not(raft_membership_is_valid(buf, len + 8), "trailing");
	raft_free(buf);
	cr_assert_eq(raft_core_bootstrap((uint32_t[]){ 1, 1 }, 2, &buf, &len), -EINVAL);
}
