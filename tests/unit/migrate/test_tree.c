/* Process trees as /proc shows them, and where new pids go. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "migrate/tree.h"

Test(tree, holds_all_descendants, .timeout = 20)
{
	int ready[2];
	struct tree t;
	pid_t pid;
	char c;

	cr_assert_eq(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		pid_t child = fork();

		if (child == 0)
			fork();
		close(ready[0]);
		cr_assert_eq(write(ready[1], "x", 1), 1);
		for (;;)
			pause();
	}
	for (int i = 0; i < 3; i++)
		cr_assert_eq(read(ready[0], &c, 1), 1);
	tree_init(&t);
	cr_assert_eq(tree_read(&t, pid), 0);
	cr_expect_eq(t.nr, 3);
	cr_expect_eq(t.procs[0].pid, pid);
	cr_expect(tree_has(&t, pid) && !tree_has(&t, getpid()));
	cr_expect_gt(t.procs[0].nspid, 0);
	cr_expect_gt(t.procs[0].start, 0);
	for (size_t i = 0; i < t.nr; i++)
		kill(t.procs[i].pid, SIGKILL);
	waitpid(pid, NULL, 0);
	cr_expect_eq(tree_read(&t, pid), -ESRCH);
	tree_release(&t);
}

Test(tree, own_namespaces_have_numbers)
{
	cr_expect_neq(tree_namespace(getpid(), "pid"), 0);
	cr_expect_neq(tree_namespace(getpid(), "pid"), tree_namespace(getpid(), "mnt"));
	cr_expect_eq(tree_namespace(getpid(), "none"), 0);
}

Test(tree, new_pids_start_in_the_widest_gap)
{
	const pid_t low[] = { 310, 305, 5000 }, high[] = { 32000, 20000 }, none[] = { 0 };

	cr_expect_eq(tree_free_pids(low, 3, 32768), 5000);
	cr_expect_eq(tree_free_pids(high, 2, 32768), 300);
	cr_expect_eq(tree_free_pids(none, 0, 32768), 300);
}
