/*
 * The guards that libraft 0.22.1 needs around it, all of them. Without them clusters get stuck, spin, or (G11) lose what
 * was committed. "rule": not a defect, but misuse that the library does not notice. Gn is switched off by
 * RAFT_GUARD(n) in raft_core_conf.guards_off, for the simulator.
 *
 *  G1  uncommitted index of a membership change that is not first in its message    raft_guard_after_receive()
 *  G2  timeouts in the past after a demotion: a busy loop                           raft_guard_timeout()
 *  G3  pre-vote deadlock of low-term servers with the best log                      raft_guard_after_receive()
 *  G4  AppendEntries that begin below our compacted log                             raft_guard_before_receive()
 *  G5  InstallSnapshot while one is being installed leaks                           raft_guard_before_receive()
 *  G6  RequestVoteResult read through the wrong union member                        raft_guard_before_receive()
 *  G7  uninitialised last_log_index in the answer to an old term                    raft_guard_after_receive()
 *  G8  reports of writes that were overtaken by a truncation or an install          raft_guard_persisted()
 *  G9  rule: a membership change is alone in its submit                             raft_core_submit_entry() takes one
 *  G10 rule: one server, one step of its role per change                            raft_member.c makes no others
 *  G11 membership changes before an entry of the own term is applied: data loss     raft_guard_may_change()
 *  G12 rule: catch-up only on a leader, for a non-voter, one at a time              raft_member.c
 *  G13 rule: FIFO per peer; leftovers of old connections are thrown away            the driver: raft_io.c, the simulator
 *  G14 rule: a removed server is not told and keeps standing; ids are not reused    node ids never are (config_apply.c),
 *                                                                                   and pre-vote is on
 *  15  a restarted voter has forgotten its leader: it gives no votes for one        raft_guard_before_receive()
 *      election timeout, so that a leader that a majority just answered is the only one (leases)
 *  16  who does not vote by its own log gives no vote either: a leader that restarts  raft_guard_lend_vote()
 *      with an unreplicated promotion needs the vote of one that has not heard of it, and waits for ever
 *  17  the only voter leads at once when it starts, in the term in which it led before: entries that it had sent but not
 *      yet synced come twice, different, under one index and term (data loss)           raft_guard_start_term()
 *  18  who has heard of its own demotion does not stand, yet its log may be the longest:  raft_guard_entries_for()
 *      if the others lack the entry, nobody can win. So it is not told before the change is committed
 */
#include <string.h>

#include "cluster/raft_internal.h"

enum { MIN_TIMEOUT_GAP_MS = 10 };

bool raft_guard_on(const struct raft_core *rc, unsigned n)
{
	return !(rc->conf.guards_off & RAFT_GUARD(n));
}

/*
 * G4: we compacted what the leader does not know that we have (its acknowledgement was lost). The library would reject,
 * and the leader walk back for ever. What the snapshot holds is committed, so it may be taken as received.
 */
static void skip_compacted(struct raft_core *rc, struct raft_append_entries *a)
{
	uint64_t snap = rc->snap.s.index, n;

	if (a->term < rc->r.current_term || rc->r.snapshot.installing || a->prev_log_index >= snap)
		return;
	if (rc->log.start == 1 || a->prev_log_index >= rc->log.start)
		return;
	n = snap - a->prev_log_index;
	if (n >= a->n_entries) {
		raft_buffers_entries_free(a->entries, a->n_entries);
		a->entries = NULL;
		a->n_entries = 0;
	} else {
		a->n_entries -= (unsigned)n;
		memmove(a->entries, a->entries + n, a->n_entries * sizeof(*a->entries));
	}
	a->prev_log_index = snap;
	a->prev_log_term = rc->snap.s.term;
}

/*
 * 16, too: the library refuses votes while it knows of a leader, and one that does not vote never forgets its leader,
 * because its timer does not run out. Not heard of for an election timeout, or standing itself, a leader is none.
 */
static void forget_leader(const struct raft_core *rc, struct raft_message *m)
{
	const struct raft *r = &rc->r;

	if (r->state == RAFT_FOLLOWER && raft_guard_on(rc, 16) &&
	    (m->server_id == r->follower_state.current_leader.id ||
	     rc->now >= r->election_timer_start + rc->conf.election_ms))
		m->request_vote.disrupt_leader = true;
}

bool raft_guard_before_receive(struct raft_core *rc, struct raft_message *m)
{
	switch (m->type) {
	case RAFT_APPEND_ENTRIES:
		if (raft_guard_on(rc, 4))
			skip_compacted(rc, &m->append_entries);
		return false;
	case RAFT_INSTALL_SNAPSHOT:
		return raft_guard_on(rc, 5) && rc->r.snapshot.installing;
	case RAFT_REQUEST_VOTE_RESULT:
		return raft_guard_on(rc, 6) && rc->r.state != RAFT_CANDIDATE;
	case RAFT_REQUEST_VOTE:
		if (raft_guard_on(rc, 15) && !m->request_vote.disrupt_leader &&
		    rc->now < rc->started_ms + rc->conf.election_ms)
			return true;
		forget_leader(rc, m);
		return false;
	default:
		return false;
	}
}

/*
 * 16: whose vote counts is for the candidate's membership to say (Ongaro 2014, 4.2.2: a server that is not in its own
 * latest configuration still votes). One vote a term is kept on disk either way. For this one step the library sees a
 * membership in which we vote; LENT takes the true one until raft_guard_take_back().
 */
void raft_guard_lend_vote(struct raft_core *rc, const struct raft_message *m, struct raft_guard_lent *lent)
{
	struct raft_configuration *conf = &rc->r.configuration;
	unsigned me = 0;

	lent->on = m && m->type == RAFT_REQUEST_VOTE && raft_guard_on(rc, 16) && conf->n <= RAFT_CORE_SERVERS_MAX;
	if (!lent->on)
		return;
	lent->saved = *conf;
	memcpy(lent->servers, conf->servers, conf->n * sizeof(*conf->servers));
	while (me < conf->n && conf->servers[me].id != rc->r.id)
		me++;
	if (me == conf->n)
		lent->servers[conf->n++] = (struct raft_server){ .id = rc->r.id };
	lent->servers[me].role = RAFT_VOTER;
	conf->servers = lent->servers;
}

void raft_guard_take_back(struct raft_core *rc, struct raft_guard_lent *lent)
{
	if (lent->on)
		rc->r.configuration = lent->saved;
}

static bool only_voter(const void *conf, size_t len, uint32_t self)
{
	struct raft_configuration c;
	unsigned others = 0, me = 0;

	if (raft_buffers_configuration(conf, len, &c) != 0)
		return false;
	for (unsigned i = 0; i < c.n; i++) {
		me += c.servers[i].role == RAFT_VOTER && c.servers[i].id == self;
		others += c.servers[i].role == RAFT_VOTER && c.servers[i].id != self;
	}
	raft_configuration_close(&c);
	return me && !others;
}

static bool is_voter(const struct raft_configuration *c, raft_id id)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->servers[i].id == id)
			return c->servers[i].role == RAFT_VOTER;
	return false;
}

/* 18: the library takes what is held back for lost, and sends it again until the change is committed. */
unsigned raft_guard_entries_for(const struct raft_core *rc, raft_id to, const struct raft_append_entries *a)
{
	if (!raft_guard_on(rc, 18) || !is_voter(&rc->r.configuration_committed, to))
		return a->n_entries;
	for (unsigned i = 0; i < a->n_entries; i++) {
		uint64_t index = a->prev_log_index + 1 + i;
		const struct raft_core_entry *e = raft_log_get(&rc->log, index);
		struct raft_configuration c;
		bool stays;

		if (!e || e->type != RAFT_CHANGE || index <= rc->r.commit_index ||
		    raft_buffers_configuration(e->data, e->len, &c) < 0)
			continue;
		stays = is_voter(&c, to);
		raft_configuration_close(&c);
		if (!stays)
			return i;
	}
	return a->n_entries;
}

/* 17: true when this start is an election that is won already: it needs a term of its own. */
bool raft_guard_start_term(const struct raft_core *rc)
{
	if (!raft_guard_on(rc, 17))
		return false;
	for (size_t i = rc->log.nr; i-- > 0;)
		if (rc->log.v[i].type == RAFT_CHANGE)
			return only_voter(rc->log.v[i].data, rc->log.v[i].len, rc->conf.id);
	return rc->snap.s.index && only_voter(rc->snap.s.conf.p, rc->snap.s.conf.len, rc->conf.id);
}

/* G1: the index that the library notes for a change is the first one of its message. */
static void mend_uncommitted_index(struct raft_core *rc, const struct raft_update *u)
{
	if (!(u->flags & (RAFT_UPDATE_ENTRIES)))
		return;
	for (unsigned i = u->entries.n; i-- > 0;)
		if (u->entries.batch[i].type == RAFT_CHANGE) {
			rc->r.configuration_uncommitted_index = u->entries.index + i;
			return;
		}
}

void raft_guard_after_receive(struct raft_core *rc, const struct raft_message *m, uint64_t term_before,
			      struct raft_update *u)
{
	bool append = m->type == RAFT_APPEND_ENTRIES, install = m->type == RAFT_INSTALL_SNAPSHOT;
	uint64_t term = append ? m->append_entries.term : install ? m->install_snapshot.term : term_before;

	if (raft_guard_on(rc, 1))
		mend_uncommitted_index(rc, u);
	for (unsigned i = 0; i < u->messages.n; i++) {
		struct raft_message *out = &u->messages.batch[i];

		if (out->type == RAFT_APPEND_ENTRIES_RESULT && term < term_before && raft_guard_on(rc, 7))
			out->append_entries_result.last_log_index = 0;
		/* G3: the library echoes the candidate's term; told ours, it catches up. */
		if (out->type == RAFT_REQUEST_VOTE_RESULT && m->type == RAFT_REQUEST_VOTE && m->request_vote.pre_vote &&
		    m->request_vote.term < rc->r.current_term && raft_guard_on(rc, 3))
			out->request_vote_result.term = rc->r.current_term;
	}
}

uint64_t raft_guard_timeout(const struct raft_core *rc, uint64_t timeout_ms)
{
	uint64_t first = rc->last_timeout_ms + MIN_TIMEOUT_GAP_MS;

	return raft_guard_on(rc, 2) && timeout_ms < first ? first : timeout_ms;
}

bool raft_guard_persisted(const struct raft_core *rc, uint64_t index, uint64_t term)
{
	const struct raft_core_entry *e = raft_log_get(&rc->log, index);

	/* Twice the same is our own doing and an assertion of the library: never passed on. */
	if (index <= rc->r.last_stored)
		return false;
	if (!raft_guard_on(rc, 8))
		return true;
	return !rc->r.snapshot.installing && e && e->term == term;
}

/*
 * G11: before an entry of its own term is applied, a leader may not know of a change that its predecessor committed, and
 * two changes a server apart have disjoint majorities. And every voter (but the one that is changed) has the last
 * change: who does not vote by its own log neither votes nor stands, and a group could end without an electable leader.
 */
bool raft_guard_may_change(const struct raft_core *rc, uint32_t target)
{
	const struct raft_configuration *conf = &rc->r.configuration;

	if (!raft_guard_on(rc, 11))
		return true;
	if (rc->applied_term != rc->r.current_term)
		return false;
	for (unsigned i = 0; i < conf->n; i++) {
		raft_index match;

		if (conf->servers[i].role != RAFT_VOTER || conf->servers[i].id == target)
			continue;
		if (raft_match_index(&rc->r, conf->servers[i].id, &match) != 0 ||
		    match < rc->r.configuration_committed_index)
			return false;
	}
	return true;
}
