/*
 * Opens and closes. The server holds an inode open for this mount from the first open here to the last close; an
 * unlinked file lives as long. It goes on holding it for a moment after the last close (idle): what is opened again and
 * again is asked for once, and holds are given back in batches. One is given back at once when its name is about to go,
 * or another mount is about to change the inode, so that no inode outlives its name for nothing. What several opens and
 * closes want of the server at the same time is put in order by the inode's state (inode.h).
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <utlist.h>

#include "fuse/ops.h"
#include "fuse/reply.h"
#include "wire/fileop.h"

/* How long, how many, and how often is looked. */
enum { IDLE_MS = 5000, IDLE_MAX = 4096, IDLE_TICK_MS = 500 };

static void open_go(struct request *rq, struct inode *in);
static void add_open(struct mount *m, struct inode *in);
static void drop_open(struct mount *m, struct inode *in);

static uint32_t open_flags(int flags)
{
	switch (flags & O_ACCMODE) {
	case O_RDONLY:
		return OPEN_READ;
	case O_WRONLY:
		return OPEN_WRITE;
	default:
		return OPEN_READ | OPEN_WRITE;
	}
}

/* What was asked of the server is answered: those who waited look again. */
static void settle(struct mount *m, struct inode *in)
{
	struct request *list = in->waiters, *next;

	in->state = in->nr_holds ? INODE_OPEN : INODE_CLOSED;
	in->waiters = NULL;
	add_open(m, in); /* ours, so that it stays until we are through */
	for (; list; list = next) {
		next = list->next;
		open_go(list, in);
	}
	drop_open(m, in);
}

static void release_done(struct request *rq, int status, const void *rep)
{
	struct inode *in = inode_find(rq->m->inodes, rq->ino);
	struct mount *m = rq->m;

	(void)status; /* the server does not count it any more: all the same */
	(void)rep;
	assert(in && in->state == INODE_CLOSING);
	request_free(rq);
	settle(m, in);
}

static void idle_remove(struct mount *m, struct inode *in)
{
	if (!in->idle)
		return;
	in->idle = false;
	m->nr_idle--;
	DL_DELETE(m->idle, in);
}

/* Gives one hold back. False: no memory, nothing is done. */
static bool release_hold(struct mount *m, struct inode *in)
{
	struct request *rq = request_new(m, NULL);

	if (!rq)
		return false;
	idle_remove(m, in);
	rq->ino = in->ino;
	rq->msg.release.ino = in->ino;
	in->state = INODE_CLOSING;
	in->nr_holds--;
	request_call(rq, MSG_release, false, release_done);
	return true;
}

bool fuse_op_let_go(struct mount *m, struct inode *in)
{
	return in->idle && release_hold(m, in);
}

static void on_idle_tick(uv_timer_t *t)
{
	struct mount *m = t->data;

	while (m->idle && uv_now(m->loop) >= m->idle->idle_ms + IDLE_MS && fuse_op_let_go(m, m->idle))
		;
	if (!m->idle)
		uv_timer_stop(t);
}

static void idle_add(struct mount *m, struct inode *in)
{
	in->idle = true;
	in->idle_ms = uv_now(m->loop);
	DL_APPEND(m->idle, in);
	if (++m->nr_idle > IDLE_MAX)
		fuse_op_let_go(m, m->idle);
	else if (!uv_is_active((uv_handle_t *)&m->idle_timer))
		uv_timer_start(&m->idle_timer, on_idle_tick, IDLE_TICK_MS, IDLE_TICK_MS);
}

static void add_open(struct mount *m, struct inode *in)
{
	idle_remove(m, in);
	in->nr_opens++;
}

/* It has a name, and we shall hear when that is about to go. */
static bool may_idle(struct mount *m, const struct inode *in)
{
	struct wire_attr attr;

	return in->nr_holds == 1 && cache_get_attr(m->cache, in->ino, &attr) && attr.nlink;
}

/* IN may be gone when this returns. */
static void drop_open(struct mount *m, struct inode *in)
{
	assert(in->nr_opens);
	in->nr_opens--;
	if (in->nr_opens || in->state != INODE_OPEN)
		inode_settle(m->inodes, in);
	else if (may_idle(m, in) || !release_hold(m, in))
		idle_add(m, in);
}

void fuse_op_release(struct mount *m, fuse_req_t req, fuse_ino_t ino)
{
	struct inode *in = inode_find(m->inodes, mount_ino(m, ino));

	if (in && in->nr_opens)
		drop_open(m, in);
	reply_raw_err(req, 0);
}

/* How the kernel shall treat its pages and the close of this file. */
static void set_reply_flags(struct request *rq, uint64_t ino)
{
	struct cache *c = rq->m->cache;

	rq->fi.fh = ino;
	rq->fi.keep_cache = mount_cache_usable(rq->m) && cache_pages_kept(c, ino);
	if (!rq->fi.keep_cache)
		cache_pages_dropped(c, ino);
}

static void answer_open(struct request *rq, struct inode *in)
{
	struct mount *m = rq->m;

	set_reply_flags(rq, in->ino);
	if (!reply_open(rq))
		drop_open(m, in);
}

static void open_done(struct request *rq, int status, const void *rep_)
{
	struct inode *in = inode_find(rq->m->inodes, rq->ino);
	const struct msg_open_rep *rep = rep_;
	struct mount *m = rq->m;

	assert(in && in->nr_opens && in->state == INODE_OPENING);
	add_open(m, in); /* ours */
	if (status < 0) {
		reply_err(rq, status);
		in->nr_opens--;
	} else {
		in->nr_holds++;
		cache_put_attr(m->cache, &rep->attr, rep->tokens, rq->stamp);
		answer_open(rq, in);
	}
	settle(m, in);
	drop_open(m, in);
}

/* Answers when the server holds the inode, else asks, or waits for what is under way. Counted in nr_opens by now. */
static void open_go(struct request *rq, struct inode *in)
{
	switch (in->state) {
	case INODE_OPENING:
	case INODE_CLOSING:
		rq->next = in->waiters;
		in->waiters = rq;
		break;
	case INODE_OPEN:
		answer_open(rq, in);
		break;
	case INODE_CLOSED:
		in->state = INODE_OPENING;
		rq->msg.open.ino = in->ino;
		rq->msg.open.flags = open_flags(rq->fi.flags);
		request_call(rq, MSG_open, false, open_done);
		break;
	}
}

void fuse_op_open(struct mount *m, fuse_req_t req, fuse_ino_t ino, const struct fuse_file_info *fi)
{
	struct request *rq = request_new(m, req);
	struct inode *in = rq ? inode_find_or_add(m->inodes, mount_ino(m, ino)) : NULL;

	if (!in) {
		if (rq)
			reply_err(rq, -ENOMEM);
		return;
	}
	rq->fi = *fi;
	rq->ino = in->ino;
	add_open(m, in);
	open_go(rq, in);
}

void fuse_op_adopt_open(struct request *rq, const struct wire_attr *attr)
{
	struct mount *m = rq->m;
	struct inode *in = inode_find_or_add(m->inodes, attr->ino);

	if (!in) {
		reply_err(rq, -ENOMEM);
		return;
	}
	add_open(m, in);
	in->nr_holds++;
	if (in->state == INODE_CLOSED)
		in->state = INODE_OPEN;
	set_reply_flags(rq, in->ino);
	if (!reply_create(rq, attr))
		drop_open(m, in);
}
