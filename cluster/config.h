/*
 * The cluster's configuration: the state that the quorum agrees on. Small, slow-changing, held by every node.
 *
 * Pure core: config_apply() is the state machine of the raft log; the same commands in the same order give the same
 * bytes (config_encode) everywhere. No clock: what depends on time (token expiry) carries the time in the command.
 */
#ifndef CFS_CLUSTER_CONFIG_H
#define CFS_CLUSTER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/message.h"

#define CONFIG_NODES_MAX 64
#define CONFIG_FS_MAX 16
#define CONFIG_MEMBERS_MAX 8
#define CONFIG_TOKENS_MAX 64
#define CONFIG_NAME_MAX 64
#define CONFIG_ADDRESS_MAX 64
#define CONFIG_COPIES 3	      /* as many nodes are made members of a filesystem by themselves */
#define CONFIG_NODE_ID_MAX 0xfffffu

/* Node states and their legal changes are OpenSSI's (clusternode_setinfo(3ssi)). Values are wire and disk format. */
enum node_state {
	NODE_NEVERUP = 0,
	NODE_COMINGUP = 1,
	NODE_UP = 2,
	NODE_SHUTDOWN = 3,
	NODE_GOINGDOWN = 4,
	NODE_KCLEANUP = 5,
	NODE_UCLEANUP = 6,
	NODE_DOWN = 7,
};

struct config_node {
	uint32_t id; /* 1.. ; never reused */
	char name[CONFIG_NAME_MAX];
	char host[CONFIG_ADDRESS_MAX]; /* numeric address */
	uint16_t port;		       /* base port: cluster; +1 files and processes; +2 migration */
	enum node_state state;
	bool voter;
};

/* One filesystem: PacificA's configuration. Changed only by compare-and-swap on epoch. */
struct config_fs {
	uint32_t id; /* 1 is the root filesystem */
	char name[CONFIG_NAME_MAX];
	char path[256]; /* where it appears under the mount point, "/" for the root */
	uint64_t epoch;
	uint32_t server; /* node id; 0 while nobody can serve it */
	uint32_t members[CONFIG_MEMBERS_MAX]; /* nodes that shall hold a copy, sorted */
	size_t nr_members;
	uint32_t in_sync[CONFIG_MEMBERS_MAX]; /* subset that holds every acknowledged operation, sorted */
	size_t nr_in_sync;
};

/*
 * A join token: only its hash is kept; a used one stays a while, so that its second use is told from a wrong token, and
 * that who used it can be given the same answer twice.
 */
struct config_token {
	uint8_t sha256[32];
	uint64_t expires; /* unix seconds */
	bool used;
	uint32_t node;	 /* that it was used for; 0: none */
	uint8_t key[32]; /* SHA-256 of that node's public key */
};

struct config {
	uint64_t version; /* raft index of the last change */
	uint64_t cluster_id;
	char name[CONFIG_NAME_MAX];
	uint32_t next_node_id;
	struct config_node nodes[CONFIG_NODES_MAX];
	size_t nr_nodes;
	struct config_fs fs[CONFIG_FS_MAX];
	size_t nr_fs;
	struct config_token tokens[CONFIG_TOKENS_MAX];
	size_t nr_tokens;
};

const struct config_node *config_node_by_id(const struct config *c, uint32_t id);
const struct config_node *config_node_by_name(const struct config *c, const char *name);
const struct config_fs *config_fs_by_id(const struct config *c, uint32_t id);
const struct config_fs *config_fs_by_name(const struct config *c, const char *name);
bool config_fs_in_sync(const struct config_fs *fs, uint32_t node);
bool config_fs_is_member(const struct config_fs *fs, uint32_t node);
const char *node_state_name(enum node_state s);
bool node_state_may_follow(enum node_state from, enum node_state to);
/* An id that was given out and is not there any more. One that C is too old to know is not: ids only grow. */
bool config_node_was_removed(const struct config *c, uint32_t id);
/* What node_join of this token and key would say at NOW (unix seconds): 0, -EKEYREJECTED: unknown token, -EKEYEXPIRED. */
int config_token_check(const struct config *c, const uint8_t sha256[32], const uint8_t key[32], uint64_t now);
/* Sets the lists from ids in any order, sorted and without doubles; -E2BIG. */
int config_ids_set(uint32_t *ids, size_t *nr_ids, size_t max, const uint32_t *from, size_t nr_from);

/* malloc'ed bytes of the whole configuration, versioned; 0 or -ENOMEM. */
int config_encode(const struct config *c, void **ret_buf, size_t *ret_len);
/* -EBADMSG for torn bytes, -EPROTONOSUPPORT for a newer format. */
int config_decode(const void *buf, size_t len, struct config *ret_c);

/* The commands: numbers, structs (struct cmd_<name>) and codecs expand from commands.def. */
#define F(type, field) wire_##type field;
#define CMD(number, name, fields) \
	struct cmd_##name {       \
		fields            \
	};
#include "cluster/commands.def"
#undef CMD
#undef F

enum config_cmd {
#define CMD(number, name, fields) CMD_##name = number,
#include "cluster/commands.def"
#undef CMD
};

/* Appends the command (struct cmd_<name>) to W. 0 or -ENOMEM, -EMSGSIZE. */
int config_cmd_encode(struct wire_writer *w, enum config_cmd type, const void *cmd);
/* Decodes a command of TYPE (struct cmd_<name>, strings borrowed from BUF). -EBADMSG: torn, or another type. */
int config_cmd_decode(const void *buf, size_t len, enum config_cmd type, void *ret_cmd);
/* The type of an encoded command, 0 when there is none. */
int config_cmd_type(const void *buf, size_t len);
/*
 * Applies the command of log entry INDEX. Positive or 0: done (commands.def says what a positive result is), C->version
 * is INDEX. Negative errno: refused, C is unchanged; the same on every node. -EBADMSG for a torn command.
 */
int config_apply(struct config *c, const void *cmd, size_t len, uint64_t index);

#endif
