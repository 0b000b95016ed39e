/* A process and all its descendants, as /proc shows them at one moment. */
#ifndef CFS_MIGRATE_TREE_H
#define CFS_MIGRATE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct tree_proc {
	pid_t pid;	/* as we see it */
	pid_t nspid;	/* in its own pid namespace */
	uint64_t start; /* field 22 of stat(5): with the pid, names the process for good */
	char state;
};

struct tree {
	size_t nr, cap;
	struct tree_proc *procs; /* the root first */
};

void tree_init(struct tree *t);
void tree_release(struct tree *t);
/* Reads the tree of ROOT. 0, -ESRCH: no such process, -ENOMEM. A process that ends meanwhile is left out. */
int tree_read(struct tree *t, pid_t root);
bool tree_has(const struct tree *t, pid_t pid);
/* Fills one. 0 or -ESRCH. */
int tree_proc_read(pid_t pid, struct tree_proc *ret_proc);
/* Number of the namespace NAME ("pid", "mnt") of PID; 0 when it cannot be read. */
uint64_t tree_namespace(pid_t pid, const char *name);
/* Who traces PID; 0: nobody. */
pid_t tree_tracer(pid_t pid);
/* The pid after which the longest run of numbers is free of the tree's: where new pids shall be taken. */
pid_t tree_free_pids(const pid_t *pids, size_t nr, pid_t pid_max);

#endif
