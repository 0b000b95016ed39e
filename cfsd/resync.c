/*
 * Making a copy of the server's store.
 *
 * The copy is fuzzy: keys and data are read as they are at that moment, while the server goes on. Every record after the
 * position the copy began at is spooled, in a file, and applied at the end. Records are puts, deletes and writes to
 * places, so applying all of them to a state that already has some of them gives the state after the last one.
 *
 * Steps: mark the store as being copied (durable) -> pages of keys: data of inodes whose stamp (record of the last data
 * change) is not ours, then the keys themselves, stale keys removed -> everything durable -> position, spooled records
 * -> mark it whole. Interrupted anywhere, the next copy starts from the beginning, but finds most data there already: a
 * page's inodes whose data is to be fetched are first written with a stamp of no record, and with theirs when the data is
 * here. So data on its way is never taken for good, nor forgotten when its inode is gone by the next time. A marked store
 * is never served from (repl.h).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cfsd/extent.h"
#include "cfsd/inode.h"
#include "cfsd/local.h"
#include "cfsd/meta_key.h"
#include "cfsd/volume.h"
#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/log.h"

enum { PAGE_BYTES = 1 << 20, DATA_BYTES = 1 << 20, CALL_MS = 10000, FETCHES = 8, APPLY_SLICE = 64 };

/* The epoch of no record: equal to nobody's stamp. */
#define NO_STAMP UINT64_MAX

struct fetch {
	struct resync *rs;
	uint64_t ino, off;
	bool busy;
};

struct resync {
	struct volume *v; /* holds a reference while refs > 0 */
	struct rpc_conn *conn;
	uint64_t epoch;
	struct wire_logpos from, spooled;
	bool over;     /* aborted or complete: late answers are ignored */
	bool distrust; /* stamps say nothing: writes were lost here, or there */
	unsigned refs; /* the volume's, one for each call, worker and timer */

	FILE *spool;
	uint64_t nr_spooled, nr_applied;
	long read_at;

	uint8_t after[META_KEY_MAX];
	size_t after_len;
	bool eof;
	struct batch page;  /* what will be applied when the data of its inodes is here */
	struct txn unsure;  /* these inodes without their stamps, applied before */
	uint64_t *inos;	    /* to fetch */
	size_t nr_inos, cap_inos, next_ino;
	struct fetch fetches[FETCHES];
	unsigned nr_busy;

	uv_timer_t slice;
	uint64_t keys, files, bytes, started_ms, logged_ms;
};

static void next_page(struct resync *rs);
static void next_fetches(struct resync *rs);

static void unref(struct resync *rs)
{
	struct volume *v = rs->v;

	if (--rs->refs)
		return;
	if (rs->spool)
		fclose(rs->spool);
	batch_release(&rs->page);
	txn_release(&rs->unsure);
	free(rs->inos);
	free(rs);
	volume_unref(v);
}

static void timer_closed(uv_handle_t *h)
{
	unref(h->data);
}

static void end(struct resync *rs)
{
	if (rs->over)
		return;
	rs->over = true;
	rs->v->resync = NULL;
	uv_close((uv_handle_t *)&rs->slice, timer_closed);
	unref(rs);
}

/* The server, or this node's disk, failed: from the beginning, when the core says so. */
static void fail(struct resync *rs, const char *what, int err)
{
	struct volume *v = rs->v;
	uint32_t node = v->source_node;
	struct rpc_conn *conn = rs->conn;

	if (rs->over)
		return;
	log_warn("resync", "%s: %s: %s", v->name, what, strerror(-err));
	end(rs);
	if (v->source == conn) {
		v->source = NULL;
		rpc_conn_close(conn);
	}
	/* A disk that is full or fails does not get better by copying round and round: the core takes its time then. */
	if (err == -ENOSPC || err == -EIO || err == -EDQUOT)
		volume_step(v, &(struct repl_event){ .type = REPL_EV_BROKEN });
	volume_step(v, &(struct repl_event){ .type = REPL_EV_DETACHED, .node = node });
}

static void progress(struct resync *rs)
{
	uint64_t now = volume_now_ms(rs->v);

	if (now < rs->logged_ms + 2000)
		return;
	rs->logged_ms = now;
	log_info("resync", "%s: %" PRIu64 " keys seen, %" PRIu64 " files and %" PRIu64 " MiB fetched, %" PRIu64
		 " records waiting", rs->v->name, rs->keys, rs->files, rs->bytes >> 20, rs->nr_spooled - rs->nr_applied);
}

/* ---- the spool ---- */

static int spool_open(struct volume *v, FILE **ret_f)
{
	_cleanup_free_ char *path = NULL;
	mode_t old = umask(077);
	int fd;

	if (asprintf(&path, "%s/spool.XXXXXX", v->svc->conf.spool_dir) < 0)
		path = NULL;
	fd = path ? mkstemp(path) : -1;
	umask(old);
	if (fd < 0)
		return -errno;
	unlink(path);
	*ret_f = fdopen(fd, "w+");
	if (*ret_f)
		return 0;
	close(fd);
	return -ENOMEM;
}

/* The record as the message it came in. */
int resync_spool(struct volume *v, const struct msg_repl_record_req *m)
{
	const struct msg_info *info = msg_info(MSG_repl_record);
	struct resync *rs = v->resync;
	struct wire_writer w;
	uint8_t head[4];
	int r;

	if (!rs)
		return -ECANCELED;
	wire_writer_init(&w);
	r = info->encode_req(&w, m);
	put_le32(head, (uint32_t)w.len);
	if (!r && (fseek(rs->spool, 0, SEEK_END) < 0 || fwrite(head, sizeof(head), 1, rs->spool) != 1 ||
		   fwrite(w.buf, w.len, 1, rs->spool) != 1))
		r = -EIO;
	wire_writer_release(&w);
	if (r < 0) {
		fail(rs, "records cannot be kept", r);
		return r;
	}
	rs->spooled = m->pos;
	rs->nr_spooled++;
	return 0;
}

static int spool_read(struct resync *rs, struct wire_writer *buf, struct msg_repl_record_req *ret_m)
{
	struct wire_reader rd;
	uint8_t head[4], *p;
	size_t len;

	buf->len = 0;
	if (fseek(rs->spool, rs->read_at, SEEK_SET) < 0 || fread(head, sizeof(head), 1, rs->spool) != 1)
		return -EIO;
	len = get_le32(head);
	p = wire_reserve(buf, len);
	if (!p)
		return buf->err;
	if (fread(p, len, 1, rs->spool) != 1)
		return -EIO;
	rs->read_at += (long)(sizeof(head) + len);
	rd = (struct wire_reader){ p, p + len };
	return msg_info(MSG_repl_record)->decode_req(&rd, ret_m);
}

/* ---- the end: records, position, mark ---- */

static void complete(struct resync *rs)
{
	struct volume *v = rs->v;
	struct wire_logpos pos = rs->spooled;
	int r = local_note_opened(v->store);

	if (!r)
		r = local_mark_whole(v->store, pos);
	if (r < 0) {
		fail(rs, "the copy cannot be marked whole", r);
		return;
	}
	log_info("resync", "%s: complete at %" PRIu64 ": %" PRIu64 " keys, %" PRIu64 " files and %" PRIu64
		 " MiB fetched, %" PRIu64 " records, %" PRIu64 " ms", v->name, pos.lsn, rs->keys, rs->files,
		 rs->bytes >> 20, rs->nr_applied, volume_now_ms(v) - rs->started_ms);
	repl_log_reset(v->log, pos);
	v->distrust = v->sync_failed = false;
	end(rs);
	volume_step(v, &(struct repl_event){ .type = REPL_EV_COPIED, .pos = pos });
}

/*
 * What was fetched may be later than a kept record: what that appends can be seen, so it must not be written before the
 * batch has changed the inode's stamp. It goes the way of other writes.
 */
static void appends_to_writes(uint8_t *extents, size_t len)
{
	struct extent e;
	size_t at = 0, pos = 0;

	for (; extent_next(extents, len, &pos, &e) > 0; at = pos)
		if (e.kind == EXTENT_APPEND)
			extents[at] = EXTENT_WRITE;
}

static int apply_kept(struct resync *rs, struct wire_writer *buf)
{
	struct msg_repl_record_req m;
	int r = spool_read(rs, buf, &m);

	if (r < 0)
		return r;
	if (m.extents.len)
		appends_to_writes(buf->buf + ((const uint8_t *)m.extents.p - buf->buf), m.extents.len);
	r = store_apply(rs->v->store, &(struct record){ .prev = m.prev,
							 .pos = m.pos,
							 .batch = m.batch.p,
							 .batch_len = m.batch.len,
							 .extents = m.extents.p,
							 .extents_len = m.extents.len });
	/* To be opened anew before the next copy. */
	if (r < 0)
		rs->v->store_broken = true;
	return r;
}

static void apply_slice(uv_timer_t *timer)
{
	struct resync *rs = timer->data;
	struct wire_writer buf;
	int r = 0;

	wire_writer_init(&buf);
	for (int i = 0; !r && i < APPLY_SLICE && rs->nr_applied < rs->nr_spooled; i++) {
		r = apply_kept(rs, &buf);
		rs->nr_applied += !r;
	}
	wire_writer_release(&buf);
	progress(rs);
	if (r < 0)
		fail(rs, "a kept record cannot be applied", r);
	else if (rs->nr_applied == rs->nr_spooled)
		complete(rs);
	else
		uv_timer_start(&rs->slice, apply_slice, 0, 0);
}

static void durable(void *ctx, int status)
{
	struct resync *rs = ctx;

	if (!rs->over) {
		if (!status)
			status = local_set_position(rs->v->store, rs->from);
		if (status < 0)
			fail(rs, "the copy cannot be made durable", status);
		else
			uv_timer_start(&rs->slice, apply_slice, 0, 0);
	}
	unref(rs);
}

static void finish_copy(struct resync *rs)
{
	int r = sync_local(rs->v, 0, true, durable, rs);

	if (r < 0)
		fail(rs, "the copy cannot be made durable", r);
	else
		rs->refs++;
}

/* ---- data ---- */

static bool is_zero(const uint8_t *p, size_t len)
{
	return !len || (!p[0] && !memcmp(p, p + 1, len - 1));
}

static void fetch_data(struct fetch *f);

static void data_done(void *ctx, int status, const void *msg)
{
	struct fetch *f = ctx;
	struct resync *rs = f->rs;
	const struct msg_copy_data_rep *rep = msg;
	struct data *d = store_data(rs->v->store);

	if (rs->over)
		goto out;
	/* Holes stay holes. */
	if (!status && !is_zero(rep->data.p, rep->data.len))
		status = d->ops->write(d, f->ino, rep->data.p, rep->data.len, f->off);
	if (status < 0) {
		fail(rs, "data cannot be fetched", status);
		goto out;
	}
	rs->bytes += rep->data.len;
	progress(rs);
	f->off += rep->data.len;
	if (rep->data.len == DATA_BYTES) {
		fetch_data(f);
	} else {
		rs->files++;
		f->busy = false;
		rs->nr_busy--;
		next_fetches(rs);
	}
out:
	unref(rs);
}

static void fetch_data(struct fetch *f)
{
	struct resync *rs = f->rs;
	struct msg_copy_data_req m = {
		.fs = rs->v->fs, .epoch = rs->epoch, .ino = f->ino, .off = f->off, .len = DATA_BYTES
	};
	int r = rpc_call(rs->conn, MSG_copy_data, &m, CALL_MS, data_done, f);

	if (r < 0)
		fail(rs, "data cannot be fetched", r);
	else
		rs->refs++;
}

static void apply_page(struct resync *rs)
{
	struct meta *m = store_meta(rs->v->store);
	int r = rs->page.err;

	if (!r && rs->page.len)
		r = m->ops->apply(m, rs->page.buf, rs->page.len, false);
	if (r < 0)
		fail(rs, "metadata cannot be stored", r);
	else if (rs->eof)
		finish_copy(rs);
	else
		next_page(rs);
}

static void next_fetches(struct resync *rs)
{
	struct data *d = store_data(rs->v->store);

	for (size_t i = 0; !rs->over && i < FETCHES && rs->next_ino < rs->nr_inos; i++) {
		struct fetch *f = &rs->fetches[i];

		if (f->busy)
			continue;
		*f = (struct fetch){ .rs = rs, .ino = rs->inos[rs->next_ino++], .busy = true };
		rs->nr_busy++;
		/* What is there is of another time. */
		d->ops->remove(d, f->ino);
		fetch_data(f);
	}
	if (!rs->over && !rs->nr_busy)
		apply_page(rs);
}

/* ---- keys ---- */

static int want_data(struct resync *rs, struct inode *in)
{
	if (rs->nr_inos == rs->cap_inos) {
		size_t cap = rs->cap_inos ? 2 * rs->cap_inos : 256;
		uint64_t *more = realloc(rs->inos, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		rs->inos = more;
		rs->cap_inos = cap;
	}
	rs->inos[rs->nr_inos++] = in->ino;
	in->stamp = (struct wire_logpos){ .epoch = NO_STAMP };
	return inode_save(&rs->unsure, in);
}

/* Is our data of the inode what their key says? OURS may be NULL. */
static int check_inode(struct resync *rs, uint64_t ino, const struct batch_item *theirs, const void *ours, size_t ours_len)
{
	struct data *d = store_data(rs->v->store);
	struct inode them, us;
	bool known;
	int r = inode_decode(ino, theirs->val, theirs->vlen, &them);

	if (r < 0 || !S_ISREG(them.mode))
		return r;
	known = ours && inode_decode(ino, ours, ours_len, &us) == 0;
	/* The data is among the keys; what we have of it in a file was before. */
	if (them.layout == INODE_INLINE)
		return rs->distrust || !known || us.layout != INODE_INLINE ? d->ops->remove(d, ino) : 0;
	if (!rs->distrust && known && us.stamp.epoch == them.stamp.epoch && us.stamp.lsn == them.stamp.lsn)
		return 0;
	return want_data(rs, &them);
}

static int take_key(struct resync *rs, const struct batch_item *theirs, const void *ours, size_t ours_len)
{
	uint64_t ino;
	int r = 0;

	rs->keys++;
	if (meta_key_number(theirs->key, theirs->klen, META_INODE, &ino))
		r = check_inode(rs, ino, theirs, ours, ours_len);
	if (r < 0 || (ours && ours_len == theirs->vlen && !memcmp(ours, theirs->val, ours_len)))
		return r;
	return batch_put(&rs->page, theirs->key, theirs->klen, theirs->val, theirs->vlen);
}

static int drop_key(struct resync *rs, const void *key, size_t klen)
{
	struct data *d = store_data(rs->v->store);
	uint64_t ino;

	if (local_is_key(key, klen))
		return 0;
	if (meta_key_number(key, klen, META_INODE, &ino))
		d->ops->remove(d, ino);
	return batch_del(&rs->page, key, klen);
}

static int compare(const void *a, size_t alen, const void *b, size_t blen)
{
	int c = memcmp(a, b, alen < blen ? alen : blen);

	return c ? c : (alen > blen) - (alen < blen);
}

/* Our keys, in step with the server's page. */
struct cursor {
	struct meta *m;
	struct meta_iter *it;
	const void *key, *val;
	size_t klen, vlen;
	int state; /* 1: at a key, 0: at the end, -errno */
};

static void cursor_next(struct cursor *c)
{
	c->state = c->m->ops->iter_next(c->it, &c->key, &c->klen, &c->val, &c->vlen);
}

static int merge_page(struct resync *rs, struct cursor *c, const struct wire_blob *items)
{
	struct batch_item b;
	size_t pos = 0;
	int r;

	while ((r = batch_next(items->p, items->len, &pos, &b)) > 0) {
		int order = -1;

		if (!b.val || b.klen > META_KEY_MAX)
			return -EBADMSG;
		while (c->state > 0 && (order = compare(c->key, c->klen, b.key, b.klen)) < 0) {
			r = drop_key(rs, c->key, c->klen);
			if (r < 0)
				return r;
			cursor_next(c);
		}
		if (c->state < 0)
			return c->state;
		if (c->state > 0 && !order) {
			r = take_key(rs, &b, c->val, c->vlen);
			cursor_next(c);
		} else {
			r = take_key(rs, &b, NULL, 0);
		}
		if (r < 0)
			return r;
		memcpy(rs->after, b.key, b.klen);
		rs->after_len = b.klen;
	}
	/* After their last key of all, everything of ours is stale. */
	while (!r && rs->eof && c->state > 0) {
		r = drop_key(rs, c->key, c->klen);
		cursor_next(c);
	}
	return c->state < 0 ? c->state : r;
}

static int take_page(struct resync *rs, const struct msg_copy_keys_rep *rep)
{
	struct cursor c = { .m = store_meta(rs->v->store) };
	uint8_t from[META_KEY_MAX + 1] = { 0 };
	int r;

	/* The first key after the last one seen. */
	memcpy(from, rs->after, rs->after_len);
	r = c.m->ops->iter_new(c.m, from, rs->after_len ? rs->after_len + 1 : 0, &c.it);
	if (r < 0)
		return r;
	cursor_next(&c);
	rs->page.len = 0;
	txn_clear(&rs->unsure);
	rs->nr_inos = rs->next_ino = 0;
	rs->eof = rep->eof;
	r = merge_page(rs, &c, &rep->items);
	c.m->ops->iter_free(c.it);
	if (!r && !rs->eof && !rep->items.len)
		r = -EBADMSG;
	if (!r && rs->nr_inos)
		r = c.m->ops->apply(c.m, rs->unsure.meta.buf, rs->unsure.meta.len, false);
	return r;
}

static void keys_done(void *ctx, int status, const void *msg)
{
	struct resync *rs = ctx;

	if (!rs->over) {
		if (!status)
			status = take_page(rs, msg);
		progress(rs);
		if (status < 0)
			fail(rs, "metadata cannot be fetched", status);
		else
			next_fetches(rs);
	}
	unref(rs);
}

static void next_page(struct resync *rs)
{
	struct msg_copy_keys_req m = { .fs = rs->v->fs,
				       .epoch = rs->epoch,
				       .after = { rs->after, (uint32_t)rs->after_len },
				       .max_bytes = PAGE_BYTES };
	int r = rpc_call(rs->conn, MSG_copy_keys, &m, CALL_MS, keys_done, rs);

	if (r < 0)
		fail(rs, "metadata cannot be fetched", r);
	else
		rs->refs++;
}

/* ---- beginning, giving up ---- */

int resync_start(struct volume *v, struct rpc_conn *conn, uint64_t epoch, struct wire_logpos pos)
{
	struct resync *rs = calloc(1, sizeof(*rs));
	int r = rs ? spool_open(v, &rs->spool) : -ENOMEM;

	/* A worker that frees data of removed inodes goes by keys that it has read. */
	if (!r && (v->recovering || v->freeing))
		r = -EBUSY;
	if (!r && v->store_broken)
		r = volume_reopen(v);
	if (!r)
		r = local_mark_copying(v->store);
	/* Of a history that was not to be, perhaps: an inode may still exist at the server. */
	if (!r)
		r = store_free_removed(v->store);
	if (r < 0) {
		log_error("resync", "%s: cannot begin: %s", v->name, strerror(-r));
		if (rs && rs->spool)
			fclose(rs->spool);
		free(rs);
		return r;
	}
	rs->v = v;
	rs->conn = conn;
	rs->epoch = epoch;
	rs->from = rs->spooled = pos;
	/* Stamps are of the record alone; what came out of a loss may have less data under them. */
	rs->distrust = v->distrust || v->source_loss.epoch != store_loss(v->store).epoch ||
		       v->source_loss.lsn != store_loss(v->store).lsn;
	rs->refs = 2;
	rs->started_ms = rs->logged_ms = volume_now_ms(v);
	batch_init(&rs->page);
	txn_init(&rs->unsure);
	uv_timer_init(v->svc->conf.loop, &rs->slice);
	rs->slice.data = rs;
	v->refs++;
	v->resync = rs;
	log_info("resync", "%s: copying from node %u at %" PRIu64, v->name, v->source_node, pos.lsn);
	next_page(rs);
	return 0;
}

void resync_abort(struct volume *v)
{
	if (v->resync)
		end(v->resync);
}
