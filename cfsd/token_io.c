/* Tokens and the wire: revokes go out on the connection of the session, grants come along with replies. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

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

/* One inode's tokens in a reply, and which of them it may bring. */
struct grants {
	uint32_t *tokens;
	uint64_t ino; /* 0: nothing to grant */
	uint32_t want;
};

#define SEEN(tokens, ino, want) ret[n++] = (struct grants){ &rep->tokens, ino, want }
#define NODE_LOOKED_UP(name)                                           \
	case MSG_##name: {                                             \
		struct msg_##name##_rep *rep = r->rep;                 \
		const struct msg_##name##_req *req = r->msg;           \
		SEEN(tokens, rep->attr.ino, TOKEN_ATTR);               \
		SEEN(dir_tokens, req->parent, TOKEN_NAMES);            \
		break;                                                 \
	}
#define NODE_MADE(name)                                                \
	case MSG_##name: {                                             \
		struct msg_##name##_rep *rep = r->rep;                 \
		SEEN(tokens, rep->attr.ino, tokens_of_new(rep->attr.mode)); \
		SEEN(dir_tokens, rep->dir_attr.ino, DIR_TOKENS);       \
		break;                                                 \
	}
#define NAME_GONE(name)                                                \
	case MSG_##name: {                                             \
		struct msg_##name##_rep *rep = r->rep;                 \
		SEEN(dir_tokens, rep->dir_attr.ino, DIR_TOKENS);       \
		break;                                                 \
	}
#define INODE_SEEN(name, kinds)                                        \
	case MSG_##name: {                                             \
		struct msg_##name##_rep *rep = r->rep;                 \
		const struct msg_##name##_req *req = r->msg;           \
		SEEN(tokens, req->ino, kinds);                         \
		break;                                                 \
	}
#define DIR_TOKENS (TOKEN_NAMES | TOKEN_ATTR)

/* Who makes something is likely to fill it. */
static uint32_t tokens_of_new(uint32_t mode)
{
	return S_ISDIR(mode) ? DIR_TOKENS : S_ISREG(mode) ? TOKEN_ATTR | TOKEN_DATA : TOKEN_ATTR;
}

/* Where a reply says which tokens come with it, and for which inodes. */
static size_t grants_of(const struct request *r, struct grants ret[REQUEST_GRANTS_MAX])
{
	size_t n = 0;

	switch ((int)r->info->number) {
		NODE_LOOKED_UP(lookup)
		NODE_MADE(create)
		NODE_MADE(mknod)
		NODE_MADE(symlink)
		NODE_MADE(link)
		NAME_GONE(unlink)
		NAME_GONE(rmdir)
		INODE_SEEN(getattr, TOKEN_ATTR)
		INODE_SEEN(setattr, TOKEN_ATTR)
		INODE_SEEN(open, TOKEN_ATTR | TOKEN_DATA)
		INODE_SEEN(read, TOKEN_DATA)
		INODE_SEEN(write, TOKEN_ATTR | TOKEN_DATA)
	case MSG_rename: {
		struct msg_rename_rep *rep = r->rep;

		SEEN(tokens, rep->attr.ino, TOKEN_ATTR);
		SEEN(dir_tokens, rep->dir_attr.ino, DIR_TOKENS);
		SEEN(new_dir_tokens, rep->new_dir_attr.ino, DIR_TOKENS);
		break;
	}
	case MSG_readdir: {
		struct msg_readdir_rep *rep = r->rep;
		const struct msg_readdir_req *req = r->msg;

		SEEN(dir_tokens, req->ino, TOKEN_NAMES);
		break;
	}
	}
	return n;
}

void token_io_grant(struct request *r)
{
	struct grants g[REQUEST_GRANTS_MAX];
	size_t n = grants_of(r, g);

	for (size_t i = 0; i < n; i++)
		*g[i].tokens = g[i].ino ? token_grant(r->v->tokens, r->session, g[i].ino, g[i].want, volume_now_ms(r->v),
						      &r->stamps[i]) : 0;
}

void token_io_check(struct request *r)
{
	struct grants g[REQUEST_GRANTS_MAX];
	size_t n = grants_of(r, g);

	for (size_t i = 0; i < n; i++)
		*g[i].tokens &= r->v->tokens ? token_still(r->v->tokens, &r->stamps[i]) : 0;
}
