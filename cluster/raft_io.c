/*
 * Drives the consensus core: disk (raft_store), peers (links), timer. Cluster thread only. Messages that a vote or term
 * must precede to the disk are held until it is there; entries are written while their messages leave.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <utlist.h>

#include "cluster/internal.h"
#include "common/log.h"

/* What one job of the disk will have written. */
struct written {
	struct cluster *cl;
	unsigned nr_votes;
	uint64_t index, term; /* of the last entry; 0: none */
	uint64_t installed;   /* 0: none */
};

static void step(struct cluster *cl, struct raft_core_event *ev);

/* ---- sending ---- */

static void send_now(struct cluster *cl, uint32_t to, const void *data, size_t len)
{
	struct rpc_conn *conn = link_conn(cl, to);
	struct msg_raft_req msg = { { data, (uint32_t)len } };

	/* What cannot be sent is lost; the core sends again. */
	if (conn)
		rpc_send(conn, MSG_raft, &msg);
}

static void send_action(struct cluster *cl, struct raft_action *a)
{
	struct held_send *h;

	if (!cl->nr_unsynced_votes) {
		send_now(cl, a->to, a->data, a->len);
		return;
	}
	h = malloc(sizeof(*h));
	if (!h)
		return;
	*h = (struct held_send){ .to = a->to, .len = a->len, .data = a->data };
	a->data = NULL;
	*cl->held_tail = h;
	cl->held_tail = &h->next;
}

static void release_held(struct cluster *cl, bool send)
{
	while (cl->held) {
		struct held_send *h = cl->held;

		cl->held = h->next;
		if (send)
			send_now(cl, h->to, h->data, h->len);
		free(h->data);
		free(h);
	}
	cl->held_tail = &cl->held;
}

/* ---- the disk ---- */

static void job_done(void *arg)
{
	struct written *w = arg;
	struct cluster *cl = w->cl;

	if (!cl->store) { /* stopped */
		free(w);
		return;
	}
	cl->nr_unsynced_votes -= w->nr_votes;
	if (!cl->nr_unsynced_votes)
		release_held(cl, true);
	if (w->index)
		step(cl, &(struct raft_core_event){ .kind = RAFT_EV_PERSISTED, .index = w->index, .term = w->term });
	if (w->installed)
		step(cl, &(struct raft_core_event){ .kind = RAFT_EV_INSTALLED, .index = w->installed });
	free(w);
}

static int add_entries(struct cluster *cl, struct raft_job *job, const struct raft_action *a)
{
	int r = 0;

	if (a->index <= cl->disk_last)
		raft_job_truncate(job, a->index, cl->disk_last);
	for (uint32_t i = 0; i < a->nr && !r; i++) {
		struct raft_core_entry e = raft_core_entry(cl->core, a->index + i);

		r = raft_job_entry(job, a->index + i, &e);
	}
	cl->disk_last = a->index + a->nr - 1;
	return r;
}

static int add_to_job(struct cluster *cl, struct raft_job *job, struct written *w, const struct raft_action *a)
{
	int r = 0;

	switch (a->kind) {
	case RAFT_ACT_HARD_STATE:
		raft_job_hard_state(job, a->term, a->vote);
		w->nr_votes++;
		break;
	case RAFT_ACT_ENTRIES:
		r = add_entries(cl, job, a);
		w->index = cl->disk_last;
		w->term = a->term;
		break;
	case RAFT_ACT_SNAPSHOT:
		r = raft_job_snapshot(job, &a->snapshot, cl->disk_first, a->cut - 1);
		if (a->cut > cl->disk_first)
			cl->disk_first = a->cut;
		break;
	default: /* SNAPSHOT_INSTALL */
		r = raft_job_snapshot(job, &a->snapshot, cl->disk_first, cl->disk_last);
		w->installed = cl->disk_last = a->index;
		cl->disk_first = a->index + 1;
	}
	return r;
}

static bool is_write(const struct raft_action *a)
{
	return a->kind == RAFT_ACT_HARD_STATE || a->kind == RAFT_ACT_ENTRIES || a->kind == RAFT_ACT_SNAPSHOT ||
	       a->kind == RAFT_ACT_SNAPSHOT_INSTALL;
}

/* All writes of one step are one job. Out of memory: the node ends, as it could not keep its promises. */
static void write_actions(struct cluster *cl, const struct raft_actions *acts)
{
	struct raft_job *job = NULL;
	struct written *w = NULL;
	int r = 0;

	for (size_t i = 0; i < acts->nr && !r; i++) {
		if (!is_write(&acts->v[i]))
			continue;
		if (!job) {
			job = raft_job_new();
			w = calloc(1, sizeof(*w));
			r = job && w ? 0 : -ENOMEM;
		}
		if (!r)
			r = add_to_job(cl, job, w, &acts->v[i]);
	}
	if (r < 0) {
		log_error("cluster", "the raft log cannot be written: %s", strerror(-r));
		abort();
	}
	if (!job)
		return;
	w->cl = cl;
	cl->nr_unsynced_votes += w->nr_votes;
	raft_store_write(cl->store, job, job_done, w);
}

/* ---- actions ---- */

static void apply(struct cluster *cl, const struct raft_action *a)
{
	int r = config_apply(cl->applied, a->data, a->len, a->index);

	propose_applied(cl, a->index, a->term, r);
	if (r >= 0)
		config_adopt(cl, cl->applied);
}

static void restore(struct cluster *cl, const struct raft_action *a)
{
	int r = config_decode(a->data, a->len, cl->applied);

	if (r < 0) {
		log_error("cluster", "the snapshot at %llu cannot be read: %s", (unsigned long long)a->index, strerror(-r));
		abort();
	}
	config_adopt(cl, cl->applied);
}

static void act(struct cluster *cl, struct raft_action *a, bool *want_state)
{
	switch (a->kind) {
	case RAFT_ACT_SEND:
		send_action(cl, a);
		break;
	case RAFT_ACT_APPLY:
		apply(cl, a);
		break;
	case RAFT_ACT_RESTORE:
		restore(cl, a);
		break;
	case RAFT_ACT_WANT_STATE:
		*want_state = true;
		break;
	case RAFT_ACT_LEAD:
		log_info("cluster", "node %u leads the cluster in term %llu", cl->id.id,
			 (unsigned long long)raft_core_term(cl->core));
		heartbeat_lead(cl, true);
		break;
	case RAFT_ACT_FOLLOW:
		log_info("cluster", "node %u leads no more", cl->id.id);
		heartbeat_lead(cl, false);
		propose_lost(cl);
		break;
	case RAFT_ACT_FATAL:
		log_error("cluster", "the log of node %u contradicts what the cluster agreed on, or there is no memory",
			  cl->id.id);
		abort();
	default:
		break;
	}
}

static void raft_due(uv_timer_t *t)
{
	step(t->data, &(struct raft_core_event){ .kind = RAFT_EV_TIMEOUT });
}

static void rearm(struct cluster *cl)
{
	uint64_t now = cluster_now_ms(), at = raft_core_timeout(cl->core);

	uv_update_time(&cl->loop);
	uv_timer_start(&cl->raft_timer, raft_due, at > now ? at - now : 0, 0);
}

static void consume(struct cluster *cl, struct raft_actions *acts)
{
	bool want_state = false;
	void *buf;
	size_t len;

	cl->raft_depth++;
	write_actions(cl, acts);
	for (size_t i = 0; i < acts->nr; i++)
		act(cl, &acts->v[i], &want_state);
	if (want_state && config_encode(cl->applied, &buf, &len) == 0) {
		step(cl, &(struct raft_core_event){ .kind = RAFT_EV_STATE, .data = buf, .len = len });
		free(buf);
	}
	if (--cl->raft_depth)
		return;
	rearm(cl);
	propose_complete(cl);
}

static int step_for(struct cluster *cl, struct raft_core_event *ev, uint64_t *ret_index, uint64_t *ret_term)
{
	struct raft_actions acts;
	int r;

	raft_actions_init(&acts);
	ev->now_ms = cluster_now_ms();
	r = raft_core_step(cl->core, ev, &acts, ret_index, ret_term);
	consume(cl, &acts);
	raft_actions_release(&acts);
	return r;
}

static void step(struct cluster *cl, struct raft_core_event *ev)
{
	step_for(cl, ev, NULL, NULL);
}

/* ---- for the others ---- */

int raft_io_submit(struct cluster *cl, const void *cmd, size_t len, uint64_t *ret_index, uint64_t *ret_term)
{
	return step_for(cl, &(struct raft_core_event){ .kind = RAFT_EV_SUBMIT, .data = cmd, .len = len }, ret_index, ret_term);
}

void raft_io_members(struct cluster *cl, const uint32_t *ids, size_t nr)
{
	step(cl, &(struct raft_core_event){ .kind = RAFT_EV_MEMBERS, .ids = ids, .nr_ids = nr });
}

int raft_io_transfer(struct cluster *cl)
{
	return step_for(cl, &(struct raft_core_event){ .kind = RAFT_EV_TRANSFER }, NULL, NULL);
}

static void serve_raft(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	struct cluster *cl = ctx;
	const struct msg_raft_req *m = msg;
	uint32_t from = rpc_conn_peer(conn)->node_id;
	uint64_t seq = (uint64_t)(uintptr_t)rpc_conn_data(conn);
	struct link *l = link_of(cl, from);

	(void)rq;
	/* G13: what is left in an older connection of the same peer comes too late. */
	if (!l || seq < l->in_seq)
		return;
	l->in_seq = seq;
	step(cl, &(struct raft_core_event){ .kind = RAFT_EV_RECEIVE, .from = from, .data = m->message.p, .len = m->message.len });
}

void raft_io_serve(struct cluster *cl)
{
	rpc_handle(cl->rpc, MSG_raft, serve_raft, cl);
}

int raft_io_open(struct cluster *cl)
{
	char *dir;
	int r;

	if (asprintf(&dir, "%s/cluster", cl->state_dir) < 0)
		return -ENOMEM;
	r = raft_store_open(dir, &cl->store);
	free(dir);
	return r;
}

int raft_io_start(struct cluster *cl)
{
	const struct raft_core_disk *disk;
	struct raft_core_conf conf = { .id = cl->id.id,
				       .election_ms = cl->times.raft_election_ms,
				       .heartbeat_ms = cl->times.raft_heartbeat_ms };
	struct raft_actions acts;
	int r;

	cl->held_tail = &cl->held;
	uv_timer_init(&cl->loop, &cl->raft_timer);
	cl->raft_timer.data = cl;
	while (getrandom(&conf.seed, sizeof(conf.seed), 0) < 0)
		;
	r = raft_store_load(cl->store, &disk);
	if (r < 0)
		return r;
	cl->disk_first = disk->start_index;
	cl->disk_last = disk->start_index + disk->nr_entries - 1;
	r = raft_store_start(cl->store, cl->mb);
	raft_actions_init(&acts);
	if (!r)
		r = raft_core_new(&conf, cluster_now_ms(), disk, &acts, &cl->core);
	raft_store_unload(cl->store);
	if (!r)
		consume(cl, &acts);
	raft_actions_release(&acts);
	return r;
}

void raft_io_stop(struct cluster *cl)
{
	uv_close((uv_handle_t *)&cl->raft_timer, NULL);
	raft_store_close(cl->store);
	cl->store = NULL; /* what the writer still reported is dropped */
	release_held(cl, false);
	raft_core_free(cl->core);
	cl->core = NULL;
}
