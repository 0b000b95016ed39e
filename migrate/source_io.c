/*
 * The source's work up to the complete dump: a place at the target, and the dump.
 *
 * What the dump does, in order: a cgroup of its own for the tree (it runs on) | CRIU stops it (pre-dump hook: the clock
 * starts), writes the images, waits at post-dump | the job's pipes are drained and its files on CFS flushed, in a worker
 * thread, so that the target finds everything | DUMPED. source_send.c sends meanwhile.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/fault.h"
#include "migrate/plan.h"
#include "migrate/source.h"

#define BEGIN_TIMEOUT_MS 10000

/* ---- a place at the target ---- */

static void begun(void *ctx, int status, const void *msg)
{
	const struct msg_move_begin_rep *rep = msg;
	struct source *s = ctx;
	const char *node = service_node_name(s->svc, s->p.target);

	if (status) {
		source_fail(s, -EHOSTUNREACH, "%s cannot be reached: %s", node, strerror(-status));
		source_feed(s, SOURCE_PEER_LOST);
	} else if (rep->error) {
		source_fail(s, -EOPNOTSUPP, "%s: %s", node, rep->reason);
		source_feed(s, SOURCE_REFUSED);
	} else {
		source_feed(s, SOURCE_ACCEPTED);
	}
	source_unpend(s);
}

static void begin_ready(void *ctx, int status, struct rpc_conn *conn)
{
	struct source *s = ctx;
	struct msg_move_begin_req req = {
		.move = s->rec.move,
		.job = s->job,
		.home = s->home,
		.moves = s->moves + 1,
		.cpid = s->p.cpid,
		.waited = s->whole && s->p.guest->waited,
	};

	if (!status)
		status = rpc_call(conn, MSG_move_begin, &req, BEGIN_TIMEOUT_MS, begun, s);
	if (status)
		begun(s, status, NULL);
}

void source_begin(struct source *s)
{
	s->pending++;
	peer_connect(s->svc, s->p.target, begin_ready, s);
}

/* ---- the dump ---- */

static void syncfs_of(int dir, const char *name)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0)
		syncfs(fd);
}

/* Dirty pages of shared mappings are the only thing a write-through mount can still owe. */
static void sync_files(const struct source *s)
{
	struct plan_devs cfs;
	uint64_t done = 0;

	plan_devs_read(s->p.root, s->svc->conf.cfs_type, &cfs);
	for (size_t i = 0; i < s->tree.nr && cfs.nr; i++) {
		char path[64];
		struct dirent *e;
		struct stat st;
		DIR *d;

		snprintf(path, sizeof(path), "/proc/%d/map_files", s->tree.procs[i].pid);
		d = opendir(path);
		while (d && (e = readdir(d))) {
			if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, 0) || st.st_dev == done ||
			    !plan_devs_has(&cfs, st.st_dev))
				continue;
			done = st.st_dev;
			syncfs_of(dirfd(d), e->d_name);
		}
		if (d)
			closedir(d);
	}
}

/* [worker] Nothing changes any more: what came between the plan and the stop (a child that left the tree with one of its pipes,
   say) is found now. */
static void sync_and_look_again(uv_work_t *work)
{
	struct source *s = work->data;

	sync_files(s);
	if (plan_check(&s->conf, &s->tree, &s->reasons))
		reasons_add(&s->reasons, "unknown: the stopped processes cannot be read");
}

static void synced(uv_work_t *work, int status)
{
	struct source *s = work->data;

	(void)status;
	if (s->reasons.text)
		source_fail(s, -EOPNOTSUPP, "%s", s->reasons.text);
	if (s->state == SOURCE_DUMPING && fault_hit(FAULT_move_source_frozen))
		source_fail(s, -EIO, "fault point");
	source_feed(s, s->error ? SOURCE_DUMP_FAILED : SOURCE_DUMPED);
	source_unpend(s);
}

static void sync_then_dumped(struct source *s)
{
	s->sync_work.data = s;
	s->pending++;
	if (uv_queue_work(s->svc->loop, &s->sync_work, sync_and_look_again, synced))
		synced(&s->sync_work, 0);
}

static void job_left(void *ctx, int status, const struct job_packet *rep, int fd)
{
	struct source *s = ctx;

	if (fd >= 0)
		close(fd);
	s->leave = status ? NULL : malloc(sizeof(*s->leave));
	if (s->leave)
		memcpy(s->leave, rep, sizeof(*rep));
	else
		source_fail(s, status ? status : -ENOMEM, "cannot take over the job's pipes");
	sync_then_dumped(s);
	source_unpend(s);
}

static void at_post_dump(struct source *s)
{
	int r = source_final_tree(s);

	s->criu_waits = true;
	s->dumped_at = uv_hrtime();
	if (r)
		source_fail(s, r, "cannot read the stopped processes: %s", strerror(-r));
	if (r) {
		source_feed(s, SOURCE_DUMP_FAILED);
		return;
	}
	if (!s->whole) {
		sync_then_dumped(s);
		return;
	}
	s->left = true;
	s->pending++;
	r = jobctl_op(s->p.guest->jc, JOB_LEAVE, 0, 0, job_left, s);
	if (r)
		job_left(s, r, NULL, -1);
}

static void criu_hook(void *ctx, enum criu_hook hook, pid_t pid)
{
	struct source *s = ctx;

	(void)pid;
	if (s->state != SOURCE_DUMPING) {
		criu_ack(s->criu, false); /* given up meanwhile */
		return;
	}
	if (hook == CRIU_HOOK_POST_DUMP) {
		at_post_dump(s);
		return;
	}
	if (hook == CRIU_HOOK_PRE_DUMP)
		s->frozen_at = uv_hrtime();
	criu_ack(s->criu, true);
}

static void criu_over(void *ctx, int status, const char *reason)
{
	source_criu_over(ctx, status, reason);
}

static const struct criu_events criu_events = { .hook = criu_hook, .done = criu_over };

static void dump_with(struct source *s, int sock)
{
	int r = criu_new(s->svc->loop, sock, &criu_events, s, &s->criu);

	if (!r)
		r = criu_dump(s->criu, s->images_path, s->p.guest ? s->tree.procs[0].nspid : s->p.root);
	if (r) {
		criu_free(s->criu);
		s->criu = NULL;
		source_fail(s, r, "cannot ask criu: %s", strerror(-r));
		source_feed(s, SOURCE_DUMP_FAILED);
	}
}

static void criu_in_job(void *ctx, int status, const struct job_packet *rep, int fd)
{
	struct source *s = ctx;

	(void)rep;
	if (s->state != SOURCE_DUMPING) {
		/* Given up meanwhile: a criu without a socket ends. */
		if (fd >= 0)
			close(fd);
	} else if (status || fd < 0) {
		source_fail(s, status ? status : -EPROTO, "cannot start criu in the job");
		source_feed(s, SOURCE_DUMP_FAILED);
	} else {
		dump_with(s, fd);
	}
	source_unpend(s);
}

static void process_closed(uv_handle_t *h)
{
	source_unpend(h->data);
}

static void process_exited(uv_process_t *p, int64_t status, int sig)
{
	(void)status;
	(void)sig;
	uv_close((uv_handle_t *)p, process_closed);
}

/* An ordinary process: CRIU runs in the node's namespaces, as it does. */
static int criu_here(struct source *s, int *ret_sock)
{
	char prog[] = CFS_CRIU_PATH, name[] = "criu", verb[] = "swrk", num[] = "3";
	char *args[] = { name, verb, num, NULL };
	uv_stdio_container_t io[4] = { { .flags = UV_IGNORE }, { .flags = UV_IGNORE }, { .flags = UV_IGNORE }, { .flags = UV_INHERIT_FD } };
	uv_process_options_t o = { .file = prog, .args = args, .stdio = io, .stdio_count = 4, .exit_cb = process_exited };
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	io[3].data.fd = pair[1];
	s->criu_process.data = s;
	s->pending++;
	r = uv_spawn(s->svc->loop, &s->criu_process, &o);
	close(pair[1]);
	if (r) {
		close(pair[0]);
		uv_close((uv_handle_t *)&s->criu_process, process_closed);
		return r;
	}
	*ret_sock = pair[0];
	return 0;
}

static int make_room(struct source *s)
{
	char parent[CGROUP_PATH_MAX];
	int r = cgroup_of(s->p.root, parent);

	snprintf(s->images_path, sizeof(s->images_path), "%s/%016" PRIx64, s->svc->images_dir, s->rec.move);
	if (r) {
		source_fail(s, r, "no cgroup2 to hold it: %s", strerror(-r));
		return r;
	}
	snprintf(s->rec.cgroup, sizeof(s->rec.cgroup), "%.*s/cfs-move-%016" PRIx64, CGROUP_PATH_MAX - 64, parent, s->rec.move);
	r = record_write(s->svc->conf.state_dir, &s->rec);
	if (!r)
		r = images_create(s->images_path);
	if (!r)
		r = cgroup_enter(s->rec.cgroup, &s->tree);
	if (!r)
		r = source_send_open(s);
	if (r)
		source_fail(s, r, "cannot prepare: %s", strerror(-r));
	return r;
}

void source_dump(struct source *s)
{
	int sock = -1, r = make_room(s);

	if (r) {
		source_feed(s, SOURCE_DUMP_FAILED);
		return;
	}
	if (s->p.guest) {
		s->pending++;
		r = jobctl_op(s->p.guest->jc, JOB_CRIU, CRIU_FOR_DUMP, 0, criu_in_job, s);
		if (r)
			criu_in_job(s, r, NULL, -1);
		return;
	}
	r = criu_here(s, &sock);
	if (r) {
		source_fail(s, r, "cannot start criu: %s", strerror(-r));
		source_feed(s, SOURCE_DUMP_FAILED);
		return;
	}
	dump_with(s, sock);
}
