/*
 * Descriptors that are no files: counters, timers, signals, epoll, a child's pidfd, sockets with messages and
 * descriptors on their way, a high number, an offset shared with a child, a directory half read.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#include "tests/migrate/mover.h"

#define HIGH_FD 1000
#define NAMES 40
#define TICK_NS 10000000

struct world {
	int event, timer, signals, epoll, pidfd, high, pair[2], parcel[2], shared;
	pid_t child;
	DIR *dir;
	bool seen[NAMES];
	int nr_seen;
	uint64_t ticks, events;
};

static void watch(struct world *w, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = fd };

	CHECK(epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &ev) == 0, "epoll_ctl");
}

/* A byte, and a descriptor with it. */
static void send_fd(int sock, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 }, byte = 'x';
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	CHECK(sendmsg(sock, &m, 0) == 1, "sendmsg");
}

static int take_fd(int sock)
{
	char control[CMSG_SPACE(sizeof(int))], byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	int fd;

	CHECK(recvmsg(sock, &m, 0) == 1 && CMSG_FIRSTHDR(&m), "recvmsg");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

/* Writes every other line of a file whose offset is also the parent's. */
static void child(const struct world *w)
{
	char byte;

	close(w->pair[0]);
	while (read(w->pair[1], &byte, 1) == 1)
		if (write(w->shared, "child\n", 6) != 6 || write(w->pair[1], &byte, 1) != 1)
			_exit(1);
	_exit(43);
}

static void make_directory(struct world *w)
{
	char name[64], path[128];

	snprintf(name, sizeof(name), "dir.%d", getpid());
	CHECK(mkdir(name, 0755) == 0, "mkdir");
	for (int i = 0; i < NAMES; i++) {
		snprintf(path, sizeof(path), "%s/%d", name, i);
		CHECK(mknod(path, S_IFREG | 0644, 0) == 0, "mknod");
	}
	w->dir = opendir(name);
	CHECK(w->dir, "opendir");
}

static void make(struct world *w)
{
	struct itimerspec every = { { 0, TICK_NS }, { 0, TICK_NS } };
	struct rlimit lim = { HIGH_FD + 24, HIGH_FD + 24 };
	char name[64];
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	CHECK(setrlimit(RLIMIT_NOFILE, &lim) == 0, "setrlimit");
	w->event = eventfd(0, EFD_NONBLOCK);
	w->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	w->signals = signalfd(-1, &set, SFD_NONBLOCK);
	w->epoll = epoll_create1(0);
	CHECK(w->event >= 0 && w->timer >= 0 && w->signals >= 0 && w->epoll >= 0, "anonymous inodes");
	CHECK(timerfd_settime(w->timer, 0, &every, NULL) == 0, "timerfd_settime");
	w->high = dup2(w->event, HIGH_FD);
	CHECK(w->high == HIGH_FD, "dup2");
	watch(w, w->event);
	watch(w, w->timer);
	watch(w, w->signals);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, w->pair) == 0 && socketpair(AF_UNIX, SOCK_DGRAM, 0, w->parcel) == 0, "socketpair");
	snprintf(name, sizeof(name), "shared.%d", getpid());
	w->shared = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
	CHECK(w->shared >= 0, "open");
	w->child = fork();
	if (w->child == 0)
		child(w);
	close(w->pair[1]);
	w->pidfd = (int)syscall(SYS_pidfd_open, w->child, 0);
	CHECK(w->pidfd >= 0, "pidfd_open");
	make_directory(w);
}

static void take_event(struct world *w, int fd)
{
	struct signalfd_siginfo si;
	uint64_t v;

	if (fd == w->signals) {
		CHECK(read(fd, &si, sizeof(si)) == sizeof(si) && si.ssi_signo == SIGUSR1, "signalfd");
		return;
	}
	CHECK(read(fd, &v, sizeof(v)) == sizeof(v), "read of %d", fd);
	if (fd == w->timer)
		w->ticks += v;
	else
		w->events += v;
}

static void turn(struct world *w, long i)
{
	struct epoll_event ev[4];
	uint64_t one = 1;
	struct stat a, b;
	char byte = 'y';
	int n, fd;

	/* Through the high number into the counter; a signal; a descriptor that spends the pause in a socket. */
	CHECK(write(w->high, &one, sizeof(one)) == sizeof(one), "eventfd");
	kill(getpid(), SIGUSR1);
	send_fd(w->parcel[0], w->shared);
	usleep(10000);
	n = epoll_wait(w->epoll, ev, 4, 1000);
	CHECK(n >= 2, "%d events", n);
	for (int k = 0; k < n; k++)
		take_event(w, ev[k].data.fd);
	fd = take_fd(w->parcel[1]);
	CHECK(fstat(fd, &a) == 0 && fstat(w->shared, &b) == 0 && a.st_ino == b.st_ino, "the descriptor that came");
	close(fd);
	CHECK(lseek(w->shared, 0, SEEK_CUR) == i * 13, "offset at %ld", i);
	CHECK(write(w->shared, "parent\n", 7) == 7, "write");
	CHECK(write(w->pair[0], &byte, 1) == 1 && read(w->pair[0], &byte, 1) == 1, "child");
}

static void next_name(struct world *w)
{
	struct dirent *e = readdir(w->dir);
	int nr;

	if (!e || sscanf(e->d_name, "%d", &nr) != 1)
		return;
	CHECK(nr < NAMES && !w->seen[nr], "name %d came twice", nr);
	w->seen[nr] = true;
	w->nr_seen++;
}

int main(int argc, char **argv)
{
	double end = mover_end(argc, argv), start = mover_now();
	struct world w = { 0 };
	int status;
	long i;

	make(&w);
	for (i = 0; mover_now() < end; i++) {
		turn(&w, i);
		if (i % 20 == 0)
			next_name(&w);
	}
	while (w.nr_seen < NAMES && i++ < 1000000)
		next_name(&w);
	CHECK(w.nr_seen == NAMES, "%d of %d names", w.nr_seen, NAMES);
	CHECK(w.events > 0 && w.ticks > (uint64_t)((mover_now() - start) * 1e9 / TICK_NS / 2), "%lu ticks", (unsigned long)w.ticks);
	CHECK(syscall(SYS_pidfd_send_signal, w.pidfd, 0, NULL, 0) == 0, "pidfd");
	close(w.pair[0]);
	CHECK(waitpid(w.child, &status, 0) == w.child && WIFEXITED(status) && WEXITSTATUS(status) == 43, "child ended with %x", status);
	return mover_pass();
}
