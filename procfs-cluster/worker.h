/*
 * One thread that does one thing after the other: what may wait for a process's memory lock must neither hold the main
 * loop up nor use up libuv's pool, which fsync needs.
 */
#ifndef CFS_PROCFS_WORKER_H
#define CFS_PROCFS_WORKER_H

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
