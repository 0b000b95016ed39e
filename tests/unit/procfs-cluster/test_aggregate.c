/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "procfs-cluster/aggregate.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "procfs-cluster/files.h"
#include "writer.h"

static void check(aggregate_fn fn, const char *a, const char *b, const char *expected)
{
	struct aggregate_part parts[] = { { text_str(a) }, { text_str(b ? b : "") } };
	struct wire_writer w;

	wire_writer_init(&w);
	cr_assert_eq(fn(parts, b ? 2 : 1, &w), 0);
	cr_expect_str_eq(writer_str(&w), expected);
	wire_writer_release(&w);
}

Test(aggregate, stat_sums_and_renumbers)
{
	check(aggregate_stat,
	      "cpu  10 1 2 100 3 0 4 5 0 0\ncpu0 6 1 1 50 1 0 2 2 0 0\ncpu1 4 0 1 50 2 0 2 3 0 0\n"
	      "intr 1000 5 0 7\nctxt 300\nbtime 1700000500\nprocesses 40\nprocs_running 2\nprocs_blocked 0\n"
	      "softirq 60 10 20 30\n",
	      "cpu  1 1 1 1 1 1 1 1 1 1\ncpu0 1 1 1 1 1 1 1 1 1 1\nintr 24 1\nctxt 7\nbtime 1700000100\nprocesses 2\n"
	      "procs_running 1\nprocs_blocked 1\nsoftirq 6 1 2 3\n",
	      "cpu  11 2 3 101 4 1 5 6 1 1\ncpu0 6 1 1 50 1 0 2 2 0 0\ncpu1 4 0 1 50 2 0 2 3 0 0\n"
	      "cpu2 1 1 1 1 1 1 1 1 1 1\nintr 1024\nctxt 307\nbtime 1700000100\nprocesses 42\nprocs_running 3\n"
	      "procs_blocked 1\nsoftirq 66 11 22 33\n");
}

Test(aggregate, meminfo_sums_by_key_and_keeps_units)
{
	check(aggregate_meminfo,
	      "MemTotal:       24602212 kB\nMemFree:         1000000 kB\nHugePages_Total:       1\nHugepagesize:       2048 kB\n",
	      "MemTotal:       10000000 kB\nMemFree:         2000000 kB\nHugepagesize:       2048 kB\nOnlyThere:            5 kB\n",
	      "MemTotal:       34602212 kB\nMemFree:         3000000 kB\nHugePages_Total:       1\n"
	      "Hugepagesize:       2048 kB\nOnlyThere:            5 kB\n");
}

Test(aggregate, vmstat)
{
	check(aggregate_vmstat, "nr_free_pages 10\npgfault 7\n", "nr_free_pages 5\n", "nr_free_pages 15\npgfault 7\n");
}

Test(aggregate, loadavg)
{
	check(aggregate_loadavg, "0.50 1.25 2.07 3/210 4711\n", "1.75 0.05 0.00 1/90 99\n", "2.25 1.30 2.07 4/300 4711\n");
	check(aggregate_loadavg, "nonsense\n", "1.75 0.05 0.00 1/90 99\n", "1.75 0.05 0.00 1/90 99\n");
	check(aggregate_loadavg, "", NULL, "0.00 0.00 0.00 0/0 0\n");
}

Test(aggregate, uptime)
{
	check(aggregate_uptime, "100.25 80.10\n", "3600.5 7000.00\n", "3600.50 7080.10\n");
}

Test(aggregate, cpuinfo_numbers_processors_and_packages)
{
	check(aggregate_cpuinfo,
	      "processor\t: 0\nmodel name\t: X\nphysical id\t: 0\n\nprocessor\t: 1\nmodel name\t: X\nphysical id\t: 1\n\n",
	      "processor\t: 0\nmodel name\t: processor\t: 9\nphysical id\t: 0\n\n",
	      "processor\t: 0\nmodel name\t: X\nphysical id\t: 0\n\nprocessor\t: 1\nmodel name\t: X\nphysical id\t: 1\n\n"
	      "processor\t: 2\nmodel name\t: processor\t: 9\nphysical id\t: 2\n\n");
}

Test(aggregate, version_says_each_kernel_once)
{
	check(aggregate_version, "Linux version 6.1\n", "Linux version 6.1\n", "Linux version 6.1\n");
	check(aggregate_version, "Linux version 6.1\n", "Linux version 6.18\n", "Linux version 6.1\nLinux version 6.18\n");
}

Test(aggregate, btime)
{
	cr_assert_eq(aggregate_btime(text_str("ctxt 5\nbtime 17\n")), 17u);
	cr_assert_eq(aggregate_btime(text_str("ctxt 5\nbtime x\n")), 0u);
	cr_assert_eq(aggregate_btime(text_str("")), 0u);
}

/* One node's own files come out as they went in, but for what cannot be added up. */
Test(aggregate, a_cluster_of_one_real_node)
{
	static const unsigned files[] = { NODE_FILE_meminfo, NODE_FILE_vmstat, NODE_FILE_cpuinfo, NODE_FILE_version,
					  NODE_FILE_loadavg, NODE_FILE_uptime };

	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		char path[64], *buf = malloc(1 << 20);
		struct aggregate_part part;
		struct wire_writer w;
		size_t len = 0;
		ssize_t n;
		int fd;

		snprintf(path, sizeof(path), "/proc/%s", node_file_name(files[i]));
		fd = open(path, O_RDONLY);
		while ((n = read(fd, buf + len, (1 << 20) - len)) > 0)
			len += (size_t)n;
		close(fd);
		part.text = text_of(buf, len);
		wire_writer_init(&w);
		cr_assert_eq(aggregate_of(files[i])(&part, 1, &w), 0);
		cr_expect(w.len == len && !memcmp(w.buf, buf, len), "%s", path);
		wire_writer_release(&w);
		free(buf);
	}
	cr_assert_null(aggregate_of(99));
	cr_assert_null(node_file_name(99));
}
