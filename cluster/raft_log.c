/* The core's copy of the log, and owned snapshots. Pure memory. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/raft_internal.h"

uint64_t raft_log_last(const struct raft_mem_log *l)
{
	return l->start + l->nr - 1;
}

const struct raft_core_entry *raft_log_get(const struct raft_mem_log *l, uint64_t index)
{
	return index >= l->start && index - l->start < l->nr ? &l->v[index - l->start] : NULL;
}

int raft_log_append(struct raft_mem_log *l, const struct raft_core_entry *e)
{
	void *data;

	if (l->nr == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;
		struct raft_core_entry *v = realloc(l->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	data = malloc(e->len ? e->len : 1);
	if (!data)
		return -ENOMEM;
	if (e->len)
		memcpy(data, e->data, e->len);
	l->v[l->nr] = *e;
	l->v[l->nr++].data = data;
	return 0;
}

void raft_log_truncate(struct raft_mem_log *l, uint64_t index)
{
	assert(index >= l->start);
	while (l->nr && raft_log_last(l) >= index)
		free((void *)l->v[--l->nr].data);
}

void raft_log_cut(struct raft_mem_log *l, uint64_t start)
{
	size_t n = 0;

	while (n < l->nr && l->start + n < start)
		free((void *)l->v[n++].data);
	if (n)
		memmove(l->v, l->v + n, (l->nr - n) * sizeof(*l->v));
	l->nr -= n;
	l->start += n;
}

void raft_log_reset(struct raft_mem_log *l, uint64_t start)
{
	raft_log_truncate(l, l->start);
	l->start = start;
}

int raft_mem_snapshot_set(struct raft_mem_snapshot *m, const struct raft_core_snapshot *s)
{
	size_t len = (size_t)s->conf.len + s->state.len;
	uint8_t *buf = malloc(len ? len : 1);

	if (!buf)
		return -ENOMEM;
	if (s->conf.len)
		memcpy(buf, s->conf.p, s->conf.len);
	if (s->state.len)
		memcpy(buf + s->conf.len, s->state.p, s->state.len);
	free(m->buf);
	m->buf = buf;
	m->s = *s;
	m->s.conf.p = buf;
	m->s.state.p = buf + s->conf.len;
	return 0;
}

void raft_mem_snapshot_release(struct raft_mem_snapshot *m)
{
	free(m->buf);
	*m = (struct raft_mem_snapshot){ 0 };
}
