/*
 * Can it move? Every reason why not is listed before anything is stopped: one "reason detail" per line.
 *
 * What is looked at is the process tree as it is now; CRIU has the last word, and the target when it restores. Nothing
 * here changes anything. The reasons' names are part of the interface (cantmove in /cluster/proc).
 */
#ifndef CFS_MIGRATE_PLAN_H
#define CFS_MIGRATE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "migrate/tree.h"

/* Lines of reasons; init to zero, release with free(text). */
struct reasons {
	char *text; /* NULL: none */
	size_t len;
	int err; /* sticky -ENOMEM */
};

void reasons_add(struct reasons *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

struct plan_conf {
	const char *cfs_type; /* "fuse.cfs": what is on a filesystem of this type is there on every node */
	uint64_t pidns, mntns; /* of the job the tree belongs to, or of the node */
	pid_t relay; /* cfs-job when the tree is a whole job: it may hold the other ends of pipes; 0: nobody may */
	pid_t tracer; /* CRIU, when it holds the tree stopped: no reason, and what it has open is the tree's; 0: it runs */
};

/* 0, or -ENOMEM, -ESRCH when the root is gone. No reason: it can move, as far as can be seen. */
int plan_check(const struct plan_conf *conf, const struct tree *tree, struct reasons *reasons);

/* ---- parts, for plan*.c and the tests ---- */

/* What stands behind a descriptor, as /proc shows it. */
struct plan_fd {
	pid_t pid;
	int fd;
	char link[4096];
	uint32_t mode; /* st_mode; 0 when stat failed */
	uint64_t rdev, nlink, dev, ino, bytes;
	int flags; /* of fdinfo */
	int target; /* of a pidfd: whose it is, -1: a dead one's */
};

enum fd_kind {
	FD_FINE,
	FD_REFUSED, /* a reason was added */
	FD_PIPE,    /* the others that hold it decide */
	FD_SOCKET,
	FD_FILE, /* may share its offset with a process that stays */
	FD_PIDFD, /* its process must move, too */
};

/* A descriptor by itself. ON_CFS: its file is on the cluster's filesystem. */
enum fd_kind plan_fd_check(const struct plan_fd *fd, bool on_cfs, struct reasons *reasons);

/* Descriptors whose fate depends on who else holds them. */
struct plan_shared {
	struct plan_fd *fds;
	size_t nr, cap;
};

int plan_shared_add(struct plan_shared *s, const struct plan_fd *fd);
int plan_shared_check(const struct plan_conf *conf, const struct tree *tree, const struct plan_shared *s,
		      struct reasons *reasons);
/* Of mappings: pid, link, dev, ino. */
int plan_maps_check(const struct plan_conf *conf, const struct tree *tree, const struct plan_shared *s, struct reasons *reasons);
int plan_sockets_check(const struct tree *tree, const struct plan_shared *s, struct reasons *reasons);

/* Mount points of a filesystem type, from /proc/PID/mountinfo: their device numbers. */
struct plan_devs {
	uint64_t dev[64];
	size_t nr;
};
void plan_devs_read(pid_t pid, const char *type, struct plan_devs *ret_devs);
bool plan_devs_has(const struct plan_devs *devs, uint64_t dev);

#endif
