/* Free requests are kept in a short list: most operations of an idle system need no allocation. */
#include "fuse/request.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "fuse/reply.h"

#define FREE_REQUESTS_MAX 64

struct request *request_new(struct mount *m, fuse_req_t freq)
{
	struct request *rq = m->free_requests;

	if (rq) {
		m->free_requests = rq->next;
		m->nr_free_requests--;
		memset(rq, 0, offsetof(struct request, name));
		rq->name[0] = rq->new_name[0] = '\0';
		memset(&rq->msg, 0, sizeof(rq->msg));
	} else {
		rq = calloc(1, sizeof(*rq));
	}
	if (!rq) {
		if (freq)
			reply_raw_err(freq, -ENOMEM);
		return NULL;
	}
	rq->m = m;
	rq->freq = freq;
	return rq;
}

void request_free(struct request *rq)
{
	struct mount *m = rq->m;

	assert(!rq->freq);
	free(rq->buf);
	if (m->nr_free_requests >= FREE_REQUESTS_MAX) {
		free(rq);
		return;
	}
	rq->next = m->free_requests;
	m->free_requests = rq;
	m->nr_free_requests++;
}

static bool copy_name(struct request *rq, char *to, const char *name)
{
	size_t len = strlen(name);

	if (len > WIRE_NAME_MAX) {
		reply_err(rq, -ENAMETOOLONG);
		return false;
	}
	memcpy(to, name, len + 1);
	return true;
}

bool request_set_name(struct request *rq, const char *name)
{
	return copy_name(rq, rq->name, name);
}

bool request_set_new_name(struct request *rq, const char *name)
{
	return copy_name(rq, rq->new_name, name);
}

struct wire_cred request_cred(const struct request *rq)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(rq->freq);

	return (struct wire_cred){ .uid = ctx->uid, .gid = ctx->gid };
}

/* Is SIGKILL pending for thread PID? The kernel turns every fatal signal into it; others must not end a request. */
static bool is_being_killed(pid_t pid)
{
	char path[64], text[4096];
	_cleanup_close_ int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return false;
	text[n] = '\0';
	for (const char *tag = "SigPnd:\0ShdPnd:\0"; *tag; tag += strlen(tag) + 1) {
		const char *at = strstr(text, tag);

		if (at && (strtoull(at + strlen(tag), NULL, 16) & (1u << (9 - 1))))
			return true;
	}
	return false;
}

static void on_interrupt(fuse_req_t freq, void *data)
{
	struct request *rq = data;

	if (is_being_killed(fuse_req_ctx(freq)->pid))
		client_interrupt(rq->m->client, &rq->op);
}

static void note_changed(struct request *rq, uint64_t ino)
{
	struct inode *in = inode_find(rq->m->inodes, ino);

	if (in)
		inode_changed(in, rq->m->nr_losses);
}

/* What a sync has to cover: the inode, or the directories whose names changed. */
static void note_change(struct request *rq)
{
	switch ((int)rq->op.type) {
	case MSG_setattr:
		note_changed(rq, rq->msg.setattr.ino);
		break;
	case MSG_write:
		note_changed(rq, rq->msg.write.ino);
		break;
	case MSG_fallocate:
		note_changed(rq, rq->msg.fallocate.ino);
		break;
	case MSG_setxattr:
		note_changed(rq, rq->msg.setxattr.ino);
		break;
	case MSG_removexattr:
		note_changed(rq, rq->msg.removexattr.ino);
		break;
	case MSG_create:
		note_changed(rq, rq->msg.create.parent);
		break;
	case MSG_mknod:
		note_changed(rq, rq->msg.mknod.parent);
		break;
	case MSG_symlink:
		note_changed(rq, rq->msg.symlink.parent);
		break;
	case MSG_link:
		note_changed(rq, rq->msg.link.ino);
		note_changed(rq, rq->msg.link.parent);
		break;
	case MSG_unlink:
		note_changed(rq, rq->msg.unlink.parent);
		break;
	case MSG_rmdir:
		note_changed(rq, rq->msg.rmdir.parent);
		break;
	case MSG_rename:
		note_changed(rq, rq->msg.rename.parent);
		note_changed(rq, rq->msg.rename.new_parent);
		break;
	}
}

static void on_done(struct client_op *op, int status, const void *rep)
{
	struct request *rq = (struct request *)((char *)op - offsetof(struct request, op));

	if (!status && op->core.change)
		note_change(rq);
	rq->done(rq, status, rep);
}

void request_call(struct request *rq, enum msg_type type, bool change, request_done done)
{
	memset(&rq->op, 0, sizeof(rq->op));
	rq->op.core.change = change;
	rq->op.type = type;
	rq->op.req = &rq->msg;
	rq->op.done = on_done;
	rq->done = done;
	rq->stamp = cache_stamp(rq->m->cache);
	if (rq->freq)
		fuse_req_interrupt_func(rq->freq, on_interrupt, rq);
	/* May end the operation, and with it the request. */
	client_submit(rq->m->client, &rq->op);
}
