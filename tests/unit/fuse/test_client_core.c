/* The core of the mount's session: who is asked, what is asked again, and that nothing ends twice or never. */
#include "fuse/client_core.h"

#include <criterion/criterion.h>
#include <errno.h>

struct fixture {
	struct client_core c;
	struct core_update u;
	uint64_t now;
};

static void step(struct fixture *f, struct core_event ev)
{
	core_step(&f->c, &ev, f->now, &f->u);
}

static void init(struct fixture *f, uint64_t soft_ms)
{
	*f = (struct fixture){ .now = 1000 };
	core_init(&f->c, soft_ms);
}

static void config(struct fixture *f, uint32_t server, uint64_t epoch)
{
	step(f, (struct core_event){ .kind = CORE_EV_CONFIG, .server = server, .epoch = epoch });
}

static void opened(struct fixture *f, int status, uint64_t epoch, uint32_t slots)
{
	step(f, (struct core_event){ .kind = CORE_EV_OPENED, .status = status, .epoch = epoch, .slots = slots });
}

/* From nothing to READY at node SERVER. */
static void ready(struct fixture *f, uint32_t server, uint64_t epoch, uint32_t slots)
{
	config(f, server, epoch);
	cr_assert(f->u.flags & CORE_CONNECT);
	cr_assert_eq(f->u.node, server);
	step(f, (struct core_event){ .kind = CORE_EV_UP });
	cr_assert_eq(f->u.flags, CORE_OPEN);
	cr_assert_eq(f->u.epoch, epoch);
	opened(f, 0, epoch, slots);
	cr_assert_eq(f->u.flags, CORE_OPENED);
	cr_assert_eq(f->c.state, CORE_READY);
}

static void submit(struct fixture *f, struct core_op *op)
{
	step(f, (struct core_event){ .kind = CORE_EV_SUBMIT, .op = op });
}

static void reply(struct fixture *f, struct core_op *op, int status)
{
	step(f, (struct core_event){ .kind = CORE_EV_REPLY, .op = op, .status = status });
}

static void down(struct fixture *f)
{
	step(f, (struct core_event){ .kind = CORE_EV_DOWN, .status = -ECONNRESET });
}

static void tick(struct fixture *f)
{
	step(f, (struct core_event){ .kind = CORE_EV_TICK });
}

#define TAKE(f) core_take(&(f)->c, (f)->now)

Test(client_core, waits_for_a_server)
{
	struct fixture f;
	struct core_op op = { 0 };

	init(&f, 0);
	submit(&f, &op);
	cr_assert_null(TAKE(&f));
	cr_assert_eq(core_deadline(&f.c), UINT64_MAX);
	config(&f, 0, 1);
	cr_assert(f.u.flags & CORE_REFRESH);
	cr_assert_eq(f.c.state, CORE_IDLE);
	ready(&f, 2, 2, 4);
	cr_assert_eq(TAKE(&f), &op);
	cr_assert_eq(op.state, CORE_OP_SENT);
	cr_assert_eq(op.seq, 0, "it changes nothing");
	cr_assert_null(TAKE(&f));
	cr_assert_null(core_finished(&f.c));
	reply(&f, &op, -ENOENT);
	cr_assert_eq(core_finished(&f.c), &op);
	cr_assert_eq(op.status, -ENOENT);
	cr_assert_null(core_finished(&f.c));
}

Test(client_core, a_slot_has_one_change_at_a_time)
{
	struct core_op op[4] = { [0].change = true, [1].change = true, [2].change = true };
	struct fixture f;

	init(&f, 0);
	ready(&f, 1, 1, 2);
	for (int i = 0; i < 4; i++)
		submit(&f, &op[i]);
	cr_assert_eq(TAKE(&f), &op[0]);
	cr_assert_eq(TAKE(&f), &op[1]);
	cr_assert_eq(TAKE(&f), &op[3], "what needs no slot overtakes what waits for one");
	cr_assert_null(TAKE(&f));
	cr_assert_neq(op[0].slot, op[1].slot);
	cr_assert_eq(op[0].seq, 1);
	cr_assert_eq(op[1].seq, 1);
	reply(&f, &op[1], 0);
	cr_assert_eq(core_finished(&f.c), &op[1]);
	cr_assert_eq(TAKE(&f), &op[2]);
	cr_assert_eq(op[2].slot, op[1].slot);
	cr_assert_eq(op[2].seq, 2);
}

Test(client_core, failed_changes_use_their_number_up)
{
	struct core_op a = { .change = true }, b = { .change = true };
	struct fixture f;

	init(&f, 0);
	ready(&f, 1, 1, 1);
	submit(&f, &a);
	TAKE(&f);
	reply(&f, &a, -EEXIST);
	cr_assert_eq(core_finished(&f.c)->status, -EEXIST);
	submit(&f, &b);
	cr_assert_eq(TAKE(&f), &b);
	cr_assert_eq(b.seq, 2);
}

Test(client_core, resends_with_the_same_slot_and_number)
{
	struct core_op a = { .change = true }, b = { .change = true }, c = { .change = true };
	struct fixture f;

	init(&f, 0);
	ready(&f, 1, 1, 2);
	submit(&f, &a);
	submit(&f, &b);
	submit(&f, &c);
	TAKE(&f);
	TAKE(&f);
	uint32_t slot_a = a.slot, slot_b = b.slot;
	/* Calls end before their connection is reported down, in any order. */
	reply(&f, &b, -ECONNRESET);
	cr_assert(f.u.flags & CORE_LOST);
	cr_assert(f.u.flags & CORE_DISCONNECT);
	reply(&f, &a, -ECONNRESET);
	cr_assert_null(core_finished(&f.c));
	cr_assert_null(TAKE(&f));
	f.now = core_deadline(&f.c);
	tick(&f);
	cr_assert(f.u.flags & CORE_CONNECT);
	step(&f, (struct core_event){ .kind = CORE_EV_UP });
	opened(&f, 0, 1, 2);
	cr_assert_eq(TAKE(&f), &a, "in the order they were submitted");
	cr_assert_eq(TAKE(&f), &b);
	cr_assert_null(TAKE(&f), "both slots are still theirs");
	cr_assert_eq(a.slot, slot_a);
	cr_assert_eq(b.slot, slot_b);
	cr_assert_eq(a.seq, 1);
	cr_assert_eq(b.seq, 1);
	reply(&f, &a, 0);
	cr_assert_eq(core_finished(&f.c), &a);
	cr_assert_eq(TAKE(&f), &c);
	cr_assert_eq(c.seq, 2);
}

Test(client_core, follows_the_configuration_at_once)
{
	struct core_op op = { .change = true };
	struct fixture f;

	init(&f, 0);
	ready(&f, 1, 1, 4);
	submit(&f, &op);
	TAKE(&f);
	/* The old server is silent; the configuration names another. */
	config(&f, 3, 2);
	cr_assert_eq(f.u.flags, CORE_LOST | CORE_DISCONNECT | CORE_CONNECT);
	cr_assert_eq(f.u.node, 3);
	reply(&f, &op, -ECANCELED); /* the closed connection gives its calls back */
	cr_assert_eq(f.u.flags, 0);
	step(&f, (struct core_event){ .kind = CORE_EV_UP });
	cr_assert_eq(f.u.epoch, 2);
	opened(&f, 0, 2, 4);
	cr_assert_eq(TAKE(&f), &op);
	cr_assert_eq(f.c.session_epoch, 2);
	cr_assert_eq(op.seq, 1);
}

Test(client_core, same_server_new_epoch_reopens_on_the_same_connection)
{
	struct core_op a = { 0 }, b = { 0 };
	struct fixture f;

	init(&f, 0);
	ready(&f, 1, 1, 4);
	submit(&f, &a);
	submit(&f, &b);
	TAKE(&f);
	TAKE(&f);
	config(&f, 1, 2);
	cr_assert_eq(f.u.flags, 0, "the server says itself when it matters");
	reply(&f, &a, -EREMCHG);
	cr_assert_eq(f.u.flags, CORE_LOST | CORE_REFRESH);
	cr_assert_eq(f.c.state, CORE_WAIT);
	f.now += CORE_BACKOFF_MIN_MS;
	tick(&f);
	cr_assert_eq(f.u.flags, CORE_OPEN);
	cr_assert_eq(f.u.epoch, 2);
	opened(&f, 0, 2, 4);
	cr_assert_eq(TAKE(&f), &a);
	/* A late answer to what was sent before the session was opened again does not shake the new one. */
	reply(&f, &b, -EREMCHG);
	cr_assert_eq(f.u.flags, 0);
	cr_assert_eq(f.c.state, CORE_READY);
	cr_assert_eq(TAKE(&f), &b);
}

Test(client_core, newer_configuration_ends_the_pause)
{
	struct fixture f;

	init(&f, 0);
	config(&f, 1, 1);
	down(&f);
	cr_assert_eq(f.c.state, CORE_WAIT);
	config(&f, 1, 1);
	cr_assert_eq(f.u.flags, 0, "nothing new");
	config(&f, 2, 2);
	cr_assert_eq(f.u.flags, CORE_CONNECT);
	cr_assert_eq(f.u.node, 2);
}

Test(client_core, backs_off_up_to_a_limit_and_starts_small_again)
{
	struct core_op op = { 0 };
	struct fixture f;
	uint64_t last = 0;

	init(&f, 0);
	config(&f, 1, 1);
	for (int i = 0; i < 10; i++) {
		down(&f);
		uint64_t pause = core_deadline(&f.c) - f.now;

		cr_assert_geq(pause, last);
		cr_assert_leq(pause, CORE_BACKOFF_MAX_MS);
		last = pause;
		tick(&f);
		cr_assert_eq(f.u.flags, 0, "not yet");
		f.now += pause;
		tick(&f);
		cr_assert(f.u.flags & CORE_CONNECT);
	}
	cr_assert_eq(last, CORE_BACKOFF_MAX_MS);
	step(&f, (struct core_event){ .kind = CORE_EV_UP });
	opened(&f, 0, 1, 4);
	submit(&f, &op);
	TAKE(&f);
	reply(&f, &op, 0);
	core_finished(&f.c);
	down(&f);
	cr_assert_eq(core_deadline(&f.c) - f.now, CORE_BACKOFF_MIN_MS);
}

Test(client_core, refused_session_is_tried_again)
{
	struct fixture f;

	init(&f, 0);
	config(&f, 1, 1);
	step(&f, (struct core_event){ .kind = CORE_EV_UP });
	opened(&f, -EREMCHG, 0, 0);
	cr_assert_eq(f.u.flags, CORE_REFRESH, "the connection stays");
	f.now += CORE_BACKOFF_MIN_MS;
	tick(&f);
	cr_assert_eq(f.u.flags, CORE_OPEN);
	opened(&f, -ETIMEDOUT, 0, 0);
	cr_assert_eq(f.u.flags, CORE_DISCONNECT | CORE_REFRESH, "it does not");
	opened(&f, 0, 9, 9);
	cr_assert_neq(f.c.state, CORE_READY, "nobody asked");
}

Test(client_core, connection_that_failed_unseen)
{
	struct core_op op = { .change = true };
	struct fixture f;

	init(&f, 0);
	ready(&f, 1, 1, 4);
	submit(&f, &op);
	TAKE(&f);
	reply(&f, &op, -ENOTCONN); /* the call could not even be made */
	cr_assert_eq(f.c.state, CORE_WAIT);
	cr_assert_null(TAKE(&f));
	cr_assert(op.has_slot);
}

Test(client_core, silent_server_is_probed_and_left)
{
	struct core_op op = { 0 }, other = { 0 };
	struct fixture f;

	init(&f, 0);
	ready(&f, 1, 1, 4);
	f.now += 100000;
	cr_assert_eq(core_deadline(&f.c), UINT64_MAX, "an idle session needs no clock");
	submit(&f, &op);
	TAKE(&f);
	cr_assert_eq(core_deadline(&f.c), f.now + CORE_PROBE_AFTER_MS);
	f.now += CORE_PROBE_AFTER_MS;
	tick(&f);
	cr_assert_eq(f.u.flags, CORE_PROBE | CORE_REFRESH);
	cr_assert_eq(core_deadline(&f.c), UINT64_MAX, "one at a time");
	step(&f, (struct core_event){ .kind = CORE_EV_PROBED, .status = 0 });
	cr_assert_eq(f.c.state, CORE_READY, "it is there, only slow");
	f.now += CORE_PROBE_AFTER_MS;
	tick(&f);
	step(&f, (struct core_event){ .kind = CORE_EV_PROBED, .status = -ETIMEDOUT });
	cr_assert(f.u.flags & CORE_DISCONNECT);
	cr_assert_eq(f.c.state, CORE_WAIT);
	step(&f, (struct core_event){ .kind = CORE_EV_PROBED, .status = -ETIMEDOUT });
	cr_assert_eq(f.u.flags, 0);
	submit(&f, &other);
	cr_assert_null(TAKE(&f));
}

Test(client_core, interrupt_only_before_anything_was_sent)
{
	struct core_op fresh = { .change = true }, sent = { .change = true };
	struct fixture f;

	init(&f, 0);
	submit(&f, &fresh);
	step(&f, (struct core_event){ .kind = CORE_EV_INTERRUPT, .op = &fresh });
	cr_assert_eq(core_finished(&f.c), &fresh);
	cr_assert_eq(fresh.status, -EINTR);
	step(&f, (struct core_event){ .kind = CORE_EV_INTERRUPT, .op = &fresh });
	cr_assert_null(core_finished(&f.c), "once");

	ready(&f, 1, 1, 4);
	submit(&f, &sent);
	TAKE(&f);
	step(&f, (struct core_event){ .kind = CORE_EV_INTERRUPT, .op = &sent });
	cr_assert_null(core_finished(&f.c));
	reply(&f, &sent, -ECONNRESET);
	step(&f, (struct core_event){ .kind = CORE_EV_INTERRUPT, .op = &sent });
	cr_assert_null(core_finished(&f.c), "it may have happened");
}

Test(client_core, soft_gives_up_what_waits_and_never_what_is_asked)
{
	struct core_op op[2] = { { .change = true }, { 0 } };
	struct fixture f;

	init(&f, 5000);
	submit(&f, &op[0]);
	f.now += 1000;
	submit(&f, &op[1]);
	cr_assert_eq(core_deadline(&f.c), f.now + 4000);
	f.now += 4000;
	tick(&f);
	cr_assert_eq(core_finished(&f.c), &op[0]);
	cr_assert_eq(op[0].status, -EIO);
	cr_assert_null(core_finished(&f.c));
	ready(&f, 1, 1, 1);
	TAKE(&f);
	f.now += 100000;
	tick(&f);
	cr_assert_null(core_finished(&f.c));
	reply(&f, &op[1], 0);
	cr_assert_eq(core_finished(&f.c)->status, 0);
}

Test(client_core, soft_gives_the_slot_back)
{
	struct core_op a = { .change = true }, b = { .change = true };
	struct fixture f;

	init(&f, 5000);
	ready(&f, 1, 1, 1);
	submit(&f, &a);
	TAKE(&f);
	reply(&f, &a, -ECONNRESET);
	f.now += 6000;
	tick(&f);
	cr_assert_eq(core_finished(&f.c), &a);
	step(&f, (struct core_event){ .kind = CORE_EV_UP });
	opened(&f, 0, 1, 1);
	submit(&f, &b);
	cr_assert_eq(TAKE(&f), &b);
	cr_assert_eq(b.seq, 2, "never the number of another operation");
}

Test(client_core, freshness_counts_from_the_sending)
{
	struct core_op op = { 0 }, old = { 0 };
	struct fixture f;

	init(&f, 0);
	cr_assert(!core_is_fresh(&f.c, f.now));
	ready(&f, 1, 1, 4);
	cr_assert(core_is_fresh(&f.c, f.now));
	f.now += CORE_FRESH_MS;
	cr_assert(!core_is_fresh(&f.c, f.now));
	submit(&f, &op);
	TAKE(&f);
	f.now += CORE_FRESH_MS - 1;
	reply(&f, &op, 0);
	core_finished(&f.c);
	cr_assert(core_is_fresh(&f.c, f.now));
	f.now += 1;
	cr_assert(!core_is_fresh(&f.c, f.now), "the server may have changed its mind since it was asked");
	submit(&f, &old);
	TAKE(&f);
	reply(&f, &old, -EREMCHG);
	cr_assert(!core_is_fresh(&f.c, f.now));
}

Test(client_core, fewer_slots_at_a_new_server)
{
	struct core_op op[3] = { [0].change = true, [1].change = true, [2].change = true };
	struct fixture f;

	init(&f, 0);
	ready(&f, 1, 1, CORE_SLOTS_MAX + 10);
	cr_assert_eq(f.c.nr_slots, CORE_SLOTS_MAX);
	submit(&f, &op[0]);
	submit(&f, &op[1]);
	TAKE(&f);
	TAKE(&f);
	config(&f, 2, 2);
	reply(&f, &op[0], -ECANCELED);
	reply(&f, &op[1], -ECANCELED);
	step(&f, (struct core_event){ .kind = CORE_EV_UP });
	opened(&f, 0, 2, 1);
	submit(&f, &op[2]);
	cr_assert_eq(TAKE(&f), &op[0]);
	cr_assert_eq(TAKE(&f), &op[1], "what has a slot keeps it");
	cr_assert_null(TAKE(&f));
}

/* Everything at random, with a model of the server's slots: nothing is executed twice, nothing is left over. */
Test(client_core, random_histories)
{
	for (unsigned int seed = 1; seed <= 300; seed++) {
		struct core_op ops[40] = { 0 };
		uint64_t executed[8] = { 0 }; /* per slot: the last number */
		int times[40] = { 0 }, done = 0, next = 0;
		struct core_op *sent[40];
		size_t nr_sent = 0;
		struct fixture f;

		srand(seed);
		init(&f, 0);
		config(&f, 1, 1);
		for (int round = 0; done < 40; round++) {
			struct core_op *op;

			cr_assert_lt(round, 100000, "seed %u hangs", seed);
			f.now += (uint64_t)(rand() % 20);
			if (next < 40 && rand() % 3 == 0) {
				ops[next].change = rand() % 2;
				submit(&f, &ops[next++]);
			}
			if (f.c.state == CORE_CONNECTING)
				step(&f, (struct core_event){ .kind = CORE_EV_UP });
			else if (f.c.state == CORE_OPENING)
				opened(&f, rand() % 4 ? 0 : -EREMCHG, f.c.epoch, 8);
			else if (rand() % 50 == 0)
				config(&f, 1 + (uint32_t)(rand() % 2), f.c.epoch + 1);
			tick(&f);
			while ((op = TAKE(&f)))
				sent[nr_sent++] = op;
			for (size_t i = nr_sent; i-- > 0;) {
				int what = rand() % 6;

				op = sent[i];
				if (what == 5)
					continue;
				sent[i] = sent[--nr_sent];
				/* Executed or not, and the answer lost or not. */
				if (what < 4 && (!op->change || executed[op->slot] < op->seq)) {
					times[op - ops]++;
					if (op->change)
						executed[op->slot] = op->seq;
				}
				reply(&f, op, what < 3 ? 0 : -ECONNRESET);
			}
			while ((op = core_finished(&f.c))) {
				cr_assert_eq(op->status, 0);
				cr_assert_geq(times[op - ops], 1, "seed %u: answered but not done", seed);
				cr_assert(!op->change || times[op - ops] == 1, "seed %u: done twice", seed);
				done++;
			}
		}
	}
}
