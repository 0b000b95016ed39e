/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cluster/jobs.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];

static void setup(void)
{
	strcpy(dir, "/tmp/cfs-jobs-XXXXXX");
	cr_assert(mkdtemp(dir));
}

static void teardown(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	cr_assert_eq(system(cmd), 0);
}

TestSuite(jobs, .init = setup, .fini = teardown);

static void raw_file(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	cr_assert(f);
	fputs(text, f);
	fclose(f);
}

static struct job own_job(struct job_pid *pids, size_t nr)
{
	struct job job = { .id = "1-77", .home = 1, .moves = 3, .root = getpid(), .nr_pids = nr, .pids = pids };

	cr_assert_eq(job_identify(&job), 0);
	return job;
}

Test(jobs, cpid_is_node_and_pid)
{
	cr_assert_eq(cpid_make(3, 4194303), 16777215u);
	cr_assert_eq(cpid_node(cpid_make(511, 5)), 511u);
	cr_assert_eq(cpid_pid(cpid_make(511, 5)), 5u);
	cr_assert(cpid_make(CPID_NODE_MAX, CPID_PID_MAX - 1) <= INT32_MAX);
	cr_assert(!cpid_is_cluster(4194303));
	cr_assert(cpid_is_cluster(cpid_make(1, 1)));
}

Test(jobs, job_goes_through_the_file)
{
	struct job_pid pids[] = { { 100, cpid_make(1, 100) }, { 101, cpid_make(2, 7) } };
	struct job job = own_job(pids, 2), got;

	cr_assert_eq(job_write(dir, &job), 0);
	cr_assert_eq(job_read(dir, "1-77", &got), 0);
	cr_assert_str_eq(got.id, "1-77");
	cr_assert_eq(got.home, 1u);
	cr_assert_eq(got.moves, 3u);
	cr_assert_eq(got.root, getpid());
	cr_assert_eq(got.root_start, job.root_start);
	cr_assert_eq(got.pidns, job.pidns);
	cr_assert_eq(got.nr_pids, 2u);
	cr_assert_eq(got.pids[1].nspid, 101u);
	cr_assert_eq(got.pids[1].cpid, cpid_make(2, 7));
	job_release(&got);
	cr_assert_eq(job_remove(dir, "1-77"), 0);
	cr_assert_eq(job_remove(dir, "1-77"), 0);
	cr_assert_eq(job_read(dir, "1-77", &got), -ENOENT);
}

Test(jobs, cpid_of_mapped_and_of_born_here)
{
	struct job_pid pids[] = { { 100, cpid_make(1, 100) } };
	struct job job = own_job(pids, 1);

	cr_assert_eq(job_cpid(&job, 2, 100, 5555), cpid_make(1, 100));
	cr_assert_eq(job_cpid(&job, 2, 102, 5556), cpid_make(2, 5556));
}

Test(jobs, ids_cannot_leave_the_directory)
{
	const char *bad[] = { "", ".", "..", "../x", "a/b", ".hidden", "a b",
			      "0123456789012345678901234567890123456789012345678901234567890123" };
	struct away away = { .node = 1 };
	struct job got;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(away.id, sizeof(away.id), "%s", bad[i]);
		if (strlen(bad[i]) < sizeof(away.id))
			cr_expect_eq(away_write(dir, &away), -EINVAL, "%s", bad[i]);
		cr_expect_eq(job_read(dir, bad[i], &got), -EINVAL, "%s", bad[i]);
		cr_expect_eq(job_remove(dir, bad[i]), -EINVAL, "%s", bad[i]);
	}
}

static void add_cpid(void *ctx, uint32_t cpid)
{
	*(uint32_t *)ctx += cpid;
}

Test(jobs, reader_sees_every_change)
{
	uint32_t cpids[] = { cpid_make(1, 10), cpid_make(1, 11) };
	struct away away = { .id = "1-10", .node = 3, .nr_cpids = 2, .cpids = cpids };
	uint32_t sum = 0;
	struct job job = own_job(NULL, 0);
	struct jobs *jobs;

	cr_assert_eq(jobs_new(dir, &jobs), 0);
	cr_assert_eq(jobs_refresh(jobs), 0);
	cr_assert_null(jobs_by_pidns(jobs, job.pidns));
	cr_assert_eq(jobs_away_node(jobs, cpids[0]), 0u);

	cr_assert_eq(job_write(dir, &job), 0);
	cr_assert_eq(away_write(dir, &away), 0);
	cr_assert_eq(jobs_refresh(jobs), 0);
	cr_assert(jobs_by_pidns(jobs, job.pidns));
	cr_assert_eq(jobs_count(jobs), 1u);
	cr_assert_eq(jobs_by_id(jobs, "1-77")->moves, 3u);
	cr_assert_null(jobs_by_id(jobs, "1-78"));
	cr_assert_eq(jobs_away_node(jobs, cpids[1]), 3u);
	jobs_each_away(jobs, add_cpid, &sum);
	cr_assert_eq(sum, cpids[0] + cpids[1]);

	/* straight after: within the grain of the directory's time */
	away.node = 2;
	job.moves = 4;
	cr_assert_eq(job_write(dir, &job), 0);
	cr_assert_eq(away_write(dir, &away), 0);
	cr_assert_eq(jobs_refresh(jobs), 0);
	cr_assert_eq(jobs_by_id(jobs, "1-77")->moves, 4u);
	cr_assert_eq(jobs_away_node(jobs, cpids[0]), 2u);

	/* and when the first look was long ago */
	usleep(150000);
	cr_assert_eq(jobs_refresh(jobs), 0);
	cr_assert_eq(jobs_refresh(jobs), 0);
	cr_assert_eq(away_remove(dir, "1-10"), 0);
	cr_assert_eq(job_remove(dir, "1-77"), 0);
	cr_assert_eq(jobs_refresh(jobs), 0);
	cr_assert_eq(jobs_away_node(jobs, cpids[0]), 0u);
	cr_assert_null(jobs_by_pidns(jobs, job.pidns));
	jobs_free(jobs);
}

Test(jobs, a_job_of_before_the_reboot_is_ignored)
{
	struct job job = own_job(NULL, 0);
	struct jobs *jobs;

	job.root_start++;
	cr_assert_eq(job_write(dir, &job), 0);
	cr_assert_eq(jobs_new(dir, &jobs), 0);
	cr_assert_eq(jobs_refresh(jobs), 0);
	cr_assert_null(jobs_by_pidns(jobs, job.pidns));
	jobs_free(jobs);
}

Test(jobs, bad_files_are_refused_and_left_out)
{
	static const char *const bad[] = {
		"", "{", "[]", "{}", "{\"id\":\"x\",\"home\":-1}",
		"{\"id\":\"x\",\"home\":1,\"moves\":0,\"root\":4294967295,\"root_start\":1,\"pidns\":1,\"pids\":[]}",
		"{\"id\":\"x\",\"home\":1,\"moves\":0,\"root\":1,\"root_start\":1,\"pidns\":1,\"pids\":[[1]]}",
		"{\"id\":\"x\",\"home\":1,\"moves\":0,\"root\":1,\"root_start\":1,\"pidns\":1,\"pids\":[[1,\"2\"]]}",
		"{\"id\":\"../x\",\"home\":1,\"moves\":0,\"root\":1,\"root_start\":1,\"pidns\":1,\"pids\":[]}",
	};
	struct away away = { .id = "y", .node = 1 };
	struct jobs *jobs;
	struct job job;

	cr_assert_eq(away_write(dir, &away), 0);
	job = own_job(NULL, 0);
	cr_assert_eq(job_write(dir, &job), 0);
	cr_assert_eq(jobs_new(dir, &jobs), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		raw_file("migrate/jobs/x.json", bad[i]);
		raw_file("migrate/away/y.json", bad[i]);
		cr_expect_eq(job_read(dir, "x", &job), -EBADMSG, "%s", bad[i]);
		cr_expect_eq(away_read(dir, "y", &away), -EBADMSG, "%s", bad[i]);
		cr_expect_eq(jobs_refresh(jobs), 0);
		cr_expect(jobs_by_id(jobs, "1-77"));
	}
	jobs_free(jobs);
}

Test(jobs, root_must_exist)
{
	struct job job = { .root = 4194304 };

	cr_assert_eq(job_identify(&job), -ESRCH);
}
