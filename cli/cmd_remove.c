/* cfs remove: a node that will not come back is no more of the cluster. */
#include <stdio.h>

#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/node.h"
#include "cli/removal.h"

static error_t parse(int key, char *arg, struct argp_state *state)
{
	const char **name = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		if (state->arg_num > 0)
			argp_usage(state);
		*name = arg;
		return 0;
	case ARGP_KEY_END:
		if (!*name)
			argp_usage(state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int cmd_remove(int argc, char **argv)
{
	const struct config_node *node;
	const char *name = NULL;
	struct cli_node n;
	int status = 1;

	cli_parse(argc, argv, NULL, parse, "NODE",
		  "Takes a node that is down out of the cluster, for good.\v"
		  "Its membership in filesystems ends, its certificate is refused from then on, and its number is not used again. "
		  "Refused while it is up, or holds the last in-sync copy of a filesystem. To take out this machine: cfs leave.",
		  &name);
	if (cli_node_load("remove", &n) < 0)
		return 1;
	node = cli_node_find("remove", &n, name);
	if (node && node->id == n.id.id)
		fprintf(stderr, "cfs remove: %s is this machine: use cfs leave\n", node->name);
	else if (node)
		status = cli_remove_node("remove", &n, node->id, node->name);
	if (!status)
		printf("%s (node %u) is no more of cluster %s.\n", node->name, node->id, n.id.cluster_name);
	cli_node_release(&n);
	return status;
}
