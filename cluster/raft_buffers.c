/*
 * Who owns the buffers that pass between us and libraft 0.22.1. All of them are raft_malloc'ed. The rules:
 *
 *   START.entries            rv 0: array and batches are the caller's; rv != 0: the library freed both
 *   START.metadata           the struct is the caller's, its configuration moves to the library
 *   RECEIVE message          struct and address are the caller's
 *     AppendEntries          the array is the caller's after the update is consumed; the batch moves to the library and
 *                            comes back in update.entries, or is freed by it
 *     InstallSnapshot        conf and data move to the library; they come back in update.snapshot, or are freed by it
 *                            (leaked while an install is running: G5)
 *   SUBMIT.entries           the array is the caller's; rv 0: batches come back in update.entries of the same step;
 *                            rv != 0: the caller's
 *   update.entries           never free the array (it is inside the message, the caller's array or struct raft); copy,
 *                            then free each distinct batch once
 *   update.snapshot          the chunk is the caller's to free; the configuration too (a fresh one goes into
 *                            PERSISTED_SNAPSHOT)
 *   update.messages          the library's, until the next step
 *   PERSISTED_SNAPSHOT, SNAPSHOT, CONFIGURATION: the configuration moves to the library: a fresh copy each time
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/raft_internal.h"
#include "common/bytes.h"

int raft_buffers_copy(struct raft_buffer *ret_b, const void *data, size_t len)
{
	void *p = raft_malloc(len ? len : 1);

	if (!p)
		return -ENOMEM;
	if (len)
		memcpy(p, data, len);
	*ret_b = (struct raft_buffer){ p, len };
	return 0;
}

/* Entries begin at multiples of 8 inside a batch. */
static size_t padded(size_t len)
{
	return (len + 7) & ~(size_t)7;
}

int raft_buffers_entries(const struct raft_core_entry *from, size_t nr, struct raft_entry **ret_entries)
{
	struct raft_entry *entries;
	size_t len = 8, at = 0; /* never an empty batch */
	uint8_t *batch;

	for (size_t i = 0; i < nr; i++)
		len += padded(from[i].len);
	entries = raft_calloc(nr ? nr : 1, sizeof(*entries));
	batch = raft_malloc(len);
	if (!entries || !batch) {
		raft_free(entries);
		raft_free(batch);
		return -ENOMEM;
	}
	for (size_t i = 0; i < nr; i++) {
		entries[i].term = from[i].term;
		entries[i].type = (enum raft_entry_type)from[i].type;
		entries[i].buf = (struct raft_buffer){ batch + at, from[i].len };
		entries[i].batch = batch;
		if (from[i].len)
			memcpy(batch + at, from[i].data, from[i].len);
		at += padded(from[i].len);
	}
	if (!nr)
		raft_free(batch); /* nothing points to it */
	*ret_entries = entries;
	return 0;
}

static void free_batches(struct raft_entry *entries, unsigned n)
{
	void *last = NULL;

	for (unsigned i = 0; i < n; i++)
		if (entries[i].batch != last) {
			last = entries[i].batch;
			raft_free(last);
		}
}

void raft_buffers_entries_free(struct raft_entry *entries, unsigned n)
{
	if (entries)
		free_batches(entries, n);
	raft_free(entries);
}

int raft_buffers_take_entries(struct raft_core *rc, const struct raft_update *u)
{
	int r = 0;

	raft_log_truncate(&rc->log, u->entries.index);
	for (unsigned i = 0; i < u->entries.n && !r; i++) {
		const struct raft_entry *e = &u->entries.batch[i];

		r = raft_log_append(&rc->log, &(struct raft_core_entry){ .term = e->term,
									 .type = (uint8_t)e->type,
									 .data = e->buf.base,
									 .len = (uint32_t)e->buf.len });
	}
	free_batches(u->entries.batch, u->entries.n);
	return r;
}

int raft_buffers_take_snapshot(struct raft_core *rc, struct raft_update *u)
{
	struct raft_snapshot_metadata *m = &u->snapshot.metadata;
	struct raft_buffer conf = { 0 };
	struct raft_core_snapshot s = { .index = m->index, .term = m->term, .conf_index = m->configuration_index };
	int r = raft_configuration_encode(&m->configuration, &conf) == 0 ? 0 : -ENOMEM;

	if (!r) {
		s.conf = (struct wire_blob){ conf.base, (uint32_t)conf.len };
		s.state = (struct wire_blob){ u->snapshot.chunk.base, (uint32_t)u->snapshot.chunk.len };
		r = raft_mem_snapshot_set(&rc->installing, &s);
	}
	raft_free(conf.base);
	raft_free(u->snapshot.chunk.base);
	raft_configuration_close(&m->configuration);
	return r;
}

/* version u8 = 1, count le64, then per server: id le64, address NUL-ended, role u8; zeros up to a multiple of 8 */
bool raft_membership_is_valid(const void *buf, size_t len)
{
	const uint8_t *p = buf, *end = p + len;
	uint64_t n;

	if (len < 9 || *p++ != 1)
		return false;
	n = get_le64(p);
	p += 8;
	if (!n || n > RAFT_CORE_SERVERS_MAX)
		return false;
	while (n--) {
		const uint8_t *nul;

		if (end - p < 8 || !get_le64(p))
			return false;
		p += 8;
		nul = memchr(p, 0, (size_t)(end - p));
		if (!nul || end - nul < 2 || nul[1] > RAFT_SPARE)
			return false;
		p = nul + 2;
	}
	return end - p < 8;
}

int raft_buffers_configuration(const void *buf, size_t len, struct raft_configuration *ret_conf)
{
	struct raft_buffer b = { (void *)buf, len };
	int rv;

	if (!raft_membership_is_valid(buf, len))
		return -EBADMSG;
	rv = raft_configuration_decode(&b, ret_conf);
	return rv == 0 ? 0 : rv == RAFT_NOMEM ? -ENOMEM : -EBADMSG;
}

void raft_buffers_message_done(struct raft_message *m)
{
	if (m->type == RAFT_APPEND_ENTRIES)
		raft_free(m->append_entries.entries);
}

void raft_buffers_message_dropped(struct raft_message *m)
{
	if (m->type == RAFT_APPEND_ENTRIES) {
		raft_buffers_entries_free(m->append_entries.entries, m->append_entries.n_entries);
	} else if (m->type == RAFT_INSTALL_SNAPSHOT) {
		raft_configuration_close(&m->install_snapshot.conf);
		raft_free(m->install_snapshot.data.base);
	}
}
