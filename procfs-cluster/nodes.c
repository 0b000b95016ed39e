/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "procfs-cluster/nodes.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "procfs-cluster/aggregate.h"
#include "procfs-cluster/scan.h"

/* pgrep reads uptime once for every process. All else is read afresh: top takes the difference of two looks at stat. */
#define UPTIME_FRESH_MS 100u
#define PROBE_MS 100u
#define PROBE_EVERY_MS 1000u

struct node_file_copy {
	char *p;
	size_t len;
	uint64_t at_ms; /* 0: never */
};

struct node_info {
	uint32_t id;
	uint64_t silent_until_ms, probed_ms;
	uint64_t btime;
	unsigned cpus;
	struct node_file_copy files[NODE_FILE_NR];
};

struct nodes {
	const struct subtree_host *host;
	struct remote *remote;
	long ticks_per_s;
	size_t nr;
	struct node_info *info[CONFIG_NODES_MAX];
};

int nodes_new(const struct subtree_host *host, struct remote *remote, struct nodes **ret_n)
{
	struct nodes *n = calloc(1, sizeof(*n));

	if (!n)
		return -ENOMEM;
	n->host = host;
	n->remote = remote;
	n->ticks_per_s = sysconf(_SC_CLK_TCK);
	*ret_n = n;
	return 0;
}

void nodes_free(struct nodes *n)
{
	if (!n)
		return;
	for (size_t i = 0; i < n->nr; i++) {
		for (size_t k = 0; k < NODE_FILE_NR; k++)
			free(n->info[i]->files[k].p);
		free(n->info[i]);
	}
	free(n);
}

/* NULL without memory, or when there are more nodes than a configuration can have. */
static struct node_info *get_info(struct nodes *n, uint32_t id)
{
	for (size_t i = 0; i < n->nr; i++)
		if (n->info[i]->id == id)
			return n->info[i];
	if (n->nr == CONFIG_NODES_MAX)
		return NULL;
	n->info[n->nr] = calloc(1, sizeof(**n->info));
	if (!n->info[n->nr])
		return NULL;
	n->info[n->nr]->id = id;
	return n->info[n->nr++];
}

static bool state_answers(enum node_state state)
{
	return state == NODE_UP || state == NODE_SHUTDOWN || state == NODE_GOINGDOWN || state == NODE_COMINGUP;
}

size_t nodes_to_ask(struct nodes *n, uint32_t ids[CONFIG_NODES_MAX])
{
	const struct config *c = n->host->config(n->host->ctx);
	uint64_t now = uv_now(n->host->loop);
	size_t nr = 0;

	for (size_t i = 0; c && i < c->nr_nodes; i++) {
		const struct node_info *info = get_info(n, c->nodes[i].id);

		if (!state_answers(c->nodes[i].state) || !info || info->silent_until_ms > now)
			continue;
		/* insertion keeps them sorted; a configuration is nearly so */
		size_t at = nr++;
		for (; at && ids[at - 1] > info->id; at--)
			ids[at] = ids[at - 1];
		ids[at] = info->id;
	}
	return nr;
}

void nodes_heard(struct nodes *n, uint32_t id, int status)
{
	struct node_info *info = get_info(n, id);
	bool silent = status == -ETIMEDOUT || status == -EHOSTUNREACH;

	if (!info || status == -ECANCELED)
		return;
	if (silent && !info->silent_until_ms)
		log_warn("proc", "node %u does not answer: its processes are left out", id);
	else if (!silent && info->silent_until_ms)
		log_info("proc", "node %u answers again", id);
	if (silent && !info->silent_until_ms)
		info->probed_ms = uv_now(n->host->loop);
	info->silent_until_ms = silent ? uv_now(n->host->loop) + NODES_SILENT_MS : 0;
}

bool nodes_is_silent(struct nodes *n, uint32_t id)
{
	const struct node_info *info = get_info(n, id);

	return info && info->silent_until_ms > uv_now(n->host->loop);
}

/* The kernel takes it from two clocks and rounds: a second more or less is no news, and start times would jump with it. */
static void learn_boot(struct node_info *info, uint64_t btime)
{
	uint64_t apart = btime > info->btime ? btime - info->btime : info->btime - btime;

	if (btime && apart > 1)
		info->btime = btime;
}

uint32_t nodes_patience(struct nodes *n, uint32_t id, uint32_t timeout_ms)
{
	uint64_t now = uv_now(n->host->loop);
	struct node_info *info = get_info(n, id);

	if (!info || info->silent_until_ms <= now)
		return timeout_ms;
	if (now - info->probed_ms < PROBE_EVERY_MS)
		return 0;
	info->probed_ms = now;
	return PROBE_MS;
}

static void store(struct nodes *n, struct node_info *info, unsigned number, struct text t)
{
	struct node_file_copy *f = &info->files[number];
	char *p = malloc(text_len(t) + 1);

	if (!p)
		return;
	memcpy(p, t.p, text_len(t));
	free(f->p);
	*f = (struct node_file_copy){ p, text_len(t), uv_now(n->host->loop) };
	if (number == NODE_FILE_stat) {
		learn_boot(info, aggregate_btime(t));
		info->cpus = aggregate_cpus(t);
	}
}

void nodes_load(struct nodes *n, uint32_t id, const void *packed, size_t len)
{
	struct wire_reader r = { packed, (const uint8_t *)packed + len };
	struct node_info *info = get_info(n, id);
	unsigned number;
	struct text t;

	while (info && scan_get_node(&r, &number, &t) > 0)
		if (number < NODE_FILE_NR)
			store(n, info, number, t);
}

/* ---- asking all ---- */

struct fetch {
	struct nodes *nodes;
	unsigned pending; /* calls, and one for the start */
	nodes_done done;
	void *ctx;
	struct msg_proc_scan_req req;
};

struct fetch_one {
	struct fetch *fetch;
	uint32_t id;
};

static void fetch_unref(struct fetch *f)
{
	if (--f->pending)
		return;
	f->done(f->ctx);
	free(f);
}

static void fetched(void *ctx, int status, const void *rep)
{
	const struct msg_proc_scan_rep *scan = rep;
	struct fetch_one *one = ctx;

	nodes_heard(one->fetch->nodes, one->id, status);
	if (!status)
		nodes_load(one->fetch->nodes, one->id, scan->node.p, scan->node.len);
	fetch_unref(one->fetch);
	free(one);
}

static bool is_fresh(struct nodes *n, uint32_t id, uint32_t mask)
{
	const struct node_info *info = get_info(n, id);
	uint64_t now = uv_now(n->host->loop);

	for (unsigned k = 0; info && k < NODE_FILE_NR; k++)
		if (mask & 1u << k && (k != NODE_FILE_uptime || !info->files[k].at_ms || now - info->files[k].at_ms > UPTIME_FRESH_MS))
			return false;
	return info;
}

void nodes_fetch(struct nodes *n, uint32_t mask, uint32_t only, nodes_done done, void *ctx)
{
	struct fetch *f = malloc(sizeof(*f));
	uint32_t ids[CONFIG_NODES_MAX];
	size_t nr = nodes_to_ask(n, ids);

	if (!f) {
		done(ctx);
		return;
	}
	*f = (struct fetch){ .nodes = n, .pending = 1, .done = done, .ctx = ctx, .req.node_files = mask };
	for (size_t i = 0; i < nr; i++) {
		struct fetch_one *one;

		if ((only && ids[i] != only) || is_fresh(n, ids[i], mask))
			continue;
		one = malloc(sizeof(*one));
		if (!one)
			continue;
		*one = (struct fetch_one){ f, ids[i] };
		f->pending++;
		remote_call(n->remote, ids[i], MSG_proc_scan, &f->req, NODES_TIMEOUT_MS, fetched, one);
	}
	fetch_unref(f);
}

bool nodes_file(struct nodes *n, uint32_t id, unsigned file, struct text *ret)
{
	const struct node_info *info = get_info(n, id);

	/* Older than two rounds: the node has not answered this time. */
	if (!info || !info->files[file].at_ms || info->silent_until_ms ||
	    uv_now(n->host->loop) - info->files[file].at_ms > 2 * NODES_TIMEOUT_MS)
		return false;
	*ret = text_of(info->files[file].p, info->files[file].len);
	return true;
}

bool nodes_boot_known(struct nodes *n, uint32_t id)
{
	const struct node_info *info = get_info(n, id);

	return info && info->btime;
}

int64_t nodes_ticks(struct nodes *n, uint32_t id)
{
	const struct node_info *info = get_info(n, id);
	uint64_t first = info ? info->btime : 0;

	if (!first)
		return 0;
	for (size_t i = 0; i < n->nr; i++)
		if (n->info[i]->btime && !n->info[i]->silent_until_ms && n->info[i]->btime < first)
			first = n->info[i]->btime;
	return (int64_t)(info->btime - first) * n->ticks_per_s;
}

unsigned nodes_first_cpu(struct nodes *n, uint32_t id)
{
	uint32_t ids[CONFIG_NODES_MAX];
	size_t nr = nodes_to_ask(n, ids);
	unsigned first = 0;

	/* As they are joined into the cluster's stat: by ascending id. */
	for (size_t i = 0; i < nr && ids[i] < id; i++)
		first += get_info(n, ids[i])->cpus;
	return first;
}
