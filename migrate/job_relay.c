#include "migrate/job_relay.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

void relay_init(struct relay *r)
{
	memset(r, 0, sizeof(*r));
	r->in.fd = r->out.fd = r->err.fd = -1;
}

static void close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void relay_release(struct relay *r)
{
	close_end(&r->in.fd);
	close_end(&r->out.fd);
	close_end(&r->err.fd);
	free(r->out.buf);
	free(r->err.buf);
	relay_init(r);
}

/* Ours is non-blocking, the job's is as a shell would have made it: the two ends have flags of their own. */
static int open_pipe(int ours, int fds[2], uint64_t *ret_ino)
{
	struct stat st;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	if (fcntl(fds[ours], F_SETFL, O_NONBLOCK) < 0 || fstat(fds[0], &st) < 0) {
		int r = -errno;

		close(fds[0]);
		close(fds[1]);
		return r;
	}
	*ret_ino = st.st_ino;
	return 0;
}

int relay_in_open(struct relay_in *in, int *ret_fd)
{
	int fds[2], r = open_pipe(1, fds, &in->ino);

	if (r)
		return r;
	in->fd = fds[1];
	*ret_fd = fds[0];
	return 0;
}

int relay_out_open(struct relay_out *out, int *ret_fd)
{
	int fds[2], r;

	out->buf = malloc(RELAY_BUFFER);
	if (!out->buf)
		return -ENOMEM;
	r = open_pipe(0, fds, &out->ino);
	if (r)
		return r;
	out->fd = fds[0];
	*ret_fd = fds[1];
	return 0;
}

static void pull_into(struct relay_out *out, size_t room)
{
	while (out->fd >= 0 && room > 0) {
		ssize_t n = read(out->fd, out->buf + out->len, room);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			close_end(&out->fd);
			return;
		}
		out->len += (size_t)n;
		room -= (size_t)n;
	}
}

void relay_out_pull(struct relay_out *out)
{
	if (out->len < RELAY_BUFFER)
		pull_into(out, RELAY_BUFFER - out->len);
}

int relay_out_drain(struct relay_out *out)
{
	size_t before;

	if (out->fd < 0)
		return 0;
	do {
		uint8_t *bigger = realloc(out->buf, out->len + RELAY_BUFFER);

		if (!bigger)
			return -ENOMEM;
		out->buf = bigger;
		before = out->len;
		pull_into(out, RELAY_BUFFER);
	} while (out->len == before + RELAY_BUFFER);
	return 0;
}

bool relay_out_ended(const struct relay_out *out)
{
	return out->fd < 0;
}

int relay_out_ack(struct relay_out *out, uint64_t off)
{
	if (out->ino == 0)
		return 0;
	if (off < out->start || off > relay_out_end(out))
		return -EINVAL;
	memmove(out->buf, out->buf + (off - out->start), (size_t)(relay_out_end(out) - off));
	out->len = (size_t)(relay_out_end(out) - off);
	out->start = off;
	return 0;
}

int relay_in_put(struct relay_in *in, uint64_t off, const void *buf, size_t len, bool eof)
{
	if (in->pos < in->len || in->eof_wanted)
		return -EAGAIN;
	if (off != in->off || len > sizeof(in->buf))
		return -EINVAL;
	memcpy(in->buf, buf, len);
	in->pos = 0;
	in->len = len;
	in->eof_wanted = eof;
	return 0;
}

bool relay_in_push(struct relay_in *in)
{
	while (in->fd >= 0 && in->pos < in->len) {
		ssize_t n = write(in->fd, in->buf + in->pos, in->len - in->pos);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return false;
		if (n < 0) {
			in->broken = true;
			close_end(&in->fd);
			break;
		}
		in->pos += (size_t)n;
		in->off += (size_t)n;
	}
	in->len = in->pos = 0;
	if (in->eof_wanted) {
		in->eof_wanted = false;
		in->ended = true;
		close_end(&in->fd);
	}
	return true;
}

/* Opens the pipe INO as PID has it; -1 when it has not. */
static int open_from_process(const char *pid, uint64_t ino)
{
	char dir[320], path[640], want[64], link[64];
	struct dirent *e;
	int fd = -1;
	DIR *d;

	snprintf(dir, sizeof(dir), "/proc/%s/fd", pid);
	snprintf(want, sizeof(want), "pipe:[%" PRIu64 "]", ino);
	d = opendir(dir);
	while (d && fd < 0 && (e = readdir(d))) {
		ssize_t n;

		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		n = readlink(path, link, sizeof(link) - 1);
		if (n > 0 && (size_t)n == strlen(want) && !memcmp(link, want, (size_t)n))
			fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	}
	if (d)
		closedir(d);
	return fd;
}

/* Our own end is closed once the input has ended; then the pipe is only known to those who still read it. */
static int open_reader(const struct relay_in *in)
{
	struct dirent *e;
	int fd = -1;
	DIR *d;

	if (in->fd >= 0)
		return open_from_process("self", in->ino);
	d = opendir("/proc");
	while (d && fd < 0 && (e = readdir(d)))
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9')
			fd = open_from_process(e->d_name, in->ino);
	if (d)
		closedir(d);
	return fd;
}

int relay_in_unread(const struct relay_in *in, void *buf, size_t size)
{
	_cleanup_close_ int from = -1, to = -1, rd = -1;
	int fds[2];
	ssize_t n;

	if (in->ino == 0 || in->broken)
		return 0;
	from = open_reader(in);
	if (from < 0)
		return 0;
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	rd = fds[0];
	to = fds[1];
	n = tee(from, to, size, SPLICE_F_NONBLOCK);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	n = n ? read(rd, buf, (size_t)n) : 0;
	return n < 0 ? -errno : (int)n;
}
