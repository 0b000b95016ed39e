/*
 * mount.fuse.cfs: what mount -t fuse.cfs runs. In order: options, this node's identity, fork; then, in the child: the
 * session with the filesystem's server, the root directory's attributes through it, the mount; only then the parent
 * hears that it works. The daemon ends when the mount is gone: session closed, nothing left behind.
 */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster/state_dir.h"
#include "common/log.h"
#include "fuse/channel.h"
#include "fuse/daemon.h"
#include "fuse/options.h"
#include "fuse/request.h"
#include "procfs-cluster/client.h"
#include "wire/tls.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

#define EXIT_USAGE 1
#define EXIT_MOUNT 32
#define ROOT_FS 1u /* the root filesystem's id */

struct program {
	struct options options;
	char dir[PATH_MAX]; /* canonical */
	struct node_identity identity;
	struct rpc_self self;
	struct tls_identity *tls;
	struct config config;
	char mount_name[512];

	uv_loop_t loop;
	uv_timer_t retry;
	uv_signal_t signals[3];
	struct mount mount;
	struct subtree_host host;
	struct procfs *procfs;
	int report_fd;
	int exit_status;
	bool mounted, ending;
};

static void finish(struct program *p, int status)
{
	p->exit_status = status;
	uv_stop(&p->loop);
}

static void fail(struct program *p, const char *message)
{
	if (p->mounted || p->ending)
		return;
	p->ending = true;
	daemon_report(p->report_fd, message);
	finish(p, EXIT_MOUNT);
}

/* ---- up ---- */

static void on_session_closed(void *ctx)
{
	finish(ctx, 0);
}

static void on_gone(struct mount *m)
{
	struct program *p = m->ctx;

	log_info("mount", "%s is unmounted", p->dir);
	client_shutdown(m->client, on_session_closed, p);
}

static void do_mount(struct program *p)
{
	struct channel_conf conf = {
		.source = p->options.source, .dir = p->dir, .flags = p->options.flags, .max_io = p->mount.max_io
	};
	char text[PATH_MAX + 128];
	int r = channel_open(&p->mount, &conf, on_gone, &p->mount.channel);

	if (r == 0)
		r = inval_new(channel_session(p->mount.channel), p->mount.mailbox, &p->mount.inval);
	if (r < 0) {
		snprintf(text, sizeof(text), "cannot mount on %s: %s", p->dir, strerror(-r));
		fail(p, text);
		return;
	}
	p->mounted = true;
	uv_timer_stop(&p->retry);
	daemon_report(p->report_fd, NULL);
	if (!p->options.foreground)
		daemon_detach(p->options.log);
	log_info("mount", "%s is mounted on %s", p->options.source, p->dir);
}

static void root_known(struct request *rq, int status, const void *rep)
{
	struct program *p = rq->m->ctx;
	char text[256];

	(void)rep;
	request_free(rq);
	if (p->ending)
		return;
	if (status < 0) {
		snprintf(text, sizeof(text), "the root directory cannot be read: %s", strerror(-status));
		fail(p, text);
		return;
	}
	do_mount(p);
}

static void on_first_session(struct mount *m)
{
	struct request *rq = request_new(m, NULL);

	if (!rq) {
		fail(m->ctx, strerror(ENOMEM));
		return;
	}
	rq->msg.getattr.ino = m->root_ino;
	request_call(rq, MSG_getattr, false, root_known);
}

static void on_retry_over(uv_timer_t *t)
{
	struct program *p = t->data;
	char nodes[1500], text[1700];

	client_describe(p->mount.client, nodes, sizeof(nodes));
	snprintf(text, sizeof(text), "cannot reach the cluster within %u s: %s", p->options.retry_s, nodes);
	fail(p, text);
}

static void on_signal(uv_signal_t *s, int number)
{
	struct program *p = s->data;

	if (p->ending || !p->mounted) {
		fail(p, strsignal(number));
		finish(p, EXIT_MOUNT);
		return;
	}
	/* Who still uses the mount keeps it, and this process, alive; the next signal does not wait for them. */
	log_info("mount", "%s: unmounting %s", strsignal(number), p->dir);
	p->ending = true;
	inval_unmount(p->mount.inval, p->dir);
}

/* ---- what subtrees get ---- */

static const struct config *host_config(void *ctx)
{
	return client_config(ctx);
}

static void host_node_conn(void *ctx, uint32_t node_id, subtree_conn_done done, void *done_ctx)
{
	client_node_conn(ctx, node_id, done, done_ctx);
}

static int start_subtrees(struct program *p)
{
	p->host = (struct subtree_host){ .loop = &p->loop,
					 .node_id = p->identity.id,
					 .ctx = p->mount.client,
					 .config = host_config,
					 .node_conn = host_node_conn };
	return procfs_new(&p->host, &p->procfs, &p->mount.subtree);
}

/* ---- start ---- */

static int run(struct program *p)
{
	static const int numbers[] = { SIGTERM, SIGINT, SIGHUP };
	struct client_conf conf = { .loop = &p->loop,
				    .self = &p->self,
				    .tls = p->tls,
				    .mount_name = p->mount_name,
				    .fs = ROOT_FS,
				    .soft_ms = p->options.soft_ms };
	int r = uv_loop_init(&p->loop);

	if (r == 0)
		r = mount_init(&p->mount, &p->loop);
	if (r < 0)
		return r;
	p->mount.ctx = p;
	p->mount.opened_first = on_first_session;
	r = client_new(&conf, &p->config, &mount_client_events, &p->mount, &p->mount.client);
	if (r == 0)
		r = start_subtrees(p);
	if (r < 0)
		return r;
	uv_timer_init(&p->loop, &p->retry);
	p->retry.data = p;
	uv_timer_start(&p->retry, on_retry_over, p->options.retry_s * UINT64_C(1000), 0);
	for (int i = 0; i < 3; i++) {
		uv_signal_init(&p->loop, &p->signals[i]);
		p->signals[i].data = p;
		uv_signal_start(&p->signals[i], on_signal, numbers[i]);
	}
	uv_run(&p->loop, UV_RUN_DEFAULT);
	return 0;
}

/* The mount is gone, or never was: nobody asks any more. */
static void tear_down(struct program *p)
{
	struct mount *m = &p->mount;

	inval_free(m->inval);
	channel_free(m->channel);
	client_free(m->client);
	procfs_free(p->procfs);
	uv_close((uv_handle_t *)&p->retry, NULL);
	for (int i = 0; i < 3; i++)
		uv_close((uv_handle_t *)&p->signals[i], NULL);
	mount_release(m);
	uv_run(&p->loop, UV_RUN_DEFAULT);
	uv_loop_close(&p->loop);
}

/* Who we are and where the cluster is. A message, or NULL. */
static const char *load_identity(struct program *p, char *text, size_t len)
{
	const char *state_dir = state_dir_choose(p->options.state_dir);
	char tls_dir[PATH_MAX];
	int r = node_identity_load(state_dir, &p->identity);

	if (r == -ENOENT)
		snprintf(text, len, "this node is not in a cluster: no %s/node; see cfs init and cfs join", state_dir);
	else if (r < 0)
		snprintf(text, len, "%s/node: %s", state_dir, strerror(-r));
	if (r < 0)
		return text;
	snprintf(tls_dir, sizeof(tls_dir), "%s/tls", state_dir);
	r = tls_identity_load(tls_dir, &p->tls);
	if (r < 0) {
		snprintf(text, len, "%s: %s", tls_dir, strerror(-r));
		return text;
	}
	r = config_file_load(state_dir, &p->config);
	if (r < 0 || !config_node_by_id(&p->config, p->identity.id)) {
		/* This node's own daemon knows the rest. */
		struct config_node *n = &p->config.nodes[0];

		memset(&p->config, 0, sizeof(p->config));
		p->config.cluster_id = p->identity.cluster_id;
		p->config.nr_nodes = 1;
		n->id = p->identity.id;
		n->port = p->identity.port;
		memcpy(n->name, p->identity.name, sizeof(n->name));
		memcpy(n->host, p->identity.host, sizeof(n->host));
	}
	p->self = (struct rpc_self){ .cluster_id = p->identity.cluster_id,
				     .node_id = p->identity.id,
				     .role = RPC_ROLE_CLIENT,
				     .node_name = p->identity.name };
	snprintf(p->mount_name, sizeof(p->mount_name), "%s:%.200s", p->identity.name, p->dir);
	return NULL;
}

/* What can be said to be wrong before anything is started. A message, or NULL. */
static const char *prepare(struct program *p, char *text, size_t len)
{
	struct stat st;

	if (!realpath(p->options.dir, p->dir) || stat(p->dir, &st) < 0) {
		snprintf(text, len, "%s: %s", p->options.dir, strerror(errno));
		return text;
	}
	if (!S_ISDIR(st.st_mode)) {
		snprintf(text, len, "%s: %s", p->dir, strerror(ENOTDIR));
		return text;
	}
	return load_identity(p, text, len);
}

static int usage(const struct options *o, int r, const char *error)
{
	if (r < 0) {
		fprintf(stderr, "mount.fuse.cfs: %s\n%s", error, options_usage);
		return EXIT_USAGE;
	}
	if (o->version)
		puts("mount.fuse.cfs " PACKAGE_VERSION);
	else
		fputs(options_usage, stdout);
	return 0;
}

int main(int argc, char **argv)
{
	struct program *p = calloc(1, sizeof(*p));
	char text[PATH_MAX + 256];
	int r;

	if (!p)
		return EXIT_MOUNT;
	daemon_close_inherited();
	/* Buffers of large reads and writes go back to the system when they are freed, instead of raising the threshold. */
	mallopt(M_MMAP_THRESHOLD, 256 << 10);
	mallopt(M_TRIM_THRESHOLD, 1 << 20);
	r = options_parse(&p->options, argc, argv, text, sizeof(text));
	if (r < 0 || p->options.help || p->options.version)
		return usage(&p->options, r, text);
	if (prepare(p, text, sizeof(text))) {
		fprintf(stderr, "mount.fuse.cfs: %s\n", text);
		return EXIT_MOUNT;
	}
	if (p->options.fake)
		return 0;
	p->report_fd = p->options.foreground ? -1 : daemon_fork(p->dir);
	/* Memory needed to write pages back must not wait for pages to be written back through us. */
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	r = run(p);
	if (r < 0) {
		fail(p, strerror(-r));
		return EXIT_MOUNT;
	}
	tear_down(p);
	r = p->exit_status;
	tls_identity_free(p->tls);
	options_release(&p->options);
	free(p);
	return r;
}
