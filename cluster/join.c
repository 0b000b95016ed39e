/*
 * Taking nodes in: tokens, joins, the CA's key. Cluster thread; signing reads two small files, as seldom as nodes join.
 *
 *   join (any node) -> has the CA's key? no: join_forward to one that has
 *                   -> node_add with the token's hash into the log -> id -> sign -> certificate, configuration
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "cluster/internal.h"
#include "cluster/token.h"
#include "common/cleanup.h"
#include "common/log.h"

enum { PEM_MAX = 64 << 10, CSR_MAX = 16 << 10, FORWARD_MS = 5000, CA_KEY_RETRY_MS = 1000, TTL_MAX_S = 7 * 24 * 3600 };

/* ---- small files ---- */

static int read_pem(const char *dir, const char *name, char **ret_pem)
{
	_cleanup_free_ char *path = NULL, *buf = malloc(PEM_MAX + 1);
	_cleanup_close_ int fd = -1;
	ssize_t n;

	if (!buf || asprintf(&path, "%s/%s", dir, name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, buf, PEM_MAX);
	if (n < 0)
		return -errno;
	buf[n] = 0;
	*ret_pem = TAKE_PTR(buf);
	return 0;
}

static bool has_ca_key(struct cluster *cl)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s/ca.key", cl->tls_dir) < 0) {
		path = NULL;
		return false;
	}
	return access(path, R_OK) == 0;
}

/* ---- joining ---- */

struct joining {
	struct cluster *cl;
	struct rpc_req *rq;
	bool forwarded; /* the reply is join_forward's */
	char *csr;
	char node_name[CONFIG_NAME_MAX];
};

static void joining_free(struct joining *j)
{
	free(j->csr);
	free(j);
}

static void refuse(struct rpc_req *rq, const char *name, int status)
{
	log_warn("join", "%s is refused: %s", name, strerror(-status));
	rpc_reply(rq, status, NULL);
}

/* The node is in the configuration: its certificate, and what it needs to find us. */
static int take_in(struct joining *j, uint32_t id)
{
	struct cluster *cl = j->cl;
	_cleanup_free_ char *cert = NULL, *ca = NULL;
	_cleanup_free_ void *conf = NULL;
	size_t len;
	int r = tls_ca_sign(cl->tls_dir, j->csr, id, j->node_name, &cert);

	if (!r)
		r = read_pem(cl->tls_dir, "ca.crt", &ca);
	if (!r)
		r = config_encode(cl->config, &conf, &len);
	if (r < 0)
		return r;
	struct msg_join_rep rep = { cl->id.cluster_id, id, { ca, (uint32_t)strlen(ca) },
				    { cert, (uint32_t)strlen(cert) }, { conf, (uint32_t)len } };
	struct msg_join_forward_rep fwd = { rep.cluster_id, id, rep.ca_cert, rep.cert, rep.config };
	rpc_reply(j->rq, 0, j->forwarded ? (void *)&fwd : (void *)&rep);
	log_info("join", "%s joins the cluster as node %u", j->node_name, id);
	return 0;
}

static void added(void *ctx, int status, uint32_t id)
{
	struct joining *j = ctx;

	if (!status)
		status = take_in(j, id);
	if (status < 0)
		refuse(j->rq, j->node_name, status);
	joining_free(j);
}

struct join_fields {
	const char *node_name, *host;
	uint16_t port;
	const struct wire_blob *secret, *csr;
};

static bool knows_token(const struct cluster *cl, const struct wire_blob *secret)
{
	uint8_t sha256[32];

	join_token_hash(secret->p, secret->len, sha256);
	return config_token_check(cl->config, sha256, (uint64_t)time(NULL)) != -EKEYREJECTED;
}

static void start_join(struct cluster *cl, struct rpc_req *rq, bool forwarded, const struct join_fields *f)
{
	struct joining *j = calloc(1, sizeof(*j));
	struct cmd_node_add cmd = { .node_name = f->node_name, .host = f->host, .port = f->port, .now = (uint64_t)time(NULL) };
	uint8_t sha256[32];
	int r;

	if (!j || strlen(f->node_name) >= sizeof(j->node_name) || !f->secret->len || f->csr->len > CSR_MAX) {
		free(j);
		refuse(rq, f->node_name, j ? -EINVAL : -ENOMEM);
		return;
	}
	/* Nobody without a token gets as far as the log. */
	join_token_hash(f->secret->p, f->secret->len, sha256);
	r = config_token_check(cl->config, sha256, cmd.now);
	if (r < 0) {
		free(j);
		refuse(rq, f->node_name, r);
		return;
	}
	*j = (struct joining){ .cl = cl, .rq = rq, .forwarded = forwarded, .csr = strndup(f->csr->p, f->csr->len) };
	strcpy(j->node_name, f->node_name);
	if (!j->csr) {
		joining_free(j);
		refuse(rq, f->node_name, -ENOMEM);
		return;
	}
	cmd.token = (struct wire_blob){ sha256, sizeof(sha256) };
	propose_cmd(cl, CMD_node_add, &cmd, added, j);
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
	/* One that is unknown here may have been made a moment ago: the leader knows. */
	else if (has_ca_key(cl) && (raft_core_is_leader(cl->core) || knows_token(cl, &req->secret)))
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
	if (has_ca_key(cl))
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
	if (!r)
		r = tls_ca_fingerprint(cl->tls_dir, m->token.ca_sha256);
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
	for (size_t i = 0; i < cl->config->nr_nodes; i++)
		if (cl->config->nodes[i].voter || cl->config->nodes[i].id == cl->id.id)
			add_address(&m->token, &cl->config->nodes[i]);
	join_token_hash(m->token.secret, sizeof(m->token.secret), sha256);
	propose_cmd(cl, CMD_token_add,
		    &(struct cmd_token_add){ { sha256, sizeof(sha256) }, m->expires, now }, made, m);
}

/* ---- the CA's key goes to voters ---- */

static void serve_ca_key(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	struct cluster *cl = ctx;
	const struct config_node *n = config_node_by_id(cl->config, rpc_conn_peer(conn)->node_id);
	_cleanup_free_ char *key = NULL;
	struct msg_ca_key_rep rep = { 0 };
	int r = n && n->voter ? 0 : -EPERM;

	(void)msg;
	if (!r)
		r = read_pem(cl->tls_dir, "ca.key", &key);
	if (!r)
		rep.key = (struct wire_blob){ key, (uint32_t)strlen(key) };
	rpc_reply(rq, r, &rep);
}

static void ca_key_done(void *ctx, int status, const void *rep)
{
	struct cluster *cl = ctx;
	const struct msg_ca_key_rep *m = rep;

	if (!status)
		status = m->key.len ? state_file_write(cl->tls_dir, "ca.key", m->key.p, m->key.len, 0600, true) : -EBADMSG;
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
	if (!self || !self->voter || has_ca_key(cl))
		return;
	conn = link_to_ask(cl);
	if (conn)
		rpc_call(conn, MSG_ca_key, &(struct msg_ca_key_req){}, FORWARD_MS, ca_key_done, cl);
}

void join_serve(struct cluster *cl)
{
	rpc_handle(cl->rpc, MSG_join, serve_join, cl);
	rpc_handle(cl->rpc, MSG_join_forward, serve_join_forward, cl);
	rpc_handle(cl->rpc, MSG_token_new, serve_token_new, cl);
	rpc_handle(cl->rpc, MSG_ca_key, serve_ca_key, cl);
}
