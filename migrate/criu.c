/*
 * The adapter to `criu swrk`. Life: new -> request sent -> hooks, each answered once -> done -> free.
 * No threads; the socket is non-blocking and watched by the loop. Requests are small, so a send that would block means
 * that CRIU is not reading: that is an error, not a wait.
 */
#include "migrate/criu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "migrate/rpc.pb-c.h"

#define REASON_MAX 512
#define VERSION_MIN 40200u

struct criu {
	uv_poll_t poll;
	int sock;
	const struct criu_events *events;
	void *ctx;
	char log_path[4096];
	bool waiting; /* CRIU is at a hook and has no answer yet */
	bool over;
	pid_t root;
};

static void closed(uv_handle_t *h)
{
	struct criu *c = h->data;

	close(c->sock);
	free(c);
}

static void finish(struct criu *c, int status, const char *msg)
{
	char reason[REASON_MAX];

	if (c->over)
		return;
	c->over = true;
	uv_poll_stop(&c->poll);
	if (status == 0) {
		c->events->done(c->ctx, 0, "");
		return;
	}
	if (msg && *msg)
		snprintf(reason, sizeof(reason), "%s", criu_log_text(msg));
	else if (!criu_log_reason(c->log_path, reason, sizeof(reason)))
		snprintf(reason, sizeof(reason), "%s", status == -ECONNRESET ? "criu ended unexpectedly" : "criu failed");
	reason[strcspn(reason, "\n")] = 0;
	c->events->done(c->ctx, status, reason);
}

static int send_req(struct criu *c, const CriuReq *req)
{
	size_t len = criu_req__get_packed_size(req);
	_cleanup_free_ uint8_t *buf = malloc(len);

	if (!buf)
		return -ENOMEM;
	criu_req__pack(req, buf);
	if (send(c->sock, buf, len, MSG_NOSIGNAL) != (ssize_t)len)
		return -errno;
	return 0;
}

static enum criu_hook hook_of(const char *script)
{
	static const struct {
		const char *name;
		enum criu_hook hook;
	} hooks[] = {
		{ "pre-dump", CRIU_HOOK_PRE_DUMP },	   { "post-dump", CRIU_HOOK_POST_DUMP },
		{ "post-restore", CRIU_HOOK_POST_RESTORE }, { "pre-resume", CRIU_HOOK_PRE_RESUME },
		{ "post-resume", CRIU_HOOK_POST_RESUME },
	};

	for (size_t i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++)
		if (script && !strcmp(script, hooks[i].name))
			return hooks[i].hook;
	return CRIU_HOOK_OTHER;
}

static void got_notify(struct criu *c, const CriuNotify *n)
{
	enum criu_hook hook = hook_of(n ? n->script : NULL);

	c->waiting = true;
	if (n && n->has_pid)
		c->root = n->pid;
	if (hook == CRIU_HOOK_OTHER)
		criu_ack(c, true);
	else
		c->events->hook(c->ctx, hook, c->root);
}

static void got_resp(struct criu *c, const CriuResp *resp)
{
	if (resp->type == CRIU_REQ_TYPE__NOTIFY)
		got_notify(c, resp->notify);
	else
		finish(c, resp->success ? 0 : -EREMOTEIO, resp->cr_errmsg);
}

static void readable(uv_poll_t *h, int status, int events)
{
	struct criu *c = h->data;
	uint8_t buf[16384];
	CriuResp *resp;
	ssize_t len;

	(void)events;
	len = status < 0 ? 0 : recv(c->sock, buf, sizeof(buf), MSG_DONTWAIT | MSG_TRUNC);
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (len <= 0) {
		finish(c, -ECONNRESET, NULL);
		return;
	}
	resp = len > (ssize_t)sizeof(buf) ? NULL : criu_resp__unpack(NULL, (size_t)len, buf);
	if (!resp) {
		finish(c, -EBADMSG, "criu sent something unknown");
		return;
	}
	got_resp(c, resp);
	criu_resp__free_unpacked(resp, NULL);
}

int criu_new(uv_loop_t *loop, int sock, const struct criu_events *events, void *ctx, struct criu **ret_criu)
{
	struct criu *c = calloc(1, sizeof(*c));
	int r = c ? uv_poll_init(loop, &c->poll, sock) : -ENOMEM;

	if (r) {
		free(c);
		close(sock);
		return r;
	}
	c->sock = sock;
	c->events = events;
	c->ctx = ctx;
	c->poll.data = c;
	uv_poll_start(&c->poll, UV_READABLE, readable);
	*ret_criu = c;
	return 0;
}

void criu_free(struct criu *c)
{
	if (!c)
		return;
	c->over = true;
	/* Now, not when the loop comes round: whoever waits for our end to close must not wait for us. */
	shutdown(c->sock, SHUT_RDWR);
	uv_close((uv_handle_t *)&c->poll, closed);
}

static void common_opts(struct criu *c, CriuOpts *o, const char *images_dir, char *log)
{
	snprintf(c->log_path, sizeof(c->log_path), "%s/%s", images_dir, log);
	o->images_dir_fd = -1;
	o->images_dir = (char *)(uintptr_t)images_dir;
	o->log_file = log;
	o->has_log_level = true;
	o->log_level = 4;
	o->has_notify_scripts = o->notify_scripts = true;
	/* The session leader may stay behind: the root takes the session and group of the one who restores it. */
	o->has_shell_job = o->shell_job = true;
	o->has_manage_cgroups_mode = true;
	o->manage_cgroups_mode = CRIU_CG_MODE__IGNORE;
	o->has_file_locks = o->file_locks = true;
	o->has_link_remap = o->link_remap = true;
	o->has_ghost_limit = true;
	o->ghost_limit = 64u << 20;
	o->has_network_lock = true;
	o->network_lock = CRIU_NETWORK_LOCK_METHOD__SKIP;
}

int criu_dump(struct criu *c, const char *images_dir, pid_t pid)
{
	CriuOpts o = CRIU_OPTS__INIT;
	CriuReq req = CRIU_REQ__INIT;
	char log[] = "dump.log";

	common_opts(c, &o, images_dir, log);
	o.has_pid = true;
	o.pid = pid;
	req.type = CRIU_REQ_TYPE__DUMP;
	req.opts = &o;
	return send_req(c, &req);
}

int criu_restore(struct criu *c, const char *images_dir, const struct criu_inherit *inherit, size_t nr)
{
	_cleanup_free_ InheritFd *fds = calloc(nr + 1, sizeof(*fds));
	_cleanup_free_ InheritFd **list = calloc(nr + 1, sizeof(*list));
	CriuOpts o = CRIU_OPTS__INIT;
	CriuReq req = CRIU_REQ__INIT;
	char log[] = "restore.log";

	if (!fds || !list)
		return -ENOMEM;
	common_opts(c, &o, images_dir, log);
	o.has_rst_sibling = o.rst_sibling = true;
	for (size_t i = 0; i < nr; i++) {
		inherit_fd__init(&fds[i]);
		fds[i].key = (char *)(uintptr_t)inherit[i].key;
		fds[i].fd = inherit[i].fd;
		list[i] = &fds[i];
	}
	o.inherit_fd = list;
	o.n_inherit_fd = nr;
	req.type = CRIU_REQ_TYPE__RESTORE;
	req.opts = &o;
	return send_req(c, &req);
}

void criu_adopt(struct criu *c)
{
	c->waiting = true;
}

int criu_ack(struct criu *c, bool ok)
{
	CriuReq req = CRIU_REQ__INIT;

	if (!c->waiting || c->over)
		return -EINVAL;
	c->waiting = false;
	req.type = CRIU_REQ_TYPE__NOTIFY;
	req.has_notify_success = true;
	req.notify_success = ok;
	return send_req(c, &req);
}

const char *criu_log_text(const char *line)
{
	const char *p = strstr(line, "Error (");

	if (!p)
		return line;
	p = strstr(p, "): ");
	return p ? p + 3 : line;
}

bool criu_log_reason(const char *path, char *ret_text, size_t size)
{
	FILE *f = fopen(path, "re");
	char line[REASON_MAX];
	bool found = false;

	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f)) {
		if (!strstr(line, "Error ("))
			continue;
		line[strcspn(line, "\n")] = 0;
		snprintf(ret_text, size, "%s", criu_log_text(line));
		found = true;
	}
	fclose(f);
	return found;
}

unsigned criu_version_number(const char *text)
{
	unsigned major, minor, sub = 0;
	const char *p = strstr(text, "Version: ");

	if (!p || sscanf(p, "Version: %u.%u.%u", &major, &minor, &sub) < 2 || minor > 99 || sub > 99 || major > 999)
		return 0;
	return major * 10000 + minor * 100 + sub;
}

int criu_check_version(char *ret_text, size_t size)
{
	FILE *f = popen(CFS_CRIU_PATH " --version 2>/dev/null", "re");
	size_t len;

	if (!f)
		return -errno;
	len = fread(ret_text, 1, size - 1, f);
	ret_text[len] = 0;
	pclose(f);
	ret_text[strcspn(ret_text, "\n")] = 0;
	if (criu_version_number(ret_text) == 0)
		return -ENOENT;
	return criu_version_number(ret_text) >= VERSION_MIN ? 0 : -EPROTONOSUPPORT;
}
