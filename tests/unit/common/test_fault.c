/* Fault points strike where and when they were armed to, once. The table is read once a process: a process each. */
#include "common/fault.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void arm(const char *text)
{
	setenv("CFS_FAULT", text, 1);
}

Test(fault, nothing_armed_nothing_strikes)
{
	unsetenv("CFS_FAULT");
	for (int i = 0; i < 100; i++)
		cr_assert_eq(fault_hit(FAULT_store_apply), 0);
}

Test(fault, an_errno_at_the_first_visit_only)
{
	arm("store_apply:fail=28");
	cr_assert_eq(fault_hit(FAULT_store_after_batch), 0, "another point");
	cr_assert_eq(fault_hit(FAULT_store_apply), -ENOSPC);
	cr_assert_eq(fault_hit(FAULT_store_apply), 0);
}

Test(fault, the_nth_visit_and_several_points)
{
	arm("store_apply:fail=5:3,store_after_batch:fail=12:1");
	cr_assert_eq(fault_hit(FAULT_store_apply), 0);
	cr_assert_eq(fault_hit(FAULT_store_apply), 0);
	cr_assert_eq(fault_hit(FAULT_store_after_batch), -ENOMEM);
	cr_assert_eq(fault_hit(FAULT_store_apply), -EIO);
	cr_assert_eq(fault_hit(FAULT_store_apply), 0);
}

Test(fault, a_signal)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		arm("store_apply:kill:2");
		fault_hit(FAULT_store_apply);
		fault_hit(FAULT_store_apply);
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

Test(fault, what_is_misspelt_arms_nothing)
{
	static const char *const texts[] = { "no_such_point:kill", "store_apply", "store_apply:explode", "store_apply:", ":", ",,", "" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		pid_t pid = fork();
		int status;

		if (!pid) {
			arm(texts[i]);
			_exit(fault_hit(FAULT_store_apply) ? 1 : 0);
		}
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "'%s'", texts[i]);
	}
}
