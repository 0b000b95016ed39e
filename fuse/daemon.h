/* Becoming a daemon: the parent waits for the outcome and exits with it. */
#ifndef CFS_FUSE_DAEMON_H
#define CFS_FUSE_DAEMON_H

/* Descriptors that were inherited (other than 0, 1, 2) are closed. */
void daemon_close_inherited(void);
/*
 * Forks. The child returns, in a session of its own, with the descriptor for daemon_report(). The parent waits for the
 * report, looks DIR up when it is good, and exits: 0, or 32 (mount(8): mount failure) with the child's message.
 */
int daemon_fork(const char *dir);
/* MESSAGE NULL: it works. FD -1 (not forked): printed on stderr. */
void daemon_report(int fd, const char *message);
/* Standard descriptors away from the caller's terminal: stderr to LOG (a file), else to the file it is already, else to
   the journal, else nowhere. */
void daemon_detach(const char *log);

#endif
