/* Consensus, heartbeats, leases and proposals of a simulated node: the shell of raft_core, config and lease. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "tests/sim/node.h"

static const struct cluster_times times = CLUSTER_TIMES_DEFAULT;

static void raft_step(struct sim_node *n, struct raft_core_event *ev);
static void timer(struct sim_node *n);

/* ---- configuration ---- */

static void take_view(struct sim_node *n, const struct config *c)
{
	if (c->version <= n->view.version)
		return;
	n->view = *c;
	node_files_config(n);
}

static void reply_proposal(struct sim_node *n, struct net_request *rq, int result)
{
	struct msg_propose_rep rep = { 0 };
	void *buf = NULL;
	size_t len = 0;

	if (result >= 0) {
		int r = config_encode(&n->config, &buf, &len);

		assert(!r);
		rep = (struct msg_propose_rep){ .result = (uint32_t)result, .config = { buf, (uint32_t)len } };
	}
	net_reply(n->sim->net, rq, result < 0 ? result : 0, &rep);
	free(buf);
}

static void end_proposal(struct sim_node *n, struct proposal *p, int result)
{
	DL_DELETE(n->proposals, p);
	if (p->rq)
		reply_proposal(n, p->rq, result);
	else if (p->done)
		p->done(n, result < 0 ? result : 0);
	free(p);
}

static void applied(struct sim_node *n, const struct raft_action *a)
{
	int result = config_apply(&n->config, a->data, a->len, a->index);
	struct proposal *p, *next;

	world_log(&n->sim->world, n->id, "apply %llu: command %d -> %d", (unsigned long long)a->index,
		  config_cmd_type(a->data, a->len), result);
	take_view(n, &n->config);
	DL_FOREACH_SAFE(n->proposals, p, next)
		if (p->index == a->index)
			end_proposal(n, p, p->term == a->term ? result : -EHOSTUNREACH);
}

static void restore(struct sim_node *n, const struct raft_action *a)
{
	struct config c;
	int r = config_decode(a->data, a->len, &c);

	assert(!r);
	n->config = c;
	take_view(n, &n->config);
}

/* ---- consensus ---- */

static void send_now(struct sim_node *n, const struct raft_action *a)
{
	struct msg_raft_req m = { .message = { a->data, (uint32_t)a->len } };

	if (a->to <= SIM_NODES && n->peer[a->to] && net_conn_is_up(n->peer[a->to], n->id))
		net_send(n->sim->net, n->peer[a->to], n->id, MSG_raft, &m);
}

/* Messages wait until the hard state that was written before them is synced. */
static void send_or_wait(struct sim_node *n, struct raft_action *a)
{
	struct raft_actions *o = &n->outbox;

	if (!n->hard_pending) {
		send_now(n, a);
		return;
	}
	if (o->nr == o->cap) {
		o->cap = o->cap ? 2 * o->cap : 16;
		o->v = realloc(o->v, o->cap * sizeof(*o->v));
		assert(o->v);
	}
	o->v[o->nr++] = *a;
	a->data = NULL;
}

static void hard_state_synced(void *ctx, uint64_t number)
{
	struct sim_node *n = ctx;

	if (n->hard_pending != number)
		return;
	n->hard_pending = 0;
	for (size_t i = 0; i < n->outbox.nr; i++)
		send_now(n, &n->outbox.v[i]);
	raft_actions_release(&n->outbox);
}

static void lead(struct sim_node *n, bool leading)
{
	struct lease_event ev = { .type = leading ? LEASE_LEAD : LEASE_FOLLOW, .now_ms = node_clock(n) };
	struct lease_actions out;

	n->leading = leading;
	world_log(&n->sim->world, n->id, leading ? "leads" : "follows");
	lease_leader_step(&n->leader, &ev, &n->config, &out);
	lease_actions_release(&out);
	if (leading)
		return;
	while (n->proposals)
		end_proposal(n, n->proposals, -EHOSTUNREACH);
}

static void answer_state(struct sim_node *n)
{
	struct raft_core_event ev = { .kind = RAFT_EV_STATE };
	void *buf;
	size_t len;
	int r = config_encode(&n->config, &buf, &len);

	assert(!r);
	ev.data = buf;
	ev.len = len;
	raft_step(n, &ev);
	free(buf);
}

static bool run_action(struct sim_node *n, struct raft_action *a)
{
	switch (a->kind) {
	case RAFT_ACT_HARD_STATE:
		n->hard_pending = raft_disk_write(n->disk, a, n->rc);
		break;
	case RAFT_ACT_ENTRIES:
	case RAFT_ACT_SNAPSHOT:
	case RAFT_ACT_SNAPSHOT_INSTALL:
		raft_disk_write(n->disk, a, n->rc);
		break;
	case RAFT_ACT_SEND:
		send_or_wait(n, a);
		break;
	case RAFT_ACT_APPLY:
		applied(n, a);
		break;
	case RAFT_ACT_RESTORE:
		restore(n, a);
		break;
	case RAFT_ACT_WANT_STATE:
		return true;
	case RAFT_ACT_LEAD:
	case RAFT_ACT_FOLLOW:
		lead(n, a->kind == RAFT_ACT_LEAD);
		break;
	case RAFT_ACT_FATAL:
		sim_fail(n->sim, "node %u: consensus gave up", n->id);
		break;
	}
	return false;
}

static void run_actions(struct sim_node *n, struct raft_actions *acts)
{
	bool want_state = false;

	assert(!acts->oom);
	for (size_t i = 0; i < acts->nr; i++)
		want_state |= run_action(n, &acts->v[i]);
	raft_actions_release(acts);
	if (want_state)
		answer_state(n);
}

static void raft_step(struct sim_node *n, struct raft_core_event *ev)
{
	struct raft_actions acts;
	int r;

	raft_actions_init(&acts);
	ev->now_ms = node_clock(n);
	r = raft_core_step(n->rc, ev, &acts, NULL, NULL);
	if (r == -ENOMEM)
		sim_fail(n->sim, "node %u: raft_core_step: out of memory", n->id);
	run_actions(n, &acts);
}

static void persisted(void *ctx, uint64_t index, uint64_t term)
{
	struct raft_core_event ev = { .kind = RAFT_EV_PERSISTED, .index = index, .term = term };

	raft_step(ctx, &ev);
}

static void installed(void *ctx, uint64_t index)
{
	struct raft_core_event ev = { .kind = RAFT_EV_INSTALLED, .index = index };

	raft_step(ctx, &ev);
}

static const struct raft_disk_events disk_events = { persisted, installed, hard_state_synced };

/* ---- proposals ---- */

/* Submits at the leader; takes RQ over. */
static void submit(struct sim_node *n, const void *cmd, size_t len, struct net_request *rq, proposal_done done)
{
	struct raft_core_event ev = { .kind = RAFT_EV_SUBMIT, .now_ms = node_clock(n), .data = cmd, .len = len };
	struct raft_actions acts;
	struct proposal *p = calloc(1, sizeof(*p));
	int r;

	assert(p);
	raft_actions_init(&acts);
	r = raft_core_step(n->rc, &ev, &acts, &p->index, &p->term);
	p->rq = rq;
	p->done = done;
	DL_APPEND(n->proposals, p);
	if (r < 0)
		end_proposal(n, p, r);
	run_actions(n, &acts);
}

struct remote_proposal {
	struct sim_node *n;
	proposal_done done;
};

static void remote_proposed(void *ctx, int status, const void *rep)
{
	struct remote_proposal *rp = ctx;
	const struct msg_propose_rep *m = rep;
	struct config c;

	if (!status && !config_decode(m->config.p, m->config.len, &c))
		take_view(rp->n, &c);
	rp->done(rp->n, status == -ECONNRESET || status == -ETIMEDOUT || status == -EREMCHG || status == -ECANCELED ?
				-EHOSTUNREACH :
				status);
	free(rp);
}

static void later_unreachable(struct sim_node *n);

void node_propose(struct sim_node *n, const void *cmd, size_t len, proposal_done done)
{
	uint32_t to = raft_core_is_leader(n->rc) ? n->id : n->leader_hint;
	struct msg_propose_req m = { .command = { cmd, (uint32_t)len } };
	struct remote_proposal *rp;

	if (to == n->id) {
		submit(n, cmd, len, NULL, done);
		return;
	}
	if (!to || !n->peer[to] || !net_conn_is_up(n->peer[to], n->id)) {
		n->unreachable = done;
		node_after(n, 1 * MS, later_unreachable);
		return;
	}
	rp = calloc(1, sizeof(*rp));
	assert(rp);
	*rp = (struct remote_proposal){ n, done };
	net_call(n->sim->net, n->peer[to], n->id, MSG_propose, &m, 1000 * MS, remote_proposed, rp, free);
}

static void later_unreachable(struct sim_node *n)
{
	n->unreachable(n, -EHOSTUNREACH);
}

/* ---- heartbeats and leases ---- */

static void propose_all(struct sim_node *n, struct lease_actions *a)
{
	for (size_t i = 0; i < a->nr_proposals; i++)
		submit(n, a->proposals[i].buf, a->proposals[i].len, NULL, NULL);
}

/* The leader hears a heartbeat, its own too. */
static void hear(struct sim_node *n, uint32_t from, const struct lease_position *pos, size_t nr_pos,
		 struct lease_actions *out)
{
	struct lease_event ev = { .type = LEASE_HEARTBEAT,
				  .now_ms = node_clock(n),
				  .sure = raft_core_leads(n->rc, node_clock(n)),
				  .node = from,
				  .pos = pos,
				  .nr_pos = nr_pos };

	lease_leader_step(&n->leader, &ev, &n->config, out);
	propose_all(n, out);
}

struct beat {
	struct sim_node *n;
	uint64_t sent_ms;
};

static void beat_answered(void *ctx, int status, const void *rep)
{
	struct beat *b = ctx;
	const struct msg_heartbeat_rep *m = rep;
	struct lease_grant g[CONFIG_FS_MAX];
	size_t nr;

	if (!status) {
		if (m->leader)
			b->n->leader_hint = m->leader;
		lease_unpack_grants(&m->grants, g, &nr);
		lease_node_granted(&b->n->lease, b->sent_ms, g, nr);
	}
	free(b);
}

static void send_beat(struct sim_node *n, uint32_t to, const struct lease_position *pos, size_t nr_pos)
{
	uint8_t buf[LEASE_POSITION_LEN];
	struct msg_heartbeat_req m = { .config_version = n->config.version,
				       .positions = lease_pack_positions(pos, nr_pos, buf) };
	struct beat *b;

	if (!n->peer[to] || !net_conn_is_up(n->peer[to], n->id))
		return;
	b = calloc(1, sizeof(*b));
	assert(b);
	*b = (struct beat){ n, node_clock(n) };
	net_call(n->sim->net, n->peer[to], n->id, MSG_heartbeat, &m, 400 * MS, beat_answered, b, free);
}

static void heartbeat(struct sim_node *n)
{
	struct lease_position pos;
	uint32_t leader = raft_core_leader(n->rc);
	size_t nr_pos = node_files_position(n, &pos);

	if (raft_core_is_leader(n->rc)) {
		struct lease_actions out;

		n->leader_hint = n->id;
		hear(n, n->id, &pos, nr_pos, &out);
		lease_node_granted(&n->lease, node_clock(n), out.grants, out.nr_grants);
		lease_actions_release(&out);
	} else {
		if (leader)
			n->leader_hint = leader;
		if (n->leader_hint && n->leader_hint != n->id)
			send_beat(n, n->leader_hint, &pos, nr_pos);
	}
	node_after(n, times.heartbeat_ms * MS, heartbeat);
}

/* Whole: nothing acknowledged is missing. By what is true, not by what was said. */
static bool is_whole(const struct sim_node *n)
{
	return !n->lost && !n->half_copied;
}

static bool is_longer(struct wire_logpos a, struct wire_logpos b)
{
	return a.epoch != b.epoch ? a.epoch > b.epoch : a.lsn > b.lsn;
}

/* A copy that is not whole may be chosen only when no in-sync one is, and none is longer. */
static void check_choice(struct sim_node *leader, const struct wire_writer *w)
{
	struct sim *s = leader->sim;
	const struct config_fs *fs = config_fs_by_id(&leader->config, SIM_FS);
	struct cmd_fs_change cmd;

	if (config_cmd_decode(w->buf, w->len, CMD_fs_change, &cmd) < 0 || cmd.expected != fs->epoch)
		return;
	for (size_t i = 0; i < leader->leader.nr_peers; i++) {
		const struct lease_peer *p = &leader->leader.peers[i];

		if (p->id == cmd.server && (!p->nr_pos || p->pos[0].copy == LEASE_COPY_WHOLE))
			return;
	}
	for (size_t i = 0; i < fs->nr_in_sync && s->nodes[cmd.server]->up; i++) {
		const struct sim_node *other = s->nodes[fs->in_sync[i]];

		if (is_whole(other))
			sim_fail(s, "node %u is chosen, though node %u is whole", cmd.server, other->id);
		else if (other->up && !other->half_copied &&
			 is_longer(store_position(other->store), store_position(s->nodes[cmd.server]->store)))
			sim_fail(s, "node %u is chosen, though node %u has more", cmd.server, other->id);
	}
}

static void lease_tick(struct sim_node *n)
{
	uint32_t voters[RAFT_CORE_SERVERS_MAX];
	struct lease_event ev = { .type = LEASE_TICK, .now_ms = node_clock(n), .voters = voters };
	struct lease_actions out;

	if (n->leading) {
		struct raft_core_event members = { .kind = RAFT_EV_MEMBERS };

		ev.sure = raft_core_leads(n->rc, ev.now_ms);
		ev.nr_voters = raft_core_voters(n->rc, true, voters);
		lease_leader_step(&n->leader, &ev, &n->config, &out);
		for (size_t i = 0; i < out.nr_proposals; i++)
			check_choice(n, &out.proposals[i]);
		propose_all(n, &out);
		members.ids = out.voters;
		members.nr_ids = out.nr_voters;
		if (out.nr_voters)
			raft_step(n, &members);
		lease_actions_release(&out);
	}
	node_after(n, 50 * MS, lease_tick);
}

bool node_lease_valid(struct sim_node *n)
{
	const struct config_fs *fs = config_fs_by_id(&n->view, SIM_FS);

	if (n->sim->conf.breaks & SIM_BREAK_NO_LEASE)
		return fs && fs->server == n->id;
	return fs && lease_node_valid(&n->lease, &n->view, SIM_FS, fs->epoch, node_clock(n));
}

static void lease_watch(struct sim_node *n)
{
	node_files_lease(n, node_lease_valid(n));
	node_after(n, 10 * MS, lease_watch);
}

/* ---- requests ---- */

static void got_heartbeat(struct sim_node *n, struct net_request *rq)
{
	const struct msg_heartbeat_req *m = rq->msg;
	struct msg_heartbeat_rep rep = { .leader = raft_core_leader(n->rc), .config_version = n->config.version };
	struct lease_position pos[CONFIG_FS_MAX];
	uint8_t buf[CONFIG_FS_MAX * LEASE_GRANT_LEN];
	struct lease_actions out;
	size_t nr;

	if (!n->leading) {
		if (rep.leader == n->id)
			rep.leader = 0;
		net_reply(n->sim->net, rq, 0, &rep);
		return;
	}
	lease_unpack_positions(&m->positions, pos, &nr);
	hear(n, rq->from, pos, nr, &out);
	rep.leader = n->id;
	rep.grants = lease_pack_grants(out.grants, out.nr_grants, buf);
	net_reply(n->sim->net, rq, 0, &rep);
	lease_actions_release(&out);
}

static void got_raft(struct sim_node *n, struct net_request *rq)
{
	const struct msg_raft_req *m = rq->msg;
	struct raft_core_event ev = {
		.kind = RAFT_EV_RECEIVE, .from = rq->from, .data = m->message.p, .len = m->message.len
	};
	uint64_t serial = net_conn_serial(rq->conn);

	/* G13: what is left of an old connection is not delivered after something of a newer one. */
	if (serial >= n->raft_serial[rq->from]) {
		n->raft_serial[rq->from] = serial;
		raft_step(n, &ev);
	}
	net_request_free(n->sim->net, rq);
}

bool node_cluster_request(struct sim_node *n, struct net_request *rq)
{
	const struct msg_propose_req *m = rq->msg;

	switch (rq->info->number) {
	case MSG_raft:
		got_raft(n, rq);
		return true;
	case MSG_heartbeat:
		got_heartbeat(n, rq);
		return true;
	case MSG_propose:
		if (raft_core_is_leader(n->rc))
			submit(n, m->command.p, m->command.len, rq, NULL);
		else
			net_reply(n->sim->net, rq, -EREMCHG, NULL);
		return true;
	default:
		return false;
	}
}

/* ---- life ---- */

static void timer(struct sim_node *n)
{
	struct raft_core_event ev = { .kind = RAFT_EV_TIMEOUT };
	uint64_t now = node_clock(n), at = raft_core_timeout(n->rc);

	if (now >= at)
		raft_step(n, &ev);
	node_after(n, 2 * MS, timer);
}

void node_cluster_bootstrap(struct sim_node *n, const struct config *c)
{
	uint32_t voters[SIM_NODES];
	struct wire_writer w;
	struct cmd_bootstrap cmd;
	void *buf;
	size_t len;
	int r;

	for (uint32_t i = 0; i < SIM_NODES; i++)
		voters[i] = i + 1;
	r = raft_core_bootstrap(voters, SIM_NODES, &buf, &len);
	assert(!r);
	raft_disk_bootstrap(n->disk, 1, RAFT_CORE_CHANGE, buf, len);
	free(buf);
	r = config_encode(c, &buf, &len);
	assert(!r);
	cmd = (struct cmd_bootstrap){ .config = { buf, (uint32_t)len } };
	wire_writer_init(&w);
	r = config_cmd_encode(&w, CMD_bootstrap, &cmd);
	assert(!r);
	raft_disk_bootstrap(n->disk, 1, RAFT_CORE_COMMAND, w.buf, w.len);
	wire_writer_release(&w);
	free(buf);
}

void node_cluster_start(struct sim_node *n)
{
	struct raft_core_conf conf = { .id = n->id,
				       .election_ms = times.raft_election_ms,
				       .heartbeat_ms = times.raft_heartbeat_ms,
				       .seed = (uint32_t)world_rand(&n->sim->world),
				       .guards_off = n->sim->conf.guards_off };
	unsigned breaks = (n->sim->conf.breaks & SIM_BREAK_PROMOTE_STALE ? LEASE_BREAK_PROMOTE_STALE : 0) |
			  (n->sim->conf.breaks & SIM_BREAK_NO_WAIT ? LEASE_BREAK_NO_WAIT : 0) |
			  (n->sim->conf.breaks & SIM_BREAK_SURVIVOR_EARLY ? LEASE_BREAK_SURVIVOR_EARLY : 0) |
			  (n->sim->conf.breaks & SIM_BREAK_SURVIVOR_SHORTEST ? LEASE_BREAK_SURVIVOR_SHORTEST : 0);
	struct raft_core_disk disk;
	struct raft_actions acts;
	int r;

	memset(&n->config, 0, sizeof(n->config));
	memset(&n->view, 0, sizeof(n->view));
	memset(n->raft_serial, 0, sizeof(n->raft_serial));
	n->hard_pending = 0;
	n->leading = n->lease_valid = false;
	n->leader_hint = 0;
	raft_actions_init(&n->outbox);
	lease_leader_init(&n->leader, n->id, &times, breaks);
	lease_node_init(&n->lease, n->id, &times);
	raft_disk_attach(n->disk, &disk_events, n);
	raft_disk_load(n->disk, &disk);
	raft_actions_init(&acts);
	r = raft_core_new(&conf, node_clock(n), &disk, &acts, &n->rc);
	if (r) {
		sim_fail(n->sim, "node %u: raft_core_new: %d", n->id, r);
		return;
	}
	run_actions(n, &acts);
	timer(n);
	heartbeat(n);
	lease_tick(n);
	lease_watch(n);
}

void node_cluster_stop(struct sim_node *n)
{
	struct proposal *p, *next;

	DL_FOREACH_SAFE(n->proposals, p, next) {
		DL_DELETE(n->proposals, p);
		if (p->rq)
			net_request_free(n->sim->net, p->rq);
		free(p);
	}
	raft_actions_release(&n->outbox);
	raft_core_free(n->rc);
	n->rc = NULL;
}
