/*
 * The cluster's own certificate authority: one P-256 key, certificates that name nodes. Used by `cfs init` and by the
 * nodes that answer `cfs join`; no state, blocking file access, not for a loop's thread.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "wire/tls.h"
#include "wire/tls_internal.h"

enum { CA_DAYS = 30 * 365, NODE_DAYS = 10 * 365, SECONDS_PER_DAY = 86400, X509_UNIT_NAME_MAX = 64 };

static int write_text(const char *dir, const char *file, BIO *text, unsigned mode)
{
	char *bytes;
	long len = BIO_get_mem_data(text, &bytes);

	return file_replace(dir, file, bytes, (size_t)len, mode, true);
}

static int write_key(const char *dir, const char *file, EVP_PKEY *key)
{
	BIO *text = BIO_new(BIO_s_mem());
	int r = -ENOMEM;

	if (text && PEM_write_bio_PKCS8PrivateKey(text, key, NULL, NULL, 0, NULL, NULL))
		r = write_text(dir, file, text, 0600);
	BIO_free(text);
	return r;
}

static int write_cert(const char *dir, const char *file, X509 *cert)
{
	BIO *text = BIO_new(BIO_s_mem());
	int r = -ENOMEM;

	if (text && PEM_write_bio_X509(text, cert))
		r = write_text(dir, file, text, 0644);
	BIO_free(text);
	return r;
}

/* The text of a memory BIO as a C string, malloc'ed. */
static int take_text(BIO *text, char **ret_text)
{
	char *bytes;
	long len = BIO_get_mem_data(text, &bytes);
	char *copy = strndup(bytes, (size_t)len);

	if (!copy)
		return -ENOMEM;
	*ret_text = copy;
	return 0;
}

static int set_random_serial(X509 *cert)
{
	uint8_t bytes[20]; /* RFC 5280, 4.1.2.2: positive, at most 20 octets */
	BIGNUM *n;
	int ok;

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return 0;
	bytes[0] &= 0x7f;
	bytes[0] |= 0x01;
	n = BN_bin2bn(bytes, sizeof(bytes), NULL);
	ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));
	BN_free(n);
	return ok;
}

static int add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *ext;
	X509V3_CTX v3;
	int ok;

	X509V3_set_ctx_nodb(&v3);
	X509V3_set_ctx(&v3, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &v3, nid, value);
	ok = ext && X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
	return ok;
}

static int add_name(X509_NAME *name, const char *field, const char *text)
{
	return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)text, -1, -1, 0);
}

/* Version, serial, validity and key. A day back: clocks of nodes differ. */
static X509 *cert_new(EVP_PKEY *pubkey, int days)
{
	X509 *cert = X509_new();

	if (cert && X509_set_version(cert, X509_VERSION_3) && set_random_serial(cert) &&
	    X509_gmtime_adj(X509_getm_notBefore(cert), -SECONDS_PER_DAY) &&
	    X509_time_adj_ex(X509_getm_notAfter(cert), days, 0, NULL) && X509_set_pubkey(cert, pubkey))
		return cert;
	X509_free(cert);
	return NULL;
}

static X509 *ca_cert_new(EVP_PKEY *key, const char *cluster_name)
{
	X509 *cert = cert_new(key, CA_DAYS);
	char cn[X509_UNIT_NAME_MAX + 1];

	snprintf(cn, sizeof(cn), "CFS cluster %s", cluster_name);
	if (cert && add_name(X509_get_subject_name(cert), "CN", cn) &&
	    X509_set_issuer_name(cert, X509_get_subject_name(cert)) &&
	    add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
	    add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") &&
	    add_extension(cert, cert, NID_subject_key_identifier, "hash") && X509_sign(cert, key, EVP_sha256()))
		return cert;
	X509_free(cert);
	return NULL;
}

int tls_ca_create(const char *dir, const char *cluster_name)
{
	char path[PATH_MAX];
	EVP_PKEY *key = NULL;
	X509 *cert = NULL;
	int r = tls_path(dir, "ca.crt", path);

	if (r < 0)
		return r;
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return -errno;
	if (access(path, F_OK) == 0)
		return -EEXIST;
	key = EVP_EC_gen("P-256");
	if (key)
		cert = ca_cert_new(key, cluster_name);
	/* The certificate last: it is what says that there is a CA. */
	r = !cert ? -ENOMEM : write_key(dir, "ca.key", key);
	if (!r)
		r = write_cert(dir, "ca.crt", cert);
	ERR_clear_error();
	X509_free(cert);
	EVP_PKEY_free(key);
	return r;
}

int tls_ca_key_keep(const char *dir, const void *pem, size_t len)
{
	BIO *text = len <= TLS_PEM_MAX ? BIO_new_mem_buf(pem, (int)len) : NULL;
	EVP_PKEY *key = NULL;
	X509 *ca = NULL;
	int r = tls_load_cert(dir, "ca.crt", &ca);

	if (!r) {
		key = text ? PEM_read_bio_PrivateKey(text, NULL, tls_no_passphrase, NULL) : NULL;
		r = key && X509_check_private_key(ca, key) ? write_key(dir, "ca.key", key) : -EKEYREJECTED;
	}
	ERR_clear_error();
	EVP_PKEY_free(key);
	X509_free(ca);
	BIO_free(text);
	return r;
}

int tls_ca_fingerprint(const char *dir, uint8_t ret_sha256[32])
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	X509 *cert = NULL;
	unsigned len = 0;
	int r = tls_load_cert(dir, "ca.crt", &cert);

	if (r < 0)
		return r;
	if (X509_digest(cert, EVP_sha256(), digest, &len) && len == TLS_FINGERPRINT_LEN)
		memcpy(ret_sha256, digest, TLS_FINGERPRINT_LEN);
	else
		r = -EIO;
	X509_free(cert);
	return r;
}

static int load_or_make_key(const char *dir, EVP_PKEY **ret_key)
{
	EVP_PKEY *key;
	int r = tls_load_key(dir, "node.key", ret_key);

	if (r != -ENOENT)
		return r;
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return -errno;
	key = EVP_EC_gen("P-256");
	if (!key)
		return -ENOMEM;
	r = write_key(dir, "node.key", key);
	if (r < 0)
		EVP_PKEY_free(key);
	else
		*ret_key = key;
	return r;
}

int tls_request_create(const char *dir, char **ret_csr_pem)
{
	EVP_PKEY *key = NULL;
	X509_REQ *req = NULL;
	BIO *text = NULL;
	int r = load_or_make_key(dir, &key);

	if (r < 0)
		return r;
	r = -ENOMEM;
	req = X509_REQ_new();
	text = BIO_new(BIO_s_mem());
	/* The subject stays empty: who it is, the CA says. */
	if (req && text && X509_REQ_set_version(req, X509_REQ_VERSION_1) && X509_REQ_set_pubkey(req, key) &&
	    X509_REQ_sign(req, key, EVP_sha256()) && PEM_write_bio_X509_REQ(text, req))
		r = take_text(text, ret_csr_pem);
	ERR_clear_error();
	BIO_free(text);
	X509_REQ_free(req);
	EVP_PKEY_free(key);
	return r;
}

/* The request proves that its sender has the private key; nothing else in it is used. */
static int parse_request(const char *csr_pem, X509_REQ **ret_req)
{
	BIO *text;
	X509_REQ *req;
	EVP_PKEY *key;

	if (strlen(csr_pem) > TLS_PEM_MAX)
		return -EBADMSG;
	text = BIO_new_mem_buf(csr_pem, -1);
	if (!text)
		return -ENOMEM;
	req = PEM_read_bio_X509_REQ(text, NULL, NULL, NULL);
	BIO_free(text);
	key = req ? X509_REQ_get0_pubkey(req) : NULL;
	if (!key || EVP_PKEY_get_security_bits(key) < 112 || X509_REQ_verify(req, key) != 1) {
		X509_REQ_free(req);
		return -EBADMSG;
	}
	*ret_req = req;
	return 0;
}

int tls_request_key(const char *csr_pem, uint8_t ret_sha256[32])
{
	unsigned char *der = NULL;
	X509_REQ *req;
	int len, r = parse_request(csr_pem, &req);

	if (!r) {
		len = i2d_PUBKEY(X509_REQ_get0_pubkey(req), &der);
		if (len <= 0 || !EVP_Digest(der, (size_t)len, ret_sha256, NULL, EVP_sha256(), NULL))
			r = -ENOMEM;
		OPENSSL_free(der);
		X509_REQ_free(req);
	}
	ERR_clear_error();
	return r;
}

static X509 *node_cert_new(X509 *ca, EVP_PKEY *ca_key, EVP_PKEY *pubkey, uint32_t node_id, const char *node_name)
{
	X509 *cert = cert_new(pubkey, NODE_DAYS);
	char cn[16];

	snprintf(cn, sizeof(cn), "%u", node_id);
	if (cert && add_name(X509_get_subject_name(cert), "CN", cn) &&
	    /* For those who read certificates; the id is what counts. */
	    (!*node_name || strlen(node_name) > X509_UNIT_NAME_MAX ||
	     add_name(X509_get_subject_name(cert), "OU", node_name)) &&
	    X509_set_issuer_name(cert, X509_get_subject_name(ca)) &&
	    add_extension(cert, ca, NID_basic_constraints, "critical,CA:FALSE") &&
	    add_extension(cert, ca, NID_key_usage, "critical,digitalSignature") &&
	    add_extension(cert, ca, NID_ext_key_usage, "serverAuth,clientAuth") &&
	    add_extension(cert, ca, NID_authority_key_identifier, "keyid:always") &&
	    X509_sign(cert, ca_key, EVP_sha256()))
		return cert;
	X509_free(cert);
	return NULL;
}

int tls_ca_sign(const char *dir, const char *csr_pem, uint32_t node_id, const char *node_name, char **ret_cert_pem)
{
	EVP_PKEY *ca_key = NULL;
	X509 *ca = NULL, *cert = NULL;
	X509_REQ *req = NULL;
	BIO *text = NULL;
	int r;

	if (!node_id)
		return -EINVAL;
	if ((r = tls_load_cert(dir, "ca.crt", &ca)) < 0 || (r = tls_load_key(dir, "ca.key", &ca_key)) < 0 ||
	    (r = parse_request(csr_pem, &req)) < 0)
		goto out;
	r = -ENOMEM;
	cert = node_cert_new(ca, ca_key, X509_REQ_get0_pubkey(req), node_id, node_name ? node_name : "");
	text = BIO_new(BIO_s_mem());
	if (cert && text && PEM_write_bio_X509(text, cert))
		r = take_text(text, ret_cert_pem);
out:
	ERR_clear_error();
	BIO_free(text);
	X509_free(cert);
	X509_REQ_free(req);
	X509_free(ca);
	EVP_PKEY_free(ca_key);
	return r;
}
