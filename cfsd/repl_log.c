/* A ring of copied records in lsn order: entry i of the ring holds lsn first + i. */
#include "cfsd/repl_log.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct repl_log {
	struct record *ring; /* batch points at one malloc'ed block that also holds the extents */
	size_t cap, head, n;
	size_t bytes, max_bytes;
	struct wire_logpos base; /* what the oldest record follows; the end of the history when there is none */
	struct wire_logpos last;
};

static struct record *entry(const struct repl_log *log, size_t i)
{
	return &log->ring[(log->head + i) % log->cap];
}

static bool same_pos(struct wire_logpos a, struct wire_logpos b)
{
	return a.epoch == b.epoch && a.lsn == b.lsn;
}

int repl_log_new(size_t max_records, size_t max_bytes, struct repl_log **ret_log)
{
	struct repl_log *log = calloc(1, sizeof(*log));

	assert(max_records > 0);
	if (!log)
		return -ENOMEM;
	log->ring = calloc(max_records, sizeof(*log->ring));
	if (!log->ring) {
		free(log);
		return -ENOMEM;
	}
	log->cap = max_records;
	log->max_bytes = max_bytes;
	*ret_log = log;
	return 0;
}

static void drop_oldest(struct repl_log *log)
{
	struct record *r = entry(log, 0);

	log->base = r->pos;
	log->bytes -= r->batch_len + r->extents_len;
	free((void *)r->batch);
	memset(r, 0, sizeof(*r));
	log->head = (log->head + 1) % log->cap;
	log->n--;
}

void repl_log_reset(struct repl_log *log, struct wire_logpos pos)
{
	while (log->n)
		drop_oldest(log);
	log->base = log->last = pos;
}

void repl_log_free(struct repl_log *log)
{
	if (!log)
		return;
	repl_log_reset(log, (struct wire_logpos){ 0 });
	free(log->ring);
	free(log);
}

int repl_log_append(struct repl_log *log, const struct record *rec)
{
	size_t len = rec->batch_len + rec->extents_len;
	uint8_t *copy;

	if (!same_pos(rec->prev, log->last) || rec->pos.lsn != rec->prev.lsn + 1)
		return -ESTALE;
	copy = malloc(len ? len : 1);
	if (!copy) {
		repl_log_reset(log, rec->pos);
		return -ENOMEM;
	}
	if (rec->batch_len)
		memcpy(copy, rec->batch, rec->batch_len);
	if (rec->extents_len)
		memcpy(copy + rec->batch_len, rec->extents, rec->extents_len);
	if (log->n == log->cap)
		drop_oldest(log);
	*entry(log, log->n) = (struct record){
		.prev = rec->prev,
		.pos = rec->pos,
		.batch = copy,
		.batch_len = rec->batch_len,
		.extents = copy + rec->batch_len,
		.extents_len = rec->extents_len,
	};
	log->n++;
	log->bytes += len;
	log->last = rec->pos;
	/* The newest always stays: it is about to be sent. */
	while (log->bytes > log->max_bytes && log->n > 1)
		drop_oldest(log);
	return 0;
}

const struct record *repl_log_get(const struct repl_log *log, uint64_t lsn)
{
	if (lsn <= log->base.lsn || lsn > log->last.lsn)
		return NULL;
	return entry(log, (size_t)(lsn - log->base.lsn - 1));
}

bool repl_log_has(const struct repl_log *log, struct wire_logpos pos)
{
	const struct record *r = repl_log_get(log, pos.lsn);

	return r && same_pos(r->pos, pos);
}

bool repl_log_follows(const struct repl_log *log, struct wire_logpos pos)
{
	return same_pos(pos, log->base) || repl_log_has(log, pos);
}

struct wire_logpos repl_log_last(const struct repl_log *log)
{
	return log->last;
}
