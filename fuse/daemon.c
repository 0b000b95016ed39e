#include "fuse/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"

#define EXIT_MOUNT 32 /* mount(8): mount failure */
#define LOOKUP_LIMIT_S 30

void daemon_close_inherited(void)
{
	close_range(3, ~0u, 0);
}

/* The parent: what the child says decides. */
static void wait_and_exit(int fd, const char *dir, pid_t child) __attribute__((noreturn));
static void wait_and_exit(int fd, const char *dir, pid_t child)
{
	char text[2048];
	size_t n = 0;
	ssize_t got;
	struct stat st;
	int status;

	while (n < sizeof(text) - 1 && (got = read(fd, text + n, sizeof(text) - 1 - n)) > 0)
		n += (size_t)got;
	text[n] = '\0';
	if (n == 0) {
		/* It ended without a word. */
		if (waitpid(child, &status, 0) == child && WIFSIGNALED(status))
			fprintf(stderr, "mount.fuse.cfs: died of signal %d\n", WTERMSIG(status));
		else
			fprintf(stderr, "mount.fuse.cfs: ended before the mount was ready\n");
		exit(EXIT_MOUNT);
	}
	if (strcmp(text, "ok")) {
		fprintf(stderr, "mount.fuse.cfs: %s\n", text);
		exit(EXIT_MOUNT);
	}
	alarm(LOOKUP_LIMIT_S);
	if (stat(dir, &st) < 0) {
		fprintf(stderr, "mount.fuse.cfs: %s is mounted, but: %s\n", dir, strerror(errno));
		exit(EXIT_MOUNT);
	}
	exit(0);
}

int daemon_fork(const char *dir)
{
	int fds[2];
	pid_t child;

	if (pipe2(fds, O_CLOEXEC) < 0 || (child = fork()) < 0) {
		fprintf(stderr, "mount.fuse.cfs: %s\n", strerror(errno));
		exit(EXIT_MOUNT);
	}
	if (child) {
		close(fds[1]);
		wait_and_exit(fds[0], dir, child);
	}
	close(fds[0]);
	setsid();
	if (chdir("/") < 0)
		log_warn("mount", "cannot leave the directory it was started in: %s", strerror(errno));
	return fds[1];
}

void daemon_report(int fd, const char *message)
{
	if (fd < 0) {
		if (message)
			fprintf(stderr, "mount.fuse.cfs: %s\n", message);
		return;
	}
	if (!message)
		message = "ok";
	if (write(fd, message, strlen(message)) < 0)
		log_warn("mount", "nobody waits for the outcome");
	close(fd);
}

/* A stream into the system's journal, sd_journal_stream_fd(3); -1: there is none. */
static int journal_open(void)
{
	static const char header[] = "mount.fuse.cfs\n\n6\n0\n0\n0\n0\n";
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/stdout" };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 &&
	    write(fd, header, sizeof(header) - 1) == (ssize_t)sizeof(header) - 1)
		return fd;
	close(fd);
	return -1;
}

/* Whoever gave us a file wants it there. */
static bool stderr_is_file(void)
{
	struct stat st;

	return fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode);
}

void daemon_detach(const char *log)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), out = -1;

	if (log)
		out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	else if (!stderr_is_file())
		out = journal_open();
	if (log && out < 0)
		log_warn("mount", "cannot open %s: %s", log, strerror(errno));
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	if (out >= 0 || !stderr_is_file())
		dup2(out >= 0 ? out : null, STDERR_FILENO);
	if (out > STDERR_FILENO)
		close(out);
	if (null > STDERR_FILENO)
		close(null);
}
