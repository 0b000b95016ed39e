/*
 * What the tree shares with processes that would stay behind: pipes with an end outside, files whose offset somebody
 * else moves too, sockets with their peer outside. One look at all descriptors of the node.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <linux/kcmp.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <uthash.h>

#include "common/cleanup.h"
#include "migrate/plan.h"

int plan_shared_add(struct plan_shared *s, const struct plan_fd *fd)
{
	if (s->nr == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 16;
		struct plan_fd *bigger = realloc(s->fds, cap * sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		s->fds = bigger;
		s->cap = cap;
	}
	s->fds[s->nr++] = *fd;
	return 0;
}

static bool is_pipe(const struct plan_fd *fd)
{
	return !strncmp(fd->link, "pipe:[", 6);
}

static bool same_description(const struct plan_fd *fd, pid_t pid, int other)
{
	return syscall(SYS_kcmp, fd->pid, pid, KCMP_FILE, fd->fd, other) == 0;
}

static pid_t parent_of(pid_t pid)
{
	char path[64], line[512], *rest;
	int ppid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (f && fgets(line, sizeof(line), f) && (rest = strrchr(line, ')')))
		sscanf(rest, ") %*c %d", &ppid);
	if (f)
		fclose(f);
	return ppid;
}

/* One of the tree, or born to it since the tree was read: it moves, too. */
static bool belongs(const struct tree *tree, pid_t pid)
{
	for (int depth = 0; pid > 1 && depth < 64; depth++) {
		if (tree_has(tree, pid))
			return true;
		pid = parent_of(pid);
	}
	return false;
}

/* A descriptor OTHER of PID, which stays, has the same link as one of ours. */
static void check_outsider(const struct plan_conf *conf, const struct tree *tree, const struct plan_shared *s, pid_t pid,
			   int other, const char *link, struct reasons *reasons)
{
	for (size_t i = 0; i < s->nr; i++) {
		const struct plan_fd *fd = &s->fds[i];

		if (strcmp(fd->link, link))
			continue;
		if (belongs(tree, pid))
			return;
		if (is_pipe(fd)) {
			if (pid != conf->relay)
				reasons_add(reasons, "pipe fd %d of %d is shared with process %d", fd->fd, fd->pid, pid);
		} else if (same_description(fd, pid, other)) {
			reasons_add(reasons, "shared-offset fd %d of %d %s is shared with process %d", fd->fd, fd->pid, fd->link, pid);
		} else {
			continue;
		}
		return;
	}
}

static void scan_process(const struct plan_conf *conf, const struct tree *tree, const struct plan_shared *s, pid_t pid,
			 struct reasons *reasons)
{
	char path[320], link[4096];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		ssize_t n;

		if (e->d_name[0] == '.')
			continue;
		n = readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1);
		if (n <= 0)
			continue;
		link[n] = 0;
		check_outsider(conf, tree, s, pid, atoi(e->d_name), link, reasons);
	}
	if (d)
		closedir(d);
}

typedef void (*scan_fn)(const struct plan_conf *conf, const struct tree *tree, const struct plan_shared *s, pid_t pid,
			struct reasons *reasons);

/* SCAN of every process that stays. */
static int each_outsider(const struct plan_conf *conf, const struct tree *tree, const struct plan_shared *s, scan_fn scan,
			 struct reasons *reasons)
{
	struct dirent *e;
	DIR *d;

	if (s->nr == 0)
		return 0;
	d = opendir("/proc");
	if (!d)
		return -errno;
	while ((e = readdir(d))) {
		pid_t pid = isdigit((unsigned char)e->d_name[0]) ? atoi(e->d_name) : 0;

		if (pid && pid != conf->tracer && !tree_has(tree, pid))
			scan(conf, tree, s, pid, reasons);
	}
	closedir(d);
	return 0;
}

int plan_shared_check(const struct plan_conf *conf, const struct tree *tree, const struct plan_shared *s, struct reasons *reasons)
{
	return each_outsider(conf, tree, s, scan_process, reasons);
}

/* ---- mappings ---- */

static void scan_maps(const struct plan_conf *conf, const struct tree *tree, const struct plan_shared *s, pid_t pid,
		      struct reasons *reasons)
{
	char path[64], line[8192];
	unsigned maj, min;
	unsigned long long ino;
	FILE *f;

	(void)conf;
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*s %*s %*s %x:%x %llu", &maj, &min, &ino) != 3 || !ino)
			continue;
		for (size_t i = 0; i < s->nr; i++) {
			const struct plan_fd *m = &s->fds[i];

			if (m->dev != makedev(maj, min) || m->ino != ino || belongs(tree, pid))
				continue;
			reasons_add(reasons, "shared-map of %d %s is shared with process %d", m->pid, m->link, pid);
			goto out; /* once is enough */
		}
	}
out:
	if (f)
		fclose(f);
}

int plan_maps_check(const struct plan_conf *conf, const struct tree *tree, const struct plan_shared *s, struct reasons *reasons)
{
	return each_outsider(conf, tree, s, scan_maps, reasons);
}

/* ---- sockets ---- */

struct unix_sock {
	uint32_t ino, peer;
	uint8_t state, type;
	bool named;
	UT_hash_handle hh;
};

struct unix_socks {
	struct unix_sock *by_ino;
};

enum { STATE_LISTEN = 10 }; /* TCP_LISTEN, which AF_UNIX uses as well */

static void add_unix(struct unix_socks *u, const struct nlmsghdr *h)
{
	const struct unix_diag_msg *m = NLMSG_DATA(h);
	int left = (int)(h->nlmsg_len - NLMSG_LENGTH(sizeof(*m)));
	struct unix_sock *s = calloc(1, sizeof(*s));

	if (!s)
		return;
	s->ino = m->udiag_ino;
	s->state = m->udiag_state;
	s->type = m->udiag_type;
	for (struct nlattr *a = (struct nlattr *)(uintptr_t)(m + 1); left >= (int)sizeof(*a) && a->nla_len >= sizeof(*a) && a->nla_len <= left;
	     left -= (int)NLA_ALIGN(a->nla_len), a = (struct nlattr *)((char *)a + NLA_ALIGN(a->nla_len)))
		if (a->nla_type == UNIX_DIAG_PEER && a->nla_len >= sizeof(*a) + 4)
			memcpy(&s->peer, a + 1, 4);
		else if (a->nla_type == UNIX_DIAG_NAME)
			s->named = true;
	HASH_ADD(hh, u->by_ino, ino, sizeof(s->ino), s);
}

/* True when there is more to come. */
static bool take_answer(struct unix_socks *u, const char *buf, size_t len)
{
	for (const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)buf; NLMSG_OK(h, len);
	     h = NLMSG_NEXT(h, len)) {
		if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR)
			return false;
		if (h->nlmsg_type == SOCK_DIAG_BY_FAMILY)
			add_unix(u, h);
	}
	return true;
}

static int read_unix(struct unix_socks *u)
{
	struct {
		struct nlmsghdr h;
		struct unix_diag_req req;
	} q = {
		.h = { .nlmsg_len = sizeof(q), .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.req = { .sdiag_family = AF_UNIX, .udiag_states = ~0u, .udiag_show = UDIAG_SHOW_PEER | UDIAG_SHOW_NAME },
	};
	_cleanup_close_ int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	_Alignas(8) char buf[32768];
	ssize_t n;

	if (sock < 0 || send(sock, &q, sizeof(q), 0) < 0)
		return -errno;
	do {
		n = recv(sock, buf, sizeof(buf), 0);
	} while (n > 0 && take_answer(u, buf, (size_t)n));
	return n < 0 ? -errno : 0;
}

static uint32_t socket_ino(const struct plan_fd *fd)
{
	return !strncmp(fd->link, "socket:[", 8) ? (uint32_t)strtoul(fd->link + 8, NULL, 10) : 0;
}

static bool ours(const struct plan_shared *s, uint32_t ino)
{
	for (size_t i = 0; i < s->nr; i++)
		if (ino && socket_ino(&s->fds[i]) == ino)
			return true;
	return false;
}

/* The protocol of a socket that is not AF_UNIX, by the name of the /proc/net file that lists it. */
static const char *socket_protocol(pid_t pid, uint32_t ino)
{
	static const char *const protocols[] = { "tcp", "tcp6", "udp", "udp6", "raw", "raw6", "packet", "netlink" };
	char path[64], line[512], want[16];

	snprintf(want, sizeof(want), " %u ", ino);
	for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++) {
		bool found = false;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/net/%s", pid, protocols[i]);
		f = fopen(path, "re");
		while (f && !found && fgets(line, sizeof(line), f)) {
			line[strcspn(line, "\n")] = ' ';
			found = strstr(line, want) != NULL;
		}
		if (f)
			fclose(f);
		if (found)
			return protocols[i];
	}
	return "other";
}

static void check_socket(const struct unix_socks *u, const struct plan_shared *s, const struct plan_fd *fd, struct reasons *reasons)
{
	uint32_t ino = socket_ino(fd);
	struct unix_sock *sk;

	HASH_FIND(hh, u->by_ino, &ino, sizeof(ino), sk);
	if (!sk)
		reasons_add(reasons, "socket fd %d of %d %s", fd->fd, fd->pid, socket_protocol(fd->pid, ino));
	else if (sk->state == STATE_LISTEN)
		reasons_add(reasons, "ext-unix-socket fd %d of %d is listening", fd->fd, fd->pid);
	else if (sk->peer && !ours(s, sk->peer))
		reasons_add(reasons, "ext-unix-socket fd %d of %d has its peer outside", fd->fd, fd->pid);
	else if (sk->named && sk->type == SOCK_DGRAM && !sk->peer)
		reasons_add(reasons, "ext-unix-socket fd %d of %d has a name that others may send to", fd->fd, fd->pid);
}

int plan_sockets_check(const struct tree *tree, const struct plan_shared *s, struct reasons *reasons)
{
	struct unix_socks u = { 0 };
	struct unix_sock *sk, *tmp;
	int r = 0;

	(void)tree;
	if (s->nr == 0)
		return 0;
	r = read_unix(&u);
	for (size_t i = 0; i < s->nr && !r; i++)
		check_socket(&u, s, &s->fds[i], reasons);
	HASH_ITER(hh, u.by_ino, sk, tmp)
	{
		HASH_DEL(u.by_ino, sk);
		free(sk);
	}
	return r;
}
