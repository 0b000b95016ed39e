/*
 * cfs-job: PID 1 of a moved (or `cfs run`) job's pid namespace. Reaps, relays stdio, keeps the exit status, starts CRIU
 * inside the job's namespaces. Serves one cfs-migrated at a time over a socket, and outlives it.
 *
 * Started by jobctl_spawn() in new pid and mount namespaces: cfs-job SOCKET. Its death kills everything in the job, so it
 * does little, allocates little, and treats every failure of a request as a failure of that request.
 * One thread, one poll(2) loop.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "migrate/chan.h"
#include "migrate/job_exec.h"
#include "migrate/job_relay.h"

#define KEEP_MAX JOB_STREAM_CHUNK
/* How long an exit status, or the last output of a job that left, waits for somebody to fetch it. */
#define COLLECT_S 600
#define LISTENER_FD 3 /* made by the one who starts us, so that it can connect at once */

struct jobd {
	int listener, sigfd, conn;
	const char *path;
	enum job_state state;
	pid_t root;
	bool waited;	  /* somebody wants the exit status */
	bool exited;	  /* the root has ended, with status */
	int status;
	bool children;	  /* there are any */
	time_t ended_at;  /* when the state became ENDED or AWAY, 0: not yet */
	int criu_sock;	  /* our copy of the restore's RPC socket while it is held; -1 */
	int job_ends[3];  /* the job's ends of its pipes until CRIU has them; -1 */
	struct relay relay;
	uint8_t keep[KEEP_MAX];
	uint32_t keep_len;
	struct job_packet read_rq, write_rq; /* parked requests; op 0: none */
	struct job_packet in, out;
};

static void reply_fd(struct jobd *j, const struct job_packet *rq, int status, int fd)
{
	j->out.op = rq->op;
	j->out.seq = rq->seq;
	j->out.reply = 1;
	j->out.status = status;
	if (j->conn >= 0 && chan_send(j->conn, &j->out, fd) < 0) {
		/* Whoever does not take its answers asks again on a new connection. */
		close(TAKE_FD(j->conn));
		j->read_rq.op = j->write_rq.op = 0;
	}
}

static void reply_begin(struct jobd *j)
{
	memset(&j->out, 0, offsetof(struct job_packet, data));
}

static void reply_status(struct jobd *j, const struct job_packet *rq, int status)
{
	reply_begin(j);
	reply_fd(j, rq, status, -1);
}

/* ---- stdio ---- */

static uint32_t part_of(const struct relay_out *o)
{
	return o->len > JOB_STREAM_CHUNK ? JOB_STREAM_CHUNK : (uint32_t)o->len;
}

static bool streams_empty(const struct jobd *j)
{
	return j->relay.out.len == 0 && j->relay.err.len == 0;
}

static bool streams_ended(const struct jobd *j)
{
	return relay_out_ended(&j->relay.out) && relay_out_ended(&j->relay.err);
}

/* Answers the parked read when there is something to say. The end is only said after all output was acknowledged. */
static void serve_read(struct jobd *j)
{
	struct relay_out *out = &j->relay.out, *err = &j->relay.err;
	int64_t flags = 0;

	if (!j->read_rq.op)
		return;
	if (j->exited && j->state != JOB_LEAVING && j->state != JOB_AWAY && streams_empty(j))
		flags |= JOB_EXITED;
	if (j->state == JOB_AWAY && streams_empty(j) && streams_ended(j))
		flags |= JOB_GONE;
	if (streams_empty(j) && !flags)
		return;
	reply_begin(j);
	j->out.arg[0] = (int64_t)out->start;
	j->out.arg[1] = (int64_t)err->start;
	j->out.arg[2] = flags;
	j->out.arg[3] = j->status;
	j->out.len[0] = part_of(out);
	j->out.len[1] = part_of(err);
	memcpy(j->out.data, out->buf ? out->buf : j->out.data, j->out.len[0]);
	memcpy(j->out.data + j->out.len[0], err->buf ? err->buf : j->out.data, j->out.len[1]);
	reply_fd(j, &j->read_rq, 0, -1);
	j->read_rq.op = 0;
}

static void do_read(struct jobd *j)
{
	int r = relay_out_ack(&j->relay.out, (uint64_t)j->in.arg[0]);

	if (!r)
		r = relay_out_ack(&j->relay.err, (uint64_t)j->in.arg[1]);
	if (r) {
		reply_status(j, &j->in, r);
		return;
	}
	if (j->read_rq.op) /* the reader has a new connection; nobody waits for the old answer */
		reply_status(j, &j->read_rq, -ECANCELED);
	memcpy(&j->read_rq, &j->in, offsetof(struct job_packet, data));
}

static void answer_write(struct jobd *j, const struct job_packet *rq, int status)
{
	reply_begin(j);
	j->out.arg[0] = (int64_t)j->relay.in.off;
	j->out.arg[1] = j->relay.in.broken || j->state == JOB_AWAY ? JOB_BROKEN : 0;
	reply_fd(j, rq, status, -1);
}

static void serve_write(struct jobd *j)
{
	if (!relay_in_push(&j->relay.in) && j->state == JOB_RUNNING)
		return;
	if (j->write_rq.op)
		answer_write(j, &j->write_rq, 0);
	j->write_rq.op = 0;
}

static void do_write(struct jobd *j)
{
	int r;

	if (j->state != JOB_RUNNING || j->relay.in.ended || j->relay.in.broken) {
		answer_write(j, &j->in, 0);
		return;
	}
	r = relay_in_put(&j->relay.in, (uint64_t)j->in.arg[0], j->in.data, j->in.len[0], j->in.arg[1] == 1);
	if (r) {
		answer_write(j, &j->in, r == -EINVAL ? 0 : r);
		return;
	}
	memcpy(&j->write_rq, &j->in, offsetof(struct job_packet, data));
	serve_write(j);
}

/* ---- the job ---- */

static void close_job_ends(struct jobd *j)
{
	for (int i = 0; i < 3; i++)
		if (j->job_ends[i] >= 0)
			close(TAKE_FD(j->job_ends[i]));
}

static void set_last_pid(int64_t last)
{
	_cleanup_close_ int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);

	/* A help, not a need: CRIU names the pids it wants; this keeps its own helpers off them. */
	if (fd < 0 || dprintf(fd, "%lld", (long long)last) < 0)
		log_warn("job", "cannot set ns_last_pid: %s", strerror(errno));
}

static void criu_child(const struct jobd *j, int sock)
{
	char num[16];
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	fcntl(sock, F_SETFD, 0);
	for (int i = 0; i < 3; i++)
		if (j->job_ends[i] >= 0)
			fcntl(j->job_ends[i], F_SETFD, 0);
	snprintf(num, sizeof(num), "%d", sock);
	execl(CFS_CRIU_PATH, "criu", "swrk", num, (char *)NULL);
	_exit(127);
}

static void do_criu(struct jobd *j)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		reply_status(j, &j->in, -errno);
		return;
	}
	if (j->in.arg[1] > 0)
		set_last_pid(j->in.arg[1]);
	pid = fork();
	if (pid == 0)
		criu_child(j, pair[1]);
	close(pair[1]);
	close_job_ends(j);
	reply_begin(j);
	reply_fd(j, &j->in, pid < 0 ? -errno : 0, pair[0]);
	if (pid > 0 && j->in.arg[0] == CRIU_FOR_RESTORE) {
		/* At pre-resume CRIU goes on when its socket breaks: our copy keeps it waiting if cfs-migrated dies. */
		j->criu_sock = pair[0];
		j->state = JOB_HELD;
	} else {
		close(pair[0]);
	}
}

static int open_out_stream(struct relay_out *o, int64_t ino, int64_t off, int *job_end)
{
	int r = ino ? relay_out_open(o, job_end) : 0;

	o->start = (uint64_t)off;
	return r;
}

static void do_pipes(struct jobd *j)
{
	const struct job_packet *rq = &j->in;
	int r = rq->arg[0] ? relay_in_open(&j->relay.in, &j->job_ends[0]) : 0;

	if (!r)
		r = open_out_stream(&j->relay.out, rq->arg[1], rq->arg[4], &j->job_ends[1]);
	if (!r)
		r = open_out_stream(&j->relay.err, rq->arg[2], rq->arg[5], &j->job_ends[2]);
	if (!r && rq->arg[0]) {
		/* What the job had not read goes first; the offset already counts it. */
		j->relay.in.off = (uint64_t)rq->arg[3] - rq->len[0];
		r = relay_in_put(&j->relay.in, j->relay.in.off, rq->data, rq->len[0], rq->arg[6] == 1);
		relay_in_push(&j->relay.in);
	}
	reply_begin(j);
	for (int i = 0; i < 3; i++)
		j->out.arg[i] = j->job_ends[i];
	reply_fd(j, rq, r, -1);
}

static void do_exec(struct jobd *j, int spec_fd)
{
	struct msg_job_start_req spec;
	struct wire_reader rd;
	struct stat st;
	void *map = MAP_FAILED;
	int r = -EINVAL;

	if (j->state != JOB_EMPTY || spec_fd < 0 || fstat(spec_fd, &st) < 0 || st.st_size <= 0)
		goto out;
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, spec_fd, 0);
	if (map == MAP_FAILED)
		goto out;
	rd = (struct wire_reader){ map, (const uint8_t *)map + st.st_size };
	r = msg_info(MSG_job_start)->decode_req(&rd, &spec);
	if (!r)
		r = job_exec(&spec, &j->relay, (pid_t)j->in.arg[0], &j->root);
	munmap(map, (size_t)st.st_size);
	if (!r) {
		j->state = JOB_RUNNING;
		j->waited = j->children = true;
	}
out:
	reply_begin(j);
	j->out.arg[0] = j->root;
	reply_fd(j, &j->in, r, -1);
}

static void do_hello(struct jobd *j)
{
	reply_begin(j);
	j->out.arg[0] = JOB_VERSION;
	j->out.arg[1] = j->state;
	j->out.arg[2] = j->root;
	j->out.arg[3] = j->exited ? j->status : -1;
	j->out.arg[4] = j->waited;
	j->out.len[0] = j->keep_len;
	memcpy(j->out.data, j->keep, j->keep_len);
	reply_fd(j, &j->in, 0, j->state == JOB_HELD ? j->criu_sock : -1);
}

static void do_keep(struct jobd *j)
{
	memcpy(j->keep, j->in.data, j->in.len[0]);
	j->keep_len = j->in.len[0];
	reply_status(j, &j->in, 0);
}

static void do_resumed(struct jobd *j)
{
	j->root = (pid_t)j->in.arg[0];
	j->waited = j->in.arg[1] == 1;
	j->state = JOB_RUNNING;
	j->children = true;
	if (j->criu_sock >= 0)
		close(TAKE_FD(j->criu_sock));
	reply_status(j, &j->in, 0);
}

/* The processes are stopped: what is in the pipes is all that was ever written to them. */
static void do_leave(struct jobd *j)
{
	struct relay *r = &j->relay;
	int n, err = relay_out_drain(&r->out);

	if (!err)
		err = relay_out_drain(&r->err);
	reply_begin(j);
	n = relay_in_unread(&r->in, j->out.data, JOB_STREAM_CHUNK);
	if (!err && n < 0)
		err = n;
	if (!err) {
		j->state = JOB_LEAVING;
		serve_write(j); /* what is not in the pipe by now goes to the next node */
		r->in.len = r->in.pos = 0;
		reply_begin(j);
		j->out.len[0] = (uint32_t)n;
	}
	j->out.arg[0] = (int64_t)r->in.ino;
	j->out.arg[1] = (int64_t)r->out.ino;
	j->out.arg[2] = (int64_t)r->err.ino;
	j->out.arg[3] = (int64_t)r->in.off;
	j->out.arg[4] = (int64_t)relay_out_end(&r->out);
	j->out.arg[5] = (int64_t)relay_out_end(&r->err);
	j->out.arg[6] = r->in.ended;
	reply_fd(j, &j->in, err, -1);
}

static void do_left(struct jobd *j)
{
	j->state = JOB_AWAY;
	j->ended_at = time(NULL);
	reply_status(j, &j->in, 0);
}

static void do_signal(struct jobd *j)
{
	int r = -ESRCH;

	if (j->root > 1 && !j->exited)
		r = kill(-j->root, (int)j->in.arg[0]) && kill(j->root, (int)j->in.arg[0]) ? -errno : 0;
	reply_status(j, &j->in, r);
}

static void do_request(struct jobd *j, int fd)
{
	switch (j->in.op) {
	case JOB_HELLO: do_hello(j); break;
	case JOB_KEEP: do_keep(j); break;
	case JOB_CRIU: do_criu(j); break;
	case JOB_PIPES: do_pipes(j); break;
	case JOB_EXEC: do_exec(j, fd); break;
	case JOB_RESUMED: do_resumed(j); break;
	case JOB_READ: do_read(j); break;
	case JOB_WRITE: do_write(j); break;
	case JOB_LEAVE: do_leave(j); break;
	case JOB_STAY:
		j->state = JOB_RUNNING;
		reply_status(j, &j->in, 0);
		break;
	case JOB_LEFT: do_left(j); break;
	case JOB_SIGNAL: do_signal(j); break;
	case JOB_COLLECTED:
		j->waited = false;
		reply_status(j, &j->in, 0);
		break;
	case JOB_QUIT:
		reply_status(j, &j->in, 0);
		exit(0);
	default: reply_status(j, &j->in, -ENOSYS);
	}
	if (fd >= 0)
		close(fd);
}

/* ---- the loop ---- */

static void reap(struct jobd *j)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
		if (pid != j->root || j->exited)
			continue;
		j->exited = true;
		j->status = status;
		/* What it wrote is in the pipe by now; children that go on writing do not hold its status back. */
		relay_out_drain(&j->relay.out);
		relay_out_drain(&j->relay.err);
	}
	j->children = pid == 0;
}

/* Over when nothing runs and nobody is owed anything, or nobody has come for it in a long time. */
static bool is_over(struct jobd *j)
{
	bool owed;

	if (j->state != JOB_RUNNING && j->state != JOB_AWAY && j->state != JOB_ENDED)
		return false;
	if (j->children || (!j->exited && j->state == JOB_RUNNING))
		return false;
	if (!j->ended_at)
		j->ended_at = time(NULL);
	owed = j->state == JOB_AWAY ? !streams_empty(j) : j->waited;
	return !owed || time(NULL) - j->ended_at > COLLECT_S;
}

static void accept_conn(struct jobd *j)
{
	int fd = accept4(j->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (j->conn >= 0)
		close(j->conn);
	j->conn = fd;
	j->read_rq.op = j->write_rq.op = 0;
}

static void conn_readable(struct jobd *j)
{
	int fd = -1, r = chan_recv(j->conn, &j->in, &fd);

	if (r == -EAGAIN)
		return;
	if (r) {
		close(TAKE_FD(j->conn));
		j->read_rq.op = j->write_rq.op = 0;
		return;
	}
	do_request(j, fd);
}

static void drain_signals(struct jobd *j)
{
	struct signalfd_siginfo si;

	while (read(j->sigfd, &si, sizeof(si)) > 0)
		;
}

static short out_events(const struct relay_out *o)
{
	return o->fd >= 0 && o->len < RELAY_BUFFER ? POLLIN : 0;
}

static void run(struct jobd *j)
{
	while (!is_over(j)) {
		bool pushing = j->relay.in.pos < j->relay.in.len && j->state == JOB_RUNNING;
		struct pollfd p[] = {
			{ .fd = j->listener, .events = POLLIN },
			{ .fd = j->sigfd, .events = POLLIN },
			{ .fd = j->conn, .events = POLLIN },
			/* Without wanted events a hang-up would still wake us, again and again. */
			{ .fd = out_events(&j->relay.out) ? j->relay.out.fd : -1, .events = POLLIN },
			{ .fd = out_events(&j->relay.err) ? j->relay.err.fd : -1, .events = POLLIN },
			{ .fd = pushing ? j->relay.in.fd : -1, .events = POLLOUT },
		};

		if (poll(p, sizeof(p) / sizeof(p[0]), j->ended_at ? 1000 : -1) < 0 && errno != EINTR)
			return;
		if (p[1].revents)
			drain_signals(j);
		relay_out_pull(&j->relay.out);
		relay_out_pull(&j->relay.err);
		reap(j);
		if (p[2].revents)
			conn_readable(j);
		if (p[0].revents)
			accept_conn(j);
		if (p[5].revents)
			serve_write(j);
		serve_read(j);
	}
}

/* Namespaces came with the clone; this makes them ours. Mounts of the node still arrive here, ours do not leave. */
static int setup_namespaces(void)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) || mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		return -errno;
	setsid();
	return 0;
}

static int setup_signals(void)
{
	sigset_t set;
	int fd;

	/* PID 1 only gets signals it asks for, but the node's root can send SIGTERM to it: the job decides, not we. */
	sigfillset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	signal(SIGPIPE, SIG_IGN);
	return fd < 0 ? -errno : fd;
}

int main(int argc, char **argv)
{
	struct jobd *j = calloc(1, sizeof(*j));
	int r;

	if (argc != 2 || !j || getpid() != 1) {
		fprintf(stderr, "cfs-job: is started by cfs-migrated\n");
		return 2;
	}
	r = setup_namespaces();
	relay_init(&j->relay);
	j->conn = j->criu_sock = -1;
	j->job_ends[0] = j->job_ends[1] = j->job_ends[2] = -1;
	j->path = argv[1];
	j->sigfd = r ? r : setup_signals();
	/* Listening again makes the credentials that connect(2) sees ours, and so tells our pid. */
	j->listener = LISTENER_FD;
	if (j->sigfd < 0 || fcntl(j->listener, F_SETFD, FD_CLOEXEC) || listen(j->listener, 4)) {
		log_error("job", "cannot start: %s", strerror(j->sigfd < 0 ? -j->sigfd : errno));
		return 1;
	}
	run(j);
	unlink(j->path);
	relay_release(&j->relay);
	free(j);
	return 0;
}
