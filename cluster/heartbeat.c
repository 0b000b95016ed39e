/*
 * Heartbeats and leases: the node's side (send, hold what was granted, tell who asks) and, on the leader, the answers
 * and the duties. Cluster thread only; cluster_lease_valid() reads what heartbeat_publish() writes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/internal.h"
#include "common/cleanup.h"
#include "common/log.h"

struct beat {
	struct cluster *cl;
	uint64_t sent_ms;
	uint32_t asked;
	bool leaving;
};

/* ---- what other threads see ---- */

void heartbeat_publish(struct cluster *cl)
{
	for (size_t i = 0; i < CONFIG_FS_MAX; i++) {
		const struct config_fs *fs = i < cl->config->nr_fs ? &cl->config->fs[i] : NULL;
		uint64_t until = fs ? lease_node_until(&cl->lease_node, cl->config, fs->id) : 0;

		/* A reader that sees the new epoch or filesystem sees no old end: it goes first. */
		if (!fs || atomic_load(&cl->lease[i].epoch) != fs->epoch || atomic_load(&cl->lease[i].fs) != fs->id) {
			atomic_store(&cl->lease[i].until_ms, 0);
			atomic_store(&cl->lease[i].fs, fs ? fs->id : 0);
			atomic_store(&cl->lease[i].epoch, fs ? fs->epoch : 0);
		}
		atomic_store(&cl->lease[i].until_ms, until);
	}
}

struct lost {
	struct cluster *cl;
	uint32_t fs;
};

static void lost_letter(void *arg)
{
	struct lost *l = arg;

	if (!l->cl->stopped && l->cl->events->lease_lost)
		l->cl->events->lease_lost(l->cl->ctx, l->fs);
	cluster_unref(l->cl);
	free(l);
}

static void tell_lost(struct cluster *cl, uint64_t now)
{
	uint32_t fs[CONFIG_FS_MAX];
	size_t n = lease_node_lost(&cl->lease_node, cl->config, now, fs);

	for (size_t i = 0; i < n; i++) {
		struct lost *l = malloc(sizeof(*l));

		if (!cl->leaving)
			log_warn("lease", "node %u may not serve filesystem %u any more", cl->id.id, fs[i]);
		if (!l)
			continue; /* cluster_lease_valid() says it, too */
		*l = (struct lost){ cluster_ref(cl), fs[i] };
		mailbox_post(cl->user_mb, lost_letter, l);
	}
}

/* ---- sending ---- */

static void granted(struct cluster *cl, const struct beat *b, const struct lease_grant *grants, size_t nr)
{
	/* What was on its way when we said goodbye is not for us any more. */
	if (cl->leaving)
		return;
	lease_node_granted(&cl->lease_node, b->sent_ms, grants, nr);
	heartbeat_publish(cl);
}

static void beat_done(void *ctx, int status, const void *msg)
{
	struct beat *b = ctx;
	struct cluster *cl = b->cl;
	const struct msg_heartbeat_rep *rep = msg;
	struct lease_grant grants[CONFIG_FS_MAX];
	size_t nr;

	if (!status) {
		cl->leader = rep->leader;
		if (rep->leader == b->asked) {
			cl->leader_heard_ms = b->sent_ms;
			cl->goodbye_said |= b->leaving;
		}
		if (!lease_unpack_grants(&rep->grants, grants, &nr))
			granted(cl, b, grants, nr);
		if (rep->config_version > cl->config->version)
			config_fetch(cl);
	} else if (cl->leader == b->asked) {
		cl->leader = 0; /* ask another */
	}
	free(b);
}

static size_t copy_positions(struct cluster *cl, struct lease_position *ret)
{
	LOCK_SCOPE(&cl->pos_lock);

	memcpy(ret, cl->pos, cl->nr_pos * sizeof(*ret));
	return cl->nr_pos;
}

/* The leader answers itself. */
static void answer(struct cluster *cl, uint32_t node, bool leaving, const struct lease_position *pos, size_t nr,
		   struct lease_actions *out)
{
	uint64_t now = cluster_now_ms();

	lease_leader_step(&cl->lease_leader,
			  &(struct lease_event){ .type = LEASE_HEARTBEAT,
						 .now_ms = now,
						 .sure = raft_core_leads(cl->core, now) && !cl->transferring,
						 .node = node,
						 .leaving = leaving,
						 .pos = pos,
						 .nr_pos = nr },
			  cl->applied, out);
}

void heartbeat_send(struct cluster *cl)
{
	struct lease_position pos[CONFIG_FS_MAX];
	uint8_t packed[CONFIG_FS_MAX * LEASE_POSITION_LEN];
	size_t nr = copy_positions(cl, pos);
	struct msg_heartbeat_req req = { .leaving = cl->leaving, .config_version = cl->config->version };
	struct beat now = { cl, cluster_now_ms(), 0, cl->leaving }, *b;
	struct rpc_conn *conn;

	if (raft_core_is_leader(cl->core)) {
		struct lease_actions out;

		answer(cl, cl->id.id, cl->leaving, pos, nr, &out);
		cl->goodbye_said |= cl->leaving && cl->lease_leader.leading;
		granted(cl, &now, out.grants, out.nr_grants);
		return;
	}
	conn = link_to_ask(cl);
	b = conn ? malloc(sizeof(*b)) : NULL;
	if (!b)
		return;
	*b = now;
	b->asked = rpc_conn_peer(conn)->node_id;
	req.positions = lease_pack_positions(pos, nr, packed);
	if (rpc_call(conn, MSG_heartbeat, &req, cl->times.lease_ms, beat_done, b) < 0)
		free(b);
}

static void due(uv_timer_t *t)
{
	heartbeat_send(t->data);
}

void heartbeat_start(struct cluster *cl)
{
	uv_timer_init(&cl->loop, &cl->heartbeat_timer);
	cl->heartbeat_timer.data = cl;
	uv_timer_start(&cl->heartbeat_timer, due, 0, cl->times.heartbeat_ms);
}

/* ---- the leader ---- */

void heartbeat_lead(struct cluster *cl, bool leads)
{
	struct lease_actions out;

	lease_leader_step(&cl->lease_leader,
			  &(struct lease_event){ .type = leads ? LEASE_LEAD : LEASE_FOLLOW, .now_ms = cluster_now_ms() },
			  cl->applied, &out);
	cl->lead_tick_ms = 0;
	cl->transferring = false;
}

static void ignore(void *ctx, int status, uint32_t result)
{
	(void)ctx;
	(void)status;
	(void)result;
}

static void describe(struct cluster *cl, const struct wire_writer *w)
{
	struct cmd_fs_change fs;
	struct cmd_node_set_state st;
	const struct config_node *n;

	if (config_cmd_decode(w->buf, w->len, CMD_fs_change, &fs) == 0) {
		log_info("lease", "filesystem %u: node %u takes over at epoch %llu", fs.fs, fs.server,
			 (unsigned long long)fs.expected + 1);
	} else if (config_cmd_decode(w->buf, w->len, CMD_node_set_state, &st) == 0) {
		n = config_node_by_id(cl->applied, st.node);
		log_info("lease", "node %s is %s", n ? n->name : "?", node_state_name(st.state));
	}
}

static void lead_tick(struct cluster *cl, uint64_t now)
{
	uint32_t voters[RAFT_CORE_SERVERS_MAX];
	struct lease_actions out;
	struct lease_event ev = { .type = LEASE_TICK, .now_ms = now, .voters = voters };

	ev.nr_voters = raft_core_voters(cl->core, true, voters);
	lease_leader_step(&cl->lease_leader, &ev, cl->applied, &out);
	for (size_t i = 0; i < out.nr_proposals; i++) {
		describe(cl, &out.proposals[i]);
		propose(cl, out.proposals[i].buf, out.proposals[i].len, ignore, NULL);
	}
	if (cl->lease_leader.leading)
		raft_io_members(cl, out.voters, out.nr_voters);
	lease_actions_release(&out);
}

void heartbeat_tick(struct cluster *cl, uint64_t now)
{
	tell_lost(cl, now);
	if (now < cl->lead_tick_ms)
		return;
	cl->lead_tick_ms = now + CLUSTER_LEAD_TICK_MS;
	if (cl->lease_leader.leading)
		lead_tick(cl, now);
}

static void serve(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	struct cluster *cl = ctx;
	const struct msg_heartbeat_req *req = msg;
	struct msg_heartbeat_rep rep = { .leader = cluster_leader(cl), .config_version = cl->config->version };
	struct lease_position pos[CONFIG_FS_MAX];
	uint8_t packed[CONFIG_FS_MAX * LEASE_GRANT_LEN];
	struct lease_actions out = { 0 };
	size_t nr;
	int r = lease_unpack_positions(&req->positions, pos, &nr);

	/* One that is not sure sends nobody to itself. */
	if (rep.leader == cl->id.id && !raft_core_leads(cl->core, cluster_now_ms()))
		rep.leader = 0;
	if (!r && cl->lease_leader.leading)
		answer(cl, rpc_conn_peer(conn)->node_id, req->leaving, pos, nr, &out);
	rep.grants = lease_pack_grants(out.grants, out.nr_grants, packed);
	/* One that leaves is not made to wait for the tick. */
	if (!r && req->leaving)
		cl->lead_tick_ms = 0;
	rpc_reply(rq, r, &rep);
}

void heartbeat_serve(struct cluster *cl)
{
	rpc_handle(cl->rpc, MSG_heartbeat, serve, cl);
}
