/*
 * The configuration on its way: newer ones are adopted from the log or from other nodes, told to the user, written to
 * the config file by the worker, and handed to those who wait with config_get (every node serves it). Cluster thread only.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "cluster/internal.h"
#include "common/log.h"
#include "common/worker.h"

enum { POLL_AGAIN_MS = 50, POLL_TIMEOUT_MS = CLUSTER_POLL_HOLD_MS + 500, MAX_POLLS = 1024 };

/* ---- the user, and the file ---- */

struct news {
	struct cluster *cl;
	struct config config;
};

static struct news *news_new(struct cluster *cl)
{
	struct news *n = malloc(sizeof(*n));

	if (!n) {
		log_error("cluster", "no memory to tell of configuration %llu", (unsigned long long)cl->config->version);
		return NULL;
	}
	n->cl = cluster_ref(cl);
	n->config = *cl->config;
	return n;
}

static void news_drop(struct news *n)
{
	if (n)
		cluster_unref(n->cl);
	free(n);
}

/* On the worker. */
static void store_news(void *arg)
{
	struct news *n = arg;
	int r = config_file_store(n->cl->state_dir, &n->config);

	if (r < 0)
		log_warn("cluster", "%s/config cannot be written: %s", n->cl->state_dir, strerror(-r));
	news_drop(n);
}

/* On the user's thread. */
static void news_letter(void *arg)
{
	struct news *n = arg;

	if (!n->cl->stopped && n->cl->events->config)
		n->cl->events->config(n->cl->ctx, &n->config);
	news_drop(n);
}

void config_tell(struct cluster *cl)
{
	struct news *n = news_new(cl);

	if (n && mailbox_post(cl->user_mb, news_letter, n) < 0)
		news_drop(n);
}

static void keep(struct cluster *cl)
{
	struct news *n = news_new(cl);

	if (n && worker_do(cl->worker, store_news, n) < 0)
		news_drop(n);
}

/* ---- those who wait ---- */

static void answer_poll(struct cluster *cl, struct poll *p, const struct wire_blob *bytes)
{
	struct msg_config_get_rep rep = { .version = cl->config->version };

	if (cl->config->version > p->known)
		rep.config = *bytes;
	DL_DELETE(cl->polls, p);
	rpc_reply(p->rq, 0, &rep);
	free(p);
}

static void answer_polls(struct cluster *cl, uint64_t now)
{
	struct wire_blob bytes = { 0 };
	struct poll *p, *next;
	void *buf = NULL;
	size_t len;

	DL_FOREACH_SAFE(cl->polls, p, next) {
		bool newer = cl->config->version > p->known;

		if (!newer && now < p->until_ms)
			continue;
		if (newer && !buf) {
			if (config_encode(cl->config, &buf, &len) < 0)
				return;
			bytes = (struct wire_blob){ buf, (uint32_t)len };
		}
		answer_poll(cl, p, &bytes);
	}
	free(buf);
}

static void serve_config_get(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	struct cluster *cl = ctx;
	const struct msg_config_get_req *req = msg;
	struct poll *p = malloc(sizeof(*p)), *q;
	int nr;

	(void)conn;
	DL_COUNT(cl->polls, q, nr);
	if (!p || nr >= MAX_POLLS) {
		free(p);
		rpc_reply(rq, -EAGAIN, NULL);
		return;
	}
	*p = (struct poll){ .rq = rq, .known = req->known, .until_ms = cluster_now_ms() + CLUSTER_POLL_HOLD_MS };
	DL_APPEND(cl->polls, p);
	answer_polls(cl, 0);
}

/* ---- adopting ---- */

void config_adopt(struct cluster *cl, const struct config *c)
{
	if (c->version <= cl->config->version || c->cluster_id != cl->id.cluster_id)
		return;
	*cl->config = *c;
	heartbeat_publish(cl);
	config_tell(cl);
	keep(cl);
	rpc_check_gate(cl->rpc);
	answer_polls(cl, 0);
}

void config_adopt_bytes(struct cluster *cl, const struct wire_blob *b)
{
	struct config *c;
	int r;

	if (!b->len)
		return;
	c = malloc(sizeof(*c));
	r = c ? config_decode(b->p, b->len, c) : -ENOMEM;
	if (!r)
		config_adopt(cl, c);
	else
		log_warn("cluster", "a configuration from another node cannot be read: %s", strerror(-r));
	free(c);
}

/* ---- asking ---- */

static void got(struct cluster *cl, int status, const void *rep)
{
	const struct msg_config_get_rep *m = rep;

	if (!status)
		config_adopt_bytes(cl, &m->config);
}

static void fetch_done(void *ctx, int status, const void *rep)
{
	got(ctx, status, rep);
}

void config_fetch(struct cluster *cl)
{
	struct msg_config_get_req req = { cl->config->version };
	struct rpc_conn *conn = link_conn(cl, cluster_leader(cl));

	if (conn)
		rpc_call(conn, MSG_config_get, &req, POLL_TIMEOUT_MS, fetch_done, cl);
}

static void poll_leader(struct cluster *cl, uint64_t now);

static void poll_done(void *ctx, int status, const void *rep)
{
	struct cluster *cl = ctx;

	cl->polling = false;
	got(cl, status, rep);
	if (status)
		cl->poll_ms = cluster_now_ms() + POLL_AGAIN_MS;
	else
		poll_leader(cl, cluster_now_ms());
}

/* Everybody but the leader has a question with it all the time: news travel in half a round trip. */
static void poll_leader(struct cluster *cl, uint64_t now)
{
	struct msg_config_get_req req = { cl->config->version };
	struct rpc_conn *conn;

	if (cl->polling || now < cl->poll_ms || raft_core_is_leader(cl->core))
		return;
	conn = link_to_ask(cl);
	if (conn && rpc_call(conn, MSG_config_get, &req, POLL_TIMEOUT_MS, poll_done, cl) == 0)
		cl->polling = true;
}

void config_poll_tick(struct cluster *cl, uint64_t now)
{
	poll_leader(cl, now);
	answer_polls(cl, now);
}

static void serve_status(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	struct cluster *cl = ctx;
	struct msg_status_rep rep = { .leader = cluster_leader(cl) };
	uint64_t now = cluster_now_ms();
	void *buf = NULL;
	size_t len = 0;
	/* What it knows ends with the day it was removed. */
	int r = cl->told_removed ? -EKEYREVOKED : config_encode(cl->config, &buf, &len);

	(void)conn;
	(void)msg;
	rep.quorum = raft_core_is_leader(cl->core) ? raft_core_leads(cl->core, now) :
						     rep.leader && now < cl->leader_heard_ms + cl->times.lease_ms;
	rep.config = (struct wire_blob){ buf, (uint32_t)len };
	rpc_reply(rq, r, &rep);
	free(buf);
}

void config_serve(struct cluster *cl)
{
	rpc_handle(cl->rpc, MSG_config_get, serve_config_get, cl);
	rpc_handle(cl->rpc, MSG_status, serve_status, cl);
}

void config_io_stop(struct cluster *cl)
{
	struct poll *p, *next;

	DL_FOREACH_SAFE(cl->polls, p, next) {
		DL_DELETE(cl->polls, p);
		rpc_reply(p->rq, -ESHUTDOWN, NULL);
		free(p);
	}
}
