/* The state directory: made once, read by everybody, refused when it is not ours to use. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster/raft_core.h"
#include "cluster/raft_store.h"
#include "cluster/state_dir.h"
#include "wire/tls.h"

static char dir[64], sub[128];

static void make_dir(void)
{
	strcpy(dir, "/tmp/cfs-state-XXXXXX");
	cr_assert(mkdtemp(dir));
	snprintf(sub, sizeof(sub), "%s/state", dir);
}

static void remove_dir(void)
{
	char cmd[96];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	cr_assert_eq(system(cmd), 0);
}

static struct node_identity first = { .id = 1, .cluster_name = "lab", .name = "node1", .host = "10.0.0.1", .port = 7480 };

static void write_text(const char *name, const char *text)
{
	char path[192];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", sub, name);
	f = fopen(path, "w");
	cr_assert(f);
	fputs(text, f);
	fclose(f);
}

Test(state_dir, init_makes_a_node_that_can_start, .init = make_dir, .fini = remove_dir)
{
	struct node_identity id = first, got;
	struct config c;
	struct raft_store *st;
	const struct raft_core_disk *disk;
	struct raft_actions a;
	struct raft_core *core;
	struct tls_identity *tls;
	char path[192];

	cr_assert_eq(node_identity_load(sub, &got), -ENOENT);
	cr_assert_eq(state_dir_init(sub, &id), 0);
	cr_assert_neq(id.cluster_id, 0);
	cr_assert_eq(node_identity_load(sub, &got), 0);
	cr_assert_eq(got.cluster_id, id.cluster_id);
	cr_assert_eq(got.id, 1);
	cr_assert_eq(got.port, 7480);
	cr_assert_str_eq(got.name, "node1");
	cr_assert_str_eq(got.host, "10.0.0.1");
	cr_assert_str_eq(got.cluster_name, "lab");
	cr_assert_eq(config_file_load(sub, &c), 0);
	cr_assert_eq(c.fs[0].server, 1);
	cr_assert_eq(c.nodes[0].state, NODE_NEVERUP);
	snprintf(path, sizeof(path), "%s/tls", sub);
	cr_assert_eq(tls_identity_load(path, &tls), 0);
	tls_identity_free(tls);
	snprintf(path, sizeof(path), "%s/cluster", sub);
	cr_assert_eq(raft_store_open(path, &st), 0);
	cr_assert_eq(raft_store_load(st, &disk), 0);
	raft_actions_init(&a);
	cr_assert_eq(raft_core_new(&(struct raft_core_conf){ .id = 1, .election_ms = 200, .heartbeat_ms = 40 }, 0, disk, &a, &core), 0);
	cr_assert(raft_core_is_leader(core), "alone, it leads at once");
	cr_assert_eq(raft_core_applied(core), 2);
	c = (struct config){ 0 };
	for (size_t i = 0; i < a.nr; i++)
		if (a.v[i].kind == RAFT_ACT_APPLY)
			cr_assert_eq(config_apply(&c, a.v[i].data, a.v[i].len, a.v[i].index), 0);
	cr_assert_eq(c.cluster_id, id.cluster_id);
	raft_actions_release(&a);
	raft_core_free(core);
	raft_store_close(st);
}

Test(state_dir, a_second_init_is_refused_and_changes_nothing, .init = make_dir, .fini = remove_dir)
{
	struct node_identity id = first, again = first, got;

	cr_assert_eq(state_dir_is_free(sub), 0);
	cr_assert_eq(state_dir_init(sub, &id), 0);
	cr_assert_eq(state_dir_is_free(sub), -EEXIST);
	cr_assert_eq(state_dir_init(sub, &again), -EEXIST);
	cr_assert_eq(node_identity_load(sub, &got), 0);
	cr_assert_eq(got.cluster_id, id.cluster_id);
}

Test(state_dir, newer_and_damaged_identities, .init = make_dir, .fini = remove_dir)
{
	struct node_identity id = first;

	cr_assert_eq(mkdir(sub, 0755), 0);
	write_text("node", "{\"format\":2}");
	cr_assert_eq(node_identity_load(sub, &id), -EPROTONOSUPPORT);
	cr_assert_eq(state_dir_init(sub, &id), -EPROTONOSUPPORT);
	write_text("node", "{\"format\":1,\"id\":1}");
	cr_assert_eq(node_identity_load(sub, &id), -EBADMSG);
	write_text("node", "nonsense");
	cr_assert_eq(node_identity_load(sub, &id), -EBADMSG);
	cr_assert_eq(state_dir_init(sub, &id), -EEXIST, "whatever it is, it is in use");
	write_text("config", "xx");
	struct config c;
	cr_assert_eq(config_file_load(sub, &c), -EBADMSG);
}

Test(state_dir, the_environment_chooses)
{
	unsetenv("CFS_STATE_DIR");
	cr_assert_str_eq(state_dir_choose(NULL), "/var/lib/cfs");
	setenv("CFS_STATE_DIR", "/x", 1);
	cr_assert_str_eq(state_dir_choose(NULL), "/x");
	cr_assert_str_eq(state_dir_choose("/y"), "/y");
}
