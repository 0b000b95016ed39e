/* The node's side of leases (lease.h). The table is small and walked. */
#include "cluster/lease.h"

void lease_node_init(struct lease_node *n, uint32_t self, const struct cluster_times *times)
{
	*n = (struct lease_node){ .self = self, .lease_ms = times->lease_ms };
}

static struct lease_held *held_of(const struct lease_node *n, uint32_t fs)
{
	for (size_t i = 0; i < n->nr_held; i++)
		if (n->held[i].fs == fs)
			return (struct lease_held *)&n->held[i];
	return NULL;
}

static void extend(uint64_t *until, uint64_t to)
{
	/* Answers may come out of order: never back. */
	if (to > *until)
		*until = to;
}

static void granted(struct lease_held *h, uint64_t epoch, uint64_t until)
{
	if (epoch == h->epoch) {
		extend(&h->until_ms, until);
	} else if (epoch == h->ahead_epoch) {
		extend(&h->ahead_until_ms, until);
	} else if (epoch > h->epoch && epoch > h->ahead_epoch) {
		/* The older lease goes on for the record that we know until the newer one arrives. */
		if (h->ahead_epoch) {
			h->epoch = h->ahead_epoch;
			h->until_ms = h->ahead_until_ms;
		}
		h->ahead_epoch = epoch;
		h->ahead_until_ms = until;
	}
}

void lease_node_granted(struct lease_node *n, uint64_t sent_ms, const struct lease_grant *grants, size_t nr_grants)
{
	for (size_t i = 0; i < nr_grants; i++) {
		struct lease_held *h = held_of(n, grants[i].fs);

		if (!h && n->nr_held == CONFIG_FS_MAX)
			continue;
		if (!h) {
			h = &n->held[n->nr_held++];
			*h = (struct lease_held){ .fs = grants[i].fs, .epoch = grants[i].epoch };
		}
		granted(h, grants[i].epoch, sent_ms + n->lease_ms);
	}
}

void lease_node_drop(struct lease_node *n)
{
	for (size_t i = 0; i < n->nr_held; i++)
		n->held[i].until_ms = n->held[i].ahead_until_ms = 0;
}

uint64_t lease_node_until(const struct lease_node *n, const struct config *c, uint32_t fs)
{
	const struct config_fs *f = config_fs_by_id(c, fs);
	const struct lease_held *h = held_of(n, fs);
	uint64_t until = 0;

	if (!f || !h || f->server != n->self)
		return 0;
	/* A grant at a later epoch says nothing about the record we know. */
	if (h->epoch <= f->epoch)
		until = h->until_ms;
	if (h->ahead_epoch && h->ahead_epoch <= f->epoch)
		extend(&until, h->ahead_until_ms);
	return until;
}

bool lease_node_valid(const struct lease_node *n, const struct config *c, uint32_t fs, uint64_t epoch, uint64_t now_ms)
{
	const struct config_fs *f = config_fs_by_id(c, fs);

	return f && f->epoch == epoch && now_ms < lease_node_until(n, c, fs);
}

size_t lease_node_lost(struct lease_node *n, const struct config *c, uint64_t now_ms, uint32_t ret_fs[CONFIG_FS_MAX])
{
	size_t nr = 0;

	for (size_t i = 0; i < n->nr_held; i++) {
		struct lease_held *h = &n->held[i];
		bool valid = now_ms < lease_node_until(n, c, h->fs);

		if (h->reported && !valid)
			ret_fs[nr++] = h->fs;
		h->reported = valid;
	}
	return nr;
}
