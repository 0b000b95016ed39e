/*
 * Identities: key, certificate and CA in one SSL_CTX, used for both ends of connections. Immutable once made, so any
 * number of loops may share one.
 *
 * A server asks every client for a certificate and verifies it if there is one; a client without one (it is just
 * joining) may say only what is open to ANY (wire/rpc.c). A joining client knows the CA by its fingerprint only: the
 * server sends the CA's certificate along, and it becomes the trust anchor if, and only if, the fingerprint is right.
 */
#include "wire/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/tls_internal.h"

int tls_path(const char *dir, const char *file, char ret_path[PATH_MAX])
{
	int n = snprintf(ret_path, PATH_MAX, "%s/%s", dir, file);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int open_bio(const char *dir, const char *file, BIO **ret_bio)
{
	char path[PATH_MAX];
	int r = tls_path(dir, file, path);
	FILE *f;

	if (r < 0)
		return r;
	f = fopen(path, "re");
	if (!f)
		return -errno;
	*ret_bio = BIO_new_fp(f, BIO_CLOSE);
	if (*ret_bio)
		return 0;
	fclose(f);
	return -ENOMEM;
}

int tls_load_cert(const char *dir, const char *file, X509 **ret_cert)
{
	BIO *bio = NULL;
	X509 *cert;
	int r = open_bio(dir, file, &bio);

	if (r < 0)
		return r;
	cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	BIO_free(bio);
	ERR_clear_error();
	if (!cert)
		return -EKEYREJECTED;
	*ret_cert = cert;
	return 0;
}

int tls_no_passphrase(char *buf, int size, int rwflag, void *ctx)
{
	(void)buf, (void)size, (void)rwflag, (void)ctx;
	return -1;
}

int tls_load_key(const char *dir, const char *file, EVP_PKEY **ret_key)
{
	BIO *bio = NULL;
	EVP_PKEY *key;
	int r = open_bio(dir, file, &bio);

	if (r < 0)
		return r;
	key = PEM_read_bio_PrivateKey(bio, NULL, tls_no_passphrase, NULL);
	BIO_free(bio);
	ERR_clear_error();
	if (!key)
		return -EKEYREJECTED;
	*ret_key = key;
	return 0;
}

int tls_verify_errno(long verify_result)
{
	switch (verify_result) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return -EKEYEXPIRED;
	case X509_V_ERR_CERT_REVOKED:
		return -EKEYREVOKED;
	default:
		return -EKEYREJECTED;
	}
}

static int identity_new(struct tls_identity **ret_id)
{
	struct tls_identity *id = calloc(1, sizeof(*id));

	if (!id)
		return -ENOMEM;
	id->bio = tls_stream_bio_method();
	id->ctx = SSL_CTX_new(TLS_method());
	if (!id->bio || !id->ctx ||
	    !SSL_CTX_set_min_proto_version(id->ctx, TLS1_3_VERSION) ||
	    !SSL_CTX_set_ciphersuites(id->ctx, "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256") ||
	    /* Connections live for days: nothing is resumed. */
	    !SSL_CTX_set_num_tickets(id->ctx, 0)) {
		tls_identity_free(id);
		return -ENOMEM;
	}
	SSL_CTX_set_session_cache_mode(id->ctx, SSL_SESS_CACHE_OFF);
	/* A server without SSL_VERIFY_FAIL_IF_NO_PEER_CERT: see the top of the file. */
	SSL_CTX_set_verify(id->ctx, SSL_VERIFY_PEER, NULL);
	*ret_id = id;
	return 0;
}

void tls_identity_free(struct tls_identity *id)
{
	if (!id)
		return;
	SSL_CTX_free(id->ctx);
	BIO_meth_free(id->bio);
	free(id);
}

/* The certificate must be good for our own CA, otherwise everybody would refuse us, less clearly. */
static int check_own(X509_STORE *store, X509 *cert)
{
	X509_STORE_CTX *sc = X509_STORE_CTX_new();
	int r = -ENOMEM;

	if (sc && X509_STORE_CTX_init(sc, store, cert, NULL))
		r = X509_verify_cert(sc) == 1 ? 0 : tls_verify_errno(X509_STORE_CTX_get_error(sc));
	X509_STORE_CTX_free(sc);
	return r;
}

static int identity_use(struct tls_identity *id, X509 *ca, X509 *cert, EVP_PKEY *key)
{
	X509_STORE *store = SSL_CTX_get_cert_store(id->ctx);

	if (!X509_STORE_add_cert(store, ca))
		return -ENOMEM;
	if (!SSL_CTX_use_certificate(id->ctx, cert) || !SSL_CTX_use_PrivateKey(id->ctx, key))
		return -EKEYREJECTED;
	/* Sent along for those who know only its fingerprint. */
	if (!SSL_CTX_add1_chain_cert(id->ctx, ca))
		return -ENOMEM;
	return check_own(store, cert);
}

int tls_identity_load(const char *dir, struct tls_identity **ret_id)
{
	struct tls_identity *id = NULL;
	X509 *ca = NULL, *cert = NULL;
	EVP_PKEY *key = NULL;
	int r;

	if ((r = tls_load_cert(dir, "ca.crt", &ca)) < 0 || (r = tls_load_cert(dir, "node.crt", &cert)) < 0 ||
	    (r = tls_load_key(dir, "node.key", &key)) < 0 || (r = identity_new(&id)) < 0)
		goto out;
	r = identity_use(id, ca, cert, key);
	if (r < 0)
		goto out;
	*ret_id = id;
	id = NULL;
out:
	ERR_clear_error();
	tls_identity_free(id);
	EVP_PKEY_free(key);
	X509_free(cert);
	X509_free(ca);
	return r;
}

static X509 *find_by_fingerprint(STACK_OF(X509) *certs, const uint8_t sha256[TLS_FINGERPRINT_LEN])
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned len;

	for (int i = 0; i < sk_X509_num(certs); i++) {
		X509 *cert = sk_X509_value(certs, i);

		if (X509_digest(cert, EVP_sha256(), digest, &len) && len == TLS_FINGERPRINT_LEN &&
		    !memcmp(digest, sha256, TLS_FINGERPRINT_LEN))
			return cert;
	}
	return NULL;
}

/* SSL_CTX_set_cert_verify_callback(3): ordinary verification, with the CA that came along as the only anchor. */
static int verify_joining(X509_STORE_CTX *sc, void *arg)
{
	const struct tls_identity *id = arg;
	X509 *ca = find_by_fingerprint(X509_STORE_CTX_get0_untrusted(sc), id->ca_sha256);
	STACK_OF(X509) *anchors;
	int ok = 0;

	if (!ca) {
		X509_STORE_CTX_set_error(sc, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN);
		return 0;
	}
	anchors = sk_X509_new_null();
	if (anchors && sk_X509_push(anchors, ca)) {
		X509_STORE_CTX_set0_trusted_stack(sc, anchors);
		ok = X509_verify_cert(sc) == 1;
	} else {
		X509_STORE_CTX_set_error(sc, X509_V_ERR_OUT_OF_MEM);
	}
	X509_STORE_CTX_set0_trusted_stack(sc, NULL);
	sk_X509_free(anchors);
	return ok;
}

int tls_identity_joining(const uint8_t ca_sha256[32], struct tls_identity **ret_id)
{
	struct tls_identity *id;
	int r = identity_new(&id);

	if (r < 0)
		return r;
	id->joining = true;
	memcpy(id->ca_sha256, ca_sha256, TLS_FINGERPRINT_LEN);
	SSL_CTX_set_cert_verify_callback(id->ctx, verify_joining, id);
	*ret_id = id;
	return 0;
}
