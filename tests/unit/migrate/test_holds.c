/* The number of a process that went elsewhere is nobody's until it is let go. As root; skipped otherwise. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "migrate/internal.h"

enum { NODE = 5 };

struct fixture {
	char dir[32];
	struct service *svc;
};

static void begin(struct fixture *f)
{
	if (geteuid())
		cr_skip_test("needs root");
	strcpy(f->dir, "/tmp/cfs-holds.XXXXXX");
	f->svc = calloc(1, sizeof(*f->svc));
	cr_assert(mkdtemp(f->dir) && f->svc);
	f->svc->conf.node_id = NODE;
	cr_assert_eq(jobs_new(f->dir, &f->svc->registry), 0);
}

static void end(struct fixture *f)
{
	char command[64];

	jobs_free(f->svc->registry);
	free(f->svc);
	snprintf(command, sizeof(command), "rm -r %s", f->dir);
	cr_expect_eq(system(command), 0);
}

/* One that was in use a moment ago. */
static pid_t free_pid(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	return pid;
}

static const char *comm_of(pid_t pid)
{
	static char comm[32];
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	f = fopen(path, "r");
	comm[0] = 0;
	if (f && fscanf(f, "%31s", comm) != 1)
		comm[0] = 0;
	if (f)
		fclose(f);
	return comm;
}

/* Its child takes a moment to end. */
static bool is_kept(pid_t pid)
{
	for (int i = 0; i < 1000; i++) {
		if (!strcmp(comm_of(pid), "cfs-moved"))
			return true;
		usleep(1000);
	}
	return false;
}

static void went(struct fixture *f, const char *id, uint32_t *cpids, size_t nr)
{
	struct away a = { .node = 2, .cpids = cpids, .nr_cpids = nr };

	snprintf(a.id, sizeof(a.id), "%s", id);
	cr_assert_eq(away_write(f->dir, &a), 0);
	holds_update(f->svc);
}

Test(holds, a_number_is_kept_while_its_process_is_elsewhere, .timeout = 20)
{
	pid_t ours = free_pid(), foreign = free_pid();
	uint32_t cpids[] = { cpid_make(NODE, (uint32_t)ours), cpid_make(NODE + 1, (uint32_t)foreign) };
	struct fixture f;

	begin(&f);
	went(&f, "5-1", cpids, 2);
	cr_expect(is_kept(ours));
	cr_expect_str_eq(comm_of(foreign), "", "another node's number");
	holds_update(f.svc);
	cr_expect(is_kept(ours));
	cr_assert_eq(away_remove(f.dir, "5-1"), 0);
	holds_update(f.svc);
	cr_expect_str_eq(comm_of(ours), "");
	end(&f);
}

Test(holds, the_original_has_it_as_long_as_it_is_there, .timeout = 20)
{
	uint32_t cpid;
	struct fixture f;
	pid_t pid;

	begin(&f);
	pid = fork();
	if (pid == 0)
		_exit(0);
	cpid = cpid_make(NODE, (uint32_t)pid);
	went(&f, "5-1", &cpid, 1);
	cr_expect(strcmp(comm_of(pid), "cfs-moved"), "nobody has waited for it yet");
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	holds_update(f.svc);
	cr_expect(is_kept(pid));
	cr_assert_eq(away_remove(f.dir, "5-1"), 0);
	holds_update(f.svc);
	end(&f);
}

Test(holds, one_that_is_back_under_another_number_keeps_its_own, .timeout = 20)
{
	pid_t pid = free_pid();
	struct job_pid pids[] = { { 7, cpid_make(NODE, (uint32_t)pid) } };
	struct guest g = { .job = { .pids = pids, .nr_pids = 1 } };
	struct fixture f;

	begin(&f);
	f.svc->guests = &g;
	holds_update(f.svc);
	cr_expect(is_kept(pid));
	f.svc->guests = NULL;
	holds_update(f.svc);
	cr_expect_str_eq(comm_of(pid), "");
	end(&f);
}
