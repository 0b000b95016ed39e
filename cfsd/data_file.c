/*
 * File contents in backing files: DIR/<low byte of the inode number, hex>/<inode number, 16 hex digits>. A file that was
 * never written has none.
 *
 * Threads: reads and changes come from the store's thread, sync from workers. The lock guards the table of open files
 * and the numbers beside it; system calls on a file run without it, the reference keeps its descriptor open meanwhile.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>
#include <uthash.h>

#include "cfsd/data.h"
#include "common/cleanup.h"

enum { OPEN_MAX_FILES = 256, PATH_LEN = 32 };

/* The reserve keeps LevelDB going when the disk is full: merging tables takes room before it gives some back. */
#define RESERVE_MIN ((uint64_t)16 << 20)
#define RESERVE_MAX ((uint64_t)1 << 30)
/* How long the last answer of statvfs(3) is used. */
#define SPACE_BYTES ((uint64_t)4 << 20)
#define SPACE_MS 100
/* Who asks is about to write metadata, of which nothing is seen here: so much at most. */
#define SPACE_ASKED ((uint64_t)64 << 10)

struct open_file {
	uint64_t ino;
	int fd;
	unsigned int refs;
	bool detached; /* out of the table, freed with the last reference */
	UT_hash_handle hh;
};

struct data_file {
	struct data data;
	int dir;
	pthread_mutex_t lock;	 /* guards all below */
	struct open_file *files; /* the least recently used first */
	/* Files made in each directory since the start, and how many of them its last finished sync covers. */
	uint32_t made[256], made_durable[256];
	uint64_t written;	 /* bytes since the last statvfs */
	int64_t asked_ms;	 /* when that was */
	uint64_t total, free;
};

static void file_path(uint64_t ino, char ret_path[PATH_LEN])
{
	snprintf(ret_path, PATH_LEN, "%02x/%016" PRIx64, (unsigned int)(ino & 0xff), ino);
}

/* Lock held. */
static int file_open_fd(struct data_file *d, uint64_t ino, bool create)
{
	char path[PATH_LEN];
	int fd;

	file_path(ino, path);
	fd = openat(d->dir, path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0 || errno != ENOENT || !create)
		return fd < 0 ? -errno : fd;
	d->made[ino & 0xff]++;
	fd = openat(d->dir, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 && errno == ENOENT) {
		path[2] = 0;
		if (mkdirat(d->dir, path, 0700) < 0 && errno != EEXIST)
			return -errno;
		path[2] = '/';
		fd = openat(d->dir, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	}
	return fd < 0 ? -errno : fd;
}

/* Out of the table; closed now, or by the last one who uses it. Lock held. */
static void file_detach(struct data_file *d, struct open_file *f)
{
	HASH_DEL(d->files, f);
	f->detached = true;
	if (!f->refs) {
		close(f->fd);
		free(f);
	}
}

/* Makes room for one more, unless all are in use. Lock held. */
static void files_shrink(struct data_file *d)
{
	struct open_file *f, *next;

	if (HASH_COUNT(d->files) < OPEN_MAX_FILES)
		return;
	HASH_ITER(hh, d->files, f, next) {
		if (!f->refs) {
			file_detach(d, f);
			return;
		}
	}
}

/* A reference to the open backing file. -ENOENT when there is none and CREATE is not asked for. */
static int file_get(struct data_file *d, uint64_t ino, bool create, struct open_file **ret_f)
{
	LOCK_SCOPE(&d->lock);
	struct open_file *f;

	HASH_FIND(hh, d->files, &ino, sizeof(ino), f);
	if (f) {
		HASH_DEL(d->files, f);
	} else {
		int fd = file_open_fd(d, ino, create);

		if (fd < 0)
			return fd;
		f = calloc(1, sizeof(*f));
		if (!f) {
			close(fd);
			return -ENOMEM;
		}
		*f = (struct open_file){ .ino = ino, .fd = fd };
		files_shrink(d);
	}
	HASH_ADD(hh, d->files, ino, sizeof(f->ino), f);
	f->refs++;
	*ret_f = f;
	return 0;
}

static void file_put(struct data_file *d, struct open_file *f)
{
	LOCK_SCOPE(&d->lock);

	if (!--f->refs && f->detached) {
		close(f->fd);
		free(f);
	}
}

static ssize_t file_read(struct data *data, uint64_t ino, void *buf, size_t len, uint64_t off)
{
	struct data_file *d = (struct data_file *)data;
	struct open_file *f;
	size_t done = 0;
	ssize_t n = 0;
	int r = file_get(d, ino, false, &f);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	while (done < len) {
		n = pread(f->fd, (uint8_t *)buf + done, len - done, (off_t)(off + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	r = n < 0 ? -errno : 0;
	file_put(d, f);
	return r < 0 ? r : (ssize_t)done;
}

static int write_all(int fd, const void *buf, size_t len, uint64_t off)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pwrite(fd, (const uint8_t *)buf + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

static int file_write(struct data *data, uint64_t ino, const void *buf, size_t len, uint64_t off)
{
	struct data_file *d = (struct data_file *)data;
	struct open_file *f;
	int r = file_get(d, ino, true, &f);

	if (r < 0)
		return r;
	r = write_all(f->fd, buf, len, off);
	file_put(d, f);
	LOCK_SCOPE(&d->lock);
	d->written += len;
	return r;
}

static int file_truncate(struct data *data, uint64_t ino, uint64_t size)
{
	struct data_file *d = (struct data_file *)data;
	struct open_file *f;
	int r = file_get(d, ino, false, &f);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = ftruncate(f->fd, (off_t)size) < 0 ? -errno : 0;
	file_put(d, f);
	return r;
}

/* For filesystems without hole punching. */
static int zero_range(int fd, uint64_t off, uint64_t len)
{
	static const uint8_t zeros[65536];
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (off >= (uint64_t)st.st_size)
		return 0;
	if (len > (uint64_t)st.st_size - off)
		len = (uint64_t)st.st_size - off;
	for (uint64_t done = 0; done < len;) {
		size_t n = len - done < sizeof(zeros) ? (size_t)(len - done) : sizeof(zeros);
		int r = write_all(fd, zeros, n, off + done);

		if (r < 0)
			return r;
		done += n;
	}
	return 0;
}

static int file_punch(struct data *data, uint64_t ino, uint64_t off, uint64_t len)
{
	struct data_file *d = (struct data_file *)data;
	struct open_file *f;
	int r = len ? file_get(d, ino, false, &f) : -ENOENT;

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len) < 0)
		r = errno == EOPNOTSUPP ? zero_range(f->fd, off, len) : -errno;
	file_put(d, f);
	return r;
}

static int file_remove(struct data *data, uint64_t ino)
{
	struct data_file *d = (struct data_file *)data;
	struct open_file *f;
	char path[PATH_LEN];
	LOCK_SCOPE(&d->lock);

	HASH_FIND(hh, d->files, &ino, sizeof(ino), f);
	if (f)
		file_detach(d, f);
	file_path(ino, path);
	if (unlinkat(d->dir, path, 0) < 0 && errno != ENOENT)
		return -errno;
	d->asked_ms = 0; /* there is room again */
	return 0;
}

/* A new file is durable when its name is, too. Two workers may do this at once: each waits for a sync of its own. */
static int sync_directory(struct data_file *d, uint64_t ino)
{
	uint32_t *durable = &d->made_durable[ino & 0xff];
	char path[PATH_LEN];
	uint32_t made;
	bool needed;

	pthread_mutex_lock(&d->lock);
	made = d->made[ino & 0xff];
	needed = made != *durable;
	pthread_mutex_unlock(&d->lock);
	if (!needed)
		return 0;
	file_path(ino, path);
	path[2] = 0;
	_cleanup_close_ int fd = openat(d->dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0 || fsync(d->dir) < 0)
		return -errno;
	LOCK_SCOPE(&d->lock);
	if ((int32_t)(made - *durable) > 0)
		*durable = made;
	return 0;
}

static int file_sync(struct data *data, uint64_t ino)
{
	struct data_file *d = (struct data_file *)data;
	struct open_file *f;
	int r;

	if (!ino)
		return syncfs(d->dir) < 0 ? -errno : 0;
	r = file_get(d, ino, false, &f);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = fdatasync(f->fd) < 0 ? -errno : 0;
	file_put(d, f);
	return r < 0 ? r : sync_directory(d, ino);
}

static uint64_t file_blocks(struct data *data, uint64_t ino)
{
	struct data_file *d = (struct data_file *)data;
	struct open_file *f;
	struct stat st;
	char path[PATH_LEN];
	LOCK_SCOPE(&d->lock);

	HASH_FIND(hh, d->files, &ino, sizeof(ino), f);
	if (f)
		return fstat(f->fd, &st) < 0 ? 0 : (uint64_t)st.st_blocks;
	file_path(ino, path);
	return fstatat(d->dir, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ? 0 : (uint64_t)st.st_blocks;
}

struct listing {
	struct data_item *v;
	size_t n, cap;
};

static int listing_add(struct listing *l, uint64_t ino, uint64_t size)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 1024;
		struct data_item *more = realloc(l->v, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		l->v = more;
		l->cap = cap;
	}
	l->v[l->n++] = (struct data_item){ ino, size };
	return 0;
}

static int list_entry(int dir, const char *name, struct listing *l)
{
	struct stat st;
	char *end;
	uint64_t ino = strtoull(name, &end, 16);

	if (end != name + 16 || *end)
		return 0;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	return listing_add(l, ino, (uint64_t)st.st_size);
}

static int list_directory(int fd, struct listing *l)
{
	DIR *dir = fdopendir(fd);
	const struct dirent *e;
	int r = 0;

	if (!dir) {
		r = -errno;
		close(fd);
		return r;
	}
	while (!r && (e = readdir(dir)))
		r = list_entry(fd, e->d_name, l);
	closedir(dir);
	return r;
}

static int file_list(struct data *data, struct data_item **ret_files, size_t *ret_n)
{
	struct data_file *d = (struct data_file *)data;
	struct listing l = { 0 };
	int r = 0;

	for (unsigned int i = 0; !r && i < 256; i++) {
		char name[3];
		int fd;

		snprintf(name, sizeof(name), "%02x", i);
		fd = openat(d->dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (fd >= 0)
			r = list_directory(fd, &l);
		else if (errno != ENOENT)
			r = -errno;
	}
	if (r < 0) {
		free(l.v);
		return r;
	}
	*ret_files = l.v;
	*ret_n = l.n;
	return 0;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Lock held. */
static int ask_space(struct data_file *d, int64_t now)
{
	struct statvfs st;
	uint64_t reserve, avail;

	if (fstatvfs(d->dir, &st) < 0)
		return -errno;
	d->total = (uint64_t)st.f_blocks * st.f_frsize;
	avail = (uint64_t)st.f_bavail * st.f_frsize;
	reserve = d->total / 20;
	reserve = reserve < RESERVE_MIN ? RESERVE_MIN : reserve > RESERVE_MAX ? RESERVE_MAX : reserve;
	d->free = avail > reserve ? avail - reserve : 0;
	if (st.f_files && st.f_favail < OPEN_MAX_FILES)
		d->free = 0;
	d->written = 0;
	d->asked_ms = now;
	return 0;
}

static int file_space(struct data *data, uint64_t *ret_total, uint64_t *ret_free)
{
	struct data_file *d = (struct data_file *)data;
	LOCK_SCOPE(&d->lock);
	int64_t now = now_ms();
	int r = 0;

	if (!d->asked_ms || d->written >= SPACE_BYTES || now - d->asked_ms >= SPACE_MS || d->free < SPACE_BYTES)
		r = ask_space(d, now);
	if (r < 0)
		return r;
	*ret_total = d->total;
	*ret_free = d->free > d->written ? d->free - d->written : 0;
	d->written += SPACE_ASKED;
	return 0;
}

static void file_close(struct data *data)
{
	struct data_file *d = (struct data_file *)data;
	struct open_file *f, *next;

	HASH_ITER(hh, d->files, f, next)
		file_detach(d, f);
	close(d->dir);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

int data_file_open(const char *dir, struct data **ret_d)
{
	static const struct data_ops ops = {
		.read = file_read,
		.write = file_write,
		.truncate = file_truncate,
		.punch = file_punch,
		.remove = file_remove,
		.list = file_list,
		.sync = file_sync,
		.blocks = file_blocks,
		.space = file_space,
		.close = file_close,
	};
	_cleanup_close_ int fd = -1;
	struct data_file *d;

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->data.ops = &ops;
	d->dir = TAKE_FD(fd);
	pthread_mutex_init(&d->lock, NULL);
	*ret_d = &d->data;
	return 0;
}
