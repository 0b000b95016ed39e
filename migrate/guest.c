/*
 * Jobs that live on this node in a pid namespace of their own: made by cfs run, or moved here.
 *
 * Life of a guest: spawned (an empty cfs-job) -> received or started -> running -> left (serves its last output) or
 * ended -> cfs-job goes down -> freed. The registry's file exists while its processes are here.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utlist.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "migrate/internal.h"

static void guest_free(struct guest *g)
{
	LL_DELETE(g->svc->guests, g);
	jobctl_free(g->jc);
	job_release(&g->job);
	free(g);
}

static void announce_end(struct guest *g)
{
	guest_announce(g->svc, g->job.id, g->job.home, 0, NULL, 0);
	away_remove(g->svc->conf.state_dir, g->job.id);
}

/* cfs-job ended, and with it everything in the job. */
static void guest_down(void *ctx)
{
	struct guest *g = ctx;

	unlink(g->sock);
	if (g->target) {
		target_guest_down(g->target);
	} else if (!g->went_to && g->running) {
		log_info("migrate", "job %s ended", g->job.id);
		job_remove(g->svc->conf.state_dir, g->job.id);
		announce_end(g);
	}
	guest_free(g);
}

/* A job may come back while its former stay here still owes output: each stay has a socket of its own. */
static struct guest *guest_new(struct service *svc, const char *id, uint32_t moves)
{
	struct guest *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->svc = svc;
	g->job.moves = moves;
	snprintf(g->job.id, sizeof(g->job.id), "%s", id);
	snprintf(g->sock, sizeof(g->sock), "%s/%s@%u.sock", svc->jobs_dir, id, moves);
	LL_PREPEND(svc->guests, g);
	return g;
}

int guest_spawn(struct service *svc, const char *id, uint32_t home, uint32_t moves, struct guest **ret_guest)
{
	struct guest *g;
	pid_t pid;
	int r;

	/* It may come from another node, and is a part of paths from here on. */
	if (!job_id_is_valid(id))
		return -EINVAL;
	if (guest_by_id(svc, id))
		return -EEXIST;
	g = guest_new(svc, id, moves);
	if (!g)
		return -ENOMEM;
	g->job.home = home;
	r = jobctl_spawn(svc->conf.job_program, g->sock, &pid);
	if (!r) {
		r = jobctl_connect(svc->loop, g->sock, pid, guest_down, g, &g->jc);
		if (r && kill(pid, SIGKILL) == 0)
			waitpid(pid, NULL, __WALL);
	}
	if (r) {
		guest_free(g);
		return r;
	}
	g->job.root = pid;
	*ret_guest = g;
	return 0;
}

void guest_kill(struct guest *g)
{
	jobctl_kill(g->jc);
}

struct guest *guest_by_id(struct service *svc, const char *id)
{
	struct guest *g;

	LL_FOREACH(svc->guests, g)
	{
		if (!g->went_to && !strcmp(g->job.id, id))
			return g;
	}
	return NULL;
}

struct guest *guest_to_read(struct service *svc, const char *id)
{
	struct guest *g, *found = guest_by_id(svc, id);

	LL_FOREACH(svc->guests, g)
	{
		if (g->went_to && !g->served && !strcmp(g->job.id, id) && (!found || g->job.moves < found->job.moves))
			found = g;
	}
	return found;
}

struct guest *guest_by_pidns(struct service *svc, uint64_t pidns)
{
	struct guest *g;

	LL_FOREACH(svc->guests, g)
	{
		if (g->running && g->job.pidns == pidns)
			return g;
	}
	return NULL;
}

static pid_t find_in_guest(struct guest *g, uint32_t cpid)
{
	struct tree t;
	pid_t found = 0;

	tree_init(&t);
	if (tree_read(&t, g->job.root) == 0)
		for (size_t i = 1; i < t.nr && !found; i++)
			if (job_cpid(&g->job, g->svc->conf.node_id, (uint32_t)t.procs[i].nspid, (uint32_t)t.procs[i].pid) == cpid)
				found = t.procs[i].pid;
	tree_release(&t);
	return found;
}

pid_t guest_find_cpid(struct service *svc, uint32_t cpid, struct guest **ret_guest)
{
	struct guest *g;

	LL_FOREACH(svc->guests, g)
	{
		pid_t pid = g->running && !g->went_to ? find_in_guest(g, cpid) : 0;

		if (pid) {
			*ret_guest = g;
			return pid;
		}
	}
	return 0;
}

int guest_publish(struct guest *g)
{
	int r = job_identify(&g->job);

	return r ? r : job_write(g->svc->conf.state_dir, &g->job);
}

int guest_set_pids(struct guest *g, const struct wire_blob *packed)
{
	const uint8_t *p = packed->p;
	size_t nr = packed->len / 8;
	struct job_pid *pids;

	if (packed->len % 8 || nr > JOB_PIDS_MAX)
		return -EBADMSG;
	pids = calloc(nr + 1, sizeof(*pids));
	if (!pids)
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++) {
		pids[i].nspid = get_le32(p + 8 * i);
		pids[i].cpid = get_le32(p + 8 * i + 4);
	}
	free(g->job.pids);
	g->job.pids = pids;
	g->job.nr_pids = nr;
	return 0;
}

void guest_keep(struct guest *g, uint64_t move, uint32_t source, jobctl_done done, void *ctx)
{
	_cleanup_free_ struct job_packet *rq = calloc(1, sizeof(*rq));
	int r = -ENOMEM;

	if (rq) {
		rq->op = JOB_KEEP;
		rq->len[0] = (uint32_t)snprintf((char *)rq->data, sizeof(rq->data), "%s %u %u %u %d %016" PRIx64 " %u", g->job.id,
						g->job.home, g->job.moves, g->cpid, g->waited, move, source);
		r = jobctl_call(g->jc, rq, -1, done, ctx);
	}
	if (r)
		done(ctx, r, NULL, -1);
}

/* ---- restart ---- */

static void adopt_running(struct guest *g)
{
	struct job old;

	if (job_read(g->svc->conf.state_dir, g->job.id, &old) == 0) {
		free(g->job.pids);
		g->job.pids = old.pids;
		g->job.nr_pids = old.nr_pids;
		old.pids = NULL;
		job_release(&old);
	}
	g->running = true;
	guest_publish(g);
	log_info("migrate", "job %s runs here", g->job.id);
}

static void take_up(struct guest *g, int status, const struct job_packet *rep, int fd)
{
	char id[JOB_ID_MAX] = "", text[512];
	uint64_t move = 0;
	uint32_t source = 0;
	int waited = 0, n = 0;

	if (!status && rep->arg[0] == JOB_VERSION && rep->len[0] < sizeof(text)) {
		memcpy(text, rep->data, rep->len[0]);
		text[rep->len[0]] = 0;
		n = sscanf(text, "%63s %u %u %u %d %" SCNx64 " %u", id, &g->job.home, &g->job.moves, &g->cpid, &waited, &move, &source);
	}
	if (n != 7 || rep->arg[1] == JOB_EMPTY || strcmp(id, g->job.id)) {
		log_warn("migrate", "job %s was not complete when cfs-migrated ended: it is given up", g->job.id);
		guest_kill(g);
		if (fd >= 0)
			close(fd);
		return;
	}
	g->waited = waited;
	g->last_move = move;
	g->root = (pid_t)rep->arg[2];
	if (rep->arg[1] == JOB_HELD) {
		/* cfs-job only knows the move when the copy was complete: else it was killed above. */
		target_adopt(g, move, source, fd);
		return;
	}
	if (fd >= 0)
		close(fd);
	if (rep->arg[1] == JOB_AWAY) {
		struct away a;

		g->went_to = g->svc->conf.node_id;
		if (away_read(g->svc->conf.state_dir, g->job.id, &a) == 0) {
			g->went_to = a.node;
			away_release(&a);
		}
		return;
	}
	g->leaving = rep->arg[1] == JOB_LEAVING;
	adopt_running(g);
}

static void adopted(void *ctx, int status, const struct job_packet *rep, int fd)
{
	struct guest *g = ctx;
	struct service *svc = g->svc;

	take_up(g, status, rep, fd);
	if (--svc->adopting == 0)
		sources_restart(svc);
}

static void adopt(struct service *svc, const char *id, uint32_t moves)
{
	struct guest *g = guest_new(svc, id, moves);

	if (!g)
		return;
	if (jobctl_connect(svc->loop, g->sock, 0, guest_down, g, &g->jc)) {
		unlink(g->sock); /* of a job that died with nobody watching */
		job_remove(svc->conf.state_dir, id);
		guest_free(g);
		return;
	}
	g->job.root = jobctl_pid(g->jc);
	if (jobctl_op(g->jc, JOB_HELLO, JOB_VERSION, 0, adopted, g))
		guest_kill(g);
	else
		svc->adopting++;
}

void guests_adopt(struct service *svc)
{
	DIR *d = opendir(svc->jobs_dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char id[JOB_ID_MAX], ext[8];
		unsigned moves;

		if (sscanf(e->d_name, "%63[^@]@%u%7s", id, &moves, ext) == 3 && !strcmp(ext, ".sock"))
			adopt(svc, id, moves);
	}
	if (d)
		closedir(d);
	if (svc->adopting == 0)
		sources_restart(svc);
}

/* ---- news of jobs for other nodes: best effort, a reader who is misled follows the next hint ---- */

struct announcement {
	char id[JOB_ID_MAX];
	uint32_t node;
	size_t len;
	uint8_t *cpids; /* packed */
};

static void announcement_free(struct announcement *a)
{
	free(a->cpids);
	free(a);
}

static void announced(void *ctx, int status, const void *rep)
{
	(void)ctx;
	(void)status;
	(void)rep;
}

static void announce_ready(void *ctx, int status, struct rpc_conn *conn)
{
	struct announcement *a = ctx;
	struct msg_job_moved_req req = { .job = a->id, .node = a->node, .cpids = { a->cpids, (uint32_t)a->len } };

	if (!status)
		rpc_call(conn, MSG_job_moved, &req, 5000, announced, NULL);
	announcement_free(a);
}

static void announce_to(struct service *svc, uint32_t to, const char *id, uint32_t node, const uint32_t *cpids, size_t nr)
{
	struct announcement *a = calloc(1, sizeof(*a));

	if (!a)
		return;
	snprintf(a->id, sizeof(a->id), "%s", id);
	a->node = node;
	a->len = 4 * nr;
	a->cpids = malloc(a->len + 1);
	if (!a->cpids) {
		announcement_free(a);
		return;
	}
	for (size_t i = 0; i < nr; i++)
		put_le32(a->cpids + 4 * i, cpids[i]);
	peer_connect(svc, to, announce_ready, a);
}

void guest_announce(struct service *svc, const char *id, uint32_t home, uint32_t node, const uint32_t *cpids, size_t nr)
{
	for (size_t i = 0; i < svc->config.nr_nodes; i++) {
		const struct config_node *n = &svc->config.nodes[i];

		if (n->id == svc->conf.node_id || n->id == node || n->state != NODE_UP)
			continue;
		if (node == 0 || n->id == home)
			announce_to(svc, n->id, id, node, cpids, nr);
	}
}
