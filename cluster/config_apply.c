/*
 * The state machine of the log: one apply_<name>() per row of commands.def. Each checks everything first and changes C
 * only when it will succeed. Pure: the same commands in the same order give the same bytes on every node.
 */
#include <errno.h>
#include <string.h>

#include "cluster/config.h"
#include "common/bytes.h"

/* A used or expired token is remembered this long, so that its use is refused with the right reason. */
enum { TOKEN_KEEP_S = 24 * 3600 };

static struct config_node *node_of(struct config *c, uint32_t id)
{
	return (struct config_node *)config_node_by_id(c, id);
}

static struct config_node *node_of_name(struct config *c, const char *name)
{
	return (struct config_node *)config_node_by_name(c, name);
}

static struct config_fs *fs_of(struct config *c, uint32_t id)
{
	return (struct config_fs *)config_fs_by_id(c, id);
}

/* A name that fits, is not empty, and can stand in a path and in a terminal. */
static bool name_is_good(const char *s, size_t size)
{
	size_t len = strlen(s);

	if (!len || len >= size || s[0] == '.' || s[0] == '-')
		return false;
	for (; *s; s++)
		if ((unsigned char)*s <= ' ' || *s == '/' || *s == 0x7f)
			return false;
	return true;
}

static int apply_bootstrap(struct config *c, const struct cmd_bootstrap *cmd)
{
	return c->cluster_id ? -EEXIST : config_decode(cmd->config.p, cmd->config.len, c);
}

static struct config_token *token_find(struct config *c, const struct wire_blob *sha256)
{
	for (size_t i = 0; i < c->nr_tokens; i++)
		if (sha256->len == sizeof(c->tokens[i].sha256) && !memcmp(c->tokens[i].sha256, sha256->p, sha256->len))
			return &c->tokens[i];
	return NULL;
}

/* An unused, unexpired token. */
static int token_take(struct config *c, const struct wire_blob *sha256, uint64_t now, struct config_token **ret_token)
{
	struct config_token *t = token_find(c, sha256);

	if (!t)
		return -EKEYREJECTED;
	if (t->used || now >= t->expires)
		return -EKEYEXPIRED;
	*ret_token = t;
	return 0;
}

/* The node that the holder of KEY got for token T, as long as it has not come up; else NULL. */
static struct config_node *joined_by(struct config *c, const struct config_token *t, const uint8_t key[32], uint64_t now)
{
	struct config_node *n = t && t->used && now < t->expires ? node_of(c, t->node) : NULL;

	return n && n->state == NODE_NEVERUP && !memcmp(t->key, key, sizeof(t->key)) ? n : NULL;
}

int config_token_check(const struct config *c, const uint8_t sha256[32], const uint8_t key[32], uint64_t now)
{
	struct wire_blob b = { sha256, sizeof(((struct config_token *)0)->sha256) };
	struct config *same = (struct config *)c;
	struct config_token *t;

	return joined_by(same, token_find(same, &b), key, now) ? 0 : token_take(same, &b, now, &t);
}

/* Checks, then adds it, in the place of one that never came up: its own of an earlier try, or another of this name. */
static int add_node(struct config *c, const char *name, const char *host, uint16_t port, struct config_node *earlier)
{
	struct config_node *same = node_of_name(c, name), *n = earlier ? earlier : same;

	if (!name_is_good(name, sizeof(n->name)) || !name_is_good(host, sizeof(n->host)) || !port)
		return -EINVAL;
	if (same && same != earlier && (earlier || same->state != NODE_NEVERUP))
		return -EEXIST;
	if ((!n && c->nr_nodes == CONFIG_NODES_MAX) || (!earlier && c->next_node_id > CONFIG_NODE_ID_MAX))
		return -ENOSPC;
	if (!n)
		n = &c->nodes[c->nr_nodes++];
	*n = (struct config_node){ .id = earlier ? earlier->id : c->next_node_id++, .port = port, .state = NODE_NEVERUP };
	strcpy(n->name, name);
	strcpy(n->host, host);
	return (int)n->id;
}

static int apply_node_add(struct config *c, const struct cmd_node_add *cmd)
{
	struct config_token *token = NULL;
	int r = cmd->token.len ? token_take(c, &cmd->token, cmd->now, &token) : 0;

	if (!r)
		r = add_node(c, cmd->node_name, cmd->host, cmd->port, NULL);
	if (r > 0 && token)
		token->used = true;
	return r;
}

static bool address_is_taken(const struct config *c, const char *host, uint16_t port)
{
	for (size_t i = 0; i < c->nr_nodes; i++) {
		const struct config_node *n = &c->nodes[i];

		if (n->state != NODE_NEVERUP && n->port == port && !strcmp(n->host, host))
			return true;
	}
	return false;
}

static int apply_node_join(struct config *c, const struct cmd_node_join *cmd)
{
	struct config_token *token = token_find(c, &cmd->token);
	struct config_node *earlier;
	int r = 0;

	if (cmd->key.len != sizeof(token->key))
		return -EINVAL;
	earlier = joined_by(c, token, cmd->key.p, cmd->now);
	if (!earlier)
		r = token_take(c, &cmd->token, cmd->now, &token);
	if (!r && address_is_taken(c, cmd->host, cmd->port))
		r = -EADDRINUSE;
	if (!r)
		r = add_node(c, cmd->node_name, cmd->host, cmd->port, earlier);
	if (r > 0) {
		token->used = true;
		token->node = (uint32_t)r;
		memcpy(token->key, cmd->key.p, sizeof(token->key));
	}
	return r;
}

/* What stands in the way of taking the node out of FS: 0, -ENOTEMPTY, -EAGAIN. */
static int may_lose(const struct config_fs *fs, uint32_t node)
{
	bool counts = fs->server == node || config_fs_in_sync(fs, node);

	/* Its server, or who takes over from it, drops it from the set as soon as it is dead. */
	return !counts ? 0 : fs->nr_in_sync > 1 ? -EAGAIN : -ENOTEMPTY;
}

static void take_out(struct config_fs *fs, uint32_t node)
{
	size_t kept = 0;

	for (size_t i = 0; i < fs->nr_members; i++)
		if (fs->members[i] != node)
			fs->members[kept++] = fs->members[i];
	fs->nr_members = kept;
}

static int apply_node_remove(struct config *c, const struct cmd_node_remove *cmd)
{
	struct config_node *n = node_of(c, cmd->node);
	int r = 0;

	if (!n)
		return config_node_was_removed(c, cmd->node) ? 0 : -ENOENT;
	if (n->state != NODE_DOWN && n->state != NODE_NEVERUP)
		return -EBUSY;
	for (size_t i = 0; i < c->nr_fs && r != -ENOTEMPTY; i++) {
		int why = may_lose(&c->fs[i], n->id);

		r = why ? why : r;
	}
	if (r < 0)
		return r;
	for (size_t i = 0; i < c->nr_fs; i++)
		take_out(&c->fs[i], n->id);
	/* The order of nodes is the same everywhere, and stays. */
	memmove(n, n + 1, (size_t)(&c->nodes[c->nr_nodes] - (n + 1)) * sizeof(*n));
	c->nodes[--c->nr_nodes] = (struct config_node){ 0 };
	return 0;
}

static int apply_node_set_state(struct config *c, const struct cmd_node_set_state *cmd)
{
	struct config_node *n = node_of(c, cmd->node);

	if (!n)
		return -ENOENT;
	if (!node_state_may_follow(n->state, cmd->state))
		return -EINVAL;
	n->state = cmd->state;
	return 0;
}

static int apply_node_set_voter(struct config *c, const struct cmd_node_set_voter *cmd)
{
	struct config_node *n = node_of(c, cmd->node);

	if (!n)
		return -ENOENT;
	if (cmd->voter > 1)
		return -EINVAL;
	n->voter = cmd->voter;
	return 0;
}

static int apply_node_set_address(struct config *c, const struct cmd_node_set_address *cmd)
{
	struct config_node *n = node_of(c, cmd->node);

	if (!n)
		return -ENOENT;
	if (!name_is_good(cmd->host, sizeof(n->host)) || !cmd->port)
		return -EINVAL;
	strcpy(n->host, cmd->host);
	n->port = cmd->port;
	return 0;
}

static int apply_fs_create(struct config *c, const struct cmd_fs_create *cmd)
{
	uint32_t id = 1;
	struct config_fs *fs;

	if (!name_is_good(cmd->fs_name, sizeof(fs->name)) || cmd->path[0] != '/' ||
	    strlen(cmd->path) >= sizeof(fs->path))
		return -EINVAL;
	if (!config_node_by_id(c, cmd->server))
		return -ENOENT;
	for (size_t i = 0; i < c->nr_fs; i++) {
		if (!strcmp(c->fs[i].name, cmd->fs_name) || !strcmp(c->fs[i].path, cmd->path))
			return -EEXIST;
		if (c->fs[i].id >= id)
			id = c->fs[i].id + 1;
	}
	if (c->nr_fs == CONFIG_FS_MAX)
		return -ENOSPC;
	fs = &c->fs[c->nr_fs++];
	*fs = (struct config_fs){ .id = id, .epoch = 1, .server = cmd->server, .nr_members = 1, .nr_in_sync = 1 };
	strcpy(fs->name, cmd->fs_name);
	strcpy(fs->path, cmd->path);
	fs->members[0] = fs->in_sync[0] = cmd->server;
	return (int)id;
}

static int apply_fs_change(struct config *c, const struct cmd_fs_change *cmd)
{
	struct config_fs *fs = fs_of(c, cmd->fs);
	struct config_fs new;

	if (!fs)
		return -ENOENT;
	if (fs->epoch != cmd->expected)
		return -EAGAIN;
	new = *fs;
	if (config_ids_set(new.in_sync, &new.nr_in_sync, CONFIG_MEMBERS_MAX, cmd->in_sync.v, cmd->in_sync.n) < 0)
		return -EINVAL;
	for (size_t i = 0; i < new.nr_in_sync; i++)
		if (!config_fs_is_member(fs, new.in_sync[i]))
			return -EINVAL;
	if (!config_fs_in_sync(&new, cmd->server))
		return -EINVAL;
	/* Only one that held every acknowledged operation may take over. */
	if (cmd->server != fs->server && !config_fs_in_sync(fs, cmd->server) && !cmd->force)
		return -EINVAL;
	new.server = cmd->server;
	new.epoch++;
	*fs = new;
	return 0;
}

static int apply_fs_set_members(struct config *c, const struct cmd_fs_set_members *cmd)
{
	struct config_fs *fs = fs_of(c, cmd->fs);
	struct config_fs new;

	if (!fs)
		return -ENOENT;
	if (fs->epoch != cmd->expected)
		return -EAGAIN;
	new = *fs;
	if (config_ids_set(new.members, &new.nr_members, CONFIG_MEMBERS_MAX, cmd->members.v, cmd->members.n) < 0)
		return -EINVAL;
	for (size_t i = 0; i < new.nr_members; i++)
		if (!config_node_by_id(c, new.members[i]))
			return -ENOENT;
	for (size_t i = 0; i < fs->nr_in_sync; i++)
		if (!config_fs_is_member(&new, fs->in_sync[i]))
			return -EINVAL;
	*fs = new;
	return 0;
}

static int apply_token_add(struct config *c, const struct cmd_token_add *cmd)
{
	struct config_token *t;
	size_t kept = 0;

	if (cmd->sha256.len != sizeof(t->sha256) || cmd->expires <= cmd->now)
		return -EINVAL;
	/* Proposed twice, it must not be good twice. */
	if (token_find(c, &cmd->sha256))
		return 0;
	for (size_t i = 0; i < c->nr_tokens; i++)
		if (c->tokens[i].expires + TOKEN_KEEP_S > cmd->now)
			c->tokens[kept++] = c->tokens[i];
	/* Too many to remember: the one that ends first goes. */
	if (kept == CONFIG_TOKENS_MAX) {
		size_t oldest = 0;

		for (size_t i = 1; i < kept; i++)
			if (c->tokens[i].expires < c->tokens[oldest].expires)
				oldest = i;
		c->tokens[oldest] = c->tokens[--kept];
	}
	t = &c->tokens[kept++];
	*t = (struct config_token){ .expires = cmd->expires };
	memcpy(t->sha256, cmd->sha256.p, sizeof(t->sha256));
	c->nr_tokens = kept;
	return 0;
}

static int apply_token_use(struct config *c, const struct cmd_token_use *cmd)
{
	struct config_token *t;
	int r = token_take(c, &cmd->sha256, cmd->now, &t);

	if (r < 0)
		return r;
	t->used = true;
	return 0;
}

int config_apply(struct config *c, const void *buf, size_t len, uint64_t index)
{
	int r = -EBADMSG;

	switch (config_cmd_type(buf, len)) {
#define CMD(number, name, fields)                                   \
	case number: {                                              \
		struct cmd_##name cmd;                              \
		r = config_cmd_decode(buf, len, CMD_##name, &cmd);  \
		if (!r)                                             \
			r = apply_##name(c, &cmd);                  \
		break;                                              \
	}
#include "cluster/commands.def"
#undef CMD
	}
	if (r >= 0)
		c->version = index;
	return r;
}
