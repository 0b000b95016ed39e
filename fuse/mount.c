/*
 * How the mount takes part in its session: what it re-asserts, and what it does when tokens are taken back.
 *
 * A revoke of contents tells the kernel to drop the file's pages before it is acknowledged (a process that has the file
 * mapped reads them without asking). That can block behind a request of the same file which the server may hold back
 * until the revoke is answered: so it is not waited for while reads or writes are under way, and never for long.
 * read(2) does not depend on it: the kernel compares attributes, which the revoke has made it ask the server for.
 */
#include "fuse/mount.h"

#include <stdlib.h>

#include "common/log.h"
#include "fuse/ops.h"
#include "fuse/request.h"
#include "wire/fileop.h"

#define REVOKE_WAIT_MS 100u

/* A revoke that waits for the notifier, or for its time to be up. Freed when both ends are done with it. */
struct revoke {
	struct rpc_req *rq; /* NULL: answered */
	uv_timer_t limit;
	int users;
};

static void revoke_unref(struct revoke *rv)
{
	if (--rv->users == 0)
		free(rv);
}

static void revoke_answer(struct revoke *rv)
{
	struct rpc_req *rq = rv->rq;

	rv->rq = NULL;
	if (rq)
		rpc_reply(rq, 0, NULL);
}

static void limit_closed(uv_handle_t *h)
{
	revoke_unref(h->data);
}

static void on_limit(uv_timer_t *t)
{
	revoke_answer(t->data);
	uv_close((uv_handle_t *)t, limit_closed);
}

static void on_invalidated(void *ctx)
{
	struct revoke *rv = ctx;

	if (rv->rq) {
		revoke_answer(rv);
		uv_close((uv_handle_t *)&rv->limit, limit_closed);
	}
	revoke_unref(rv);
}

static void invalidate_then_answer(struct mount *m, uint64_t ino, struct rpc_req *rq)
{
	struct revoke *rv = calloc(1, sizeof(*rv));

	if (!rv) {
		inval_pages(m->inval, mount_fuse_ino(m, ino), NULL, NULL);
		rpc_reply(rq, 0, NULL);
		return;
	}
	rv->rq = rq;
	rv->users = 2; /* the timer, the notifier */
	uv_timer_init(m->loop, &rv->limit);
	rv->limit.data = rv;
	uv_timer_start(&rv->limit, on_limit, REVOKE_WAIT_MS, 0);
	inval_pages(m->inval, mount_fuse_ino(m, ino), on_invalidated, rv);
}

static void on_revoke(void *ctx, uint64_t ino, uint32_t tokens, struct rpc_req *rq)
{
	struct mount *m = ctx;
	struct inode *in = inode_find(m->inodes, ino);

	cache_revoke(m->cache, ino, tokens);
	if (in)
		fuse_op_let_go(m, in);
	/* Pages of files that are not open are dropped when they are opened. */
	if (!(tokens & TOKEN_DATA) || !in || !in->nr_opens || !m->inval) {
		rpc_reply(rq, 0, NULL);
	} else if (in->nr_io) {
		inval_pages(m->inval, mount_fuse_ino(m, ino), NULL, NULL);
		rpc_reply(rq, 0, NULL);
	} else {
		invalidate_then_answer(m, ino, rq);
	}
}

static void on_opened(void *ctx, const struct msg_session_open_rep *rep)
{
	struct mount *m = ctx;
	bool first = !m->root_ino;

	if (!first && (rep->loss.epoch != m->loss.epoch || rep->loss.lsn != m->loss.lsn)) {
		log_warn("mount", "the servers lost what was not durable: changes that were not synced may be gone");
		m->nr_losses++;
	}
	m->loss = rep->loss;
	m->root_ino = rep->root_ino;
	if (!first)
		return;
	m->max_io = rep->max_io && rep->max_io < MOUNT_MAX_IO ? rep->max_io : MOUNT_MAX_IO;
	if (m->opened_first)
		m->opened_first(m);
}

static void invalidate_open(void *ctx, uint64_t ino)
{
	struct mount *m = ctx;

	inval_pages(m->inval, mount_fuse_ino(m, ino), NULL, NULL);
}

static void on_lost(void *ctx)
{
	struct mount *m = ctx;

	cache_clear(m->cache);
	/* Whoever has a file mapped would otherwise go on with pages that others may change unnoticed. */
	if (m->inval)
		inodes_for_each_open(m->inodes, invalidate_open, m);
}

static void on_opens(void *ctx, struct wire_writer *w)
{
	struct mount *m = ctx;

	inodes_encode_holds(m->inodes, w);
}

const struct client_events mount_client_events = {
	.opened = on_opened,
	.lost = on_lost,
	.opens = on_opens,
	.revoke = on_revoke,
};

int mount_init(struct mount *m, uv_loop_t *loop)
{
	int r;

	*m = (struct mount){ .loop = loop, .max_io = MOUNT_MAX_IO };
	uv_timer_init(loop, &m->idle_timer);
	m->idle_timer.data = m;
	r = mailbox_new(loop, &m->mailbox);
	if (r == 0)
		r = cache_new(MOUNT_CACHE_INODES, MOUNT_CACHE_NAMES, &m->cache);
	if (r == 0)
		r = inodes_new(&m->inodes);
	if (r < 0)
		mount_release(m);
	return r;
}

void mount_release(struct mount *m)
{
	uv_close((uv_handle_t *)&m->idle_timer, NULL);
	mailbox_free(m->mailbox);
	cache_free(m->cache);
	inodes_free(m->inodes);
	while (m->free_requests) {
		struct request *rq = m->free_requests;

		m->free_requests = rq->next;
		free(rq);
	}
}
