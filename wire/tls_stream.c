/*
 * A BIO of our own stands between OpenSSL and the buffers: reads come from the bytes lent by the transport, writes are
 * appended to its output, so that no bytes wait in queues of OpenSSL's.
 *
 * SSL_get_error(3) wants the thread's error queue empty beforehand; emptying it costs more than a short read, looking
 * into it does not.
 */
#include "wire/tls_stream.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "wire/tls_internal.h"

struct tls_stream {
	SSL *ssl;
	const uint8_t *in; /* borrowed */
	size_t in_len;
	struct wire_writer *out; /* borrowed */
	const char *reason;
};

static int bio_read(BIO *bio, char *buf, size_t len, size_t *ret_n)
{
	struct tls_stream *s = BIO_get_data(bio);
	size_t n = len < s->in_len ? len : s->in_len;

	BIO_clear_retry_flags(bio);
	if (!n) {
		BIO_set_retry_read(bio);
		return 0;
	}
	memcpy(buf, s->in, n);
	s->in += n;
	s->in_len -= n;
	*ret_n = n;
	return 1;
}

static int bio_write(BIO *bio, const char *buf, size_t len, size_t *ret_n)
{
	struct tls_stream *s = BIO_get_data(bio);
	uint8_t *p = wire_reserve(s->out, len);

	BIO_clear_retry_flags(bio);
	if (!p)
		return 0;
	memcpy(p, buf, len);
	*ret_n = len;
	return 1;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	(void)bio, (void)num, (void)ptr;
	return cmd == BIO_CTRL_FLUSH;
}

BIO_METHOD *tls_stream_bio_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "cfs stream");

	if (m && BIO_meth_set_read_ex(m, bio_read) && BIO_meth_set_write_ex(m, bio_write) &&
	    BIO_meth_set_ctrl(m, bio_ctrl))
		return m;
	BIO_meth_free(m);
	return NULL;
}

int tls_stream_new(struct tls_identity *id, bool server, struct wire_writer *out, struct tls_stream **ret_s)
{
	struct tls_stream *s = calloc(1, sizeof(*s));
	BIO *bio = NULL;

	if (!s)
		return -ENOMEM;
	s->out = out;
	s->ssl = SSL_new(id->ctx);
	if (s->ssl)
		bio = BIO_new(id->bio);
	if (!bio) {
		tls_stream_free(s);
		return -ENOMEM;
	}
	BIO_set_data(bio, s);
	BIO_set_init(bio, 1);
	SSL_set_bio(s->ssl, bio, bio);
	if (server)
		SSL_set_accept_state(s->ssl);
	else
		SSL_set_connect_state(s->ssl);
	*ret_s = s;
	return 0;
}

void tls_stream_free(struct tls_stream *s)
{
	if (!s)
		return;
	SSL_free(s->ssl);
	free(s);
}

void tls_stream_lend(struct tls_stream *s, const uint8_t *bytes, size_t len)
{
	assert(!s->in_len);
	s->in = bytes;
	s->in_len = len;
}

/* The other end refused us: the alert it sent says why (RFC 8446, 6.2). */
static int alert_errno(int reason)
{
	switch (reason) {
	case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
		return -EKEYEXPIRED;
	case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
		return -EKEYREVOKED;
	case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
	case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
	case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
	case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
	case SSL_R_TLSV1_ALERT_DECRYPT_ERROR:
	case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
		return -EKEYREJECTED;
	default:
		return 0;
	}
}

/* What OpenSSL has to say -> errno; OTHERWISE when it is neither side's certificate. */
static int failure(struct tls_stream *s, int ssl_error, int otherwise)
{
	unsigned long e = ERR_peek_last_error();
	long verify = SSL_get_verify_result(s->ssl);
	int r = otherwise;

	if (ssl_error == SSL_ERROR_ZERO_RETURN) {
		s->reason = "closed by the other end";
		return -ECONNRESET;
	}
	s->reason = ERR_reason_error_string(e);
	if (verify != X509_V_OK) {
		s->reason = X509_verify_cert_error_string(verify);
		r = tls_verify_errno(verify);
	} else if (s->out->err) {
		s->reason = "no memory";
		r = s->out->err;
	} else if (alert_errno(ERR_GET_REASON(e))) {
		r = alert_errno(ERR_GET_REASON(e));
	}
	ERR_clear_error();
	return r;
}

static void forget_errors(void)
{
	if (ERR_peek_error())
		ERR_clear_error();
}

int tls_stream_handshake(struct tls_stream *s)
{
	int r, e;

	forget_errors();
	r = SSL_do_handshake(s->ssl);
	if (r == 1)
		return 1;
	e = SSL_get_error(s->ssl, r);
	return e == SSL_ERROR_WANT_READ ? 0 : failure(s, e, -EPROTO);
}

ssize_t tls_stream_read(struct tls_stream *s, void *buf, size_t len)
{
	size_t n;
	int r, e;

	forget_errors();
	r = SSL_read_ex(s->ssl, buf, len, &n);
	if (r == 1)
		return (ssize_t)n;
	e = SSL_get_error(s->ssl, r);
	return e == SSL_ERROR_WANT_READ ? 0 : failure(s, e, -EBADMSG);
}

int tls_stream_write(struct tls_stream *s, const void *buf, size_t len)
{
	size_t n;
	int r;

	forget_errors();
	r = SSL_write_ex(s->ssl, buf, len, &n);
	if (r == 1) {
		assert(n == len);
		return 0;
	}
	return failure(s, SSL_get_error(s->ssl, r), -EPROTO);
}

/* "CN=<node id>", decimal, nothing else. */
static uint32_t subject_node(X509 *cert)
{
	X509_NAME *name = X509_get_subject_name(cert);
	int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
	const ASN1_STRING *cn;
	uint64_t id = 0;

	if (at < 0)
		return 0;
	cn = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
	for (int i = 0; i < ASN1_STRING_length(cn); i++) {
		unsigned char c = ASN1_STRING_get0_data(cn)[i];

		if (c < '0' || c > '9')
			return 0;
		id = id * 10 + (uint64_t)(c - '0');
		if (id > UINT32_MAX)
			return 0;
	}
	return (uint32_t)id;
}

uint32_t tls_stream_peer_node(const struct tls_stream *s)
{
	X509 *cert = SSL_get0_peer_certificate(s->ssl);

	return cert ? subject_node(cert) : 0;
}

const char *tls_stream_reason(const struct tls_stream *s)
{
	return s->reason ? s->reason : "unknown";
}
