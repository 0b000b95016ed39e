/*
 * cgroup v2: the freezer that holds a process tree however CRIU and cfs-migrated fare. A tree to be moved gets a cgroup
 * of its own below the one it is in, before it is stopped (entering costs milliseconds), and goes back when it stays.
 */
#ifndef CFS_MIGRATE_CGROUP_H
#define CFS_MIGRATE_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "migrate/tree.h"

#define CGROUP_PATH_MAX 1024

/* Directory of the cgroup PID is in. 0, -ENOENT: no cgroup2 is mounted, -ESRCH, -ENAMETOOLONG. */
int cgroup_of(pid_t pid, char ret_dir[CGROUP_PATH_MAX]);
/* Makes DIR below PARENT's path and moves the tree into it, until no child is left outside. T is read anew. */
int cgroup_enter(const char *dir, struct tree *t);
/* Back to where it was (the parent directory), and DIR removed. A missing DIR is fine. */
int cgroup_leave(const char *dir);
int cgroup_freeze(const char *dir, bool frozen);
/* Kills what is in it; a missing DIR is fine. */
int cgroup_kill(const char *dir);
/* Removes an empty one. -EBUSY: somebody is still in it. */
int cgroup_remove(const char *dir);

#endif
