/* One uv_process_t at a time, one timer: for the pause before a restart, and for the patience at the end. */
#include "cfsd/child.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"

enum { RESTART_MS = 1000, PATIENCE_MS = 2000 };

struct child {
	uv_loop_t *loop;
	char path[PATH_MAX];
	char name[64];
	uv_process_t process;
	uv_timer_t timer;
	bool running, stopping, timer_closed;
};

static void start(struct child *c);

static void free_when_over(struct child *c)
{
	if (c->stopping && c->timer_closed && !c->running)
		free(c);
}

static void timer_closed(uv_handle_t *h)
{
	struct child *c = h->data;

	c->timer_closed = true;
	free_when_over(c);
}

static void restart(uv_timer_t *t)
{
	start(t->data);
}

static void process_closed(uv_handle_t *h)
{
	struct child *c = h->data;

	c->running = false;
	if (!c->stopping) {
		uv_timer_start(&c->timer, restart, RESTART_MS, 0);
		return;
	}
	if (!uv_is_closing((uv_handle_t *)&c->timer))
		uv_close((uv_handle_t *)&c->timer, timer_closed);
	free_when_over(c);
}

static void on_exit_(uv_process_t *p, int64_t status, int sig)
{
	struct child *c = p->data;

	if (!c->stopping)
		log_warn("cfsd", "%s ended (status %lld, signal %d): starting it again", c->name, (long long)status, sig);
	uv_close((uv_handle_t *)p, process_closed);
}

static void start(struct child *c)
{
	char *args[] = { c->path, NULL };
	uv_stdio_container_t stdio[] = {
		{ .flags = UV_IGNORE },
		{ .flags = UV_INHERIT_FD, .data.fd = STDOUT_FILENO },
		{ .flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO },
	};
	uv_process_options_t options = {
		.file = c->path, .args = args, .exit_cb = on_exit_, .stdio = stdio, .stdio_count = 3
	};
	int r = uv_spawn(c->loop, &c->process, &options);

	c->process.data = c;
	c->running = true;
	if (r < 0) {
		log_error("cfsd", "%s cannot be started: %s", c->path, uv_strerror(r));
		uv_close((uv_handle_t *)&c->process, process_closed);
	}
}

static bool try_path(struct child *c, const char *dir, const char *sub)
{
	int n = snprintf(c->path, sizeof(c->path), "%s/%s%s", dir, sub, c->name);

	return n > 0 && (size_t)n < sizeof(c->path) && access(c->path, X_OK) == 0;
}

static bool find(struct child *c, const char *build_dir)
{
	const char *libexec = getenv("CFS_LIBEXEC");
	char self[PATH_MAX], sub[80];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (libexec && try_path(c, libexec, ""))
		return true;
	if (n <= 0)
		return false;
	self[n] = 0;
	slash = strrchr(self, '/');
	if (!slash)
		return false;
	*slash = 0;
	snprintf(sub, sizeof(sub), "../%s/", build_dir);
	return try_path(c, self, "") || try_path(c, self, sub);
}

int child_start(uv_loop_t *loop, const char *name, const char *build_dir, struct child **ret_c)
{
	struct child *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->loop = loop;
	snprintf(c->name, sizeof(c->name), "%s", name);
	if (!find(c, build_dir)) {
		free(c);
		return -ENOENT;
	}
	uv_timer_init(loop, &c->timer);
	c->timer.data = c;
	start(c);
	*ret_c = c;
	return 0;
}

static void lose_patience(uv_timer_t *t)
{
	struct child *c = t->data;

	if (c->running)
		uv_process_kill(&c->process, SIGKILL);
}

void child_stop(struct child *c)
{
	if (!c)
		return;
	c->stopping = true;
	if (c->running && uv_process_kill(&c->process, SIGTERM) == 0)
		uv_timer_start(&c->timer, lose_patience, PATIENCE_MS, 0);
	else
		uv_close((uv_handle_t *)&c->timer, timer_closed);
}
