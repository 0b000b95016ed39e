/*
 * Messages of the consensus core as bytes: u8 type, then the fields in the order of the library's structs, integers as
 * le64 unless they are flags or small. AppendEntries carries the entries, InstallSnapshot the membership and the state.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/raft_internal.h"

enum { MESSAGE_ENTRIES_MAX = 4096 };

static void put8(struct wire_writer *w, unsigned v)
{
	uint8_t x = (uint8_t)v;

	wire_put_u8(w, &x);
}

static void put16(struct wire_writer *w, unsigned v)
{
	uint16_t x = (uint16_t)v;

	wire_put_u16(w, &x);
}

static void put64(struct wire_writer *w, unsigned long long v)
{
	uint64_t x = v;

	wire_put_u64(w, &x);
}

static int put_append(struct raft_core *rc, raft_id to, const struct raft_append_entries *a, struct wire_writer *w)
{
	unsigned n = raft_guard_entries_for(rc, to, a);

	put8(w, a->version);
	put64(w, a->term);
	put64(w, a->prev_log_index);
	put64(w, a->prev_log_term);
	put64(w, a->leader_commit);
	put64(w, n);
	for (unsigned i = 0; i < n; i++) {
		const struct raft_core_entry *e = raft_log_get(&rc->log, a->prev_log_index + 1 + i);

		if (!e)
			return -ENOENT;
		put64(w, e->term);
		put8(w, e->type);
		wire_put_blob(w, &(struct wire_blob){ e->data, e->len });
	}
	return 0;
}

static int put_install(struct raft_core *rc, const struct raft_install_snapshot *s, struct wire_writer *w)
{
	if (rc->snap.s.index != s->last_index)
		return -ENOENT;
	put8(w, s->version);
	put64(w, s->term);
	put64(w, s->last_index);
	put64(w, s->last_term);
	put64(w, s->conf_index);
	wire_put_blob(w, &rc->snap.s.conf);
	wire_put_blob(w, &rc->snap.s.state);
	return 0;
}

static void put_vote(const struct raft_request_vote *v, struct wire_writer *w)
{
	put8(w, v->version);
	put64(w, v->term);
	put64(w, v->candidate_id);
	put64(w, v->last_log_index);
	put64(w, v->last_log_term);
	put8(w, v->disrupt_leader);
	put8(w, v->pre_vote);
}

static void put_vote_result(const struct raft_request_vote_result *v, struct wire_writer *w)
{
	put8(w, v->version);
	put64(w, v->term);
	put8(w, v->vote_granted);
	put8(w, v->pre_vote);
	put16(w, v->features);
	put16(w, v->capacity);
}

static void put_append_result(const struct raft_append_entries_result *a, struct wire_writer *w)
{
	put8(w, a->version);
	put64(w, a->term);
	put64(w, a->rejected);
	put64(w, a->last_log_index);
	put16(w, a->features);
	put16(w, a->capacity);
}

int raft_message_encode(struct raft_core *rc, const struct raft_message *m, struct wire_writer *w)
{
	int r = 0;

	put8(w, m->type);
	switch (m->type) {
	case RAFT_APPEND_ENTRIES:
		r = put_append(rc, m->server_id, &m->append_entries, w);
		break;
	case RAFT_APPEND_ENTRIES_RESULT:
		put_append_result(&m->append_entries_result, w);
		break;
	case RAFT_REQUEST_VOTE:
		put_vote(&m->request_vote, w);
		break;
	case RAFT_REQUEST_VOTE_RESULT:
		put_vote_result(&m->request_vote_result, w);
		break;
	case RAFT_INSTALL_SNAPSHOT:
		r = put_install(rc, &m->install_snapshot, w);
		break;
	case RAFT_TIMEOUT_NOW:
		put8(w, m->timeout_now.version);
		put64(w, m->timeout_now.term);
		put64(w, m->timeout_now.last_log_index);
		put64(w, m->timeout_now.last_log_term);
		break;
	default:
		r = -EINVAL;
	}
	return r ? r : w->err;
}

/* Readers that remember failure, as the writer does: a torn message is found at the end. */
struct reader {
	struct wire_reader r;
	bool bad;
};

static unsigned char take8(struct reader *d)
{
	uint8_t v = 0;

	d->bad |= wire_get_u8(&d->r, &v) < 0;
	return v;
}

static bool take_flag(struct reader *d)
{
	unsigned char v = take8(d);

	d->bad |= v > 1;
	return v == 1;
}

static unsigned short take16(struct reader *d)
{
	uint16_t v = 0;

	d->bad |= wire_get_u16(&d->r, &v) < 0;
	return v;
}

static uint64_t take64(struct reader *d)
{
	uint64_t v = 0;

	d->bad |= wire_get_u64(&d->r, &v) < 0;
	return v;
}

static struct wire_blob take_blob(struct reader *d)
{
	struct wire_blob b = { 0 };

	d->bad |= wire_get_blob(&d->r, &b) < 0;
	return b;
}

static bool entry_is_good(const struct raft_core_entry *e)
{
	if (!e->term || !e->len || e->type < RAFT_CORE_COMMAND || e->type > RAFT_CORE_CHANGE)
		return false;
	return e->type != RAFT_CORE_CHANGE || raft_membership_is_valid(e->data, e->len);
}

static int take_append(struct reader *d, struct raft_append_entries *a)
{
	struct raft_core_entry *v = NULL;
	uint64_t n;
	int r = 0;

	a->version = take8(d);
	a->term = take64(d);
	a->prev_log_index = take64(d);
	a->prev_log_term = take64(d);
	a->leader_commit = take64(d);
	n = take64(d);
	if (d->bad || n > MESSAGE_ENTRIES_MAX || !a->term || !a->prev_log_index != !a->prev_log_term)
		return -EBADMSG;
	v = calloc(n ? n : 1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (uint64_t i = 0; i < n && !r; i++) {
		struct wire_blob data;

		v[i].term = take64(d);
		v[i].type = take8(d);
		data = take_blob(d);
		v[i].data = data.p;
		v[i].len = data.len;
		r = d->bad || !entry_is_good(&v[i]) ? -EBADMSG : 0;
	}
	if (!r && d->r.p != d->r.end)
		r = -EBADMSG;
	if (!r && n)
		r = raft_buffers_entries(v, n, &a->entries);
	if (!r)
		a->n_entries = (unsigned)n;
	free(v);
	return r;
}

static int take_install(struct reader *d, struct raft_install_snapshot *s)
{
	struct wire_blob conf, state;
	int r;

	s->version = take8(d);
	s->term = take64(d);
	s->last_index = take64(d);
	s->last_term = take64(d);
	s->conf_index = take64(d);
	conf = take_blob(d);
	state = take_blob(d);
	if (d->bad || d->r.p != d->r.end || !s->term || !s->last_index || !s->last_term)
		return -EBADMSG;
	r = raft_buffers_configuration(conf.p, conf.len, &s->conf);
	if (r < 0)
		return r;
	r = raft_buffers_copy(&s->data, state.p, state.len);
	if (r < 0)
		raft_configuration_close(&s->conf);
	return r;
}

static void take_vote(struct reader *d, struct raft_request_vote *v)
{
	v->version = take8(d);
	v->term = take64(d);
	v->candidate_id = take64(d);
	v->last_log_index = take64(d);
	v->last_log_term = take64(d);
	v->disrupt_leader = take_flag(d);
	v->pre_vote = take_flag(d);
}

static void take_vote_result(struct reader *d, struct raft_request_vote_result *v)
{
	v->version = take8(d);
	v->term = take64(d);
	v->vote_granted = take_flag(d);
	v->pre_vote = take_flag(d);
	v->features = take16(d);
	v->capacity = take16(d);
}

static void take_append_result(struct reader *d, struct raft_append_entries_result *a)
{
	a->version = take8(d);
	a->term = take64(d);
	a->rejected = take64(d);
	a->last_log_index = take64(d);
	a->features = take16(d);
	a->capacity = take16(d);
}

int raft_message_decode(const void *buf, size_t len, uint32_t from, const char *address, struct raft_message *ret_m)
{
	struct reader d = { .r = { buf, (const uint8_t *)buf + len } };
	struct raft_message m = { 0 };
	int r = 0;

	m.type = (enum raft_message_type)take8(&d);
	m.server_id = from;
	m.server_address = address;
	switch (m.type) {
	case RAFT_APPEND_ENTRIES:
		r = take_append(&d, &m.append_entries);
		break;
	case RAFT_APPEND_ENTRIES_RESULT:
		take_append_result(&d, &m.append_entries_result);
		break;
	case RAFT_REQUEST_VOTE:
		take_vote(&d, &m.request_vote);
		d.bad |= m.request_vote.candidate_id != from;
		break;
	case RAFT_REQUEST_VOTE_RESULT:
		take_vote_result(&d, &m.request_vote_result);
		break;
	case RAFT_INSTALL_SNAPSHOT:
		r = take_install(&d, &m.install_snapshot);
		break;
	case RAFT_TIMEOUT_NOW:
		m.timeout_now.version = take8(&d);
		m.timeout_now.term = take64(&d);
		m.timeout_now.last_log_index = take64(&d);
		m.timeout_now.last_log_term = take64(&d);
		break;
	default:
		return -EBADMSG;
	}
	if (!r && (d.bad || d.r.p != d.r.end)) {
		raft_buffers_message_dropped(&m);
		r = -EBADMSG;
	}
	if (!r)
		*ret_m = m;
	return r;
}
