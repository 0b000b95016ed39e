/* cfs status: the configuration, in words or as JSON. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/ask.h"
#include "cli/cmd.h"

enum { STATUS_MS = 4000 };

static error_t parse(int key, char *arg, struct argp_state *state)
{
	(void)arg;
	if (key != 'j')
		return key == ARGP_KEY_ARG ? (argp_usage(state), 0) : ARGP_ERR_UNKNOWN;
	*(bool *)state->input = true;
	return 0;
}

static const char *name_of(const struct config *c, uint32_t id)
{
	const struct config_node *n = config_node_by_id(c, id);

	return n ? n->name : NULL;
}

static json_t *names(const struct config *c, const uint32_t *ids, size_t nr)
{
	json_t *a = json_array();

	for (size_t i = 0; i < nr; i++)
		json_array_append_new(a, json_string(name_of(c, ids[i])));
	return a;
}

static void print_json(const struct config *c, uint32_t leader, bool quorum)
{
	json_t *nodes = json_array(), *filesystems = json_array(), *all;

	for (size_t i = 0; i < c->nr_nodes; i++) {
		const struct config_node *n = &c->nodes[i];

		json_array_append_new(nodes, json_pack("{s:s, s:i, s:s, s:s, s:i, s:b}", "name", n->name, "id", (int)n->id,
						       "state", node_state_name(n->state), "host", n->host, "port",
						       (int)n->port, "voter", (int)n->voter));
	}
	for (size_t i = 0; i < c->nr_fs; i++) {
		const struct config_fs *fs = &c->fs[i];

		json_array_append_new(filesystems,
				      json_pack("{s:s, s:s, s:s?, s:I, s:o, s:o}", "name", fs->name, "path", fs->path, "server",
						name_of(c, fs->server), "epoch", (json_int_t)fs->epoch, "in_sync",
						names(c, fs->in_sync, fs->nr_in_sync), "members",
						names(c, fs->members, fs->nr_members)));
	}
	all = json_pack("{s:s, s:s?, s:b, s:I, s:o, s:o}", "cluster", c->name, "leader", name_of(c, leader), "quorum",
			(int)quorum, "version", (json_int_t)c->version, "nodes", nodes, "filesystems", filesystems);
	json_dumpf(all, stdout, JSON_INDENT(1));
	puts("");
	json_decref(all);
}

static void print_names(const struct config *c, const uint32_t *ids, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		const char *name = name_of(c, ids[i]);

		printf("%s%s", i ? " " : "", name ? name : "?");
	}
}

static void print_words(const struct config *c, uint32_t leader, bool quorum)
{
	const char *name = name_of(c, leader);

	printf("cluster %s: %s, led by %s\n\n", c->name, quorum ? "quorum" : "NO QUORUM", name ? name : "nobody");
	printf("%-16s %4s %-10s %-24s %s\n", "NODE", "ID", "STATE", "ADDRESS", "VOTES");
	for (size_t i = 0; i < c->nr_nodes; i++) {
		const struct config_node *n = &c->nodes[i];
		char address[CONFIG_ADDRESS_MAX + 16];

		snprintf(address, sizeof(address), strchr(n->host, ':') ? "[%s]:%u" : "%s:%u", n->host, n->port);
		printf("%-16s %4u %-10s %-24s %s\n", n->name, n->id, node_state_name(n->state), address,
		       n->voter ? "yes" : "no");
	}
	printf("\n%-16s %-16s %-16s %6s %s\n", "FILESYSTEM", "PATH", "SERVER", "EPOCH", "IN SYNC (OF)");
	for (size_t i = 0; i < c->nr_fs; i++) {
		const struct config_fs *fs = &c->fs[i];
		const char *server = name_of(c, fs->server);

		printf("%-16s %-16s %-16s %6llu ", fs->name, fs->path, server ? server : "-", (unsigned long long)fs->epoch);
		print_names(c, fs->in_sync, fs->nr_in_sync);
		printf(" (");
		print_names(c, fs->members, fs->nr_members);
		printf(")\n");
	}
}

int cmd_status(int argc, char **argv)
{
	static const struct argp_option options[] = { { "json", 'j', NULL, 0, "As JSON", 0 }, { 0 } };
	struct msg_status_req req = {};
	struct msg_status_rep *rep;
	struct config *c;
	bool json = false;
	void *p;
	int r;

	cli_parse(argc, argv, options, parse, "", "Says what nodes and filesystems the cluster has and how they are.", &json);
	if (cli_ask("status", MSG_status, &req, STATUS_MS, &p) < 0)
		return 1;
	rep = p;
	c = malloc(sizeof(*c));
	r = c ? config_decode(rep->config.p, rep->config.len, c) : -ENOMEM;
	if (r < 0)
		fprintf(stderr, "cfs status: the answer cannot be read: %s\n", strerror(-r));
	else
		(json ? print_json : print_words)(c, rep->leader, rep->quorum);
	free(c);
	free(rep);
	return r < 0;
}
