/* Who the command speaks for, and to: the node it runs on, as its state directory says. */
#ifndef CFS_CLI_NODE_H
#define CFS_CLI_NODE_H

#include <stdint.h>

#include "cluster/config.h"
#include "cluster/state_dir.h"
#include "wire/rpc.h"
#include "wire/tls.h"

enum { PORT_CLUSTER = 0, PORT_FILES = 1, PORT_MIGRATE = 2 }; /* added to a node's base port */

struct cli_node {
	const char *state_dir;
	struct node_identity id;
	struct config config;
	struct tls_identity *tls;
	struct rpc_self self; /* role client */
};

/* Loads it; prints why not on stderr ("cfs VERB: ..."). 0 or -errno. */
int cli_node_load(const char *verb, struct cli_node *ret_node);
void cli_node_release(struct cli_node *node);
/* By name or number; NULL after saying so on stderr. */
const struct config_node *cli_node_find(const char *verb, const struct cli_node *node, const char *name);

#endif
