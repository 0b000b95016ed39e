/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "procfs-cluster/tree.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/cpid.h"

Test(tree, inode_numbers_say_everything)
{
	for (unsigned id = 0; id < TREE_NR; id++)
		for (int plain = 0; plain < 2; plain++) {
			struct tree_node n = { id, plain, cpid_make(CPID_NODE_MAX, CPID_PID_MAX - 1), TREE_NUMBER_MAX }, got;
			uint64_t ino = tree_ino(&n);

			cr_assert(ino >> 63);
			cr_assert_eq(tree_node_of(ino, &got), 0);
			cr_assert(got.id == n.id && got.plain == n.plain && got.cpid == n.cpid && got.number == n.number);
			n = (struct tree_node){ id, plain, 0, 0 };
			cr_assert_eq(tree_node_of(tree_ino(&n), &got), 0);
			cr_assert(got.id == n.id && got.plain == n.plain && !got.cpid && !got.number);
		}
}

Test(tree, foreign_inode_numbers_are_stale)
{
	struct tree_node n = { TREE_PID, false, 5, 0 };

	cr_assert_eq(tree_node_of(1, &n), -ESTALE);
	cr_assert_eq(tree_node_of(UINT64_C(1) << 63 | UINT64_C(127) << 24, &n), TREE_NR == 128 ? 0 : -ESTALE);
	cr_assert_eq(n.cpid, 5u);
}

Test(tree, rows_are_sound)
{
	for (unsigned id = 0; id < TREE_NR; id++) {
		const struct tree_entry *e = tree_entry(id);

		cr_expect_eq(e->id, id);
		cr_expect(S_ISDIR(tree_entry(e->parent)->mode), "%s", e->name);
		cr_expect(S_ISDIR(e->mode) || e->show, "%s has no content", e->name);
		cr_expect(S_ISDIR(e->mode) || S_ISREG(e->mode) || S_ISLNK(e->mode), "%s", e->name);
		if (id != TREE_ROOT && e->name[0] != '#' && e->name[0] != '@')
			cr_expect_eq(tree_child(e->parent, e->name), e, "%s is there twice", e->name);
	}
}

Test(tree, names)
{
	cr_assert_eq(tree_child(TREE_ROOT, "stat")->id, TREE_C_stat);
	cr_assert_eq(tree_child(TREE_PID, "stat")->id, TREE_P_stat);
	cr_assert_eq(tree_child(TREE_PID, "fd")->mode, (mode_t)(S_IFDIR | 0500));
	cr_assert_eq(tree_child(TREE_PID, "exe")->mode, (mode_t)(S_IFLNK | 0777));
	cr_assert_eq(tree_child(TREE_PID, "environ")->mode, (mode_t)(S_IFREG | 0400));
	cr_assert_null(tree_child(TREE_PID, "#"));
	cr_assert_null(tree_child(TREE_PID, "ctty"));
	cr_assert_null(tree_child(TREE_ROOT, ""));
	cr_assert_eq(tree_child_of_kind(TREE_ROOT, '#')->id, TREE_PID);
	cr_assert_eq(tree_child_of_kind(TREE_P_task, '#')->id, TREE_TID);
	cr_assert_eq(tree_child_of_kind(TREE_NODES, '@')->id, TREE_NODE);
	cr_assert_null(tree_child_of_kind(TREE_PID, '#'));
}

Test(tree, listing_has_every_fixed_name_once)
{
	size_t n = 0;
	bool goto_seen = false;

	for (const struct tree_entry *e; (e = tree_child_at(TREE_PID, n)); n++) {
		cr_assert_eq(e->parent, TREE_PID);
		goto_seen |= !strcmp(e->name, "goto");
	}
	cr_assert(goto_seen);
	cr_assert_eq(n, (size_t)PROC_FILE_NR + 5);
	cr_assert_null(tree_child_at(TREE_P_fd, 0));
}

Test(tree, what_belongs_to_processes)
{
	cr_assert(tree_is_process(TREE_PID));
	cr_assert(tree_is_process(TREE_GOTO));
	cr_assert(tree_is_process(TREE_T_stat));
	cr_assert(tree_is_process(TREE_FD_LINK));
	cr_assert(!tree_is_process(TREE_ROOT));
	cr_assert(!tree_is_process(TREE_N_stat));
	cr_assert(!tree_is_process(TREE_SELF));
}

Test(tree, numbers)
{
	static const char *const bad[] = { "", "a", "1a", "-1", "+1", " 1", "01", "00", "4294967296", "99999999999999999999" };
	uint32_t n = 7;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_expect_eq(tree_number(bad[i], &n), -ENOENT, "%s", bad[i]);
	cr_assert_eq(n, 7u);
	cr_assert(!tree_number("0", &n) && n == 0);
	cr_assert(!tree_number("4294967295", &n) && n == UINT32_MAX);
}

Test(tree, paths)
{
	char path[64];

	tree_path(TREE_CMDLINE, path, sizeof(path));
	cr_assert_str_eq(path, "cmdline");
	tree_path(TREE_TTY_DRIVERS, path, sizeof(path));
	cr_assert_str_eq(path, "tty/drivers");
	tree_path(TREE_OSRELEASE, path, sizeof(path));
	cr_assert_str_eq(path, "sys/kernel/osrelease");
}

Test(tree, every_name_is_in_the_manual)
{
	const char *src = getenv("CFS_SRCDIR");
	static char page[1 << 16];
	char path[4096];
	FILE *f;

	if (!src)
		cr_skip_test("CFS_SRCDIR is not set");
	snprintf(path, sizeof(path), "%s/man/cfs-proc.5", src);
	f = fopen(path, "r");
	cr_assert(f, "%s", path);
	page[fread(page, 1, sizeof(page) - 1, f)] = 0;
	fclose(f);
	for (unsigned id = 0; id < TREE_NR; id++) {
		const struct tree_entry *e = tree_entry(id);

		if (e->parent != TREE_SYS_KERNEL)
			cr_expect(strstr(page, e->name[0] == '#' || e->name[0] == '@' ? "" : e->name), "%s", e->name);
	}
}
