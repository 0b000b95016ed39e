/* Traces of events and the actions they must lead to. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "cfsd/repl.h"

enum { A = 1, B = 2, C = 3 };

struct node {
	struct repl *r;
	struct repl_log *log;
	struct repl_actions out;
	uint64_t now;
};

static struct wire_logpos at(uint64_t epoch, uint64_t lsn)
{
	return (struct wire_logpos){ .epoch = epoch, .lsn = lsn };
}

static struct node *node_at(uint32_t self, struct wire_logpos pos, uint32_t flags)
{
	struct repl_conf conf = { .self = self, .ack_ms = 500, .attach_ms = 700, .retry_ms = 50, .join_lag = 2 };
	struct node *n = calloc(1, sizeof(*n));

	cr_assert_eq(repl_log_new(8, 1 << 20, &n->log), 0);
	repl_log_reset(n->log, pos);
	cr_assert_eq(repl_new(&conf, n->log, flags, &n->r), 0);
	n->now = 1000;
	return n;
}

static void node_end(struct node *n)
{
	repl_free(n->r);
	repl_log_free(n->log);
	free(n);
}

static void step(struct node *n, struct repl_event ev)
{
	ev.now_ms = n->now;
	repl_step(n->r, &ev, &n->out);
}

/* Members are always A, B, C; the in-sync set is a string of node numbers: "123". */
static void config(struct node *n, uint64_t epoch, uint32_t server, const char *in_sync)
{
	struct config_fs fs = { .id = 1, .epoch = epoch, .server = server, .members = { A, B, C }, .nr_members = 3 };

	for (; *in_sync; in_sync++)
		fs.in_sync[fs.nr_in_sync++] = (uint32_t)(*in_sync - '0');
	step(n, (struct repl_event){ .type = REPL_EV_CONFIG, .fs = &fs });
}

static const struct repl_action *find(const struct node *n, enum repl_action_type type, uint32_t to)
{
	for (size_t i = 0; i < n->out.n; i++)
		if (n->out.v[i].type == type && (!to || n->out.v[i].node == to))
			return &n->out.v[i];
	return NULL;
}

static void lease(struct node *n, bool valid)
{
	step(n, (struct repl_event){ .type = REPL_EV_LEASE, .valid = valid });
}

static void tick(struct node *n, uint64_t ms)
{
	n->now += ms;
	step(n, (struct repl_event){ .type = REPL_EV_TICK });
}

static void append(struct node *n, uint64_t epoch)
{
	struct wire_logpos last = repl_log_last(n->log);
	struct record rec = { .prev = last, .pos = at(epoch, last.lsn + 1), .batch = "b", .batch_len = 1 };

	cr_assert_eq(repl_log_append(n->log, &rec), 0);
}

/* A change at the server. */
static void made(struct node *n)
{
	append(n, repl_epoch(n->r));
	step(n, (struct repl_event){ .type = REPL_EV_MADE, .pos = repl_log_last(n->log) });
}

static void attach(struct node *n, uint32_t from, struct wire_logpos pos, uint32_t flags)
{
	step(n, (struct repl_event){
			.type = REPL_EV_ATTACH, .node = from, .epoch = repl_epoch(n->r), .pos = pos, .flags = flags });
}

static void ack(struct node *n, uint32_t from, uint64_t lsn)
{
	const struct record *rec = repl_log_get(n->log, lsn);

	step(n, (struct repl_event){
			.type = REPL_EV_ACK, .node = from, .pos = rec ? rec->pos : at(repl_epoch(n->r), lsn) });
}

static void lost(struct node *n, uint32_t who)
{
	step(n, (struct repl_event){ .type = REPL_EV_LOST, .node = who });
}

/* NODE was asked to make its copy durable, and has (or not). */
static void synced(struct node *n, uint32_t who, int status)
{
	cr_assert(find(n, REPL_ACT_SYNC, who));
	step(n, (struct repl_event){ .type = REPL_EV_SYNCED, .node = who, .status = status });
}

static uint64_t committed_by(const struct node *n)
{
	const struct repl_action *a = find(n, REPL_ACT_COMMIT, 0);

	return a ? a->pos.lsn : 0;
}

static bool changes_to(const struct node *n, uint64_t expected, const char *in_sync)
{
	const struct repl_action *a = find(n, REPL_ACT_CHANGE, 0);
	char set[CONFIG_MEMBERS_MAX + 1] = "";

	if (!a)
		return false;
	for (size_t i = 0; i < a->nr_in_sync; i++)
		set[i] = (char)('0' + a->in_sync[i]);
	return a->epoch == expected && !strcmp(set, in_sync);
}

/* A serves (A, B in sync) with B attached, both at (1,10). */
static struct node *server_ab(void)
{
	struct node *n = node_at(A, at(1, 10), 0);

	config(n, 2, A, "12");
	lease(n, true);
	attach(n, B, at(1, 10), 0);
	cr_assert_eq(repl_role(n->r), REPL_SERVER);
	return n;
}

/* ---- serving ---- */

Test(repl, serves_only_with_a_lease)
{
	struct node *n = node_at(A, at(1, 1), 0);

	cr_assert_eq(repl_role(n->r), REPL_NONE);
	config(n, 2, A, "1");
	cr_assert_eq(repl_role(n->r), REPL_FENCED);
	cr_assert_null(find(n, REPL_ACT_START, 0));
	lease(n, true);
	cr_assert(find(n, REPL_ACT_START, 0));
	cr_assert(find(n, REPL_ACT_START, 0)->fresh);
	cr_assert_eq(committed_by(n), 1, "alone, everything is committed");
	lease(n, false);
	cr_assert(find(n, REPL_ACT_STOP, 0));
	cr_assert_eq(repl_role(n->r), REPL_FENCED);
	lease(n, true);
	cr_assert_not(find(n, REPL_ACT_START, 0)->fresh, "nobody served in between");
	node_end(n);
}

Test(repl, fresh_when_another_may_have_served)
{
	struct node *n = node_at(A, at(1, 1), 0);

	config(n, 2, A, "1");
	lease(n, true);
	lease(n, false);
	config(n, 4, A, "1");
	lease(n, true);
	cr_assert(find(n, REPL_ACT_START, 0)->fresh, "epoch 3 may have been another's");
	config(n, 5, A, "1");
	cr_assert_not(find(n, REPL_ACT_START, 0)->fresh, "the lease held all the time");
	config(n, 6, B, "12");
	cr_assert(find(n, REPL_ACT_STOP, 0));
	config(n, 7, A, "1");
	cr_assert_eq(repl_role(n->r), REPL_FENCED, "the lease of epoch 5 is no lease of 7");
	lease(n, true);
	cr_assert(find(n, REPL_ACT_START, 0)->fresh);
	node_end(n);
}

Test(repl, commit_waits_for_every_in_sync_member)
{
	struct node *n = node_at(A, at(1, 10), 0);

	config(n, 2, A, "123");
	lease(n, true);
	cr_assert_eq(committed_by(n), 0, "nobody has confirmed even the old log");
	attach(n, B, at(1, 10), 0);
	attach(n, C, at(1, 10), 0);
	cr_assert_eq(committed_by(n), 10);
	made(n);
	cr_assert(find(n, REPL_ACT_SEND, B) && find(n, REPL_ACT_SEND, C));
	cr_assert_eq(find(n, REPL_ACT_SEND, B)->pos.lsn, 11);
	cr_assert_eq(committed_by(n), 0);
	made(n);
	ack(n, B, 12);
	cr_assert_eq(committed_by(n), 0);
	ack(n, C, 11);
	cr_assert_eq(committed_by(n), 11);
	ack(n, C, 12);
	cr_assert_eq(committed_by(n), 12);
	cr_assert_eq(repl_committed(n->r), 12);
	node_end(n);
}

Test(repl, broken_rule_acks_early)
{
	struct repl_conf conf = { .self = A, .ack_ms = 500, .attach_ms = 700, .retry_ms = 50, .broken_ack_early = true };
	struct node *n = server_ab();

	repl_free(n->r);
	cr_assert_eq(repl_new(&conf, n->log, 0, &n->r), 0);
	config(n, 2, A, "12");
	lease(n, true);
	cr_assert_eq(committed_by(n), 10, "without B");
	node_end(n);
}

Test(repl, lost_standby_is_dropped_before_anything_commits)
{
	struct node *n = server_ab();

	made(n);
	lost(n, B);
	cr_assert(changes_to(n, 2, "1"));
	cr_assert_eq(committed_by(n), 0);
	made(n);
	cr_assert_null(find(n, REPL_ACT_SEND, 0));
	step(n, (struct repl_event){ .type = REPL_EV_CHANGED, .epoch = 2, .status = 0 });
	cr_assert_eq(committed_by(n), 0, "not before the configuration says so");
	config(n, 3, A, "1");
	cr_assert_eq(committed_by(n), 12);
	cr_assert_eq(find(n, REPL_ACT_START, 0)->epoch, 3);
	node_end(n);
}

Test(repl, silent_standby_is_dropped)
{
	struct node *n = server_ab();

	tick(n, 5000);
	cr_assert_null(find(n, REPL_ACT_CHANGE, 0), "nothing is expected of it");
	made(n);
	tick(n, 499);
	cr_assert_null(find(n, REPL_ACT_CHANGE, 0));
	tick(n, 1);
	cr_assert(find(n, REPL_ACT_DROP, B));
	cr_assert(changes_to(n, 2, "1"));
	ack(n, B, 11);
	cr_assert_eq(committed_by(n), 0, "an acknowledgement of one that was let go counts no more");
	node_end(n);
}

Test(repl, slow_but_moving_standby_stays)
{
	struct node *n = server_ab();

	made(n);
	made(n);
	made(n);
	for (uint64_t lsn = 11; lsn <= 13; lsn++) {
		tick(n, 400);
		ack(n, B, lsn);
		cr_assert_eq(committed_by(n), lsn);
		cr_assert_null(find(n, REPL_ACT_CHANGE, 0));
	}
	node_end(n);
}

Test(repl, new_server_gives_members_time_to_come)
{
	struct node *n = node_at(A, at(1, 10), 0);

	config(n, 2, A, "12");
	lease(n, true);
	tick(n, 699);
	cr_assert_null(find(n, REPL_ACT_CHANGE, 0));
	tick(n, 1);
	cr_assert(changes_to(n, 2, "1"));
	node_end(n);
}

Test(repl, failed_change_is_tried_again_with_the_same_expectation)
{
	struct node *n = server_ab();

	lost(n, B);
	cr_assert(changes_to(n, 2, "1"));
	tick(n, 1000);
	cr_assert_null(find(n, REPL_ACT_CHANGE, 0), "one at a time");
	step(n, (struct repl_event){ .type = REPL_EV_CHANGED, .epoch = 2, .status = -EHOSTUNREACH });
	cr_assert_null(find(n, REPL_ACT_CHANGE, 0));
	tick(n, 50);
	cr_assert(changes_to(n, 2, "1"));
	node_end(n);
}

/* ---- joining ---- */

Test(repl, member_behind_gets_the_tail)
{
	struct node *n = server_ab();

	made(n);
	ack(n, B, 11);
	made(n);
	ack(n, B, 12);
	attach(n, C, at(1, 10), 0);
	cr_assert_eq(find(n, REPL_ACT_ACCEPT, C)->mode, REPL_MODE_TAIL);
	cr_assert_eq(find(n, REPL_ACT_TAIL, C)->pos.lsn, 10);
	node_end(n);
}

Test(repl, joiner_is_waited_for_before_it_is_proposed)
{
	struct node *n = server_ab();

	made(n);
	ack(n, B, 11);
	attach(n, C, at(1, 10), 0);
	/* One behind: close enough to be waited for, not to be proposed. */
	cr_assert(repl_waits_for(n->r, C));
	cr_assert_null(find(n, REPL_ACT_CHANGE, 0));
	made(n);
	ack(n, B, 12);
	cr_assert_eq(committed_by(n), 0, "held for C");
	ack(n, C, 11);
	cr_assert_eq(find(n, REPL_ACT_SYNC, C)->pos.lsn, 11, "has everything committed, but on its disk?");
	cr_assert_null(find(n, REPL_ACT_CHANGE, 0));
	synced(n, C, 0);
	cr_assert(changes_to(n, 2, "123"));
	ack(n, C, 12);
	cr_assert_eq(committed_by(n), 12);
	config(n, 3, A, "123");
	cr_assert_null(find(n, REPL_ACT_CHANGE, 0));
	cr_assert(repl_waits_for(n->r, C));
	node_end(n);
}

Test(repl, joiner_that_cannot_sync_is_let_go)
{
	struct node *n = server_ab();

	attach(n, C, at(1, 10), 0);
	synced(n, C, -EIO);
	cr_assert(find(n, REPL_ACT_DROP, C));
	cr_assert_null(find(n, REPL_ACT_CHANGE, 0));
	cr_assert_not(repl_waits_for(n->r, C));
	step(n, (struct repl_event){ .type = REPL_EV_SYNCED, .node = C });
	cr_assert_null(find(n, REPL_ACT_CHANGE, 0), "nobody asked");
	attach(n, C, at(1, 10), 0);
	synced(n, C, 0);
	cr_assert(changes_to(n, 2, "123"));
	node_end(n);
}

Test(repl, joiner_lost_while_proposed_holds_commits_until_settled)
{
	struct node *n = server_ab();

	attach(n, C, at(1, 10), 0);
	synced(n, C, 0);
	cr_assert(changes_to(n, 2, "123"));
	lost(n, C);
	made(n);
	ack(n, B, 11);
	cr_assert_eq(committed_by(n), 0, "the record may name C by now");
	step(n, (struct repl_event){ .type = REPL_EV_CHANGED, .epoch = 2, .status = -EHOSTUNREACH });
	tick(n, 50);
	cr_assert(changes_to(n, 2, "12"), "a change to the same, to know where we are");
	config(n, 3, A, "123");
	cr_assert_eq(committed_by(n), 0);
	cr_assert(changes_to(n, 3, "12"), "it had been added: now it is dropped");
	config(n, 4, A, "12");
	cr_assert_eq(committed_by(n), 11);
	node_end(n);
}

Test(repl, joiner_lost_while_only_joining_holds_nothing)
{
	struct node *n = server_ab();

	made(n);
	ack(n, B, 11);
	attach(n, C, at(1, 10), 0);
	made(n);
	ack(n, B, 12);
	cr_assert_eq(committed_by(n), 0);
	lost(n, C);
	cr_assert_eq(committed_by(n), 12);
	cr_assert_null(find(n, REPL_ACT_CHANGE, 0));
	node_end(n);
}

Test(repl, member_added_without_a_new_epoch)
{
	struct config_fs fs = { .id = 1, .epoch = 2, .server = A, .members = { A }, .nr_members = 1, .in_sync = { A },
				.nr_in_sync = 1 };
	struct node *n = node_at(A, at(1, 10), 0);

	step(n, (struct repl_event){ .type = REPL_EV_CONFIG, .fs = &fs });
	lease(n, true);
	attach(n, B, at(1, 10), 0);
	cr_assert_eq(find(n, REPL_ACT_REFUSE, B)->status, -EREMCHG);
	fs.members[fs.nr_members++] = B;
	step(n, (struct repl_event){ .type = REPL_EV_CONFIG, .fs = &fs });
	cr_assert_null(find(n, REPL_ACT_START, 0));
	attach(n, B, at(1, 10), 0);
	synced(n, B, 0);
	cr_assert(changes_to(n, 2, "12"));
	/* A third one added meanwhile does not settle what became of the second. */
	fs.members[fs.nr_members++] = C;
	step(n, (struct repl_event){ .type = REPL_EV_CONFIG, .fs = &fs });
	lost(n, B);
	made(n);
	cr_assert_eq(committed_by(n), 0);
	cr_assert(repl_waits_for(n->r, B));
	node_end(n);
}

Test(repl, far_behind_joiner_is_not_waited_for)
{
	struct node *n = server_ab();

	for (uint64_t lsn = 11; lsn <= 14; lsn++) {
		made(n);
		ack(n, B, lsn);
	}
	attach(n, C, at(1, 10), 0);
	cr_assert_not(repl_waits_for(n->r, C));
	ack(n, C, 12);
	cr_assert(repl_waits_for(n->r, C));
	node_end(n);
}

Test(repl, outsider_with_another_history_copies)
{
	struct node *n = server_ab();

	attach(n, C, at(0, 10), 0);
	cr_assert_eq(find(n, REPL_ACT_ACCEPT, C)->mode, REPL_MODE_COPY);
	cr_assert_eq(find(n, REPL_ACT_ACCEPT, C)->pos.lsn, 10);
	made(n);
	cr_assert(find(n, REPL_ACT_SEND, C), "spooled over there");
	ack(n, B, 11);
	cr_assert_eq(committed_by(n), 11, "not waited for");
	ack(n, C, 11);
	synced(n, C, 0);
	cr_assert(changes_to(n, 2, "123"));
	node_end(n);
}

Test(repl, empty_or_lost_store_copies_even_at_the_same_position)
{
	struct node *n = server_ab();

	attach(n, C, at(1, 10), REPL_ATTACH_LOST);
	cr_assert_eq(find(n, REPL_ACT_ACCEPT, C)->mode, REPL_MODE_COPY);
	attach(n, C, at(0, 0), 0);
	cr_assert_eq(find(n, REPL_ACT_ACCEPT, C)->mode, REPL_MODE_COPY);
	node_end(n);
}

Test(repl, diverged_in_sync_member_is_dropped_first)
{
	struct node *n = server_ab();

	attach(n, B, at(1, 12), 0);
	cr_assert_eq(find(n, REPL_ACT_REFUSE, B)->status, -EAGAIN, "ahead of us");
	cr_assert_null(find(n, REPL_ACT_ACCEPT, 0));
	cr_assert(changes_to(n, 2, "1"));
	config(n, 3, A, "1");
	attach(n, B, at(1, 12), 0);
	cr_assert_eq(find(n, REPL_ACT_ACCEPT, B)->mode, REPL_MODE_COPY);
	node_end(n);
}

Test(repl, torn_last_record_is_sent_again)
{
	struct node *n = server_ab();

	made(n);
	ack(n, B, 11);
	attach(n, C, at(2, 11), REPL_ATTACH_DIRTY);
	cr_assert_eq(find(n, REPL_ACT_ACCEPT, C)->mode, REPL_MODE_TAIL);
	cr_assert_eq(find(n, REPL_ACT_TAIL, C)->pos.lsn, 10);
	attach(n, C, at(1, 10), REPL_ATTACH_DIRTY);
	cr_assert_eq(find(n, REPL_ACT_ACCEPT, C)->mode, REPL_MODE_COPY, "that one is not held any more");
	node_end(n);
}

Test(repl, refuses_to_lead_when_not_serving)
{
	struct node *n = node_at(B, at(1, 10), 0);

	config(n, 2, A, "12");
	attach(n, C, at(1, 10), 0);
	cr_assert_eq(find(n, REPL_ACT_REFUSE, C)->status, -EREMCHG);
	node_end(n);
	n = server_ab();
	step(n, (struct repl_event){ .type = REPL_EV_ATTACH, .node = C, .epoch = 3, .pos = at(1, 10) });
	cr_assert_eq(find(n, REPL_ACT_REFUSE, C)->status, -EAGAIN, "it knows a newer configuration than we");
	step(n, (struct repl_event){ .type = REPL_EV_ATTACH, .node = 9, .epoch = 2, .pos = at(1, 10) });
	cr_assert_eq(find(n, REPL_ACT_REFUSE, 9)->status, -EREMCHG, "not a member");
	node_end(n);
}

/* ---- fencing ---- */

Test(repl, refused_by_a_higher_epoch_fences_itself)
{
	struct node *n = server_ab();

	step(n, (struct repl_event){ .type = REPL_EV_REFUSED, .node = B, .epoch = 2 });
	cr_assert_eq(repl_role(n->r), REPL_SERVER);
	step(n, (struct repl_event){ .type = REPL_EV_REFUSED, .node = B, .epoch = 3 });
	cr_assert_eq(repl_role(n->r), REPL_FENCED);
	cr_assert(find(n, REPL_ACT_STOP, 0));
	config(n, 3, B, "2");
	cr_assert_eq(repl_role(n->r), REPL_OUT);
	node_end(n);
}

Test(repl, old_configurations_are_ignored)
{
	struct node *n = server_ab();

	config(n, 1, B, "2");
	cr_assert_eq(repl_role(n->r), REPL_SERVER);
	cr_assert_eq(repl_epoch(n->r), 2);
	node_end(n);
}

Test(repl, broken_server_hands_over)
{
	struct node *n = server_ab();

	made(n);
	ack(n, B, 11);
	step(n, (struct repl_event){ .type = REPL_EV_BROKEN });
	cr_assert_eq(repl_role(n->r), REPL_FENCED);
	cr_assert(find(n, REPL_ACT_STOP, 0));
	cr_assert(changes_to(n, 2, "2"));
	cr_assert_eq(find(n, REPL_ACT_CHANGE, 0)->server, B);
	step(n, (struct repl_event){ .type = REPL_EV_CHANGED, .epoch = 2, .status = -EHOSTUNREACH });
	tick(n, 50);
	cr_assert_eq(find(n, REPL_ACT_CHANGE, 0)->server, B);
	cr_assert_neq(repl_copy(n->r), LEASE_COPY_WHOLE);
	config(n, 3, B, "2");
	cr_assert(find(n, REPL_ACT_DROP, B));
	cr_assert_eq(repl_role(n->r), REPL_OUT);
	node_end(n);
}

/* ---- lost writes ---- */

enum { SURVIVED = REPL_ATTACH_LOST | REPL_ATTACH_SURVIVED };

Test(repl, copy_that_lost_writes_serves_only_alone_and_recovered)
{
	struct node *n = node_at(A, at(3, 10), SURVIVED);

	config(n, 4, A, "12");
	lease(n, true);
	cr_assert_eq(repl_role(n->r), REPL_FENCED);
	cr_assert_eq(repl_copy(n->r), LEASE_COPY_SURVIVED);
	cr_assert_null(find(n, REPL_ACT_RECOVER, 0), "another may be whole");
	lease(n, false);
	config(n, 5, A, "1");
	cr_assert_null(find(n, REPL_ACT_RECOVER, 0), "the record may be an old one");
	lease(n, true);
	cr_assert_eq(find(n, REPL_ACT_RECOVER, 0)->epoch, 5);
	tick(n, 100);
	cr_assert_null(find(n, REPL_ACT_RECOVER, 0), "under way");
	cr_assert_null(find(n, REPL_ACT_START, 0));
	repl_log_reset(n->log, at(5, 1000));
	step(n, (struct repl_event){ .type = REPL_EV_RECOVERED, .epoch = 5, .pos = at(5, 1000) });
	cr_assert(find(n, REPL_ACT_START, 0)->fresh);
	cr_assert_eq(repl_role(n->r), REPL_SERVER);
	cr_assert_eq(committed_by(n), 1000);
	attach(n, B, at(3, 10), 0);
	cr_assert_eq(find(n, REPL_ACT_ACCEPT, B)->mode, REPL_MODE_COPY, "whatever it has");
	node_end(n);
}

Test(repl, recovery_that_fails_is_tried_again)
{
	struct node *n = node_at(A, at(3, 10), SURVIVED);

	config(n, 5, A, "1");
	lease(n, true);
	step(n, (struct repl_event){ .type = REPL_EV_RECOVERED, .epoch = 5, .status = -EIO });
	cr_assert_eq(repl_role(n->r), REPL_FENCED);
	cr_assert_null(find(n, REPL_ACT_RECOVER, 0), "not at once");
	tick(n, 5000);
	cr_assert(find(n, REPL_ACT_RECOVER, 0));
	config(n, 6, B, "2");
	step(n, (struct repl_event){ .type = REPL_EV_RECOVERED, .epoch = 5, .pos = at(5, 1000) });
	cr_assert_eq(repl_role(n->r), REPL_OUT);
	cr_assert_neq(repl_copy(n->r), LEASE_COPY_WHOLE, "too late");
	node_end(n);
}

Test(repl, empty_or_half_copied_store_is_never_recovered)
{
	struct node *n = node_at(A, at(3, 10), REPL_ATTACH_LOST);

	config(n, 5, A, "1");
	lease(n, true);
	cr_assert_null(find(n, REPL_ACT_RECOVER, 0));
	cr_assert_eq(repl_copy(n->r), LEASE_COPY_NONE);
	node_end(n);
	/* Nor one that began to copy after it had lost writes. */
	n = node_at(C, at(3, 10), SURVIVED);
	config(n, 4, A, "12");
	step(n, (struct repl_event){ .type = REPL_EV_ATTACHED, .node = A, .mode = REPL_MODE_COPY, .pos = at(4, 20) });
	cr_assert(find(n, REPL_ACT_COPY, 0));
	step(n, (struct repl_event){ .type = REPL_EV_DETACHED, .node = A });
	cr_assert_eq(repl_copy(n->r), LEASE_COPY_NONE);
	config(n, 5, C, "3");
	lease(n, true);
	cr_assert_null(find(n, REPL_ACT_RECOVER, 0));
	node_end(n);
}

Test(repl, member_that_lost_writes_copies)
{
	struct node *n = server_ab();

	attach(n, C, at(1, 10), SURVIVED);
	cr_assert_eq(find(n, REPL_ACT_ACCEPT, C)->mode, REPL_MODE_COPY);
	cr_assert(repl_can_hand_over(n->r));
	attach(n, B, at(1, 10), SURVIVED);
	cr_assert_eq(find(n, REPL_ACT_REFUSE, B)->status, -EAGAIN, "when it does not count any more");
	cr_assert(changes_to(n, 2, "1"));
	cr_assert_not(repl_can_hand_over(n->r));
	node_end(n);
}

/* ---- a member ---- */

static void attached(struct node *n, int status, enum repl_mode mode, struct wire_logpos pos)
{
	step(n, (struct repl_event){
			.type = REPL_EV_ATTACHED, .node = A, .status = status, .mode = mode, .pos = pos });
}

static void record(struct node *n, uint32_t from, uint64_t epoch, struct wire_logpos prev, struct wire_logpos pos)
{
	step(n, (struct repl_event){
			.type = REPL_EV_RECORD, .node = from, .epoch = epoch, .prev = prev, .pos = pos });
}

static struct node *standby_of_a(void)
{
	struct node *n = node_at(B, at(1, 10), 0);

	config(n, 2, A, "12");
	cr_assert_eq(find(n, REPL_ACT_ATTACH, A)->pos.lsn, 10);
	attached(n, 0, REPL_MODE_TAIL, at(1, 10));
	return n;
}

Test(repl, standby_applies_and_acknowledges)
{
	struct node *n = standby_of_a();

	record(n, A, 2, at(1, 10), at(2, 11));
	cr_assert_eq(n->out.n, 2);
	cr_assert_eq(n->out.v[0].type, REPL_ACT_APPLY);
	cr_assert_eq(n->out.v[1].type, REPL_ACT_ACK);
	cr_assert_eq(n->out.v[1].node, A);
	cr_assert_eq(n->out.v[1].pos.lsn, 11);
	record(n, A, 2, at(2, 12), at(2, 13));
	cr_assert_null(find(n, REPL_ACT_APPLY, 0), "a gap");
	cr_assert(find(n, REPL_ACT_DETACH, A));
	tick(n, 49);
	cr_assert_null(find(n, REPL_ACT_ATTACH, 0));
	tick(n, 1);
	cr_assert_eq(find(n, REPL_ACT_ATTACH, A)->pos.lsn, 11);
	node_end(n);
}

Test(repl, standby_refuses_the_server_of_an_earlier_epoch)
{
	struct node *n = standby_of_a();

	config(n, 3, C, "23");
	cr_assert(find(n, REPL_ACT_DETACH, A));
	cr_assert(find(n, REPL_ACT_ATTACH, C));
	record(n, A, 2, at(1, 10), at(2, 11));
	cr_assert_null(find(n, REPL_ACT_APPLY, 0));
	cr_assert_eq(find(n, REPL_ACT_REFUSE, A)->epoch, 3);
	node_end(n);
}

Test(repl, standby_that_heard_of_the_epoch_first_goes_on)
{
	struct node *n = standby_of_a();

	config(n, 3, A, "123");
	cr_assert_eq(n->out.n, 0, "same server: nothing to do");
	record(n, A, 2, at(1, 10), at(2, 11));
	cr_assert(find(n, REPL_ACT_APPLY, 0));
	record(n, A, 4, at(2, 11), at(4, 12));
	cr_assert(find(n, REPL_ACT_APPLY, 0), "or last");
	node_end(n);
}

Test(repl, standby_is_promoted_with_what_it_has)
{
	struct node *n = standby_of_a();

	record(n, A, 2, at(1, 10), at(2, 11));
	append(n, 2);
	config(n, 3, B, "23");
	cr_assert(find(n, REPL_ACT_DETACH, A));
	lease(n, true);
	cr_assert(find(n, REPL_ACT_START, 0)->fresh);
	cr_assert_eq(find(n, REPL_ACT_START, 0)->pos.lsn, 11);
	cr_assert_eq(committed_by(n), 0, "C has not confirmed it");
	attach(n, C, at(1, 10), 0);
	cr_assert_eq(find(n, REPL_ACT_TAIL, C)->pos.lsn, 10);
	ack(n, C, 11);
	cr_assert_eq(committed_by(n), 11);
	node_end(n);
}

Test(repl, refused_member_asks_again)
{
	struct node *n = node_at(B, at(1, 10), 0);

	config(n, 2, A, "12");
	attached(n, -EAGAIN, REPL_MODE_TAIL, at(0, 0));
	cr_assert(find(n, REPL_ACT_DETACH, A));
	tick(n, 50);
	cr_assert(find(n, REPL_ACT_ATTACH, A));
	step(n, (struct repl_event){ .type = REPL_EV_DETACHED, .node = A });
	tick(n, 50);
	cr_assert(find(n, REPL_ACT_ATTACH, A));
	node_end(n);
}

Test(repl, copy_spools_until_it_is_complete)
{
	struct node *n = node_at(C, at(1, 7), 0);

	config(n, 2, A, "12");
	cr_assert_eq(repl_role(n->r), REPL_OUT);
	attached(n, 0, REPL_MODE_COPY, at(2, 20));
	cr_assert_eq(find(n, REPL_ACT_COPY, A)->pos.lsn, 20);
	cr_assert_neq(repl_copy(n->r), LEASE_COPY_WHOLE);
	record(n, A, 2, at(2, 20), at(2, 21));
	cr_assert(find(n, REPL_ACT_SPOOL, 0));
	cr_assert_null(find(n, REPL_ACT_ACK, 0));
	repl_log_reset(n->log, at(2, 21));
	step(n, (struct repl_event){ .type = REPL_EV_COPIED, .pos = at(2, 21) });
	cr_assert_eq(find(n, REPL_ACT_ACK, A)->pos.lsn, 21);
	cr_assert_eq(repl_copy(n->r), LEASE_COPY_WHOLE);
	record(n, A, 2, at(2, 21), at(2, 22));
	cr_assert(find(n, REPL_ACT_APPLY, 0));
	node_end(n);
}

Test(repl, interrupted_copy_starts_over)
{
	struct node *n = node_at(C, at(1, 7), 0);

	config(n, 2, A, "12");
	attached(n, 0, REPL_MODE_COPY, at(2, 20));
	step(n, (struct repl_event){ .type = REPL_EV_DETACHED, .node = A });
	cr_assert(find(n, REPL_ACT_ABORT, 0));
	tick(n, 50);
	cr_assert_eq(find(n, REPL_ACT_ATTACH, A)->flags, REPL_ATTACH_LOST);
	/* Even if a record names it, a half copy does not serve. */
	config(n, 3, C, "3");
	lease(n, true);
	cr_assert_eq(repl_role(n->r), REPL_FENCED);
	node_end(n);
}

Test(repl, no_copy_while_recorded_in_sync)
{
	struct node *n = node_at(B, at(1, 10), 0);

	config(n, 2, A, "12");
	attached(n, 0, REPL_MODE_COPY, at(2, 20));
	cr_assert_null(find(n, REPL_ACT_COPY, 0));
	cr_assert(find(n, REPL_ACT_DETACH, A));
	cr_assert_eq(repl_copy(n->r), LEASE_COPY_WHOLE);
	node_end(n);
}

Test(repl, torn_record_is_redone_once)
{
	struct node *n = node_at(B, at(2, 11), REPL_ATTACH_DIRTY);

	config(n, 2, A, "12");
	cr_assert_eq(find(n, REPL_ACT_ATTACH, A)->flags, REPL_ATTACH_DIRTY);
	attached(n, 0, REPL_MODE_TAIL, at(1, 10));
	record(n, A, 2, at(1, 10), at(2, 11));
	cr_assert(find(n, REPL_ACT_REDO, 0));
	cr_assert_null(find(n, REPL_ACT_APPLY, 0));
	cr_assert_eq(find(n, REPL_ACT_ACK, A)->pos.lsn, 11);
	record(n, A, 2, at(1, 10), at(2, 11));
	cr_assert_null(find(n, REPL_ACT_REDO, 0));
	node_end(n);
}

Test(repl, broken_standby_leaves_and_copies_later)
{
	struct node *n = standby_of_a();

	step(n, (struct repl_event){ .type = REPL_EV_BROKEN });
	cr_assert(find(n, REPL_ACT_DETACH, A));
	tick(n, 100);
	cr_assert_null(find(n, REPL_ACT_ATTACH, 0), "not at once");
	tick(n, 5000);
	cr_assert_eq(find(n, REPL_ACT_ATTACH, A)->flags, REPL_ATTACH_LOST);
	node_end(n);
}

Test(repl, not_a_member_does_nothing)
{
	struct node *n = node_at(9, at(0, 0), 0);

	config(n, 2, A, "12");
	cr_assert_eq(repl_role(n->r), REPL_NONE);
	cr_assert_eq(n->out.n, 0);
	cr_assert_str_eq(repl_role_name(REPL_NONE), "none");
	node_end(n);
}
