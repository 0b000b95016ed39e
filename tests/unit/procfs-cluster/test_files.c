/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "procfs-cluster/files.h"

#include <criterion/criterion.h>
#include <errno.h>

/* Numbers are wire format. */
Test(files, numbers_do_not_move)
{
	cr_assert_eq(PROC_FILE_stat, 0);
	cr_assert_eq(PROC_FILE_environ, 6);
	cr_assert_eq(PROC_FILE_limits, 15);
	cr_assert_eq(PROC_FILE_exe, 23);
	cr_assert_eq(PROC_FILE_task, 28);
	cr_assert_eq(NODE_FILE_stat, 0);
	cr_assert_eq(NODE_FILE_vmstat, 6);
}

Test(files, by_name_and_number)
{
	for (unsigned n = 0; n < PROC_FILE_NR; n++)
		if (proc_file_info(n)->name)
			cr_expect_eq(proc_file_by_name(proc_file_info(n)->name), (int)n);
	cr_assert_eq(proc_file_by_name("mem"), -ENOENT);
	cr_assert_eq(proc_file_by_name(""), -ENOENT);
	cr_assert_null(proc_file_info(PROC_FILE_NR)->name);
	cr_assert_null(proc_file_info(1u << 31)->name);
}

Test(files, what_must_not_be_seen_by_all)
{
	cr_assert(proc_file_info(PROC_FILE_environ)->flags & PF_OWNER);
	cr_assert(proc_file_info(PROC_FILE_maps)->flags & PF_OWNER);
	cr_assert(proc_file_info(PROC_FILE_exe)->flags & PF_OWNER);
	cr_assert_eq(proc_file_info(PROC_FILE_environ)->mode, 0400u);
}
