/*
 * One thread that does one thing after the other, for a loop that must not wait: not for a disk (the cluster thread), nor
 * for a process's memory lock. Not libuv's pool: fsync needs that, and its way back is not for a real-time thread
 * (mailbox.c).
 */
#ifndef CFS_COMMON_WORKER_H
#define CFS_COMMON_WORKER_H

#include <uv.h>

struct worker;

/* Runs on the worker's thread. */
typedef void (*worker_fn)(void *arg);

/* LOOP: where worker_back() goes to; call from its thread. 0 or -errno. */
int worker_new(uv_loop_t *loop, struct worker **ret_w);
/* Does what is queued first, then waits for the thread and runs what it sent back. NULL is fine. */
void worker_free(struct worker *w);
/* Queues fn(arg) for the worker's thread; worker_back() queues it, from there, for the loop's. 0 or -ENOMEM. */
int worker_do(struct worker *w, worker_fn fn, void *arg);
int worker_back(struct worker *w, worker_fn fn, void *arg);

#endif
