/*
 * A few pollers, each busy with one node: connect to its cluster port, config_get, again. A poller whose node does not
 * answer goes on to the next node that no other poller is at. More than a majority of a small cluster is asked at any
 * time, so a new configuration is heard of as soon as any of those nodes has it.
 */
#include "fuse/confwatch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

#define POLLERS 3
#define CONNECT_MS 1000u
#define POLL_MS 15000u /* the node answers within some seconds even without news */
#define RETRY_MS 100u

struct poller {
	struct confwatch *owner;
	uv_timer_t retry;
	uint32_t node; /* whom it is at; 0: pausing */
	struct rpc_conn *conn;
	bool asked;
};

struct attempt {
	uint32_t node;
	int err; /* what came of asking it last; 0: answered */
};

struct confwatch {
	struct rpc *rpc;
	struct config config;
	confwatch_changed changed;
	void *ctx;
	struct poller pollers[POLLERS];
	struct attempt attempts[CONFIG_NODES_MAX];
	size_t nr_attempts;
	uint32_t own_node, last_node;
	int nr_open; /* timers to be closed */
	bool closing;
};

static void note(struct confwatch *w, uint32_t node, int err)
{
	for (size_t i = 0; i < w->nr_attempts; i++) {
		if (w->attempts[i].node == node) {
			w->attempts[i].err = err;
			return;
		}
	}
	if (w->nr_attempts < CONFIG_NODES_MAX)
		w->attempts[w->nr_attempts++] = (struct attempt){ node, err };
}

static bool is_polled(const struct confwatch *w, uint32_t node)
{
	for (size_t i = 0; i < POLLERS; i++)
		if (w->pollers[i].node == node)
			return true;
	return false;
}

/* The next node, round the configuration, that nobody asks; 0: none. */
static uint32_t choose(struct confwatch *w)
{
	const struct config *c = &w->config;
	size_t start = 0;

	if (!w->last_node && config_node_by_id(c, w->own_node))
		return w->last_node = w->own_node;
	for (size_t i = 0; i < c->nr_nodes; i++)
		if (c->nodes[i].id == w->last_node)
			start = i + 1;
	for (size_t i = 0; i < c->nr_nodes; i++) {
		uint32_t id = c->nodes[(start + i) % c->nr_nodes].id;

		if (!is_polled(w, id))
			return w->last_node = id;
	}
	return 0;
}

static void on_retry(uv_timer_t *t);

static void pause_poller(struct poller *p)
{
	p->node = 0;
	p->conn = NULL;
	p->asked = false;
	if (!p->owner->closing)
		uv_timer_start(&p->retry, on_retry, RETRY_MS, 0);
}

static void ask(struct poller *p);

static void take_config(struct confwatch *w, const struct wire_blob *blob)
{
	struct config *c = malloc(sizeof(*c));
	int r = c ? config_decode(blob->p, blob->len, c) : -ENOMEM;

	if (r < 0) {
		log_warn("config", "cannot use the configuration received: %s", strerror(-r));
	} else if (c->version > w->config.version && (!w->config.cluster_id || c->cluster_id == w->config.cluster_id)) {
		w->config = *c;
		w->changed(w->ctx);
	}
	free(c);
}

static void on_answer(void *ctx, int status, const void *rep_)
{
	const struct msg_config_get_rep *rep = rep_;
	struct poller *p = ctx;

	p->asked = false;
	if (p->owner->closing || !p->conn)
		return;
	note(p->owner, p->node, status);
	if (status < 0) {
		rpc_conn_close(p->conn);
		pause_poller(p);
		return;
	}
	if (rep->config.len)
		take_config(p->owner, &rep->config);
	ask(p);
}

static void ask(struct poller *p)
{
	struct msg_config_get_req req = { .known = p->owner->config.version };
	int r = rpc_call(p->conn, MSG_config_get, &req, POLL_MS, on_answer, p);

	if (r < 0) {
		rpc_conn_close(p->conn);
		pause_poller(p);
		return;
	}
	p->asked = true;
}

static void on_up(void *ctx, struct rpc_conn *conn)
{
	struct poller *p = ctx;

	if (p->conn == conn)
		ask(p);
}

static void on_down(void *ctx, struct rpc_conn *conn, int err)
{
	struct poller *p = ctx;

	if (p->conn != conn)
		return;
	note(p->owner, p->node, err);
	pause_poller(p);
}

static void start(struct poller *p)
{
	static const struct rpc_conn_events events = { on_up, on_down };
	struct confwatch *w = p->owner;
	const struct config_node *n;
	int r;

	/* By confwatch_refresh() before its time: it must not strike while this one is under way. */
	uv_timer_stop(&p->retry);
	p->node = choose(w);
	n = config_node_by_id(&w->config, p->node);
	if (!n) {
		pause_poller(p);
		return;
	}
	r = rpc_connect(w->rpc, n->host, n->port, CONNECT_MS, &events, p, &p->conn);
	if (r < 0) {
		note(w, p->node, r);
		pause_poller(p);
	}
}

static void on_retry(uv_timer_t *t)
{
	start(t->data);
}

void confwatch_refresh(struct confwatch *w)
{
	for (size_t i = 0; i < POLLERS; i++)
		if (!w->pollers[i].node)
			start(&w->pollers[i]);
}

int confwatch_new(uv_loop_t *loop, struct rpc *rpc, uint32_t own_node, const struct config *config,
		  confwatch_changed changed, void *ctx, struct confwatch **ret_watch)
{
	struct confwatch *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->rpc = rpc;
	w->config = *config;
	w->changed = changed;
	w->ctx = ctx;
	w->own_node = own_node;
	for (size_t i = 0; i < POLLERS; i++) {
		struct poller *p = &w->pollers[i];

		p->owner = w;
		uv_timer_init(loop, &p->retry);
		p->retry.data = p;
		w->nr_open++;
		uv_timer_start(&p->retry, on_retry, 0, 0);
	}
	*ret_watch = w;
	return 0;
}

static void timer_closed(uv_handle_t *h)
{
	struct confwatch *w = ((struct poller *)h->data)->owner;

	if (--w->nr_open == 0)
		free(w);
}

void confwatch_free(struct confwatch *w)
{
	if (!w)
		return;
	w->closing = true;
	for (size_t i = 0; i < POLLERS; i++) {
		struct poller *p = &w->pollers[i];

		rpc_conn_close(p->conn);
		p->conn = NULL;
		uv_close((uv_handle_t *)&p->retry, timer_closed);
	}
}

const struct config *confwatch_config(const struct confwatch *w)
{
	return &w->config;
}

void confwatch_describe(const struct confwatch *w, char *buf, size_t len)
{
	size_t n = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < w->config.nr_nodes && n < len; i++) {
		const struct config_node *cn = &w->config.nodes[i];
		const char *what = "no answer";

		for (size_t k = 0; k < w->nr_attempts; k++)
			if (w->attempts[k].node == cn->id)
				what = w->attempts[k].err ? strerror(-w->attempts[k].err) : "answers";
		n += (size_t)snprintf(buf + n, len - n, "%s%s %s:%u: %s", n ? ", " : "", cn->name, cn->host,
				      cn->port, what);
	}
}
