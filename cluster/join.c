/*
 * Taking nodes in: tokens, joins, the CA's key. Cluster thread; what reads or writes files is done by the worker.
 *
 *   join (any node) -> has the CA's key? no: join_forward to one that has
 *                   -> node_join with the hashes of token and key into the log -> id -> sign -> certificate, configuration
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "cluster/internal.h"
#include "cluster/token.h"
#include "common/cleanup.h"
#include "common/file.h"
#include "common/log.h"
#include "common/worker.h"

enum { PEM_MAX = 64 << 10, CSR_MAX = 16 << 10, FORWARD_MS = 5000, CA_KEY_RETRY_MS = 1000, TTL_MAX_S = 7 * 24 * 3600 };

/* Of the worker's work: somebody's request waits for it. */
static void bring_back(struct cluster *cl, worker_fn done, void *arg)
{
	while (worker_back(cl->worker, done, arg) < 0)
		;
}

/* ---- joining ---- */

struct joining {
	struct cluster *cl;
	struct rpc_req *rq;
	bool forwarded; /* the reply is join_forward's */
	char *csr;
	char node_name[CONFIG_NAME_MAX];
	uint32_t id;
	/* the worker's */
	int status;
	char *ca, *cert;
};

static void joining_free(struct joining *j)
{
	free(j->csr);
	free(j->ca);
	free(j->cert);
	free(j);
}

static void refuse(struct rpc_req *rq, const char *name, int status)
{
	log_warn("join", "%s is refused: %s", name, strerror(-status));
	rpc_reply(rq, status, NULL);
}

/* The node is in the configuration: its certificate, and what it needs to find us. */
static int take_in(struct joining *j)
{
	struct cluster *cl = j->cl;
	_cleanup_free_ void *conf = NULL;
	size_t len;
	int r = config_encode(cl->config, &conf, &len);

	if (r < 0)
		return r;
	struct msg_join_rep rep = { cl->id.cluster_id, j->id, { j->ca, (uint32_t)strlen(j->ca) },
				    { j->cert, (uint32_t)strlen(j->cert) }, { conf, (uint32_t)len } };
	struct msg_join_forward_rep fwd = { rep.cluster_id, j->id, rep.ca_cert, rep.cert, rep.config };
	rpc_reply(j->rq, 0, j->forwarded ? (void *)&fwd : (void *)&rep);
	log_info("join", "%s joins the cluster as node %u", j->node_name, j->id);
	return 0;
}

static void answer(void *arg)
{
	struct joining *j = arg;

	if (!j->status)
		j->status = take_in(j);
	if (j->status < 0)
		refuse(j->rq, j->node_name, j->status);
	joining_free(j);
}

/* On the worker. */
static void sign(void *arg)
{
	struct joining *j = arg;
	const char *dir = j->cl->tls_dir;
	size_t len;

	j->status = tls_ca_sign(dir, j->csr, j->id, j->node_name, &j->cert);
	if (!j->status)
		j->status = file_load(dir, "ca.crt", PEM_MAX, &j->ca, &len);
	bring_back(j->cl, answer, j);
}

static void added(void *ctx, int status, uint32_t id)
{
	struct joining *j = ctx;

	j->id = id;
	j->status = status ? status : worker_do(j->cl->worker, sign, j);
	if (j->status < 0)
		answer(j);
}

struct join_fields {
	const char *node_name, *host;
	uint16_t port;
	const struct wire_blob *secret, *csr;
};

/* Nodes dial each other by number. */
static bool is_address(const char *host)
{
	struct in6_addr any;

	return inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1;
}

static int check_fields(const struct join_fields *f)
{
	bool good = strlen(f->node_name) < CONFIG_NAME_MAX && is_address(f->host) && f->secret->len && f->csr->len <= CSR_MAX;

	return good ? 0 : -EINVAL;
}

static bool knows_token(const struct cluster *cl, const struct wire_blob *secret)
{
	uint8_t sha256[32];

	join_token_hash(secret->p, secret->len, sha256);
	return config_token_check(cl->config, sha256, (uint8_t[32]){ 0 }, (uint64_t)time(NULL)) != -EKEYREJECTED;
}

static int joining_new(struct cluster *cl, struct rpc_req *rq, bool forwarded, const struct join_fields *f,
		       struct joining **ret_j)
{
	struct joining *j = calloc(1, sizeof(*j));

	if (!j)
		return -ENOMEM;
	*j = (struct joining){ .cl = cl, .rq = rq, .forwarded = forwarded, .csr = strndup(f->csr->p, f->csr->len) };
	strcpy(j->node_name, f->node_name);
	if (!j->csr) {
		joining_free(j);
		return -ENOMEM;
	}
	*ret_j = j;
	return 0;
}

static void start_join(struct cluster *cl, struct rpc_req *rq, bool forwarded, const struct join_fields *f)
{
	struct cmd_node_join cmd = { .node_name = f->node_name, .host = f->host, .port = f->port, .now = (uint64_t)time(NULL) };
	uint8_t token[32], key[32];
	struct joining *j = NULL;
	int r = check_fields(f);

	/* Nobody without a token is listened to any further, nor gets as far as the log. */
	if (!r && !knows_token(cl, f->secret))
		r = -EKEYREJECTED;
	if (!r)
		r = joining_new(cl, rq, forwarded, f, &j);
	if (!r)
		r = tls_request_key(j->csr, key);
	if (!r) {
		join_token_hash(f->secret->p, f->secret->len, token);
		r = config_token_check(cl->config, token, key, cmd.now);
	}
	if (r < 0) {
		if (j)
			joining_free(j);
		refuse(rq, f->node_name, r);
		return;
	}
	cmd.token = (struct wire_blob){ token, sizeof(token) };
	cmd.key = (struct wire_blob){ key, sizeof(key) };
	propose_cmd(cl, CMD_node_join, &cmd, added, j);
}

struct forwarding {
	struct rpc_req *rq;
};

static void forward_done(void *ctx, int status, const void *rep)
{
	struct forwarding *f = ctx;
	const struct msg_join_forward_rep *m = rep;
	struct msg_join_rep out;

	if (!status)
		out = (struct msg_join_rep){ m->cluster_id, m->node_id, m->ca_cert, m->cert, m->config };
	rpc_reply(f->rq, status, status ? NULL : &out);
	free(f);
}

static void forward(struct cluster *cl, struct rpc_req *rq, const struct msg_join_req *req)
{
	struct msg_join_forward_req fwd = { req->node_name, req->host, req->port, req->secret, req->csr };
	struct rpc_conn *conn = link_to_ask(cl);
	struct forwarding *f = conn ? malloc(sizeof(*f)) : NULL;
	int r = f ? 0 : -EHOSTUNREACH;

	if (f) {
		f->rq = rq;
		r = rpc_call(conn, MSG_join_forward, &fwd, FORWARD_MS, forward_done, f);
	}
	if (r < 0) {
		free(f);
		refuse(rq, req->node_name, r);
	}
}

static void serve_join(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	struct cluster *cl = ctx;
	const struct msg_join_req *req = msg;

	(void)conn;
	if (req->version != WIRE_VERSION)
		refuse(rq, req->node_name, -EPROTONOSUPPORT);
	/* A token that is unknown here may have been made a moment ago: the leader knows. */
	else if (cl->has_ca_key && (raft_core_is_leader(cl->core) || knows_token(cl, &req->secret)))
		start_join(cl, rq, false,
			   &(struct join_fields){ req->node_name, req->host, req->port, &req->secret, &req->csr });
	else
		forward(cl, rq, req);
}

static void serve_join_forward(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	struct cluster *cl = ctx;
	const struct msg_join_forward_req *req = msg;

	(void)conn;
	if (cl->has_ca_key)
		start_join(cl, rq, true,
			   &(struct join_fields){ req->node_name, req->host, req->port, &req->secret, &req->csr });
	else
		refuse(rq, req->node_name, -EHOSTUNREACH); /* a voter that has not got it yet: soon */
}

/* ---- tokens ---- */

struct making {
	struct cluster *cl;
	struct rpc_req *rq;
	struct join_token token;
	uint64_t expires;
};

static void add_address(struct join_token *t, const struct config_node *n)
{
	if (t->nr_addresses == TOKEN_ADDRESSES_MAX)
		return;
	strcpy(t->address[t->nr_addresses].host, n->host);
	t->address[t->nr_addresses++].port = n->port;
}

static void made(void *ctx, int status, uint32_t result)
{
	struct making *m = ctx;
	struct msg_token_new_rep rep = { .expires = m->expires };
	_cleanup_free_ char *text = NULL;

	(void)result;
	if (!status) {
		text = join_token_encode(&m->token);
		rep.token = text;
		status = text ? 0 : -ENOMEM;
	}
	rpc_reply(m->rq, status, &rep);
	free(m);
}

static void serve_token_new(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	struct cluster *cl = ctx;
	const struct msg_token_new_req *req = msg;
	struct making *m = calloc(1, sizeof(*m));
	uint64_t now = (uint64_t)time(NULL);
	uint8_t sha256[32];
	int r = m ? 0 : -ENOMEM;

	(void)conn;
	if (!r && (!req->ttl_s || req->ttl_s > TTL_MAX_S))
		r = -EINVAL;
	if (!r && getrandom(m->token.secret, sizeof(m->token.secret), 0) != sizeof(m->token.secret))
		r = -EIO;
	if (r < 0) {
		free(m);
		rpc_reply(rq, r, NULL);
		return;
	}
	m->cl = cl;
	m->rq = rq;
	m->expires = now + req->ttl_s;
	memcpy(m->token.ca_sha256, cl->ca_sha256, sizeof(cl->ca_sha256));
	for (size_t i = 0; i < cl->config->nr_nodes; i++)
		if (cl->config->nodes[i].voter || cl->config->nodes[i].id == cl->id.id)
			add_address(&m->token, &cl->config->nodes[i]);
	join_token_hash(m->token.secret, sizeof(m->token.secret), sha256);
	propose_cmd(cl, CMD_token_add,
		    &(struct cmd_token_add){ { sha256, sizeof(sha256) }, m->expires, now }, made, m);
}

/* ---- nodes that go for good ---- */

static void removed(void *ctx, int status, uint32_t result)
{
	(void)result;
	rpc_reply(ctx, status, NULL);
}

static void serve_node_remove(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	struct cluster *cl = ctx;
	const struct msg_node_remove_req *req = msg;

	(void)conn;
	propose_cmd(cl, CMD_node_remove, &(struct cmd_node_remove){ req->node }, removed, rq);
}

/* ---- the CA's key goes to voters ---- */

struct giving {
	struct cluster *cl;
	struct rpc_req *rq;
	int status;
	char *key;
	size_t len;
};

static void give_key(void *arg)
{
	struct giving *g = arg;
	struct msg_ca_key_rep rep = { .key = { g->key, (uint32_t)g->len } };

	rpc_reply(g->rq, g->status, &rep);
	free(g->key);
	free(g);
}

/* On the worker. */
static void load_key(void *arg)
{
	struct giving *g = arg;

	g->status = file_load(g->cl->tls_dir, "ca.key", PEM_MAX, &g->key, &g->len);
	bring_back(g->cl, give_key, g);
}

static void serve_ca_key(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	struct cluster *cl = ctx;
	const struct config_node *n = config_node_by_id(cl->config, rpc_conn_peer(conn)->node_id);
	struct giving *g = calloc(1, sizeof(*g));
	int r = !n || !n->voter ? -EPERM : g ? 0 : -ENOMEM;

	(void)msg;
	if (!r) {
		*g = (struct giving){ .cl = cl, .rq = rq };
		r = worker_do(cl->worker, load_key, g);
	}
	if (r < 0) {
		free(g);
		rpc_reply(rq, r, NULL);
	}
}

struct keeping {
	struct cluster *cl;
	int status;
	size_t len;
	uint8_t key[];
};

static void key_stored(void *arg)
{
	struct keeping *k = arg;

	if (k->status < 0)
		log_warn("join", "the key of the CA cannot be kept: %s", strerror(-k->status));
	else
		k->cl->has_ca_key = true;
	free(k);
}

/* On the worker. */
static void store_key(void *arg)
{
	struct keeping *k = arg;

	k->status = tls_ca_key_keep(k->cl->tls_dir, k->key, k->len);
	bring_back(k->cl, key_stored, k);
}

static void ca_key_done(void *ctx, int status, const void *rep)
{
	struct cluster *cl = ctx;
	const struct msg_ca_key_rep *m = rep;
	struct keeping *k = status ? NULL : malloc(sizeof(*k) + m->key.len);

	if (!status)
		status = k ? 0 : -ENOMEM;
	if (!status) {
		*k = (struct keeping){ .cl = cl, .len = m->key.len };
		memcpy(k->key, m->key.p, m->key.len);
		status = worker_do(cl->worker, store_key, k);
	}
	if (status < 0)
		free(k);
	if (status < 0 && status != -ECANCELED)
		log_debug("join", "no key of the CA yet: %s", strerror(-status));
}

void join_tick(struct cluster *cl, uint64_t now)
{
	const struct config_node *self = config_node_by_id(cl->config, cl->id.id);
	struct rpc_conn *conn;

	if (now < cl->ca_key_ms)
		return;
	cl->ca_key_ms = now + CA_KEY_RETRY_MS;
	if (!self || !self->voter || cl->has_ca_key)
		return;
	conn = link_to_ask(cl);
	if (conn)
		rpc_call(conn, MSG_ca_key, &(struct msg_ca_key_req){}, FORWARD_MS, ca_key_done, cl);
}

int join_load(struct cluster *cl)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s/ca.key", cl->tls_dir) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	cl->has_ca_key = access(path, R_OK) == 0;
	return tls_ca_fingerprint(cl->tls_dir, cl->ca_sha256);
}

void join_serve(struct cluster *cl)
{
	rpc_handle(cl->rpc, MSG_join, serve_join, cl);
	rpc_handle(cl->rpc, MSG_join_forward, serve_join_forward, cl);
	rpc_handle(cl->rpc, MSG_token_new, serve_token_new, cl);
	rpc_handle(cl->rpc, MSG_node_remove, serve_node_remove, cl);
	rpc_handle(cl->rpc, MSG_ca_key, serve_ca_key, cl);
}
