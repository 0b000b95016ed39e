/*
 * The messages that anybody may send: goto, cantmove, where. A process is found here, or the question goes on to the
 * node it left to, or was born on.
 */
#include "migrate/service.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "migrate/images.h"
#include "migrate/internal.h"
#include "wire/errors.h"

#define HOPS_MAX 3
#define TICK_MS 500
#define FORWARD_TIMEOUT_MS 0 /* as long as the connection lives: a move of much memory takes its time */

/* Where a process is: here (pid != 0), or perhaps on another node. */
struct place {
	pid_t pid;
	struct guest *guest;
	uint32_t node;
};

const struct config_node *service_node(struct service *svc, uint32_t id)
{
	return config_node_by_id(&svc->config, id);
}

const char *service_node_name(struct service *svc, uint32_t id)
{
	const struct config_node *n = service_node(svc, id);

	return n ? n->name : "an unknown node";
}

uint64_t service_random(void)
{
	uint64_t v = 0;

	while (v == 0 && getrandom(&v, sizeof(v), 0) < 0)
		;
	return v;
}

static void place_local(struct service *svc, pid_t pid, struct place *ret)
{
	struct tree_proc proc;

	if (pid <= 0 || tree_proc_read(pid, &proc))
		return;
	ret->pid = pid;
	ret->guest = guest_by_pidns(svc, tree_namespace(pid, "pid"));
	ret->node = svc->conf.node_id;
}

/* -ESRCH: nowhere that we know of. */
static int locate(struct service *svc, uint32_t cpid, struct place *ret)
{
	struct place p = { 0 };

	if (!cpid_is_cluster(cpid)) {
		place_local(svc, (pid_t)cpid, &p);
	} else {
		p.pid = guest_find_cpid(svc, cpid, &p.guest);
		jobs_refresh(svc->registry);
		if (p.pid)
			p.node = svc->conf.node_id;
		else if ((p.node = jobs_away_node(svc->registry, cpid)) != 0)
			;
		else if (cpid_node(cpid) != svc->conf.node_id)
			p.node = cpid_node(cpid);
		else
			place_local(svc, (pid_t)cpid_pid(cpid), &p);
	}
	if (!p.node)
		return -ESRCH;
	*ret = p;
	return 0;
}

static uint32_t cpid_of(struct service *svc, const struct place *p)
{
	struct tree_proc proc;

	if (p->guest && tree_proc_read(p->pid, &proc) == 0)
		return job_cpid(&p->guest->job, svc->conf.node_id, (uint32_t)proc.nspid, (uint32_t)p->pid);
	return cpid_make(svc->conf.node_id, (uint32_t)p->pid);
}

/* ---- passing on ---- */

struct forward {
	struct rpc_req *rq;
	enum msg_type type;
	union {
		struct msg_goto_req go;
		struct msg_cantmove_req cantmove;
		struct msg_where_req where;
	} req;
};

/* The replies of all three begin with the error, and say no more when there is one. */
static void reply_error(struct rpc_req *rq, enum msg_type type, int error, const char *reason)
{
	uint32_t status = wire_status_from_errno(error);
	struct msg_goto_rep go = { .error = status, .reason = reason };
	struct msg_cantmove_rep cantmove = { .error = status, .reasons = { reason, (uint32_t)strlen(reason) } };
	struct msg_where_rep where = { .error = status };

	rpc_reply(rq, 0, type == MSG_goto ? (const void *)&go : type == MSG_cantmove ? (const void *)&cantmove : (const void *)&where);
}

static void forwarded(void *ctx, int status, const void *rep)
{
	struct forward *f = ctx;

	if (status)
		reply_error(f->rq, f->type, status, "the node of the process cannot be reached");
	else
		rpc_reply(f->rq, 0, rep);
	free(f);
}

static void forward_ready(void *ctx, int status, struct rpc_conn *conn)
{
	struct forward *f = ctx;

	if (!status)
		status = rpc_call(conn, f->type, &f->req, FORWARD_TIMEOUT_MS, forwarded, f);
	if (status)
		forwarded(f, status, NULL);
}

static void forward(struct service *svc, uint32_t node, struct rpc_req *rq, enum msg_type type, const void *req, size_t size,
		    unsigned hops)
{
	struct forward *f = hops < HOPS_MAX ? calloc(1, sizeof(*f)) : NULL;

	if (!f) {
		reply_error(rq, type, hops < HOPS_MAX ? -ENOMEM : -ELOOP, "nobody knows where the process is");
		return;
	}
	f->rq = rq;
	f->type = type;
	memcpy(&f->req, req, size); /* its strings live until the reply */
	peer_connect(svc, node, forward_ready, f);
}

/* ---- goto ---- */

static const struct config_node *named_node(struct service *svc, const char *name, const struct place *p)
{
	if (!strcmp(name, "home"))
		return service_node(svc, p->guest ? p->guest->job.home : svc->conf.node_id);
	if (isdigit((unsigned char)name[0]) && strspn(name, "0123456789") == strlen(name))
		return service_node(svc, (uint32_t)strtoul(name, NULL, 10));
	return config_node_by_name(&svc->config, name);
}

/* Who may kill it may move it: kill(2)'s rule. */
static bool may_move(uint32_t uid, pid_t pid)
{
	unsigned ruid = 0, suid = 0;
	char path[64], line[256];
	bool known = false;
	FILE *f;

	if (uid == 0)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && !known && fgets(line, sizeof(line), f))
		known = sscanf(line, "Uid: %u %*u %u", &ruid, &suid) == 2;
	if (f)
		fclose(f);
	return known && (uid == ruid || uid == suid);
}

static void goto_done(void *ctx, int error, const char *reason)
{
	reply_error(ctx, MSG_goto, error, reason);
}

static void goto_here(struct service *svc, struct rpc_req *rq, const struct msg_goto_req *req, const struct place *p)
{
	const struct config_node *n = named_node(svc, req->node, p);
	struct source_params params = { .root = p->pid, .guest = p->guest };
	char text[REASON_MAX];

	if (!may_move(req->uid, p->pid)) {
		reply_error(rq, MSG_goto, -EPERM, "only root and its owner may move it");
	} else if (!n) {
		snprintf(text, sizeof(text), "there is no node %s", req->node);
		reply_error(rq, MSG_goto, -ENOENT, text);
	} else if (n->id == svc->conf.node_id) {
		reply_error(rq, MSG_goto, 0, "");
	} else if (n->state != NODE_UP) {
		snprintf(text, sizeof(text), "node %s is %s", n->name, node_state_name(n->state));
		reply_error(rq, MSG_goto, -EHOSTDOWN, text);
	} else {
		params.cpid = cpid_of(svc, p);
		params.target = n->id;
		source_start(svc, &params, goto_done, rq);
	}
}

static void on_goto(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_goto_req *req = msg;
	struct service *svc = ctx;
	struct msg_goto_req next = *req;
	struct place p;

	(void)conn;
	if (locate(svc, req->cpid, &p)) {
		reply_error(rq, MSG_goto, -ESRCH, "there is no such process");
		return;
	}
	if (p.pid) {
		goto_here(svc, rq, req, &p);
		return;
	}
	next.hops++;
	forward(svc, p.node, rq, MSG_goto, &next, sizeof(next), req->hops);
}

/* ---- cantmove, where ---- */

static void cantmove_here(struct service *svc, struct rpc_req *rq, const struct place *p)
{
	struct source_params params = { .root = p->pid, .guest = p->guest };
	_cleanup_free_ char *text = NULL;
	struct tree tree;
	int r;

	tree_init(&tree);
	r = source_plan(svc, &params, &tree, &text);
	tree_release(&tree);
	reply_error(rq, MSG_cantmove, r, text ? text : "");
}

static void on_cantmove(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_cantmove_req *req = msg;
	struct msg_cantmove_req next = *req;
	struct service *svc = ctx;
	struct place p;

	(void)conn;
	if (locate(svc, req->cpid, &p)) {
		reply_error(rq, MSG_cantmove, -ESRCH, "there is no such process");
		return;
	}
	if (p.pid) {
		cantmove_here(svc, rq, &p);
		return;
	}
	next.hops++;
	forward(svc, p.node, rq, MSG_cantmove, &next, sizeof(next), req->hops);
}

static void on_where(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	const struct msg_where_req *req = msg;
	struct msg_where_req next = *req;
	struct msg_where_rep rep = { 0 };
	struct service *svc = ctx;
	struct place p;

	(void)conn;
	if (locate(svc, req->cpid, &p)) {
		reply_error(rq, MSG_where, -ESRCH, "");
	} else if (p.pid) {
		rep.node = svc->conf.node_id;
		rpc_reply(rq, 0, &rep);
	} else {
		next.hops++;
		forward(svc, p.node, rq, MSG_where, &next, sizeof(next), req->hops);
	}
}

/* ---- life ---- */

static void accepted_up(void *ctx, struct rpc_conn *conn)
{
	(void)ctx;
	(void)conn;
}

static void accepted_down(void *ctx, struct rpc_conn *conn, int err)
{
	const struct rpc_peer *peer = rpc_conn_peer(conn);

	(void)err;
	if (peer->role == RPC_ROLE_NODE && peer->node_id)
		target_peer_lost(ctx, peer->node_id);
}

static const struct rpc_conn_events accepted = { .up = accepted_up, .down = accepted_down };

static void on_tick(uv_timer_t *timer)
{
	struct service *svc = timer->data;

	sources_tick(svc);
	targets_tick(svc);
	holds_update(svc);
}

static int make_dirs(struct service *svc)
{
	int r;

	snprintf(svc->images_dir, sizeof(svc->images_dir), "%s/images", svc->conf.run_dir);
	snprintf(svc->jobs_dir, sizeof(svc->jobs_dir), "%s/jobs", svc->conf.run_dir);
	if ((mkdir(svc->conf.run_dir, 0755) && errno != EEXIST) || (mkdir(svc->jobs_dir, 0700) && errno != EEXIST))
		return -errno;
	r = images_base(svc->images_dir);
	if (r)
		log_error("migrate", "cannot prepare %s: %s", svc->images_dir, strerror(-r));
	return r;
}

int service_new(uv_loop_t *loop, struct rpc *rpc, const struct service_conf *conf, struct service **ret_svc)
{
	struct service *svc = calloc(1, sizeof(*svc));
	int r;

	if (!svc)
		return -ENOMEM;
	svc->loop = loop;
	svc->rpc = rpc;
	svc->conf = *conf;
	r = make_dirs(svc);
	if (!r)
		r = jobs_new(conf->state_dir, &svc->registry);
	if (r) {
		free(svc);
		return r;
	}
	rpc_handle(rpc, MSG_goto, on_goto, svc);
	rpc_handle(rpc, MSG_cantmove, on_cantmove, svc);
	rpc_handle(rpc, MSG_where, on_where, svc);
	rpc_on_accept(rpc, &accepted, svc);
	target_handlers(svc);
	run_handlers(svc);
	uv_timer_init(loop, &svc->tick);
	svc->tick.data = svc;
	uv_timer_start(&svc->tick, on_tick, TICK_MS, TICK_MS);
	guests_adopt(svc);
	*ret_svc = svc;
	return 0;
}

void service_set_config(struct service *svc, const struct config *config)
{
	svc->config = *config;
	svc->have_config = true;
}
