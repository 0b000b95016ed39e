/* The server's half of repl.h: who follows, what is committed, who leaves and who joins the in-sync set. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "cfsd/repl_internal.h"

static struct repl_peer *peer_of(struct repl *r, uint32_t node)
{
	for (size_t i = 0; i < r->nr_peers; i++)
		if (r->peers[i].node == node)
			return &r->peers[i];
	return NULL;
}

static bool required(const struct repl *r, const struct repl_peer *p)
{
	return p->joining || p->maybe || config_fs_in_sync(&r->fs, p->node);
}

void repl_server_resume(struct repl *r, uint64_t now_ms)
{
	/* A follower that could not answer while we were fenced gets its time again. */
	for (size_t i = 0; i < r->nr_peers; i++)
		if (r->peers[i].deadline_ms)
			r->peers[i].deadline_ms = now_ms + r->conf.attach_ms;
}

void repl_server_stop(struct repl *r, struct repl_actions *out)
{
	for (size_t i = 0; i < r->nr_peers; i++)
		if (r->peers[i].following)
			repl_emit(out, REPL_ACT_DROP)->node = r->peers[i].node;
	r->nr_peers = 0;
	r->changing = false;
}

static void adopt_member(struct repl *r, uint32_t node, const struct repl_peer *old, uint64_t now_ms, bool new_epoch)
{
	bool in_sync = config_fs_in_sync(&r->fs, node);
	struct repl_peer *p = &r->peers[r->nr_peers++];

	*p = old ? *old : (struct repl_peer){ .node = node };
	/* The outcome of every earlier proposal is in a configuration of a new epoch. */
	if (new_epoch)
		p->maybe = false;
	if (in_sync)
		p->joining = false;
	else if (!p->maybe)
		p->drop = false;
	if (in_sync && !p->following && !p->drop && !p->deadline_ms)
		p->deadline_ms = now_ms + r->conf.attach_ms;
	if (!in_sync && !p->joining && !p->maybe)
		p->deadline_ms = 0;
}

void repl_server_adopt(struct repl *r, uint64_t now_ms, bool new_epoch)
{
	struct repl_peer old[CONFIG_MEMBERS_MAX];
	size_t nr_old = r->nr_peers;

	memcpy(old, r->peers, sizeof(old));
	r->nr_peers = 0;
	for (size_t i = 0; i < r->fs.nr_members; i++) {
		const struct repl_peer *o = NULL;

		if (r->fs.members[i] == r->conf.self)
			continue;
		for (size_t k = 0; k < nr_old; k++)
			if (old[k].node == r->fs.members[i])
				o = &old[k];
		adopt_member(r, r->fs.members[i], o, now_ms, new_epoch);
	}
	if (r->changing && r->fs.epoch > r->changing_epoch)
		r->changing = false;
}

/* ---- events ---- */

static void refuse(struct repl *r, uint32_t node, int status, struct repl_actions *out)
{
	struct repl_action *a = repl_emit(out, REPL_ACT_REFUSE);

	a->node = node;
	a->status = status;
	a->epoch = r->fs.epoch;
}

static void accept_follower(struct repl *r, struct repl_peer *p, enum repl_mode mode, struct wire_logpos pos,
			    struct repl_actions *out)
{
	struct repl_action *a = repl_emit(out, REPL_ACT_ACCEPT);

	a->node = p->node;
	a->mode = mode;
	a->pos = pos;
	a->epoch = r->fs.epoch;
	p->following = true;
	p->drop = false;
	p->deadline_ms = 0;
}

static void on_attach(struct repl *r, const struct repl_event *ev, struct repl_actions *out)
{
	struct repl_peer *p = peer_of(r, ev->node);
	struct wire_logpos from = ev->pos;
	bool redo = ev->flags & REPL_ATTACH_DIRTY && ev->pos.lsn > 0, tail;

	/* One that is ahead of our configuration asks again when we have it, too. */
	if (r->role != REPL_SERVER || !p || ev->epoch > r->fs.epoch) {
		refuse(r, ev->node, p && r->role == REPL_SERVER ? -EAGAIN : -EREMCHG, out);
		return;
	}
	p->following = false;
	p->joining = p->syncing = p->durable = false;
	tail = !(ev->flags & REPL_ATTACH_LOST) &&
	       (redo ? repl_log_has(r->log, ev->pos) : repl_log_follows(r->log, ev->pos));
	if (!tail && (config_fs_in_sync(&r->fs, p->node) || p->maybe)) {
		/* It may not touch its copy while it counts as one. */
		p->drop = true;
		refuse(r, ev->node, -EAGAIN, out);
		return;
	}
	if (!tail) {
		p->acked = 0;
		accept_follower(r, p, REPL_MODE_COPY, r->last, out);
		return;
	}
	/* The torn last record is sent once more. */
	p->acked = redo ? ev->pos.lsn - 1 : ev->pos.lsn;
	from.lsn = p->acked;
	accept_follower(r, p, REPL_MODE_TAIL, from, out);
	if (p->acked < r->last.lsn) {
		struct repl_action *a = repl_emit(out, REPL_ACT_TAIL);

		a->node = p->node;
		a->pos = from;
		a->epoch = r->fs.epoch;
	}
}

static void on_made(struct repl *r, const struct repl_event *ev, struct repl_actions *out)
{
	assert(r->role == REPL_SERVER && ev->pos.lsn == r->last.lsn + 1);
	r->last = ev->pos;
	for (size_t i = 0; i < r->nr_peers; i++) {
		struct repl_action *a;

		if (!r->peers[i].following)
			continue;
		a = repl_emit(out, REPL_ACT_SEND);
		a->node = r->peers[i].node;
		a->pos = ev->pos;
		a->epoch = r->fs.epoch;
	}
}

static void on_ack(struct repl *r, const struct repl_event *ev)
{
	struct repl_peer *p = peer_of(r, ev->node);

	/* A position that is not in our log is no acknowledgement of it. */
	if (!p || !p->following || ev->pos.lsn <= p->acked || ev->pos.lsn > r->last.lsn)
		return;
	if (repl_log_get(r->log, ev->pos.lsn) && !repl_log_has(r->log, ev->pos))
		return;
	p->acked = ev->pos.lsn;
	p->deadline_ms = 0;
}

static void lose(struct repl *r, struct repl_peer *p)
{
	p->following = false;
	p->joining = p->syncing = p->durable = false;
	p->deadline_ms = 0;
	if (config_fs_in_sync(&r->fs, p->node) || p->maybe)
		p->drop = true;
}

static void on_synced(struct repl *r, const struct repl_event *ev, struct repl_actions *out)
{
	struct repl_peer *p = peer_of(r, ev->node);

	if (!p || !p->syncing)
		return;
	p->syncing = false;
	p->durable = ev->status == 0;
	if (p->durable)
		return;
	repl_emit(out, REPL_ACT_DROP)->node = p->node;
	lose(r, p);
}

void repl_server_event(struct repl *r, const struct repl_event *ev, struct repl_actions *out)
{
	struct repl_peer *p;

	switch (ev->type) {
	case REPL_EV_MADE:
		on_made(r, ev, out);
		break;
	case REPL_EV_ATTACH:
		on_attach(r, ev, out);
		break;
	case REPL_EV_ACK:
		on_ack(r, ev);
		break;
	case REPL_EV_LOST:
		p = peer_of(r, ev->node);
		if (p)
			lose(r, p);
		break;
	case REPL_EV_SYNCED:
		on_synced(r, ev, out);
		break;
	case REPL_EV_CHANGED:
		/* Success, too, is only believed when the configuration arrives. Failure may be success unheard of:
		   the same compare-and-swap again finds out. */
		if (ev->status < 0 && r->changing && ev->epoch == r->changing_epoch) {
			r->changing = false;
			r->change_at_ms = ev->now_ms + r->conf.retry_ms;
		}
		break;
	default:
		assert(false && "not an event of the server");
	}
}

/* ---- what follows ---- */

static void commit(struct repl *r, struct repl_actions *out)
{
	uint64_t upto = r->last.lsn;

	for (size_t i = 0; i < r->nr_peers; i++)
		if (required(r, &r->peers[i]) && r->peers[i].acked < upto)
			upto = r->peers[i].acked;
	if (r->conf.broken_ack_early)
		upto = r->last.lsn;
	if (upto <= r->committed)
		return;
	r->committed = upto;
	repl_emit(out, REPL_ACT_COMMIT)->pos.lsn = upto;
}

/* Late ones are lost; those nearly level are waited for from here on. */
static void watch(struct repl *r, uint64_t now_ms, struct repl_actions *out)
{
	for (size_t i = 0; i < r->nr_peers; i++) {
		struct repl_peer *p = &r->peers[i];

		if (p->deadline_ms && now_ms >= p->deadline_ms) {
			repl_emit(out, REPL_ACT_DROP)->node = p->node;
			lose(r, p);
		}
		if (p->following && !required(r, p) && p->acked && r->last.lsn - p->acked <= r->conf.join_lag)
			p->joining = true;
		/* Whatever is synced from now on is asked of it, too; what was synced so far is committed. */
		if (p->joining && !p->syncing && !p->durable && p->acked >= r->committed) {
			struct repl_action *a = repl_emit(out, REPL_ACT_SYNC);

			a->node = p->node;
			a->pos.lsn = p->acked;
			p->syncing = true;
		}
		if (p->following && required(r, p) && p->acked < r->last.lsn && !p->deadline_ms)
			p->deadline_ms = now_ms + r->conf.ack_ms;
	}
}

static void propose(struct repl *r, struct repl_actions *out, uint32_t server, const uint32_t *in_sync, size_t n)
{
	struct repl_action *a = repl_emit(out, REPL_ACT_CHANGE);

	a->epoch = r->fs.epoch;
	a->server = server;
	memcpy(a->in_sync, in_sync, n * sizeof(*in_sync));
	a->nr_in_sync = n;
	r->changing = true;
	r->changing_epoch = r->fs.epoch;
}

/* The set as it should be: without the lost, with those who joined. Sorted as members are. */
static size_t target_set(struct repl *r, uint32_t set[CONFIG_MEMBERS_MAX], bool *ret_unsure)
{
	bool unsure = false;
	size_t n = 0;

	for (size_t i = 0; i < r->fs.nr_members; i++) {
		struct repl_peer *p = peer_of(r, r->fs.members[i]);
		bool in;

		if (!p) {
			set[n++] = r->conf.self;
			continue;
		}
		unsure |= p->maybe;
		if (config_fs_in_sync(&r->fs, p->node))
			in = !p->drop;
		else
			in = p->following && p->joining && p->acked >= r->committed &&
			     (p->durable || r->conf.broken_join_unsynced);
		if (in)
			set[n++] = p->node;
	}
	*ret_unsure = unsure;
	return n;
}

static void reconfigure(struct repl *r, uint64_t now_ms, struct repl_actions *out)
{
	uint32_t set[CONFIG_MEMBERS_MAX];
	bool unsure, same;
	size_t n;

	if (r->changing || now_ms < r->change_at_ms)
		return;
	n = target_set(r, set, &unsure);
	same = n == r->fs.nr_in_sync && !memcmp(set, r->fs.in_sync, n * sizeof(set[0]));
	/* An earlier proposal of unknown outcome is settled by any that succeeds, even one that changes nothing. */
	if (same && !unsure)
		return;
	for (size_t i = 0; i < n; i++) {
		struct repl_peer *p = peer_of(r, set[i]);

		if (p && !config_fs_in_sync(&r->fs, p->node))
			p->maybe = true;
	}
	propose(r, out, r->conf.self, set, n);
}

void repl_server_settle(struct repl *r, uint64_t now_ms, struct repl_actions *out)
{
	watch(r, now_ms, out);
	commit(r, out);
	reconfigure(r, now_ms, out);
}

bool repl_can_hand_over(const struct repl *r)
{
	for (size_t i = 0; i < r->nr_peers; i++)
		if (config_fs_in_sync(&r->fs, r->peers[i].node) && r->peers[i].following && !r->peers[i].drop)
			return true;
	return false;
}

void repl_server_hand_over(struct repl *r, uint64_t now_ms, struct repl_actions *out)
{
	uint32_t set[CONFIG_MEMBERS_MAX];
	const struct repl_peer *best = NULL;
	size_t n = 0;

	if (r->changing || now_ms < r->change_at_ms)
		return;
	for (size_t i = 0; i < r->fs.nr_in_sync; i++) {
		const struct repl_peer *p = peer_of(r, r->fs.in_sync[i]);

		if (!p || p->drop || !p->following)
			continue;
		set[n++] = p->node;
		if (!best || p->acked > best->acked)
			best = p;
	}
	if (best)
		propose(r, out, best->node, set, n);
}
