#include "cli/removal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/ask.h"

enum { ASK_MS = 6000, PAUSE_MS = 250, TRIES_BUSY = 12, TRIES = 40 };

/* Filesystems of which node ID holds an in-sync copy, the last one if LAST. */
static void print_filesystems(const struct config *c, uint32_t id, bool last)
{
	for (size_t i = 0; i < c->nr_fs; i++) {
		const struct config_fs *fs = &c->fs[i];

		if ((fs->server == id || config_fs_in_sync(fs, id)) && (!last || fs->nr_in_sync <= 1))
			fprintf(stderr, " %s", fs->name);
	}
}

static void explain(const char *verb, const struct cli_node *n, const struct config *c, uint32_t id, const char *name, int err)
{
	const struct config_node *node = c ? config_node_by_id(c, id) : NULL;

	switch (err) {
	case -EBUSY:
		fprintf(stderr, "cfs %s: node %s is %s: end cfsd on it first, or if it is dead, wait until the cluster has noticed\n",
			verb, name, node ? node_state_name(node->state) : "not down");
		break;
	case -ENOTEMPTY:
		fprintf(stderr, "cfs %s: node %s holds the last in-sync copy of filesystem", verb, name);
		if (c)
			print_filesystems(c, id, true);
		fprintf(stderr, ": start it, and remove it when cfs status shows another node in sync\n");
		break;
	case -EAGAIN:
		fprintf(stderr, "cfs %s: node %s still counts as an in-sync copy of filesystem", verb, name);
		if (c)
			print_filesystems(c, id, false);
		fprintf(stderr, ": no other node that has one is up to take over\n");
		break;
	default:
		cli_explain(verb, n, err);
	}
}

/* The configuration as it is now, NULL when nobody tells. */
static struct config *ask_config(const struct cli_node *n)
{
	struct msg_status_rep *rep;
	struct config *c;
	void *p;

	if (cli_ask_as(n, true, MSG_status, &(struct msg_status_req){}, ASK_MS, &p) < 0)
		return NULL;
	rep = p;
	c = malloc(sizeof(*c));
	if (c && config_decode(rep->config.p, rep->config.len, c) < 0) {
		free(c);
		c = NULL;
	}
	free(rep);
	return c;
}

int cli_remove_node(const char *verb, const struct cli_node *n, uint32_t id, const char *name)
{
	struct msg_node_remove_req req = { id };
	struct config *c;
	int r = -EAGAIN;

	for (int i = 0; i < TRIES; i++) {
		r = cli_ask_as(n, id != n->id.id, MSG_node_remove, &req, ASK_MS, NULL);
		/* A death is noticed within a second. */
		if (r != -EAGAIN && (r != -EBUSY || i >= TRIES_BUSY))
			break;
		if (i == 3 && isatty(STDERR_FILENO))
			fprintf(stderr, "waiting: node %s still counts ...\n", name);
		nanosleep(&(struct timespec){ 0, PAUSE_MS * 1000000L }, NULL);
	}
	/* Asked twice, the first answer being lost: then it is done, and the gate is closed. */
	if (r == -EKEYREVOKED && id == n->id.id)
		r = 0;
	if (r < 0) {
		c = ask_config(n);
		explain(verb, n, c, id, name, r);
		free(c);
	}
	return r < 0;
}
