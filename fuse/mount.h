/* The mount: what the files of this folder share. Everything here belongs to the loop's thread. */
#ifndef CFS_FUSE_MOUNT_H
#define CFS_FUSE_MOUNT_H

#include <uv.h>

#include "common/mailbox.h"
#include "fuse/cache.h"
#include "fuse/client.h"
#include "fuse/inode.h"
#include "fuse/inval.h"
#include "fuse/subtree.h"

#define MOUNT_MAX_IO (1u << 20)
#define MOUNT_CACHE_INODES 16384
#define MOUNT_CACHE_NAMES 65536

struct request;
struct channel; /* channel.h: /dev/fuse */

struct mount {
	uv_loop_t *loop;
	struct mailbox *mailbox; /* the notifier thread reports through it */
	struct client *client;
	struct cache *cache;
	struct inodes *inodes;
	struct inval *inval; /* NULL until mounted */
	struct channel *channel;
	struct subtree subtree; /* ops NULL: none */

	/* Called when the session is open for the first time; ctx is for the program. */
	void (*opened_first)(struct mount *m);
	void *ctx;

	uint64_t root_ino; /* 0 until the session was open once */
	uint32_t max_io;
	struct wire_logpos loss; /* the last one that the server told of */
	uint64_t nr_losses;	 /* since we are mounted */

	struct inode *idle; /* held at the server though nobody has them open: the longest first */
	size_t nr_idle;
	uv_timer_t idle_timer;

	struct request *free_requests;
	size_t nr_free_requests;
};

/* Server's inode number of a FUSE one and back: they differ in the root only, if at all. */
static inline uint64_t mount_ino(const struct mount *m, fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? m->root_ino : ino;
}

static inline fuse_ino_t mount_fuse_ino(const struct mount *m, uint64_t ino)
{
	return ino == m->root_ino ? FUSE_ROOT_ID : ino;
}

/* May the cache be answered from now? */
static inline bool mount_cache_usable(struct mount *m)
{
	return client_is_fresh(m->client);
}

/* How the mount takes part in the session; ctx is the struct mount. */
extern const struct client_events mount_client_events;

/* 0 or -errno. CLIENT is set by the caller. */
int mount_init(struct mount *m, uv_loop_t *loop);
void mount_release(struct mount *m);

#endif
