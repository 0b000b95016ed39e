/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Life of a write: located -> asked -> done; once more from the start when the process had just left. */
#include "procfs-cluster/control.h"

#include <errno.h>
#include <stdlib.h>

struct control {
	struct procfs *fs;
	struct msg_proc_control_req req;
	char target[CONFIG_NAME_MAX];
	bool again;
	control_done done; /* NULL: abandoned */
	void *ctx;
};

static const struct config_node *find_node(const struct config *c, struct text name)
{
	uint64_t number;

	for (size_t i = 0; i < c->nr_nodes; i++)
		if (text_is(name, c->nodes[i].name))
			return &c->nodes[i];
	if (text_u64(name, &number) && number <= UINT32_MAX)
		return config_node_by_id(c, (uint32_t)number);
	return NULL;
}

int control_parse_goto(const struct config *c, const char *buf, size_t len, char ret_target[CONFIG_NAME_MAX])
{
	struct text t = text_of(buf, len), line, word, more;
	const struct config_node *n;

	if (!text_line(&t, &line) || !text_word(&line, &word) || text_word(&line, &more) || text_len(t))
		return -EINVAL;
	if (text_is(word, "home")) {
		strcpy(ret_target, "home");
		return 0;
	}
	n = find_node(c, word);
	if (!n)
		return -EINVAL;
	if (n->state != NODE_UP)
		return -EHOSTUNREACH;
	memcpy(ret_target, n->name, sizeof(n->name));
	return 0;
}

static void end(struct control *c, int status)
{
	locate_forget(c->fs->locator, c->req.cpid);
	scans_expire(c->fs->scans);
	if (c->done)
		c->done(c->ctx, status);
	free(c);
}

static void located(void *ctx, int status, const struct ident *id);

static void answered(void *ctx, int status, const void *rep)
{
	struct control *c = ctx;

	(void)rep;
	if (status == -ESRCH && !c->again) {
		c->again = true;
		locate(c->fs->locator, c->req.cpid, 0, located, c);
	} else {
		end(c, status);
	}
}

static void located(void *ctx, int status, const struct ident *id)
{
	struct control *c = ctx;

	/* A move takes as long as it takes; the connection's end, or an interrupt, ends the waiting. */
	if (status)
		end(c, status);
	else
		remote_call(c->fs->remote, id->node, MSG_proc_control, &c->req, 0, answered, c);
}

void control_write(struct procfs *fs, const struct tree_node *node, uint32_t uid, const char *buf, size_t len,
		   control_done done, void *ctx, struct control **ret_c)
{
	const struct config *config = fs->host->config(fs->host->ctx);
	struct control *c = calloc(1, sizeof(*c));
	int r = !c ? -ENOMEM : node->id == TREE_GOTO ? control_parse_goto(config, buf, len, c->target) : -EACCES;

	*ret_c = NULL;
	if (r < 0) {
		free(c);
		done(ctx, r);
		return;
	}
	c->fs = fs;
	c->done = done;
	c->ctx = ctx;
	c->req = (struct msg_proc_control_req){ .cpid = node->cpid, .uid = uid, .verb = "goto", .argument = c->target };
	*ret_c = c;
	locate(fs->locator, node->cpid, 0, located, c);
}

void control_abandon(struct control *c)
{
	c->done = NULL;
}
