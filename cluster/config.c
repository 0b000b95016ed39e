/* The configuration's lookups and its bytes (disk, snapshots, wire). Pure, no state, any thread. */
#include "cluster/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"

/* First field of the bytes; raised when the layout changes, refused when higher. 2: tokens with node and key. */
enum { CONFIG_FORMAT = 2 };

const struct config_node *config_node_by_id(const struct config *c, uint32_t id)
{
	for (size_t i = 0; i < c->nr_nodes; i++)
		if (c->nodes[i].id == id)
			return &c->nodes[i];
	return NULL;
}

const struct config_node *config_node_by_name(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->nr_nodes; i++)
		if (!strcmp(c->nodes[i].name, name))
			return &c->nodes[i];
	return NULL;
}

const struct config_fs *config_fs_by_id(const struct config *c, uint32_t id)
{
	for (size_t i = 0; i < c->nr_fs; i++)
		if (c->fs[i].id == id)
			return &c->fs[i];
	return NULL;
}

const struct config_fs *config_fs_by_name(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->nr_fs; i++)
		if (!strcmp(c->fs[i].name, name))
			return &c->fs[i];
	return NULL;
}

bool config_node_was_removed(const struct config *c, uint32_t id)
{
	return id && id < c->next_node_id && !config_node_by_id(c, id);
}

static bool has_id(const uint32_t *ids, size_t nr_ids, uint32_t id)
{
	for (size_t i = 0; i < nr_ids; i++)
		if (ids[i] == id)
			return true;
	return false;
}

bool config_fs_in_sync(const struct config_fs *fs, uint32_t node)
{
	return has_id(fs->in_sync, fs->nr_in_sync, node);
}

bool config_fs_is_member(const struct config_fs *fs, uint32_t node)
{
	return has_id(fs->members, fs->nr_members, node);
}

const char *node_state_name(enum node_state s)
{
	static const char *const names[] = { "NEVERUP",	  "COMINGUP", "UP",	  "SHUTDOWN",
					     "GOINGDOWN", "KCLEANUP", "UCLEANUP", "DOWN" };

	return (size_t)s < ARRAY_LEN(names) ? names[s] : "UNKNOWN";
}

bool node_state_may_follow(enum node_state from, enum node_state to)
{
	/* Bits of the states that may follow; clusternode_setinfo(3ssi), and DOWN -> COMINGUP for the next start. */
	static const unsigned next[] = {
		[NODE_NEVERUP] = 1 << NODE_COMINGUP,
		[NODE_COMINGUP] = 1 << NODE_UP | 1 << NODE_KCLEANUP,
		[NODE_UP] = 1 << NODE_SHUTDOWN | 1 << NODE_GOINGDOWN | 1 << NODE_KCLEANUP,
		[NODE_SHUTDOWN] = 1 << NODE_UP | 1 << NODE_GOINGDOWN | 1 << NODE_KCLEANUP,
		[NODE_GOINGDOWN] = 1 << NODE_KCLEANUP,
		[NODE_KCLEANUP] = 1 << NODE_UCLEANUP,
		[NODE_UCLEANUP] = 1 << NODE_DOWN,
		[NODE_DOWN] = 1 << NODE_COMINGUP,
	};

	return (size_t)from < ARRAY_LEN(next) && (size_t)to < ARRAY_LEN(next) && next[from] & 1u << to;
}

static int compare_ids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

int config_ids_set(uint32_t *ids, size_t *nr_ids, size_t max, const uint32_t *from, size_t nr_from)
{
	uint32_t sorted[WIRE_U32S_MAX];
	size_t n = 0;

	if (nr_from > ARRAY_LEN(sorted))
		return -E2BIG;
	if (nr_from)
		memcpy(sorted, from, nr_from * sizeof(*from));
	qsort(sorted, nr_from, sizeof(*sorted), compare_ids);
	for (size_t i = 0; i < nr_from; i++)
		if (!i || sorted[i] != sorted[i - 1])
			sorted[n++] = sorted[i];
	if (n > max)
		return -E2BIG;
	memcpy(ids, sorted, n * sizeof(*ids));
	*nr_ids = n;
	return 0;
}

/* ---- bytes ---- */

static void put_u8(struct wire_writer *w, uint8_t v)
{
	wire_put_u8(w, &v);
}

static void put_u32(struct wire_writer *w, uint32_t v)
{
	wire_put_u32(w, &v);
}

static void put_name(struct wire_writer *w, const char *s)
{
	wire_put_name(w, &s);
}

static void put_ids(struct wire_writer *w, const uint32_t *ids, size_t nr_ids)
{
	struct wire_u32s v = { .n = (uint32_t)nr_ids };

	memcpy(v.v, ids, nr_ids * sizeof(*ids));
	wire_put_u32s(w, &v);
}

static void put_node(struct wire_writer *w, const struct config_node *n)
{
	put_u32(w, n->id);
	put_name(w, n->name);
	put_name(w, n->host);
	wire_put_u16(w, &n->port);
	put_u8(w, (uint8_t)n->state);
	put_u8(w, n->voter);
}

static void put_fs(struct wire_writer *w, const struct config_fs *fs)
{
	put_u32(w, fs->id);
	put_name(w, fs->name);
	put_name(w, fs->path);
	wire_put_u64(w, &fs->epoch);
	put_u32(w, fs->server);
	put_ids(w, fs->members, fs->nr_members);
	put_ids(w, fs->in_sync, fs->nr_in_sync);
}

static void put_token(struct wire_writer *w, const struct config_token *t)
{
	struct wire_blob sha = { t->sha256, sizeof(t->sha256) }, key = { t->key, sizeof(t->key) };

	wire_put_blob(w, &sha);
	wire_put_u64(w, &t->expires);
	put_u8(w, t->used);
	put_u32(w, t->node);
	wire_put_blob(w, &key);
}

int config_encode(const struct config *c, void **ret_buf, size_t *ret_len)
{
	struct wire_writer w;

	wire_writer_init(&w);
	put_u32(&w, CONFIG_FORMAT);
	wire_put_u64(&w, &c->version);
	wire_put_u64(&w, &c->cluster_id);
	put_name(&w, c->name);
	put_u32(&w, c->next_node_id);
	put_u32(&w, (uint32_t)c->nr_nodes);
	for (size_t i = 0; i < c->nr_nodes; i++)
		put_node(&w, &c->nodes[i]);
	put_u32(&w, (uint32_t)c->nr_fs);
	for (size_t i = 0; i < c->nr_fs; i++)
		put_fs(&w, &c->fs[i]);
	put_u32(&w, (uint32_t)c->nr_tokens);
	for (size_t i = 0; i < c->nr_tokens; i++)
		put_token(&w, &c->tokens[i]);
	if (w.err) {
		int r = w.err;

		wire_writer_release(&w);
		return r;
	}
	*ret_buf = w.buf;
	*ret_len = w.len;
	return 0;
}

static int get_text(struct wire_reader *r, char *ret, size_t size)
{
	const char *s;
	int e = wire_get_name(r, &s);

	if (e < 0)
		return e;
	if (strlen(s) >= size)
		return -EBADMSG;
	strcpy(ret, s);
	return 0;
}

static int get_flag(struct wire_reader *r, bool *ret)
{
	uint8_t v;
	int e = wire_get_u8(r, &v);

	if (e < 0 || v > 1)
		return -EBADMSG;
	*ret = v;
	return 0;
}

static int get_ids(struct wire_reader *r, uint32_t *ret_ids, size_t *ret_nr)
{
	struct wire_u32s v;
	int e = wire_get_u32s(r, &v);

	return e < 0 ? e : config_ids_set(ret_ids, ret_nr, CONFIG_MEMBERS_MAX, v.v, v.n) < 0 ? -EBADMSG : 0;
}

static int get_node(struct wire_reader *r, struct config_node *n)
{
	uint8_t state;

	if (wire_get_u32(r, &n->id) < 0 || get_text(r, n->name, sizeof(n->name)) < 0 ||
	    get_text(r, n->host, sizeof(n->host)) < 0 || wire_get_u16(r, &n->port) < 0 ||
	    wire_get_u8(r, &state) < 0 || get_flag(r, &n->voter) < 0)
		return -EBADMSG;
	if (!n->id || state > NODE_DOWN)
		return -EBADMSG;
	n->state = state;
	return 0;
}

static int get_fs(struct wire_reader *r, struct config_fs *fs)
{
	if (wire_get_u32(r, &fs->id) < 0 || get_text(r, fs->name, sizeof(fs->name)) < 0 ||
	    get_text(r, fs->path, sizeof(fs->path)) < 0 || wire_get_u64(r, &fs->epoch) < 0 ||
	    wire_get_u32(r, &fs->server) < 0 || get_ids(r, fs->members, &fs->nr_members) < 0 ||
	    get_ids(r, fs->in_sync, &fs->nr_in_sync) < 0)
		return -EBADMSG;
	return fs->id ? 0 : -EBADMSG;
}

static int get_sha256(struct wire_reader *r, uint8_t ret_sha256[32])
{
	struct wire_blob b;

	if (wire_get_blob(r, &b) < 0 || b.len != 32)
		return -EBADMSG;
	memcpy(ret_sha256, b.p, 32);
	return 0;
}

static int get_token(struct wire_reader *r, uint32_t format, struct config_token *t)
{
	if (get_sha256(r, t->sha256) < 0 || wire_get_u64(r, &t->expires) < 0 || get_flag(r, &t->used) < 0)
		return -EBADMSG;
	if (format < 2)
		return 0;
	return wire_get_u32(r, &t->node) < 0 ? -EBADMSG : get_sha256(r, t->key);
}

/* A count of things that follow, at most MAX. */
static int get_count(struct wire_reader *r, size_t max, size_t *ret)
{
	uint32_t n;

	if (wire_get_u32(r, &n) < 0 || n > max)
		return -EBADMSG;
	*ret = n;
	return 0;
}

static int get_lists(struct wire_reader *r, uint32_t format, struct config *c)
{
	if (get_count(r, CONFIG_NODES_MAX, &c->nr_nodes) < 0)
		return -EBADMSG;
	for (size_t i = 0; i < c->nr_nodes; i++)
		if (get_node(r, &c->nodes[i]) < 0)
			return -EBADMSG;
	if (get_count(r, CONFIG_FS_MAX, &c->nr_fs) < 0)
		return -EBADMSG;
	for (size_t i = 0; i < c->nr_fs; i++)
		if (get_fs(r, &c->fs[i]) < 0)
			return -EBADMSG;
	if (get_count(r, CONFIG_TOKENS_MAX, &c->nr_tokens) < 0)
		return -EBADMSG;
	for (size_t i = 0; i < c->nr_tokens; i++)
		if (get_token(r, format, &c->tokens[i]) < 0)
			return -EBADMSG;
	return 0;
}

int config_decode(const void *buf, size_t len, struct config *ret_c)
{
	struct wire_reader r = { buf, (const uint8_t *)buf + len };
	struct config *c;
	uint32_t format;
	int e = -EBADMSG;

	if (wire_get_u32(&r, &format) < 0 || !format)
		return -EBADMSG;
	if (format > CONFIG_FORMAT)
		return -EPROTONOSUPPORT;
	/* Decoded aside: the caller's copy changes only when everything was right. */
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	if (wire_get_u64(&r, &c->version) == 0 && wire_get_u64(&r, &c->cluster_id) == 0 &&
	    get_text(&r, c->name, sizeof(c->name)) == 0 && wire_get_u32(&r, &c->next_node_id) == 0 &&
	    get_lists(&r, format, c) == 0 && r.p == r.end) {
		*ret_c = *c;
		e = 0;
	}
	free(c);
	return e;
}
