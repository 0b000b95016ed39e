/* One question to the cluster thread of this node, or when it does not answer of another. */
#ifndef CFS_CLI_ASK_H
#define CFS_CLI_ASK_H

#include "cli/node.h"

/* As once_call(); says on stderr when nobody answers. The reply is free()d by the caller. */
int cli_ask(const char *verb, enum msg_type type, const void *req, uint32_t timeout_ms, void **ret_rep);

#endif
