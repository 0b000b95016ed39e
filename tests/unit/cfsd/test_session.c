#include <criterion/criterion.h>
#include <errno.h>

#include "cfsd/session.h"

static const char conn1, conn2; /* only their addresses */

struct let_go {
	uint64_t ino[16];
	size_t n;
};

static void note(void *ctx, uint64_t ino)
{
	struct let_go *l = ctx;

	l->ino[l->n++] = ino;
}

static struct sessions *sessions(struct let_go *l)
{
	struct session_conf conf = { .expire_ms = 30000 };
	struct sessions *s;

	*l = (struct let_go){ 0 };
	cr_assert_eq(sessions_new(&conf, note, l, &s), 0);
	return s;
}

static enum session_slot_state begin(struct sessions *s, uint64_t id, uint32_t slot, uint64_t seq)
{
	enum session_slot_state st;

	cr_assert_eq(session_slot_begin(s, id, slot, seq, &st), 0);
	return st;
}

Test(session, slot_executes_each_change_once)
{
	enum session_slot_state st = SESSION_NEW;
	struct let_go l;
	struct sessions *s = sessions(&l);

	cr_assert_eq(session_slot_begin(s, 7, 0, 1, &st), -EREMCHG, "no such session");
	cr_assert_eq(session_attach(s, 7, &conn1, NULL, 0), 1);
	cr_assert_eq(begin(s, 7, 0, 1), SESSION_NEW);
	cr_assert_eq(begin(s, 7, 0, 1), SESSION_BUSY);
	cr_assert_eq(session_slot_begin(s, 7, 0, 2, &st), -EREMCHG, "the earlier one is not done");
	session_slot_done(s, 7, 0);
	cr_assert_eq(begin(s, 7, 0, 1), SESSION_REPLIED);
	cr_assert_eq(begin(s, 7, 0, 2), SESSION_NEW);
	session_slot_done(s, 7, 0);
	cr_assert_eq(session_slot_begin(s, 7, 0, 1, &st), -EINVAL, "its reply is gone");
	cr_assert_eq(session_slot_begin(s, 7, SESSION_SLOTS, 1, &st), -EINVAL);
	cr_assert_eq(session_slot_begin(s, 7, 1, 0, &st), -EINVAL);
	sessions_free(s);
}

Test(session, failed_change_may_come_again)
{
	struct let_go l;
	struct sessions *s = sessions(&l);

	session_attach(s, 7, &conn1, NULL, 0);
	cr_assert_eq(begin(s, 7, 3, 5), SESSION_NEW);
	session_slot_abort(s, 7, 3);
	cr_assert_eq(begin(s, 7, 3, 5), SESSION_NEW);
	session_slot_abort(s, 7, 3);
	cr_assert_eq(begin(s, 7, 3, 6), SESSION_NEW);
	sessions_free(s);
}

Test(session, restored_slots_answer_from_the_record)
{
	struct let_go l;
	struct sessions *s = sessions(&l);

	session_restore_slot(s, 7, 1, 9);
	cr_assert_eq(session_restore(s, 7, 0), 0);
	session_restore_slot(s, 7, 1, 9);
	session_restore_slot(s, 7, SESSION_SLOTS, 9);
	cr_assert_not(session_speaks(s, 7, NULL));
	cr_assert_eq(session_attach(s, 7, &conn1, NULL, 0), 0, "known");
	cr_assert_eq(begin(s, 7, 1, 9), SESSION_REPLIED);
	cr_assert_eq(begin(s, 7, 1, 10), SESSION_NEW);
	sessions_free(s);
}

Test(session, one_connection_speaks_for_it)
{
	struct let_go l;
	struct sessions *s = sessions(&l);

	cr_assert_eq(session_attach(s, 0, &conn1, NULL, 0), -EINVAL);
	session_attach(s, 7, &conn1, NULL, 0);
	cr_assert(session_speaks(s, 7, &conn1));
	cr_assert_not(session_speaks(s, 7, &conn2));
	cr_assert_eq(sessions_count(s), 1);
	session_attach(s, 7, &conn2, NULL, 0);
	cr_assert_not(session_speaks(s, 7, &conn1), "another took over");
	session_detach(s, &conn1, 0);
	cr_assert(session_speaks(s, 7, &conn2), "what the old one does is of no matter");
	session_detach(s, &conn2, 0);
	cr_assert_not(session_speaks(s, 7, &conn2));
	cr_assert_eq(sessions_count(s), 0);
	session_attach(s, 7, &conn2, NULL, 0);
	session_fence(s, 7, 0);
	cr_assert_not(session_speaks(s, 7, &conn2));
	cr_assert_null(session_conn(s, 7));
	sessions_free(s);
}

Test(session, last_hold_lets_go)
{
	struct let_go l;
	struct sessions *s = sessions(&l);

	session_attach(s, 7, &conn1, NULL, 0);
	session_attach(s, 8, &conn2, NULL, 0);
	cr_assert_eq(session_hold(s, 9, 100), -EREMCHG);
	cr_assert_eq(session_hold(s, 7, 100), 0);
	cr_assert_eq(session_hold(s, 7, 100), 0);
	cr_assert_eq(session_hold(s, 8, 100), 0);
	session_release(s, 7, 100);
	session_release(s, 7, 100);
	session_release(s, 7, 100);
	cr_assert(session_is_open(s, 100), "8 has it");
	cr_assert_eq(l.n, 0);
	session_release(s, 8, 100);
	cr_assert_not(session_is_open(s, 100));
	cr_assert_eq(l.n, 1);
	cr_assert_eq(l.ino[0], 100);
	sessions_free(s);
}

Test(session, attach_replaces_holds)
{
	uint64_t opens[] = { 100, 100, 102 };
	struct let_go l;
	struct sessions *s = sessions(&l);

	session_attach(s, 7, &conn1, NULL, 0);
	session_hold(s, 7, 100);
	session_hold(s, 7, 101);
	cr_assert_eq(session_attach(s, 7, &conn2, opens, 3), 0);
	cr_assert_eq(l.n, 1);
	cr_assert_eq(l.ino[0], 101);
	session_release(s, 7, 100);
	cr_assert(session_is_open(s, 100), "twice open");
	session_release(s, 7, 100);
	cr_assert_not(session_is_open(s, 100));
	cr_assert(session_is_open(s, 102));
	sessions_free(s);
}

Test(session, expires_after_its_time_and_may_come_back)
{
	uint64_t opens[] = { 100 };
	struct let_go l;
	struct sessions *s = sessions(&l);

	session_attach(s, 7, &conn1, opens, 1);
	cr_assert_eq(begin(s, 7, 0, 4), SESSION_NEW);
	session_slot_done(s, 7, 0);
	session_tick(s, 1000000);
	cr_assert(session_is_open(s, 100), "attached sessions do not expire");
	session_detach(s, &conn1, 1000000);
	session_tick(s, 1029999);
	cr_assert(session_is_open(s, 100));
	session_tick(s, 1030000);
	cr_assert_not(session_is_open(s, 100));
	cr_assert_eq(l.n, 1);
	session_tick(s, 1030001);
	cr_assert_eq(l.n, 1);
	cr_assert_eq(session_attach(s, 7, &conn1, NULL, 0), 0);
	cr_assert_eq(begin(s, 7, 0, 4), SESSION_REPLIED, "a late resend is still answered");
	sessions_free(s);
}

Test(session, unsettled_until_all_have_come_or_expired)
{
	struct let_go l;
	struct sessions *s = sessions(&l);

	cr_assert(sessions_settled(s));
	session_restore(s, 7, 0);
	session_restore(s, 8, 0);
	cr_assert_not(sessions_settled(s));
	session_attach(s, 7, &conn1, NULL, 0);
	cr_assert_not(sessions_settled(s));
	session_tick(s, 30000);
	cr_assert(sessions_settled(s));
	session_attach(s, 8, &conn2, NULL, 0);
	cr_assert(sessions_settled(s));
	sessions_free(s);
}

Test(session, close_forgets)
{
	uint64_t opens[] = { 100, 101 };
	struct let_go l;
	struct sessions *s = sessions(&l);

	session_attach(s, 7, &conn1, opens, 2);
	cr_assert_eq(session_close(s, 7), 0);
	cr_assert_eq(l.n, 2);
	cr_assert_eq(session_close(s, 7), -ENOENT);
	cr_assert_eq(session_attach(s, 7, &conn1, NULL, 0), 1, "as if never seen");
	sessions_free(s);
	sessions_free(NULL);
}

Test(session, limits)
{
	static uint64_t opens[SESSION_OPENS_MAX + 1];
	struct let_go l;
	struct sessions *s = sessions(&l);

	cr_assert_eq(session_attach(s, 1, &conn1, opens, SESSION_OPENS_MAX + 1), -ENFILE);
	for (uint64_t id = 1; id <= SESSIONS_MAX; id++)
		cr_assert_eq(session_attach(s, id, &conn1, NULL, 0), 1);
	cr_assert_eq(session_attach(s, SESSIONS_MAX + 1, &conn1, NULL, 0), -ENFILE);
	cr_assert_eq(session_attach(s, 5, &conn1, NULL, 0), 0, "a known one may always come back");
	sessions_free(s);
}
