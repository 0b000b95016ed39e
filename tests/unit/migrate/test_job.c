/*
 * A real cfs-job with a real command in it, asked through jobctl as cfs-migrated asks it: start, input, output, signals, the
 * end, another cfs-migrated, a move that is called off and one that is not. As root; skipped otherwise.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "migrate/jobctl.h"
#include "migrate/spec.h"
#include "wire/message.h"

struct fixture {
	uv_loop_t loop;
	uv_timer_t limit;
	char dir[32], sock[64];
	struct jobctl *jc;
	pid_t pid;
	bool down, answered;
	int status, fd;
	struct job_packet req, rep;
};

static void too_long(uv_timer_t *t)
{
	(void)t;
	cr_assert_fail("nothing happened in time");
}

static void went_down(void *ctx)
{
	((struct fixture *)ctx)->down = true;
}

static void begin(struct fixture *f)
{
	const char *build = getenv("CFS_BUILDDIR");
	char program[4096];

	memset(f, 0, sizeof(*f));
	snprintf(program, sizeof(program), "%s/migrate/cfs-job", build ? build : ".");
	if (geteuid() || access(program, X_OK))
		cr_skip_test("needs root and %s", program);
	strcpy(f->dir, "/tmp/cfs-job.XXXXXX");
	cr_assert_not_null(mkdtemp(f->dir));
	snprintf(f->sock, sizeof(f->sock), "%s/sock", f->dir);
	uv_loop_init(&f->loop);
	uv_timer_init(&f->loop, &f->limit);
	uv_timer_start(&f->limit, too_long, 20000, 0);
	if (jobctl_spawn(program, f->sock, &f->pid) == -EPERM)
		cr_skip_test("may not make namespaces");
	cr_assert_eq(jobctl_connect(&f->loop, f->sock, f->pid, went_down, f, &f->jc), 0);
}

static void end(struct fixture *f)
{
	if (!f->down)
		jobctl_kill(f->jc);
	while (!f->down)
		uv_run(&f->loop, UV_RUN_ONCE);
	cr_expect(kill(f->pid, 0) < 0 && errno == ESRCH, "it is not waited for");
	jobctl_free(f->jc);
	uv_close((uv_handle_t *)&f->limit, NULL);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	uv_loop_close(&f->loop);
	unlink(f->sock);
	rmdir(f->dir);
}

static void done(void *ctx, int status, const struct job_packet *rep, int fd)
{
	struct fixture *f = ctx;

	f->answered = true;
	f->status = status;
	f->fd = fd;
	if (rep)
		memcpy(&f->rep, rep, offsetof(struct job_packet, data) + rep->len[0] + rep->len[1]);
}

/* Sends f->req and waits for its answer, which is in f->rep: its status. */
static int ask(struct fixture *f, enum job_op op, int fd)
{
	int r;

	f->req.op = op;
	f->answered = false;
	r = jobctl_call(f->jc, &f->req, fd, done, f);
	if (r)
		return r;
	while (!f->answered)
		uv_run(&f->loop, UV_RUN_ONCE);
	memset(&f->req, 0, offsetof(struct job_packet, data));
	return f->status;
}

static int start(struct fixture *f, const char *script)
{
	struct msg_job_start_req spec = {
		.env = { "PATH=/usr/bin:/bin", 19 },
		.cwd = "/",
		.umask = 022,
		.in = { .kind = STDFD_RELAY, .path = "" },
		.out = { .kind = STDFD_RELAY, .path = "" },
		.err = { .kind = STDFD_RELAY, .path = "" },
	};
	struct wire_writer w;
	char argv[1024];
	int fd, r;

	memcpy(argv, "sh\0-c\0", 6);
	strcpy(argv + 6, script);
	spec.argv = (struct wire_blob){ argv, (uint32_t)(6 + strlen(script) + 1) };
	if (!*script)
		spec.argv = (struct wire_blob){ "/no/such", 9 };
	wire_writer_init(&w);
	cr_assert_eq(msg_info(MSG_job_start)->encode_req(&w, &spec), 0);
	fd = memfd_create("spec", MFD_CLOEXEC);
	cr_assert_eq(write(fd, w.buf, w.len), (ssize_t)w.len);
	wire_writer_release(&w);
	f->req.arg[0] = f->pid + 1;
	r = ask(f, JOB_EXEC, fd);
	close(fd);
	return r;
}

static int put(struct fixture *f, const char *text, int64_t off, bool eof)
{
	f->req.arg[0] = off;
	f->req.arg[1] = eof;
	f->req.len[0] = (uint32_t)strlen(text);
	memcpy(f->req.data, text, strlen(text));
	return ask(f, JOB_WRITE, -1);
}

/* Reads and acknowledges until FLAG is said; what came is in OUT and ERR. */
static void read_until(struct fixture *f, int64_t flag, char *out, char *err)
{
	int64_t offs[2] = { 0, 0 };

	*out = *err = 0;
	do {
		f->req.arg[0] = offs[0];
		f->req.arg[1] = offs[1];
		cr_assert_eq(ask(f, JOB_READ, -1), 0);
		cr_assert(f->rep.arg[0] == offs[0] && f->rep.arg[1] == offs[1]);
		strncat(out, (char *)f->rep.data, f->rep.len[0]);
		strncat(err, (char *)f->rep.data + f->rep.len[0], f->rep.len[1]);
		offs[0] += f->rep.len[0];
		offs[1] += f->rep.len[1];
	} while (!(f->rep.arg[2] & flag));
}

Test(job, runs_a_command_to_its_end, .timeout = 30)
{
	char out[4096], err[4096], want[64];
	struct fixture f;

	begin(&f);
	cr_assert_eq(start(&f, "read l; echo \"got $l by $$\"; echo wrong >&2; exit 5"), 0);
	snprintf(want, sizeof(want), "got hello by %d\n", (int)f.rep.arg[0]);
	cr_expect_eq(put(&f, "hello\n", 0, true), 0);
	cr_expect_eq(f.rep.arg[0], 6);
	read_until(&f, JOB_EXITED, out, err);
	cr_expect_str_eq(out, want);
	cr_expect_str_eq(err, "wrong\n");
	cr_expect(WIFEXITED((int)f.rep.arg[3]) && WEXITSTATUS((int)f.rep.arg[3]) == 5);
	cr_expect(!f.down, "its status is still owed");
	cr_expect_eq(ask(&f, JOB_COLLECTED, -1), 0);
	while (!f.down)
		uv_run(&f.loop, UV_RUN_ONCE);
	end(&f);
}

Test(job, has_the_same_number_inside_and_outside, .timeout = 30)
{
	struct fixture f;
	char path[64];

	begin(&f);
	cr_assert_eq(start(&f, "sleep 100"), 0);
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)f.rep.arg[0]);
	cr_expect_eq(access(path, F_OK), 0);
	end(&f);
}

Test(job, signals_reach_the_command, .timeout = 30)
{
	char out[4096], err[4096];
	struct fixture f;

	begin(&f);
	cr_assert_eq(start(&f, "echo ready; exec sleep 100"), 0);
	f.req.arg[0] = SIGTERM;
	cr_expect_eq(ask(&f, JOB_SIGNAL, -1), 0);
	read_until(&f, JOB_EXITED, out, err);
	cr_expect(WIFSIGNALED((int)f.rep.arg[3]) && WTERMSIG((int)f.rep.arg[3]) == SIGTERM);
	f.req.arg[0] = SIGTERM;
	cr_expect_eq(ask(&f, JOB_SIGNAL, -1), -ESRCH);
	end(&f);
}

Test(job, what_cannot_be_started_is_said, .timeout = 30)
{
	struct fixture f;

	begin(&f);
	cr_expect_eq(start(&f, ""), -ENOENT);
	cr_expect_eq(ask(&f, JOB_EXEC, -1), -EINVAL, "a request without its command");
	cr_expect_eq(ask(&f, (enum job_op)99, -1), -ENOSYS);
	end(&f);
}

Test(job, outlives_who_started_it, .timeout = 30)
{
	struct fixture f;
	int64_t root;

	begin(&f);
	cr_assert_eq(start(&f, "sleep 100"), 0);
	root = f.rep.arg[0];
	strcpy((char *)f.req.data, "who I am");
	f.req.len[0] = 8;
	cr_expect_eq(ask(&f, JOB_KEEP, -1), 0);
	jobctl_free(f.jc);
	uv_run(&f.loop, UV_RUN_NOWAIT);
	cr_assert_eq(jobctl_connect(&f.loop, f.sock, 0, went_down, &f, &f.jc), 0);
	cr_expect_eq(jobctl_pid(f.jc), f.pid, "the socket tells whose it is");
	cr_expect_eq(ask(&f, JOB_HELLO, -1), 0);
	cr_expect(f.rep.arg[0] == JOB_VERSION && f.rep.arg[1] == JOB_RUNNING && f.rep.arg[2] == root && f.rep.arg[3] == -1);
	cr_expect(f.rep.len[0] == 8 && !memcmp(f.rep.data, "who I am", 8));
	end(&f);
}

/* Output that nobody has read, and input that the job has not, are what a move must carry. */
Test(job, leaves_with_what_is_in_its_pipes, .timeout = 30)
{
	char out[4096], err[4096];
	struct fixture f;
	pid_t root;

	begin(&f);
	cr_assert_eq(start(&f, "echo before; read a; echo $a; kill -STOP $$; read b; echo $b"), 0);
	root = (pid_t)f.rep.arg[0];
	cr_expect_eq(put(&f, "one\n", 0, false), 0);
	do {
		f.req.arg[0] = 0;
		cr_assert_eq(ask(&f, JOB_READ, -1), 0);
	} while (f.rep.len[0] < strlen("before\none\n"));
	cr_expect_eq(put(&f, "two\n", 4, false), 0);
	cr_expect_eq(ask(&f, JOB_LEAVE, -1), 0);
	cr_expect(f.rep.arg[0] && f.rep.arg[1] && f.rep.arg[2], "its pipes");
	cr_expect(f.rep.arg[3] == 8 && f.rep.arg[4] == 11 && f.rep.arg[5] == 0 && f.rep.arg[6] == 0, "their offsets");
	cr_expect(f.rep.len[0] == 4 && !memcmp(f.rep.data, "two\n", 4), "the job has not read that");
	/* Called off: it reads it here. */
	cr_expect_eq(ask(&f, JOB_STAY, -1), 0);
	cr_expect_eq(kill(root, SIGCONT), 0);
	read_until(&f, JOB_EXITED, out, err);
	cr_expect_str_eq(out, "before\none\ntwo\n");
	end(&f);
}

Test(job, serves_what_is_left_after_it_left, .timeout = 30)
{
	char out[4096], err[4096];
	struct fixture f;
	pid_t root;

	begin(&f);
	cr_assert_eq(start(&f, "echo last words; kill -STOP $$; sleep 100"), 0);
	root = (pid_t)f.rep.arg[0];
	f.req.arg[0] = 0;
	cr_assert_eq(ask(&f, JOB_READ, -1), 0);
	cr_expect_eq(ask(&f, JOB_LEAVE, -1), 0);
	cr_expect_eq(ask(&f, JOB_LEFT, -1), 0);
	kill(root, SIGKILL); /* as CRIU ends the original */
	read_until(&f, JOB_GONE, out, err);
	cr_expect_str_eq(out, "last words\n");
	cr_expect_eq(f.rep.arg[2] & JOB_EXITED, 0, "its end is not this node's to tell");
	end(&f);
}
