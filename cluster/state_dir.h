/*
 * The files of the state directory that say who this node is and where the cluster is, for the daemon and for every
 * program beside it (mounts, commands). Blocking file access.
 *
 *   node     identity, JSON: {"format":1,"cluster":"<16 hex digits>","cluster_name":..,"id":..,"name":..,"host":..,"port":..}
 *   config   the last known configuration (config_encode), written whole and renamed
 *   tls/     wire/tls.h
 *   cluster/ raft_store.h
 */
#ifndef CFS_CLUSTER_STATE_DIR_H
#define CFS_CLUSTER_STATE_DIR_H

#include "cluster/config.h"

#define STATE_DIR_DEFAULT "/var/lib/cfs"
#define STATE_DIR_ENV "CFS_STATE_DIR"
#define CLUSTER_PORT_DEFAULT 7480

struct node_identity {
	uint64_t cluster_id;
	uint32_t id;
	char cluster_name[CONFIG_NAME_MAX];
	char name[CONFIG_NAME_MAX];
	char host[CONFIG_ADDRESS_MAX]; /* numeric; where this node listens and is reached */
	uint16_t port;		       /* base port */
};

/* GIVEN (may be NULL), else the environment's CFS_STATE_DIR, else the default. */
const char *state_dir_choose(const char *given);

/* -ENOENT: neither init nor join was done; -EPROTONOSUPPORT: of a newer version; -EBADMSG: damaged. */
int node_identity_load(const char *state_dir, struct node_identity *ret_id);
int node_identity_store(const char *state_dir, const struct node_identity *id);
/* -ENOENT: none yet. -EBADMSG, -EPROTONOSUPPORT. */
int config_file_load(const char *state_dir, struct config *ret_c);
/* Replaces it atomically; not synced: it is a hint, the log is the truth. */
int config_file_store(const char *state_dir, const struct config *c);

/*
 * Makes the state of the first node of a new cluster in STATE_DIR (made when missing): identity, CA and certificate,
 * log. ID->id must be 1; ID->cluster_id 0 is replaced by a random one. -EEXIST: the directory is in use;
 * -EPROTONOSUPPORT: by a newer version.
 */
int state_dir_init(const char *state_dir, struct node_identity *id);
/*
 * Makes the state of a node that joins, by asking the cluster at HOST:PORT (and, when that fails, at the addresses in
 * the token). ID's name, host and port say who wants to join; the rest is filled in. Blocks up to TIMEOUT_MS.
 * -EBADMSG: TOKEN is not one; -EKEYREJECTED: wrong token, or another cluster's; -EKEYEXPIRED: used or too old; -EEXIST:
 * the directory is in use; -ENOTUNIQ: the name is taken; -EADDRINUSE: the address is; -EPROTONOSUPPORT; -ETIMEDOUT, -ECONNREFUSED, -EHOSTUNREACH.
 */
int state_dir_join(const char *state_dir, const char *host, uint16_t port, const char *token, struct node_identity *id,
		   uint32_t timeout_ms);
/* 0 when STATE_DIR can be used for a new node; -EEXIST, -EPROTONOSUPPORT as above. */
int state_dir_is_free(const char *state_dir);

#endif
