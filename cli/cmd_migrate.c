/* cfs migrate PID NODE: the same as writing NODE into /cluster/proc/PID/goto, without the mount. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/args.h"
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
		fprintf(stderr, "cfs migrate: cfs-migrated does not answer on this machine (is cfsd running?): %s\n", strerror(-r));
		return 1;
	}
	rep = out;
	r = rep->error ? 1 : 0;
	if (r)
		fprintf(stderr, "cfs migrate: %s%s", rep->reason, strchr(rep->reason, '\n') ? "" : "\n");
	free(out);
	return r;
}

struct args {
	const char *pid, *node;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		if (state->arg_num > 1)
			argp_usage(state);
		*(state->arg_num ? &a->node : &a->pid) = arg;
		return 0;
	case ARGP_KEY_END:
		if (!a->node)
			argp_usage(state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int parse_pid(const char *text, uint32_t *ret_pid)
{
	unsigned long long pid;
	char *end;

	errno = 0;
	pid = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno || !pid || pid > INT32_MAX)
		return -EINVAL;
	*ret_pid = (uint32_t)pid;
	return 0;
}

int cmd_migrate(int argc, char **argv)
{
	struct msg_goto_req req = { .uid = getuid() };
	struct cli_node node;
	struct args a = { 0 };
	int r;

	cli_parse(argc, argv, NULL, parse, "PID NODE",
		  "Moves the process tree of PID (a cluster pid, or a pid of this node) to NODE, or \"home\".\v"
		  "Returns when it runs there. When it cannot move, the reason is printed and it goes on where it was.",
		  &a);
	if (parse_pid(a.pid, &req.cpid) < 0) {
		fprintf(stderr, "cfs migrate: %s is not a pid\n", a.pid);
		return EXIT_USAGE;
	}
	req.node = a.node;
	if (cli_node_load("migrate", &node))
		return 1;
	r = ask(&node, &req);
	cli_node_release(&node);
	return r;
}
