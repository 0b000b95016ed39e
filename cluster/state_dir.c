/* The files of the state directory (state_dir.h). Blocking; at start, by commands and by the worker. */
#include "cluster/state_dir.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <raft.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster/raft_store.h"
#include "common/cleanup.h"
#include "common/file.h"
#include "wire/tls.h"

enum { NODE_FORMAT = 1, FILE_MAX = 1 << 20 };

const char *state_dir_choose(const char *given)
{
	const char *env = getenv(STATE_DIR_ENV);

	return given ? given : env && *env ? env : STATE_DIR_DEFAULT;
}

static char *path_of(const char *dir, const char *name)
{
	char *p;

	return asprintf(&p, "%s/%s", dir, name) < 0 ? NULL : p;
}

/* ---- node ---- */

static int get_text(const json_t *j, const char *key, char *ret, size_t size)
{
	const char *s = json_string_value(json_object_get(j, key));

	if (!s || strlen(s) >= size)
		return -EBADMSG;
	strcpy(ret, s);
	return 0;
}

static int parse_identity(const json_t *j, struct node_identity *ret_id)
{
	struct node_identity id = { 0 };
	json_int_t format = json_integer_value(json_object_get(j, "format"));
	json_int_t number = json_integer_value(json_object_get(j, "id"));
	json_int_t port = json_integer_value(json_object_get(j, "port"));
	char cluster[17], *end;

	if (format > NODE_FORMAT)
		return -EPROTONOSUPPORT;
	if (format < 1 || number < 1 || number > CONFIG_NODE_ID_MAX || port < 1 || port > UINT16_MAX ||
	    get_text(j, "cluster", cluster, sizeof(cluster)) < 0 || get_text(j, "name", id.name, sizeof(id.name)) < 0 ||
	    get_text(j, "cluster_name", id.cluster_name, sizeof(id.cluster_name)) < 0 ||
	    get_text(j, "host", id.host, sizeof(id.host)) < 0)
		return -EBADMSG;
	id.cluster_id = strtoull(cluster, &end, 16);
	if (!id.cluster_id || *end)
		return -EBADMSG;
	id.id = (uint32_t)number;
	id.port = (uint16_t)port;
	*ret_id = id;
	return 0;
}

int node_identity_load(const char *state_dir, struct node_identity *ret_id)
{
	_cleanup_free_ char *buf = NULL;
	size_t len;
	json_t *j;
	int r = file_load(state_dir, "node", FILE_MAX, &buf, &len);

	if (r < 0)
		return r;
	j = json_loadb(buf, len, 0, NULL);
	r = j ? parse_identity(j, ret_id) : -EBADMSG;
	json_decref(j);
	return r;
}

int node_identity_store(const char *state_dir, const struct node_identity *id)
{
	_cleanup_free_ char *text = NULL;
	char cluster[17];
	json_t *j;

	snprintf(cluster, sizeof(cluster), "%016" PRIx64, id->cluster_id);
	j = json_pack("{s:i, s:s, s:s, s:i, s:s, s:s, s:i}", "format", NODE_FORMAT, "cluster", cluster, "cluster_name",
		      id->cluster_name, "id", (int)id->id, "name", id->name, "host", id->host, "port", (int)id->port);
	text = j ? json_dumps(j, JSON_INDENT(1)) : NULL;
	json_decref(j);
	return text ? file_replace(state_dir, "node", text, strlen(text), 0644, true) : -ENOMEM;
}

/* ---- config ---- */

int config_file_load(const char *state_dir, struct config *ret_c)
{
	_cleanup_free_ char *buf = NULL;
	size_t len;
	int r = file_load(state_dir, "config", FILE_MAX, &buf, &len);

	return r < 0 ? r : config_decode(buf, len, ret_c);
}

int config_file_store(const char *state_dir, const struct config *c)
{
	_cleanup_free_ void *buf = NULL;
	size_t len;
	int r = config_encode(c, &buf, &len);

	return r < 0 ? r : file_replace(state_dir, "config", buf, len, 0644, false);
}

/* ---- making ---- */

int state_dir_is_free(const char *state_dir)
{
	struct node_identity id;
	_cleanup_free_ char *cluster = path_of(state_dir, "cluster");
	int r = node_identity_load(state_dir, &id);

	if (!cluster)
		return -ENOMEM;
	if (r == -EPROTONOSUPPORT)
		return r;
	/* A damaged identity is in use, too; only nothing is free. */
	if (r != -ENOENT || access(cluster, F_OK) == 0)
		return -EEXIST;
	return 0;
}

/* Entry 1: the membership; entry 2: the whole configuration. */
static int write_log(const char *dir, const struct config *c)
{
	struct raft_store *st = NULL;
	struct raft_job *job = raft_job_new();
	_cleanup_free_ void *conf = NULL;
	void *members = NULL;
	size_t conf_len, members_len;
	struct wire_writer w;
	int r;

	wire_writer_init(&w);
	r = job ? config_encode(c, &conf, &conf_len) : -ENOMEM;
	if (!r)
		r = config_cmd_encode(&w, CMD_bootstrap, &(struct cmd_bootstrap){ { conf, (uint32_t)conf_len } });
	if (!r)
		r = raft_core_bootstrap(&c->nodes[0].id, 1, &members, &members_len);
	if (!r)
		r = raft_job_entry(job, 1, &(struct raft_core_entry){ 1, RAFT_CORE_CHANGE, members, (uint32_t)members_len });
	if (!r)
		r = raft_job_entry(job, 2, &(struct raft_core_entry){ 1, RAFT_CORE_COMMAND, w.buf, (uint32_t)w.len });
	if (!r)
		r = raft_store_open(dir, &st);
	if (!r) {
		raft_job_hard_state(job, 1, 0);
		r = raft_store_write_now(st, TAKE_PTR(job));
	}
	raft_store_close(st);
	raft_job_free(job);
	raft_free(members);
	wire_writer_release(&w);
	return r;
}

static int first_config(const struct node_identity *id, struct config *c)
{
	struct config_node *n = &c->nodes[0];
	struct config_fs *fs = &c->fs[0];

	*c = (struct config){ .cluster_id = id->cluster_id, .next_node_id = 2, .nr_nodes = 1, .nr_fs = 1 };
	strcpy(c->name, id->cluster_name);
	*n = (struct config_node){ .id = 1, .port = id->port, .state = NODE_NEVERUP, .voter = true };
	strcpy(n->name, id->name);
	strcpy(n->host, id->host);
	*fs = (struct config_fs){ .id = 1, .name = "root", .path = "/", .epoch = 1, .server = 1, .nr_members = 1, .nr_in_sync = 1 };
	fs->members[0] = fs->in_sync[0] = 1;
	return 0;
}

static int make_certificate(const char *tls, const struct node_identity *id)
{
	_cleanup_free_ char *csr = NULL, *cert = NULL;
	int r = tls_ca_create(tls, id->cluster_name);

	if (!r)
		r = tls_request_create(tls, &csr);
	if (!r)
		r = tls_ca_sign(tls, csr, id->id, id->name, &cert);
	return r < 0 ? r : file_replace(tls, "node.crt", cert, strlen(cert), 0644, true);
}

int state_dir_init(const char *state_dir, struct node_identity *id)
{
	_cleanup_free_ char *tls = path_of(state_dir, "tls"), *cluster = path_of(state_dir, "cluster");
	_cleanup_free_ struct config *c = calloc(1, sizeof(*c));
	int r = state_dir_is_free(state_dir);

	if (!tls || !cluster || !c)
		return -ENOMEM;
	if (r < 0)
		return r;
	while (!id->cluster_id)
		if (getrandom(&id->cluster_id, sizeof(id->cluster_id), 0) < 0)
			return -errno;
	if (mkdir(state_dir, 0755) < 0 && errno != EEXIST)
		return -errno;
	first_config(id, c);
	r = make_certificate(tls, id);
	if (!r)
		r = write_log(cluster, c);
	if (!r)
		r = config_file_store(state_dir, c);
	/* Last: what has no identity was never finished. */
	return r < 0 ? r : node_identity_store(state_dir, id);
}
