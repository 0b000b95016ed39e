#include "cli/ask.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "wire/once.h"

/* This node first. */
static size_t peers_of(const struct cli_node *n, struct once_peer *ret)
{
	size_t nr = 0;

	ret[nr++] = (struct once_peer){ n->id.host, n->id.port };
	for (size_t i = 0; i < n->config.nr_nodes; i++)
		if (n->config.nodes[i].id != n->id.id)
			ret[nr++] = (struct once_peer){ n->config.nodes[i].host, n->config.nodes[i].port };
	return nr;
}

int cli_ask(const char *verb, enum msg_type type, const void *req, uint32_t timeout_ms, void **ret_rep)
{
	struct once_peer peers[CONFIG_NODES_MAX + 1];
	struct cli_node n;
	size_t nr;
	int r = cli_node_load(verb, &n);

	if (r < 0)
		return r;
	nr = peers_of(&n, peers);
	r = once_call(peers, nr, &n.self, n.tls, type, req, timeout_ms, ret_rep);
	if (r == -ECONNREFUSED || r == -ETIMEDOUT || r == -EHOSTUNREACH)
		fprintf(stderr, "cfs %s: %s (is cfsd running, and has the cluster a quorum?): %s\n", verb,
			nr > 1 ? "no node of the cluster answers" : "this node does not answer", strerror(-r));
	else if (r < 0)
		fprintf(stderr, "cfs %s: the cluster refuses: %s\n", verb, strerror(-r));
	cli_node_release(&n);
	return r;
}
