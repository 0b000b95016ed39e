/*
 * Each time the fd is readable, requests are taken until there is none or BURST were; handlers never block, so the
 * loop comes round. The receive buffer is as large as the largest write; pages of it that are never used cost nothing.
 */
#include "fuse/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/log.h"
#include "fuse/ops.h"

#define BURST 64
#define KEEP_WHOLE (64u << 10) /* from here on a copy costs more than a new buffer */

struct channel {
	struct mount *m;
	struct fuse_session *se;
	uv_poll_t poll;
	struct fuse_buf buf;
	uint64_t processing;  /* unique of the request libfuse has in hand; 0: none */
	uint64_t init_unique; /* of an INIT whose reply is to be amended; 0: none */
	void (*gone)(struct mount *m);
	bool is_gone;
};

struct fuse_session *channel_session(struct channel *ch)
{
	return ch->se;
}

/* ---- what libfuse reads and writes through ---- */

static ssize_t io_read(int fd, void *buf, size_t len, void *userdata)
{
	struct mount *m = userdata;
	const struct fuse_in_header *in = buf;
	const struct fuse_init_in *init = (const void *)(in + 1);
	ssize_t n = read(fd, buf, len);

	if (n >= (ssize_t)(sizeof(*in) + sizeof(*init)) && in->opcode == FUSE_INIT &&
	    (init->flags & FUSE_HANDLE_KILLPRIV_V2))
		m->channel->init_unique = in->unique;
	return n;
}

/*
 * Runs on the notifier's thread too, for messages without unique number.
 * libfuse 3.14 does not know FUSE_HANDLE_KILLPRIV_V2, without which the kernel asks for security.capability at every
 * write.
 */
static ssize_t io_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct channel *ch = ((struct mount *)userdata)->channel;
	struct fuse_out_header *out = iov[0].iov_base;

	/* libfuse says at once what it does not have. From anybody else, later, ENOSYS would be an accident (another
	   node's answer passed on), and the kernel would never ask again for the whole mount. */
	if (out->unique && out->error == -ENOSYS && out->unique != ch->processing)
		out->error = -EOPNOTSUPP;
	if (out->unique && out->unique == ch->init_unique && count > 1 &&
	    iov[1].iov_len >= offsetof(struct fuse_init_out, flags) + 4) {
		struct fuse_init_out *init = iov[1].iov_base;

		if (!out->error)
			init->flags |= FUSE_HANDLE_KILLPRIV_V2;
		ch->init_unique = 0;
	}
	return writev(fd, iov, count);
}

/* ---- requests ---- */

static void set_gone(struct channel *ch)
{
	if (ch->is_gone)
		return;
	ch->is_gone = true;
	uv_poll_stop(&ch->poll);
	ch->gone(ch->m);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct channel *ch = poll->data;

	(void)status; /* an error is found by reading, with its number */
	(void)events;
	for (int i = 0; i < BURST && !ch->is_gone; i++) {
		int n = fuse_session_receive_buf(ch->se, &ch->buf);

		if (n == -EAGAIN || n == -EINTR)
			return;
		if (n <= 0) {
			set_gone(ch);
			return;
		}
		ch->processing = ((const struct fuse_in_header *)ch->buf.mem)->unique;
		fuse_session_process_buf(ch->se, &ch->buf);
		ch->processing = 0;
	}
}

void *channel_keep_data(struct channel *ch, const void *data, size_t size, const void **ret_data)
{
	void *own;

	if (size >= KEEP_WHOLE) {
		own = ch->buf.mem; /* libfuse makes another for the next request */
		ch->buf.mem = NULL;
		*ret_data = data;
		return own;
	}
	own = malloc(size ? size : 1);
	if (own) {
		memcpy(own, data, size);
		*ret_data = own;
	}
	return own;
}

bool channel_kills_priv(const struct channel *ch)
{
	const struct fuse_in_header *in = ch->buf.mem;
	const void *arg = in + 1;

	/* After channel_keep_data() took the buffer the answer is not here any more: callers ask before. */
	if (!in)
		return false;
	if (in->opcode == FUSE_WRITE)
		return ((const struct fuse_write_in *)arg)->write_flags & FUSE_WRITE_KILL_SUIDGID;
	if (in->opcode == FUSE_SETATTR)
		return ((const struct fuse_setattr_in *)arg)->valid & FATTR_KILL_SUIDGID;
	return false;
}

/* ---- life ---- */

/* The session; it owns the fd from here on. */
static int start_session(struct channel *ch)
{
	static const struct fuse_custom_io io = { .writev = io_writev, .read = io_read };
	char *argv[] = { (char[]){ "cfs" }, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	const struct fuse_lowlevel_ops *ops = ops_table();
	int fd, r;

	ch->se = fuse_session_new(&args, ops, sizeof(*ops), ch->m);
	fuse_opt_free_args(&args);
	if (!ch->se)
		return -ENOMEM;
	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	r = fd < 0 ? -errno : fuse_session_custom_io(ch->se, &io, fd);
	if (r == 0)
		return 0;
	if (fd >= 0)
		close(fd);
	fuse_session_destroy(ch->se);
	return r;
}

static int do_mount(const struct channel *ch, const struct channel_conf *conf)
{
	char options[160];
	int n = snprintf(options, sizeof(options),
			 "fd=%d,rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other",
			 fuse_session_fd(ch->se));

	if (conf->max_io < MOUNT_MAX_IO)
		snprintf(options + n, sizeof(options) - (size_t)n, ",max_read=%u", conf->max_io);
	return mount(conf->source, conf->dir, "fuse.cfs", conf->flags, options) < 0 ? -errno : 0;
}

int channel_open(struct mount *m, const struct channel_conf *conf, void (*gone)(struct mount *m),
		 struct channel **ret_ch)
{
	struct channel *ch = calloc(1, sizeof(*ch));
	int r;

	if (!ch)
		return -ENOMEM;
	ch->m = m;
	ch->gone = gone;
	r = start_session(ch);
	if (r < 0)
		goto err_free;
	r = do_mount(ch, conf);
	if (r < 0)
		goto err_session;
	r = uv_poll_init(m->loop, &ch->poll, fuse_session_fd(ch->se));
	if (r < 0)
		goto err_mount;
	ch->poll.data = ch;
	*ret_ch = ch;
	uv_poll_start(&ch->poll, UV_READABLE, on_readable);
	return 0;

err_mount:
	umount2(conf->dir, MNT_DETACH);
err_session:
	fuse_session_destroy(ch->se);
err_free:
	free(ch);
	return r;
}

static void poll_closed(uv_handle_t *h)
{
	struct channel *ch = h->data;

	fuse_session_destroy(ch->se);
	free(ch->buf.mem);
	free(ch);
}

void channel_free(struct channel *ch)
{
	if (!ch)
		return;
	ch->is_gone = true;
	uv_close((uv_handle_t *)&ch->poll, poll_closed);
}
