/*
 * File contents in memory, for tests and the simulator: sparse pages, a capacity, and what every file was at its last
 * sync. A page that changes for the first time since then keeps its old bytes aside.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "cfsd/data.h"
#include "common/cleanup.h"

enum { PAGE = 4096 };

struct page {
	uint64_t index;
	uint8_t *now;	 /* NULL: hole */
	uint8_t *synced; /* what a power loss brings back; only when dirty */
	bool dirty;
	UT_hash_handle hh;
};

struct file {
	uint64_t ino;
	uint64_t cost;		    /* of a page, against the capacity; number 0 (the redo slots) is free */
	uint64_t size, synced_size; /* of the backing file, not of the inode */
	uint64_t nr_pages;	    /* that are not holes */
	bool exists, synced_exists;
	struct page *pages;
	UT_hash_handle hh;
};

struct data_mem {
	struct data data;
	pthread_mutex_t lock; /* guards all below: syncs come from workers */
	uint64_t capacity, used;
	struct file *files;
};

static struct file *file_find(struct data_mem *d, uint64_t ino)
{
	struct file *f;

	HASH_FIND(hh, d->files, &ino, sizeof(ino), f);
	return f && f->exists ? f : NULL;
}

static struct file *file_make(struct data_mem *d, uint64_t ino)
{
	struct file *f;

	HASH_FIND(hh, d->files, &ino, sizeof(ino), f);
	if (!f) {
		f = calloc(1, sizeof(*f));
		if (!f)
			return NULL;
		f->ino = ino;
		f->cost = ino ? PAGE : 0;
		HASH_ADD(hh, d->files, ino, sizeof(f->ino), f);
	}
	f->exists = true;
	return f;
}

static struct page *page_find(struct file *f, uint64_t index)
{
	struct page *p;

	HASH_FIND(hh, f->pages, &index, sizeof(index), p);
	return p;
}

/* The page, ready to be written: allocated, and its synced bytes kept. -ENOSPC when the capacity is used up. */
static int page_dirty(struct data_mem *d, struct file *f, uint64_t index, struct page **ret_p)
{
	struct page *p = page_find(f, index);
	bool grows = !p || !p->now;

	if (grows && d->capacity - d->used < f->cost)
		return -ENOSPC;
	if (!p) {
		p = calloc(1, sizeof(*p));
		if (!p)
			return -ENOMEM;
		p->index = index;
		HASH_ADD(hh, f->pages, index, sizeof(p->index), p);
	}
	if (!p->dirty || !p->now) {
		uint8_t *fresh = calloc(1, PAGE);

		if (!fresh)
			return -ENOMEM;
		if (p->now)
			memcpy(fresh, p->now, PAGE);
		if (!p->dirty)
			p->synced = p->now;
		p->now = fresh;
		p->dirty = true;
	}
	if (grows) {
		d->used += f->cost;
		f->nr_pages++;
	}
	*ret_p = p;
	return 0;
}

static void page_drop(struct data_mem *d, struct file *f, struct page *p)
{
	if (!p->now)
		return;
	if (p->dirty)
		free(p->now);
	else
		p->synced = p->now;
	p->now = NULL;
	p->dirty = true;
	d->used -= f->cost;
	f->nr_pages--;
}

static ssize_t mem_read(struct data *data, uint64_t ino, void *buf, size_t len, uint64_t off)
{
	struct data_mem *d = (struct data_mem *)data;
	LOCK_SCOPE(&d->lock);
	struct file *f = file_find(d, ino);

	if (!f || off >= f->size)
		return 0;
	if (len > f->size - off)
		len = f->size - off;
	for (size_t done = 0; done < len;) {
		size_t at = (off + done) % PAGE, n = PAGE - at < len - done ? PAGE - at : len - done;
		const struct page *p = page_find(f, (off + done) / PAGE);

		if (p && p->now)
			memcpy((uint8_t *)buf + done, p->now + at, n);
		else
			memset((uint8_t *)buf + done, 0, n);
		done += n;
	}
	return (ssize_t)len;
}

static int mem_write(struct data *data, uint64_t ino, const void *buf, size_t len, uint64_t off)
{
	struct data_mem *d = (struct data_mem *)data;
	LOCK_SCOPE(&d->lock);
	struct file *f = file_make(d, ino);

	if (!f)
		return -ENOMEM;
	for (size_t done = 0; done < len;) {
		size_t at = (off + done) % PAGE, n = PAGE - at < len - done ? PAGE - at : len - done;
		struct page *p;
		int r = page_dirty(d, f, (off + done) / PAGE, &p);

		if (r < 0)
			return r;
		memcpy(p->now + at, (const uint8_t *)buf + done, n);
		done += n;
	}
	if (off + len > f->size)
		f->size = off + len;
	return 0;
}

/* Zeros [from, to): whole pages are dropped. */
static int file_zero(struct data_mem *d, struct file *f, uint64_t from, uint64_t to)
{
	struct page *p, *next;

	HASH_ITER(hh, f->pages, p, next) {
		uint64_t start = p->index * PAGE, end = start + PAGE;
		uint64_t a = from > start ? from : start, b = to < end ? to : end;
		int r;

		if (a >= b || !p->now)
			continue;
		if (a == start && b == end) {
			page_drop(d, f, p);
			continue;
		}
		r = page_dirty(d, f, p->index, &p);
		if (r < 0)
			return r;
		memset(p->now + (a - start), 0, b - a);
	}
	return 0;
}

static int mem_truncate(struct data *data, uint64_t ino, uint64_t size)
{
	struct data_mem *d = (struct data_mem *)data;
	LOCK_SCOPE(&d->lock);
	struct file *f = file_find(d, ino);
	int r = f ? file_zero(d, f, size, UINT64_MAX) : 0;

	if (f && !r)
		f->size = size;
	return r;
}

static int mem_punch(struct data *data, uint64_t ino, uint64_t off, uint64_t len)
{
	struct data_mem *d = (struct data_mem *)data;
	LOCK_SCOPE(&d->lock);
	struct file *f = file_find(d, ino);

	return f ? file_zero(d, f, off, off + len) : 0;
}

static int mem_remove(struct data *data, uint64_t ino)
{
	struct data_mem *d = (struct data_mem *)data;
	LOCK_SCOPE(&d->lock);
	struct file *f = file_find(d, ino);

	if (f) {
		file_zero(d, f, 0, UINT64_MAX);
		f->size = 0;
		f->exists = false;
	}
	return 0;
}

/* Makes one version of the file the only one: what it is now (KEEP_NOW), or what it was at the last sync. */
static void file_settle(struct data_mem *d, struct file *f, bool keep_now)
{
	struct page *p, *next;

	HASH_ITER(hh, f->pages, p, next) {
		if (p->dirty) {
			uint8_t *keep = keep_now ? p->now : p->synced;

			free(keep_now ? p->synced : p->now);
			d->used = d->used - (p->now ? f->cost : 0) + (keep ? f->cost : 0);
			f->nr_pages = f->nr_pages - !!p->now + !!keep;
			p->now = keep;
			p->synced = NULL;
			p->dirty = false;
		}
		if (!p->now) {
			HASH_DEL(f->pages, p);
			free(p);
		}
	}
	if (keep_now) {
		f->synced_size = f->size;
		f->synced_exists = f->exists;
	} else {
		f->size = f->synced_size;
		f->exists = f->synced_exists;
	}
	if (!f->exists) {
		HASH_DEL(d->files, f);
		free(f);
	}
}

static int mem_sync(struct data *data, uint64_t ino)
{
	struct data_mem *d = (struct data_mem *)data;
	LOCK_SCOPE(&d->lock);
	struct file *f, *next;

	if (ino) {
		HASH_FIND(hh, d->files, &ino, sizeof(ino), f);
		if (f)
			file_settle(d, f, true);
		return 0;
	}
	HASH_ITER(hh, d->files, f, next)
		file_settle(d, f, true);
	return 0;
}

void data_mem_forget(struct data *data, bool (*keep)(void *ctx, uint64_t ino), void *ctx)
{
	struct data_mem *d = (struct data_mem *)data;
	LOCK_SCOPE(&d->lock);
	struct file *f, *next;

	HASH_ITER(hh, d->files, f, next)
		file_settle(d, f, keep && keep(ctx, f->ino));
}

static int mem_list(struct data *data, struct data_item **ret_files, size_t *ret_n)
{
	struct data_mem *d = (struct data_mem *)data;
	LOCK_SCOPE(&d->lock);
	struct data_item *v = calloc(HASH_COUNT(d->files) + 1, sizeof(*v));
	const struct file *f;
	size_t n = 0;

	if (!v)
		return -ENOMEM;
	for (f = d->files; f; f = f->hh.next)
		if (f->exists)
			v[n++] = (struct data_item){ f->ino, f->size };
	*ret_files = v;
	*ret_n = n;
	return 0;
}

static uint64_t mem_blocks(struct data *data, uint64_t ino)
{
	struct data_mem *d = (struct data_mem *)data;
	LOCK_SCOPE(&d->lock);
	const struct file *f = file_find(d, ino);

	return f ? f->nr_pages * (PAGE / 512) : 0;
}

static int mem_space(struct data *data, uint64_t *ret_total, uint64_t *ret_free)
{
	struct data_mem *d = (struct data_mem *)data;
	LOCK_SCOPE(&d->lock);

	*ret_total = d->capacity;
	*ret_free = d->capacity - d->used;
	return 0;
}

static void mem_close(struct data *data)
{
	struct data_mem *d = (struct data_mem *)data;
	struct file *f, *next;

	HASH_ITER(hh, d->files, f, next) {
		f->exists = false;
		file_zero(d, f, 0, UINT64_MAX);
		file_settle(d, f, true);
	}
	pthread_mutex_destroy(&d->lock);
	free(d);
}

int data_mem_open(uint64_t capacity, struct data **ret_d)
{
	static const struct data_ops ops = {
		.read = mem_read,
		.write = mem_write,
		.truncate = mem_truncate,
		.punch = mem_punch,
		.remove = mem_remove,
		.list = mem_list,
		.sync = mem_sync,
		.blocks = mem_blocks,
		.space = mem_space,
		.close = mem_close,
	};
	struct data_mem *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->data.ops = &ops;
	d->capacity = capacity;
	pthread_mutex_init(&d->lock, NULL);
	*ret_d = &d->data;
	return 0;
}
