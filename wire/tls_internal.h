/* What tls*.c share; nobody else includes it. */
#ifndef CFS_WIRE_TLS_INTERNAL_H
#define CFS_WIRE_TLS_INTERNAL_H

#include <limits.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

enum { TLS_FINGERPRINT_LEN = 32, TLS_PEM_MAX = 65536 };

struct tls_identity {
	SSL_CTX *ctx;
	BIO_METHOD *bio; /* between a stream's buffers and OpenSSL (tls_stream.c) */
	bool joining;
	uint8_t ca_sha256[TLS_FINGERPRINT_LEN]; /* when joining */
};

/* For tls.c: the method every stream's BIO is made of. NULL: no memory. */
BIO_METHOD *tls_stream_bio_method(void);
/* X509_V_ERR_* -> -EKEYEXPIRED, -EKEYREVOKED or -EKEYREJECTED. */
int tls_verify_errno(long verify_result);

/* pem_password_cb: a daemon has nobody to ask for a passphrase. */
int tls_no_passphrase(char *buf, int size, int rwflag, void *ctx);
/* PEM files; the caller frees. -ENOENT, -EKEYREJECTED (unreadable), other -errno. */
int tls_load_cert(const char *dir, const char *file, X509 **ret_cert);
int tls_load_key(const char *dir, const char *file, EVP_PKEY **ret_key);
int tls_path(const char *dir, const char *file, char ret_path[PATH_MAX]);

#endif
