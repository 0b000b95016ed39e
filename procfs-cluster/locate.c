/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "procfs-cluster/locate.h"

#include <errno.h>
#include <stdlib.h>

#include "cluster/cpid.h"

#define WHERE_TIMEOUT_MS 1000u
/* A process is found after as many moves in a row as it can make while one asks. */
#define HOPS_MAX 8u
/* Remembered answers; all are dropped when there are more. */
#define KNOWN_MAX 4096u

struct known {
	struct ident id;
	uint64_t at_ms; /* 0: only the node is to be trusted, as a place to ask first */
	UT_hash_handle hh; /* by id.cpid */
};

struct locator {
	const struct subtree_host *host;
	struct remote *remote;
	struct nodes *nodes;
	struct known *known;
};

int locator_new(const struct subtree_host *host, struct remote *remote, struct nodes *nodes, struct locator **ret_l)
{
	struct locator *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->host = host;
	l->remote = remote;
	l->nodes = nodes;
	*ret_l = l;
	return 0;
}

static void drop_all(struct locator *l)
{
	struct known *k, *next;

	HASH_ITER(hh, l->known, k, next) {
		HASH_DEL(l->known, k);
		free(k);
	}
}

void locator_free(struct locator *l)
{
	if (!l)
		return;
	drop_all(l);
	free(l);
}

static struct known *find(struct locator *l, uint32_t cpid)
{
	struct known *k;

	HASH_FIND(hh, l->known, &cpid, sizeof(cpid), k);
	return k;
}

static void learn(struct locator *l, const struct ident *id)
{
	struct known *k = find(l, id->cpid);

	if (!k && HASH_COUNT(l->known) >= KNOWN_MAX)
		drop_all(l);
	if (!k) {
		k = calloc(1, sizeof(*k));
		if (!k)
			return;
		k->id = *id;
		HASH_ADD(hh, l->known, id.cpid, sizeof(k->id.cpid), k);
	}
	k->id = *id;
	k->at_ms = uv_now(l->host->loop);
}

void locate_forget(struct locator *l, uint32_t cpid)
{
	struct known *k = find(l, cpid);

	if (k)
		k->at_ms = 0;
}

/* ---- asking ---- */

enum search { AT_LAST_PLACE, AT_BIRTH, EVERYWHERE };

struct question {
	struct locator *locator;
	struct msg_proc_where_req req;
	enum search search;
	uint32_t node; /* being asked */
	unsigned hops;
	int status; /* what to say when nobody knows */
	uint32_t others[CONFIG_NODES_MAX];
	size_t nr_others, next_other;
	locate_done done;
	void *ctx;
};

static void answered(void *ctx, int status, const void *rep);

static void end(struct question *q, int status, const struct ident *id)
{
	struct known *k = status == -ESRCH ? find(q->locator, q->req.cpid) : NULL;

	if (k) {
		HASH_DEL(q->locator->known, k);
		free(k);
	}
	q->done(q->ctx, status, id);
	free(q);
}

static void ask_next(struct question *q, int status);

static void ask(struct question *q, uint32_t node)
{
	uint32_t timeout_ms = nodes_patience(q->locator->nodes, node, WHERE_TIMEOUT_MS);

	q->node = node;
	if (timeout_ms)
		remote_call(q->locator->remote, node, MSG_proc_where, &q->req, timeout_ms, answered, q);
	else
		ask_next(q, -EHOSTUNREACH);
}

/* The node asked does not have it: whom to ask next? */
static void ask_next(struct question *q, int status)
{
	bool unreachable = status == -EHOSTUNREACH || status == -ETIMEDOUT;

	if (q->search == AT_LAST_PLACE) {
		q->search = AT_BIRTH;
		q->hops = 0;
		ask(q, cpid_node(q->req.cpid));
		return;
	}
	/* Who was born there and is not known there is gone. Only a node that is down cannot say so. */
	if (q->search == AT_BIRTH && unreachable) {
		q->search = EVERYWHERE;
		q->status = -EHOSTUNREACH;
		q->nr_others = nodes_to_ask(q->locator->nodes, q->others);
	} else if (q->search == AT_BIRTH) {
		end(q, status, NULL);
		return;
	}
	while (q->next_other < q->nr_others)
		if (q->others[q->next_other++] != cpid_node(q->req.cpid)) {
			ask(q, q->others[q->next_other - 1]);
			return;
		}
	end(q, q->status, NULL);
}

static void answered(void *ctx, int status, const void *rep)
{
	const struct msg_proc_where_rep *w = rep;
	struct question *q = ctx;

	nodes_heard(q->locator->nodes, q->node, status);
	if (!status && w->node == q->node && w->pid) {
		struct ident id = { q->req.cpid, w->node, w->pid, w->uid, w->gid, w->file_uid, w->file_gid };

		learn(q->locator, &id);
		end(q, 0, &id);
	} else if (!status && w->node && w->node != q->node && q->hops++ < HOPS_MAX) {
		ask(q, w->node);
	} else {
		ask_next(q, status ? status : -ESRCH);
	}
}

void locate(struct locator *l, uint32_t cpid, uint32_t max_age_ms, locate_done done, void *ctx)
{
	struct known *k = find(l, cpid);
	uint32_t first = k ? k->id.node : cpid_node(cpid);
	struct question *q;

	if (k && k->at_ms && max_age_ms && uv_now(l->host->loop) - k->at_ms < max_age_ms) {
		struct ident id = k->id;

		done(ctx, 0, &id);
		return;
	}
	q = first ? malloc(sizeof(*q)) : NULL;
	if (!q) {
		done(ctx, first ? -ENOMEM : -ESRCH, NULL);
		return;
	}
	*q = (struct question){ .locator = l, .req.cpid = cpid, .done = done, .ctx = ctx };
	q->search = first == cpid_node(cpid) ? AT_BIRTH : AT_LAST_PLACE;
	ask(q, first);
}
