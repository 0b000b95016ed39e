/*
 * One call from a command that has no loop: connects to the first candidate that answers, says hello, calls, and
 * returns the reply. Blocks; runs a loop of its own.
 */
#ifndef CFS_WIRE_ONCE_H
#define CFS_WIRE_ONCE_H

#include <stddef.h>
#include <stdint.h>

#include "wire/rpc.h"

struct once_peer {
	const char *host; /* numeric address or a name */
	uint16_t port;
};

/*
 * PEERS are tried in order, each for its share of TIMEOUT_MS (all that is left for the last). The next one is tried when
 * one cannot be reached, or answers -EREMCHG (not the one to ask, and nothing was done); an error after the request was
 * sent otherwise is final, because the request may have been carried out. A self with RPC_ROLE_NONE says no hello.
 *
 * 0 and the reply (struct msg_<name>_rep, what it borrows included; one free() releases all; ret_rep may be NULL), or
 * the status of the reply, or -ETIMEDOUT, -ECONNREFUSED, -EHOSTUNREACH, -EKEYREJECTED, -EPROTONOSUPPORT, ...: of the
 * last peer tried. -EINVAL: no peers.
 */
int once_call(const struct once_peer *peers, size_t nr_peers, const struct rpc_self *self, struct tls_identity *tls,
	      enum msg_type type, const void *req, uint32_t timeout_ms, void **ret_rep);

#endif
