/*
 * Timers of a restored process that CRIU leaves standing: a periodic timerfd that had expired and was not read yet says
 * that nothing remains of its period, and is restored as one that was disarmed (seen with CRIU 4.2; its issue 3162).
 */
#ifndef CFS_MIGRATE_TIMERS_H
#define CFS_MIGRATE_TIMERS_H

#include <sys/types.h>

/* Starts those of PID, which is stopped, again. */
void timers_rearm(pid_t pid);

#endif
