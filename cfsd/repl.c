/* Which role this node has in a filesystem, and the passage from one role to another. */
#include "cfsd/repl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "cfsd/repl_internal.h"

int repl_new(const struct repl_conf *conf, const struct repl_log *log, uint32_t flags, struct repl **ret_r)
{
	struct repl *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->conf = *conf;
	r->log = log;
	r->flags = flags;
	if (conf->broken_trust_lost && flags & REPL_ATTACH_SURVIVED)
		r->flags &= ~(uint32_t)(REPL_ATTACH_LOST | REPL_ATTACH_SURVIVED);
	r->last = repl_log_last(log);
	*ret_r = r;
	return 0;
}

void repl_free(struct repl *r)
{
	free(r);
}

struct repl_action *repl_emit(struct repl_actions *out, enum repl_action_type type)
{
	struct repl_action *a = &out->v[out->n];

	assert(out->n < REPL_ACTIONS_MAX);
	out->n++;
	*a = (struct repl_action){ .type = type };
	return a;
}

bool repl_same_pos(struct wire_logpos a, struct wire_logpos b)
{
	return a.epoch == b.epoch && a.lsn == b.lsn;
}

static enum repl_role role_now(const struct repl *r)
{
	if (r->fs.epoch == 0 || !config_fs_is_member(&r->fs, r->conf.self))
		return REPL_NONE;
	if (r->fs.server == r->conf.self) {
		bool fit = r->lease && repl_copy(r) == LEASE_COPY_WHOLE;

		return fit && r->fence_epoch <= r->fs.epoch ? REPL_SERVER : REPL_FENCED;
	}
	return config_fs_in_sync(&r->fs, r->conf.self) ? REPL_STANDBY : REPL_OUT;
}

/* SAME_EPOCH: members may have been added, which needs no compare-and-swap. */
enum config_news { CONFIG_NO_NEWS, CONFIG_SAME_EPOCH, CONFIG_NEW_EPOCH };

static void start_serving(struct repl *r, uint64_t now_ms, bool from_server, struct repl_actions *out)
{
	/* One epoch further we were the server before and after: nobody served in between. */
	bool fresh = !(r->served && (from_server || r->fs.epoch <= r->served_epoch + 1));
	struct repl_action *a = repl_emit(out, REPL_ACT_START);

	a->epoch = r->fs.epoch;
	a->fresh = fresh;
	a->pos = r->last;
	r->served = true;
	r->served_epoch = r->fs.epoch;
	/* What our store holds is the truth now, torn or not. */
	r->flags &= ~(uint32_t)REPL_ATTACH_DIRTY;
	if (fresh)
		repl_server_stop(r, out);
	else if (!from_server)
		repl_server_resume(r, now_ms);
	repl_server_adopt(r, now_ms, true);
}

/* The recorded server lost writes: alone in sync it goes on with what is left. The lease says that the record is new. */
static void recover(struct repl *r, uint64_t now_ms, struct repl_actions *out)
{
	if (!r->lease || r->fence_epoch > r->fs.epoch || r->fs.nr_in_sync > 1 || repl_copy(r) != LEASE_COPY_SURVIVED)
		return;
	if (r->recovering || now_ms < r->recover_at_ms)
		return;
	r->recovering = true;
	repl_emit(out, REPL_ACT_RECOVER)->epoch = r->fs.epoch;
}

static void on_recovered(struct repl *r, const struct repl_event *ev)
{
	r->recovering = false;
	r->recover_at_ms = ev->now_ms + 100 * r->conf.retry_ms;
	if (ev->status < 0 || r->role != REPL_FENCED || ev->epoch != r->fs.epoch)
		return;
	r->flags = 0;
	r->last = ev->pos;
}

/* Brings role, peers and source in line with configuration, lease and fences. */
static void settle(struct repl *r, uint64_t now_ms, enum config_news news, struct repl_actions *out)
{
	enum repl_role was = r->role, is = role_now(r);
	bool recorded = is == REPL_SERVER || is == REPL_FENCED;

	r->role = is;
	if (was == REPL_SERVER && is != REPL_SERVER)
		repl_emit(out, REPL_ACT_STOP);
	if (!recorded) {
		repl_server_stop(r, out);
		r->served = false;
	}
	repl_member_source(r, is == REPL_STANDBY || is == REPL_OUT ? r->fs.server : 0, now_ms, out);
	if (is == REPL_SERVER && (was != REPL_SERVER || news == CONFIG_NEW_EPOCH))
		start_serving(r, now_ms, was == REPL_SERVER, out);
	else if (recorded && news == CONFIG_SAME_EPOCH)
		repl_server_adopt(r, now_ms, false);
	if (is == REPL_SERVER)
		repl_server_settle(r, now_ms, out);
	else if (recorded && r->broken)
		repl_server_hand_over(r, now_ms, out);
	else if (recorded)
		recover(r, now_ms, out);
	else
		repl_member_settle(r, now_ms, out);
}

static enum config_news take_config(struct repl *r, const struct config_fs *fs)
{
	bool newer = fs->epoch > r->fs.epoch;

	if (fs->epoch < r->fs.epoch)
		return CONFIG_NO_NEWS;
	r->fs = *fs;
	if (newer && fs->server != r->conf.self)
		r->lease = false;
	return newer ? CONFIG_NEW_EPOCH : CONFIG_SAME_EPOCH;
}

static void break_store(struct repl *r, uint64_t now_ms, struct repl_actions *out)
{
	r->broken = true;
	r->flags = (r->flags | REPL_ATTACH_LOST) & ~(uint32_t)REPL_ATTACH_SURVIVED;
	repl_member_leave(r, now_ms, out);
}

void repl_step(struct repl *r, const struct repl_event *ev, struct repl_actions *out)
{
	enum config_news news = CONFIG_NO_NEWS;

	out->n = 0;
	switch (ev->type) {
	case REPL_EV_TICK:
		break;
	case REPL_EV_CONFIG:
		news = take_config(r, ev->fs);
		break;
	case REPL_EV_LEASE:
		r->lease = ev->valid;
		break;
	case REPL_EV_BROKEN:
		break_store(r, ev->now_ms, out);
		break;
	case REPL_EV_RECOVERED:
		on_recovered(r, ev);
		break;
	case REPL_EV_REFUSED:
		if (ev->epoch > r->fs.epoch && ev->epoch > r->fence_epoch)
			r->fence_epoch = ev->epoch;
		break;
	case REPL_EV_MADE:
	case REPL_EV_ATTACH:
	case REPL_EV_ACK:
	case REPL_EV_LOST:
	case REPL_EV_CHANGED:
	case REPL_EV_SYNCED:
		repl_server_event(r, ev, out);
		break;
	case REPL_EV_ATTACHED:
	case REPL_EV_DETACHED:
	case REPL_EV_RECORD:
	case REPL_EV_COPIED:
		repl_member_event(r, ev, out);
		break;
	}
	settle(r, ev->now_ms, news, out);
}

enum repl_role repl_role(const struct repl *r)
{
	return r->role;
}

const char *repl_role_name(enum repl_role role)
{
	static const char *const names[] = { "none", "out of sync", "standby", "serving", "fenced" };

	return (size_t)role < sizeof(names) / sizeof(names[0]) ? names[role] : "?";
}

uint64_t repl_epoch(const struct repl *r)
{
	return r->fs.epoch;
}

const struct config_fs *repl_config(const struct repl *r)
{
	return &r->fs;
}

struct wire_logpos repl_position(const struct repl *r)
{
	return r->last;
}

uint64_t repl_committed(const struct repl *r)
{
	return r->committed;
}

enum lease_copy repl_copy(const struct repl *r)
{
	if (r->broken || r->copying)
		return LEASE_COPY_NONE;
	if (!(r->flags & REPL_ATTACH_LOST))
		return LEASE_COPY_WHOLE;
	return r->flags & REPL_ATTACH_SURVIVED ? LEASE_COPY_SURVIVED : LEASE_COPY_NONE;
}

bool repl_waits_for(const struct repl *r, uint32_t node)
{
	for (size_t i = 0; i < r->nr_peers; i++)
		if (r->peers[i].node == node)
			return r->peers[i].joining || r->peers[i].maybe || config_fs_in_sync(&r->fs, node);
	return false;
}
