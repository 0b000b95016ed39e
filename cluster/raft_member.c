/*
 * Changes of membership on the leader, one server and one role step at a time (G10), towards the wanted voters:
 *
 *   voter, not wanted   -> spare -> out          (first: a dead voter must not be waited for, see G11)
 *   not there, wanted   -> spare -> catches up -> voter
 *
 * A leader never changes itself. The library takes one change at a time; what it has no room for waits for a later step.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/raft_internal.h"

enum { CATCH_UP_RETRY_MS = 1000 };

static bool wanted(const struct raft_core *rc, uint64_t id)
{
	for (size_t i = 0; i < rc->nr_members; i++)
		if (rc->members[i] == id)
			return true;
	return false;
}

static const struct raft_server *server_of(const struct raft_configuration *c, uint64_t id)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->servers[i].id == id)
			return &c->servers[i];
	return NULL;
}

/* The membership with ID at ROLE; ROLE -1: without ID. Encoded, raft_malloc'ed. */
static int changed(const struct raft_configuration *from, uint64_t id, int role, struct raft_buffer *ret_b)
{
	struct raft_configuration c;
	char address[24];
	int rv = 0;

	snprintf(address, sizeof(address), "%llu", (unsigned long long)id);
	raft_configuration_init(&c);
	for (unsigned i = 0; i < from->n && !rv; i++) {
		const struct raft_server *s = &from->servers[i];

		if (s->id != id)
			rv = raft_configuration_add(&c, s->id, s->address, s->role);
		else if (role >= 0)
			rv = raft_configuration_add(&c, s->id, s->address, role);
	}
	if (!rv && role >= 0 && !server_of(from, id))
		rv = raft_configuration_add(&c, id, address, role);
	if (!rv)
		rv = raft_configuration_encode(&c, ret_b);
	raft_configuration_close(&c);
	return rv;
}

static void change(struct raft_core *rc, uint64_t id, int role, struct raft_actions *out)
{
	struct raft_buffer b;

	if (!raft_guard_may_change(rc, (uint32_t)id) || changed(&rc->r.configuration, id, role, &b) != 0)
		return;
	raft_core_submit_entry(rc, RAFT_CHANGE, b.base, b.len, out);
	raft_free(b.base);
}

static void catch_up(struct raft_core *rc, uint64_t id, struct raft_actions *out)
{
	struct raft_event ev = { .type = RAFT_CATCH_UP, .time = rc->now, .catch_up = { id } };
	raft_index match;
	int status;

	if (raft_catch_up(&rc->r, id, &status) != 0 || raft_match_index(&rc->r, id, &match) != 0 ||
	    status == RAFT_CATCH_UP_RUNNING)
		return;
	/* G12: of one that has all already, the library would wait for a sign of progress that never comes. */
	if (status == RAFT_CATCH_UP_FINISHED || match == raft_last_index((struct raft *)&rc->r)) {
		change(rc, id, RAFT_VOTER, out);
		return;
	}
	/* G12: the promotee is told by the library; an aborted one is tried again in a while. */
	if (rc->r.leader_state.promotee_id || (status == RAFT_CATCH_UP_ABORTED && rc->now < rc->catch_up_retry_ms))
		return;
	rc->catch_up_retry_ms = rc->now + CATCH_UP_RETRY_MS;
	raft_core_feed(rc, &ev, out);
}

/* The first server that must go a step down, or NULL. */
static const struct raft_server *unwanted(const struct raft_core *rc)
{
	for (unsigned i = 0; i < rc->r.configuration.n; i++) {
		const struct raft_server *s = &rc->r.configuration.servers[i];

		if (s->id != rc->conf.id && !wanted(rc, s->id))
			return s;
	}
	return NULL;
}

void raft_member_step(struct raft_core *rc, struct raft_actions *out)
{
	const struct raft_configuration *conf = &rc->r.configuration;
	const struct raft_server *s;

	if (rc->r.state != RAFT_LEADER || !rc->nr_members || rc->r.configuration_uncommitted_index)
		return;
	s = unwanted(rc);
	if (s) {
		/* A catch-up under way (its target is not wanted any more) blocks changes until it ends. */
		if (!rc->r.leader_state.promotee_id)
			change(rc, s->id, s->role == RAFT_VOTER ? RAFT_SPARE : -1, out);
		return;
	}
	for (size_t i = 0; i < rc->nr_members; i++) {
		s = server_of(conf, rc->members[i]);
		if (s && s->role == RAFT_VOTER)
			continue;
		if (!s)
			change(rc, rc->members[i], RAFT_SPARE, out);
		else
			catch_up(rc, rc->members[i], out);
		return;
	}
}
