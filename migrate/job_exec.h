/*
 * Starting a command in the job's namespaces. The command gets the same pid in the job's and in the node's pid
 * namespace (clone3 with set_tid), so that the low bits of its cluster pid are what getpid() says.
 */
#ifndef CFS_MIGRATE_JOB_EXEC_H
#define CFS_MIGRATE_JOB_EXEC_H

#include <sys/types.h>

#include "migrate/job_relay.h"
#include "wire/message.h"

/* Pids from FIRST on are tried. 0 and the pid, or -errno, also of what the command's execve(2) said. */
int job_exec(const struct msg_job_start_req *spec, struct relay *relay, pid_t first, pid_t *ret_pid);

#endif
