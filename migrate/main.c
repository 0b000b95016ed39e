/*
 * cfs-migrated: moves process trees between this node and the others. Started and watched by cfsd; a crash of it hurts
 * no process: jobs are in the hands of their cfs-job, and what a move needs to be finished or undone is on disk.
 *
 * The only place where the parts meet: identity and configuration (cluster/), connections (wire/), the service.
 */
#include <errno.h>
#include <getopt.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cluster/state_dir.h"
#include "common/log.h"
#include "migrate/criu.h"
#include "migrate/service.h"
#include "wire/rpc.h"
#include "wire/tls.h"

#define PORT_OFFSET 2
#define RETRY_MS 500
#define NICE (-10)
#define CONNECT_TIMEOUT_MS 2000

struct daemon {
	uv_loop_t loop;
	const char *state_dir, *run_dir, *cfs_type;
	struct node_identity id;
	struct rpc *rpc;
	struct service *svc;
	char job_program[4096];
	struct rpc_conn *cfsd; /* where the configuration comes from; NULL: not connected */
	struct config *config; /* the newest; NULL: none yet */
	uv_timer_t retry;
	uv_signal_t term;
};

/* ---- the configuration: from the file at first, then from cfsd, which answers when there is a newer one ---- */

static void connect_cfsd(struct daemon *d);
static void ask_config(struct daemon *d);

static void retry_later(struct daemon *d);

/* A removed node has a good certificate still. */
static int may_come_in(void *ctx, uint32_t node_id)
{
	struct daemon *d = ctx;

	return d->config && config_node_was_removed(d->config, node_id) ? -EKEYREVOKED : 0;
}

/* C is taken. */
static void use_config(struct daemon *d, struct config *c)
{
	service_set_config(d->svc, c);
	free(d->config);
	d->config = c;
	rpc_check_gate(d->rpc);
}

static void got_config(void *ctx, int status, const void *msg)
{
	const struct msg_config_get_rep *rep = msg;
	struct daemon *d = ctx;
	struct config *c;

	if (status) {
		if (d->cfsd && rpc_conn_is_up(d->cfsd))
			retry_later(d);
		return;
	}
	c = malloc(sizeof(*c));
	if (c && rep->config.len && config_decode(rep->config.p, rep->config.len, c) == 0)
		use_config(d, c);
	else
		free(c);
	ask_config(d);
}

static void ask_config(struct daemon *d)
{
	struct msg_config_get_req req = { .known = d->config ? d->config->version : 0 };

	if (!d->cfsd || rpc_call(d->cfsd, MSG_config_get, &req, 0, got_config, d))
		retry_later(d);
}

static void cfsd_up(void *ctx, struct rpc_conn *conn)
{
	(void)conn;
	ask_config(ctx);
}

static void cfsd_down(void *ctx, struct rpc_conn *conn, int err)
{
	struct daemon *d = ctx;

	(void)conn;
	(void)err;
	d->cfsd = NULL;
	retry_later(d);
}

static const struct rpc_conn_events cfsd_events = { .up = cfsd_up, .down = cfsd_down };

static void on_retry(uv_timer_t *t)
{
	struct daemon *d = t->data;

	if (d->cfsd)
		ask_config(d);
	else
		connect_cfsd(d);
}

static void retry_later(struct daemon *d)
{
	uv_timer_start(&d->retry, on_retry, RETRY_MS, 0);
}

static void connect_cfsd(struct daemon *d)
{
	if (rpc_connect(d->rpc, d->id.host, d->id.port, CONNECT_TIMEOUT_MS, &cfsd_events, d, &d->cfsd))
		retry_later(d);
}

static void load_config_file(struct daemon *d)
{
	struct config *c = malloc(sizeof(*c));

	if (c && config_file_load(d->state_dir, c) == 0)
		use_config(d, c);
	else
		free(c);
}

/* ---- start ---- */

/* cfs-job is installed beside us. */
static int find_job_program(struct daemon *d)
{
	ssize_t n = readlink("/proc/self/exe", d->job_program, sizeof(d->job_program) - 16);
	char *slash;

	if (n <= 0)
		return -errno;
	d->job_program[n] = 0;
	slash = strrchr(d->job_program, '/');
	strcpy(slash + 1, "cfs-job");
	return access(d->job_program, X_OK) ? -errno : 0;
}

static int start_rpc(struct daemon *d)
{
	struct tls_identity *tls;
	struct rpc_self self;
	char dir[4096];
	int r;

	snprintf(dir, sizeof(dir), "%s/tls", d->state_dir);
	r = tls_identity_load(dir, &tls);
	if (r) {
		log_error("migrate", "cannot load the keys in %s: %s", dir, strerror(-r));
		return r;
	}
	self = (struct rpc_self){ .cluster_id = d->id.cluster_id, .node_id = d->id.id, .role = RPC_ROLE_NODE, .node_name = d->id.name };
	r = rpc_new(&d->loop, &self, tls, &d->rpc);
	if (!r)
		rpc_set_gate(d->rpc, may_come_in, d);
	if (!r)
		r = rpc_listen(d->rpc, d->id.host, (uint16_t)(d->id.port + PORT_OFFSET), NULL);
	if (r)
		log_error("migrate", "cannot listen on %s port %u: %s", d->id.host, d->id.port + PORT_OFFSET, strerror(-r));
	return r;
}

static int start_service(struct daemon *d)
{
	struct service_conf conf = {
		.state_dir = d->state_dir,
		.run_dir = d->run_dir,
		.job_program = d->job_program,
		.cfs_type = d->cfs_type,
		.node_id = d->id.id,
	};
	int r = find_job_program(d);

	if (r) {
		log_error("migrate", "cannot find %s: %s", d->job_program, strerror(-r));
		return r;
	}
	return service_new(&d->loop, d->rpc, &conf, &d->svc);
}

static void check_criu(void)
{
	char text[256];
	int r = criu_check_version(text, sizeof(text));

	if (r == -EPROTONOSUPPORT)
		log_error("migrate", "%s is %s: 4.2 or later is needed, moves will fail", CFS_CRIU_PATH, text);
	else if (r)
		log_error("migrate", "cannot run %s: moves will fail", CFS_CRIU_PATH);
}

/*
 * CRIU sets breakpoints in the processes it stops. The first event of the kind on a machine makes the kernel patch itself
 * and wait for all CPUs, 5 to 20 ms while the process stands still, and again at the other end: one is held for good.
 */
static void hold_perf_event(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_DUMMY,
		.disabled = 1,
		.exclude_kernel = 1,
	};

	if (syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC) < 0)
		log_debug("migrate", "no perf event: %s", strerror(errno));
}

static void on_term(uv_signal_t *s, int signo)
{
	(void)signo;
	uv_stop(s->loop);
}

static void usage(FILE *out)
{
	fprintf(out, "usage: cfs-migrated [--state DIR] [--run DIR] [--cfs-type FSTYPE]\n");
}

static int parse(int argc, char **argv, struct daemon *d)
{
	static const struct option options[] = {
		{ "state", required_argument, NULL, 's' },
		{ "run", required_argument, NULL, 'r' },
		{ "cfs-type", required_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const char *state = NULL;
	int c;

	d->run_dir = "/run/cfs";
	d->cfs_type = "fuse.cfs";
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's': state = optarg; break;
		case 'r': d->run_dir = optarg; break;
		case 't': d->cfs_type = optarg; break;
		case 'h': usage(stdout); exit(0);
		default: usage(stderr); return -EINVAL;
		}
	}
	d->state_dir = state_dir_choose(state);
	return optind == argc ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
	struct daemon *d = calloc(1, sizeof(*d));
	int r;

	if (!d || parse(argc, argv, d))
		return 2;
	signal(SIGPIPE, SIG_IGN);
	/* While we work something stands still. CRIU and cfs-job inherit it; what they start has its own. */
	setpriority(PRIO_PROCESS, 0, NICE);
	prctl(PR_SET_PDEATHSIG, SIGTERM); /* cfsd's death is ours: its successor starts ours */
	r = node_identity_load(d->state_dir, &d->id);
	if (r) {
		log_error("migrate", "%s is not the state of a node: %s", d->state_dir, strerror(-r));
		return 1;
	}
	check_criu();
	hold_perf_event();
	uv_loop_init(&d->loop);
	uv_timer_init(&d->loop, &d->retry);
	uv_signal_init(&d->loop, &d->term);
	d->retry.data = d;
	uv_signal_start(&d->term, on_term, SIGTERM);
	if (start_rpc(d) || start_service(d))
		return 1;
	load_config_file(d);
	connect_cfsd(d);
	log_info("migrate", "node %s is ready", d->id.name);
	uv_run(&d->loop, UV_RUN_DEFAULT);
	return 0;
}
