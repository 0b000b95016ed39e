/* The configuration: its bytes, and the commands that change it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/config.h"

static uint64_t next_index = 10;

static int apply(struct config *c, enum config_cmd type, const void *cmd)
{
	struct wire_writer w;
	int r;

	wire_writer_init(&w);
	cr_assert_eq(config_cmd_encode(&w, type, cmd), 0);
	r = config_apply(c, w.buf, w.len, next_index++);
	wire_writer_release(&w);
	return r;
}
#define APPLY(c, name, ...) apply(c, CMD_##name, &(struct cmd_##name){ __VA_ARGS__ })

static struct wire_blob sha(uint8_t fill)
{
	static uint8_t bytes[256][32];

	memset(bytes[fill], fill, sizeof(bytes[fill]));
	return (struct wire_blob){ bytes[fill], 32 };
}

/* Nodes 1..NR, all UP, root filesystem on node 1 with all of them as members and in sync. */
static struct config make(uint32_t nr)
{
	struct config c = { .cluster_id = 77, .name = "test", .next_node_id = 1 };
	struct wire_u32s all = { 0 };

	for (uint32_t i = 1; i <= nr; i++) {
		char name[] = { 'n', (char)('0' + i), 0 };

		cr_assert_eq(APPLY(&c, node_add, .node_name = name, .host = "10.0.0.1", .port = 7480), (int)i);
		cr_assert_eq(APPLY(&c, node_set_state, i, NODE_COMINGUP), 0);
		cr_assert_eq(APPLY(&c, node_set_state, i, NODE_UP), 0);
		all.v[all.n++] = i;
	}
	cr_assert_eq(APPLY(&c, fs_create, .fs_name = "root", .path = "/", .server = 1), 1);
	cr_assert_eq(APPLY(&c, fs_set_members, .fs = 1, .expected = 1, .members = all), 0);
	cr_assert_eq(APPLY(&c, fs_change, .fs = 1, .expected = 1, .server = 1, .in_sync = all), 0);
	return c;
}

Test(config, bytes_round_trip_and_every_truncation_is_refused)
{
	struct config c = make(3), d = { 0 };
	void *buf, *again;
	size_t len, len2;

	cr_assert_eq(APPLY(&c, token_add, .sha256 = sha(1), .expires = 50, .now = 1), 0);
	cr_assert_eq(config_encode(&c, &buf, &len), 0);
	for (size_t i = 0; i < len; i++)
		cr_assert_eq(config_decode(buf, i, &d), -EBADMSG, "%zu of %zu bytes", i, len);
	cr_assert_eq(d.cluster_id, 0, "written only on success");
	cr_assert_eq(config_decode(buf, len, &d), 0);
	cr_assert_eq(config_encode(&d, &again, &len2), 0);
	cr_assert_eq(len2, len);
	cr_assert_eq(memcmp(buf, again, len), 0);
	cr_assert_str_eq(d.nodes[2].name, "n3");
	cr_assert_eq(d.fs[0].epoch, 2);
	buf = realloc(buf, len + 1);
	cr_assert_eq(config_decode(buf, len + 1, &d), -EBADMSG, "trailing bytes");
	((uint8_t *)buf)[0] = 3;
	cr_assert_eq(config_decode(buf, len, &d), -EPROTONOSUPPORT, "a newer format");
	free(buf);
	free(again);
}

Test(config, lookups)
{
	struct config c = make(2);

	cr_assert_eq(config_node_by_id(&c, 2), &c.nodes[1]);
	cr_assert_null(config_node_by_id(&c, 3));
	cr_assert_eq(config_node_by_name(&c, "n1"), &c.nodes[0]);
	cr_assert_null(config_node_by_name(&c, "n"));
	cr_assert_eq(config_fs_by_name(&c, "root"), config_fs_by_id(&c, 1));
	cr_assert_null(config_fs_by_id(&c, 2));
	cr_assert(config_fs_in_sync(&c.fs[0], 2));
	cr_assert_not(config_fs_is_member(&c.fs[0], 3));
	cr_assert_str_eq(node_state_name(NODE_KCLEANUP), "KCLEANUP");
	cr_assert_str_eq(node_state_name((enum node_state)99), "UNKNOWN");
}

Test(config, ids_are_sorted_without_doubles)
{
	uint32_t ids[4];
	size_t n = 9;

	cr_assert_eq(config_ids_set(ids, &n, 4, (uint32_t[]){ 5, 1, 5, 3 }, 4), 0);
	cr_assert_eq(n, 3);
	cr_assert(ids[0] == 1 && ids[1] == 3 && ids[2] == 5);
	cr_assert_eq(config_ids_set(ids, &n, 2, (uint32_t[]){ 1, 2, 3 }, 3), -E2BIG);
	cr_assert_eq(n, 3);
}

Test(config, bootstrap_once)
{
	struct config c = make(1), d = { 0 };
	struct cmd_bootstrap cmd;
	void *buf;
	size_t len;

	cr_assert_eq(config_encode(&c, &buf, &len), 0);
	cmd.config = (struct wire_blob){ buf, (uint32_t)len };
	cr_assert_eq(apply(&d, CMD_bootstrap, &cmd), 0);
	cr_assert_eq(d.cluster_id, 77);
	cr_assert_eq(d.version, next_index - 1);
	cr_assert_eq(apply(&d, CMD_bootstrap, &cmd), -EEXIST);
	free(buf);
}

Test(config, node_names_and_addresses_are_checked)
{
	struct config c = make(1);
	char longname[CONFIG_NAME_MAX + 1];

	memset(longname, 'x', sizeof(longname) - 1);
	longname[sizeof(longname) - 1] = 0;
	cr_assert_eq(APPLY(&c, node_add, .node_name = "n1", .host = "h", .port = 1), -EEXIST);
	cr_assert_eq(APPLY(&c, node_add, .node_name = "", .host = "h", .port = 1), -EINVAL);
	cr_assert_eq(APPLY(&c, node_add, .node_name = "a b", .host = "h", .port = 1), -EINVAL);
	cr_assert_eq(APPLY(&c, node_add, .node_name = "a/b", .host = "h", .port = 1), -EINVAL);
	cr_assert_eq(APPLY(&c, node_add, .node_name = "..", .host = "h", .port = 1), -EINVAL);
	cr_assert_eq(APPLY(&c, node_add, .node_name = longname, .host = "h", .port = 1), -EINVAL);
	cr_assert_eq(APPLY(&c, node_add, .node_name = "b", .host = "", .port = 1), -EINVAL);
	cr_assert_eq(APPLY(&c, node_add, .node_name = "b", .host = "h", .port = 0), -EINVAL);
	cr_assert_eq(APPLY(&c, node_set_address, 1, "10.1.1.1", 99), 0);
	cr_assert_str_eq(c.nodes[0].host, "10.1.1.1");
	cr_assert_eq(c.nodes[0].port, 99);
	cr_assert_eq(APPLY(&c, node_set_address, 5, "10.1.1.1", 99), -ENOENT);
	cr_assert_eq(APPLY(&c, node_set_voter, 1, 1), 0);
	cr_assert(c.nodes[0].voter);
	cr_assert_eq(APPLY(&c, node_set_voter, 9, 1), -ENOENT);
}

Test(config, a_node_that_never_came_up_may_join_again_under_a_new_id)
{
	struct config c = make(1);

	cr_assert_eq(APPLY(&c, node_add, .node_name = "b", .host = "h", .port = 1), 2);
	cr_assert_eq(APPLY(&c, node_add, .node_name = "b", .host = "i", .port = 1), 3);
	cr_assert_eq(c.nr_nodes, 2);
	cr_assert_null(config_node_by_id(&c, 2));
	cr_assert_str_eq(config_node_by_name(&c, "b")->host, "i");
}

Test(config, cluster_full)
{
	struct config c = make(1);

	for (int i = 1; i < CONFIG_NODES_MAX; i++) {
		char name[16];

		snprintf(name, sizeof(name), "m%d", i);
		cr_assert_gt(APPLY(&c, node_add, .node_name = name, .host = "h", .port = 1), 0);
	}
	cr_assert_eq(APPLY(&c, node_add, .node_name = "more", .host = "h", .port = 1), -ENOSPC);
}

Test(config, only_the_legal_changes_of_node_state)
{
	/* from -> to, by OpenSSI; everything else is refused */
	static const char legal[8][8] = {
		[NODE_NEVERUP][NODE_COMINGUP] = 1, [NODE_COMINGUP][NODE_UP] = 1,
		[NODE_COMINGUP][NODE_KCLEANUP] = 1, [NODE_UP][NODE_SHUTDOWN] = 1,
		[NODE_UP][NODE_GOINGDOWN] = 1,	    [NODE_UP][NODE_KCLEANUP] = 1,
		[NODE_SHUTDOWN][NODE_UP] = 1,	    [NODE_SHUTDOWN][NODE_GOINGDOWN] = 1,
		[NODE_SHUTDOWN][NODE_KCLEANUP] = 1, [NODE_GOINGDOWN][NODE_KCLEANUP] = 1,
		[NODE_KCLEANUP][NODE_UCLEANUP] = 1, [NODE_UCLEANUP][NODE_DOWN] = 1,
		[NODE_DOWN][NODE_COMINGUP] = 1,
	};
	struct config c = make(1);

	for (uint8_t from = 0; from < 9; from++)
		for (uint8_t to = 0; to < 9; to++) {
			bool ok = from < 8 && to < 8 && legal[from][to];

			c.nodes[0].state = from;
			cr_assert_eq(APPLY(&c, node_set_state, 1, to), ok ? 0 : -EINVAL, "%u -> %u", from, to);
			cr_assert_eq(c.nodes[0].state, ok ? to : from);
		}
	cr_assert_eq(APPLY(&c, node_set_state, 4, NODE_UP), -ENOENT);
}

Test(config, filesystems_have_their_own_name_and_place)
{
	struct config c = make(2);

	cr_assert_eq(APPLY(&c, fs_create, .fs_name = "root", .path = "/x", .server = 1), -EEXIST);
	cr_assert_eq(APPLY(&c, fs_create, .fs_name = "x", .path = "/", .server = 1), -EEXIST);
	cr_assert_eq(APPLY(&c, fs_create, .fs_name = "x", .path = "x", .server = 1), -EINVAL);
	cr_assert_eq(APPLY(&c, fs_create, .fs_name = "x", .path = "/x", .server = 9), -ENOENT);
	cr_assert_eq(APPLY(&c, fs_create, .fs_name = "x", .path = "/x", .server = 2), 2);
	cr_assert_eq(c.fs[1].epoch, 1);
	cr_assert(config_fs_in_sync(&c.fs[1], 2));
	for (int i = 2; i < CONFIG_FS_MAX; i++) {
		char path[16];

		snprintf(path, sizeof(path), "/f%d", i);
		cr_assert_gt(APPLY(&c, fs_create, .fs_name = path + 1, .path = path, .server = 1), 0);
	}
	cr_assert_eq(APPLY(&c, fs_create, .fs_name = "more", .path = "/more", .server = 1), -ENOSPC);
}

Test(config, fs_change_is_a_compare_and_swap)
{
	struct config c = make(3);
	uint64_t version = c.version;
	struct wire_u32s one_two = { 2, { 2, 1 } }, three = { 1, { 3 } }, four = { 2, { 1, 4 } }, none = { 0 };

	cr_assert_eq(APPLY(&c, fs_change, 1, 1, 1, one_two, 0), -EAGAIN, "an old epoch");
	cr_assert_eq(APPLY(&c, fs_change, 1, 3, 1, one_two, 0), -EAGAIN, "a later epoch");
	cr_assert_eq(APPLY(&c, fs_change, 2, 2, 1, one_two, 0), -ENOENT);
	cr_assert_eq(APPLY(&c, fs_change, 1, 2, 1, four, 0), -EINVAL, "not a member");
	cr_assert_eq(APPLY(&c, fs_change, 1, 2, 1, three, 0), -EINVAL, "the server must be in sync");
	cr_assert_eq(APPLY(&c, fs_change, 1, 2, 1, none, 0), -EINVAL);
	cr_assert_eq(c.version, version, "a refused command changes nothing");
	cr_assert_eq(APPLY(&c, fs_change, 1, 2, 2, one_two, 0), 0);
	cr_assert_eq(c.version, next_index - 1);
	cr_assert_eq(c.fs[0].epoch, 3);
	cr_assert_eq(c.fs[0].server, 2);
	cr_assert_eq(c.fs[0].nr_in_sync, 2);
	cr_assert_eq(c.fs[0].in_sync[0], 1, "sorted");
}

Test(config, a_stale_member_is_promoted_by_force_only)
{
	struct config c = make(3);
	struct wire_u32s one_two = { 2, { 1, 2 } }, three = { 1, { 3 } };

	cr_assert_eq(APPLY(&c, fs_change, 1, 2, 1, one_two, 0), 0);
	cr_assert_eq(APPLY(&c, fs_change, 1, 3, 3, three, 0), -EINVAL);
	cr_assert_eq(APPLY(&c, fs_change, 1, 3, 3, three, 1), 0);
	cr_assert_eq(c.fs[0].server, 3);
}

Test(config, members_keep_the_in_sync_ones_and_the_epoch)
{
	struct config c = make(3);
	struct wire_u32s two = { 2, { 1, 2 } }, three = { 3, { 3, 2, 1 } }, unknown = { 4, { 1, 2, 3, 9 } };

	cr_assert_eq(APPLY(&c, fs_set_members, 1, 2, two), -EINVAL, "3 is in sync");
	cr_assert_eq(APPLY(&c, fs_set_members, 1, 1, three), -EAGAIN);
	cr_assert_eq(APPLY(&c, fs_set_members, 7, 1, three), -ENOENT);
	cr_assert_eq(APPLY(&c, fs_set_members, 1, 2, unknown), -ENOENT);
	cr_assert_eq(APPLY(&c, fs_change, 1, 2, 1, two, 0), 0);
	cr_assert_eq(APPLY(&c, fs_set_members, 1, 3, two), 0);
	cr_assert_eq(c.fs[0].nr_members, 2);
	cr_assert_eq(c.fs[0].epoch, 3);
}

Test(config, a_token_is_good_once_and_for_its_time)
{
	struct config c = make(1);

	cr_assert_eq(APPLY(&c, token_add, sha(1), 100, 100), -EINVAL, "expired when made");
	cr_assert_eq(APPLY(&c, token_add, (struct wire_blob){ "x", 1 }, 100, 1), -EINVAL);
	cr_assert_eq(APPLY(&c, token_add, sha(1), 100, 10), 0);
	cr_assert_eq(APPLY(&c, token_add, sha(2), 100, 10), 0);
	cr_assert_eq(APPLY(&c, token_use, sha(3), 20), -EKEYREJECTED);
	cr_assert_eq(config_token_check(&c, sha(3).p, sha(90).p, 20), -EKEYREJECTED);
	cr_assert_eq(config_token_check(&c, sha(1).p, sha(90).p, 100), -EKEYEXPIRED);
	cr_assert_eq(config_token_check(&c, sha(1).p, sha(90).p, 99), 0);
	cr_assert_eq(APPLY(&c, token_use, (struct wire_blob){ "x", 1 }, 20), -EKEYREJECTED);
	cr_assert_eq(APPLY(&c, token_use, sha(1), 100), -EKEYEXPIRED, "too late");
	cr_assert_eq(APPLY(&c, token_use, sha(1), 99), 0);
	cr_assert_eq(APPLY(&c, token_use, sha(1), 99), -EKEYEXPIRED, "a second time");
	cr_assert_eq(APPLY(&c, node_add, "n2", "h", 1, sha(1), 50), -EKEYEXPIRED);
	cr_assert_eq(APPLY(&c, node_add, "n2", "h", 1, sha(9), 50), -EKEYREJECTED);
	cr_assert_eq(APPLY(&c, node_add, "n1", "h", 1, sha(2), 50), -EEXIST);
	cr_assert_eq(APPLY(&c, node_add, "n2", "h", 1, sha(2), 50), 2, "a refused join leaves the token good");
	cr_assert_eq(APPLY(&c, node_add, "n3", "h", 1, sha(2), 50), -EKEYEXPIRED);
}

static int join_as(struct config *c, const char *name, uint8_t token, uint8_t key, uint64_t now)
{
	return APPLY(c, node_join, name, "h", 1, sha(token), sha(key), now);
}

Test(config, who_joined_with_a_token_may_ask_for_the_answer_again_and_nobody_else)
{
	struct config c = make(1);

	cr_assert_eq(APPLY(&c, token_add, sha(1), 100, 10), 0);
	cr_assert_eq(APPLY(&c, node_join, "n2", "h", 1, sha(1), (struct wire_blob){ "x", 1 }, 20), -EINVAL, "no key");
	cr_assert_eq(join_as(&c, "n1", 1, 90, 20), -EEXIST, "and the token is still good");
	cr_assert_eq(join_as(&c, "n2", 1, 90, 20), 2);
	cr_assert_eq(join_as(&c, "n2", 1, 90, 21), 2, "the same again");
	cr_assert_eq(config_token_check(&c, sha(1).p, sha(90).p, 21), 0);
	cr_assert_eq(join_as(&c, "n2", 1, 91, 21), -EKEYEXPIRED, "another key");
	cr_assert_eq(config_token_check(&c, sha(1).p, sha(91).p, 21), -EKEYEXPIRED);
	cr_assert_eq(join_as(&c, "n3", 1, 90, 22), 2, "under another name");
	cr_assert_null(config_node_by_name(&c, "n2"));
	cr_assert_str_eq(config_node_by_id(&c, 2)->name, "n3");
	cr_assert_eq(join_as(&c, "n1", 1, 90, 22), -EEXIST);
	cr_assert_eq(join_as(&c, "n3", 1, 90, 100), -EKEYEXPIRED, "too late");
	cr_assert_eq(c.nr_nodes, 2);
	cr_assert_eq(APPLY(&c, node_set_state, 2, NODE_COMINGUP), 0);
	cr_assert_eq(join_as(&c, "n3", 1, 90, 22), -EKEYEXPIRED, "it is there: this is another one with its key");
}

Test(config, an_address_belongs_to_one_node)
{
	struct config c = make(1);

	cr_assert_eq(APPLY(&c, token_add, sha(1), 100, 10), 0);
	cr_assert_eq(APPLY(&c, node_join, "n2", "10.0.0.1", 7480, sha(1), sha(90), 20), -EADDRINUSE);
	cr_assert_eq(APPLY(&c, node_join, "n2", "10.0.0.1", 7490, sha(1), sha(90), 20), 2);
	cr_assert_eq(APPLY(&c, token_add, sha(2), 100, 10), 0);
	cr_assert_eq(APPLY(&c, node_join, "n3", "10.0.0.1", 7490, sha(2), sha(91), 20), 3, "n2 never came up");
}

Test(config, a_join_of_a_name_that_another_join_has_taken_meanwhile)
{
	struct config c = make(1);

	cr_assert_eq(APPLY(&c, token_add, sha(1), 100, 10), 0);
	cr_assert_eq(APPLY(&c, token_add, sha(2), 100, 10), 0);
	cr_assert_eq(join_as(&c, "n2", 1, 90, 20), 2);
	cr_assert_eq(join_as(&c, "n2", 2, 91, 20), 3, "the first never came up");
	cr_assert_eq(join_as(&c, "n2", 1, 90, 20), -EKEYEXPIRED);
	cr_assert(config_node_was_removed(&c, 2), "and its certificate is void");
}

Test(config, a_token_proposed_twice_is_good_once)
{
	struct config c = make(1);

	cr_assert_eq(APPLY(&c, token_add, sha(1), 100, 10), 0);
	cr_assert_eq(APPLY(&c, token_add, sha(1), 100, 10), 0);
	cr_assert_eq(c.nr_tokens, 1);
	cr_assert_eq(join_as(&c, "n2", 1, 90, 20), 2);
	cr_assert_eq(APPLY(&c, token_add, sha(1), 100, 10), 0);
	cr_assert_eq(join_as(&c, "n3", 1, 91, 20), -EKEYEXPIRED);
}

Test(config, what_an_older_version_wrote_can_be_read)
{
	struct config c = make(2), d;
	void *buf;
	size_t len, extra = sizeof(uint32_t) + sizeof(uint32_t) + 32;

	cr_assert_eq(APPLY(&c, token_add, sha(1), 50, 1), 0);
	cr_assert_eq(config_encode(&c, &buf, &len), 0);
	/* Format 1 ends after the last token's flag. */
	((uint8_t *)buf)[0] = 1;
	cr_assert_eq(config_decode(buf, len, &d), -EBADMSG);
	cr_assert_eq(config_decode(buf, len - extra, &d), 0);
	cr_assert(d.nr_tokens == 1 && d.tokens[0].expires == 50 && !d.tokens[0].node);
	free(buf);
}

/* ---- nodes that go for good ---- */

static void down(struct config *c, uint32_t id)
{
	cr_assert_eq(APPLY(c, node_set_state, id, NODE_KCLEANUP), 0);
	cr_assert_eq(APPLY(c, node_set_state, id, NODE_UCLEANUP), 0);
	cr_assert_eq(APPLY(c, node_set_state, id, NODE_DOWN), 0);
}

Test(config, a_node_that_is_down_is_removed_and_known_to_be_gone)
{
	struct config c = make(3), before;
	struct wire_u32s one_two = { 2, { 1, 2 } };

	cr_assert_eq(APPLY(&c, node_remove, 9), -ENOENT);
	cr_assert_eq(APPLY(&c, node_remove, 3), -EBUSY, "it is up");
	down(&c, 3);
	before = c;
	cr_assert_eq(APPLY(&c, node_remove, 3), -EAGAIN, "it counts as in sync");
	cr_assert(!memcmp(&before, &c, sizeof(c)), "a refusal changes nothing");
	cr_assert_eq(APPLY(&c, fs_change, 1, 2, 1, one_two, 0), 0);
	cr_assert_eq(APPLY(&c, node_remove, 3), 0);
	cr_assert_null(config_node_by_id(&c, 3));
	cr_assert_eq(c.nr_nodes, 2);
	cr_assert_not(config_fs_is_member(&c.fs[0], 3));
	cr_assert_eq(c.fs[0].epoch, 3, "members are not of the epoch");
	cr_assert_eq(APPLY(&c, node_remove, 3), 0, "done already");
	cr_assert(config_node_was_removed(&c, 3));
	cr_assert_not(config_node_was_removed(&c, 2));
	cr_assert_not(config_node_was_removed(&c, 4), "not given out yet, as far as this configuration knows");
	cr_assert_not(config_node_was_removed(&c, 0));
	cr_assert_eq(APPLY(&c, node_add, .node_name = "n3", .host = "h", .port = 1), 4, "a new number for an old name");
}

Test(config, the_last_copy_is_not_removed)
{
	struct config c = make(2);
	struct wire_u32s one = { 1, { 1 } };

	cr_assert_eq(APPLY(&c, fs_create, .fs_name = "x", .path = "/x", .server = 1), 2);
	down(&c, 1);
	cr_assert_eq(APPLY(&c, node_remove, 1), -ENOTEMPTY, "root could be taken over, x not");
	cr_assert_eq(APPLY(&c, fs_change, 1, 2, 1, one, 0), 0);
	cr_assert_eq(APPLY(&c, node_remove, 1), -ENOTEMPTY);
	cr_assert_eq(c.nr_nodes, 2);
}

Test(config, a_join_that_was_never_finished_can_be_removed)
{
	struct config c = make(2);

	cr_assert_eq(APPLY(&c, node_add, .node_name = "n3", .host = "h", .port = 1), 3);
	cr_assert_eq(APPLY(&c, node_add, .node_name = "n4", .host = "h", .port = 1), 4);
	cr_assert_eq(APPLY(&c, node_remove, 3), 0);
	cr_assert_eq(c.nr_nodes, 3);
	cr_assert_str_eq(c.nodes[2].name, "n4");
}

Test(config, old_tokens_are_forgotten_and_the_table_has_a_limit)
{
	struct config c = make(1);

	cr_assert_eq(APPLY(&c, token_add, sha(200), 5, 1), 0);
	for (uint8_t i = 0; i < CONFIG_TOKENS_MAX; i++)
		cr_assert_eq(APPLY(&c, token_add, sha(i), 1000u + i, 1), 0);
	cr_assert_eq(c.nr_tokens, CONFIG_TOKENS_MAX);
	cr_assert_eq(APPLY(&c, token_use, sha(200), 2), -EKEYREJECTED, "made room: it would have ended first");
	cr_assert_eq(APPLY(&c, token_use, sha(0), 2), 0);
	cr_assert_eq(APPLY(&c, token_add, sha(201), 200000, 100000), 0);
	cr_assert_eq(c.nr_tokens, 1, "a day after their end all others are gone");
}

Test(config, torn_and_unknown_commands_change_nothing)
{
	struct config c = make(2), before = c;
	struct cmd_fs_change cmd = { .fs = 1, .expected = 2, .server = 2, .in_sync = { 1, { 2 } } };
	struct wire_writer w;

	wire_writer_init(&w);
	cr_assert_eq(config_cmd_encode(&w, CMD_fs_change, &cmd), 0);
	for (size_t i = 0; i < w.len; i++)
		cr_assert_eq(config_apply(&c, w.buf, i, 99), -EBADMSG);
	wire_reserve(&w, 1);
	w.buf[w.len - 1] = 0;
	cr_assert_eq(config_apply(&c, w.buf, w.len, 99), -EBADMSG, "trailing byte");
	w.buf[0] = 200;
	cr_assert_eq(config_apply(&c, w.buf, w.len - 1, 99), -EBADMSG, "unknown command");
	cr_assert_eq(c.version, before.version);
	cr_assert_eq(c.fs[0].epoch, before.fs[0].epoch);
	cr_assert_eq(config_cmd_decode(w.buf, w.len - 1, CMD_fs_change, &cmd), -EBADMSG);
	wire_writer_release(&w);
}
