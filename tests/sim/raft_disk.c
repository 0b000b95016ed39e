#include "tests/sim/raft_disk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* An entry with bytes of its own. */
struct kept {
	uint64_t term;
	uint8_t type;
	void *data;
	uint32_t len;
};

struct write {
	struct raft_disk *disk;
	uint64_t number;
	enum raft_action_kind kind;
	uint64_t index, term, vote, cut;
	struct kept *entries;
	uint32_t nr;
	struct raft_core_snapshot snapshot; /* bytes of its own */
};

struct raft_disk {
	struct world *w;
	uint32_t proc;
	const struct raft_disk_events *ev;
	void *ctx;
	uint64_t numbers, busy_until;
	/* the platter */
	uint64_t term, voted_for, start_index;
	struct raft_core_snapshot snapshot;
	struct kept *log;
	size_t nr, cap;
	struct raft_core_entry *view; /* of the last load */
};

static void *copy(const void *p, size_t len)
{
	void *q = malloc(len ? len : 1);

	assert(q);
	return len ? memcpy(q, p, len) : q;
}

static void snapshot_release(struct raft_core_snapshot *s)
{
	free((void *)s->conf.p);
	free((void *)s->state.p);
	memset(s, 0, sizeof(*s));
}

static void write_free(void *arg)
{
	struct write *wr = arg;

	for (uint32_t i = 0; i < wr->nr; i++)
		free(wr->entries[i].data);
	free(wr->entries);
	snapshot_release(&wr->snapshot);
	free(wr);
}

static void log_cut_front(struct raft_disk *d, uint64_t below)
{
	size_t n = below > d->start_index ? below - d->start_index : 0;

	n = n > d->nr ? d->nr : n;
	for (size_t i = 0; i < n; i++)
		free(d->log[i].data);
	memmove(d->log, d->log + n, (d->nr - n) * sizeof(*d->log));
	d->nr -= n;
	d->start_index += n;
}

static void log_truncate(struct raft_disk *d, uint64_t from)
{
	while (d->nr && d->start_index + d->nr > from)
		free(d->log[--d->nr].data);
}

static void log_append(struct raft_disk *d, const struct kept *k)
{
	if (d->nr == d->cap) {
		d->cap = d->cap ? 2 * d->cap : 64;
		d->log = realloc(d->log, d->cap * sizeof(*d->log));
		assert(d->log);
	}
	d->log[d->nr] = *k;
	d->log[d->nr++].data = copy(k->data, k->len);
}

static void take_snapshot(struct raft_disk *d, struct write *wr)
{
	snapshot_release(&d->snapshot);
	d->snapshot = wr->snapshot;
	memset(&wr->snapshot, 0, sizeof(wr->snapshot));
}

static void synced(void *arg)
{
	struct write *wr = arg;
	struct raft_disk *d = wr->disk;
	uint64_t index = wr->snapshot.index, last = wr->index + wr->nr - 1;

	switch (wr->kind) {
	case RAFT_ACT_HARD_STATE:
		d->term = wr->term;
		d->voted_for = wr->vote;
		d->ev->hard_state(d->ctx, wr->number);
		break;
	case RAFT_ACT_ENTRIES:
		if (!d->nr)
			d->start_index = wr->index;
		log_truncate(d, wr->index);
		assert(d->start_index + d->nr == wr->index);
		for (uint32_t i = 0; i < wr->nr; i++)
			log_append(d, &wr->entries[i]);
		if (wr->nr)
			d->ev->persisted(d->ctx, last, wr->entries[wr->nr - 1].term);
		break;
	case RAFT_ACT_SNAPSHOT:
		take_snapshot(d, wr);
		log_cut_front(d, wr->cut);
		break;
	case RAFT_ACT_SNAPSHOT_INSTALL:
		log_truncate(d, 0);
		d->start_index = index + 1;
		take_snapshot(d, wr);
		d->ev->installed(d->ctx, index);
		break;
	default:
		assert(false);
	}
	write_free(wr);
}

uint64_t raft_disk_write(struct raft_disk *d, const struct raft_action *a, const struct raft_core *rc)
{
	struct write *wr = calloc(1, sizeof(*wr));
	uint64_t delay = world_chance(d->w, 20000) ? world_between(d->w, 20 * MS, 300 * MS) :
						      world_between(d->w, 200, 3000);

	assert(wr);
	*wr = (struct write){ .disk = d,
			      .number = ++d->numbers,
			      .kind = a->kind,
			      .index = a->index,
			      .term = a->term,
			      .vote = a->vote,
			      .cut = a->cut };
	if (a->kind == RAFT_ACT_ENTRIES) {
		wr->nr = a->nr;
		wr->entries = calloc(a->nr ? a->nr : 1, sizeof(*wr->entries));
		assert(wr->entries);
		for (uint32_t i = 0; i < a->nr; i++) {
			struct raft_core_entry e = raft_core_entry(rc, a->index + i);

			wr->entries[i] = (struct kept){ e.term, e.type, copy(e.data, e.len), e.len };
		}
	} else if (a->kind != RAFT_ACT_HARD_STATE) {
		wr->snapshot = a->snapshot;
		wr->snapshot.conf.p = copy(a->snapshot.conf.p, a->snapshot.conf.len);
		wr->snapshot.state.p = copy(a->snapshot.state.p, a->snapshot.state.len);
	}
	if (d->w->now + delay <= d->busy_until) /* in order; equal times keep the order of planning */
		delay = d->busy_until - d->w->now;
	d->busy_until = d->w->now + delay;
	world_after(d->w, d->proc, delay, synced, wr, write_free);
	return wr->number;
}

struct raft_disk *raft_disk_new(struct world *w, uint32_t proc)
{
	struct raft_disk *d = calloc(1, sizeof(*d));

	assert(d);
	d->w = w;
	d->proc = proc;
	d->start_index = 1;
	return d;
}

void raft_disk_free(struct raft_disk *d)
{
	if (!d)
		return;
	log_truncate(d, 0);
	snapshot_release(&d->snapshot);
	free(d->log);
	free(d->view);
	free(d);
}

void raft_disk_attach(struct raft_disk *d, const struct raft_disk_events *ev, void *ctx)
{
	d->ev = ev;
	d->ctx = ctx;
	d->busy_until = d->w->now;
}

void raft_disk_bootstrap(struct raft_disk *d, uint64_t term, uint8_t type, const void *data, size_t len)
{
	struct kept k = { term, type, (void *)data, (uint32_t)len };

	d->term = term;
	log_append(d, &k);
}

void raft_disk_load(struct raft_disk *d, struct raft_core_disk *ret_disk)
{
	d->view = realloc(d->view, (d->nr + 1) * sizeof(*d->view));
	assert(d->view);
	for (size_t i = 0; i < d->nr; i++)
		d->view[i] = (struct raft_core_entry){ d->log[i].term, d->log[i].type, d->log[i].data, d->log[i].len };
	*ret_disk = (struct raft_core_disk){ .term = d->term,
					     .voted_for = d->voted_for,
					     .snapshot = d->snapshot,
					     .start_index = d->nr ? d->start_index : d->snapshot.index + 1,
					     .entries = d->view,
					     .nr_entries = d->nr };
}
