/*
 * Numbers of processes that were born here and are elsewhere, or are here again under another number. A cluster pid is node
 * and pid at birth, for life: were the pid given to somebody else meanwhile, two processes would have one name. So the
 * node keeps it: an entry in its process table without a process, a child of ours that ended at once and is not waited
 * for until the job ends. They go with us; who comes after us takes them again.
 */
#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uthash.h>
#include <utlist.h>

#include "migrate/internal.h"

struct hold {
	uint32_t pid;
	bool held, wanted;
	UT_hash_handle hh;
};

static void want(void *ctx, uint32_t cpid)
{
	struct service *svc = ctx;
	uint32_t pid = cpid_pid(cpid);
	struct hold *h;

	if (cpid_node(cpid) != svc->conf.node_id)
		return;
	HASH_FIND(hh, svc->holds, &pid, sizeof(pid), h);
	if (!h) {
		h = calloc(1, sizeof(*h));
		if (!h)
			return;
		h->pid = pid;
		HASH_ADD(hh, svc->holds, pid, sizeof(h->pid), h);
	}
	h->wanted = true;
}

/* Fails as long as the number is in use: by the original until its parent has waited for it, by the process itself. */
static bool take(uint32_t pid)
{
	pid_t tid = (pid_t)pid;
	struct clone_args args = { .set_tid = (uint64_t)(uintptr_t)&tid, .set_tid_size = 1 };
	pid_t got = kill(tid, 0) < 0 && errno == ESRCH ? (pid_t)syscall(SYS_clone3, &args, sizeof(args)) : -1;

	if (got == 0) {
		prctl(PR_SET_NAME, "cfs-moved");
		_exit(0);
	}
	return got > 0;
}

void holds_update(struct service *svc)
{
	struct hold *h, *tmp;
	struct guest *g;

	HASH_ITER(hh, svc->holds, h, tmp)
		h->wanted = false;
	if (jobs_refresh(svc->registry) == 0)
		jobs_each_away(svc->registry, want, svc);
	LL_FOREACH(svc->guests, g)
	{
		for (size_t i = 0; i < g->job.nr_pids; i++)
			want(svc, g->job.pids[i].cpid);
	}
	HASH_ITER(hh, svc->holds, h, tmp)
	{
		if (h->wanted && !h->held) {
			h->held = take(h->pid);
		} else if (!h->wanted) {
			if (h->held)
				waitpid((pid_t)h->pid, NULL, __WALL);
			HASH_DEL(svc->holds, h);
			free(h);
		}
	}
}
