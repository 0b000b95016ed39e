#include "cli/ask.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "wire/once.h"

/* This node first. */
static size_t peers_of(const struct cli_node *n, bool self_too, struct once_peer *ret)
{
	size_t nr = 0;

	if (self_too)
		ret[nr++] = (struct once_peer){ n->id.host, n->id.port };
	for (size_t i = 0; i < n->config.nr_nodes; i++)
		if (n->config.nodes[i].id != n->id.id)
			ret[nr++] = (struct once_peer){ n->config.nodes[i].host, n->config.nodes[i].port };
	return nr;
}

int cli_ask_as(const struct cli_node *n, bool self_too, enum msg_type type, const void *req, uint32_t timeout_ms,
	       void **ret_rep)
{
	struct once_peer peers[CONFIG_NODES_MAX + 1];
	size_t nr = peers_of(n, self_too, peers);

	return once_call(peers, nr, &n->self, n->tls, type, req, timeout_ms, ret_rep);
}

void cli_explain(const char *verb, const struct cli_node *n, int err)
{
	switch (err) {
	case -ECONNREFUSED:
	case -ETIMEDOUT:
	case -ENETUNREACH:
		fprintf(stderr, "cfs %s: cfsd does not answer on this machine (node %s)%s: %s\n", verb, n->id.name,
			n->config.nr_nodes > 1 ? ", nor on any other node of the cluster" : "", strerror(-err));
		break;
	case -EHOSTUNREACH:
		fprintf(stderr, "cfs %s: cluster %s has no quorum now, or none of its nodes can be reached\n", verb,
			n->id.cluster_name);
		break;
	case -EKEYREVOKED:
		fprintf(stderr, "cfs %s: this node (%s, %u) was removed from cluster %s: to use the machine again, remove %s and join\n",
			verb, n->id.name, n->id.id, n->id.cluster_name, n->state_dir);
		break;
	case -EPROTONOSUPPORT:
		fprintf(stderr, "cfs %s: cfsd is of another version than this command (protocol %u): install one version\n", verb,
			WIRE_VERSION);
		break;
	case -EKEYREJECTED:
	case -EKEYEXPIRED:
		fprintf(stderr, "cfs %s: the certificate in %s/tls is not accepted: %s\n", verb, n->state_dir, strerror(-err));
		break;
	case -EACCES:
		fprintf(stderr, "cfs %s: what answers at the addresses of cluster %s is of another cluster\n", verb, n->id.cluster_name);
		break;
	case -EPROTO:
	case -EBADMSG:
		fprintf(stderr, "cfs %s: what answers at the addresses of cluster %s is not cfsd\n", verb, n->id.cluster_name);
		break;
	case -ESHUTDOWN:
	case -ECONNRESET:
		fprintf(stderr, "cfs %s: cfsd ended before it had answered: try again\n", verb);
		break;
	default:
		fprintf(stderr, "cfs %s: cluster %s refuses: %s\n", verb, n->id.cluster_name, strerror(-err));
	}
}

int cli_ask(const char *verb, enum msg_type type, const void *req, uint32_t timeout_ms, void **ret_rep)
{
	struct cli_node n;
	int r = cli_node_load(verb, &n);

	if (r < 0)
		return r;
	r = cli_ask_as(&n, true, type, req, timeout_ms, ret_rep);
	if (r < 0)
		cli_explain(verb, &n, r);
	cli_node_release(&n);
	return r;
}
