/*
 * Runs functions on the thread of a libuv loop: the only way two threads of one daemon talk.
 * Created, and released, on the loop's own thread; mailbox_post() may be called from any thread.
 */
#ifndef CFS_COMMON_MAILBOX_H
#define CFS_COMMON_MAILBOX_H

#include <uv.h>

struct mailbox;

typedef void (*mailbox_fn)(void *arg);

/* Attaches a mailbox to LOOP. 0 or -errno. */
int mailbox_new(uv_loop_t *loop, struct mailbox **ret_mb);
/* Queues fn(arg), in order, for the loop's thread. ARG belongs to FN from here on. 0 or -ENOMEM. */
int mailbox_post(struct mailbox *mb, mailbox_fn fn, void *arg);
/* Runs what is still queued, then detaches; the memory goes when the loop has closed the handle. NULL is fine. */
void mailbox_free(struct mailbox *mb);

#endif
