/* cfs init: the first node of a new cluster. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/cmd.h"

struct args {
	const char *name, *cluster, *address;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 'n':
		a->name = arg;
		return 0;
	case 'c':
		a->cluster = arg;
		return 0;
	case 'a':
		a->address = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const char *reason(int r)
{
	switch (r) {
	case -EEXIST:
		return "it is already the state of a node, or what is left of one; to give it up, remove it";
	case -EPROTONOSUPPORT:
		return "it was written by a newer version of CFS; to give it up, remove it";
	default:
		return strerror(-r);
	}
}

int cmd_init(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "name", 'n', "NAME", 0, "The node's name [the host's]", 0 },
		{ "cluster", 'c', "NAME", 0, "The cluster's name [cfs]", 0 },
		{ "address", 'a', "HOST[:PORT]", 0, "Where other nodes reach this one [its first address, port 7480]", 0 },
		{ 0 },
	};
	struct args a = { .cluster = "cfs" };
	struct node_identity id;
	int r;

	cli_parse(argc, argv, options, parse, "", "Makes this machine the first node of a new cluster.", &a);
	if (cli_identity("init", a.name, a.address, &id) < 0)
		return EXIT_USAGE;
	if (!*a.cluster || strlen(a.cluster) >= sizeof(id.cluster_name)) {
		fprintf(stderr, "cfs init: %s cannot be the name of a cluster (--cluster)\n", a.cluster);
		return EXIT_USAGE;
	}
	strcpy(id.cluster_name, a.cluster);
	id.id = 1;
	r = state_dir_init(state_dir_choose(NULL), &id);
	if (r < 0) {
		fprintf(stderr, "cfs init: %s: %s\n", state_dir_choose(NULL), reason(r));
		return 1;
	}
	printf("%s is the first node of cluster %s, at %s port %u. Now start cfsd.\n", id.name, id.cluster_name, id.host, id.port);
	return 0;
}
