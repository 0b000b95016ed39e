/*
 * The seam for a part of the tree that is not a filesystem of the cluster: /cluster/proc.
 *
 * The mount owns the FUSE session, the loop and the connections; a subtree answers the requests for its own inodes.
 * Its inode numbers have the top bit set (SUBTREE_INO_BIT); filesystems never use such numbers. The mount lists the
 * subtree's directory under its name in the root directory, and hands it
 *   - lookup(FUSE_ROOT_ID, its name): to be answered with the entry of the subtree's own root, and
 *   - every request whose inode has the bit.
 *
 * Everything runs on the thread of the one loop. An operation must answer its request exactly once, by fuse_reply_*,
 * at once or later; strings and buffers in the arguments live only until the function returns. Operations that are
 * NULL are answered by the mount (open, opendir, release, releasedir: success; others: EOPNOTSUPP). Never answer
 * ENOSYS: the kernel then stops sending that operation for the whole mount. What is not in the table (create, unlink,
 * rename, xattrs, ...) the mount refuses. A function must not block: what another node knows is asked by rpc_call() on
 * a connection from node_conn().
 *
 * This header is the one thing of fuse/ that procfs-cluster/ may include; main.c puts the two together.
 */
#ifndef CFS_FUSE_SUBTREE_H
#define CFS_FUSE_SUBTREE_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <stdint.h>
#include <uv.h>

#include "cluster/config.h"
#include "wire/rpc.h"

#define SUBTREE_INO_BIT (UINT64_C(1) << 63)

/* As in struct fuse_lowlevel_ops, with the subtree's context in front. */
struct subtree_ops {
	void (*lookup)(void *ctx, fuse_req_t req, fuse_ino_t parent, const char *name);
	/* No answer: the mount has given it. */
	void (*forget)(void *ctx, fuse_ino_t ino, uint64_t nlookup);
	void (*getattr)(void *ctx, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
	void (*setattr)(void *ctx, fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi);
	void (*readlink)(void *ctx, fuse_req_t req, fuse_ino_t ino);
	void (*open)(void *ctx, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
	void (*read)(void *ctx, fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
	void (*write)(void *ctx, fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		      struct fuse_file_info *fi);
	void (*release)(void *ctx, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
	void (*opendir)(void *ctx, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
	void (*readdir)(void *ctx, fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
	void (*readdirplus)(void *ctx, fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
	void (*releasedir)(void *ctx, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
	void (*statfs)(void *ctx, fuse_req_t req, fuse_ino_t ino);
};

struct subtree {
	const char *name;    /* in the root directory: "proc" */
	fuse_ino_t root_ino; /* with SUBTREE_INO_BIT */
	const struct subtree_ops *ops;
	void *ctx;
};

/*
 * STATUS 0 and a connection that is up, or a negative errno (-ENXIO: no such node in the configuration, or what the
 * connection's `down` said) and NULL. The connection belongs to the mount and is borrowed: use it at once and ask
 * again the next time; calls pending on it end with -ECONNRESET when it goes down.
 */
typedef void (*subtree_conn_done)(void *ctx, int status, struct rpc_conn *conn);

/* What the mount offers its subtrees; lives as long as the mount. */
struct subtree_host {
	uv_loop_t *loop;
	uint32_t node_id; /* of this node: "the reader's node" */
	void *ctx;
	/* The newest configuration known; borrowed until the loop runs on. Never NULL once requests arrive. */
	const struct config *(*config)(void *ctx);
	/* A connection, role client, to the node's file and process port (base + 1); shared and kept. DONE may be called
	   before return. */
	void (*node_conn)(void *ctx, uint32_t node_id, subtree_conn_done done, void *done_ctx);
};

#endif
