/*
 * The leader's duties, as lease.h states the rules: grants in answer to heartbeats; on each tick whatever has to change,
 * as commands for the log. What was proposed is not proposed again until the configuration shows it or a while passed.
 */
#include <assert.h>
#include <string.h>

#include "cluster/lease.h"
#include "common/bytes.h"

enum {
	RETRY_MS = 500,		/* a proposal that had no effect is made again */
	REPLACE_VOTER_MS = 30000, /* a voter dead this long is replaced when another node is there */
};

void lease_leader_init(struct lease_leader *l, uint32_t self, const struct cluster_times *times, unsigned breaks)
{
	*l = (struct lease_leader){ .times = *times, .breaks = breaks, .self = self };
}

void lease_actions_release(struct lease_actions *a)
{
	for (size_t i = 0; i < a->nr_proposals; i++)
		wire_writer_release(&a->proposals[i]);
	a->nr_proposals = 0;
}

static struct lease_peer *peer_find(const struct lease_leader *l, uint32_t id)
{
	for (size_t i = 0; i < l->nr_peers; i++)
		if (l->peers[i].id == id)
			return (struct lease_peer *)&l->peers[i];
	return NULL;
}

static struct lease_peer *peer_get(struct lease_leader *l, uint32_t id)
{
	struct lease_peer *p = peer_find(l, id);

	if (p || l->nr_peers == CONFIG_NODES_MAX)
		return p;
	p = &l->peers[l->nr_peers++];
	*p = (struct lease_peer){ .id = id };
	return p;
}

static struct lease_taking *taking_get(struct lease_leader *l, uint32_t fs)
{
	for (size_t i = 0; i < l->nr_taking; i++)
		if (l->taking[i].fs == fs)
			return &l->taking[i];
	assert(l->nr_taking < CONFIG_FS_MAX); /* as many as filesystems in the configuration */
	l->taking[l->nr_taking] = (struct lease_taking){ .fs = fs };
	return &l->taking[l->nr_taking++];
}

static uint32_t lease_and_margin(const struct lease_leader *l)
{
	return l->times.lease_ms + l->times.margin_ms;
}

/* Every lease that we or a predecessor answered NODE with has ended. */
static bool lease_over(const struct lease_leader *l, uint32_t node, uint64_t now)
{
	const struct lease_peer *p = peer_find(l, node);
	uint64_t last = p && p->heard_ms > l->since_ms ? p->heard_ms : l->since_ms;

	if (p && p->leaving)
		return true;
	return now >= last + lease_and_margin(l);
}

bool lease_leader_alive(const struct lease_leader *l, uint32_t node, uint64_t now_ms)
{
	const struct lease_peer *p = peer_find(l, node);

	return p && p->heard && !p->leaving && !lease_over(l, node, now_ms);
}

/* A full list is continued at the next tick. */
static bool propose(struct lease_actions *out, enum config_cmd type, const void *cmd)
{
	struct wire_writer *w;

	if (out->nr_proposals == LEASE_PROPOSALS_MAX)
		return false;
	w = &out->proposals[out->nr_proposals];
	wire_writer_init(w);
	if (config_cmd_encode(w, type, cmd) < 0) {
		wire_writer_release(w);
		return false;
	}
	out->nr_proposals++;
	return true;
}

/* ---- heartbeats ---- */

static void heartbeat(struct lease_leader *l, const struct lease_event *ev, const struct config *c,
		      struct lease_actions *out)
{
	struct lease_peer *p = config_node_by_id(c, ev->node) ? peer_get(l, ev->node) : NULL;

	if (!p)
		return;
	p->heard = true;
	p->leaving = ev->leaving;
	p->heard_ms = ev->now_ms;
	p->nr_pos = ev->nr_pos < CONFIG_FS_MAX ? ev->nr_pos : CONFIG_FS_MAX;
	if (p->nr_pos)
		memcpy(p->pos, ev->pos, p->nr_pos * sizeof(*p->pos));
	if (p->leaving || !ev->sure || ev->now_ms < l->no_grant_until_ms)
		return;
	for (size_t i = 0; i < c->nr_fs; i++) {
		const struct config_fs *fs = &c->fs[i];

		if (fs->server == ev->node && taking_get(l, fs->id)->epoch != fs->epoch)
			out->grants[out->nr_grants++] = (struct lease_grant){ fs->id, fs->epoch };
	}
}

/* ---- taking over ---- */

/* What NODE said of its copy; NULL: nothing, its file service has not begun yet. */
static const struct lease_position *said(const struct lease_leader *l, uint32_t node, uint32_t fs)
{
	const struct lease_peer *p = peer_find(l, node);

	for (size_t i = 0; p && i < p->nr_pos; i++)
		if (p->pos[i].fs == fs)
			return &p->pos[i];
	return NULL;
}

/* It said that its copy is not whole, under this configuration: that stays so until the epoch moves on. */
static bool is_lost(const struct lease_leader *l, const struct config_fs *fs, uint32_t node)
{
	const struct lease_position *pos = said(l, node, fs->id);

	return pos && pos->copy != LEASE_COPY_WHOLE && pos->at == fs->epoch;
}

static bool is_longer(const struct lease_position *a, const struct lease_position *b)
{
	return a->epoch != b->epoch ? a->epoch > b->epoch : a->lsn > b->lsn;
}

/* The living whole copy with the longest log, 0 when there is none; IN_SYNC becomes the members to stay in sync. */
static uint32_t pick_server(const struct lease_leader *l, const struct config_fs *fs, uint64_t now,
			    struct wire_u32s *in_sync)
{
	bool stale_too = l->breaks & LEASE_BREAK_PROMOTE_STALE;
	const struct lease_position *best = NULL;
	uint32_t server = 0;

	in_sync->n = 0;
	for (size_t i = 0; i < fs->nr_members; i++) {
		uint32_t id = fs->members[i];
		const struct lease_position *pos = said(l, id, fs->id);

		if (id == fs->server || !lease_leader_alive(l, id, now) || is_lost(l, fs, id))
			continue;
		if (!config_fs_in_sync(fs, id) && !stale_too)
			continue;
		in_sync->v[in_sync->n++] = id;
		if (pos && pos->copy == LEASE_COPY_WHOLE && (!server || is_longer(pos, best))) {
			server = id;
			best = pos;
		}
	}
	return server;
}

/* The longest of the copies that survived, when no in-sync one is whole and all have said so; else 0. */
static uint32_t pick_survivor(const struct lease_leader *l, const struct config_fs *fs, uint64_t now)
{
	bool shortest = l->breaks & LEASE_BREAK_SURVIVOR_SHORTEST;
	const struct lease_position *best = NULL;
	uint32_t server = 0;

	for (size_t i = 0; i < fs->nr_in_sync; i++) {
		uint32_t id = fs->in_sync[i];
		const struct lease_position *pos = said(l, id, fs->id);

		if (!lease_leader_alive(l, id, now) || !is_lost(l, fs, id)) {
			if (l->breaks & LEASE_BREAK_SURVIVOR_EARLY)
				continue;
			return 0;
		}
		if (pos->copy == LEASE_COPY_SURVIVED && (!server || is_longer(pos, best) != shortest)) {
			server = id;
			best = pos;
		}
	}
	/* Alone it does not need us (cfsd/repl.h). */
	return fs->nr_in_sync == 1 && server == fs->server ? 0 : server;
}

static void take_over(struct lease_leader *l, const struct config_fs *fs, uint64_t now, struct lease_actions *out)
{
	struct lease_taking *t = taking_get(l, fs->id);
	struct cmd_fs_change cmd = { .fs = fs->id, .expected = fs->epoch };
	bool over = lease_over(l, fs->server, now) || is_lost(l, fs, fs->server);

	if (l->breaks & LEASE_BREAK_NO_WAIT)
		over = !lease_leader_alive(l, fs->server, now + l->times.lease_ms);
	if (!over || t->epoch == fs->epoch)
		return;
	cmd.server = pick_server(l, fs, now, &cmd.in_sync);
	if (!cmd.server) {
		cmd.server = pick_survivor(l, fs, now);
		cmd.in_sync = (struct wire_u32s){ .n = 1, .v = { cmd.server } };
	}
	if (!cmd.server)
		return; /* the last in-sync copy is away: unavailable, never a stale one */
	cmd.force = (l->breaks & LEASE_BREAK_PROMOTE_STALE) != 0;
	if (propose(out, CMD_fs_change, &cmd))
		t->epoch = fs->epoch;
}

/* ---- members, states, voters ---- */

static bool is_up(const struct lease_leader *l, const struct config_node *n, uint64_t now)
{
	return n->state == NODE_UP && lease_leader_alive(l, n->id, now);
}

/* Up to CONFIG_COPIES nodes hold a copy; who is added pulls itself into sync. */
static void add_member(struct lease_leader *l, const struct config_fs *fs, const struct config *c, uint64_t now,
		       struct lease_actions *out)
{
	struct lease_taking *t = taking_get(l, fs->id);
	struct cmd_fs_set_members cmd = { .fs = fs->id, .expected = fs->epoch };

	if (fs->nr_members >= CONFIG_COPIES || (t->members_ms && now < t->members_ms + RETRY_MS))
		return;
	for (size_t i = 0; i < c->nr_nodes; i++) {
		const struct config_node *n = &c->nodes[i];

		if (!is_up(l, n, now) || config_fs_is_member(fs, n->id))
			continue;
		memcpy(cmd.members.v, fs->members, fs->nr_members * sizeof(*fs->members));
		cmd.members.n = (uint32_t)fs->nr_members;
		cmd.members.v[cmd.members.n++] = n->id;
		if (propose(out, CMD_fs_set_members, &cmd))
			t->members_ms = now;
		return;
	}
}

/* The state that follows for a node that is alive, leaving or dead; its own when there is nothing to do. */
static enum node_state next_state(enum node_state s, bool alive, bool gone)
{
	if (alive)
		switch (s) {
		case NODE_NEVERUP:
		case NODE_DOWN:
			return NODE_COMINGUP;
		case NODE_COMINGUP:
		case NODE_SHUTDOWN:
			return NODE_UP;
		case NODE_GOINGDOWN:
			return NODE_KCLEANUP;
		default:
			break;
		}
	if (s == NODE_KCLEANUP)
		return NODE_UCLEANUP;
	if (s == NODE_UCLEANUP)
		return NODE_DOWN;
	if (gone && (s == NODE_COMINGUP || s == NODE_UP || s == NODE_SHUTDOWN || s == NODE_GOINGDOWN))
		return NODE_KCLEANUP;
	return s;
}

static void watch_state(struct lease_leader *l, const struct config_node *n, uint64_t now, struct lease_actions *out)
{
	bool alive = lease_leader_alive(l, n->id, now), over = lease_over(l, n->id, now);
	struct lease_peer *p = peer_get(l, n->id);
	enum node_state next;
	struct cmd_node_set_state cmd = { .node = n->id };

	if (!p)
		return;
	if (!over)
		p->down_since_ms = 0;
	else if (!p->down_since_ms)
		p->down_since_ms = now;
	next = p->leaving && n->state == NODE_UP ? NODE_GOINGDOWN : next_state(n->state, alive, over);
	if (next == n->state || (next == p->proposed && now < p->proposed_ms + RETRY_MS))
		return;
	cmd.state = (uint8_t)next;
	if (propose(out, CMD_node_set_state, &cmd)) {
		p->proposed = next;
		p->proposed_ms = now;
	}
}

static bool votes(const struct lease_event *ev, uint32_t id)
{
	for (size_t i = 0; i < ev->nr_voters; i++)
		if (ev->voters[i] == id)
			return true;
	return false;
}

/* The configuration says who votes, for those who look for the quorum; the consensus membership decides. */
static void mirror_voter(struct lease_leader *l, const struct config_node *n, const struct lease_event *ev,
			 struct lease_actions *out)
{
	struct lease_peer *p = peer_get(l, n->id);
	struct cmd_node_set_voter cmd = { .node = n->id, .voter = votes(ev, n->id) };

	if (!p || n->voter == cmd.voter || (p->voter_proposed_ms && ev->now_ms < p->voter_proposed_ms + RETRY_MS))
		return;
	if (propose(out, CMD_node_set_voter, &cmd))
		p->voter_proposed_ms = ev->now_ms;
}

/* Odd, and small: two nodes with two votes would stand still with either, so two nodes have one voter. */
static size_t voters_wanted(size_t nr_known)
{
	return nr_known < 3 ? 1 : nr_known < 5 ? 3 : nr_known < 7 ? 5 : LEASE_VOTERS_MAX;
}

static bool is_long_dead(const struct lease_leader *l, uint32_t id, uint64_t now)
{
	const struct lease_peer *p = peer_find(l, id);

	return id != l->self && p && p->down_since_ms && now >= p->down_since_ms + REPLACE_VOTER_MS;
}

/* One that was removed and has no successor leaves an even number: one more goes, a dead one if there is, not the leader. */
static void make_odd(const struct lease_leader *l, uint64_t now, struct lease_actions *out)
{
	size_t victim = out->nr_voters;

	if (out->nr_voters % 2)
		return;
	for (size_t i = 0; i < out->nr_voters; i++)
		if (out->voters[i] != l->self &&
		    (victim == out->nr_voters || lease_leader_alive(l, out->voters[victim], now)))
			victim = i;
	for (size_t i = victim + 1; i < out->nr_voters; i++)
		out->voters[i - 1] = out->voters[i];
	out->nr_voters -= victim < out->nr_voters;
}

static void choose_voters(const struct lease_leader *l, const struct lease_event *ev, const struct config *c,
			  struct lease_actions *out)
{
	uint32_t spare[CONFIG_NODES_MAX];
	size_t nr_spare = 0, used = 0, known = 0, gone = 0, wanted;

	for (size_t i = 0; i < c->nr_nodes; i++) {
		known += c->nodes[i].state != NODE_NEVERUP;
		if (!votes(ev, c->nodes[i].id) && is_up(l, &c->nodes[i], ev->now_ms))
			spare[nr_spare++] = c->nodes[i].id;
	}
	wanted = voters_wanted(known);
	for (size_t i = 0; i < ev->nr_voters && out->nr_voters < LEASE_VOTERS_MAX; i++) {
		uint32_t id = ev->voters[i];
		bool removed = !config_node_by_id(c, id);

		if (used < nr_spare && (removed || is_long_dead(l, id, ev->now_ms)))
			id = spare[used++];
		if (!config_node_by_id(c, id))
			gone++;
		else
			out->voters[out->nr_voters++] = id;
	}
	/* In pairs, so that the number stays odd. */
	while (out->nr_voters + 2 <= wanted && out->nr_voters % 2 && nr_spare - used >= 2) {
		out->voters[out->nr_voters++] = spare[used++];
		out->voters[out->nr_voters++] = spare[used++];
	}
	if (out->nr_voters % 2 == 0 && out->nr_voters < wanted && used < nr_spare)
		out->voters[out->nr_voters++] = spare[used++];
	/* First the removed: one that lives goes only when all that count can still be asked. */
	if (!gone)
		make_odd(l, ev->now_ms, out);
}

static void tick(struct lease_leader *l, const struct lease_event *ev, const struct config *c, struct lease_actions *out)
{
	for (size_t i = 0; i < c->nr_fs; i++) {
		take_over(l, &c->fs[i], ev->now_ms, out);
		add_member(l, &c->fs[i], c, ev->now_ms, out);
	}
	for (size_t i = 0; i < c->nr_nodes; i++) {
		watch_state(l, &c->nodes[i], ev->now_ms, out);
		mirror_voter(l, &c->nodes[i], ev, out);
	}
	choose_voters(l, ev, c, out);
}

static void lead(struct lease_leader *l, uint64_t now)
{
	struct lease_leader fresh = { .times = l->times, .breaks = l->breaks, .self = l->self };

	*l = fresh;
	l->leading = true;
	l->since_ms = l->last_ms = now;
}

void lease_leader_step(struct lease_leader *l, const struct lease_event *ev, const struct config *c,
		       struct lease_actions *out)
{
	out->nr_grants = out->nr_proposals = out->nr_voters = 0;
	if (ev->type == LEASE_LEAD) {
		lead(l, ev->now_ms);
		return;
	}
	if (ev->type == LEASE_FOLLOW)
		l->leading = false;
	if (!l->leading)
		return;
	/*
	 * We stood still (stopped, starved): heartbeats may wait unread, so nobody is dead; and another may lead by
	 * now while old answers still make the consensus core believe in us.
	 */
	if (ev->now_ms > l->last_ms + l->times.lease_ms / 3) {
		l->since_ms = ev->now_ms;
		l->no_grant_until_ms = ev->now_ms + l->times.raft_election_ms;
	}
	l->last_ms = ev->now_ms;
	if (ev->type == LEASE_HEARTBEAT)
		heartbeat(l, ev, c, out);
	else
		tick(l, ev, c, out);
}
