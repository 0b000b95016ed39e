/*
 * The metadata store on disk. The only file that speaks LevelDB; its error strings become errnos here, and are logged
 * because nobody above will see them.
 *
 * Threads: LevelDB's own calls may come from any thread, so get, apply and iterators may too.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <leveldb/c.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cfsd/batch.h"
#include "cfsd/meta.h"
#include "common/cleanup.h"
#include "common/log.h"

/*
 * Caches are small on purpose: an idle server should take little memory, and the kernel caches the tables anyway. The
 * write buffer is taken as it is filled; most of what is written (reply records, directories, files soon removed) is
 * replaced in it before it gets into a table: 16 MiB instead of 4 save a quarter to a half of the CPU time of a change.
 */
enum { WRITE_BUFFER = 16 << 20, BLOCK_CACHE = 8 << 20, OPEN_FILES = 200, BLOOM_BITS = 10 };
/* On a small disk, logs and the merging of tables must do with less room. */
enum { WRITE_BUFFER_SMALL = 1 << 20 };
#define SMALL_DISK ((uint64_t)1 << 30)

struct meta_leveldb {
	struct meta meta;
	leveldb_t *db;
	leveldb_options_t *options;
	leveldb_cache_t *cache;
	leveldb_filterpolicy_t *bloom;
	leveldb_readoptions_t *read;
	leveldb_writeoptions_t *write, *write_sync;
	int dir;
};

struct meta_iter {
	leveldb_iterator_t *it;
	bool started;
};

/* LevelDB tells nothing but a string; "No space left on device" is the one that callers can do something about. */
static int error_take(const char *what, char *err)
{
	int r = -EIO;

	if (!err)
		return 0;
	log_error("meta", "%s: %s", what, err);
	if (strstr(err, strerror(ENOSPC)))
		r = -ENOSPC;
	leveldb_free(err);
	return r;
}

static int ldb_get(struct meta *meta, const void *key, size_t klen, void **ret_val, size_t *ret_vlen)
{
	struct meta_leveldb *m = (struct meta_leveldb *)meta;
	char *err = NULL;
	size_t vlen;
	char *val = leveldb_get(m->db, m->read, key, klen, &vlen, &err);

	if (err)
		return error_take("get", err);
	if (!val)
		return -ENOENT;
	*ret_val = val;
	*ret_vlen = vlen;
	return 0;
}

/* The number of a log of LevelDB's, 0 for other files. */
static unsigned long long log_number(const char *name)
{
	char *end;
	unsigned long long n = strtoull(name, &end, 10);

	return end != name && !strcmp(end, ".log") ? n : 0;
}

static int sync_file(int dir, const char *name)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno; /* gone: its table is durable */
	return fdatasync(fd) < 0 ? -errno : 0;
}

static int sync_logs_before(struct meta_leveldb *m, DIR *d)
{
	unsigned long long newest = 0, n;
	const struct dirent *e;
	int r = 0;

	while ((e = readdir(d))) {
		n = log_number(e->d_name);
		newest = n > newest ? n : newest;
	}
	rewinddir(d);
	while (!r && (e = readdir(d))) {
		n = log_number(e->d_name);
		if (n && n < newest)
			r = sync_file(m->dir, e->d_name);
	}
	return r;
}

/*
 * A synced write of LevelDB's syncs the newest log only. What was written without a sync before it may be in an older
 * one, until that has become a table.
 */
static int sync_older_logs(struct meta_leveldb *m)
{
	int fd = openat(m->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (d) {
		r = sync_logs_before(m, d);
		closedir(d);
	} else {
		r = -errno;
		if (fd >= 0)
			close(fd);
	}
	if (r < 0)
		log_error("meta", "syncing older logs: %s", strerror(-r));
	return r;
}

static int ldb_apply(struct meta *meta, const void *batch, size_t len, bool sync)
{
	struct meta_leveldb *m = (struct meta_leveldb *)meta;
	leveldb_writebatch_t *wb = leveldb_writebatch_create();
	struct batch_item b;
	char *err = NULL;
	size_t pos = 0;
	int r;

	while ((r = batch_next(batch, len, &pos, &b)) > 0) {
		if (b.val)
			leveldb_writebatch_put(wb, b.key, b.klen, b.val, b.vlen);
		else
			leveldb_writebatch_delete(wb, b.key, b.klen);
	}
	if (!r) {
		leveldb_write(m->db, sync ? m->write_sync : m->write, wb, &err);
		r = error_take("write", err);
	}
	leveldb_writebatch_destroy(wb);
	return !r && sync ? sync_older_logs(m) : r;
}

static int ldb_iter_new(struct meta *meta, const void *from, size_t flen, struct meta_iter **ret_it)
{
	struct meta_leveldb *m = (struct meta_leveldb *)meta;
	struct meta_iter *it = calloc(1, sizeof(*it));

	if (!it)
		return -ENOMEM;
	it->it = leveldb_create_iterator(m->db, m->read);
	leveldb_iter_seek(it->it, from, flen);
	*ret_it = it;
	return 0;
}

static int ldb_iter_next(struct meta_iter *it, const void **ret_key, size_t *ret_klen, const void **ret_val,
			 size_t *ret_vlen)
{
	char *err = NULL;

	if (it->started && leveldb_iter_valid(it->it))
		leveldb_iter_next(it->it);
	it->started = true;
	if (!leveldb_iter_valid(it->it)) {
		leveldb_iter_get_error(it->it, &err);
		return error_take("iterate", err);
	}
	*ret_key = leveldb_iter_key(it->it, ret_klen);
	*ret_val = leveldb_iter_value(it->it, ret_vlen);
	return 1;
}

static void ldb_iter_free(struct meta_iter *it)
{
	if (!it)
		return;
	leveldb_iter_destroy(it->it);
	free(it);
}

/* Also for one that never opened. */
static void ldb_close(struct meta *meta)
{
	struct meta_leveldb *m = (struct meta_leveldb *)meta;

	if (m->db)
		leveldb_close(m->db);
	leveldb_options_destroy(m->options);
	leveldb_cache_destroy(m->cache);
	leveldb_filterpolicy_destroy(m->bloom);
	leveldb_readoptions_destroy(m->read);
	leveldb_writeoptions_destroy(m->write);
	leveldb_writeoptions_destroy(m->write_sync);
	close(m->dir);
	free(m);
}

static size_t write_buffer(const char *dir)
{
	struct statvfs st;

	return !statvfs(dir, &st) && (uint64_t)st.f_blocks * st.f_frsize < SMALL_DISK ? WRITE_BUFFER_SMALL : WRITE_BUFFER;
}

static void set_options(struct meta_leveldb *m, const char *dir)
{
	m->options = leveldb_options_create();
	m->cache = leveldb_cache_create_lru(BLOCK_CACHE);
	m->bloom = leveldb_filterpolicy_create_bloom(BLOOM_BITS);
	leveldb_options_set_create_if_missing(m->options, 1);
	leveldb_options_set_write_buffer_size(m->options, write_buffer(dir));
	leveldb_options_set_max_open_files(m->options, OPEN_FILES);
	leveldb_options_set_cache(m->options, m->cache);
	/* Half of all lookups are for names that are not there. */
	leveldb_options_set_filter_policy(m->options, m->bloom);
	leveldb_options_set_compression(m->options, leveldb_snappy_compression);
	m->read = leveldb_readoptions_create();
	m->write = leveldb_writeoptions_create();
	m->write_sync = leveldb_writeoptions_create();
	leveldb_writeoptions_set_sync(m->write_sync, 1);
}

int meta_leveldb_open(const char *dir, struct meta **ret_m)
{
	static const struct meta_ops ops = {
		.get = ldb_get,
		.apply = ldb_apply,
		.iter_new = ldb_iter_new,
		.iter_next = ldb_iter_next,
		.iter_free = ldb_iter_free,
		.close = ldb_close,
	};
	struct meta_leveldb *m = calloc(1, sizeof(*m));
	char *err = NULL;
	int r;

	if (!m)
		return -ENOMEM;
	if (mkdir(dir, 0700) < 0 && errno != EEXIST) {
		r = -errno;
		free(m);
		return r;
	}
	m->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (m->dir < 0) {
		r = -errno;
		free(m);
		return r;
	}
	m->meta.ops = &ops;
	set_options(m, dir);
	m->db = leveldb_open(m->options, dir, &err);
	r = error_take(dir, err);
	if (r < 0) {
		ldb_close(&m->meta);
		return r;
	}
	*ret_m = &m->meta;
	return 0;
}
