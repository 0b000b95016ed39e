/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "procfs-cluster/pidmap.h"

#include <criterion/criterion.h>

#include "cluster/cpid.h"

Test(pidmap, without_guests_it_is_arithmetic)
{
	struct pidmap m;

	pidmap_init(&m, 3);
	pidmap_sort(&m);
	cr_assert_eq(pidmap_cpid(&m, 77), cpid_make(3, 77));
	cr_assert_eq(pidmap_pid(&m, cpid_make(3, 77)), 77u);
	cr_assert_eq(pidmap_pid(&m, cpid_make(2, 77)), 0u);
	cr_assert_null(pidmap_guest(&m, 77));
	pidmap_release(&m);
}

Test(pidmap, guests_have_one_name)
{
	struct pidmap m;
	struct pidmap_guest a = { 900, cpid_make(1, 50), 50, 4026531836 }, b = { 12, cpid_make(1, 51), 51, 4026531836 };

	pidmap_init(&m, 3);
	for (uint32_t i = 0; i < 100; i++) {
		struct pidmap_guest other = { 2000 - i, cpid_make(2, 2000 - i), 2 + i, 4026531999 };

		cr_assert_eq(pidmap_add(&m, &other), 0);
	}
	cr_assert_eq(pidmap_add(&m, &a), 0);
	cr_assert_eq(pidmap_add(&m, &b), 0);
	pidmap_sort(&m);
	cr_assert_eq(pidmap_cpid(&m, 900), cpid_make(1, 50));
	cr_assert_eq(pidmap_cpid(&m, 12), cpid_make(1, 51));
	cr_assert_eq(pidmap_cpid(&m, 13), cpid_make(3, 13));
	cr_assert_eq(pidmap_pid(&m, cpid_make(1, 50)), 900u);
	cr_assert_eq(pidmap_pid(&m, cpid_make(3, 900)), 0u, "the guest's own pid is no second name of it");
	cr_assert_eq(pidmap_pid(&m, cpid_make(3, 901)), 901u);
	cr_assert_eq(pidmap_in_ns(&m, 4026531836, 51)->pid, 12u);
	cr_assert_null(pidmap_in_ns(&m, 4026531836, 52));
	cr_assert_null(pidmap_in_ns(&m, 4026531837, 51));
	pidmap_release(&m);
	cr_assert_eq(m.nr, 0u);
}
