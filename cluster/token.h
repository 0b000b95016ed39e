/*
 * A join token, as a string that survives a shell and tells a typing error. Pure.
 * "cfs1-", then base64url of: 16 bytes secret, 32 bytes SHA-256 of the CA, u8 count, count times (name host, u16 port),
 * and the first 4 bytes of the SHA-256 of all that.
 */
#ifndef CFS_CLUSTER_TOKEN_H
#define CFS_CLUSTER_TOKEN_H

#include <stdint.h>

#include "cluster/config.h"

#define TOKEN_SECRET_LEN 16
#define TOKEN_ADDRESSES_MAX 8

struct join_token {
	uint8_t secret[TOKEN_SECRET_LEN];
	uint8_t ca_sha256[32];
	struct {
		char host[CONFIG_ADDRESS_MAX];
		uint16_t port;
	} address[TOKEN_ADDRESSES_MAX];
	size_t nr_addresses;
};

/* malloc'ed string; NULL when out of memory. */
char *join_token_encode(const struct join_token *t);
/* -EBADMSG: not a token, or not all of it. -EPROTONOSUPPORT: of a newer version. */
int join_token_decode(const char *text, struct join_token *ret_t);
/* What the cluster keeps of it. */
void join_token_hash(const uint8_t *secret, size_t len, uint8_t ret_sha256[32]);

#endif
