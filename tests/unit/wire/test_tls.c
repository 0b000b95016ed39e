/* Identities and the CA; two streams talk through their buffers, no socket. */
#include "wire/tls.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/wire/rpc_fixture.h"
#include "wire/tls_stream.h"

static char dir[] = "/tmp/cfs-tls-XXXXXX";

static const char *in_dir(const char *name)
{
	static char paths[4][256];
	static unsigned n;
	char *path = paths[n++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

static void up(void)
{
	cr_assert(mkdtemp(dir));
	make_node(dir, "node1", "ca", 1);
	make_node(dir, "node2", "ca", 4294967295u);
}

static void down(void)
{
	char cmd[64];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	cr_assert_eq(system(cmd), 0);
}

TestSuite(tls, .init = up, .fini = down, .timeout = 30);

/* ---- files ---- */

Test(tls, keys_are_for_root_alone)
{
	struct stat st;

	cr_assert(!stat(in_dir("ca/ca.key"), &st) && (st.st_mode & 07777) == 0600);
	cr_assert(!stat(in_dir("node1/node.key"), &st) && (st.st_mode & 07777) == 0600);
	cr_assert(!stat(in_dir("ca"), &st) && (st.st_mode & 07777) == 0700);
	cr_assert(access(in_dir("ca/ca.key.tmp"), F_OK) < 0);
}

Test(tls, a_ca_is_made_once)
{
	uint8_t before[32], after[32];

	cr_assert_eq(tls_ca_fingerprint(in_dir("ca"), before), 0);
	cr_assert_eq(tls_ca_create(in_dir("ca"), "again"), -EEXIST);
	cr_assert_eq(tls_ca_fingerprint(in_dir("ca"), after), 0);
	cr_assert(!memcmp(before, after, sizeof(before)));
	cr_assert_eq(tls_ca_fingerprint(in_dir("nowhere"), after), -ENOENT);
}

Test(tls, a_request_keeps_the_key)
{
	char *one, *two;
	struct stat before, after;

	cr_assert(!stat(in_dir("node1/node.key"), &before));
	cr_assert_eq(tls_request_create(in_dir("node1"), &one), 0);
	cr_assert_eq(tls_request_create(in_dir("node1"), &two), 0);
	cr_assert(!stat(in_dir("node1/node.key"), &after));
	cr_assert_eq(before.st_ino, after.st_ino);
	free(one);
	free(two);
}

Test(tls, what_is_no_request_is_not_signed)
{
	char *csr, *cert = NULL, *at;

	cr_assert_eq(tls_ca_sign(in_dir("ca"), "", 5, "x", &cert), -EBADMSG);
	cr_assert_eq(tls_ca_sign(in_dir("ca"), "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n", 5, "x", &cert), -EBADMSG);
	cr_assert_eq(tls_request_create(in_dir("node1"), &csr), 0);
	cr_assert_eq(tls_ca_sign(in_dir("ca"), csr, 0, "x", &cert), -EINVAL);
	cr_assert_eq(tls_ca_sign(in_dir("node1"), csr, 5, "x", &cert), -ENOENT, "no ca.key there");
	/* One character of the signature. */
	at = strstr(csr, "-----END") - 8;
	*at = *at == 'A' ? 'B' : 'A';
	cr_assert_eq(tls_ca_sign(in_dir("ca"), csr, 5, "x", &cert), -EBADMSG);
	cr_assert_null(cert);
	free(csr);
}

Test(tls, a_request_is_known_by_its_key)
{
	char *one = NULL, *again = NULL, *other = NULL, *dup;
	uint8_t a[32], b[32], c[32];

	cr_assert_eq(tls_request_create(in_dir("node1"), &one), 0);
	cr_assert_eq(tls_request_create(in_dir("node1"), &again), 0);
	cr_assert_eq(tls_request_create(in_dir("node2"), &other), 0);
	cr_assert(strcmp(one, again), "a signature is never the same twice");
	cr_assert(!tls_request_key(one, a) && !tls_request_key(again, b) && !tls_request_key(other, c));
	cr_assert(!memcmp(a, b, 32));
	cr_assert(memcmp(a, c, 32));
	cr_assert_eq(tls_request_key("nonsense", a), -EBADMSG);
	/* A byte of the body: who made it has not the key. */
	dup = strdup(one);
	dup[strlen(dup) / 2] = dup[strlen(dup) / 2] == 'A' ? 'B' : 'A';
	cr_assert_eq(tls_request_key(dup, a), -EBADMSG);
	free(one);
	free(again);
	free(other);
	free(dup);
}

Test(tls, only_the_key_of_the_ca_is_kept_as_its_key)
{
	char ours[4096], theirs[4096], path[256];
	size_t len, theirs_len;
	struct stat st;
	FILE *f;

	cr_assert_eq(tls_ca_create(in_dir("other"), "other"), 0);
	f = fopen(in_dir("ca/ca.key"), "r");
	len = fread(ours, 1, sizeof(ours), f);
	fclose(f);
	f = fopen(in_dir("other/ca.key"), "r");
	theirs_len = fread(theirs, 1, sizeof(theirs), f);
	fclose(f);
	snprintf(path, sizeof(path), "%s", in_dir("node1/ca.key"));
	cr_assert_eq(tls_ca_key_keep(in_dir("node1"), theirs, theirs_len), -EKEYREJECTED);
	cr_assert_eq(tls_ca_key_keep(in_dir("node1"), "nonsense", 8), -EKEYREJECTED);
	cr_assert_eq(tls_ca_key_keep(in_dir("node1"), "", 0), -EKEYREJECTED);
	cr_assert_eq(tls_ca_key_keep(in_dir("node1"), ours, len / 2), -EKEYREJECTED);
	cr_assert_lt(access(path, F_OK), 0, "nothing was written");
	cr_assert_eq(tls_ca_key_keep(in_dir("nowhere"), ours, len), -ENOENT);
	cr_assert_eq(tls_ca_key_keep(in_dir("node1"), ours, len), 0);
	cr_assert(!stat(path, &st) && (st.st_mode & 07777) == 0600);
	{
		char *csr = NULL, *cert = NULL;

		cr_assert_eq(tls_request_create(in_dir("node2"), &csr), 0);
		cr_assert_eq(tls_ca_sign(in_dir("node1"), csr, 9, "nine", &cert), 0, "it can sign now");
		free(csr);
		free(cert);
	}
}

Test(tls, a_long_node_name_does_not_matter)
{
	static char name[300];
	char *csr, *cert;

	memset(name, 'n', sizeof(name) - 1);
	cr_assert_eq(tls_request_create(in_dir("node1"), &csr), 0);
	cr_assert_eq(tls_ca_sign(in_dir("ca"), csr, 5, name, &cert), 0);
	free(cert);
	cr_assert_eq(tls_ca_sign(in_dir("ca"), csr, 5, NULL, &cert), 0);
	free(cert);
	free(csr);
}

Test(tls, identities_that_do_not_load)
{
	struct tls_identity *id = NULL;

	cr_assert_eq(tls_identity_load(in_dir("nowhere"), &id), -ENOENT);
	cr_assert_eq(tls_identity_load(in_dir("ca"), &id), -ENOENT);
	/* The key of another. */
	cr_assert(!rename(in_dir("node2/node.key"), in_dir("node1/node.key")));
	cr_assert_eq(tls_identity_load(in_dir("node1"), &id), -EKEYREJECTED);
	cr_assert(!truncate(in_dir("node1/node.key"), 40));
	cr_assert_eq(tls_identity_load(in_dir("node1"), &id), -EKEYREJECTED);
	cr_assert_null(id);
}

Test(tls, a_certificate_of_another_ca_does_not_load)
{
	struct tls_identity *id = NULL;

	make_node(dir, "other", "other-ca", 1);
	cr_assert(!rename(in_dir("other/ca.crt"), in_dir("node1/ca.crt")));
	cr_assert_eq(tls_identity_load(in_dir("node1"), &id), -EKEYREJECTED);
}

/* ---- streams ---- */

struct end {
	struct tls_stream *s;
	struct wire_writer out;
	int state; /* of the handshake: 0, 1, -errno */
};

static void end_init(struct end *e, struct tls_identity *id, bool server)
{
	wire_writer_init(&e->out);
	cr_assert_eq(tls_stream_new(id, server, &e->out, &e->s), 0);
	e->state = 0;
}

static void end_release(struct end *e)
{
	tls_stream_free(e->s);
	wire_writer_release(&e->out);
}

/* FROM's output goes to TO, which goes on with its handshake. */
static void pass(struct end *from, struct end *to)
{
	uint8_t *bytes = malloc(from->out.len + 1);
	size_t len = from->out.len;

	memcpy(bytes, from->out.buf, len);
	from->out.len = 0;
	tls_stream_lend(to->s, bytes, len);
	if (to->state == 0)
		to->state = tls_stream_handshake(to->s);
	free(bytes);
}

static void shake(struct end *client, struct end *server)
{
	client->state = tls_stream_handshake(client->s);
	for (int i = 0; i < 4 && client->state >= 0 && server->state >= 0; i++) {
		if (client->out.len)
			pass(client, server);
		if (server->out.len && client->state == 0)
			pass(server, client);
	}
}

Test(tls, both_ends_learn_the_node)
{
	struct tls_identity *one = load_node(dir, "node1"), *two = load_node(dir, "node2");
	struct end client, server;

	end_init(&client, two, false);
	end_init(&server, one, true);
	shake(&client, &server);
	cr_assert(client.state == 1 && server.state == 1);
	cr_assert_eq(tls_stream_peer_node(client.s), 1u);
	cr_assert_eq(tls_stream_peer_node(server.s), 4294967295u);
	end_release(&client);
	end_release(&server);
	tls_identity_free(one);
	tls_identity_free(two);
}

static size_t read_all(struct end *e, const uint8_t *in, size_t in_len, uint8_t *buf, size_t size)
{
	size_t got = 0;
	ssize_t n;

	tls_stream_lend(e->s, in, in_len);
	while ((n = tls_stream_read(e->s, buf + got, size - got)) > 0)
		got += (size_t)n;
	cr_assert_eq(n, 0);
	return got;
}

Test(tls, what_is_written_is_read_and_a_forged_byte_is_seen)
{
	enum { LEN = 100000 };
	struct tls_identity *one = load_node(dir, "node1"), *two = load_node(dir, "node2");
	uint8_t *sent = malloc(LEN), *got = malloc(2 * LEN);
	struct end client, server;

	end_init(&client, two, false);
	end_init(&server, one, true);
	shake(&client, &server);
	for (size_t i = 0; i < LEN; i++)
		sent[i] = (uint8_t)(i * 7 >> 2);
	cr_assert_eq(tls_stream_write(client.s, sent, LEN), 0);
	cr_assert_gt(client.out.len, (size_t)LEN);
	cr_assert_eq(read_all(&server, client.out.buf, client.out.len, got, 2 * LEN), (size_t)LEN);
	cr_assert(!memcmp(sent, got, LEN));
	client.out.len = 0;
	cr_assert_eq(tls_stream_write(client.s, sent, 10), 0);
	client.out.buf[client.out.len - 1] ^= 1;
	tls_stream_lend(server.s, client.out.buf, client.out.len);
	cr_assert_eq(tls_stream_read(server.s, got, LEN), -EBADMSG);
	cr_assert(strlen(tls_stream_reason(server.s)) > 0);
	end_release(&client);
	end_release(&server);
	tls_identity_free(one);
	tls_identity_free(two);
	free(sent);
	free(got);
}

Test(tls, a_joiner_trusts_the_fingerprint_and_has_no_name)
{
	struct tls_identity *one = load_node(dir, "node1"), *joining;
	struct end client, server;
	uint8_t sha256[32];

	cr_assert_eq(tls_ca_fingerprint(in_dir("ca"), sha256), 0);
	cr_assert_eq(tls_identity_joining(sha256, &joining), 0);
	end_init(&client, joining, false);
	end_init(&server, one, true);
	shake(&client, &server);
	cr_assert(client.state == 1 && server.state == 1);
	cr_assert_eq(tls_stream_peer_node(client.s), 1u);
	cr_assert_eq(tls_stream_peer_node(server.s), 0u);
	end_release(&client);
	end_release(&server);
	tls_identity_free(joining);
	tls_identity_free(one);
}

Test(tls, a_wrong_fingerprint_is_refused)
{
	struct tls_identity *one = load_node(dir, "node1"), *joining;
	struct end client, server;
	uint8_t sha256[32];

	cr_assert_eq(tls_ca_fingerprint(in_dir("ca"), sha256), 0);
	sha256[31] ^= 1;
	cr_assert_eq(tls_identity_joining(sha256, &joining), 0);
	end_init(&client, joining, false);
	end_init(&server, one, true);
	shake(&client, &server);
	cr_assert_eq(client.state, -EKEYREJECTED);
	cr_assert_gt(client.out.len, 0u, "an alert for the other end");
	end_release(&client);
	end_release(&server);
	tls_identity_free(joining);
	tls_identity_free(one);
}

/* Neither knows the CA of the other; who notices first tells. */
Test(tls, a_stranger_is_refused_and_told)
{
	struct tls_identity *one = load_node(dir, "node1"), *stranger;
	struct end client, server;

	make_node(dir, "stranger", "other-ca", 2);
	end_init(&server, one, true);
	stranger = load_node(dir, "stranger");
	end_init(&client, stranger, false);
	shake(&client, &server);
	cr_assert_eq(client.state, -EKEYREJECTED, "the stranger does not know our CA either");
	pass(&client, &server);
	cr_assert_eq(server.state, -EKEYREJECTED);
	end_release(&client);
	end_release(&server);
	tls_identity_free(stranger);
	tls_identity_free(one);
}

static X509 *read_cert(const char *path)
{
	FILE *f = fopen(path, "r");
	X509 *cert = PEM_read_X509(f, NULL, NULL, NULL);

	fclose(f);
	return cert;
}

static EVP_PKEY *read_key(const char *path)
{
	FILE *f = fopen(path, "r");
	EVP_PKEY *key = PEM_read_PrivateKey(f, NULL, NULL, NULL);

	fclose(f);
	return key;
}

Test(tls, an_expired_certificate_is_told_apart)
{
	struct tls_identity *id = NULL;
	X509 *cert = read_cert(in_dir("node1/node.crt"));
	EVP_PKEY *ca_key = read_key(in_dir("ca/ca.key"));
	FILE *f;

	cr_assert(cert && ca_key);
	X509_gmtime_adj(X509_getm_notAfter(cert), -3600);
	cr_assert(X509_sign(cert, ca_key, EVP_sha256()));
	f = fopen(in_dir("node1/node.crt"), "w");
	PEM_write_X509(f, cert);
	fclose(f);
	cr_assert_eq(tls_identity_load(in_dir("node1"), &id), -EKEYEXPIRED);
	X509_free(cert);
	EVP_PKEY_free(ca_key);
}

Test(tls, what_is_not_tls_is_a_protocol_error)
{
	static const uint8_t text[] = "CF this is a plain frame, not a client hello";
	struct tls_identity *one = load_node(dir, "node1");
	struct end server;

	end_init(&server, one, true);
	tls_stream_lend(server.s, text, sizeof(text));
	cr_assert_eq(tls_stream_handshake(server.s), -EPROTO);
	end_release(&server);
	tls_identity_free(one);
}

Test(tls, older_versions_are_not_spoken)
{
	struct tls_identity *one = load_node(dir, "node1");
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl;
	BIO *in, *out;
	struct end server;
	char *bytes;
	long len;

	SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
	ssl = SSL_new(ctx);
	in = BIO_new(BIO_s_mem());
	out = BIO_new(BIO_s_mem());
	SSL_set_bio(ssl, in, out);
	SSL_set_connect_state(ssl);
	SSL_do_handshake(ssl);
	len = BIO_get_mem_data(out, &bytes);
	end_init(&server, one, true);
	tls_stream_lend(server.s, (const uint8_t *)bytes, (size_t)len);
	cr_assert_eq(tls_stream_handshake(server.s), -EPROTO);
	end_release(&server);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	tls_identity_free(one);
}

Test(tls, freeing_nothing_is_fine)
{
	tls_identity_free(NULL);
	tls_stream_free(NULL);
}
