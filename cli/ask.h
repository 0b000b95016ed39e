/* One question to the cluster thread of this node, or when it does not answer of another. */
#ifndef CFS_CLI_ASK_H
#define CFS_CLI_ASK_H

#include <stdbool.h>

#include "cli/node.h"

/* As once_call(); says on stderr when nobody answers or the answer is no. The reply is free()d by the caller. */
int cli_ask(const char *verb, enum msg_type type, const void *req, uint32_t timeout_ms, void **ret_rep);
/* The same for a node that is loaded, in silence; SELF_TOO: this node is asked, too. */
int cli_ask_as(const struct cli_node *n, bool self_too, enum msg_type type, const void *req, uint32_t timeout_ms,
	       void **ret_rep);
/* Says on stderr why a question was not answered, or that it was refused. */
void cli_explain(const char *verb, const struct cli_node *n, int err);

#endif
