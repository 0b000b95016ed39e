/*
 * A locked list and an eventfd. The lock is held for list work only, never while a function runs.
 *
 * Not uv_async_t: libuv (1.44) lets the receiver spin while a sender is inside uv_async_send(). A receiver with real-time
 * priority then never lets the sender that it has preempted go on.
 */
#include "common/mailbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/cleanup.h"

struct letter {
	struct letter *next;
	mailbox_fn fn;
	void *arg;
};

struct mailbox {
	uv_poll_t wake;
	int fd;
	pthread_mutex_t lock; /* guards head and tail */
	struct letter *head, **tail;
};

static struct letter *take_all(struct mailbox *mb)
{
	LOCK_SCOPE(&mb->lock);
	struct letter *l = mb->head;

	mb->head = NULL;
	mb->tail = &mb->head;
	return l;
}

/* False when there was nothing. */
static bool deliver(struct mailbox *mb)
{
	struct letter *first = take_all(mb);

	for (struct letter *l = first, *next; l; l = next) {
		next = l->next;
		l->fn(l->arg);
		free(l);
	}
	return first;
}

static void woken(uv_poll_t *wake, int status, int events)
{
	struct mailbox *mb = wake->data;
	eventfd_t n;

	(void)status;
	(void)events;
	eventfd_read(mb->fd, &n);
	deliver(mb);
}

int mailbox_new(uv_loop_t *loop, struct mailbox **ret_mb)
{
	struct mailbox *mb = calloc(1, sizeof(*mb));
	int r;

	if (!mb)
		return -ENOMEM;
	pthread_mutex_init(&mb->lock, NULL);
	mb->tail = &mb->head;
	mb->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = mb->fd < 0 ? -errno : uv_poll_init(loop, &mb->wake, mb->fd);
	if (r < 0) {
		if (mb->fd >= 0)
			close(mb->fd);
		pthread_mutex_destroy(&mb->lock);
		free(mb);
		return r;
	}
	mb->wake.data = mb;
	uv_poll_start(&mb->wake, UV_READABLE, woken);
	*ret_mb = mb;
	return 0;
}

int mailbox_post(struct mailbox *mb, mailbox_fn fn, void *arg)
{
	struct letter *l = malloc(sizeof(*l));

	if (!l)
		return -ENOMEM;
	*l = (struct letter){ .fn = fn, .arg = arg };
	{
		LOCK_SCOPE(&mb->lock);
		*mb->tail = l;
		mb->tail = &l->next;
	}
	eventfd_write(mb->fd, 1); /* full: it is awake anyhow */
	return 0;
}

static void closed(uv_handle_t *h)
{
	struct mailbox *mb = h->data;

	close(mb->fd);
	pthread_mutex_destroy(&mb->lock);
	free(mb);
}

void mailbox_free(struct mailbox *mb)
{
	if (!mb)
		return;
	/* The last letters may make new ones. */
	while (deliver(mb))
		;
	uv_close((uv_handle_t *)&mb->wake, closed);
}
