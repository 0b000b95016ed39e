#include "migrate/images.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/cleanup.h"

int images_base(const char *base)
{
	struct statfs sf;

	if (mkdir(base, 0700) && errno != EEXIST)
		return -errno;
	if (statfs(base, &sf))
		return -errno;
	if (sf.f_type == TMPFS_MAGIC)
		return 0;
	return mount("cfs-images", base, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") ? -errno : 0;
}

int images_create(const char *path)
{
	return mkdir(path, 0700) ? -errno : 0;
}

void images_remove(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;

	if (!d)
		return;
	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
	rmdir(path);
}

static bool is_image(const char *name)
{
	size_t len = strlen(name);

	return name[0] != '.' && !(len > 4 && !strcmp(name + len - 4, ".log"));
}

static int add_name(struct images *im, const char *name)
{
	char **bigger = realloc(im->names, (im->nr + 1) * sizeof(*bigger));

	if (!bigger)
		return -ENOMEM;
	im->names = bigger;
	im->names[im->nr] = strdup(name);
	if (!im->names[im->nr])
		return -ENOMEM;
	im->nr++;
	return 0;
}

int images_open(struct images *im, const char *path)
{
	struct dirent *e;
	int r = 0;
	DIR *d;

	memset(im, 0, sizeof(*im));
	im->fd = -1;
	im->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = im->dir < 0 ? NULL : opendir(path);
	if (!d) {
		r = -errno;
		images_release(im);
		return r;
	}
	while (!r && (e = readdir(d)))
		if (is_image(e->d_name))
			r = add_name(im, e->d_name);
	closedir(d);
	if (r)
		images_release(im);
	return r;
}

void images_release(struct images *im)
{
	for (size_t i = 0; i < im->nr; i++)
		free(im->names[i]);
	free(im->names);
	if (im->fd >= 0)
		close(im->fd);
	if (im->dir >= 0)
		close(im->dir);
	memset(im, 0, sizeof(*im));
	im->fd = im->dir = -1;
}

int images_next(struct images *im, void *buf, const char **ret_name, uint64_t *ret_off, size_t *ret_len)
{
	while (im->next < im->nr) {
		ssize_t n;

		if (im->fd < 0) {
			im->fd = openat(im->dir, im->names[im->next], O_RDONLY | O_CLOEXEC);
			im->off = 0;
		}
		n = im->fd < 0 ? -1 : pread(im->fd, buf, IMAGES_PIECE, (off_t)im->off);
		if (n < 0)
			return -errno;
		if (n == 0 && im->off > 0) {
			close(im->fd);
			im->fd = -1;
			im->next++;
			continue;
		}
		*ret_name = im->names[im->next];
		*ret_off = im->off;
		*ret_len = (size_t)n;
		im->off += (uint64_t)n;
		im->bytes += (uint64_t)n;
		if (n == 0) { /* an empty file: one piece, then the next file */
			close(im->fd);
			im->fd = -1;
			im->next++;
		}
		return 1;
	}
	return 0;
}

int images_write(const char *path, const char *name, uint64_t off, const void *buf, size_t len)
{
	_cleanup_close_ int dir = -1, fd = -1;
	const char *p = buf;

	if (!is_image(name) || strchr(name, '/') || strlen(name) >= IMAGES_NAME_MAX || !*name)
		return -EINVAL;
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = dir < 0 ? -1 : openat(dir, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, (off_t)off);

		if (n < 0)
			return -errno;
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}
