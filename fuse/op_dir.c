/*
 * Reading directories. The handle's list is filled from the cache when the whole listing is held, else in pieces from
 * the server as the reader gets there; a listing read to its end under the names token goes into the cache.
 *
 * readdirplus is answered without attributes: kernel timeouts are 0, so they would not save a lookup.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuse/dirh.h"
#include "fuse/ops.h"
#include "fuse/reply.h"
#include "wire/fileop.h"

#define PIECE_BYTES (128u << 10)
#define LISTING_CACHED_MAX 8192u /* entries; longer ones are not worth a copy in the cache */
#define REPLY_MAX (256u << 10)

void fuse_op_opendir(struct mount *m, fuse_req_t req, fuse_ino_t ino, const struct fuse_file_info *fi)
{
	struct request *rq = request_new(m, req);
	struct dirh *d = rq ? malloc(sizeof(*d)) : NULL;

	if (!d) {
		if (rq)
			reply_err(rq, -ENOMEM);
		return;
	}
	dirh_init(d, mount_ino(m, ino));
	rq->fi = *fi;
	rq->fi.fh = (uintptr_t)d;
	if (!reply_open(rq)) {
		dirh_release(d);
		free(d);
	}
}

void fuse_op_releasedir(struct mount *m, fuse_req_t req, const struct fuse_file_info *fi)
{
	struct dirh *d = (struct dirh *)(uintptr_t)fi->fh;

	(void)m;
	dirh_release(d);
	free(d);
	reply_raw_err(req, 0);
}

static bool is_hidden(const struct request *rq, const struct dirh *d, size_t i)
{
	const struct subtree *st = &rq->m->subtree;

	return st->ops && d->ino == rq->m->root_ino && i >= d->nr_local && !strcmp(dirh_name(d, i), st->name);
}

static size_t put_dirent(struct request *rq, char *buf, size_t left, const struct dirh *d, size_t i)
{
	const struct dirh_entry *e = &d->entries[i];
	/* .ino 0: no inode comes with the entry */
	struct fuse_entry_param p = {
		.attr = { .st_ino = mount_fuse_ino(rq->m, e->ino), .st_mode = e->mode },
	};

	if (rq->plus)
		return fuse_add_direntry_plus(rq->freq, buf, left, dirh_name(d, i), &p, (off_t)i + 1);
	return fuse_add_direntry(rq->freq, buf, left, dirh_name(d, i), &p.attr, (off_t)i + 1);
}

/* Answers with the entries from the wanted place on that fit. */
static void answer(struct request *rq, const struct dirh *d)
{
	char *buf = malloc(rq->size);
	size_t n = 0;

	if (!buf) {
		reply_err(rq, -ENOMEM);
		return;
	}
	for (size_t i = rq->off; i < d->nr_entries; i++) {
		size_t need;

		if (is_hidden(rq, d, i))
			continue;
		need = put_dirent(rq, buf + n, rq->size - n, d, i);
		if (need > rq->size - n)
			break;
		n += need;
	}
	reply_buf(rq, buf, n);
	free(buf);
}

static void remember(struct mount *m, const struct dirh *d)
{
	if (!d->tokens || d->nr_entries > LISTING_CACHED_MAX)
		return;
	for (size_t i = d->nr_local; i < d->nr_entries; i++)
		cache_put_name(m->cache, d->ino, dirh_name(d, i), d->entries[i].ino, d->entries[i].mode, TOKEN_NAMES,
			       d->stamp);
	/* An empty directory has no name to put, but the token came all the same. */
	cache_put_names_token(m->cache, d->ino, d->stamp);
	cache_set_complete(m->cache, d->ino, d->stamp);
}

static void go_on(struct request *rq, struct dirh *d);

static void piece_done(struct request *rq, int status, const void *rep_)
{
	const struct msg_readdir_rep *rep = rep_;
	struct dirh *d = rq->handle;

	/* A directory that was removed while open has no entries, readdir(3). */
	if (status == -ENOENT || status == -ESTALE) {
		d->eof = true;
		d->tokens = false;
		status = 0;
	} else if (status == 0) {
		if (!(rep->dir_tokens & TOKEN_NAMES))
			d->tokens = false;
		d->eof = rep->eof;
		status = dirh_add_piece(d, &rep->entries);
		if (status == 0 && !rep->eof && !rep->entries.len)
			status = -EIO; /* no way forward */
	}
	if (status < 0) {
		reply_err(rq, status);
		return;
	}
	if (d->eof)
		remember(rq->m, d);
	go_on(rq, d);
}

static void go_on(struct request *rq, struct dirh *d)
{
	if (rq->off < d->nr_entries || d->eof) {
		answer(rq, d);
		return;
	}
	rq->handle = d;
	strcpy(rq->name, dirh_last_name(d));
	rq->msg.readdir = (struct msg_readdir_req){ .ino = d->ino, .after = rq->name, .max_bytes = PIECE_BYTES };
	request_call(rq, MSG_readdir, false, piece_done);
}

static int add_cached(void *ctx, const char *name, uint64_t ino, uint32_t mode)
{
	return dirh_add(ctx, name, ino, mode);
}

/* What is in the list before anything is fetched; all of it, when the cache knows. */
static int begin(struct mount *m, struct dirh *d)
{
	bool is_root = d->ino == m->root_ino;
	int r = dirh_add(d, ".", d->ino, S_IFDIR);

	if (r == 0)
		r = dirh_add(d, "..", m->root_ino, S_IFDIR);
	if (r == 0 && is_root && m->subtree.ops)
		r = dirh_add(d, m->subtree.name, m->subtree.root_ino, S_IFDIR);
	if (r < 0)
		return r;
	d->nr_local = d->nr_entries;
	d->stamp = cache_stamp(m->cache);
	d->tokens = true;
	if (!mount_cache_usable(m))
		return 0;
	r = cache_list(m->cache, d->ino, add_cached, d);
	d->eof = r > 0;
	return r < 0 ? r : 0;
}

void fuse_op_readdir(struct mount *m, fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		const struct fuse_file_info *fi, bool plus)
{
	struct dirh *d = (struct dirh *)(uintptr_t)fi->fh;
	struct request *rq = request_new(m, req);
	int r = 0;

	(void)ino;
	if (!rq)
		return;
	rq->size = size < REPLY_MAX ? size : REPLY_MAX;
	rq->off = (uint64_t)off;
	rq->plus = plus;
	if (off == 0 && d->started)
		dirh_rewind(d);
	if (!d->started)
		r = begin(m, d);
	if (r < 0) {
		dirh_rewind(d);
		reply_err(rq, r);
		return;
	}
	go_on(rq, d);
}
