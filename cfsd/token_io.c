/* Tokens and the wire: revokes go out on the connection of the session, grants come along with replies. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "cfsd/volume.h"
#include "common/log.h"

/* ---- revokes ---- */

struct revoke {
	struct volume *v; /* holds a reference */
	uint64_t generation, session, ino;
	uint32_t tokens;
};

static void revoke_done(void *ctx, int status, const void *rep)
{
	struct revoke *rv = ctx;
	struct volume *v = rv->v;

	(void)rep;
	/* Any answer is one: a client that refuses to drop has its reasons (it has nothing), or is broken. No answer
	   is left to the deadline. */
	if (status != -ECONNRESET && status != -ETIMEDOUT && status != -ECANCELED && v->tokens &&
	    v->generation == rv->generation)
		token_revoked(v->tokens, rv->session, rv->ino, rv->tokens);
	volume_unref(v);
	free(rv);
}

static void on_revoke(void *ctx, uint64_t session, uint64_t ino, uint32_t tokens)
{
	struct volume *v = ctx;
	struct msg_revoke_req req = { .fs = v->fs, .epoch = v->epoch, .ino = ino, .tokens = tokens };
	struct rpc_conn *conn = (struct rpc_conn *)session_conn(v->sessions, session);
	struct revoke *rv;

	if (!conn)
		return;
	rv = malloc(sizeof(*rv));
	if (!rv)
		return;
	*rv = (struct revoke){ v, v->generation, session, ino, tokens };
	if (rpc_call(conn, MSG_revoke, &req, 0, revoke_done, rv) < 0)
		free(rv);
	else
		v->refs++;
}

static void on_ready(void *ctx, void *op)
{
	(void)ctx;
	request_ready(op);
}

static void on_fenced(void *ctx, uint64_t session)
{
	struct volume *v = ctx;

	log_warn("token", "%s: session %016" PRIx64 " did not give its tokens back: fenced", v->name, session);
	session_fence(v->sessions, session, volume_now_ms(v));
}

const struct token_events token_io_events = { on_revoke, on_ready, on_fenced };

/* ---- grants ---- */

struct grants {
	uint32_t *tokens, *dir_tokens; /* in the reply; NULL: the reply has none */
	uint64_t ino, dir;	       /* what they are for; 0: nothing to grant */
	uint32_t want;
};

#define NODE_MADE(name)                                                       \
	case MSG_##name: {                                                    \
		struct msg_##name##_rep *rep = r->rep;                        \
		const struct msg_##name##_req *req = r->msg;                  \
		return (struct grants){ &rep->tokens, &rep->dir_tokens, rep->attr.ino, req->parent, TOKEN_ATTR }; \
	}
#define INODE_SEEN(name, kinds)                                                            \
	case MSG_##name: {                                                                 \
		struct msg_##name##_rep *rep = r->rep;                                     \
		const struct msg_##name##_req *req = r->msg;                               \
		return (struct grants){ .tokens = &rep->tokens, .ino = req->ino, .want = kinds }; \
	}

/* Where a reply says which tokens come with it, and for which inodes. */
static struct grants grants_of(const struct request *r)
{
	switch ((int)r->info->number) {
		NODE_MADE(lookup)
		NODE_MADE(create)
		NODE_MADE(mknod)
		NODE_MADE(symlink)
		NODE_MADE(link)
		INODE_SEEN(getattr, TOKEN_ATTR)
		INODE_SEEN(setattr, TOKEN_ATTR)
		INODE_SEEN(open, TOKEN_ATTR | TOKEN_DATA)
		INODE_SEEN(read, TOKEN_DATA)
		INODE_SEEN(write, TOKEN_ATTR | TOKEN_DATA)
	case MSG_readdir: {
		struct msg_readdir_rep *rep = r->rep;
		const struct msg_readdir_req *req = r->msg;

		return (struct grants){ .dir_tokens = &rep->dir_tokens, .dir = req->ino };
	}
	}
	return (struct grants){ 0 };
}

void token_io_grant(struct request *r)
{
	struct tokens *t = r->v->tokens;
	struct grants g = grants_of(r);
	uint64_t now = volume_now_ms(r->v);

	if (g.tokens)
		*g.tokens = g.ino ? token_grant(t, r->session, g.ino, g.want, now, &r->stamps[0]) : 0;
	if (g.dir_tokens)
		*g.dir_tokens = token_grant(t, r->session, g.dir, TOKEN_NAMES, now, &r->stamps[1]);
}

void token_io_check(struct request *r)
{
	struct grants g = grants_of(r);
	struct tokens *t = r->v->tokens;

	if (g.tokens)
		*g.tokens &= t ? token_still(t, &r->stamps[0]) : 0;
	if (g.dir_tokens)
		*g.dir_tokens &= t ? token_still(t, &r->stamps[1]) : 0;
}
