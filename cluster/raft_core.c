/*
 * Drives raft_step(): each event is one call, whose update is consumed completely, in the order that the library needs,
 * before the next. What follows from it (applying, barriers, changes of membership, snapshots) is done until nothing
 * follows any more. No clock, socket or disk: actions say what to do.
 */
#include "cluster/raft_core.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/raft_internal.h"

enum { SNAPSHOT_THRESHOLD = 1024, SNAPSHOT_TRAILING = 1024, INSTALL_TIMEOUT_MS = 2000, CATCH_UP_ROUND_MS = 5000 };

/* ---- consuming an update ---- */

/* A copy of a snapshot as an action. */
static void add_snapshot(struct raft_actions *out, enum raft_action_kind kind, const struct raft_mem_snapshot *m,
			 uint64_t cut)
{
	struct raft_action *a =
		raft_action_add_data(out, kind, m->buf, (size_t)m->s.conf.len + m->s.state.len);

	if (!a)
		return;
	a->cut = cut;
	a->index = m->s.index;
	a->snapshot = m->s;
	a->snapshot.conf.p = a->data;
	a->snapshot.state.p = (uint8_t *)a->data + m->s.conf.len;
}

static void send_messages(struct raft_core *rc, const struct raft_update *u, struct raft_actions *out)
{
	for (unsigned i = 0; i < u->messages.n; i++) {
		const struct raft_message *m = &u->messages.batch[i];
		struct wire_writer w;
		struct raft_action *a = NULL;

		wire_writer_init(&w);
		/* What cannot be filled (the log was cut meanwhile) is as good as lost: the library sends again. */
		if (raft_message_encode(rc, m, &w) == 0)
			a = raft_action_add(out, RAFT_ACT_SEND);
		if (!a) {
			wire_writer_release(&w);
			continue;
		}
		a->to = (uint32_t)m->server_id;
		a->data = w.buf;
		a->len = w.len;
	}
}

static int consume(struct raft_core *rc, struct raft_update *u, struct raft_actions *out)
{
	struct raft_action *a;
	int r = 0;

	if (u->flags & (RAFT_UPDATE_CURRENT_TERM | RAFT_UPDATE_VOTED_FOR)) {
		a = raft_action_add(out, RAFT_ACT_HARD_STATE);
		if (a) {
			a->term = raft_current_term(&rc->r);
			a->vote = raft_voted_for(&rc->r);
		}
	}
	if (u->flags & (RAFT_UPDATE_ENTRIES)) {
		r = raft_buffers_take_entries(rc, u);
		a = raft_action_add(out, RAFT_ACT_ENTRIES);
		if (a) {
			a->index = u->entries.index;
			a->nr = u->entries.n;
			a->term = u->entries.n ? raft_log_get(&rc->log, raft_log_last(&rc->log))->term : 0;
		}
	}
	if (!r && u->flags & (RAFT_UPDATE_SNAPSHOT)) {
		r = raft_buffers_take_snapshot(rc, u);
		raft_log_reset(&rc->log, rc->installing.s.index + 1);
		if (!r)
			add_snapshot(out, RAFT_ACT_SNAPSHOT_INSTALL, &rc->installing, 0);
	}
	send_messages(rc, u, out);
	return r;
}

int raft_core_feed(struct raft_core *rc, struct raft_event *ev, struct raft_actions *out)
{
	struct raft_message *m = ev->type == RAFT_RECEIVE ? ev->receive.message : NULL;
	struct raft_message head = m ? *m : (struct raft_message){ 0 };
	uint64_t term = raft_current_term(&rc->r);
	struct raft_update u = { 0 };
	struct raft_guard_lent lent;
	int rv;

	raft_guard_lend_vote(rc, m, &lent);
	rv = raft_step(&rc->r, ev, &u);
	raft_guard_take_back(rc, &lent);
	if (rv != 0)
		return rv;
	if (m)
		raft_guard_after_receive(rc, &head, term, &u);
	/* The library has done its part: what we could not take ends the server, not the caller's buffers. */
	if (consume(rc, &u, out) < 0)
		out->oom = true;
	return 0;
}

int raft_core_submit_entry(struct raft_core *rc, int type, const void *data, size_t len, struct raft_actions *out)
{
	struct raft_entry e = { .term = raft_current_term(&rc->r), .type = (enum raft_entry_type)type };
	struct raft_event ev = { .type = RAFT_SUBMIT, .time = rc->now, .submit = { &e, 1 } };
	int rv;

	if (raft_buffers_copy(&e.buf, data, len) < 0)
		return RAFT_NOMEM;
	e.batch = e.buf.base;
	rv = raft_core_feed(rc, &ev, out);
	if (rv != 0)
		raft_free(e.batch);
	return rv;
}

/* ---- what follows from events ---- */

static void fail(struct raft_core *rc, struct raft_actions *out)
{
	if (!rc->failed)
		raft_action_add(out, RAFT_ACT_FATAL);
	rc->failed = true;
}

static int note_membership(struct raft_core *rc, const void *buf, size_t len, uint64_t index)
{
	void *copy = malloc(len ? len : 1);

	if (!copy)
		return RAFT_NOMEM;
	if (len)
		memcpy(copy, buf, len);
	free(rc->membership);
	rc->membership = copy;
	rc->membership_len = len;
	rc->membership_index = index;
	return 0;
}

static int apply_change(struct raft_core *rc, const struct raft_core_entry *e, struct raft_actions *out)
{
	struct raft_event ev = { .type = RAFT_CONFIGURATION, .time = rc->now, .configuration = { .index = rc->applied } };
	int rv = note_membership(rc, e->data, e->len, rc->applied);

	if (!rv && raft_buffers_configuration(e->data, e->len, &ev.configuration.conf) < 0)
		rv = RAFT_MALFORMED;
	return rv ? rv : raft_core_feed(rc, &ev, out);
}

/* Applies the next entry that is committed and on our disk. False when there is none. */
static bool apply_next(struct raft_core *rc, struct raft_actions *out)
{
	uint64_t index = rc->applied + 1;
	const struct raft_core_entry *e;
	struct raft_action *a;

	if (rc->r.snapshot.installing || index > raft_commit_index(&rc->r) || index > rc->r.last_stored)
		return false;
	e = raft_log_get(&rc->log, index);
	if (!e) {
		fail(rc, out);
		return false;
	}
	rc->applied = index;
	rc->applied_term = e->term;
	if (e->type == RAFT_CHANGE) {
		if (apply_change(rc, e, out) != 0)
			fail(rc, out);
	} else if (e->type == RAFT_COMMAND) {
		a = raft_action_add_data(out, RAFT_ACT_APPLY, e->data, e->len);
		if (a) {
			a->index = index;
			a->term = e->term;
		}
	}
	return !rc->failed;
}

static void follow_role(struct raft_core *rc, struct raft_actions *out)
{
	bool leader = raft_state(&rc->r) == RAFT_LEADER;
	const struct raft_core_entry *last = raft_log_get(&rc->log, raft_log_last(&rc->log));

	if (rc->was_leader && !leader) {
		raft_action_add(out, RAFT_ACT_FOLLOW);
		rc->told_lead = false;
	}
	/* An entry of the own term: only then it is known what predecessors committed (G11, leases). */
	if (leader && (!last || last->term != raft_current_term(&rc->r)))
		raft_core_submit_entry(rc, RAFT_BARRIER, "\0\0\0\0\0\0\0", 8, out);
	if (leader && !rc->told_lead && rc->applied_term == raft_current_term(&rc->r)) {
		raft_action_add(out, RAFT_ACT_LEAD);
		rc->told_lead = true;
	}
	rc->was_leader = leader;
}

static void follow_snapshot(struct raft_core *rc, struct raft_actions *out)
{
	uint32_t threshold = rc->conf.snapshot_threshold ? rc->conf.snapshot_threshold : SNAPSHOT_THRESHOLD;

	if (rc->wants_state || rc->r.snapshot.installing || rc->applied < rc->snap.s.index + threshold)
		return;
	if (raft_action_add(out, RAFT_ACT_WANT_STATE))
		rc->wants_state = true;
}

static void follow_up(struct raft_core *rc, struct raft_actions *out)
{
	uint64_t applied;

	do {
		applied = rc->applied;
		while (apply_next(rc, out))
			;
		follow_role(rc, out);
		raft_member_step(rc, out);
	} while (rc->applied != applied && !rc->failed);
	follow_snapshot(rc, out);
	if (out->oom)
		fail(rc, out);
}

/* ---- events ---- */

static int receive(struct raft_core *rc, const struct raft_core_event *e, struct raft_actions *out)
{
	struct raft_message m;
	struct raft_event ev = { .type = RAFT_RECEIVE, .time = rc->now, .receive = { &m } };
	char address[24];
	int r;

	snprintf(address, sizeof(address), "%u", e->from);
	r = raft_message_decode(e->data, e->len, e->from, address, &m);
	if (r < 0)
		return r;
	if (raft_guard_before_receive(rc, &m)) {
		raft_buffers_message_dropped(&m);
		return 0;
	}
	r = raft_core_feed(rc, &ev, out);
	if (r != 0)
		fail(rc, out);
	raft_buffers_message_done(&m);
	return 0;
}

static int timeout(struct raft_core *rc, struct raft_actions *out)
{
	struct raft_event ev = { .type = RAFT_TIMEOUT, .time = rc->now };

	if (rc->now < raft_core_timeout(rc))
		return 0;
	rc->last_timeout_ms = rc->now;
	if (raft_core_feed(rc, &ev, out) != 0)
		fail(rc, out);
	return 0;
}

static int persisted(struct raft_core *rc, const struct raft_core_event *e, struct raft_actions *out)
{
	struct raft_event ev = { .type = RAFT_PERSISTED_ENTRIES, .time = rc->now, .persisted_entries = { e->index } };

	if (raft_guard_persisted(rc, e->index, e->term) && raft_core_feed(rc, &ev, out) != 0)
		fail(rc, out);
	return 0;
}

static int metadata_of(const struct raft_core_snapshot *s, struct raft_snapshot_metadata *ret_m)
{
	*ret_m = (struct raft_snapshot_metadata){ .index = s->index, .term = s->term, .configuration_index = s->conf_index };
	return raft_buffers_configuration(s->conf.p, s->conf.len, &ret_m->configuration);
}

static void restore_from(struct raft_core *rc, struct raft_actions *out)
{
	const struct raft_core_snapshot *s = &rc->snap.s;
	struct raft_action *a = raft_action_add_data(out, RAFT_ACT_RESTORE, s->state.p, s->state.len);

	if (a) {
		a->index = s->index;
		a->term = s->term;
	}
	rc->applied = s->index;
	rc->applied_term = s->term;
	if (note_membership(rc, s->conf.p, s->conf.len, s->conf_index) != 0)
		fail(rc, out);
}

static int installed(struct raft_core *rc, const struct raft_core_event *e, struct raft_actions *out)
{
	struct raft_event ev = { .type = RAFT_PERSISTED_SNAPSHOT, .time = rc->now, .persisted_snapshot = { .last = true } };

	if (!rc->r.snapshot.installing || rc->installing.s.index != e->index)
		return 0;
	raft_mem_snapshot_release(&rc->snap);
	rc->snap = rc->installing;
	rc->installing = (struct raft_mem_snapshot){ 0 };
	restore_from(rc, out);
	if (metadata_of(&rc->snap.s, &ev.persisted_snapshot.metadata) < 0 || raft_core_feed(rc, &ev, out) != 0)
		fail(rc, out);
	return 0;
}

static int submit(struct raft_core *rc, const struct raft_core_event *e, struct raft_actions *out, uint64_t *ret_index,
		  uint64_t *ret_term)
{
	int rv;

	if (!e->len)
		return -EINVAL;
	rv = raft_core_submit_entry(rc, RAFT_COMMAND, e->data, e->len, out);
	if (rv == RAFT_NOTLEADER)
		return -EREMCHG;
	if (rv != 0)
		return rv == RAFT_NOMEM ? -ENOMEM : -EAGAIN;
	if (ret_index)
		*ret_index = raft_log_last(&rc->log);
	if (ret_term)
		*ret_term = raft_current_term(&rc->r);
	return 0;
}

/* The state machine's bytes as of rc->applied: our own snapshot. */
static int take_state(struct raft_core *rc, const struct raft_core_event *e, struct raft_actions *out)
{
	uint32_t trailing = rc->conf.snapshot_trailing ? rc->conf.snapshot_trailing : SNAPSHOT_TRAILING;
	struct raft_core_snapshot s = { .index = rc->applied,
					.term = rc->applied_term,
					.conf_index = rc->membership_index,
					.conf = { rc->membership, (uint32_t)rc->membership_len },
					.state = { e->data, (uint32_t)e->len } };
	struct raft_event ev = { .type = RAFT_SNAPSHOT, .time = rc->now, .snapshot = { .trailing = trailing } };
	uint64_t cut = rc->applied > trailing ? rc->applied - trailing + 1 : 1;

	/* An install that arrived meanwhile, or the same index again: ours is dropped. */
	if (!rc->wants_state || rc->r.snapshot.installing || s.index <= rc->snap.s.index) {
		rc->wants_state = false;
		return 0;
	}
	rc->wants_state = false;
	if (raft_mem_snapshot_set(&rc->snap, &s) < 0)
		return -ENOMEM;
	/* The library cuts only where it has an entry; so do we. */
	if (cut < rc->log.start)
		cut = rc->log.start;
	add_snapshot(out, RAFT_ACT_SNAPSHOT, &rc->snap, cut);
	if (metadata_of(&rc->snap.s, &ev.snapshot.metadata) < 0 || raft_core_feed(rc, &ev, out) != 0)
		fail(rc, out);
	raft_log_cut(&rc->log, cut);
	return 0;
}

static int transfer(struct raft_core *rc, const struct raft_core_event *e, struct raft_actions *out)
{
	struct raft_event ev = { .type = RAFT_TRANSFER, .time = rc->now, .transfer = { e->from } };
	int rv = raft_core_feed(rc, &ev, out);

	return rv == 0 ? 0 : rv == RAFT_NOTLEADER ? -EREMCHG : -ENOENT;
}

static int set_members(struct raft_core *rc, const struct raft_core_event *e)
{
	if (e->nr_ids > RAFT_CORE_SERVERS_MAX)
		return -E2BIG;
	if (e->nr_ids)
		memcpy(rc->members, e->ids, e->nr_ids * sizeof(*e->ids));
	rc->nr_members = e->nr_ids;
	return 0;
}

int raft_core_step(struct raft_core *rc, const struct raft_core_event *e, struct raft_actions *out, uint64_t *ret_index,
		   uint64_t *ret_term)
{
	int r = -EINVAL;

	if (rc->failed)
		return -ESHUTDOWN;
	assert(e->now_ms >= rc->now);
	rc->now = e->now_ms;
	switch (e->kind) {
	case RAFT_EV_TIMEOUT:
		r = timeout(rc, out);
		break;
	case RAFT_EV_RECEIVE:
		r = receive(rc, e, out);
		break;
	case RAFT_EV_PERSISTED:
		r = persisted(rc, e, out);
		break;
	case RAFT_EV_INSTALLED:
		r = installed(rc, e, out);
		break;
	case RAFT_EV_SUBMIT:
		r = submit(rc, e, out, ret_index, ret_term);
		break;
	case RAFT_EV_MEMBERS:
		r = set_members(rc, e);
		break;
	case RAFT_EV_STATE:
		r = take_state(rc, e, out);
		break;
	case RAFT_EV_TRANSFER:
		r = transfer(rc, e, out);
		break;
	}
	if (!rc->failed)
		follow_up(rc, out);
	return r;
}

/* ---- start and end ---- */

static void trace_nothing(struct raft_tracer *t, int type, const void *info)
{
	(void)t;
	(void)type;
	(void)info;
}

static int load(struct raft_core *rc, const struct raft_core_disk *disk, struct raft_actions *out)
{
	int r = 0;

	rc->log.start = disk->start_index ? disk->start_index : 1;
	for (size_t i = 0; i < disk->nr_entries && !r; i++) {
		const struct raft_core_entry *e = &disk->entries[i];

		if (!e->term || !e->len || (e->type == RAFT_CHANGE && !raft_membership_is_valid(e->data, e->len)))
			return -EBADMSG;
		r = raft_log_append(&rc->log, e);
	}
	if (r < 0 || !disk->snapshot.index)
		return r;
	if (!raft_membership_is_valid(disk->snapshot.conf.p, disk->snapshot.conf.len))
		return -EBADMSG;
	r = raft_mem_snapshot_set(&rc->snap, &disk->snapshot);
	if (!r)
		restore_from(rc, out);
	return r;
}

static int start(struct raft_core *rc, const struct raft_core_disk *disk, struct raft_actions *out)
{
	struct raft_snapshot_metadata metadata;
	struct raft_entry *entries = NULL;
	struct raft_event ev = { .type = RAFT_START, .time = rc->now };
	unsigned n = (unsigned)rc->log.nr;
	int rv;

	/* Without a snapshot the log begins with the first membership. */
	if (rc->log.start > rc->snap.s.index + 1 || (!disk->term && (n || rc->snap.s.index)))
		return -EBADMSG;
	if (n && !rc->snap.s.index && rc->log.v[0].type != RAFT_CHANGE)
		return -EBADMSG;
	if (raft_buffers_entries(rc->log.v, n, &entries) < 0)
		return -ENOMEM;
	if (rc->snap.s.index && metadata_of(&rc->snap.s, &metadata) < 0) {
		raft_buffers_entries_free(entries, n);
		return -ENOMEM;
	}
	ev.start.term = disk->term;
	ev.start.voted_for = disk->voted_for;
	if (raft_guard_start_term(rc)) {
		struct raft_action *a = raft_action_add(out, RAFT_ACT_HARD_STATE);

		ev.start.term++;
		ev.start.voted_for = rc->conf.id;
		if (a) {
			a->term = ev.start.term;
			a->vote = rc->conf.id;
		}
	}
	ev.start.metadata = rc->snap.s.index ? &metadata : NULL;
	ev.start.start_index = rc->log.start;
	ev.start.entries = entries;
	ev.start.n_entries = n;
	rv = raft_core_feed(rc, &ev, out);
	if (rv != 0)
		return rv == RAFT_NOMEM ? -ENOMEM : -EBADMSG;
	raft_buffers_entries_free(entries, n);
	follow_up(rc, out);
	return 0;
}

int raft_core_new(const struct raft_core_conf *conf, uint64_t now_ms, const struct raft_core_disk *disk,
		  struct raft_actions *out, struct raft_core **ret_core)
{
	struct raft_core *rc = calloc(1, sizeof(*rc));
	char address[24];
	int r;

	if (!rc)
		return -ENOMEM;
	rc->conf = *conf;
	rc->now = rc->started_ms = now_ms;
	rc->tracer = (struct raft_tracer){ .version = 2, .emit = trace_nothing };
	snprintf(address, sizeof(address), "%u", conf->id);
	if (raft_init(&rc->r, NULL, NULL, conf->id, address) != 0) {
		free(rc);
		return -ENOMEM;
	}
	rc->r.tracer = &rc->tracer;
	raft_seed(&rc->r, conf->seed);
	raft_set_election_timeout(&rc->r, conf->election_ms);
	raft_set_heartbeat_timeout(&rc->r, conf->heartbeat_ms);
	raft_set_pre_vote(&rc->r, true);
	raft_set_install_snapshot_timeout(&rc->r, INSTALL_TIMEOUT_MS);
	raft_set_max_catch_up_round_duration(&rc->r, CATCH_UP_ROUND_MS);
	r = load(rc, disk, out);
	if (!r)
		r = start(rc, disk, out);
	if (r < 0) {
		raft_core_free(rc);
		return r;
	}
	*ret_core = rc;
	return 0;
}

void raft_core_free(struct raft_core *rc)
{
	if (!rc)
		return;
	raft_close(&rc->r, NULL);
	raft_log_truncate(&rc->log, rc->log.start);
	free(rc->log.v);
	raft_mem_snapshot_release(&rc->snap);
	raft_mem_snapshot_release(&rc->installing);
	free(rc->membership);
	free(rc);
}
