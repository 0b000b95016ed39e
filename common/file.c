/* No state, any thread. */
#include "common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

static int join_path(const char *dir, const char *name, const char *suffix, char **ret_path)
{
	char *path;

	if (asprintf(&path, "%s/%s%s", dir, name, suffix) < 0)
		return -ENOMEM;
	*ret_path = path;
	return 0;
}

static int read_all(int fd, char *buf, size_t len, size_t *ret_len)
{
	size_t at = 0;

	while (at < len) {
		ssize_t n = read(fd, buf + at, len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		at += (size_t)n;
	}
	*ret_len = at;
	return 0;
}

int file_load(const char *dir, const char *name, size_t max, char **ret_text, size_t *ret_len)
{
	_cleanup_free_ char *path = NULL, *buf = NULL;
	_cleanup_close_ int fd = -1;
	struct stat st;
	size_t len = 0;
	int r = join_path(dir, name, "", &path);

	if (r < 0)
		return r;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < 0 || (size_t)st.st_size > max)
		return -EFBIG;
	buf = malloc((size_t)st.st_size + 1);
	if (!buf)
		return -ENOMEM;
	r = read_all(fd, buf, (size_t)st.st_size, &len);
	if (r < 0)
		return r;
	buf[len] = 0;
	*ret_text = TAKE_PTR(buf);
	*ret_len = len;
	return 0;
}

static int write_all(int fd, const char *p, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int write_new(const char *path, const void *buf, size_t len, unsigned mode, bool sync)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, (mode_t)mode);
	int r;

	if (fd < 0)
		return -errno;
	/* Whatever the umask is, and whatever was left there. */
	r = fchmod(fd, (mode_t)mode) < 0 ? -errno : write_all(fd, buf, len);
	if (!r && sync && fsync(fd) < 0)
		r = -errno;
	return r;
}

/* A rename is durable when its directory is. */
static int sync_dir(const char *dir)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int file_replace(const char *dir, const char *name, const void *buf, size_t len, unsigned mode, bool sync)
{
	_cleanup_free_ char *path = NULL, *tmp = NULL;
	int r = join_path(dir, name, "", &path);

	if (!r)
		r = join_path(dir, name, ".new", &tmp);
	if (r < 0)
		return r;
	r = write_new(tmp, buf, len, mode, sync);
	if (!r && rename(tmp, path) < 0)
		r = -errno;
	if (r < 0)
		unlink(tmp);
	else if (sync)
		r = sync_dir(dir);
	return r;
}
