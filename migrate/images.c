#include "migrate/images.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

/*
 * A tmpfs of its own, mounted once: the node's other files in its run directory cannot be crowded out by a large process,
 * and large folios make writing and reading it a good deal cheaper (a kernel without them gives plain pages).
 */
int images_base(const char *base)
{
	const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
	struct stat st, parent;
	char above[PATH_MAX];

	if (mkdir(base, 0700) && errno != EEXIST)
		return -errno;
	snprintf(above, sizeof(above), "%s/..", base);
	if (stat(base, &st) || stat(above, &parent))
		return -errno;
	if (st.st_dev != parent.st_dev)
		return 0;
	if (mount("cfs-images", base, "tmpfs", flags, "mode=0700,huge=within_size") == 0)
		return 0;
	return mount("cfs-images", base, "tmpfs", flags, "mode=0700") ? -errno : 0;
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

void images_sweep(const char *base, bool (*keep)(void *ctx, const char *path), void *ctx)
{
	DIR *d = opendir(base);
	char path[PATH_MAX];
	struct dirent *e;

	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", base, e->d_name);
		if (!keep(ctx, path))
			images_remove(path);
	}
	if (d)
		closedir(d);
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

static void init(struct images *im)
{
	*im = (struct images){ .dir = -1, .fd = -1 };
}

static void page_file(struct images *im, unsigned nr)
{
	im->page_nr = nr;
	snprintf(im->page_name, sizeof(im->page_name), "pages-%u.img", nr);
}

int images_open(struct images *im, const char *path)
{
	init(im);
	page_file(im, 1);
	im->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return im->dir < 0 ? -errno : 0;
}

/* The one that is followed is sent to its end, those before it were. */
static bool is_followed(const struct images *im, const char *name)
{
	unsigned nr;

	return sscanf(name, "pages-%u.img", &nr) == 1 && (nr < im->page_nr || (nr == im->page_nr && im->fd >= 0));
}

int images_complete(struct images *im, const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	int r = d ? 0 : -errno;

	while (!r && (e = readdir(d)))
		if (is_image(e->d_name) && !is_followed(im, e->d_name))
			r = add_name(im, e->d_name);
	if (d)
		closedir(d);
	im->complete = true;
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
	init(im);
}

/* Reads on in the file at hand: 1, or 0 at its end and it is closed. Until it is FINAL only whole pieces are taken. */
static int next_of_file(struct images *im, bool final, void *buf, uint64_t *ret_off, size_t *ret_len)
{
	ssize_t n = pread(im->fd, buf, IMAGES_PIECE, (off_t)im->off);

	if (n < 0)
		return -errno;
	if (!final && n < (ssize_t)IMAGES_PIECE)
		return -EAGAIN;
	if (n == 0 && im->begun) {
		close(TAKE_FD(im->fd));
		return 0;
	}
	*ret_off = im->off;
	*ret_len = (size_t)n;
	im->begun = true;
	im->off += (uint64_t)n;
	im->bytes += (uint64_t)n;
	return 1;
}

static int open_next(struct images *im, const char *name)
{
	im->fd = openat(im->dir, name, O_RDONLY | O_CLOEXEC);
	im->begun = false;
	im->off = 0;
	return im->fd < 0 ? -errno : 0;
}

/* While the dump goes on: the file that grows; one that has a successor does not grow any more. */
static int next_of_pages(struct images *im, void *buf, const char **ret_name, uint64_t *ret_off, size_t *ret_len)
{
	int r = 0;

	while (r == 0) {
		char successor[32];

		if (im->fd < 0 && (r = open_next(im, im->page_name)) < 0)
			return r == -ENOENT ? -EAGAIN : r;
		snprintf(successor, sizeof(successor), "pages-%u.img", im->page_nr + 1);
		*ret_name = im->page_name;
		r = next_of_file(im, faccessat(im->dir, successor, F_OK, 0) == 0, buf, ret_off, ret_len);
		if (r == 0)
			page_file(im, im->page_nr + 1);
	}
	return r;
}

int images_next(struct images *im, void *buf, const char **ret_name, uint64_t *ret_off, size_t *ret_len)
{
	int r = 0;

	if (!im->complete)
		return next_of_pages(im, buf, ret_name, ret_off, ret_len);
	*ret_name = im->page_name; /* when it is still open */
	while (r == 0) {
		if (im->fd < 0) {
			if (im->next == im->nr)
				return 0;
			r = open_next(im, im->names[im->next++]);
		}
		if (im->next)
			*ret_name = im->names[im->next - 1];
		if (!r)
			r = next_of_file(im, true, buf, ret_off, ret_len);
	}
	return r;
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
