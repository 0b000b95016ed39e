/*
 * One request of the kernel, from its arrival to its answer, and the message it becomes when the server must be asked.
 *
 * Life: request_new() -> answered at once by a reply_*() of reply.h, or request_call() -> DONE -> reply_*() (or another
 * request_call()). A reply ends the request: it must not be touched afterwards.
 */
#ifndef CFS_FUSE_REQUEST_H
#define CFS_FUSE_REQUEST_H

#include "fuse/mount.h"

typedef void (*request_done)(struct request *rq, int status, const void *rep);

struct request {
	struct client_op op;
	struct mount *m;
	fuse_req_t freq; /* NULL: answered, or never had one (the mount's own) */
	request_done done;
	uint64_t stamp; /* of the cache, when the call was made */
	struct request *next; /* in a list of those who wait for the same thing, or of free ones */

	/* What operations remember. */
	uint64_t ino;
	uint64_t size, off;
	bool plus;
	void *handle;
	void *buf; /* owned, freed with the request */
	struct fuse_file_info fi;
	char name[WIRE_NAME_MAX + 1], new_name[WIRE_NAME_MAX + 1];

	union {
		struct msg_lookup_req lookup;
		struct msg_getattr_req getattr;
		struct msg_setattr_req setattr;
		struct msg_create_req create;
		struct msg_mknod_req mknod;
		struct msg_symlink_req symlink;
		struct msg_link_req link;
		struct msg_unlink_req unlink;
		struct msg_rmdir_req rmdir;
		struct msg_rename_req rename;
		struct msg_readlink_req readlink;
		struct msg_open_req open;
		struct msg_release_req release;
		struct msg_read_req read;
		struct msg_write_req write;
		struct msg_fsync_req fsync;
		struct msg_readdir_req readdir;
		struct msg_statfs_req statfs;
		struct msg_getxattr_req getxattr;
		struct msg_setxattr_req setxattr;
		struct msg_listxattr_req listxattr;
		struct msg_removexattr_req removexattr;
		struct msg_fallocate_req fallocate;
	} msg;
};

/* NULL when out of memory; FREQ (may be NULL) was answered with ENOMEM then. */
struct request *request_new(struct mount *m, fuse_req_t freq);
/* For requests without a fuse request; reply_*() do it for the others. */
void request_free(struct request *rq);
/* Copies a name into the request. False, and answered with ENAMETOOLONG: too long, RQ is gone. */
bool request_set_name(struct request *rq, const char *name);
bool request_set_new_name(struct request *rq, const char *name);
/* The caller's effective ids. */
struct wire_cred request_cred(const struct request *rq);
/* Sends rq->msg to the server. CHANGE: it alters the filesystem and must happen exactly once. */
void request_call(struct request *rq, enum msg_type type, bool change, request_done done);

#endif
