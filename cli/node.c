#include "cli/node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Why FILE of the state directory cannot be used. */
static void explain(const char *verb, const char *dir, const char *file, int err)
{
	switch (err) {
	case -EPROTONOSUPPORT:
		fprintf(stderr, "cfs %s: %s/%s was written by a newer version of CFS: install that version\n", verb, dir, file);
		break;
	case -EBADMSG:
	case -EFBIG:
		fprintf(stderr, "cfs %s: %s/%s is damaged\n", verb, dir, file);
		break;
	case -EACCES:
		fprintf(stderr, "cfs %s: %s/%s can be read by root only\n", verb, dir, file);
		break;
	case -EKEYREJECTED:
		fprintf(stderr, "cfs %s: the key or a certificate in %s/%s is damaged, or they do not belong together\n", verb, dir, file);
		break;
	default:
		fprintf(stderr, "cfs %s: %s/%s: %s\n", verb, dir, file, strerror(-err));
	}
}

int cli_node_load(const char *verb, struct cli_node *ret_node)
{
	struct cli_node *n = ret_node;
	char dir[4096];
	int r;

	memset(n, 0, sizeof(*n));
	n->state_dir = state_dir_choose(NULL);
	r = node_identity_load(n->state_dir, &n->id);
	if (r == -ENOENT)
		fprintf(stderr, "cfs %s: this machine is not a node (there is no %s/node): run cfs init or cfs join first\n", verb,
			n->state_dir);
	else if (r)
		explain(verb, n->state_dir, "node", r);
	if (r)
		return r;
	snprintf(dir, sizeof(dir), "%s/tls", n->state_dir);
	r = tls_identity_load(dir, &n->tls);
	if (r) {
		explain(verb, n->state_dir, "tls", r);
		return r;
	}
	r = config_file_load(n->state_dir, &n->config);
	if (r) {
		explain(verb, n->state_dir, "config", r);
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
