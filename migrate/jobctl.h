/*
 * cfs-migrated's handle on a cfs-job: starts one, connects to one, asks it things. On the loop's thread.
 *
 * The process is watched by a pidfd, so it does not matter whose child it is: a cfs-job that an earlier cfs-migrated
 * started is as good as our own.
 */
#ifndef CFS_MIGRATE_JOBCTL_H
#define CFS_MIGRATE_JOBCTL_H

#include <sys/types.h>
#include <uv.h>

#include "migrate/chan.h"

struct jobctl;

/* The answer to a call: STATUS 0 and REP, or a negative errno and REP NULL. FD is the callee's to close (-1: none). */
typedef void (*jobctl_done)(void *ctx, int status, const struct job_packet *rep, int fd);
/* cfs-job ended, or went out of reach; once, after all calls were answered with -ECONNRESET. */
typedef void (*jobctl_down)(void *ctx);

/* Starts PROGRAM (cfs-job) in new pid and mount namespaces, listening at SOCK_PATH. 0 or -errno. */
int jobctl_spawn(const char *program, const char *sock_path, pid_t *ret_pid);
/* PID: of the cfs-job, as seen here; 0: ask the socket. -ECONNREFUSED: it is not there any more. */
int jobctl_connect(uv_loop_t *loop, const char *sock_path, pid_t pid, jobctl_down down, void *ctx, struct jobctl **ret_jc);
/* Kills it, and with it everything in the job. `down` follows. */
void jobctl_kill(struct jobctl *jc);
/* Lets go of it; it goes on. Calls under way are not answered. NULL is fine. */
void jobctl_free(struct jobctl *jc);
pid_t jobctl_pid(const struct jobctl *jc);

/* Sends REQ (op, arg, len, data filled in; FD -1: none). DONE follows unless a negative errno is returned. */
int jobctl_call(struct jobctl *jc, struct job_packet *req, int fd, jobctl_done done, void *ctx);
/* The same for requests without data. */
int jobctl_op(struct jobctl *jc, enum job_op op, int64_t arg0, int64_t arg1, jobctl_done done, void *ctx);

#endif
