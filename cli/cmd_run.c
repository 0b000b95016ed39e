/*
 * cfs run: starts a command on a node as a job, is its terminal end wherever it moves, and ends with its status.
 *
 * The job's output is a stream with offsets, fetched by job_read (which waits until there is news); input goes by
 * job_write. When the job moves, the node it left says where to, after its last byte was fetched; when a node does not
 * answer, the others are asked. One loop; one request of each kind under way.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/kcmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/node.h"
#include "common/cleanup.h"
#include "migrate/chan.h"
#include "migrate/plan.h"
#include "migrate/spec.h"
#include "wire/errors.h"

#define CONNECT_TIMEOUT_MS 3000
#define RETRY_MS 100
#define LOST_MS 30000 /* a job that no node knows for so long is gone */
#define EXIT_LOST 125

extern char **environ;

struct run {
	uv_loop_t loop;
	struct cli_node node;
	struct rpc *rpc;
	struct rpc_conn *conn; /* to where the job is, or is looked for; NULL: none */
	uint32_t at;	       /* that node */
	uv_timer_t retry;
	uv_poll_t in_poll;
	uv_signal_t sig_int, sig_term;
	struct msg_job_start_req start;
	struct wire_stdfd std[3];
	char paths[3][4096];
	char job[256];
	bool started, reading, writing, in_eof, in_eof_sent, in_done, in_polled;
	uint64_t out_off, err_off, in_off;
	char in_buf[JOB_STREAM_CHUNK];
	size_t in_len; /* of in_buf, at in_off */
	uint64_t lost_since; /* uv_now() when nobody knew it first, 0: known */
	int status;
};

static void look_at(struct run *r, uint32_t node);
static void read_more(struct run *r);
static void write_more(struct run *r);

static void finish(struct run *r, int status)
{
	r->status = status;
	uv_stop(&r->loop);
}

static void lost(struct run *r, const char *why)
{
	fprintf(stderr, "cfs run: the job is lost: %s\n", why);
	finish(r, EXIT_LOST);
}

/* All of it: our own output may be a slow pipe, and then the job is slowed down, as it should be. */
static void put_out(int fd, const struct wire_blob *b)
{
	const char *p = b->p;
	size_t left = b->len;

	while (left > 0) {
		ssize_t n = write(fd, p, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return; /* nobody reads us; the job runs on, as in a shell's background */
		p += n;
		left -= (size_t)n;
	}
}

/* ---- where the job is ---- */

static void on_retry(uv_timer_t *t)
{
	struct run *r = t->data;

	look_at(r, r->at);
}

static void look_later(struct run *r, uint32_t node)
{
	r->at = node;
	uv_timer_start(&r->retry, on_retry, RETRY_MS, 0);
}

/* The next node that is up; one that holds no trace of the job says so at once. */
static uint32_t next_node(const struct run *r)
{
	const struct config *c = &r->node.config;
	size_t at = 0;

	for (size_t i = 0; i < c->nr_nodes; i++)
		if (c->nodes[i].id == r->at)
			at = i;
	return c->nodes[(at + 1) % c->nr_nodes].id;
}

static void not_here(struct run *r, const char *why)
{
	if (!r->started) {
		const struct config_node *n = config_node_by_id(&r->node.config, r->at);

		fprintf(stderr, "cfs run: the job cannot be started on node %s (is cfsd running there?): %s\n", n ? n->name : "?", why);
		finish(r, EXIT_LOST);
		return;
	}
	if (!r->lost_since)
		r->lost_since = uv_now(&r->loop);
	if (uv_now(&r->loop) - r->lost_since > LOST_MS)
		lost(r, why);
	else
		look_later(r, next_node(r));
}

static void conn_drop(struct run *r)
{
	rpc_conn_close(TAKE_PTR(r->conn));
	r->reading = r->writing = false;
}

static void send_start(struct run *r);

static void conn_up(void *ctx, struct rpc_conn *conn)
{
	struct run *r = ctx;

	(void)conn;
	if (!r->started) {
		send_start(r);
		return;
	}
	read_more(r);
	write_more(r);
}

static void conn_down(void *ctx, struct rpc_conn *conn, int err)
{
	struct run *r = ctx;

	(void)conn;
	r->conn = NULL;
	r->reading = r->writing = false;
	not_here(r, strerror(-err));
}

static const struct rpc_conn_events conn_events = { .up = conn_up, .down = conn_down };

static void look_at(struct run *r, uint32_t node)
{
	const struct config_node *n = config_node_by_id(&r->node.config, node);

	conn_drop(r);
	r->at = node;
	if (!n || rpc_connect(r->rpc, n->host, (uint16_t)(n->port + PORT_MIGRATE), CONNECT_TIMEOUT_MS, &conn_events, r, &r->conn))
		not_here(r, "cannot connect");
	else
		rpc_conn_expect(r->conn, node);
}

/* ---- output ---- */

static void ended(void *ctx, int status, const void *rep)
{
	struct run *r = ctx;

	(void)status;
	(void)rep;
	uv_stop(&r->loop);
}

static void job_over(struct run *r, int status)
{
	struct msg_job_end_req req = { .job = r->job };

	r->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	uv_timer_stop(&r->retry);
	if (rpc_call(r->conn, MSG_job_end, &req, 2000, ended, r))
		uv_stop(&r->loop);
}

static void take_output(struct run *r, const struct msg_job_read_rep *rep)
{
	r->lost_since = 0;
	if (rep->out_off == r->out_off)
		put_out(STDOUT_FILENO, &rep->out);
	if (rep->err_off == r->err_off)
		put_out(STDERR_FILENO, &rep->err);
	r->out_off += rep->out_off == r->out_off ? rep->out.len : 0;
	r->err_off += rep->err_off == r->err_off ? rep->err.len : 0;
}

static void got_news(void *ctx, int status, const void *msg)
{
	const struct msg_job_read_rep *rep = msg;
	struct run *r = ctx;

	if (status == -ECANCELED)
		return; /* our own doing */
	r->reading = false;
	if (status == -ECONNRESET && !r->conn)
		return; /* conn_down looks further */
	if (status) {
		not_here(r, "no node knows it");
		return;
	}
	take_output(r, rep);
	if (rep->flags & JOB_EXITED)
		job_over(r, (int)rep->status);
	else if (rep->flags & JOB_GONE)
		rep->node == r->at ? read_more(r) : look_at(r, rep->node);
	else
		read_more(r);
}

static void read_more(struct run *r)
{
	struct msg_job_read_req req = { .job = r->job, .out_off = r->out_off, .err_off = r->err_off };

	if (r->reading || !r->conn || !rpc_conn_is_up(r->conn))
		return;
	r->reading = true;
	if (rpc_call(r->conn, MSG_job_read, &req, 0, got_news, r)) {
		r->reading = false;
		look_later(r, r->at);
	}
}

/* ---- input ---- */

static void poll_input(struct run *r);

static void wrote(void *ctx, int status, const void *msg)
{
	const struct msg_job_write_rep *rep = msg;
	struct run *r = ctx;
	uint64_t taken;

	if (status == -ECANCELED)
		return;
	r->writing = false;
	if (status)
		return; /* it is on its way somewhere: the reader finds it, and then this is sent again */
	taken = rep->off - r->in_off;
	if (rep->flags & JOB_BROKEN)
		r->in_done = true;
	if (rep->off < r->in_off || taken > r->in_len)
		return;
	memmove(r->in_buf, r->in_buf + taken, r->in_len - taken);
	r->in_len -= taken;
	r->in_off += taken;
	if (r->in_eof_sent && r->in_len == 0)
		r->in_done = true;
	write_more(r);
}

static void write_more(struct run *r)
{
	struct msg_job_write_req req = { .job = r->job, .off = r->in_off, .eof = r->in_eof, .data = { r->in_buf, (uint32_t)r->in_len } };

	if (r->in_done || r->writing || !r->started || !r->conn || !rpc_conn_is_up(r->conn))
		return;
	if (r->in_len == 0 && !r->in_eof) {
		poll_input(r);
		return;
	}
	r->writing = rpc_call(r->conn, MSG_job_write, &req, 0, wrote, r) == 0;
	r->in_eof_sent = r->in_eof;
}

static void take_input(struct run *r)
{
	ssize_t n = read(STDIN_FILENO, r->in_buf, sizeof(r->in_buf));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		r->in_len = (size_t)n;
	else
		r->in_eof = true;
	if (r->in_polled)
		uv_poll_stop(&r->in_poll);
	write_more(r);
}

static void input_ready(uv_poll_t *p, int status, int events)
{
	(void)status;
	(void)events;
	take_input(p->data);
}

/* A plain file cannot be polled, and is always ready. */
static void poll_input(struct run *r)
{
	if (r->std[0].kind != STDFD_RELAY)
		return;
	if (!r->in_polled && uv_poll_init(&r->loop, &r->in_poll, STDIN_FILENO)) {
		take_input(r);
		return;
	}
	r->in_polled = true;
	r->in_poll.data = r;
	uv_poll_start(&r->in_poll, UV_READABLE, input_ready);
}

/* ---- signals ---- */

static void signalled(void *ctx, int status, const void *rep)
{
	(void)ctx;
	(void)status;
	(void)rep;
}

static void on_signal(uv_signal_t *s, int signo)
{
	struct run *r = s->data;
	struct msg_job_signal_req req = { .job = r->job, .signo = (uint32_t)signo };

	if (!r->started || !r->conn || rpc_call(r->conn, MSG_job_signal, &req, 2000, signalled, NULL))
		fprintf(stderr, "cfs run: the job cannot be reached just now\n");
}

/* ---- start ---- */

static void started(void *ctx, int status, const void *msg)
{
	const struct msg_job_start_rep *rep = msg;
	struct run *r = ctx;
	int err;

	if (status) {
		fprintf(stderr, "cfs run: cannot start: %s\n", strerror(-status));
		finish(r, EXIT_LOST);
		return;
	}
	if (rep->error) {
		err = wire_status_to_errno((uint16_t)rep->error);
		fprintf(stderr, "cfs run: %s: %s\n", (const char *)r->start.argv.p, rep->reason);
		finish(r, err == -ENOENT ? 127 : err == -EACCES || err == -ENOEXEC ? 126 : EXIT_LOST);
		return;
	}
	snprintf(r->job, sizeof(r->job), "%s", rep->job);
	r->started = true;
	read_more(r);
	write_more(r);
}

static void send_start(struct run *r)
{
	int e = rpc_call(r->conn, MSG_job_start, &r->start, 10000, started, r);

	if (e)
		started(r, e, NULL);
}

/* NUL-ended strings, one after the other. */
static struct wire_blob join_strings(char **v)
{
	size_t len = 0;
	char *buf, *p;

	for (char **s = v; *s; s++)
		len += strlen(*s) + 1;
	buf = p = malloc(len + 1);
	for (char **s = v; buf && *s; s++)
		p = stpcpy(p, *s) + 1;
	return (struct wire_blob){ buf, buf ? (uint32_t)len : 0 };
}

/* A file on the cluster's filesystem is opened again on the job's node; everything else is relayed. */
static void describe_fd(struct run *r, int fd, const struct plan_devs *cfs)
{
	struct wire_stdfd *d = &r->std[fd];
	char link[32];
	struct stat st;
	ssize_t n;
	off_t off;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	d->path = "";
	d->kind = STDFD_NULL;
	if (fstat(fd, &st))
		return;
	if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3))
		return;
	d->kind = STDFD_RELAY;
	n = readlink(link, r->paths[fd], sizeof(r->paths[fd]) - 1);
	if (!S_ISREG(st.st_mode) || !plan_devs_has(cfs, st.st_dev) || st.st_nlink == 0 || n <= 0)
		return;
	off = lseek(fd, 0, SEEK_CUR);
	d->kind = STDFD_FILE;
	d->path = r->paths[fd];
	d->flags = (uint32_t)fcntl(fd, F_GETFL);
	d->off = off < 0 ? 0 : (uint64_t)off;
}

static bool same_output(void)
{
	struct stat a, b;

	if (syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, 1, 2) == 0)
		return true;
	return fstat(1, &a) == 0 && fstat(2, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino && !S_ISCHR(a.st_mode);
}

static int describe(struct run *r, char **argv)
{
	struct plan_devs cfs;
	gid_t groups[WIRE_U32S_MAX];
	int n = getgroups((int)WIRE_U32S_MAX, groups);
	mode_t mask = umask(0);
	char *cwd = getcwd(NULL, 0);

	umask(mask);
	if (!cwd)
		return -errno;
	plan_devs_read(getpid(), "fuse.cfs", &cfs);
	for (int fd = 0; fd < 3; fd++)
		describe_fd(r, fd, &cfs);
	if (r->std[1].kind != STDFD_NULL && same_output()) {
		r->std[2].kind = STDFD_STDOUT;
		r->std[2].path = "";
	}
	r->start = (struct msg_job_start_req){
		.argv = join_strings(argv),
		.env = join_strings(environ),
		.cwd = cwd,
		.umask = mask,
		.cred = { geteuid(), getegid() },
		.in = r->std[0],
		.out = r->std[1],
		.err = r->std[2],
	};
	for (int i = 0; i < n; i++)
		r->start.groups.v[r->start.groups.n++] = groups[i];
	return r->start.argv.p && r->start.env.p ? 0 : -ENOMEM;
}

static int run_loop(struct run *r, uint32_t node)
{
	int e;

	uv_loop_init(&r->loop);
	uv_timer_init(&r->loop, &r->retry);
	uv_signal_init(&r->loop, &r->sig_int);
	uv_signal_init(&r->loop, &r->sig_term);
	r->retry.data = r->sig_int.data = r->sig_term.data = r;
	uv_signal_start(&r->sig_int, on_signal, SIGINT);
	uv_signal_start(&r->sig_term, on_signal, SIGTERM);
	signal(SIGPIPE, SIG_IGN);
	e = rpc_new(&r->loop, &r->node.self, r->node.tls, &r->rpc);
	if (e) {
		fprintf(stderr, "cfs run: %s\n", strerror(-e));
		return EXIT_LOST;
	}
	look_at(r, node);
	uv_run(&r->loop, UV_RUN_DEFAULT);
	return r->status;
}

struct args {
	const char *node;
	char **command;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 'n':
		a->node = arg;
		return 0;
	case ARGP_KEY_ARG:
		/* All from here on is the command's. */
		a->command = &state->argv[state->next - 1];
		state->next = state->argc;
		return 0;
	case ARGP_KEY_END:
		if (!a->command)
			argp_usage(state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int run(struct run *r, const struct args *a)
{
	const struct config_node *node = a->node ? cli_node_find("run", &r->node, a->node) : NULL;
	int e;

	if (a->node && !node)
		return EXIT_LOST;
	e = describe(r, a->command);
	if (e) {
		fprintf(stderr, "cfs run: %s\n", strerror(-e));
		return EXIT_LOST;
	}
	return run_loop(r, node ? node->id : r->node.id.id);
}

int cmd_run(int argc, char **argv)
{
	static const struct argp_option options[] = { { "node", 'n', "NODE", 0, "Where it starts [this node]", 0 }, { 0 } };
	_cleanup_free_ struct run *r = calloc(1, sizeof(*r));
	struct args a = { 0 };
	int status;

	cli_parse(argc, argv, options, parse, "COMMAND...",
		  "Starts a command as a job that can move, relays its input and output, and ends with its exit status.\v"
		  "128 + N when signal N ended it, 125 when it could not be started or was lost.",
		  &a);
	if (!r || cli_node_load("run", &r->node))
		return EXIT_LOST;
	status = run(r, &a);
	cli_node_release(&r->node);
	return status;
}
