/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "procfs-cluster/procdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "procfs-cluster/text.h"

#define CHUNK 4096u

int procdir_read(int proc_fd, const char *path, size_t max, struct wire_writer *out)
{
	_cleanup_close_ int fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	size_t start = out->len;
	ssize_t n;

	if (fd < 0)
		return -errno;
	do {
		uint8_t *to = wire_reserve(out, CHUNK);

		if (!to)
			return out->err;
		n = read(fd, to, CHUNK);
		out->len -= CHUNK - (n > 0 ? (size_t)n : 0);
		if (n < 0 && errno != EINTR) {
			out->len = start;
			return -errno;
		}
		if (out->len - start > max) {
			out->len = start;
			return -EFBIG;
		}
	} while (n);
	return 0;
}

int procdir_readlink(int proc_fd, const char *path, struct wire_writer *out)
{
	char target[WIRE_STR_MAX + 1];
	ssize_t n = readlinkat(proc_fd, path, target, sizeof(target));

	if (n < 0)
		return -errno;
	if ((size_t)n == sizeof(target))
		return -ENAMETOOLONG;
	return text_put(out, target, (size_t)n);
}

static int by_number(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

int procdir_numbers(int proc_fd, const char *path, uint32_t **ret_numbers, size_t *ret_nr)
{
	int fd = openat(proc_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	uint32_t *numbers = NULL;
	size_t nr = 0, cap = 0;
	struct dirent *d;

	if (!dir) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return r;
	}
	while ((errno = 0, d = readdir(dir))) {
		uint64_t v;

		if (!text_u64(text_of(d->d_name, strlen(d->d_name)), &v) || v > UINT32_MAX)
			continue;
		if (nr == cap) {
			uint32_t *more = reallocarray(numbers, cap = cap ? cap * 2 : 256, sizeof(*numbers));

			if (!more) {
				r = -ENOMEM;
				break;
			}
			numbers = more;
		}
		numbers[nr++] = (uint32_t)v;
	}
	if (!r && errno)
		r = -errno;
	closedir(dir);
	if (r < 0) {
		free(numbers);
		return r;
	}
	if (nr)
		qsort(numbers, nr, sizeof(*numbers), by_number);
	*ret_numbers = numbers;
	*ret_nr = nr;
	return 0;
}

int procdir_inode(int proc_fd, const char *path, uint64_t *ret_ino)
{
	struct stat st;

	if (fstatat(proc_fd, path, &st, 0) < 0)
		return -errno;
	*ret_ino = st.st_ino;
	return 0;
}
