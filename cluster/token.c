/* Join tokens as strings. Pure, any thread. */
#include "cluster/token.h"
#include "common/cleanup.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 2048, CHECK_LEN = 4 };
static const char FAMILY[] = "cfs", PREFIX[] = "cfs1-";

void join_token_hash(const uint8_t *secret, size_t len, uint8_t ret_sha256[32])
{
	SHA256(secret, len, ret_sha256);
}

static char *to_text(const uint8_t *p, size_t len)
{
	char *text = malloc(strlen(PREFIX) + 4 * ((len + 2) / 3) + 1);

	if (!text)
		return NULL;
	strcpy(text, PREFIX);
	EVP_EncodeBlock((unsigned char *)text + strlen(PREFIX), p, (int)len);
	for (char *c = text + strlen(PREFIX); *c; c++)
		*c = *c == '+' ? '-' : *c == '/' ? '_' : *c == '=' ? '\0' : *c;
	return text;
}

/* Bytes of a text without padding; their number, or -EBADMSG. */
static int from_text(const char *text, uint8_t *ret)
{
	char padded[TEXT_MAX + 4];
	size_t len = strlen(text), pad = (4 - len % 4) % 4;
	int n;

	if (!len || len > TEXT_MAX - 4 || pad == 3)
		return -EBADMSG;
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '+' || text[i] == '/' || text[i] == '=')
			return -EBADMSG;
		padded[i] = text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];
	}
	memset(padded + len, '=', pad);
	n = EVP_DecodeBlock(ret, (unsigned char *)padded, (int)(len + pad));
	return n < 0 ? -EBADMSG : n - (int)pad;
}

char *join_token_encode(const struct join_token *t)
{
	struct wire_writer w;
	uint8_t n = (uint8_t)t->nr_addresses, sha256[32], *p;
	char *text;

	wire_writer_init(&w);
	p = wire_reserve(&w, sizeof(t->secret));
	if (p)
		memcpy(p, t->secret, sizeof(t->secret));
	p = wire_reserve(&w, sizeof(t->ca_sha256));
	if (p)
		memcpy(p, t->ca_sha256, sizeof(t->ca_sha256));
	wire_put_u8(&w, &n);
	for (size_t i = 0; i < t->nr_addresses; i++) {
		const char *host = t->address[i].host;

		wire_put_name(&w, &host);
		wire_put_u16(&w, &t->address[i].port);
	}
	join_token_hash(w.buf, w.len, sha256);
	p = wire_reserve(&w, CHECK_LEN);
	if (p)
		memcpy(p, sha256, CHECK_LEN);
	text = w.err ? NULL : to_text(w.buf, w.len);
	wire_writer_release(&w);
	return text;
}

static int take(struct wire_reader *r, uint8_t *ret, size_t len)
{
	if ((size_t)(r->end - r->p) < len)
		return -EBADMSG;
	memcpy(ret, r->p, len);
	r->p += len;
	return 0;
}

static int decode(struct wire_reader *r, struct join_token *t)
{
	uint8_t n;

	if (take(r, t->secret, sizeof(t->secret)) < 0 || take(r, t->ca_sha256, sizeof(t->ca_sha256)) < 0 ||
	    wire_get_u8(r, &n) < 0 || n > TOKEN_ADDRESSES_MAX)
		return -EBADMSG;
	for (t->nr_addresses = 0; t->nr_addresses < n; t->nr_addresses++) {
		const char *host;

		if (wire_get_name(r, &host) < 0 || strlen(host) >= sizeof(t->address[0].host) ||
		    wire_get_u16(r, &t->address[t->nr_addresses].port) < 0)
			return -EBADMSG;
		strcpy(t->address[t->nr_addresses].host, host);
	}
	return r->p == r->end ? 0 : -EBADMSG;
}

int join_token_decode(const char *text, struct join_token *ret_t)
{
	uint8_t buf[TEXT_MAX], sha256[32];
	struct join_token t = { 0 };
	struct wire_reader rd;
	_cleanup_free_ char *again = NULL;
	int n, r;

	if (strncmp(text, PREFIX, strlen(PREFIX))) {
		bool other = !strncmp(text, FAMILY, strlen(FAMILY)) && strchr("23456789", text[strlen(FAMILY)]);

		return other && text[strlen(FAMILY)] ? -EPROTONOSUPPORT : -EBADMSG;
	}
	n = from_text(text + strlen(PREFIX), buf);
	if (n < CHECK_LEN)
		return -EBADMSG;
	/* The library skips blanks and ignores left-over bits: a token has one text only. */
	again = to_text(buf, (size_t)n);
	if (!again || strcmp(again, text))
		return again ? -EBADMSG : -ENOMEM;
	join_token_hash(buf, (size_t)n - CHECK_LEN, sha256);
	if (memcmp(buf + n - CHECK_LEN, sha256, CHECK_LEN))
		return -EBADMSG;
	rd = (struct wire_reader){ buf, buf + n - CHECK_LEN };
	r = decode(&rd, &t);
	if (!r)
		*ret_t = t;
	return r;
}
