/* The file service as its clients and the cluster see it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/service_world.h"

Test(service, one_node_serves)
{
	struct world *w = world_of(1);
	struct client *c = client_new(w, 100);
	struct msg_fs_stat_rep st;
	struct msg_lookup_rep l;
	uint64_t ino, off;

	cr_assert_eq(create_at(c, next(c), "a", &ino), 0);
	cr_assert_eq(append_at(c, next(c), ino, "hello ", &off), 0);
	cr_assert_eq(off, 0);
	cr_assert_eq(append_at(c, next(c), ino, "world", &off), 0);
	cr_assert_eq(off, 6);
	cr_assert_str_eq(content(c, ino), "hello world");
	cr_assert_eq(fsync_ino(c, ino), 0);
	cr_assert_eq(lookup(c, "a", &l), 0);
	cr_assert_eq(l.attr.size, 11);
	cr_assert(l.tokens & TOKEN_ATTR);
	cr_assert(l.dir_tokens & TOKEN_NAMES);
	cr_assert_eq(create_at(c, next(c), "a", NULL), -EEXIST);
	stat_fs(c, &st);
	cr_assert_eq(st.sessions, 1);
	cr_assert_eq(st.committed, st.pos.lsn);
	cr_assert_eq(st.held, 0);
	world_free(w);
}

Test(service, resent_change_happens_once)
{
	struct world *w = world_of(1);
	struct client *c = client_new(w, 100);
	uint64_t ino, again, seq, off;

	seq = next(c);
	cr_assert_eq(create_at(c, seq, "a", &ino), 0);
	cr_assert_eq(create_at(c, seq, "a", &again), 0, "exclusive, and yet the same answer");
	cr_assert_eq(ino, again);
	seq = next(c);
	cr_assert_eq(append_at(c, seq, ino, "x", &off), 0);
	cr_assert_eq(append_at(c, seq, ino, "x", &off), 0);
	cr_assert_eq(off, 0);
	cr_assert_str_eq(content(c, ino), "x");
	cr_assert_eq(append_at(c, seq - 1, ino, "x", &off), -EINVAL);
	world_free(w);
}

Test(service, requests_without_a_session_or_server_are_sent_elsewhere)
{
	struct world *w = world_of(2);
	struct client *c = client_new(w, 100);
	struct msg_lookup_rep l;

	c->session = 101;
	cr_assert_eq(lookup(c, "a", &l), -EREMCHG, "no such session");
	c->session = 100;
	cr_assert_eq(lookup(c, "a", &l), 0);
	c->epoch += 5;
	cr_assert_eq(lookup(c, "a", &l), -EREMCHG, "an epoch to come");
	c->epoch -= 5;
	w->nodes[1].leased = false;
	cr_assert_eq(lookup(c, "a", &l), -EREMCHG, "no lease");
	w->nodes[1].leased = true;
	cr_assert_eq(lookup(c, "a", &l), 0, "the session is still there");
	world_free(w);
}

Test(service, failover_keeps_everything_and_repeats_nothing)
{
	struct world *w = world_of(3);
	struct client *c = client_new(w, 100);
	struct msg_fs_stat_rep st;
	uint64_t ino, off, again, seq;

	cr_assert_eq(create_at(c, next(c), "a", &ino), 0);
	cr_assert_eq(append_at(c, next(c), ino, "one ", NULL), 0);
	seq = next(c);
	cr_assert_eq(append_at(c, seq, ino, "two ", &off), 0);
	fail_over(w);
	cr_assert_neq(w->config.fs[0].server, 1);
	client_open(c, &ino, 1);
	cr_assert_eq(append_at(c, seq, ino, "two ", &again), 0, "the client has not heard: it asks again");
	cr_assert_eq(again, off);
	cr_assert_str_eq(content(c, ino), "one two ");
	cr_assert_eq(append_at(c, next(c), ino, "three", &off), 0);
	cr_assert_str_eq(content(c, ino), "one two three");
	/* And once more, down to the last. */
	fail_over(w);
	client_open(c, &ino, 1);
	cr_assert_str_eq(content(c, ino), "one two three");
	cr_assert_eq(append_at(c, next(c), ino, "!", &off), 0);
	stat_fs(c, &st);
	cr_assert_eq(st.committed, st.pos.lsn);
	world_free(w);
}

Test(service, standby_that_dies_is_dropped_and_comes_back)
{
	struct world *w = world_of(3);
	struct client *c = client_new(w, 100);
	uint64_t ino;

	cr_assert_eq(create_at(c, next(c), "a", &ino), 0);
	node_down(w, 3);
	cr_assert_eq(append_at(c, next(c), ino, "while away", NULL), 0, "answered once it is dropped");
	cr_assert_eq(nr_in_sync(w), 2);
	cr_assert_eq(fsync_ino(c, ino), 0);
	node_up(w, 3);
	UNTIL(w, nr_in_sync(w) == 3);
	UNTIL(w, w->nodes[3].pos.lsn == w->nodes[1].pos.lsn);
	/* It has really everything. */
	fail_over(w);
	node_down(w, w->config.fs[0].server == 2 ? 2 : 3);
	fail_over(w);
	client_open(c, NULL, 0);
	cr_assert_str_eq(content(c, ino), "while away");
	world_free(w);
}

static int fail_sync(struct data *d, uint64_t ino)
{
	(void)d;
	(void)ino;
	return -EIO;
}

static void break_sync(struct node *n)
{
	struct data *d = store_data(n->store);

	n->good_disk = d->ops;
	n->bad_disk = *d->ops;
	n->bad_disk.sync = fail_sync;
	d->ops = &n->bad_disk;
}

Test(service, standby_that_cannot_sync_is_no_copy_any_more)
{
	struct world *w = world_of(2);
	struct client *c = client_new(w, 100);
	struct node *n = &w->nodes[2];
	uint64_t ino;

	cr_assert_eq(create_at(c, next(c), "a", &ino), 0);
	cr_assert_eq(append_at(c, next(c), ino, "text", NULL), 0);
	break_sync(n);
	cr_assert_eq(fsync_ino(c, ino), 0);
	cr_assert_eq(nr_in_sync(w), 1);
	for (int i = 0; i < 50; i++)
		turn(w);
	cr_assert_eq(nr_in_sync(w), 1, "a second sync would not find what the first one lost");
	cr_assert_eq(n->pos.lsn, 0);
	world_free(w);
}

Test(service, server_that_cannot_sync_hands_over_and_copies)
{
	struct world *w = world_of(3);
	struct client *c = client_new(w, 100);
	uint64_t ino;

	cr_assert_eq(create_at(c, next(c), "a", &ino), 0);
	cr_assert_eq(append_at(c, next(c), ino, "text", NULL), 0);
	break_sync(&w->nodes[1]);
	cr_assert_eq(fsync_ino(c, ino), -EREMCHG, "ask there");
	UNTIL(w, w->config.fs[0].server != 1);
	client_open(c, &ino, 1);
	cr_assert_eq(fsync_ino(c, ino), 0, "the application sees nothing of it");
	cr_assert_str_eq(content(c, ino), "text");
	UNTIL(w, nr_in_sync(w) == 3 && w->nodes[1].said.copy == LEASE_COPY_WHOLE);
	world_free(w);
}

Test(service, last_copy_that_cannot_sync_serves_and_promises_nothing)
{
	struct world *w = world_of(1);
	struct client *c = client_new(w, 100);
	struct wire_logpos loss = c->loss;
	uint64_t ino;

	cr_assert_eq(create_at(c, next(c), "a", &ino), 0);
	break_sync(&w->nodes[1]);
	cr_assert_eq(fsync_ino(c, ino), -EIO);
	store_data(w->nodes[1].store)->ops = w->nodes[1].good_disk;
	cr_assert_eq(fsync_ino(c, ino), -EIO, "a second sync would not find what the first one lost");
	cr_assert_eq(append_at(c, next(c), ino, "text", NULL), 0);
	cr_assert_str_eq(content(c, ino), "text");
	/* Another one has a copy: it serves, and is told apart by the loss. */
	w->config.fs[0].nr_members = 2;
	node_up(w, 2);
	UNTIL(w, w->config.fs[0].server == 2);
	client_open(c, &ino, 1);
	cr_assert_str_eq(content(c, ino), "text");
	cr_assert_eq(fsync_ino(c, ino), 0);
	cr_assert_neq(c->loss.lsn, loss.lsn);
	world_free(w);
}

/* ---- loss of power ---- */

/* What is on the disk of a node that is down says that another boot had it open. */
static void lose_power(struct world *w, uint32_t id)
{
	struct store *s;

	cr_assert_eq(store_open_disk(w->nodes[id].dir, &s), 0);
	cr_assert_eq(local_note_lost(s), 0);
	store_close(s);
}

Test(service, all_lose_power_and_the_chosen_one_goes_on)
{
	struct world *w = world_of(3);
	struct client *c = client_new(w, 100);
	uint64_t ino, again, off, epoch;
	struct wire_logpos loss = c->loss;

	cr_assert_eq(create_at(c, next(c), "a", &ino), 0);
	cr_assert_eq(append_at(c, next(c), ino, "synced", NULL), 0);
	cr_assert_eq(fsync_ino(c, ino), 0);
	for (uint32_t id = 1; id <= NODES; id++)
		node_down(w, id);
	for (uint32_t id = 1; id <= NODES; id++) {
		lose_power(w, id);
		node_up(w, id);
	}
	for (uint32_t id = 1; id <= NODES; id++)
		UNTIL(w, w->nodes[id].said.copy == LEASE_COPY_SURVIVED && w->nodes[id].said.at == w->config.fs[0].epoch);
	client_connect(c);
	cr_assert_eq(lookup(c, "a", &(struct msg_lookup_rep){ 0 }), -EREMCHG, "nobody is sure to have everything");
	/* The leader chooses. */
	epoch = w->config.fs[0].epoch;
	set_in_sync(w, (uint32_t[]){ 2 }, 1, 2);
	UNTIL(w, w->nodes[2].said.copy == LEASE_COPY_WHOLE);
	client_open(c, &ino, 1);
	cr_assert(c->loss.epoch > epoch && c->loss.epoch != loss.epoch, "clients are told");
	cr_assert_str_eq(content(c, ino), "synced");
	cr_assert_eq(append_at(c, next(c), ino, " and more", &off), 0);
	cr_assert_eq(create_at(c, next(c), "b", &again), 0);
	cr_assert_gt(again, ino + 1000000, "numbers of what is lost are not given out again");
	UNTIL(w, nr_in_sync(w) == 3);
	fail_over(w);
	client_open(c, &ino, 1);
	cr_assert_str_eq(content(c, ino), "synced and more");
	world_free(w);
}

Test(service, one_that_loses_power_copies_everything)
{
	struct world *w = world_of(3);
	struct client *c = client_new(w, 100);
	uint64_t ino;

	cr_assert_eq(create_at(c, next(c), "a", &ino), 0);
	cr_assert_eq(append_at(c, next(c), ino, "text", NULL), 0);
	node_down(w, 3);
	lose_power(w, 3);
	node_up(w, 3);
	UNTIL(w, nr_in_sync(w) == 3 && w->nodes[3].said.copy == LEASE_COPY_WHOLE);
	cr_assert_str_eq(content(c, ino), "text");
	world_free(w);
}

Test(service, nothing_is_answered_before_the_configuration_changed)
{
	struct world *w = world_of(2);
	struct client *c = client_new(w, 100);
	struct msg_create_req req = { .h = hdr(c, 0, 1), .parent = 1, .entry = "a", .mode = 0100644 };
	struct msg_lookup_req look = { .h = hdr(c, 0, 0), .parent = 1, .entry = "a" };
	struct call change = { 0 }, read = { 0 };
	uint64_t until;

	w->hold_changes = true;
	node_down(w, 2);
	cr_assert_eq(rpc_call(c->conn, MSG_create, &req, 8000, call_done, &change), 0);
	cr_assert_eq(rpc_call(c->conn, MSG_lookup, &look, 8000, call_done, &read), 0);
	until = uv_now(&w->loop) + 700;
	while (uv_now(&w->loop) < until)
		turn(w);
	cr_assert_not(change.done, "the dead member is still recorded in sync");
	cr_assert_not(read.done, "nor may anybody see it");
	w->hold_changes = false;
	UNTIL(w, change.done && read.done);
	cr_assert_eq(change.status, 0);
	cr_assert_eq(read.status, 0);
	world_free(w);
}

Test(service, what_is_not_committed_is_not_copied)
{
	struct world *w = world_new(3, 1);
	struct call change = { 0 };
	struct msg_create_req req = { .parent = 1, .entry = "a", .mode = 0100644 };
	struct client *c;

	node_up(w, 1);
	node_up(w, 2);
	UNTIL(w, nr_in_sync(w) == 2);
	c = client_new(w, 100);
	w->hold_changes = true;
	node_down(w, 2);
	req.h = hdr(c, 0, 1);
	cr_assert_eq(rpc_call(c->conn, MSG_create, &req, 8000, call_done, &change), 0);
	node_up(w, 3);
	for (int i = 0; i < 50; i++)
		turn(w);
	cr_assert_not(change.done);
	cr_assert_eq(w->nodes[3].pos.lsn, 0, "waits for the change it would see");
	w->hold_changes = false;
	UNTIL(w, change.done && nr_in_sync(w) == 2);
	UNTIL(w, w->nodes[3].pos.lsn == w->nodes[1].pos.lsn);
	world_free(w);
}

Test(service, copy_under_load)
{
	struct world *w = world_of(1);
	struct client *c = client_new(w, 100);
	uint64_t ino[200], off;
	char name[16], big[20001];
	struct msg_lookup_rep l;

	memset(big, 'b', 20000);
	big[20000] = 0;
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		cr_assert_eq(create_at(c, next(c), name, &ino[i]), 0);
		cr_assert_eq(append_at(c, next(c), ino[i], i % 10 ? name : big, NULL), 0);
	}
	w->config.fs[0].nr_members = 2;
	node_up(w, 2);
	/* Overwritten, removed and made while the copy is under way. */
	for (int i = 0; i < 200; i += 2) {
		snprintf(name, sizeof(name), "f%d", i);
		if (i % 4)
			cr_assert_eq(unlink_name(c, name), 0);
		else
			cr_assert_eq(append_at(c, next(c), ino[i], "+", &off), 0);
		cr_assert_eq(release(c, ino[i]), 0);
	}
	UNTIL(w, nr_in_sync(w) == 2);
	cr_assert_eq(append_at(c, next(c), ino[1], "+", NULL), 0);
	fail_over(w);
	client_open(c, NULL, 0);
	for (int i = 0; i < 200; i++) {
		char want[20010];

		snprintf(name, sizeof(name), "f%d", i);
		cr_assert_eq(lookup(c, name, &l), 0);
		if (i % 4 == 2) {
			cr_assert_eq(l.attr.ino, 0, "%s was removed", name);
			continue;
		}
		cr_assert_eq(l.attr.ino, ino[i]);
		snprintf(want, sizeof(want), "%s%s", i % 10 ? name : big, i % 4 == 0 || i == 1 ? "+" : "");
		cr_assert_str_eq(content(c, ino[i]), want, "%s", name);
	}
	world_free(w);
}

Test(service, member_away_for_long_copies_what_changed)
{
	struct world *w = world_of(2);
	struct client *c = client_new(w, 100);
	static char big[20001]; /* in a backing file */
	struct msg_setattr_req empty = { .valid = SETATTR_SIZE };
	struct msg_lookup_rep l;
	uint64_t ino, kept, large[2];
	char name[16];

	memset(big, 'b', sizeof(big) - 1);
	for (int i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), "large%d", i);
		cr_assert_eq(create_at(c, next(c), name, &large[i]), 0);
		cr_assert_eq(append_at(c, next(c), large[i], big, NULL), 0);
	}
	cr_assert_eq(create_at(c, next(c), "kept", &kept), 0);
	cr_assert_eq(append_at(c, next(c), kept, "kept", NULL), 0);
	cr_assert_eq(create_at(c, next(c), "stale", &ino), 0);
	cr_assert_eq(release(c, ino), 0);
	node_down(w, 2);
	UNTIL(w, nr_in_sync(w) == 1);
	cr_assert_eq(unlink_name(c, "stale"), 0);
	/* One goes back inline, one moves out. */
	empty.h = hdr(c, 0, next(c));
	empty.ino = large[0];
	cr_assert_eq(call(c, MSG_setattr, &empty, &(struct msg_setattr_rep){ 0 }, sizeof(struct msg_setattr_rep)), 0);
	cr_assert_eq(append_at(c, next(c), kept, big, NULL), 0);
	/* More than the 64 records that are kept. */
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		cr_assert_eq(create_at(c, next(c), name, &ino), 0);
	}
	node_up(w, 2);
	UNTIL(w, nr_in_sync(w) == 2);
	fail_over(w);
	client_open(c, NULL, 0);
	cr_assert_eq(lookup(c, "stale", &l), 0);
	cr_assert_eq(l.attr.ino, 0);
	cr_assert_eq(lookup(c, "n99", &l), 0);
	cr_assert_eq(l.attr.ino, ino);
	cr_assert_str_eq(content(c, large[0]), "");
	cr_assert_str_eq(content(c, large[1]), big);
	cr_assert(!strncmp(content(c, kept), "kept", 4));
	cr_assert_str_eq(content(c, kept) + 4, big);
	world_free(w);
}

Test(service, interrupted_copy_is_never_promoted)
{
	struct world *w = world_of(1);
	struct client *c = client_new(w, 100);
	static const uint32_t two[] = { 2 };
	char name[16];
	uint64_t until;

	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		cr_assert_eq(create_at(c, next(c), name, NULL), 0);
	}
	w->hold_changes = true;
	w->config.fs[0].nr_members = 2;
	node_up(w, 2);
	for (int i = 0; i < 6; i++)
		turn(w);
	node_down(w, 1);
	if (w->nodes[2].pos.lsn)
		cr_skip_test("the copy was too fast to be interrupted");
	set_in_sync(w, two, 1, 2);
	until = uv_now(&w->loop) + 200;
	while (uv_now(&w->loop) < until)
		turn(w);
	cr_assert_eq(w->nodes[2].pos.lsn, 0, "it reports nothing that could be promoted");
	client_connect(c);
	cr_assert_eq(lookup(c, "f0", &(struct msg_lookup_rep){ 0 }), -EREMCHG, "and serves nothing");
	world_free(w);
}

Test(service, unlinked_file_lives_while_open_also_after_failover)
{
	struct world *w = world_of(2);
	struct client *c = client_new(w, 100), *d = client_new(w, 101);
	struct msg_getattr_rep a;
	uint64_t ino, off;

	cr_assert_eq(create_at(c, next(c), "a", &ino), 0);
	cr_assert_eq(append_at(c, next(c), ino, "still here", NULL), 0);
	cr_assert_eq(unlink_name(d, "a"), 0);
	cr_assert_str_eq(content(c, ino), "still here");
	fail_over(w);
	client_open(d, NULL, 0);
	cr_assert_eq(getattr(d, ino, &a), 0, "the other may still hold it");
	client_open(c, &ino, 1);
	cr_assert_eq(append_at(c, next(c), ino, "!", &off), 0);
	cr_assert_str_eq(content(c, ino), "still here!");
	cr_assert_eq(release(c, ino), 0);
	cr_assert_eq(getattr(c, ino, &a), -ESTALE, "nobody holds it");
	world_free(w);
}

Test(service, orphan_of_a_client_that_never_came_back_goes)
{
	struct world *w = world_of(2);
	struct client *c = client_new(w, 100), *d = client_new(w, 101);
	struct msg_getattr_rep a;
	uint64_t ino;

	cr_assert_eq(create_at(c, next(c), "a", &ino), 0);
	cr_assert_eq(unlink_name(d, "a"), 0);
	rpc_conn_close(c->conn);
	c->conn = NULL;
	fail_over(w);
	client_open(d, NULL, 0);
	UNTIL(w, getattr(d, ino, &a) == -ESTALE);
	world_free(w);
}

Test(service, full_standby_is_no_space_and_nothing_else)
{
	struct world *w = world_new(2, 1);
	static char block[65536];
	struct client *c;
	uint64_t ino, off;
	int n = 0, r;

	w->nodes[2].capacity = 4 << 20;
	node_up(w, 1);
	node_up(w, 2);
	UNTIL(w, nr_in_sync(w) == 2);
	c = client_new(w, 100);
	memset(block, 'b', sizeof(block) - 1);
	cr_assert_eq(create_at(c, next(c), "big", &ino), 0);
	while ((r = append_at(c, next(c), ino, block, &off)) == 0 && n < 100)
		n++;
	cr_assert_eq(r, -ENOSPC);
	cr_assert_gt(n, 20, "most of it can be used");
	cr_assert_eq(nr_in_sync(w), 2, "nobody is to blame");
	cr_assert_eq(fsync_ino(c, ino), 0);
	cr_assert_eq(unlink_name(c, "big"), 0, "what frees space goes");
	cr_assert_eq(release(c, ino), 0);
	for (n = 0; n < 1000 && (r = create_at(c, next(c), "another", &ino)) == -ENOSPC; n++)
		turn(w);
	cr_assert_eq(r, 0);
	cr_assert_eq(append_at(c, next(c), ino, "fits", NULL), 0);
	cr_assert_eq(nr_in_sync(w), 2);
	world_free(w);
}

Test(service, server_whose_copy_is_gone_serves_nothing)
{
	struct world *w = world_new(1, 1);
	struct client c = { .w = w, .session = 100 };
	uint64_t until;

	/* The first epoch makes a filesystem, a later one has one. */
	w->config.fs[0].epoch = 7;
	node_up(w, 1);
	until = uv_now(&w->loop) + 100;
	while (uv_now(&w->loop) < until)
		turn(w);
	cr_assert_eq(w->nodes[1].pos.lsn, 0);
	client_connect(&c);
	cr_assert_eq(lookup(&c, "a", &(struct msg_lookup_rep){ 0 }), -EREMCHG);
	rpc_conn_close(c.conn);
	world_free(w);
}

/* ---- tokens ---- */

static struct client *the_clients[2];

static void on_revoke(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_revoke_req *m = msg;

	(void)ctx;
	(void)m;
	for (int i = 0; i < 2; i++) {
		struct client *c = the_clients[i];

		if (!c || c->conn != conn)
			continue;
		c->revokes++;
		if (c->ignore_revokes)
			c->ignored = rq;
		else
			rpc_reply(rq, 0, NULL);
	}
}

static void two_clients(struct world *w)
{
	the_clients[0] = client_new(w, 100);
	the_clients[1] = client_new(w, 101);
	rpc_handle(w->client, MSG_revoke, on_revoke, NULL);
}

Test(service, change_revokes_the_tokens_of_others)
{
	struct world *w = world_of(2);
	struct client *c, *d;
	struct msg_lookup_rep l;
	uint64_t ino;

	two_clients(w);
	c = the_clients[0];
	d = the_clients[1];
	cr_assert_eq(create_at(c, next(c), "a", &ino), 0);
	cr_assert_eq(lookup(d, "a", &l), 0);
	cr_assert(l.tokens & TOKEN_ATTR);
	cr_assert_eq(append_at(c, next(c), ino, "x", NULL), 0);
	cr_assert_eq(d->revokes, 1, "its attributes changed");
	cr_assert_eq(c->revokes, 0);
	cr_assert_eq(append_at(c, next(c), ino, "x", NULL), 0);
	cr_assert_eq(d->revokes, 1, "it has none any more");
	cr_assert_eq(lookup(d, "a", &l), 0);
	cr_assert_eq(l.attr.size, 2);
	world_free(w);
}

Test(service, client_that_does_not_give_back_is_fenced)
{
	struct world *w = world_of(1);
	struct client *c, *d;
	struct msg_lookup_rep l;
	uint64_t ino, before;

	two_clients(w);
	c = the_clients[0];
	d = the_clients[1];
	d->ignore_revokes = true;
	cr_assert_eq(create_at(c, next(c), "a", &ino), 0);
	cr_assert_eq(lookup(d, "a", &l), 0);
	before = uv_now(&w->loop);
	cr_assert_eq(append_at(c, next(c), ino, "x", NULL), 0);
	cr_assert_geq(uv_now(&w->loop), before + 1400, "not before it distrusts its cache");
	cr_assert_eq(lookup(d, "a", &l), -EREMCHG, "it has to come anew");
	world_free(w);
}
