/*
 * Makes the state directories of a cluster whose nodes only run cfs-migrated: keys, identity, configuration.
 *   cluster_state DIR...      one directory a node; node <i> is node<i> at 10.99.0.<i>, as tests/lab has it
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cluster/state_dir.h"
#include "wire/tls.h"

static int write_text(const char *dir, const char *name, const char *text)
{
	char path[8192];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "we");
	if (!f)
		return -errno;
	fputs(text, f);
	return fclose(f) ? -errno : 0;
}

static int copy_ca(const char *from, const char *to)
{
	char path[8192], text[16384];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/ca.crt", from);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = 0;
	return write_text(to, "ca.crt", text);
}

static int make_node(const char *ca, const char *dir, const struct config_node *n, const struct config *c)
{
	struct node_identity id = { .cluster_id = c->cluster_id, .id = n->id, .port = n->port };
	char tls[4096], *csr = NULL, *cert = NULL;
	int r;

	snprintf(id.cluster_name, sizeof(id.cluster_name), "%s", c->name);
	snprintf(id.name, sizeof(id.name), "%s", n->name);
	snprintf(id.host, sizeof(id.host), "%s", n->host);
	snprintf(tls, sizeof(tls), "%s/tls", dir);
	mkdir(dir, 0700);
	mkdir(tls, 0700);
	r = strcmp(ca, tls) ? copy_ca(ca, tls) : 0;
	if (!r)
		r = tls_request_create(tls, &csr);
	if (!r)
		r = tls_ca_sign(ca, csr, n->id, n->name, &cert);
	if (!r)
		r = write_text(tls, "node.crt", cert);
	if (!r)
		r = node_identity_store(dir, &id);
	if (!r)
		r = config_file_store(dir, c);
	free(csr);
	free(cert);
	return r;
}

int main(int argc, char **argv)
{
	struct config *c = calloc(1, sizeof(*c));
	char ca[4096];
	int r;

	if (argc < 2 || argc > CONFIG_NODES_MAX || !c)
		return 2;
	c->version = 1;
	c->cluster_id = 0x6366732d74657374;
	snprintf(c->name, sizeof(c->name), "test");
	for (int i = 1; i < argc; i++) {
		struct config_node *n = &c->nodes[c->nr_nodes++];

		n->id = (uint32_t)i;
		n->port = CLUSTER_PORT_DEFAULT;
		n->state = NODE_UP;
		snprintf(n->name, sizeof(n->name), "node%d", i);
		snprintf(n->host, sizeof(n->host), "10.99.0.%d", i);
	}
	c->next_node_id = (uint32_t)argc;
	mkdir(argv[1], 0700);
	snprintf(ca, sizeof(ca), "%s/tls", argv[1]);
	r = tls_ca_create(ca, c->name);
	for (int i = 1; i < argc && !r; i++)
		r = make_node(ca, argv[i], &c->nodes[i - 1], c);
	if (r)
		fprintf(stderr, "cluster_state: %s\n", strerror(-r));
	free(c);
	return r ? 1 : 0;
}
