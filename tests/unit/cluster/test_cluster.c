/*
 * The cluster thread for real: each node a process of its own with state directory, TLS, disk and clock, on loopback
 * ports. What a node sees it writes into shared memory; nodes die by SIGKILL and come back.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cluster/cluster.h"
#include "cluster/state_dir.h"
#include "cluster/token.h"
#include "tests/lib/ports.h"
#include "tests/lib/tmpdir.h"
#include "wire/once.h"
#include "wire/tls.h"

enum { NODES = 4 };

/* Seen by the test, written by the node's process. */
struct view {
	pid_t pid;
	uint64_t config_seq; /* odd while config is being written */
	struct config config;
	volatile int lease;	/* may serve filesystem 1 */
	volatile int nr_lost, nr_news, start_status, stop;
	volatile int change, change_status; /* asked: 1; done: 2 */
	uint64_t change_expected;
	uint32_t change_server, change_in_sync[3];
	size_t change_nr;
	uint64_t lsn; /* reported */
};

static struct tmpdir tmp;
static struct view *views;
static uint16_t base_port;
static enum rpc_role role = RPC_ROLE_CLIENT; /* that call_at() takes */

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static const char *dir_of(uint32_t id)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/node%u", tmp.path, id);
	return path;
}

/* ---- the node's process ---- */

static void on_config(void *ctx, const struct config *c)
{
	struct view *v = ctx;

	__atomic_add_fetch(&v->config_seq, 1, __ATOMIC_SEQ_CST);
	v->config = *c;
	__atomic_add_fetch(&v->config_seq, 1, __ATOMIC_SEQ_CST);
	v->nr_news++;
}

static void on_lost(void *ctx, uint32_t fs)
{
	((struct view *)ctx)->nr_lost += fs == 1;
}

static void on_changed(void *ctx, int status)
{
	struct view *v = ctx;

	v->change_status = status;
	v->change = 2;
}

struct node {
	struct view *v;
	struct cluster *cl;
	uv_timer_t timer;
	struct mailbox *mb;
};

static void on_timer(uv_timer_t *t)
{
	struct node *n = t->data;
	const struct config_fs *fs = config_fs_by_id(&n->v->config, 1);

	n->v->lease = fs && cluster_lease_valid(n->cl, 1, fs->epoch);
	if (n->v->lsn)
		cluster_report_position(n->cl, &(struct lease_position){ 1, fs ? fs->epoch : 0, n->v->lsn });
	if (n->v->change == 1) {
		n->v->change = 0;
		cluster_fs_change(n->cl, 1, n->v->change_expected, n->v->change_server, n->v->change_in_sync, n->v->change_nr,
				  on_changed, n->v);
	}
	if (n->v->stop) {
		uv_close((uv_handle_t *)t, NULL);
		cluster_stop(n->cl);
		mailbox_free(n->mb);
	}
}

static void node_main(struct view *v, const char *dir)
{
	static const struct cluster_events events = { on_config, on_lost };
	struct cluster_conf conf = { .state_dir = dir };
	struct node n = { .v = v };
	uv_loop_t loop;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	uv_loop_init(&loop);
	mailbox_new(&loop, &n.mb);
	v->start_status = cluster_start(&conf, n.mb, &events, v, &n.cl);
	if (v->start_status < 0)
		_exit(1);
	uv_timer_init(&loop, &n.timer);
	n.timer.data = &n;
	uv_timer_start(&n.timer, on_timer, 0, 5);
	uv_run(&loop, UV_RUN_DEFAULT);
	_exit(uv_loop_close(&loop) == 0 ? 0 : 2);
}

/* ---- driving ---- */

static void start_node(uint32_t id)
{
	struct view *v = &views[id];
	pid_t pid;

	v->stop = v->lease = v->nr_news = 0;
	pid = fork();
	cr_assert_geq(pid, 0);
	if (!pid)
		node_main(v, dir_of(id));
	v->pid = pid;
}

static int wait_node(uint32_t id)
{
	int status;

	cr_assert_eq(waitpid(views[id].pid, &status, 0), views[id].pid);
	views[id].pid = 0;
	views[id].lease = 0;
	return status;
}

static void kill_node(uint32_t id)
{
	kill(views[id].pid, SIGKILL);
	wait_node(id);
}

static struct config see(uint32_t id)
{
	struct config c;
	uint64_t seq;

	do {
		seq = __atomic_load_n(&views[id].config_seq, __ATOMIC_SEQ_CST);
		memcpy(&c, &views[id].config, sizeof(c));
	} while (seq % 2 || seq != __atomic_load_n(&views[id].config_seq, __ATOMIC_SEQ_CST));
	return c;
}

#define WAIT(what, ms)                                                              \
	do {                                                                        \
		uint64_t end_ = now_ms() + (ms);                                    \
		while (!(what) && now_ms() < end_)                                  \
			pause_ms(2);                                                \
		cr_assert(what, "after %d ms not: %s", (int)(ms), #what);           \
	} while (0)

static bool node_is(uint32_t who_sees, uint32_t id, enum node_state s)
{
	struct config c = see(who_sees);
	const struct config_node *n = config_node_by_id(&c, id);

	return n && n->state == s;
}

static size_t voters(uint32_t who_sees)
{
	struct config c = see(who_sees);
	size_t n = 0;

	for (size_t i = 0; i < c.nr_nodes; i++)
		n += c.nodes[i].voter;
	return n;
}

static struct config_fs root_of(uint32_t who_sees)
{
	return see(who_sees).fs[0];
}

/* As node ID, to node AT. */
static int call_at(uint32_t id, uint32_t at, enum msg_type type, const void *req, void **ret_rep)
{
	struct node_identity me;
	struct rpc_self self;
	struct once_peer peer;
	struct tls_identity *tls;
	char path[160];
	int r;

	cr_assert_eq(node_identity_load(dir_of(id), &me), 0);
	snprintf(path, sizeof(path), "%s/tls", dir_of(id));
	cr_assert_eq(tls_identity_load(path, &tls), 0);
	self = (struct rpc_self){ me.cluster_id, me.id, role, me.name };
	peer = (struct once_peer){ me.host, (uint16_t)(base_port + 4 * at) };
	r = once_call(&peer, 1, &self, tls, type, req, 5000, ret_rep);
	tls_identity_free(tls);
	return r;
}

/* With the role of a daemon. */
static int call_as_node(uint32_t id, uint32_t at, enum msg_type type, const void *req)
{
	role = RPC_ROLE_NODE;
	return call_at(id, at, type, req, NULL);
}

static int call(uint32_t id, enum msg_type type, const void *req, void **ret_rep)
{
	return call_at(id, id, type, req, ret_rep);
}

static void make_token(uint32_t at, char *ret, size_t size)
{
	struct msg_token_new_rep *rep;

	cr_assert_eq(call(at, MSG_token_new, &(struct msg_token_new_req){ 3600 }, (void **)&rep), 0);
	cr_assert_lt(strlen(rep->token), size);
	strcpy(ret, rep->token);
	free(rep);
}

static struct node_identity identity(uint32_t id)
{
	struct node_identity me = { .id = 1, .host = "127.0.0.1", .port = (uint16_t)(base_port + 4 * id) };

	snprintf(me.name, sizeof(me.name), "node%u", id);
	strcpy(me.cluster_name, "test");
	return me;
}

static int join(uint32_t id, uint32_t through, const char *token)
{
	struct node_identity me = identity(id);

	return state_dir_join(dir_of(id), "127.0.0.1", (uint16_t)(base_port + 4 * through), token, &me, 5000);
}

static void setup(void)
{
	struct node_identity me;

	tmpdir_make(&tmp);
	base_port = ports_find(NODES + 1, 4);
	views = mmap(NULL, sizeof(*views) * (NODES + 1), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	me = identity(1);
	cr_assert_eq(state_dir_init(dir_of(1), &me), 0);
	start_node(1);
	WAIT(node_is(1, 1, NODE_UP), 3000);
}

static void teardown(void)
{
	for (uint32_t id = 1; id <= NODES; id++)
		if (views[id].pid)
			kill_node(id);
	tmpdir_remove(&tmp);
}

static void grow(uint32_t to)
{
	char token[512];

	for (uint32_t id = 2; id <= to; id++) {
		make_token(1, token, sizeof(token));
		cr_assert_eq(join(id, id - 1, token), 0);
		start_node(id);
		WAIT(node_is(id, id, NODE_UP), 4000);
	}
}

TestSuite(cluster, .init = setup, .fini = teardown, .timeout = 60);

Test(cluster, one_node_serves_and_comes_back)
{
	struct msg_status_rep *rep;

	WAIT(views[1].lease, 2000);
	cr_assert_eq(call(1, MSG_status, &(struct msg_status_req){}, (void **)&rep), 0);
	cr_assert_eq(rep->leader, 1);
	cr_assert_eq(rep->quorum, 1);
	free(rep);
	views[1].stop = 1;
	cr_assert_eq(wait_node(1), 0, "it ends cleanly");
	start_node(1);
	WAIT(views[1].lease, 2000);
	kill_node(1);
	start_node(1);
	WAIT(views[1].lease, 3000);
}

Test(cluster, nodes_join_and_become_members_and_voters)
{
	char token[512];
	struct node_identity again = identity(4);

	make_token(1, token, sizeof(token));
	cr_assert_eq(join(2, 1, "nonsense"), -EBADMSG);
	cr_assert_eq(join(2, 1, token), 0);
	cr_assert_eq(join(2, 1, token), -EEXIST, "the directory is in use");
	cr_assert_eq(join(4, 1, token), -EKEYEXPIRED, "a token is good once");
	start_node(2);
	WAIT(node_is(2, 2, NODE_UP), 3000);
	cr_assert_eq(voters(1), 1, "two nodes have one voter");
	make_token(2, token, sizeof(token));
	strcpy(again.name, "node2");
	cr_assert_eq(state_dir_join(dir_of(4), "127.0.0.1", (uint16_t)(base_port + 4), token, &again, 5000), -ENOTUNIQ);
	cr_assert_eq(join(3, 2, token), 0, "asked of a node that cannot sign itself");
	start_node(3);
	WAIT(node_is(1, 3, NODE_UP), 3000);
	WAIT(voters(1) == 3 && voters(3) == 3, 6000);
	WAIT(root_of(1).nr_members == 3, 3000);
	cr_assert_eq(root_of(1).nr_in_sync, 1);
	cr_assert(views[1].lease && !views[2].lease);
}

static void remove_file(uint32_t id, const char *name)
{
	char path[192];

	snprintf(path, sizeof(path), "%s/%s", dir_of(id), name);
	cr_assert_eq(unlink(path), 0, "%s", path);
}

Test(cluster, a_join_whose_answer_was_lost_is_answered_again)
{
	char token[512];
	struct node_identity first, again;

	make_token(1, token, sizeof(token));
	cr_assert_eq(join(2, 1, token), 0);
	cr_assert_eq(node_identity_load(dir_of(2), &first), 0);
	remove_file(2, "node"); /* what a joiner has that never saw the answer: its key */
	remove_file(2, "tls/node.crt");
	cr_assert_eq(join(3, 1, token), -EKEYEXPIRED, "another machine");
	cr_assert_eq(join(2, 1, token), 0);
	cr_assert_eq(node_identity_load(dir_of(2), &again), 0);
	cr_assert_eq(again.id, first.id);
	start_node(2);
	WAIT(node_is(1, 2, NODE_UP), 3000);
	cr_assert_eq(see(1).nr_nodes, 2);
}

/* Joins as node ID in a process of its own. */
static pid_t join_aside(uint32_t id, uint32_t through, const char *token)
{
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (!pid)
		_exit(-join(id, through, token));
	return pid;
}

static void make_fifo(uint32_t id, const char *name, char ret_path[192])
{
	snprintf(ret_path, 192, "%s/%s", dir_of(id), name);
	/* One that is just being written is in the way for a moment. */
	for (int i = 0; i < 500 && mkfifo(ret_path, 0600) < 0; i++)
		pause_ms(2);
	cr_assert_eq(access(ret_path, F_OK), 0);
}

Test(cluster, a_disk_that_stands_still_under_keys_and_configuration_costs_no_lease)
{
	char token[512], key[8192], path[192], config[192];
	int fd, status;
	ssize_t n;
	pid_t joiner;

	make_token(1, token, sizeof(token));
	snprintf(path, sizeof(path), "%s/tls/ca.key", dir_of(1));
	fd = open(path, O_RDONLY);
	n = read(fd, key, sizeof(key));
	cr_assert_gt(n, 0);
	close(fd);
	remove_file(1, "tls/ca.key");
	/* Whoever opens these for reading, or writing, waits for the other end. */
	make_fifo(1, "tls/ca.key", path);
	make_fifo(1, "config.new", config);
	WAIT(views[1].lease, 2000);
	joiner = join_aside(2, 1, token);
	WAIT(see(1).nr_nodes == 2, 2000);
	for (uint64_t end = now_ms() + 1200; now_ms() < end; pause_ms(1))
		cr_assert(views[1].lease, "it serves on");
	cr_assert_eq(waitpid(joiner, &status, WNOHANG), 0, "the certificate waits for the key");
	/* The disk moves again: first the configuration, then the key. */
	fd = open(config, O_RDONLY);
	cr_assert_geq(fd, 0);
	WAIT(read(fd, token, sizeof(token)) == 0, 2000);
	close(fd);
	fd = open(path, O_WRONLY);
	cr_assert_eq(write(fd, key, (size_t)n), n);
	close(fd);
	cr_assert_eq(waitpid(joiner, &status, 0), joiner);
	cr_assert_eq(status, 0);
}

Test(cluster, a_token_of_another_secret_is_refused)
{
	char token[512], *forged;
	struct join_token t;

	make_token(1, token, sizeof(token));
	cr_assert_eq(join_token_decode(token, &t), 0);
	t.secret[0] ^= 1;
	forged = join_token_encode(&t);
	cr_assert_eq(join(2, 1, forged), -EKEYREJECTED);
	free(forged);
	t.secret[0] ^= 1;
	t.ca_sha256[0] ^= 1;
	forged = join_token_encode(&t);
	cr_assert_eq(join(2, 1, forged), -EKEYREJECTED, "another cluster's CA");
	free(forged);
}

static int change(uint32_t id, uint64_t expected, uint32_t server, size_t nr, const uint32_t *in_sync)
{
	struct view *v = &views[id];

	v->change_expected = expected;
	v->change_server = server;
	v->change_nr = nr;
	memcpy(v->change_in_sync, in_sync, nr * sizeof(*in_sync));
	v->change = 1;
	WAIT(v->change == 2, 5000);
	return v->change_status;
}

/* Three nodes, three voters, all in sync, node 1 serves. */
static void three_in_sync(void)
{
	grow(3);
	WAIT(voters(1) == 3 && root_of(1).nr_members == 3, 8000);
	/* Nobody without a position is promoted; heartbeats take it along. */
	for (uint32_t id = 1; id <= 3; id++)
		views[id].lsn = 1;
	pause_ms(300);
	cr_assert_eq(change(1, 1, 1, 3, (uint32_t[]){ 1, 2, 3 }), 0);
	WAIT(root_of(2).epoch == 2 && root_of(3).epoch == 2, 1000);
}

Test(cluster, the_server_changes_its_filesystem_by_compare_and_swap)
{
	three_in_sync();
	cr_assert(views[1].lease, "and serves on");
	cr_assert_eq(change(1, 1, 1, 2, (uint32_t[]){ 1, 2 }), -EAGAIN, "an old epoch");
	cr_assert_eq(change(2, 2, 2, 2, (uint32_t[]){ 1, 2 }), -EAGAIN, "not the server");
	cr_assert_eq(change(1, 2, 1, 2, (uint32_t[]){ 1, 2 }), 0);
	cr_assert_eq(root_of(1).nr_in_sync, 2);
}

/* The stall a client sees at least: from the death to the next server's lease. */
static uint64_t stall_after_kill(uint32_t id)
{
	uint64_t died = now_ms();

	kill_node(id);
	WAIT(views[1].lease || views[2].lease || views[3].lease, 5000);
	return now_ms() - died;
}

Test(cluster, a_killed_server_is_replaced_by_an_in_sync_one)
{
	uint64_t stall;
	uint32_t second;

	three_in_sync();
	views[2].lsn = 10;
	views[3].lsn = 11;
	pause_ms(300);
	stall = stall_after_kill(1); /* the server, and the leader */
	cr_assert_lt(stall, 1900, "%d ms", (int)stall);
	cr_assert(views[3].lease && !views[2].lease, "the longest log");
	cr_assert_eq(root_of(3).epoch, 3);
	second = 3;
	WAIT(node_is(3, 1, NODE_DOWN), 2000);
	start_node(1);
	WAIT(node_is(3, 1, NODE_UP), 4000);
	WAIT(root_of(1).epoch == 3, 1000);
	cr_assert_eq(root_of(1).server, second);
	cr_assert(!views[1].lease);
	cr_assert_eq(root_of(1).nr_in_sync, 2);
	stall = stall_after_kill(3);
	cr_assert_lt(stall, 1900, "%d ms", (int)stall);
	cr_assert(views[2].lease, "the other in-sync one, node 1 is stale");
}

Test(cluster, a_stopped_server_loses_its_lease_before_another_gets_it)
{
	uint64_t end;

	three_in_sync();
	kill(views[1].pid, SIGSTOP);
	WAIT(views[2].lease || views[3].lease, 4000);
	kill(views[1].pid, SIGCONT);
	/* Woken up, it must see at once that it may not serve; its view was written before it was stopped. */
	pause_ms(30);
	for (end = now_ms() + 1000; now_ms() < end; pause_ms(1))
		cr_assert_not(views[1].lease);
	cr_assert_geq(views[1].nr_lost, 1);
	WAIT(root_of(1).server != 1, 2000);
}

Test(cluster, a_server_that_says_goodbye_is_replaced_at_once)
{
	uint64_t begin;

	three_in_sync();
	begin = now_ms();
	views[1].stop = 1;
	cr_assert_eq(wait_node(1), 0);
	WAIT(views[2].lease || views[3].lease, 1500);
	cr_assert_lt(now_ms() - begin, 1500);
	WAIT(node_is(2, 1, NODE_DOWN), 3000);
}

Test(cluster, two_dead_voters_of_three_stop_the_cluster_until_one_is_back)
{
	struct msg_status_rep *rep;

	three_in_sync();
	kill_node(2);
	kill_node(3);
	WAIT(!views[1].lease, 3000);
	cr_assert_eq(call(1, MSG_status, &(struct msg_status_req){}, (void **)&rep), 0);
	cr_assert_eq(rep->quorum, 0);
	free(rep);
	start_node(2);
	WAIT(views[1].lease, 5000);
}

static int remove_node(uint32_t as, uint32_t at, uint32_t id)
{
	return call_at(as, at, MSG_node_remove, &(struct msg_node_remove_req){ id }, NULL);
}

Test(cluster, a_removed_node_votes_no_more_and_is_refused_with_its_good_certificate)
{
	void *rep;

	three_in_sync();
	cr_assert_eq(remove_node(1, 2, 3), -EBUSY, "it is up");
	cr_assert_eq(remove_node(1, 2, 9), -ENOENT);
	cr_assert_eq(call_at(3, 1, MSG_status, &(struct msg_status_req){}, &rep), 0);
	free(rep);
	kill_node(3);
	WAIT(node_is(1, 3, NODE_DOWN), 3000);
	cr_assert_eq(remove_node(2, 2, 3), -EAGAIN, "in sync as far as the cluster knows");
	cr_assert_eq(change(1, 2, 1, 2, (uint32_t[]){ 1, 2 }), 0);
	cr_assert_eq(remove_node(2, 2, 3), 0);
	cr_assert_eq(remove_node(1, 1, 3), 0, "it is done");
	WAIT(see(1).nr_nodes == 2 && root_of(1).nr_members == 2, 1000);
	WAIT(voters(1) == 1 && voters(2) == 1, 5000);
	cr_assert_eq(call_at(3, 1, MSG_status, &(struct msg_status_req){}, &rep), -EKEYREVOKED);
	/* It comes back, does not know, and disturbs nobody. */
	start_node(3);
	for (uint64_t end = now_ms() + 1500; now_ms() < end; pause_ms(2))
		cr_assert(views[1].lease);
	cr_assert_eq(see(1).nr_nodes, 2);
	cr_assert_eq(call_at(3, 2, MSG_status, &(struct msg_status_req){}, &rep), -EKEYREVOKED);
	kill_node(2);
	pause_ms(1000);
	cr_assert(views[1].lease, "one voter is left, and it is enough");
}

Test(cluster, a_connection_of_a_removed_node_is_closed)
{
	char token[512];

	make_token(1, token, sizeof(token));
	cr_assert_eq(join(2, 1, token), 0);
	/* It never came up, so it may go at once; then it starts. */
	cr_assert_eq(remove_node(1, 1, 2), 0);
	start_node(2);
	pause_ms(1000);
	cr_assert_eq(see(1).nr_nodes, 1);
	make_token(1, token, sizeof(token));
	cr_assert_eq(join(3, 1, token), 0);
	cr_assert_eq(see(1).nodes[1].id, 3, "ids are not used again");
}

Test(cluster, what_only_the_leader_decides_cannot_be_proposed)
{
	const struct cmd_node_add add = { .node_name = "sneaky", .host = "127.0.0.1", .port = 1 };
	const struct cmd_node_set_voter vote = { 2, 1 };
	struct cmd_fs_change force = { .fs = 1, .expected = 1, .server = 2, .in_sync = { 1, { 2 } }, .force = 1 };
	const struct {
		enum config_cmd type;
		const void *cmd;
	} bad[] = { { CMD_node_add, &add }, { CMD_node_set_voter, &vote }, { CMD_fs_change, &force } };

	grow(2);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct wire_writer w;
		struct msg_propose_req req;

		wire_writer_init(&w);
		cr_assert_eq(config_cmd_encode(&w, bad[i].type, bad[i].cmd), 0);
		req.command = (struct wire_blob){ w.buf, (uint32_t)w.len };
		cr_assert_eq(call_as_node(2, 1, MSG_propose, &req), -EPERM, "%zu", i);
		wire_writer_release(&w);
	}
	cr_assert_eq(see(1).nr_nodes, 2);
	cr_assert_eq(root_of(1).epoch, 1);
}

Test(cluster, a_used_port_and_a_missing_state_are_told)
{
	start_node(2);
	cr_assert_neq(wait_node(2), 0);
	cr_assert_eq(views[2].start_status, -ENOENT);
	start_node(1); /* once more */
	views[1].pid = 0;
	WAIT(views[1].start_status < 0, 3000);
}
