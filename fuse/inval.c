/* A locked list and a thread. The lock is held for list work only. */
#include "fuse/inval.h"

#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "common/cleanup.h"
#include "common/log.h"

struct item {
	struct item *next;
	uint64_t ino;
	char *unmount; /* instead of an inode */
	mailbox_fn done;
	void *ctx;
};

struct inval {
	struct fuse_session *se;
	struct mailbox *mb;
	pthread_t thread;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t wake;
	struct item *head, **tail;
	bool stop;
};

static struct item *next_item(struct inval *iv)
{
	LOCK_SCOPE(&iv->lock);
	struct item *it;

	while (!iv->head && !iv->stop)
		pthread_cond_wait(&iv->wake, &iv->lock);
	if (iv->stop)
		return NULL;
	it = iv->head;
	iv->head = it->next;
	if (!iv->head)
		iv->tail = &iv->head;
	return it;
}

static void carry_out(struct inval *iv, struct item *it)
{
	if (it->unmount) {
		if (umount2(it->unmount, MNT_DETACH) < 0)
			log_warn("inval", "cannot unmount %s: %s", it->unmount, strerror(errno));
		return;
	}
	/* -ENOENT: the kernel does not have the inode; anything else means the mount is going away. */
	fuse_lowlevel_notify_inval_inode(iv->se, it->ino, 0, 0);
}

static void item_free(struct item *it)
{
	free(it->unmount);
	free(it);
}

static void *run(void *arg)
{
	struct inval *iv = arg;
	struct item *it;

	while ((it = next_item(iv))) {
		carry_out(iv, it);
		if (it->done)
			mailbox_post(iv->mb, it->done, it->ctx);
		item_free(it);
	}
	return NULL;
}

int inval_new(struct fuse_session *se, struct mailbox *mb, struct inval **ret_inval)
{
	struct inval *iv = calloc(1, sizeof(*iv));
	sigset_t all, old;
	int r;

	if (!iv)
		return -ENOMEM;
	iv->se = se;
	iv->mb = mb;
	iv->tail = &iv->head;
	pthread_mutex_init(&iv->lock, NULL);
	pthread_cond_init(&iv->wake, NULL);
	/* Signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&iv->thread, NULL, run, iv);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r) {
		free(iv);
		return -r;
	}
	*ret_inval = iv;
	return 0;
}

void inval_free(struct inval *iv)
{
	if (!iv)
		return;
	{
		LOCK_SCOPE(&iv->lock);
		iv->stop = true;
		pthread_cond_signal(&iv->wake);
	}
	pthread_join(iv->thread, NULL);
	for (struct item *it = iv->head, *next; it; it = next) {
		next = it->next;
		item_free(it);
	}
	pthread_mutex_destroy(&iv->lock);
	pthread_cond_destroy(&iv->wake);
	free(iv);
}

static void push(struct inval *iv, struct item *it)
{
	LOCK_SCOPE(&iv->lock);
	*iv->tail = it;
	iv->tail = &it->next;
	pthread_cond_signal(&iv->wake);
}

void inval_pages(struct inval *iv, uint64_t fuse_ino, mailbox_fn done, void *ctx)
{
	struct item *it = calloc(1, sizeof(*it));

	if (!it) {
		/* Not told: as if the notification had failed. */
		if (done)
			done(ctx);
		return;
	}
	it->ino = fuse_ino;
	it->done = done;
	it->ctx = ctx;
	push(iv, it);
}

void inval_unmount(struct inval *iv, const char *dir)
{
	struct item *it = calloc(1, sizeof(*it));

	if (!it)
		return;
	it->unmount = strdup(dir);
	if (it->unmount)
		push(iv, it);
	else
		free(it);
}
