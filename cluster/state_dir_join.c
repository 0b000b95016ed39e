/* The joining side of `cfs join`: one request, its answer into the state directory. Blocking; commands and tests. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cluster/state_dir.h"
#include "cluster/token.h"
#include "common/cleanup.h"
#include "common/file.h"
#include "wire/once.h"
#include "wire/tls.h"

static int ask(const struct join_token *t, const char *host, uint16_t port, const char *csr,
	       const struct node_identity *id, uint32_t timeout_ms, struct msg_join_rep **ret_rep)
{
	struct once_peer peers[TOKEN_ADDRESSES_MAX + 1] = { { host, port } };
	struct rpc_self self = { .role = RPC_ROLE_NONE, .node_name = id->name };
	struct msg_join_req req = { .version = WIRE_VERSION, .node_name = id->name, .host = id->host, .port = id->port };
	struct tls_identity *tls;
	size_t n = 1;
	void *rep;
	int r = tls_identity_joining(t->ca_sha256, &tls);

	if (r < 0)
		return r;
	for (size_t i = 0; i < t->nr_addresses; i++)
		if (strcmp(t->address[i].host, host) || t->address[i].port != port)
			peers[n++] = (struct once_peer){ t->address[i].host, t->address[i].port };
	req.secret = (struct wire_blob){ t->secret, sizeof(t->secret) };
	req.csr = (struct wire_blob){ csr, (uint32_t)strlen(csr) };
	r = once_call(peers, n, &self, tls, MSG_join, &req, timeout_ms, &rep);
	tls_identity_free(tls);
	if (r == -EEXIST)
		return -ENOTUNIQ; /* -EEXIST is about the directory */
	if (!r)
		*ret_rep = rep;
	return r;
}

/* What was given is of the CA that the token names, and for our key; not left to the daemon's start to find out. */
static int check_certificate(const char *tls, const struct join_token *t)
{
	struct tls_identity *own;
	uint8_t ca_sha256[32];
	int r = tls_ca_fingerprint(tls, ca_sha256);

	if (!r && memcmp(ca_sha256, t->ca_sha256, sizeof(ca_sha256)))
		r = -EKEYREJECTED;
	if (!r)
		r = tls_identity_load(tls, &own);
	if (!r)
		tls_identity_free(own);
	return r;
}

static int keep(const char *state_dir, const char *tls, const struct join_token *t, const struct msg_join_rep *rep,
		struct node_identity *id)
{
	_cleanup_free_ struct config *c = malloc(sizeof(*c));
	int r = c ? config_decode(rep->config.p, rep->config.len, c) : -ENOMEM;

	if (r < 0)
		return r;
	id->cluster_id = rep->cluster_id;
	id->id = rep->node_id;
	strcpy(id->cluster_name, c->name);
	r = file_replace(tls, "ca.crt", rep->ca_cert.p, rep->ca_cert.len, 0644, true);
	if (!r)
		r = file_replace(tls, "node.crt", rep->cert.p, rep->cert.len, 0644, true);
	if (!r)
		r = check_certificate(tls, t);
	if (!r)
		r = config_file_store(state_dir, c);
	/* Last: what has no identity was never finished. */
	return r < 0 ? r : node_identity_store(state_dir, id);
}

int state_dir_join(const char *state_dir, const char *host, uint16_t port, const char *token, struct node_identity *id,
		   uint32_t timeout_ms)
{
	_cleanup_free_ char *csr = NULL, *tls = NULL;
	struct msg_join_rep *rep = NULL;
	struct join_token t;
	int r = join_token_decode(token, &t);

	if (!r)
		r = state_dir_is_free(state_dir);
	if (r < 0)
		return r;
	if (asprintf(&tls, "%s/tls", state_dir) < 0) {
		tls = NULL;
		return -ENOMEM;
	}
	if (mkdir(state_dir, 0755) < 0 && errno != EEXIST)
		return -errno;
	if (mkdir(tls, 0700) < 0 && errno != EEXIST)
		return -errno;
	r = tls_request_create(tls, &csr);
	if (!r)
		r = ask(&t, host, port, csr, id, timeout_ms, &rep);
	if (!r)
		r = keep(state_dir, tls, &t, rep, id);
	free(rep);
	return r;
}
