/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A loop with nothing on it but a mailbox; when that is closed, the loop and the thread end. */
#include "common/worker.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/mailbox.h"

struct worker {
	uv_loop_t loop; /* the thread's */
	uv_thread_t thread;
	struct mailbox *in, *back;
};

static void worker_main(void *arg)
{
	struct worker *w = arg;

	uv_run(&w->loop, UV_RUN_DEFAULT);
}

static void stop(void *arg)
{
	struct worker *w = arg;

	mailbox_free(w->in);
}

int worker_new(uv_loop_t *loop, struct worker **ret_w)
{
	struct worker *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	r = uv_loop_init(&w->loop);
	if (r < 0)
		goto err_free;
	r = mailbox_new(&w->loop, &w->in);
	if (r < 0)
		goto err_loop_close;
	r = mailbox_new(loop, &w->back);
	if (r < 0)
		goto err_in_free;
	r = uv_thread_create(&w->thread, worker_main, w);
	if (r < 0)
		goto err_back_free;
	*ret_w = w;
	return 0;

err_back_free:
	mailbox_free(w->back);
err_in_free:
	mailbox_free(w->in);
	uv_run(&w->loop, UV_RUN_DEFAULT);
err_loop_close:
	uv_loop_close(&w->loop);
err_free:
	free(w);
	return r;
}

void worker_free(struct worker *w)
{
	int r;

	if (!w)
		return;
	while (mailbox_post(w->in, stop, w) < 0)
		;
	uv_thread_join(&w->thread);
	r = uv_loop_close(&w->loop);
	assert(!r);
	(void)r;
	mailbox_free(w->back);
	free(w);
}

int worker_do(struct worker *w, worker_fn fn, void *arg)
{
	return mailbox_post(w->in, fn, arg);
}

int worker_back(struct worker *w, worker_fn fn, void *arg)
{
	return mailbox_post(w->back, fn, arg);
}
