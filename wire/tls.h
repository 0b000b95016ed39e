/*
 * Who a node is: its key, its certificate, the cluster's CA. TLS 1.3 only; the certificate's subject names the node
 * ("CN=<node id>"), so that a connection's node cannot be pretended in hello.
 *
 * A cluster issues its own certificates: `cfs init` makes the CA and the first node's certificate, `cfs join` sends a
 * signing request with a one-use token. Files in <state>/tls: ca.crt, ca.key (voters), node.crt, node.key (0600).
 */
#ifndef CFS_WIRE_TLS_H
#define CFS_WIRE_TLS_H

#include <stddef.h>
#include <stdint.h>

struct tls_identity;

/* Loads <dir>/{ca.crt,node.crt,node.key}. 0 or -errno (-ENOENT, -EKEYREJECTED: unreadable or not matching). */
int tls_identity_load(const char *dir, struct tls_identity **ret_id);
/* For one that is joining: verifies the server by the CA's SHA-256 fingerprint (32 bytes, from the token), has no
   certificate of its own. */
int tls_identity_joining(const uint8_t ca_sha256[32], struct tls_identity **ret_id);
void tls_identity_free(struct tls_identity *id);

/* Makes a CA for CLUSTER_NAME in DIR (created 0700). -EEXIST when there is one. */
int tls_ca_create(const char *dir, const char *cluster_name);
int tls_ca_fingerprint(const char *dir, uint8_t ret_sha256[32]);
/* Makes <dir>/node.key when missing and a signing request (PEM, malloc'ed). */
int tls_request_create(const char *dir, char **ret_csr_pem);
/* SHA-256 of the public key that a signing request is for. -EBADMSG: not a request, or its sender has not the key. */
int tls_request_key(const char *csr_pem, uint8_t ret_sha256[32]);
/* Keeps the CA's key that another voter gave in DIR. -EKEYREJECTED: not the key of the CA there. */
int tls_ca_key_keep(const char *dir, const void *pem, size_t len);
/* The CA in DIR signs CSR for NODE_ID. PEM, malloc'ed. -EBADMSG when the request is not one. */
int tls_ca_sign(const char *dir, const char *csr_pem, uint32_t node_id, const char *node_name, char **ret_cert_pem);

#endif
