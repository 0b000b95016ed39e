/* What is read from CRIU: its log, its version, and its side of the protocol (played here by the test). */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "migrate/criu.h"
#include "migrate/rpc.pb-c.h"

Test(criu, log_text_is_without_time_and_source)
{
	cr_expect_str_eq(criu_log_text("(00.012345) Error (criu/files-ext.c:98): Can't dump file 7"), "Can't dump file 7");
	cr_expect_str_eq(criu_log_text("plain words"), "plain words");
	cr_expect_str_eq(criu_log_text("Error (no end"), "Error (no end");
}

Test(criu, first_error_of_a_log_is_the_reason)
{
	char path[] = "/tmp/cfs-criu-log.XXXXXX", text[128] = "untouched";
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	cr_expect(!criu_log_reason(path, text, sizeof(text)));
	cr_expect_str_eq(text, "untouched");
	dprintf(fd, "(00.1) Warn  (x.c:1): odd\n(00.2) Error (y.c:2): the cause\n(00.3) Error (z.c:3): Dumping FAILED.\n");
	cr_expect(criu_log_reason(path, text, sizeof(text)));
	cr_expect_str_eq(text, "the cause");
	unlink(path);
	cr_expect(!criu_log_reason(path, text, sizeof(text)));
	close(fd);
}

Test(criu, versions_are_compared_by_number)
{
	cr_expect_eq(criu_version_number("Version: 4.2.1\nGitID: x"), 40201);
	cr_expect_eq(criu_version_number("Version: 4.10"), 41000);
	cr_expect_gt(criu_version_number("Version: 4.10"), criu_version_number("Version: 4.9.9"));
	cr_expect_eq(criu_version_number("no version"), 0);
	cr_expect_eq(criu_version_number("Version: four"), 0);
}

struct talk {
	enum criu_hook hooks[8];
	size_t nr_hooks;
	int ended, status;
	pid_t pid;
	char reason[256];
	struct criu *criu;
	bool answer;
};

static void on_hook(void *ctx, enum criu_hook hook, pid_t pid)
{
	struct talk *t = ctx;

	t->hooks[t->nr_hooks++] = hook;
	t->pid = pid;
	if (t->answer)
		criu_ack(t->criu, true);
}

static void on_done(void *ctx, int status, const char *reason)
{
	struct talk *t = ctx;

	t->ended++;
	t->status = status;
	snprintf(t->reason, sizeof(t->reason), "%s", reason);
}

static const struct criu_events events = { on_hook, on_done };

struct world {
	uv_loop_t loop;
	struct talk t;
	int far; /* CRIU's end */
};

static void open_world(struct world *w)
{
	int pair[2];

	memset(w, 0, sizeof(*w));
	cr_assert_eq(uv_loop_init(&w->loop), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	w->far = pair[1];
	cr_assert_eq(criu_new(&w->loop, pair[0], &events, &w->t, &w->t.criu), 0);
}

static void turn(struct world *w)
{
	for (int i = 0; i < 3; i++)
		uv_run(&w->loop, UV_RUN_NOWAIT);
}

static void close_world(struct world *w)
{
	criu_free(w->t.criu);
	uv_run(&w->loop, UV_RUN_DEFAULT);
	cr_expect_eq(uv_loop_close(&w->loop), 0);
	if (w->far >= 0)
		close(w->far);
}

static CriuReq *receive(struct world *w)
{
	uint8_t buf[4096];
	ssize_t n = recv(w->far, buf, sizeof(buf), MSG_DONTWAIT);

	return n > 0 ? criu_req__unpack(NULL, (size_t)n, buf) : NULL;
}

static void say(struct world *w, const CriuResp *resp)
{
	uint8_t buf[4096];
	size_t len = criu_resp__pack(resp, buf);

	cr_assert_eq(send(w->far, buf, len, 0), (ssize_t)len);
	turn(w);
}

static void notify(struct world *w, char *script, int pid)
{
	CriuResp resp = CRIU_RESP__INIT;
	CriuNotify n = CRIU_NOTIFY__INIT;

	n.script = script;
	n.has_pid = pid != 0;
	n.pid = pid;
	resp.type = CRIU_REQ_TYPE__NOTIFY;
	resp.success = true;
	resp.notify = &n;
	say(w, &resp);
}

static void expect_ack(struct world *w, bool ok)
{
	CriuReq *req = receive(w);

	cr_assert_not_null(req);
	cr_expect_eq(req->type, CRIU_REQ_TYPE__NOTIFY);
	cr_expect_eq(req->notify_success, ok);
	criu_req__free_unpacked(req, NULL);
}

Test(criu, dump_asks_for_hooks_and_waits_at_post_dump)
{
	char query[] = "query-ext-files", post[] = "post-dump";
	CriuResp resp = CRIU_RESP__INIT;
	struct world w;
	CriuReq *req;

	open_world(&w);
	cr_assert_eq(criu_dump(w.t.criu, "/run/img", 4711), 0);
	req = receive(&w);
	cr_assert_not_null(req);
	cr_expect_eq(req->type, CRIU_REQ_TYPE__DUMP);
	cr_expect_eq(req->opts->pid, 4711);
	cr_expect_str_eq(req->opts->images_dir, "/run/img");
	cr_expect_eq(req->opts->images_dir_fd, -1);
	cr_expect(req->opts->notify_scripts && req->opts->shell_job && !req->opts->leave_running);
	criu_req__free_unpacked(req, NULL);
	notify(&w, query, 0);
	expect_ack(&w, true); /* not one of those the user sees */
	notify(&w, post, 0);
	cr_expect_eq(w.t.nr_hooks, 1);
	cr_expect_eq(w.t.hooks[0], CRIU_HOOK_POST_DUMP);
	cr_expect_null(receive(&w));
	cr_expect_eq(criu_ack(w.t.criu, false), 0);
	expect_ack(&w, false);
	cr_expect_eq(criu_ack(w.t.criu, true), -EINVAL);
	resp.type = CRIU_REQ_TYPE__DUMP;
	resp.success = true;
	say(&w, &resp);
	cr_expect_eq(w.t.ended, 1);
	cr_expect_eq(w.t.status, 0);
	close_world(&w);
}

Test(criu, restore_passes_descriptors_and_learns_the_root)
{
	const struct criu_inherit inherit[] = { { "pipe:[12]", 7 }, { "pipe:[13]", 8 } };
	char post[] = "post-restore", pre[] = "pre-resume";
	struct world w;
	CriuReq *req;

	open_world(&w);
	w.t.answer = true;
	cr_assert_eq(criu_restore(w.t.criu, "/run/img", inherit, 2), 0);
	req = receive(&w);
	cr_assert_not_null(req);
	cr_expect(req->opts->rst_sibling);
	cr_assert_eq(req->opts->n_inherit_fd, 2);
	cr_expect_str_eq(req->opts->inherit_fd[1]->key, "pipe:[13]");
	cr_expect_eq(req->opts->inherit_fd[1]->fd, 8);
	criu_req__free_unpacked(req, NULL);
	notify(&w, post, 99);
	expect_ack(&w, true);
	notify(&w, pre, 0);
	cr_expect_eq(w.t.hooks[1], CRIU_HOOK_PRE_RESUME);
	cr_expect_eq(w.t.pid, 99);
	close_world(&w);
}

Test(criu, failure_and_death_end_the_conversation_once)
{
	char words[] = "Error (criu/x.c:1): no such luck";
	CriuResp resp = CRIU_RESP__INIT;
	struct world w;

	open_world(&w);
	resp.type = CRIU_REQ_TYPE__DUMP;
	resp.success = false;
	resp.cr_errmsg = words;
	say(&w, &resp);
	cr_expect_eq(w.t.status, -EREMOTEIO);
	cr_expect_str_eq(w.t.reason, "no such luck");
	close(w.far);
	w.far = -1;
	turn(&w);
	cr_expect_eq(w.t.ended, 1);
	close_world(&w);

	open_world(&w);
	close(w.far);
	w.far = -1;
	turn(&w);
	cr_expect_eq(w.t.ended, 1);
	cr_expect_eq(w.t.status, -ECONNRESET);
	close_world(&w);
}

Test(criu, garbage_is_an_error)
{
	struct world w;

	open_world(&w);
	cr_assert_eq(send(w.far, "\xff\xff\xff", 3, 0), 3);
	turn(&w);
	cr_expect_eq(w.t.status, -EBADMSG);
	close_world(&w);
}

Test(criu, an_adopted_conversation_can_be_answered)
{
	struct world w;

	open_world(&w);
	cr_expect_eq(criu_ack(w.t.criu, true), -EINVAL);
	criu_adopt(w.t.criu);
	cr_expect_eq(criu_ack(w.t.criu, true), 0);
	expect_ack(&w, true);
	close_world(&w);
}
