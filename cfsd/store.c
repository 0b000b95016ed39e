/*
 * One copy of one filesystem: opening, applying records, making them durable.
 *
 * Threads: everything on the store's thread, but store_sync(), which workers call at the same time. What the two share
 * is behind `lock`; metadata and data take care of themselves.
 */
#include "cfsd/store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>

#include "cfsd/dentry.h"
#include "cfsd/extent.h"
#include "cfsd/inode.h"
#include "cfsd/meta_key.h"
#include "cfsd/store_redo.h"
#include "cfsd/system.h"
#include "common/cleanup.h"
#include "common/fault.h"

/* More than can have been made since anything was durable. */
#define SKIPPED ((uint64_t)1 << 32)
/* With more files than this to make durable, one syncfs(2) is cheaper than a sync of each. */
enum { SYNC_SINGLE_MAX = 64 };

/* A file with changes that are not durable. SEQ tells a sync whether it changed again meanwhile. */
struct unsynced {
	uint64_t ino, seq;
	UT_hash_handle hh;
};

struct store {
	struct meta *meta;
	struct data *data;
	struct wire_logpos pos;
	struct system_counters counters;
	struct wire_logpos loss;
	bool formatted;
	atomic_bool has_removed; /* there may be Z keys */
	int broken; /* the errno that ended this copy */
	struct redo redo;
	struct batch scratch; /* of store_apply */

	pthread_mutex_t lock; /* guards all below */
	struct unsynced *unsynced;
	uint64_t unsynced_seq;
	bool others_unsynced; /* a killed process before us may have left more than is in the list */
};

struct meta *store_meta(struct store *s)
{
	return s->meta;
}

struct data *store_data(struct store *s)
{
	return s->data;
}

bool store_is_formatted(const struct store *s)
{
	return s->formatted;
}

struct wire_logpos store_position(const struct store *s)
{
	return s->pos;
}

uint64_t store_next_ino(const struct store *s)
{
	return s->counters.next_ino;
}

uint64_t store_nr_inodes(const struct store *s)
{
	return s->counters.nr_inodes;
}

/* From here on it may hold what the version that made it does not know. */
static int raise_format(struct meta *m)
{
	struct batch b;
	int r;

	batch_init(&b);
	system_put_format(&b);
	r = b.err ? b.err : m->ops->apply(m, b.buf, b.len, true);
	batch_release(&b);
	return r;
}

struct wire_logpos store_loss(const struct store *s)
{
	return s->loss;
}

static int load(struct store *s)
{
	struct system_state st;
	int r = system_load(s->meta, &st);

	if (!r && st.older)
		r = raise_format(s->meta);
	if (r < 0)
		return r;
	s->formatted = st.formatted;
	s->pos = st.pos;
	s->counters = st.counters;
	s->loss = st.loss;
	return 0;
}

int store_reload(struct store *s)
{
	int r = redo_forget(s->data);

	return r < 0 ? r : load(s);
}

static int note_unsynced(struct store *s, uint64_t ino)
{
	LOCK_SCOPE(&s->lock);
	struct unsynced *u;

	HASH_FIND(hh, s->unsynced, &ino, sizeof(ino), u);
	if (!u) {
		u = calloc(1, sizeof(*u));
		if (!u)
			return -ENOMEM;
		u->ino = ino;
		HASH_ADD(hh, s->unsynced, ino, sizeof(u->ino), u);
	}
	u->seq = ++s->unsynced_seq;
	return 0;
}

static int change_data(struct data *d, const struct extent *e)
{
	switch (e->kind) {
	case EXTENT_WRITE:
	case EXTENT_APPEND:
		return d->ops->write(d, e->ino, e->bytes, e->len, e->off);
	case EXTENT_TRUNCATE:
		return d->ops->truncate(d, e->ino, e->off);
	case EXTENT_PUNCH:
		return d->ops->punch(d, e->ino, e->off, e->len);
	case EXTENT_REMOVE:
		return 0; /* store_free_removed() */
	}
	return -EBADMSG;
}

/* Noted when it is done: a sync that runs meanwhile must not forget a change that it has not seen. */
static int apply_extent(struct store *s, const struct extent *e)
{
	int r = change_data(s->data, e), noted = e->kind == EXTENT_REMOVE ? 0 : note_unsynced(s, e->ino);

	return r < 0 ? r : noted;
}

/* Those that go before the batch, appends, or those that come after it. */
static int apply_extents(struct store *s, const void *buf, size_t len, bool appends)
{
	struct extent e;
	size_t pos = 0;
	int r;

	while ((r = extent_next(buf, len, &pos, &e)) > 0) {
		if ((e.kind == EXTENT_APPEND) == appends)
			r = apply_extent(s, &e);
		if (r < 0)
			break;
	}
	return r;
}

/* ---- after a crash ---- */

static int redo_again(void *ctx, const void *extents, size_t len)
{
	return apply_extents(ctx, extents, len, false);
}

/* What is in the backing file beyond what the inode says, or without an inode that uses it, goes. */
static int trim(struct store *s, uint64_t ino)
{
	struct data *d = s->data;
	struct inode in;
	int r = inode_load(s, ino, &in);

	if (r < 0 && r != -ESTALE)
		return r;
	return r || in.layout == INODE_INLINE ? d->ops->remove(d, ino) : d->ops->truncate(d, ino, in.size);
}

static int redo_undo(void *ctx, const void *extents, size_t len)
{
	struct extent e;
	size_t pos = 0;
	int r;

	while ((r = extent_next(extents, len, &pos, &e)) > 0) {
		if (e.kind == EXTENT_APPEND)
			r = trim(ctx, e.ino);
		if (r < 0)
			break;
	}
	return r;
}

static int open_with(struct meta *meta, struct data *data, uint64_t boot, struct store **ret_s)
{
	struct store *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->meta = meta;
	s->data = data;
	s->redo.boot = boot;
	s->has_removed = true;
	s->others_unsynced = true;
	batch_init(&s->scratch);
	pthread_mutex_init(&s->lock, NULL);
	r = load(s);
	if (!r)
		r = redo_recover(&s->redo, s->data, s->pos, redo_again, redo_undo, s);
	if (r < 0) {
		store_detach(s, &meta, &data);
		return r;
	}
	*ret_s = s;
	return 0;
}

int store_open(struct meta *meta, struct data *data, struct store **ret_s)
{
	return open_with(meta, data, 0, ret_s);
}

/* Identifies this boot of the machine: redo slots written before a power loss are not to be trusted. */
static int boot_id(uint64_t *ret_boot)
{
	_cleanup_close_ int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	char text[9] = "";

	if (fd < 0 || read(fd, text, 8) != 8)
		return -EIO;
	*ret_boot = strtoul(text, NULL, 16) | (uint64_t)1 << 32;
	return 0;
}

int store_open_disk(const char *dir, struct store **ret_s)
{
	struct meta *meta = NULL;
	struct data *data = NULL;
	char path[4096];
	uint64_t boot;
	int r = boot_id(&boot);

	if (r < 0)
		return r;
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return -errno;
	if ((size_t)snprintf(path, sizeof(path), "%s/meta", dir) >= sizeof(path))
		return -ENAMETOOLONG;
	r = meta_leveldb_open(path, &meta);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/data", dir);
	r = data_file_open(path, &data);
	if (r < 0)
		goto err_meta_close;
	r = open_with(meta, data, boot, ret_s);
	if (r < 0)
		goto err_data_close;
	return 0;

err_data_close:
	data->ops->close(data);
err_meta_close:
	meta->ops->close(meta);
	return r;
}

void store_detach(struct store *s, struct meta **ret_meta, struct data **ret_data)
{
	struct unsynced *u, *next;

	*ret_meta = s->meta;
	*ret_data = s->data;
	HASH_ITER(hh, s->unsynced, u, next) {
		HASH_DEL(s->unsynced, u);
		free(u);
	}
	batch_release(&s->scratch);
	redo_release(&s->redo);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void store_close(struct store *s)
{
	struct meta *meta;
	struct data *data;

	if (!s)
		return;
	store_detach(s, &meta, &data);
	meta->ops->close(meta);
	data->ops->close(data);
}

/* Everything in it can be decoded; *counters and *loss are what it leaves them at. */
static int check_record(const struct record *rec, struct system_counters *counters, struct wire_logpos *loss)
{
	struct batch_item b;
	struct extent e;
	size_t pos = 0;
	int r;

	while ((r = batch_next(rec->batch, rec->batch_len, &pos, &b)) > 0) {
		r = 0;
		if (b.val && meta_key_is_system(b.key, b.klen, SYSTEM_NEXT_INO))
			r = system_counters_decode(b.val, b.vlen, counters);
		else if (b.val && meta_key_is_system(b.key, b.klen, SYSTEM_LOSS))
			r = system_loss_decode(b.val, b.vlen, loss);
		if (r < 0)
			return r;
	}
	pos = 0;
	while (!r && (r = extent_next(rec->extents, rec->extents_len, &pos, &e)) > 0)
		r = 0;
	return r;
}

/* For inodes of the record whose data goes, beside the batch that removes them. *ret_any: there are such. */
static int note_removed(struct store *s, const struct record *rec, bool *ret_any)
{
	struct meta_key k;
	struct extent e;
	size_t pos = 0;
	int r;

	while ((r = extent_next(rec->extents, rec->extents_len, &pos, &e)) > 0) {
		if (e.kind != EXTENT_REMOVE)
			continue;
		meta_key_removed(&k, e.ino);
		batch_put(&s->scratch, k.b, k.len, "", 0);
		*ret_any = true;
	}
	return r;
}

static int apply_checked(struct store *s, const struct record *rec)
{
	bool removes = false;
	int r;

	s->scratch.len = 0;
	s->scratch.err = 0;
	batch_append(&s->scratch, rec->batch, rec->batch_len);
	system_put_position(&s->scratch, rec->pos);
	r = note_removed(s, rec, &removes);
	if (!r)
		r = s->scratch.err;
	if (r < 0)
		return r;
	if (rec->extents_len)
		r = redo_save(&s->redo, s->data, rec);
	if (!r)
		r = apply_extents(s, rec->extents, rec->extents_len, true);
	if (!r)
		r = fault_hit(FAULT_store_after_appends);
	if (!r)
		r = s->meta->ops->apply(s->meta, s->scratch.buf, s->scratch.len, false);
	if (removes)
		atomic_store(&s->has_removed, true);
	if (!r)
		r = fault_hit(FAULT_store_after_batch);
	if (!r)
		r = apply_extents(s, rec->extents, rec->extents_len, false);
	return r;
}

int store_apply(struct store *s, const struct record *rec)
{
	struct system_counters counters = s->counters;
	struct wire_logpos loss = s->loss;
	int r;

	if (s->broken)
		return s->broken;
	if (rec->prev.epoch != s->pos.epoch || rec->prev.lsn != s->pos.lsn)
		return -ESTALE;
	if (rec->pos.lsn != rec->prev.lsn + 1 || rec->pos.epoch < rec->prev.epoch)
		return -EBADMSG;
	r = check_record(rec, &counters, &loss);
	if (!r)
		r = fault_hit(FAULT_store_apply);
	if (r < 0)
		return r;
	r = apply_checked(s, rec);
	if (r < 0)
		return s->broken = r;
	s->pos = rec->pos;
	s->counters = counters;
	s->loss = loss;
	s->formatted = true;
	return 0;
}

int store_format(struct store *s, uint64_t epoch, uint64_t now_ns)
{
	struct system_counters counters = { .next_ino = INODE_ROOT + 1, .nr_inodes = 1 };
	struct inode root = {
		.ino = INODE_ROOT,
		.mode = S_IFDIR | 0755,
		.nlink = 2,
		.atime = now_ns,
		.mtime = now_ns,
		.ctime = now_ns,
		.btime = now_ns,
		.change = 1,
		.parent = INODE_ROOT,
	};
	struct txn t;
	int r;

	if (s->pos.lsn)
		return -EEXIST;
	txn_init(&t);
	inode_save(&t, &root);
	system_put_format(&t.meta);
	system_put_counters(&t.meta, &counters);
	r = txn_error(&t);
	if (!r)
		r = store_apply(s, &(struct record){ .pos = { .epoch = epoch, .lsn = 1 },
						     .batch = t.meta.buf,
						     .batch_len = t.meta.len });
	txn_release(&t);
	return r;
}

/*
 * Copies the files to make durable; the list stays as it is until they are. *ret_all: everything is to be synced, listed
 * or not. NULL with *ret_n > 0: no memory.
 */
static struct unsynced *unsynced_copy(struct store *s, size_t *ret_n, bool *ret_all)
{
	LOCK_SCOPE(&s->lock);
	struct unsynced *u, *next, *copy;
	size_t i = 0;

	*ret_n = HASH_COUNT(s->unsynced);
	*ret_all = s->others_unsynced || *ret_n > SYNC_SINGLE_MAX;
	copy = *ret_n ? malloc(*ret_n * sizeof(*copy)) : NULL;
	if (!copy)
		return NULL;
	HASH_ITER(hh, s->unsynced, u, next)
		copy[i++] = *u;
	return copy;
}

static void unsynced_forget(struct store *s, const struct unsynced *done, size_t n, bool all)
{
	LOCK_SCOPE(&s->lock);

	s->others_unsynced &= !all;
	for (size_t i = 0; i < n; i++) {
		struct unsynced *u;

		HASH_FIND(hh, s->unsynced, &done[i].ino, sizeof(done[i].ino), u);
		if (u && u->seq == done[i].seq) {
			HASH_DEL(s->unsynced, u);
			free(u);
		}
	}
}

static int sync_data(struct store *s)
{
	struct data *d = s->data;
	bool all;
	size_t n;
	_cleanup_free_ struct unsynced *list = unsynced_copy(s, &n, &all);
	int r = 0;

	if (n && !list)
		return -ENOMEM;
	if (all)
		r = d->ops->sync(d, 0);
	for (size_t i = 0; !r && !all && i < n; i++)
		r = d->ops->sync(d, list[i].ino);
	if (!r)
		unsynced_forget(s, list, n, all);
	return r;
}

int store_sync(struct store *s, uint64_t ino)
{
	int r = ino ? s->data->ops->sync(s->data, ino) : sync_data(s);

	/* An empty batch, made durable, makes all before it durable. */
	return r < 0 ? r : s->meta->ops->apply(s->meta, NULL, 0, true);
}

/* ---- data of removed inodes ---- */

bool store_has_removed(struct store *s)
{
	return atomic_load(&s->has_removed);
}

/* Z keys as they are now, as a batch that deletes them. */
static int removed_list(struct store *s, struct batch *b)
{
	static const char kind = META_REMOVED;
	const void *key, *val;
	struct meta_iter *it;
	size_t klen, vlen;
	uint64_t ino;
	int r;

	atomic_store(&s->has_removed, false);
	r = s->meta->ops->iter_new(s->meta, &kind, 1, &it);
	if (r < 0)
		return r;
	while ((r = s->meta->ops->iter_next(it, &key, &klen, &val, &vlen)) > 0 &&
	       meta_key_number(key, klen, META_REMOVED, &ino))
		batch_del(b, key, klen);
	s->meta->ops->iter_free(it);
	return r < 0 ? r : b->err;
}

static int remove_all(struct store *s, const struct batch *b)
{
	struct batch_item item;
	size_t pos = 0;
	uint64_t ino;
	int r;

	while ((r = batch_next(b->buf, b->len, &pos, &item)) > 0) {
		meta_key_number(item.key, item.klen, META_REMOVED, &ino);
		r = s->data->ops->remove(s->data, ino);
		if (r < 0)
			break;
	}
	return r;
}

int store_free_removed(struct store *s)
{
	struct batch b;
	int r;

	batch_init(&b);
	r = removed_list(s, &b);
	if (!r && b.len)
		r = s->meta->ops->apply(s->meta, NULL, 0, true);
	if (!r)
		r = remove_all(s, &b);
	if (!r && b.len)
		r = s->meta->ops->apply(s->meta, b.buf, b.len, false);
	if (r < 0)
		atomic_store(&s->has_removed, true);
	batch_release(&b);
	return r;
}

/* ---- after lost writes ---- */

/* The backing file of an inode, as it may be after any of the last changes was lost or was not. */
static int recover_file(struct store *s, const struct data_item *f)
{
	struct inode in;
	int r;

	if (!f->ino)
		return 0; /* the redo slots */
	r = inode_load(s, f->ino, &in);
	if (r < 0 && r != -ESTALE)
		return r;
	if (r < 0 || !S_ISREG(in.mode) || in.layout == INODE_INLINE)
		return s->data->ops->remove(s->data, f->ino);
	return f->size > in.size ? s->data->ops->truncate(s->data, f->ino, in.size) : 0;
}

static int recover_data(struct store *s)
{
	_cleanup_free_ struct data_item *files = NULL;
	size_t n;
	int r = s->data->ops->list(s->data, &files, &n);

	for (size_t i = 0; !r && i < n; i++)
		r = recover_file(s, &files[i]);
	return r < 0 ? r : s->data->ops->sync(s->data, 0);
}

int store_recover(struct store *s, uint64_t epoch)
{
	struct wire_logpos pos = { .epoch = epoch, .lsn = s->pos.lsn + SKIPPED };
	struct system_counters counters = s->counters;
	struct batch b;
	int r = recover_data(s);

	counters.next_ino += SKIPPED;
	batch_init(&b);
	system_put_counters(&b, &counters);
	system_put_loss(&b, pos);
	system_put_position(&b, pos);
	if (!r)
		r = b.err;
	if (!r)
		r = s->meta->ops->apply(s->meta, b.buf, b.len, true);
	batch_release(&b);
	return r < 0 ? r : store_reload(s);
}
