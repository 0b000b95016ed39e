#include <criterion/criterion.h>

#include "cfsd/token.h"

struct trace {
	struct {
		uint64_t session, ino;
		uint32_t tokens;
	} revokes[32];
	size_t nr_revokes;
	void *ready[32];
	size_t nr_ready;
	uint64_t fenced[32];
	size_t nr_fenced;
};

static void on_revoke(void *ctx, uint64_t session, uint64_t ino, uint32_t tokens)
{
	struct trace *tr = ctx;

	tr->revokes[tr->nr_revokes].session = session;
	tr->revokes[tr->nr_revokes].ino = ino;
	tr->revokes[tr->nr_revokes++].tokens = tokens;
}

static void on_ready(void *ctx, void *op)
{
	struct trace *tr = ctx;

	tr->ready[tr->nr_ready++] = op;
}

static void on_fenced(void *ctx, uint64_t session)
{
	struct trace *tr = ctx;

	tr->fenced[tr->nr_fenced++] = session;
}

static struct tokens *tokens(struct trace *tr, size_t max)
{
	struct token_conf conf = { .revoke_ms = 1000, .fresh_ms = 500, .max_grants = max };
	struct token_events events = { on_revoke, on_ready, on_fenced };
	struct tokens *t;

	*tr = (struct trace){ 0 };
	cr_assert_eq(tokens_new(&conf, &events, tr, &t), 0);
	return t;
}

static uint32_t grant(struct tokens *t, uint64_t session, uint64_t ino, uint32_t want)
{
	struct token_stamp st;

	return token_grant(t, session, ino, want, 0, &st);
}

static int op1, op2; /* only their addresses */

Test(token, no_conflict_runs_at_once)
{
	struct op_conflict c = { 10, TOKEN_ATTR | TOKEN_DATA };
	struct trace tr;
	struct tokens *t = tokens(&tr, 100);

	cr_assert(token_acquire(t, 1, &c, 1, &op1, 0), "nobody has anything");
	cr_assert_eq(grant(t, 1, 10, TOKEN_ATTR), TOKEN_ATTR);
	cr_assert(token_acquire(t, 1, &c, 1, &op1, 0), "one's own is no conflict");
	cr_assert_eq(grant(t, 2, 10, TOKEN_NAMES), TOKEN_NAMES);
	cr_assert(token_acquire(t, 1, &c, 1, &op1, 0), "another kind is none");
	cr_assert_eq(grant(t, 2, 11, TOKEN_ATTR), TOKEN_ATTR);
	cr_assert(token_acquire(t, 1, &c, 1, &op1, 0), "another inode is none");
	cr_assert_eq(tr.nr_revokes, 0);
	tokens_free(t);
}

Test(token, change_waits_until_all_have_dropped)
{
	struct op_conflict c = { 10, TOKEN_ATTR | TOKEN_DATA };
	struct trace tr;
	struct tokens *t = tokens(&tr, 100);

	grant(t, 2, 10, TOKEN_ATTR);
	grant(t, 3, 10, TOKEN_ATTR | TOKEN_DATA | TOKEN_NAMES);
	cr_assert_not(token_acquire(t, 1, &c, 1, &op1, 0));
	cr_assert_eq(tr.nr_revokes, 2);
	cr_assert_eq(tr.revokes[0].session, 2);
	cr_assert_eq(tr.revokes[0].tokens, TOKEN_ATTR);
	cr_assert_eq(tr.revokes[1].tokens, TOKEN_ATTR | TOKEN_DATA);
	token_revoked(t, 2, 10, TOKEN_ATTR);
	cr_assert_eq(tr.nr_ready, 0);
	token_revoked(t, 3, 10, TOKEN_ATTR);
	cr_assert_eq(tr.nr_ready, 0);
	token_revoked(t, 3, 10, TOKEN_DATA);
	cr_assert_eq(tr.nr_ready, 1);
	cr_assert_eq(tr.ready[0], &op1);
	cr_assert_eq(tokens_count(t), 1, "3 keeps its names");
	tokens_free(t);
}

Test(token, nothing_is_granted_while_somebody_waits)
{
	struct op_conflict c = { 10, TOKEN_ATTR };
	struct trace tr;
	struct tokens *t = tokens(&tr, 100);

	grant(t, 2, 10, TOKEN_ATTR);
	token_acquire(t, 1, &c, 1, &op1, 0);
	cr_assert_eq(grant(t, 3, 10, TOKEN_ATTR), 0);
	cr_assert_eq(grant(t, 3, 10, TOKEN_ATTR | TOKEN_DATA), TOKEN_DATA, "that kind nobody waits for");
	cr_assert_eq(grant(t, 2, 10, TOKEN_DATA), 0, "not to one that is giving back");
	token_revoked(t, 2, 10, TOKEN_ATTR);
	cr_assert_eq(tr.nr_ready, 1);
	cr_assert_eq(grant(t, 3, 10, TOKEN_ATTR), TOKEN_ATTR, "over");
	tokens_free(t);
}

Test(token, each_token_is_asked_back_once)
{
	struct op_conflict attr = { 10, TOKEN_ATTR }, both = { 10, TOKEN_ATTR | TOKEN_DATA };
	struct trace tr;
	struct tokens *t = tokens(&tr, 100);

	grant(t, 2, 10, TOKEN_ATTR | TOKEN_DATA);
	token_acquire(t, 1, &attr, 1, &op1, 0);
	token_acquire(t, 3, &both, 1, &op2, 0);
	cr_assert_eq(tr.nr_revokes, 2);
	cr_assert_eq(tr.revokes[1].tokens, TOKEN_DATA);
	token_revoked(t, 2, 10, TOKEN_ATTR);
	cr_assert_eq(tr.nr_ready, 1);
	token_revoked(t, 2, 10, TOKEN_DATA);
	cr_assert_eq(tr.nr_ready, 2);
	cr_assert_eq(tr.ready[1], &op2);
	cr_assert_eq(tokens_count(t), 0);
	tokens_free(t);
}

Test(token, several_inodes_of_one_operation)
{
	struct op_conflict c[] = { { 10, TOKEN_NAMES }, { 11, TOKEN_ATTR }, { 10, TOKEN_ATTR } };
	struct trace tr;
	struct tokens *t = tokens(&tr, 100);

	grant(t, 2, 10, TOKEN_NAMES);
	grant(t, 2, 11, TOKEN_ATTR);
	cr_assert_not(token_acquire(t, 1, c, 3, &op1, 0));
	token_revoked(t, 2, 10, TOKEN_NAMES);
	cr_assert_eq(tr.nr_ready, 0);
	token_revoked(t, 2, 11, TOKEN_ATTR);
	cr_assert_eq(tr.nr_ready, 1);
	tokens_free(t);
}

Test(token, silent_session_is_fenced_and_then_outwaited)
{
	struct op_conflict c = { 10, TOKEN_ATTR };
	struct trace tr;
	struct tokens *t = tokens(&tr, 100);

	grant(t, 2, 10, TOKEN_ATTR);
	grant(t, 2, 11, TOKEN_ATTR);
	grant(t, 3, 10, TOKEN_ATTR);
	token_acquire(t, 1, &c, 1, &op1, 0);
	token_revoked(t, 3, 10, TOKEN_ATTR);
	token_tick(t, 999);
	cr_assert_eq(tr.nr_fenced, 0);
	token_tick(t, 1000);
	cr_assert_eq(tr.nr_fenced, 1);
	cr_assert_eq(tr.fenced[0], 2);
	cr_assert_eq(tr.nr_ready, 0, "it may still trust its cache");
	token_tick(t, 1499);
	cr_assert_eq(tr.nr_ready, 0);
	token_tick(t, 1500);
	cr_assert_eq(tr.nr_ready, 1);
	cr_assert_eq(tr.nr_fenced, 1);
	cr_assert_eq(tokens_count(t), 0, "of every inode");
	tokens_free(t);
}

Test(token, session_without_connection_is_outwaited)
{
	struct op_conflict c = { 10, TOKEN_ATTR };
	struct trace tr;
	struct tokens *t = tokens(&tr, 100);

	grant(t, 2, 10, TOKEN_ATTR);
	token_detach_session(t, 2, 100);
	cr_assert_not(token_acquire(t, 1, &c, 1, &op1, 200));
	cr_assert_eq(tr.nr_revokes, 0, "nobody to ask");
	token_tick(t, 599);
	cr_assert_eq(tr.nr_ready, 0);
	token_tick(t, 600);
	cr_assert_eq(tr.nr_ready, 1);
	cr_assert_eq(tr.nr_fenced, 0);
	tokens_free(t);
}

Test(token, session_that_attaches_anew_has_nothing)
{
	struct op_conflict c = { 10, TOKEN_ATTR };
	struct trace tr;
	struct tokens *t = tokens(&tr, 100);

	grant(t, 2, 10, TOKEN_ATTR);
	grant(t, 2, 12, TOKEN_ATTR);
	token_acquire(t, 1, &c, 1, &op1, 0);
	token_drop_session(t, 2);
	cr_assert_eq(tr.nr_ready, 1);
	cr_assert_eq(tokens_count(t), 0);
	token_revoked(t, 2, 10, TOKEN_ATTR);
	tokens_free(t);
}

Test(token, held_reply_does_not_bring_back_what_was_revoked)
{
	struct op_conflict c = { 10, TOKEN_ATTR };
	struct token_stamp before, after;
	struct trace tr;
	struct tokens *t = tokens(&tr, 100);

	token_grant(t, 2, 10, TOKEN_ATTR, 0, &before);
	cr_assert_eq(token_still(t, &before), TOKEN_ATTR);
	token_acquire(t, 1, &c, 1, &op1, 0);
	cr_assert_eq(token_still(t, &before), 0, "being taken back");
	token_revoked(t, 2, 10, TOKEN_ATTR);
	cr_assert_eq(token_still(t, &before), 0);
	token_grant(t, 2, 10, TOKEN_ATTR, 0, &after);
	cr_assert_eq(token_still(t, &before), 0, "an older reply, an older state");
	cr_assert_eq(token_still(t, &after), TOKEN_ATTR);
	tokens_free(t);
}

Test(token, cancelled_operation_is_not_called)
{
	struct op_conflict c = { 10, TOKEN_ATTR };
	struct trace tr;
	struct tokens *t = tokens(&tr, 100);

	grant(t, 2, 10, TOKEN_ATTR);
	token_acquire(t, 1, &c, 1, &op1, 0);
	token_cancel(t, &op1);
	cr_assert_eq(grant(t, 3, 10, TOKEN_ATTR), TOKEN_ATTR, "nobody waits any more");
	token_revoked(t, 2, 10, TOKEN_ATTR);
	cr_assert_eq(tr.nr_ready, 0);
	tokens_free(t);
}

Test(token, oldest_is_recalled_when_there_are_too_many)
{
	struct trace tr;
	struct tokens *t = tokens(&tr, 2);

	grant(t, 1, 10, TOKEN_ATTR);
	grant(t, 1, 11, TOKEN_ATTR);
	cr_assert_eq(grant(t, 2, 12, TOKEN_ATTR), 0);
	cr_assert_eq(tr.nr_revokes, 1);
	cr_assert_eq(tr.revokes[0].ino, 10);
	cr_assert_eq(grant(t, 1, 11, TOKEN_DATA), TOKEN_DATA, "more on a known grant costs nothing");
	token_revoked(t, 1, 10, TOKEN_ATTR);
	cr_assert_eq(grant(t, 2, 12, TOKEN_ATTR), TOKEN_ATTR);
	cr_assert_eq(tokens_count(t), 2);
	tokens_free(t);
}

Test(token, freed_with_operations_waiting)
{
	struct op_conflict c[] = { { 10, TOKEN_ATTR }, { 20, TOKEN_NAMES } };
	struct trace tr;
	struct tokens *t = tokens(&tr, 100);

	grant(t, 2, 10, TOKEN_ATTR);
	token_acquire(t, 1, c, 2, &op1, 0);
	tokens_free(t);
	cr_assert_eq(tr.nr_ready, 0);
	tokens_free(NULL);
}
