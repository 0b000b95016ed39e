#include "cli/node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cli_node_load(const char *verb, struct cli_node *ret_node)
{
	struct cli_node *n = ret_node;
	char dir[4096];
	int r;

	memset(n, 0, sizeof(*n));
	n->state_dir = state_dir_choose(NULL);
	r = node_identity_load(n->state_dir, &n->id);
	if (r == -ENOENT)
		fprintf(stderr, "cfs %s: this machine is not a node: run cfs init or cfs join first\n", verb);
	else if (r)
		fprintf(stderr, "cfs %s: %s: %s\n", verb, n->state_dir, strerror(-r));
	if (r)
		return r;
	snprintf(dir, sizeof(dir), "%s/tls", n->state_dir);
	r = tls_identity_load(dir, &n->tls);
	if (r) {
		fprintf(stderr, "cfs %s: cannot read the node's keys: %s\n", verb, strerror(-r));
		return r;
	}
	r = config_file_load(n->state_dir, &n->config);
	if (r) {
		fprintf(stderr, "cfs %s: the cluster's configuration is not known yet: %s\n", verb, strerror(-r));
		tls_identity_free(n->tls);
		return r;
	}
	n->self = (struct rpc_self){
		.cluster_id = n->id.cluster_id,
		.node_id = n->id.id,
		.role = RPC_ROLE_CLIENT,
		.node_name = n->id.name,
	};
	return 0;
}

void cli_node_release(struct cli_node *node)
{
	tls_identity_free(node->tls);
	node->tls = NULL;
}

const struct config_node *cli_node_find(const char *verb, const struct cli_node *node, const char *name)
{
	const struct config_node *n = config_node_by_name(&node->config, name);

	if (!n && *name && strspn(name, "0123456789") == strlen(name))
		n = config_node_by_id(&node->config, (uint32_t)strtoul(name, NULL, 10));
	if (!n)
		fprintf(stderr, "cfs %s: there is no node %s\n", verb, name);
	return n;
}
