/* What can be asked of the core between its steps, and the first membership of a new cluster. */
#include <errno.h>
#include <stdio.h>

#include "cluster/raft_internal.h"

uint64_t raft_core_timeout(const struct raft_core *rc)
{
	return raft_guard_timeout(rc, raft_timeout(&rc->r));
}

struct raft_core_entry raft_core_entry(const struct raft_core *rc, uint64_t index)
{
	const struct raft_core_entry *e = raft_log_get(&rc->log, index);

	return e ? *e : (struct raft_core_entry){ 0 };
}

uint64_t raft_core_term(const struct raft_core *rc)
{
	return raft_current_term(&rc->r);
}

uint64_t raft_core_applied(const struct raft_core *rc)
{
	return rc->applied;
}

uint64_t raft_core_commit(const struct raft_core *rc)
{
	return raft_commit_index(&rc->r);
}

uint64_t raft_core_last(const struct raft_core *rc)
{
	return raft_log_last(&rc->log);
}

uint32_t raft_core_leader(const struct raft_core *rc)
{
	const char *address;
	raft_id id = 0;

	raft_leader((struct raft *)&rc->r, &id, &address);
	return (uint32_t)id;
}

bool raft_core_is_leader(const struct raft_core *rc)
{
	return rc->r.state == RAFT_LEADER;
}

static size_t ids_of(const struct raft_configuration *c, bool voters, uint32_t *ret_ids)
{
	size_t n = 0;

	for (unsigned i = 0; i < c->n && n < RAFT_CORE_SERVERS_MAX; i++)
		if (!voters || c->servers[i].role == RAFT_VOTER)
			ret_ids[n++] = (uint32_t)c->servers[i].id;
	return n;
}

size_t raft_core_voters(const struct raft_core *rc, bool committed, uint32_t ret_ids[RAFT_CORE_SERVERS_MAX])
{
	return ids_of(committed ? &rc->r.configuration_committed : &rc->r.configuration, true, ret_ids);
}

size_t raft_core_servers(const struct raft_core *rc, uint32_t ret_ids[RAFT_CORE_SERVERS_MAX])
{
	return ids_of(&rc->r.configuration, false, ret_ids);
}

bool raft_core_leads(const struct raft_core *rc, uint64_t now_ms)
{
	uint32_t ids[RAFT_CORE_SERVERS_MAX];

	if (rc->r.state != RAFT_LEADER || rc->applied_term != rc->r.current_term || rc->r.leader_state.transferee)
		return false;
	/* The library notes when a majority last answered as the start of its timer. */
	return raft_core_voters(rc, false, ids) == 1 || now_ms < rc->r.election_timer_start + rc->conf.election_ms;
}

int raft_core_bootstrap(const uint32_t *voters, size_t nr_voters, void **ret_buf, size_t *ret_len)
{
	struct raft_configuration c;
	struct raft_buffer b = { 0 };
	int rv = 0;

	raft_configuration_init(&c);
	for (size_t i = 0; i < nr_voters && !rv; i++) {
		char address[24];

		snprintf(address, sizeof(address), "%u", voters[i]);
		rv = raft_configuration_add(&c, voters[i], address, RAFT_VOTER);
	}
	if (!rv)
		rv = raft_configuration_encode(&c, &b);
	raft_configuration_close(&c);
	if (rv != 0)
		return rv == RAFT_NOMEM ? -ENOMEM : -EINVAL;
	*ret_buf = b.base;
	*ret_len = b.len;
	return 0;
}
