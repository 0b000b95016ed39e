/* What `cfs remove` and `cfs leave` have in common. */
#ifndef CFS_CLI_REMOVAL_H
#define CFS_CLI_REMOVAL_H

#include "cli/node.h"

/*
 * Takes node ID (NAME) out of the cluster that N is a node of, and waits some seconds for what still stands in the way:
 * that its death is noticed, that others take over. Says on stderr why it cannot be done. The exit status of the verb.
 */
int cli_remove_node(const char *verb, const struct cli_node *n, uint32_t id, const char *name);

#endif
