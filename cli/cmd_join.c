/* cfs join: this machine becomes a node of a cluster. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/args.h"
#include "cli/cmd.h"
#include "cluster/token.h"

enum { JOIN_MS = 15000, CLOCK_MIN = 1700000000 };

struct args {
	const char *name, *address, *where, *token;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 'n':
		a->name = arg;
		return 0;
	case 'a':
		a->address = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num > 1)
			argp_usage(state);
		*(state->arg_num ? &a->token : &a->where) = arg;
		return 0;
	case ARGP_KEY_END:
		if (!a->token)
			argp_usage(state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* Before anybody is asked: 0, or -1 and it was said why not. */
static int check_here(const char *token, const char *dir)
{
	struct join_token t;
	int r = join_token_decode(token, &t);

	if (r == -EPROTONOSUPPORT) {
		fprintf(stderr, "cfs join: this token is of a newer version of CFS: install that version\n");
		return -1;
	}
	if (r < 0) {
		fprintf(stderr, "cfs join: this is not a join token, or not all of it: ask for one with cfs token\n");
		return -1;
	}
	r = state_dir_is_free(dir);
	if (r == -EPROTONOSUPPORT)
		fprintf(stderr, "cfs join: %s was written by a newer version of CFS; to give it up, remove it\n", dir);
	else if (r < 0)
		fprintf(stderr, "cfs join: %s is already the state of a node, or what is left of one; to give it up, remove it\n", dir);
	return r < 0 ? -1 : 0;
}

/* A certificate that is not yet valid looks like one that is not any more. */
static bool clock_is_off(void)
{
	return time(NULL) < CLOCK_MIN;
}

/* What happened, to which object. */
static void explain(int r, const struct args *a, const struct node_identity *id)
{
	switch (r) {
	case -EKEYREJECTED:
		fprintf(stderr, "cfs join: %s does not accept this token: it is wrong, or another cluster's\n", a->where);
		break;
	case -EKEYEXPIRED:
		fprintf(stderr, "cfs join: %s\n",
			clock_is_off() ? "this machine's clock is years behind: set it" :
					 "this token was used before or is too old: ask for another one with cfs token");
		break;
	case -ENOTUNIQ:
		fprintf(stderr, "cfs join: the cluster has a node %s already: choose another --name\n", id->name);
		break;
	case -EADDRINUSE:
		fprintf(stderr, "cfs join: %s port %u is the address of another node of the cluster: say --address, or if that node is gone, cfs remove it first\n",
			id->host, id->port);
		break;
	case -EPROTONOSUPPORT:
		fprintf(stderr, "cfs join: %s is of another version of CFS than this machine: install the same one\n", a->where);
		break;
	case -EPROTO:
	case -EBADMSG:
	case -ECONNRESET:
		fprintf(stderr, "cfs join: what answers at %s is not cfsd, or has just ended: is it the right address and port?\n", a->where);
		break;
	case -EHOSTUNREACH:
		fprintf(stderr, "cfs join: %s cannot be reached, or its cluster has no quorum now\n", a->where);
		break;
	case -ECONNREFUSED:
	case -ETIMEDOUT:
	case -ENETUNREACH:
		fprintf(stderr, "cfs join: %s cannot be reached: %s\n", a->where, strerror(-r));
		break;
	case -ENOSPC:
		fprintf(stderr, "cfs join: there is no room: the disk of %s is full, or the cluster has %d nodes, which is the most\n",
			state_dir_choose(NULL), CONFIG_NODES_MAX);
		break;
	case -EACCES:
	case -EROFS:
	case -ENOENT:
		fprintf(stderr, "cfs join: %s: %s\n", state_dir_choose(NULL), strerror(-r));
		break;
	default:
		fprintf(stderr, "cfs join: %s: %s\n", a->where, strerror(-r));
	}
}

/* "-": not where everybody on the machine can read it, in the list of processes. */
static const char *read_token(void)
{
	static char line[4096];

	if (!fgets(line, sizeof(line), stdin))
		return "";
	line[strcspn(line, " \t\r\n")] = 0;
	return line;
}

int cmd_join(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "name", 'n', "NAME", 0, "The node's name [the host's]", 0 },
		{ "address", 'a', "HOST[:PORT]", 0, "Where other nodes reach this one [its first address, port 7480]", 0 },
		{ 0 },
	};
	struct args a = { 0 };
	struct node_identity id;
	char host[256];
	uint16_t port;
	int r;

	cli_parse(argc, argv, options, parse, "HOST[:PORT] TOKEN",
		  "Makes this machine a node of the cluster that HOST is a node of.\v"
		  "TOKEN is what cfs token says on a node of the cluster; it is good for one machine. -: it is read from standard input.",
		  &a);
	if (cli_identity("join", a.name, a.address, &id) < 0)
		return EXIT_USAGE;
	if (cli_split_address(a.where, host, sizeof(host), &port) < 0) {
		fprintf(stderr, "cfs join: %s is not HOST or HOST:PORT\n", a.where);
		return EXIT_USAGE;
	}
	if (!strcmp(a.token, "-"))
		a.token = read_token();
	if (check_here(a.token, state_dir_choose(NULL)) < 0)
		return 1;
	r = state_dir_join(state_dir_choose(NULL), host, port, a.token, &id, JOIN_MS);
	if (r < 0) {
		explain(r, &a, &id);
		return 1;
	}
	printf("%s is node %u of cluster %s. Now start cfsd.\n", id.name, id.id, id.cluster_name);
	return 0;
}
