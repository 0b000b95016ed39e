/* cfs migrate PID NODE: the same as writing NODE into /cluster/proc/PID/goto, without the mount. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "cli/node.h"
#include "wire/errors.h"
#include "wire/once.h"

#define MOVE_TIMEOUT_MS (10u * 60 * 1000)

static int ask(const struct cli_node *node, const struct msg_goto_req *req)
{
	struct once_peer peer = { node->id.host, (uint16_t)(node->id.port + PORT_MIGRATE) };
	struct msg_goto_rep *rep;
	void *out = NULL;
	int r = once_call(&peer, 1, &node->self, node->tls, MSG_goto, req, MOVE_TIMEOUT_MS, &out);

	if (r) {
		fprintf(stderr, "cfs migrate: cfs-migrated does not answer: %s\n", strerror(-r));
		return 1;
	}
	rep = out;
	r = rep->error ? 1 : 0;
	if (r)
		fprintf(stderr, "cfs migrate: %s%s", rep->reason, strchr(rep->reason, '\n') ? "" : "\n");
	free(out);
	return r;
}

int cmd_migrate(int argc, char **argv)
{
	struct msg_goto_req req = { .uid = getuid() };
	struct cli_node node;
	char *end;
	int r;

	if (argc != 3) {
		fprintf(stderr, "usage: cfs migrate PID NODE\n");
		return 2;
	}
	req.cpid = (uint32_t)strtoul(argv[1], &end, 10);
	if (!*argv[1] || *end || !req.cpid) {
		fprintf(stderr, "cfs migrate: %s is not a pid\n", argv[1]);
		return 2;
	}
	req.node = argv[2];
	if (cli_node_load("migrate", &node))
		return 1;
	r = ask(&node, &req);
	cli_node_release(&node);
	return r;
}
