/*
 * cfsd: one per node. Puts the parts together: cluster (a thread of its own), file service and process service (this
 * loop), cfs-migrated (a child). Start order: identity, lock, certificate, listening, cluster, services. Stop order: no
 * more serving, goodbye to the cluster, stores closed.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cfsd/child.h"
#include "cfsd/service.h"
#include "cluster/cluster.h"
#include "cluster/state_dir.h"
#include "common/log.h"
#include "common/mailbox.h"
#include "procfs-cluster/service.h"
#include "wire/tls.h"

enum { FILE_PORT = 1, MIGRATED_PORT = 2, STOP_MS = 5000 };

struct cfsd {
	const char *state_dir;
	struct node_identity id;
	int lock_fd;
	uv_loop_t loop;
	uv_signal_t term, intr;
	uv_timer_t patience;
	struct mailbox *mailbox;
	struct tls_identity *tls;
	struct rpc *rpc;
	struct cluster *cluster;
	struct file_service *files;
	struct proc_service *procs;
	struct child *migrated;
	struct config *config; /* the newest; NULL: none yet */
};

/* ---- options ---- */

const char *argp_program_version = "cfsd (" PACKAGE_NAME ") " PACKAGE_VERSION;

enum { OPT_FOREGROUND = 'f', OPT_STATE = 's', OPT_LOG = 'l' };

static const struct argp_option options[] = {
	{ "state-dir", OPT_STATE, "DIR", 0, "State of this node (default $CFS_STATE_DIR, or " STATE_DIR_DEFAULT ")", 0 },
	{ "log-level", OPT_LOG, "LEVEL", 0, "error, warn, info (default) or debug", 0 },
	{ "foreground", OPT_FOREGROUND, NULL, 0, "Stay in the foreground (always so)", 0 },
	{ 0 },
};

static int set_level(const char *name)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(name, names[i]))
			continue;
		log_set_level((enum log_level)i);
		return 0;
	}
	return -EINVAL;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	const char **state_dir = state->input;

	switch (key) {
	case OPT_STATE:
		*state_dir = arg;
		return 0;
	case OPT_LOG:
		if (set_level(arg) < 0)
			argp_error(state, "unknown log level '%s'", arg);
		return 0;
	case OPT_FOREGROUND:
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* ---- what the file service needs ---- */

static int open_store(void *ctx, uint32_t fs, struct store **ret_s)
{
	struct cfsd *d = ctx;
	char path[4096];
	int n = snprintf(path, sizeof(path), "%s/fs", d->state_dir);

	if (n < 0 || (size_t)n + 16 > sizeof(path))
		return -ENAMETOOLONG;
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	snprintf(path + n, sizeof(path) - (size_t)n, "/%u", fs);
	return store_open_disk(path, ret_s);
}

static bool lease_valid(void *ctx, uint32_t fs, uint64_t epoch)
{
	struct cfsd *d = ctx;

	return cluster_lease_valid(d->cluster, fs, epoch);
}

static void report(void *ctx, const struct lease_position *pos)
{
	struct cfsd *d = ctx;

	cluster_report_position(d->cluster, pos);
}

static void change(void *ctx, uint32_t fs, uint64_t expected, uint32_t server, const uint32_t *in_sync, size_t nr_in_sync,
		   void (*done)(void *done_ctx, int status), void *done_ctx)
{
	struct cfsd *d = ctx;

	cluster_fs_change(d->cluster, fs, expected, server, in_sync, nr_in_sync, done, done_ctx);
}

/* ---- events of the cluster ---- */

/* A removed node has a good certificate still. */
static int may_come_in(void *ctx, uint32_t node_id)
{
	struct cfsd *d = ctx;

	return d->config && config_node_was_removed(d->config, node_id) ? -EKEYREVOKED : 0;
}

static void keep_config(struct cfsd *d, const struct config *c)
{
	struct config *copy = malloc(sizeof(*copy));

	if (!copy)
		return; /* the next one will do */
	*copy = *c;
	free(d->config);
	d->config = copy;
	rpc_check_gate(d->rpc);
}

static void on_config(void *ctx, const struct config *c)
{
	struct cfsd *d = ctx;

	keep_config(d, c);
	if (d->files)
		file_service_config(d->files, c);
}

static void on_lease_lost(void *ctx, uint32_t fs)
{
	struct cfsd *d = ctx;

	if (d->files)
		file_service_lease_lost(d->files, fs);
}

/* ---- start ---- */

static int load_identity(struct cfsd *d)
{
	int r = node_identity_load(d->state_dir, &d->id);

	switch (r) {
	case 0:
		break;
	case -ENOENT:
		log_error("cfsd", "%s: this node belongs to no cluster yet: make one with `cfs init`, or join one with `cfs join`",
			  d->state_dir);
		break;
	case -EPROTONOSUPPORT:
		log_error("cfsd", "%s was written by a newer version of CFS: install that version", d->state_dir);
		break;
	default:
		log_error("cfsd", "%s: the node's identity cannot be read: %s", d->state_dir, strerror(-r));
	}
	return r;
}

/* Held as long as the process lives. */
static int lock_state(struct cfsd *d)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/cfsd.lock", d->state_dir);
	d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (d->lock_fd >= 0 && flock(d->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		log_error("cfsd", "another cfsd is running on %s", d->state_dir);
	else
		log_error("cfsd", "%s: %s", path, strerror(errno));
	return -EBUSY;
}

static int start_listening(struct cfsd *d)
{
	struct rpc_self self = { .cluster_id = d->id.cluster_id,
				 .node_id = d->id.id,
				 .role = RPC_ROLE_NODE,
				 .node_name = d->id.name };
	uint16_t port = (uint16_t)(d->id.port + FILE_PORT);
	char path[4096];
	int r;

	snprintf(path, sizeof(path), "%s/tls", d->state_dir);
	r = tls_identity_load(path, &d->tls);
	if (r < 0) {
		log_error("cfsd", "%s: this node's certificate cannot be used: %s", path, strerror(-r));
		return r;
	}
	r = rpc_new(&d->loop, &self, d->tls, &d->rpc);
	if (r < 0)
		return r;
	rpc_set_gate(d->rpc, may_come_in, d);
	r = rpc_listen(d->rpc, d->id.host, port, NULL);
	if (r < 0)
		log_error("cfsd", "cannot listen on %s port %u: %s", d->id.host, port, strerror(-r));
	return r;
}

static int start_cluster(struct cfsd *d)
{
	static const struct cluster_events events = { on_config, on_lease_lost };
	struct cluster_conf conf = { .state_dir = d->state_dir };
	int r = mailbox_new(&d->loop, &d->mailbox);

	if (!r)
		r = cluster_start(&conf, d->mailbox, &events, d, &d->cluster);
	if (r < 0)
		log_error("cfsd", "the cluster part cannot start: %s", strerror(-r));
	return r;
}

static int start_files(struct cfsd *d)
{
	struct file_service_host host = { open_store, lease_valid, report, change, d };
	struct file_service_conf conf = {
		.loop = &d->loop,
		.rpc = d->rpc,
		.self = d->id.id,
		.spool_dir = d->state_dir,
		.port_offset = FILE_PORT,
		.expire_ms = 30000,
		.log_records = 4096,
		.log_bytes = 32 << 20,
	};

	return file_service_new(&conf, &host, &d->files);
}

static int start_processes(struct cfsd *d)
{
	struct proc_service_conf conf = {
		.node_id = d->id.id,
		.state_dir = d->state_dir,
		.migrated_host = d->id.host,
		.migrated_port = (uint16_t)(d->id.port + MIGRATED_PORT),
	};
	int r = proc_service_new(&d->loop, d->rpc, &conf, &d->procs);

	if (r < 0)
		return r;
	/* It finds the state by the same means as we. */
	setenv(STATE_DIR_ENV, d->state_dir, 1);
	r = child_start(&d->loop, "cfs-migrated", "migrate", &d->migrated);
	if (r == -ENOENT)
		log_warn("cfsd", "cfs-migrated is not installed: processes cannot be moved to or from this node");
	return r == -ENOENT ? 0 : r;
}

/* ---- stop ---- */

static void on_patience_end(uv_timer_t *t)
{
	(void)t;
	log_error("cfsd", "something did not end: leaving anyway");
	_exit(1);
}

static void stop(struct cfsd *d)
{
	uv_timer_start(&d->patience, on_patience_end, STOP_MS, 0);
	uv_unref((uv_handle_t *)&d->patience);
	child_stop(d->migrated);
	proc_service_free(d->procs);
	file_service_stop(d->files);
	cluster_stop(d->cluster);
	file_service_free(d->files);
	d->files = NULL;
	rpc_free(d->rpc);
	mailbox_free(d->mailbox);
	uv_close((uv_handle_t *)&d->term, NULL);
	uv_close((uv_handle_t *)&d->intr, NULL);
}

static void on_signal(uv_signal_t *s, int signo)
{
	struct cfsd *d = s->data;

	if (!d->files || uv_is_closing((uv_handle_t *)s))
		return;
	log_info("cfsd", "%s: stopping", strsignal(signo));
	stop(d);
}

static void watch_signal(struct cfsd *d, uv_signal_t *s, int signo)
{
	uv_signal_init(&d->loop, s);
	s->data = d;
	uv_signal_start(s, on_signal, signo);
}

static void raise_file_limit(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
		lim.rlim_cur = lim.rlim_max;
		setrlimit(RLIMIT_NOFILE, &lim);
	}
}

static int run(struct cfsd *d)
{
	int r = load_identity(d);

	if (!r)
		r = lock_state(d);
	if (r < 0)
		return r;
	raise_file_limit();
	uv_loop_init(&d->loop);
	uv_timer_init(&d->loop, &d->patience);
	r = start_listening(d);
	if (!r)
		r = start_files(d);
	if (!r)
		r = start_cluster(d);
	if (!r)
		r = start_processes(d);
	if (r < 0)
		return r;
	watch_signal(d, &d->term, SIGTERM);
	watch_signal(d, &d->intr, SIGINT);
	log_info("cfsd", "node %s (%u) of cluster %s is running, %s ports %u to %u", d->id.name, d->id.id,
		 d->id.cluster_name, d->id.host, d->id.port, d->id.port + MIGRATED_PORT);
	uv_run(&d->loop, UV_RUN_DEFAULT);
	tls_identity_free(d->tls);
	free(d->config);
	log_info("cfsd", "stopped");
	return 0;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		options, parse, NULL, "The CFS daemon of a node: membership, files, processes.\vSee cfsd(8).", NULL, NULL, NULL
	};
	struct cfsd d = { .lock_fd = -1 };
	const char *given = NULL;

	argp_parse(&argp, argc, argv, 0, NULL, &given);
	d.state_dir = state_dir_choose(given);
	signal(SIGPIPE, SIG_IGN);
	return run(&d) < 0 ? 1 : 0;
}
