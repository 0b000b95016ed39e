#include "migrate/jobctl.h"

#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdbool.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utlist.h>

#include "common/cleanup.h"

#define LISTENER_FD 3

struct call {
	uint32_t seq;
	jobctl_done done;
	void *ctx;
	struct call *next;
};

struct jobctl {
	uv_poll_t sock_poll, pid_poll;
	int sock, pidfd, handles;
	pid_t pid;
	jobctl_down down;
	void *ctx;
	uint32_t seq;
	struct call *calls;
	bool broken; /* nothing comes over the socket any more */
	bool over, freed;
	struct job_packet in;
};

static int unix_address(const char *path, struct sockaddr_un *ret_sa)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	strcpy(sa.sun_path, path);
	*ret_sa = sa;
	return 0;
}

static int open_listener(const char *path)
{
	struct sockaddr_un sa;
	int fd, r = unix_address(path, &sa);

	if (r)
		return r;
	unlink(path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || chmod(path, 0600) || listen(fd, 4)) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

/* Between clone and exec: other threads of ours do not exist here, so nothing that takes a lock. */
static void child_exec(const char *program, const char *path, int listener)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (listener == LISTENER_FD) {
		/* dup2 onto itself would leave close-on-exec set */
		listener = dup(listener);
		if (listener < 0)
			_exit(126);
	}
	if (dup2(listener, LISTENER_FD) < 0)
		_exit(126);
	close_range(LISTENER_FD + 1, ~0u, 0);
	execl(program, "cfs-job", path, (char *)NULL);
	_exit(127);
}

int jobctl_spawn(const char *program, const char *sock_path, pid_t *ret_pid)
{
	_cleanup_close_ int listener = open_listener(sock_path);
	struct clone_args args = { .flags = CLONE_NEWPID | CLONE_NEWNS, .exit_signal = SIGCHLD };
	pid_t pid;

	if (listener < 0)
		return listener;
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0)
		return -errno;
	if (pid == 0)
		child_exec(program, sock_path, listener);
	*ret_pid = pid;
	return 0;
}

static void handle_closed(uv_handle_t *h)
{
	struct jobctl *jc = h->data;

	if (--jc->handles > 0)
		return;
	close(jc->sock);
	close(jc->pidfd);
	free(jc);
}

static struct call *take_call(struct jobctl *jc, uint32_t seq)
{
	struct call *c;

	LL_FOREACH(jc->calls, c)
	{
		if (c->seq == seq) {
			LL_DELETE(jc->calls, c);
			return c;
		}
	}
	return NULL;
}

static void fail_calls(struct jobctl *jc)
{
	struct call *c;

	while (!jc->freed && (c = jc->calls)) {
		LL_DELETE(jc->calls, c);
		c->done(c->ctx, -ECONNRESET, NULL, -1);
		free(c);
	}
}

static void sock_readable(uv_poll_t *h, int status, int events)
{
	struct jobctl *jc = h->data;
	struct call *c;
	int fd = -1, r = status < 0 ? -ECONNRESET : chan_recv(jc->sock, &jc->in, &fd);

	(void)events;
	if (r == -EAGAIN)
		return;
	if (r) {
		/* It is ending, as a rule; it is down when it has ended, and can be waited for. */
		uv_poll_stop(h);
		jc->broken = true;
		fail_calls(jc);
		return;
	}
	c = jc->in.reply ? take_call(jc, jc->in.seq) : NULL;
	if (!c) {
		if (fd >= 0)
			close(fd);
		return;
	}
	if (jc->in.status) {
		if (fd >= 0)
			close(fd);
		c->done(c->ctx, jc->in.status, NULL, -1);
	} else {
		c->done(c->ctx, 0, &jc->in, fd);
	}
	free(c);
}

static void pid_ended(uv_poll_t *h, int status, int events)
{
	struct jobctl *jc = h->data;

	(void)status;
	(void)events;
	waitpid(jc->pid, NULL, WNOHANG | __WALL); /* when it was our child */
	jc->over = true;
	uv_poll_stop(&jc->sock_poll);
	uv_poll_stop(&jc->pid_poll);
	fail_calls(jc);
	if (!jc->freed)
		jc->down(jc->ctx);
}

static int connect_to(const char *path, pid_t *pid)
{
	struct sockaddr_un sa;
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int fd, r = unix_address(path, &sa);

	if (r)
		return r;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa))) {
		r = -errno;
		close(fd);
		return r;
	}
	/* listen(2) was called by the one who started it: those are the credentials, unless cfs-job listened itself. */
	if (*pid == 0 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0)
		*pid = cred.pid;
	return fd;
}

int jobctl_connect(uv_loop_t *loop, const char *sock_path, pid_t pid, jobctl_down down, void *ctx, struct jobctl **ret_jc)
{
	struct jobctl *jc = calloc(1, sizeof(*jc));
	int r;

	if (!jc)
		return -ENOMEM;
	jc->sock = connect_to(sock_path, &pid);
	if (jc->sock < 0) {
		r = jc->sock;
		goto err_free;
	}
	jc->pid = pid;
	jc->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (jc->pidfd < 0) {
		r = -errno;
		goto err_close;
	}
	jc->down = down;
	jc->ctx = ctx;
	jc->sock_poll.data = jc->pid_poll.data = jc;
	jc->handles = 2;
	uv_poll_init(loop, &jc->sock_poll, jc->sock);
	uv_poll_init(loop, &jc->pid_poll, jc->pidfd);
	uv_poll_start(&jc->sock_poll, UV_READABLE, sock_readable);
	uv_poll_start(&jc->pid_poll, UV_READABLE, pid_ended);
	*ret_jc = jc;
	return 0;

err_close:
	close(jc->sock);
err_free:
	free(jc);
	return r;
}

void jobctl_kill(struct jobctl *jc)
{
	if (jc && !jc->over)
		syscall(SYS_pidfd_send_signal, jc->pidfd, SIGKILL, NULL, 0);
}

void jobctl_free(struct jobctl *jc)
{
	struct call *c, *tmp;

	if (!jc)
		return;
	jc->over = jc->freed = true;
	LL_FOREACH_SAFE(jc->calls, c, tmp)
	{
		LL_DELETE(jc->calls, c);
		free(c);
	}
	uv_close((uv_handle_t *)&jc->sock_poll, handle_closed);
	uv_close((uv_handle_t *)&jc->pid_poll, handle_closed);
}

pid_t jobctl_pid(const struct jobctl *jc)
{
	return jc->pid;
}

int jobctl_call(struct jobctl *jc, struct job_packet *req, int fd, jobctl_done done, void *ctx)
{
	struct call *c;
	int r;

	if (jc->over || jc->broken)
		return -ECONNRESET;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	req->seq = c->seq = ++jc->seq;
	req->reply = 0;
	c->done = done;
	c->ctx = ctx;
	r = chan_send(jc->sock, req, fd);
	if (r) {
		free(c);
		return r;
	}
	LL_APPEND(jc->calls, c);
	return 0;
}

int jobctl_op(struct jobctl *jc, enum job_op op, int64_t arg0, int64_t arg1, jobctl_done done, void *ctx)
{
	_cleanup_free_ struct job_packet *req = calloc(1, sizeof(*req));

	if (!req)
		return -ENOMEM;
	req->op = op;
	req->arg[0] = arg0;
	req->arg[1] = arg1;
	return jobctl_call(jc, req, -1, done, ctx);
}
