/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files of nodes, of all of them together, and of the reader's own. */
#include <errno.h>
#include <stdlib.h>

#include "cluster/cpid.h"
#include "procfs-cluster/aggregate.h"
#include "procfs-cluster/procdir.h"
#include "procfs-cluster/show.h"

#define LOCAL_FILE_MAX (1u << 20)

/* Parts by ascending node id; for version the reader's node comes first. */
static void joined_fetched(void *ctx)
{
	struct aggregate_part parts[CONFIG_NODES_MAX + 1];
	uint32_t ids[CONFIG_NODES_MAX];
	struct show *s = ctx;
	unsigned file = s->entry->arg;
	size_t nr_ids = nodes_to_ask(s->fs->nodes, ids), nr = 0;

	if (file == NODE_FILE_version && nodes_file(s->fs->nodes, s->fs->host->node_id, file, &parts[nr].text))
		nr++;
	for (size_t i = 0; i < nr_ids; i++)
		if (nodes_file(s->fs->nodes, ids[i], file, &parts[nr].text))
			nr++;
	show_end(s, nr ? aggregate_of(file)(parts, nr, &s->out) : -EHOSTUNREACH);
}

void show_joined(struct show *s)
{
	nodes_fetch(s->fs->nodes, 1u << s->entry->arg, 0, joined_fetched, s);
}

static void node_fetched(void *ctx)
{
	struct show *s = ctx;
	struct text t;

	if (nodes_file(s->fs->nodes, s->node.cpid, s->entry->arg, &t))
		show_end(s, text_put(&s->out, t.p, text_len(t)));
	else
		show_end(s, -EHOSTUNREACH);
}

void show_node_file(struct show *s)
{
	nodes_fetch(s->fs->nodes, 1u << s->entry->arg, s->node.cpid, node_fetched, s);
}

void show_local(struct show *s)
{
	char path[128];

	tree_path(s->node.id, path, sizeof(path));
	show_end(s, procdir_read(s->fs->proc_fd, path, LOCAL_FILE_MAX, &s->out));
}

static void put_members(const struct config *c, struct wire_writer *out)
{
	for (size_t i = 0; i < c->nr_nodes; i++)
		text_printf(out, "%u %s %s %s %u\n", c->nodes[i].id, c->nodes[i].name, node_state_name(c->nodes[i].state),
			    c->nodes[i].host, c->nodes[i].port);
}

/* Above every cluster pid there is: programs make their columns as wide as this. */
static uint32_t pid_max(const struct config *c)
{
	uint32_t top = 1;

	for (size_t i = 0; i < c->nr_nodes; i++)
		top = c->nodes[i].id > top ? c->nodes[i].id : top;
	return (top < CPID_NODE_MAX ? cpid_make(top + 1, 0) : INT32_MAX);
}

void show_text(struct show *s)
{
	const struct config *c = s->fs->host->config(s->fs->host->ctx);
	const struct config_node *n;
	int r = 0;

	switch (s->entry->arg) {
	case SHOW_TEXT_MOUNTS:
		r = text_printf(&s->out, "self/mounts");
		break;
	case SHOW_TEXT_PID_MAX:
		r = text_printf(&s->out, "%u\n", pid_max(c));
		break;
	case SHOW_TEXT_NODE_STATE:
		n = config_node_by_id(c, s->node.cpid);
		r = n ? text_printf(&s->out, "%s\n", node_state_name(n->state)) : -ENOENT;
		break;
	case SHOW_TEXT_CLUSTER_NAME:
		r = text_printf(&s->out, "%s\n", c->name);
		break;
	case SHOW_TEXT_MEMBERS:
		put_members(c, &s->out);
		break;
	case SHOW_TEXT_NODENUM:
		r = text_printf(&s->out, "%u\n", s->fs->host->node_id);
		break;
	}
	show_end(s, r);
}
