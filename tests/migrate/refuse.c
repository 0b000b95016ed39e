/*
 * Holds something that cannot be moved, and says it is still there: refuse KIND FILE. It counts in FILE until SIGTERM.
 * KIND is the word that the plan must say.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tests/migrate/mover.h"

static volatile sig_atomic_t end;

static void on_term(int sig)
{
	(void)sig;
	end = 1;
}

/* A process that shares what we have open, but is none of our children any more; it ends when we do. */
static int leave_outsider(void)
{
	pid_t us = getpid(), pid = fork();

	if (pid == 0) {
		if (fork())
			_exit(0);
		signal(SIGTERM, SIG_DFL);
		prctl(PR_SET_NAME, "outsider");
		while (kill(us, 0) == 0)
			usleep(50000);
		_exit(0);
	}
	return waitpid(pid, NULL, 0) == pid ? 0 : -1;
}

static int shared_map(void)
{
	int fd = open("refuse.map", O_RDWR | O_CREAT, 0644);

	if (fd < 0 || ftruncate(fd, 4096) || mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED)
		return -1;
	close(fd);
	return leave_outsider();
}

static int be_traced(void)
{
	pid_t us = getpid(), pid;
	int status;

	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (ptrace(PTRACE_SEIZE, us, NULL, NULL))
			_exit(1);
		for (;;)
			if (waitpid(us, &status, __WALL) == us && WIFSTOPPED(status))
				ptrace(PTRACE_CONT, us, NULL, WSTOPSIG(status));
	}
	usleep(100000);
	return pid > 0 && waitpid(pid, NULL, WNOHANG) == 0 ? 0 : -1;
}

static void *in_vfork(void *arg)
{
	(void)arg;
	if (vfork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			syscall(SYS_pause);
	}
	return NULL;
}

static int bound_socket(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = "\0cfs-refuse" };
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	return bind(fd, (struct sockaddr *)&sa, sizeof(sa));
}

static int tcp_socket(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || listen(fd, 1) ? -1 : fd;
}

static int one_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	return sysconf(_SC_NPROCESSORS_ONLN) > 1 ? sched_setaffinity(0, sizeof(set), &set) : -1;
}

static int hold(const char *kind)
{
	char params[256] = { 0 }; /* struct io_uring_params, as large as it may be */
	pthread_t thread;

	if (!strcmp(kind, "io_uring"))
		return (int)syscall(SYS_io_uring_setup, 4, params);
	if (!strcmp(kind, "device"))
		return open("/dev/fuse", O_RDWR);
	if (!strcmp(kind, "tty"))
		return open("/dev/ptmx", O_RDWR | O_NOCTTY);
	if (!strcmp(kind, "local-file"))
		return open("/run/local-file", O_RDWR | O_CREAT, 0600);
	if (!strcmp(kind, "socket"))
		return tcp_socket();
	if (!strcmp(kind, "ext-unix-socket"))
		return bound_socket();
	if (!strcmp(kind, "pidfd"))
		return (int)syscall(SYS_pidfd_open, getppid(), 0);
	if (!strcmp(kind, "shared-offset"))
		return open("/etc/passwd", O_RDONLY) < 0 ? -1 : leave_outsider();
	if (!strcmp(kind, "shared-map"))
		return shared_map();
	if (!strcmp(kind, "cpu-affinity"))
		return one_cpu();
	if (!strcmp(kind, "ptraced"))
		return be_traced();
	if (!strcmp(kind, "vfork"))
		return pthread_create(&thread, NULL, in_vfork, NULL) ? -1 : 0;
	if (!strcmp(kind, "capability"))
		return setgid(65534) || setuid(65534) ? -1 : 0;
	return strcmp(kind, "zombie-leader") ? -1 : 0;
}

static void *count(void *arg)
{
	const char *path = arg;
	char text[32];
	int fd;

	for (long i = 0; !end; i++) {
		fd = open(path, O_WRONLY | O_CREAT, 0644);
		CHECK(fd >= 0, "open");
		snprintf(text, sizeof(text), "%012ld\n", i);
		CHECK(pwrite(fd, text, 13, 0) == 13, "write");
		close(fd);
		usleep(10000);
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	pthread_t thread;

	if (argc != 3)
		return 2;
	signal(SIGTERM, on_term);
	if (hold(argv[1]) < 0) {
		perror(argv[1]);
		return 77;
	}
	if (!strcmp(argv[1], "zombie-leader")) {
		pthread_create(&thread, NULL, count, argv[2]);
		pthread_exit(NULL);
	}
	count(argv[2]);
	return 0;
}
