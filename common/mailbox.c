/* A locked list and a uv_async_t. The lock is held for list work only, never while a function runs. */
#include "common/mailbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/cleanup.h"

struct letter {
	struct letter *next;
	mailbox_fn fn;
	void *arg;
};

struct mailbox {
	uv_async_t wake;
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

static void deliver(uv_async_t *wake)
{
	struct mailbox *mb = wake->data;

	for (struct letter *l = take_all(mb), *next; l; l = next) {
		next = l->next;
		l->fn(l->arg);
		free(l);
	}
}

int mailbox_new(uv_loop_t *loop, struct mailbox **ret_mb)
{
	struct mailbox *mb = calloc(1, sizeof(*mb));
	int r;

	if (!mb)
		return -ENOMEM;
	pthread_mutex_init(&mb->lock, NULL);
	mb->tail = &mb->head;
	r = uv_async_init(loop, &mb->wake, deliver);
	if (r < 0) {
		free(mb);
		return r;
	}
	mb->wake.data = mb;
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
	uv_async_send(&mb->wake);
	return 0;
}

static void closed(uv_handle_t *h)
{
	struct mailbox *mb = h->data;

	pthread_mutex_destroy(&mb->lock);
	free(mb);
}

void mailbox_free(struct mailbox *mb)
{
	if (!mb)
		return;
	deliver(&mb->wake);
	uv_close((uv_handle_t *)&mb->wake, closed);
}
