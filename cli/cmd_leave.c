/* cfs leave: this machine is no more of its cluster. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/node.h"
#include "cli/removal.h"

static error_t parse(int key, char *arg, struct argp_state *state)
{
	(void)arg;
	return key == ARGP_KEY_ARG ? (argp_usage(state), 0) : ARGP_ERR_UNKNOWN;
}

/* cfsd holds the lock as long as it lives; held by us, it does not start. Ends with the program. */
static int lock_state(const char *state_dir)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/cfsd.lock", state_dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (fd >= 0 && errno == EWOULDBLOCK)
		fprintf(stderr, "cfs leave: cfsd is running: end it first, then others take over what it serves\n");
	else
		fprintf(stderr, "cfs leave: %s: %s\n", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -EBUSY;
}

int cmd_leave(int argc, char **argv)
{
	struct cli_node n;
	int status = 1;

	cli_parse(argc, argv, NULL, parse, "",
		  "Takes this machine out of its cluster, for good; cfsd must have ended.\v"
		  "Refused while it holds the last in-sync copy of a filesystem. The state directory stays and is of no more use.",
		  NULL);
	if (cli_node_load("leave", &n) < 0)
		return 1;
	if (n.config.nr_nodes == 1)
		fprintf(stderr, "cfs leave: %s is the only node of cluster %s: to give all of it up, remove %s\n", n.id.name,
			n.id.cluster_name, n.state_dir);
	else if (lock_state(n.state_dir) == 0)
		status = cli_remove_node("leave", &n, n.id.id, n.id.name);
	if (!status)
		printf("%s (node %u) has left cluster %s. Remove %s before this machine joins or makes a cluster.\n", n.id.name, n.id.id,
		       n.id.cluster_name, n.state_dir);
	cli_node_release(&n);
	return status;
}
