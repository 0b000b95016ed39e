/* Leases on a virtual clock: a leader, nodes that send heartbeats, and the log as a function call. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cluster/lease.h"

static const struct cluster_times times = CLUSTER_TIMES_DEFAULT;

struct bench {
	struct config c;
	struct lease_leader l;
	struct lease_actions out;
	uint64_t now, index;
	uint32_t voters[8];
	size_t nr_voters;
	bool hold; /* proposals wait in out */
};

static int apply(struct bench *b, enum config_cmd type, const void *cmd)
{
	struct wire_writer w;
	int r;

	wire_writer_init(&w);
	cr_assert_eq(config_cmd_encode(&w, type, cmd), 0);
	r = config_apply(&b->c, w.buf, w.len, ++b->index);
	wire_writer_release(&w);
	return r;
}
#define APPLY(b, name, ...) apply(b, CMD_##name, &(struct cmd_##name){ __VA_ARGS__ })

static void add_nodes(struct bench *b, uint32_t nr, enum node_state state)
{
	for (uint32_t i = 1; i <= nr; i++) {
		char name[8];

		snprintf(name, sizeof(name), "n%u", b->c.next_node_id);
		cr_assert_gt(APPLY(b, node_add, .node_name = name, .host = "h", .port = 1), 0);
		b->c.nodes[b->c.nr_nodes - 1].state = state;
	}
}

/* NR nodes that are UP, the root filesystem on node 1, all in sync; node 1 leads since 1000 ms before now. */
static void setup(struct bench *b, uint32_t nr, unsigned breaks)
{
	struct wire_u32s all = { 0 };

	memset(b, 0, sizeof(*b));
	b->c.cluster_id = 1;
	b->c.next_node_id = 1;
	add_nodes(b, nr, NODE_UP);
	for (uint32_t i = 1; i <= nr && i <= 3; i++)
		all.v[all.n++] = i;
	cr_assert_eq(APPLY(b, fs_create, "root", "/", 1), 1);
	cr_assert_eq(APPLY(b, fs_set_members, 1, 1, all), 0);
	cr_assert_eq(APPLY(b, fs_change, 1, 1, 1, all, 0), 0);
	b->now = 10000;
	b->voters[0] = 1;
	b->nr_voters = 1;
	b->c.nodes[0].voter = true;
	lease_leader_init(&b->l, 1, &times, breaks);
	lease_leader_step(&b->l, &(struct lease_event){ LEASE_LEAD, b->now }, &b->c, &b->out);
}

static void step(struct bench *b, struct lease_event *ev)
{
	lease_actions_release(&b->out);
	ev->now_ms = b->now;
	lease_leader_step(&b->l, ev, &b->c, &b->out);
	for (size_t i = 0; i < b->out.nr_proposals && !b->hold; i++)
		cr_assert_geq(config_apply(&b->c, b->out.proposals[i].buf, b->out.proposals[i].len, ++b->index), 0);
}

/* A heartbeat with a position; the number of grants. */
static size_t beat_at(struct bench *b, uint32_t node, uint64_t lsn)
{
	struct lease_position pos = { 1, b->c.fs[0].epoch, lsn };

	step(b, &(struct lease_event){ LEASE_HEARTBEAT, .sure = true, .node = node, .pos = &pos, .nr_pos = 1 });
	return b->out.nr_grants;
}

static size_t beat(struct bench *b, uint32_t node)
{
	return beat_at(b, node, 1);
}

static void tick(struct bench *b)
{
	step(b, &(struct lease_event){ LEASE_TICK, .voters = b->voters, .nr_voters = b->nr_voters });
}

/* Time passes in ticks of 50 ms; the nodes of MASK (bit = id) send a heartbeat every 100 ms. */
static void run(struct bench *b, uint64_t ms, unsigned mask)
{
	for (uint64_t end = b->now + ms; b->now < end; b->now += 50) {
		for (uint32_t id = 1; id < 32 && b->now % 100 == 0; id++)
			if (mask & 1u << id)
				beat(b, id);
		tick(b);
	}
}
enum { N1 = 1 << 1, N2 = 1 << 2, N3 = 1 << 3, N4 = 1 << 4, N5 = 1 << 5 };

static enum node_state state_of(struct bench *b, uint32_t id)
{
	return config_node_by_id(&b->c, id)->state;
}

Test(lease, only_the_server_gets_a_grant_and_only_from_a_sure_leader)
{
	struct bench b;
	struct lease_event unsure = { LEASE_HEARTBEAT, .node = 1 };

	setup(&b, 3, 0);
	cr_assert_eq(beat(&b, 1), 1);
	cr_assert_eq(b.out.grants[0].fs, 1);
	cr_assert_eq(b.out.grants[0].epoch, 2);
	cr_assert_eq(beat(&b, 2), 0);
	cr_assert_eq(beat(&b, 9), 0, "not a node");
	step(&b, &unsure);
	cr_assert_eq(b.out.nr_grants, 0);
	step(&b, &(struct lease_event){ LEASE_FOLLOW });
	cr_assert_eq(beat(&b, 1), 0);
}

Test(lease, nothing_happens_while_all_are_well)
{
	struct bench b;

	setup(&b, 3, 0);
	b.nr_voters = 3;
	memcpy(b.voters, (uint32_t[]){ 1, 2, 3 }, 12);
	run(&b, 300, N1 | N2 | N3);
	b.index = 0;
	run(&b, 10000, N1 | N2 | N3);
	cr_assert_eq(b.index, 0, "no proposals");
	cr_assert_eq(b.c.fs[0].epoch, 2);
}

Test(lease, a_dead_server_is_replaced_after_its_lease_and_not_before)
{
	struct bench b;
	uint64_t died;

	setup(&b, 3, 0);
	run(&b, 1000, N1 | N2 | N3);
	died = b.now - 100; /* its last heartbeat */
	run(&b, 500, N2 | N3);
	cr_assert_eq(b.now, died + 600);
	cr_assert_eq(b.c.fs[0].server, 1, "lease and margin are not over");
	run(&b, 50, N2 | N3);
	cr_assert_eq(b.c.fs[0].epoch, 3);
	cr_assert_eq(b.c.fs[0].server, 2);
	cr_assert_eq(b.c.fs[0].nr_in_sync, 2, "the dead one left the in-sync set");
	cr_assert_not(config_fs_in_sync(&b.c.fs[0], 1));
	cr_assert(config_fs_is_member(&b.c.fs[0], 1), "it may come back");
	run(&b, 500, N2 | N3);
	cr_assert_eq(state_of(&b, 1), NODE_DOWN);
	cr_assert_eq(beat(&b, 2), 1);
	run(&b, 500, N1 | N2 | N3);
	cr_assert_eq(state_of(&b, 1), NODE_UP);
	cr_assert_eq(b.c.fs[0].server, 2);
}

Test(lease, the_longest_log_is_promoted)
{
	struct bench b;

	setup(&b, 3, 0);
	for (int i = 0; i < 20; i++, b.now += 50) {
		beat_at(&b, 2, 10);
		beat_at(&b, 3, 11);
		tick(&b);
	}
	cr_assert_eq(b.c.fs[0].server, 3);
}

Test(lease, a_member_without_a_position_is_never_promoted)
{
	struct lease_event none = { LEASE_HEARTBEAT, .sure = true };
	struct bench b;

	setup(&b, 3, 0);
	for (int i = 0; i < 20; i++, b.now += 50) {
		none.node = 2;
		step(&b, &none);
		none.node = 3;
		step(&b, &none);
		tick(&b);
	}
	cr_assert_eq(b.c.fs[0].server, 1);
	cr_assert_eq(b.c.fs[0].epoch, 2, "unavailable, as long as nobody has a whole copy");
	beat_at(&b, 3, 11);
	tick(&b);
	cr_assert_eq(b.c.fs[0].server, 3);
	lease_actions_release(&b.out);
}

/* ---- lost writes ---- */

/* NODE says what its copy is worth, at the epoch of the record. */
static void say(struct bench *b, uint32_t node, uint64_t lsn, enum lease_copy copy)
{
	struct lease_position pos = { .fs = 1, .epoch = 2, .lsn = lsn, .at = b->c.fs[0].epoch, .copy = copy };

	step(b, &(struct lease_event){ LEASE_HEARTBEAT, .sure = true, .node = node, .pos = &pos, .nr_pos = 1 });
}

Test(lease, a_server_that_is_not_whole_is_replaced_at_once)
{
	struct bench b;

	setup(&b, 3, 0);
	run(&b, 1000, N1 | N2 | N3);
	say(&b, 1, 20, LEASE_COPY_SURVIVED);
	tick(&b);
	cr_assert_eq(b.c.fs[0].server, 2, "others are whole, however long its own may be");
	cr_assert_eq(b.c.fs[0].nr_in_sync, 2);
	say(&b, 2, 1, LEASE_COPY_NONE);
	tick(&b);
	cr_assert_eq(b.c.fs[0].server, 3);
	cr_assert_eq(b.c.fs[0].nr_in_sync, 1);
	lease_actions_release(&b.out);
}

Test(lease, when_all_lost_power_the_longest_copy_serves_alone)
{
	struct bench b;

	setup(&b, 3, 0);
	say(&b, 1, 10, LEASE_COPY_SURVIVED);
	say(&b, 2, 12, LEASE_COPY_SURVIVED);
	tick(&b);
	cr_assert_eq(b.c.fs[0].epoch, 2, "the third may be whole");
	say(&b, 3, 11, LEASE_COPY_SURVIVED);
	tick(&b);
	cr_assert_eq(b.c.fs[0].epoch, 3);
	cr_assert_eq(b.c.fs[0].server, 2);
	cr_assert_eq(b.c.fs[0].nr_in_sync, 1);
	say(&b, 1, 10, LEASE_COPY_SURVIVED);
	say(&b, 2, 12, LEASE_COPY_SURVIVED);
	tick(&b);
	cr_assert_eq(b.c.fs[0].epoch, 3, "alone it helps itself");
	cr_assert_eq(beat(&b, 2), 1, "with its lease");
	lease_actions_release(&b.out);
}

Test(lease, a_whole_copy_wins_however_short)
{
	struct bench b;

	setup(&b, 3, 0);
	say(&b, 1, 10, LEASE_COPY_SURVIVED);
	say(&b, 2, 12, LEASE_COPY_SURVIVED);
	say(&b, 3, 9, LEASE_COPY_WHOLE);
	tick(&b);
	cr_assert_eq(b.c.fs[0].server, 3);
	cr_assert_eq(b.c.fs[0].nr_in_sync, 1, "the others copy from it");
	lease_actions_release(&b.out);
}

Test(lease, a_copy_that_is_none_is_never_chosen)
{
	struct bench b;

	setup(&b, 3, 0);
	say(&b, 1, 10, LEASE_COPY_SURVIVED);
	say(&b, 2, 12, LEASE_COPY_NONE);
	say(&b, 3, 11, LEASE_COPY_NONE);
	tick(&b);
	cr_assert_eq(b.c.fs[0].server, 1);
	cr_assert_eq(b.c.fs[0].epoch, 3, "it is told to go on alone");
	lease_actions_release(&b.out);
	setup(&b, 3, 0);
	for (uint32_t i = 1; i <= 3; i++)
		say(&b, i, 10, LEASE_COPY_NONE);
	tick(&b);
	cr_assert_eq(b.c.fs[0].epoch, 2);
	lease_actions_release(&b.out);
}

Test(lease, what_was_said_under_another_epoch_does_not_count)
{
	struct bench b;
	struct lease_position old = { .fs = 1, .epoch = 2, .lsn = 11, .at = 1, .copy = LEASE_COPY_SURVIVED };

	setup(&b, 3, 0);
	say(&b, 1, 10, LEASE_COPY_SURVIVED);
	say(&b, 2, 12, LEASE_COPY_SURVIVED);
	step(&b, &(struct lease_event){ LEASE_HEARTBEAT, .sure = true, .node = 3, .pos = &old, .nr_pos = 1 });
	tick(&b);
	cr_assert_eq(b.c.fs[0].epoch, 2, "it may have become whole since");
	lease_actions_release(&b.out);
}

Test(lease, the_dead_are_waited_for_when_nobody_is_whole)
{
	struct bench b;

	setup(&b, 3, 0);
	run(&b, 1000, N1 | N2 | N3);
	for (int i = 0; i < 100; i++, b.now += 50) {
		say(&b, 2, 12, LEASE_COPY_SURVIVED);
		say(&b, 3, 11, LEASE_COPY_SURVIVED);
		tick(&b);
	}
	cr_assert_eq(b.c.fs[0].epoch, 2, "node 1 may be whole");
	beat_at(&b, 1, 10);
	tick(&b);
	cr_assert_eq(b.c.fs[0].epoch, 2, "and it is, and serves");
	cr_assert_eq(beat_at(&b, 1, 10), 1);
	lease_actions_release(&b.out);
}

Test(lease, broken_rules_after_a_loss_of_power)
{
	struct bench b;

	setup(&b, 3, LEASE_BREAK_SURVIVOR_SHORTEST);
	for (uint32_t i = 1; i <= 3; i++)
		say(&b, i, 10 + i, LEASE_COPY_SURVIVED);
	tick(&b);
	cr_assert_eq(b.c.fs[0].server, 1);
	lease_actions_release(&b.out);
	setup(&b, 3, LEASE_BREAK_SURVIVOR_EARLY);
	say(&b, 1, 10, LEASE_COPY_SURVIVED);
	tick(&b);
	cr_assert_eq(b.c.fs[0].nr_in_sync, 1);
	lease_actions_release(&b.out);
}

Test(lease, positions_and_grants_on_the_wire)
{
	struct lease_position pos[] = { { 1, 2, 3, 4, LEASE_COPY_SURVIVED }, { 5, 6, 7, 8, LEASE_COPY_WHOLE } };
	struct lease_grant grants[] = { { 1, 2 }, { 3, 4 } }, g[CONFIG_FS_MAX];
	uint8_t buf[CONFIG_FS_MAX * LEASE_POSITION_LEN];
	struct lease_position p[CONFIG_FS_MAX];
	struct wire_blob b = lease_pack_positions(pos, 2, buf);
	size_t n;

	cr_assert_eq(lease_unpack_positions(&b, p, &n), 0);
	cr_assert_eq(n, 2);
	cr_assert(p[0].fs == 1 && p[0].epoch == 2 && p[0].lsn == 3 && p[0].at == 4 && p[0].copy == LEASE_COPY_SURVIVED);
	cr_assert(p[1].fs == 5 && p[1].copy == LEASE_COPY_WHOLE);
	buf[LEASE_POSITION_LEN - 1] = 3;
	cr_assert_eq(lease_unpack_positions(&b, p, &n), -EBADMSG, "of a later version");
	b.len--;
	cr_assert_eq(lease_unpack_positions(&b, p, &n), -EBADMSG);
	b = lease_pack_grants(grants, 2, buf);
	cr_assert_eq(lease_unpack_grants(&b, g, &n), 0);
	cr_assert(n == 2 && g[1].fs == 3 && g[1].epoch == 4);
	b.len = (CONFIG_FS_MAX + 1) * LEASE_GRANT_LEN;
	cr_assert_eq(lease_unpack_grants(&b, g, &n), -EBADMSG, "too many");
}

Test(lease, a_member_that_is_not_in_sync_is_never_promoted)
{
	struct bench b;
	struct wire_u32s one = { 1, { 1 } };

	setup(&b, 3, 0);
	cr_assert_eq(APPLY(&b, fs_change, 1, 2, 1, one, 0), 0);
	run(&b, 5000, N2 | N3);
	cr_assert_eq(b.c.fs[0].server, 1);
	cr_assert_eq(b.c.fs[0].epoch, 3, "unavailable");
	run(&b, 500, N1 | N2 | N3);
	cr_assert_eq(beat(&b, 1), 1, "and back with its only copy");
}

Test(lease, the_broken_rule_promotes_a_stale_standby)
{
	struct bench b;
	struct wire_u32s one = { 1, { 1 } };

	setup(&b, 3, LEASE_BREAK_PROMOTE_STALE);
	cr_assert_eq(APPLY(&b, fs_change, 1, 2, 1, one, 0), 0);
	run(&b, 2000, N2 | N3);
	cr_assert_eq(b.c.fs[0].server, 2);
}

Test(lease, the_broken_rule_does_not_wait)
{
	struct bench b;

	setup(&b, 3, LEASE_BREAK_NO_WAIT);
	run(&b, 1000, N1 | N2 | N3);
	run(&b, 250, N2 | N3);
	cr_assert_eq(b.c.fs[0].server, 2);
}

Test(lease, a_new_leader_waits_for_the_leases_of_the_old_one)
{
	struct bench b;

	setup(&b, 3, 0);
	run(&b, 600, N2 | N3);
	cr_assert_eq(b.c.fs[0].server, 1, "the old leader may have answered node 1 just before");
	cr_assert_eq(state_of(&b, 1), NODE_UP);
	run(&b, 50, N2 | N3);
	cr_assert_eq(b.c.fs[0].server, 2);
	lease_actions_release(&b.out);
}

Test(lease, no_grant_while_a_promotion_is_under_way)
{
	struct bench b;
	struct wire_writer cmd;

	setup(&b, 3, 0);
	run(&b, 600, N2 | N3);
	b.hold = true;
	tick(&b);
	cr_assert_geq(b.out.nr_proposals, 1);
	cmd = b.out.proposals[0];
	cr_assert_eq(config_cmd_type(cmd.buf, cmd.len), CMD_fs_change);
	b.out.proposals[0] = (struct wire_writer){ 0 };
	cr_assert_eq(beat(&b, 1), 0, "server 1 is back, but its successor is in the log");
	b.now += 50;
	tick(&b);
	for (size_t i = 0; i < b.out.nr_proposals; i++)
		cr_assert_neq(config_cmd_type(b.out.proposals[i].buf, b.out.proposals[i].len), CMD_fs_change);
	cr_assert_eq(config_apply(&b.c, cmd.buf, cmd.len, ++b.index), 0);
	cr_assert_eq(beat(&b, 1), 0);
	cr_assert_eq(beat(&b, 2), 1);
	wire_writer_release(&cmd);
	lease_actions_release(&b.out);
}

Test(lease, a_leader_that_stood_still_calls_nobody_dead_and_grants_nothing_at_first)
{
	struct bench b;

	setup(&b, 3, 0);
	run(&b, 1000, N1 | N2 | N3);
	b.now += 5000;
	cr_assert_eq(beat(&b, 1), 0);
	tick(&b);
	cr_assert_eq(b.c.fs[0].epoch, 2);
	cr_assert_eq(state_of(&b, 2), NODE_UP);
	run(&b, 300, N1 | N2 | N3);
	cr_assert_eq(beat(&b, 1), 1);
}

Test(lease, a_server_that_says_goodbye_is_replaced_at_once)
{
	struct bench b;

	setup(&b, 3, 0);
	run(&b, 1000, N1 | N2 | N3);
	step(&b, &(struct lease_event){ LEASE_HEARTBEAT, .sure = true, .node = 1, .leaving = true });
	cr_assert_eq(b.out.nr_grants, 0);
	tick(&b);
	cr_assert_eq(b.c.fs[0].server, 2);
	cr_assert_eq(state_of(&b, 1), NODE_GOINGDOWN);
	run(&b, 200, N2 | N3);
	cr_assert_eq(state_of(&b, 1), NODE_DOWN);
}

Test(lease, states_follow_a_joining_node)
{
	struct bench b;

	setup(&b, 1, 0);
	add_nodes(&b, 1, NODE_NEVERUP);
	run(&b, 2000, N1);
	cr_assert_eq(state_of(&b, 2), NODE_NEVERUP, "never heard is not dead");
	beat(&b, 2);
	tick(&b);
	cr_assert_eq(state_of(&b, 2), NODE_COMINGUP);
	run(&b, 200, N1 | N2);
	cr_assert_eq(state_of(&b, 2), NODE_UP);
}

Test(lease, nodes_become_members_up_to_three_copies)
{
	struct bench b;

	setup(&b, 1, 0);
	add_nodes(&b, 4, NODE_UP);
	run(&b, 3000, N1 | N3 | N4 | N5);
	cr_assert_eq(b.c.fs[0].nr_members, 3);
	cr_assert(config_fs_is_member(&b.c.fs[0], 3) && config_fs_is_member(&b.c.fs[0], 4), "the living ones");
	cr_assert_eq(b.c.fs[0].nr_in_sync, 1, "they pull themselves into sync");
	cr_assert_eq(b.c.fs[0].epoch, 2, "clients are not disturbed");
}

static void expect_voters(struct bench *b, size_t nr, const uint32_t *ids)
{
	tick(b);
	cr_assert_eq(b->out.nr_voters, nr, "%zu", b->out.nr_voters);
	for (size_t i = 0; i < nr; i++)
		cr_assert_eq(b->out.voters[i], ids[i]);
}

Test(lease, the_number_of_voters_is_odd)
{
	struct bench b;

	setup(&b, 2, 0);
	run(&b, 200, N1 | N2);
	expect_voters(&b, 1, (uint32_t[]){ 1 });
	add_nodes(&b, 1, NODE_UP);
	run(&b, 200, N1 | N2 | N3);
	expect_voters(&b, 3, (uint32_t[]){ 1, 2, 3 });
	b.voters[1] = 2; /* half way there */
	b.nr_voters = 2;
	expect_voters(&b, 3, (uint32_t[]){ 1, 2, 3 });
	cr_assert(b.c.nodes[1].voter, "the configuration says so");
	add_nodes(&b, 1, NODE_UP);
	b.voters[2] = 3;
	b.nr_voters = 3;
	run(&b, 200, N1 | N2 | N3 | N4);
	expect_voters(&b, 3, (uint32_t[]){ 1, 2, 3 });
	add_nodes(&b, 1, NODE_UP);
	run(&b, 200, N1 | N2 | N3 | N4 | N5);
	expect_voters(&b, 5, (uint32_t[]){ 1, 2, 3, 4, 5 });
}

Test(lease, a_voter_dead_for_long_is_replaced_when_there_is_another_node)
{
	struct bench b;

	setup(&b, 4, 0);
	memcpy(b.voters, (uint32_t[]){ 1, 2, 3 }, 12);
	b.nr_voters = 3;
	run(&b, 20000, N1 | N2 | N4);
	expect_voters(&b, 3, (uint32_t[]){ 1, 2, 3 });
	run(&b, 12000, N1 | N2 | N4);
	expect_voters(&b, 3, (uint32_t[]){ 1, 2, 4 });
}

static void remove_node(struct bench *b, uint32_t id)
{
	struct config_node *n = (struct config_node *)config_node_by_id(&b->c, id);

	memmove(n, n + 1, (size_t)(&b->c.nodes[b->c.nr_nodes--] - (n + 1)) * sizeof(*n));
}

Test(lease, a_removed_voter_is_replaced_by_another_node)
{
	struct bench b;

	setup(&b, 4, 0);
	memcpy(b.voters, (uint32_t[]){ 1, 2, 3 }, 12);
	b.nr_voters = 3;
	run(&b, 2000, N1 | N2 | N4);
	remove_node(&b, 3);
	expect_voters(&b, 3, (uint32_t[]){ 1, 2, 4 });
}

Test(lease, without_another_node_a_removed_voter_goes_first_and_a_living_one_after_it)
{
	struct bench b;

	setup(&b, 3, 0);
	memcpy(b.voters, (uint32_t[]){ 1, 2, 3 }, 12);
	b.nr_voters = 3;
	run(&b, 2000, N1 | N2);
	remove_node(&b, 3);
	expect_voters(&b, 2, (uint32_t[]){ 1, 2 });
	b.nr_voters = 2;
	expect_voters(&b, 1, (uint32_t[]){ 1 });
}

Test(lease, of_two_that_could_go_the_dead_one_goes)
{
	struct bench b;

	setup(&b, 5, 0);
	memcpy(b.voters, (uint32_t[]){ 1, 2, 3, 4, 5 }, 20);
	b.nr_voters = 5;
	run(&b, 2000, N1 | N3 | N4);
	remove_node(&b, 5);
	expect_voters(&b, 4, (uint32_t[]){ 1, 2, 3, 4 });
	b.nr_voters = 4;
	expect_voters(&b, 3, (uint32_t[]){ 1, 3, 4 });
}

/* ---- the node's side ---- */

static void grant(struct lease_node *n, uint64_t sent, uint64_t epoch)
{
	lease_node_granted(n, sent, &(struct lease_grant){ 1, epoch }, 1);
}

Test(lease, a_lease_counts_from_when_the_heartbeat_was_sent)
{
	struct bench b;
	struct lease_node n;

	setup(&b, 3, 0);
	lease_node_init(&n, 1, &times);
	cr_assert_not(lease_node_valid(&n, &b.c, 1, 2, 0));
	grant(&n, 1000, 2);
	cr_assert(lease_node_valid(&n, &b.c, 1, 2, 1499));
	cr_assert_not(lease_node_valid(&n, &b.c, 1, 2, 1500));
	cr_assert_not(lease_node_valid(&n, &b.c, 1, 1, 1400), "an old epoch");
	cr_assert_not(lease_node_valid(&n, &b.c, 1, 3, 1400), "an epoch not seen yet");
	cr_assert_not(lease_node_valid(&n, &b.c, 2, 1, 1400), "no such filesystem");
	grant(&n, 900, 2);
	cr_assert(lease_node_valid(&n, &b.c, 1, 2, 1499), "a late answer does not shorten it");
	lease_node_drop(&n);
	cr_assert_not(lease_node_valid(&n, &b.c, 1, 2, 1001));
}

Test(lease, only_the_recorded_server_may_use_it)
{
	struct bench b;
	struct lease_node n;

	setup(&b, 3, 0);
	lease_node_init(&n, 2, &times);
	grant(&n, 1000, 2);
	cr_assert_not(lease_node_valid(&n, &b.c, 1, 2, 1100));
}

Test(lease, it_survives_a_change_of_the_in_sync_set_on_both_sides_of_the_news)
{
	struct bench b;
	struct lease_node n;
	struct wire_u32s two = { 2, { 1, 2 } };
	uint32_t lost[CONFIG_FS_MAX];

	setup(&b, 3, 0);
	lease_node_init(&n, 1, &times);
	grant(&n, 1000, 2);
	cr_assert_eq(lease_node_lost(&n, &b.c, 1100, lost), 0);
	grant(&n, 1100, 3); /* the leader has applied the change, the news is not here yet */
	cr_assert(lease_node_valid(&n, &b.c, 1, 2, 1200));
	cr_assert_not(lease_node_valid(&n, &b.c, 1, 2, 1550), "a grant at epoch 3 is none at epoch 2");
	cr_assert_eq(APPLY(&b, fs_change, 1, 2, 1, two, 0), 0);
	cr_assert(lease_node_valid(&n, &b.c, 1, 3, 1550));
	cr_assert_not(lease_node_valid(&n, &b.c, 1, 2, 1550));
	cr_assert_eq(lease_node_lost(&n, &b.c, 1550, lost), 0);
	cr_assert_eq(APPLY(&b, fs_change, 1, 3, 1, two, 0), 0);
	cr_assert(lease_node_valid(&n, &b.c, 1, 4, 1550), "the news came before a grant at the new epoch");
	grant(&n, 1500, 4);
	grant(&n, 1600, 5);
	cr_assert(lease_node_valid(&n, &b.c, 1, 4, 1580));
}

Test(lease, a_lost_lease_is_told_once)
{
	struct bench b;
	struct lease_node n;
	uint32_t lost[CONFIG_FS_MAX];
	struct wire_u32s two = { 2, { 2, 3 } };

	setup(&b, 3, 0);
	lease_node_init(&n, 1, &times);
	grant(&n, 1000, 2);
	cr_assert_eq(lease_node_lost(&n, &b.c, 1000, lost), 0);
	cr_assert_eq(lease_node_lost(&n, &b.c, 1500, lost), 1);
	cr_assert_eq(lost[0], 1);
	cr_assert_eq(lease_node_lost(&n, &b.c, 1501, lost), 0);
	grant(&n, 2000, 2);
	cr_assert_eq(lease_node_lost(&n, &b.c, 2000, lost), 0);
	cr_assert_eq(APPLY(&b, fs_change, 1, 2, 2, two, 0), 0);
	cr_assert_eq(lease_node_lost(&n, &b.c, 2001, lost), 1, "another is the server now");
}

/* The promise of both sides together: never two servers that both may serve. */
Test(lease, leader_and_server_agree_at_every_moment)
{
	struct bench b;
	struct lease_node n1, n2;
	uint64_t last_valid_1 = 0, first_valid_2 = 0;

	setup(&b, 3, 0);
	lease_node_init(&n1, 1, &times);
	lease_node_init(&n2, 2, &times);
	for (uint64_t end = b.now + 5000; b.now < end; b.now += 10) {
		if (b.now < 12000 && b.now % 100 == 0 && beat(&b, 1)) /* then node 1 is cut off, at work */
			lease_node_granted(&n1, b.now, b.out.grants, b.out.nr_grants);
		if (b.now % 100 == 0 && beat(&b, 2))
			lease_node_granted(&n2, b.now, b.out.grants, b.out.nr_grants);
		tick(&b);
		/* node 1 knows the old record only */
		if (b.c.fs[0].epoch == 2 ? lease_node_valid(&n1, &b.c, 1, 2, b.now) : b.now < n1.held[0].until_ms)
			last_valid_1 = b.now;
		if (!first_valid_2 && lease_node_valid(&n2, &b.c, 1, 3, b.now))
			first_valid_2 = b.now;
	}
	cr_assert_gt(first_valid_2, last_valid_1);
	cr_assert_leq(first_valid_2, 11900 + 600 + 110, "and not later than need be");
}
