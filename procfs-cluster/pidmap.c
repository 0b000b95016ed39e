/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "procfs-cluster/pidmap.h"

#include <errno.h>
#include <stdlib.h>

#include "cluster/cpid.h"

void pidmap_init(struct pidmap *m, uint32_t node)
{
	*m = (struct pidmap){ .node = node };
}

void pidmap_release(struct pidmap *m)
{
	free(m->guests);
	pidmap_init(m, m->node);
}

int pidmap_add(struct pidmap *m, const struct pidmap_guest *g)
{
	if (m->nr == m->cap) {
		size_t cap = m->cap ? m->cap * 2 : 64;
		struct pidmap_guest *guests = reallocarray(m->guests, cap, sizeof(*guests));

		if (!guests)
			return -ENOMEM;
		m->guests = guests;
		m->cap = cap;
	}
	m->guests[m->nr++] = *g;
	return 0;
}

static int by_pid(const void *a, const void *b)
{
	const struct pidmap_guest *x = a, *y = b;

	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

void pidmap_sort(struct pidmap *m)
{
	if (m->nr)
		qsort(m->guests, m->nr, sizeof(*m->guests), by_pid);
}

const struct pidmap_guest *pidmap_guest(const struct pidmap *m, uint32_t pid)
{
	const struct pidmap_guest key = { .pid = pid };

	return m->nr ? bsearch(&key, m->guests, m->nr, sizeof(key), by_pid) : NULL;
}

uint32_t pidmap_cpid(void *ctx, uint32_t pid)
{
	const struct pidmap *m = ctx;
	const struct pidmap_guest *g = pidmap_guest(m, pid);

	return g ? g->cpid : cpid_make(m->node, pid);
}

uint32_t pidmap_pid(const struct pidmap *m, uint32_t cpid)
{
	for (size_t i = 0; i < m->nr; i++)
		if (m->guests[i].cpid == cpid)
			return m->guests[i].pid;
	/* A guest's pid is not a second name of it. */
	if (cpid_node(cpid) != m->node || pidmap_guest(m, cpid_pid(cpid)))
		return 0;
	return cpid_pid(cpid);
}

const struct pidmap_guest *pidmap_in_ns(const struct pidmap *m, uint64_t pidns, uint32_t nspid)
{
	for (size_t i = 0; i < m->nr; i++)
		if (m->guests[i].pidns == pidns && m->guests[i].nspid == nspid)
			return &m->guests[i];
	return NULL;
}
