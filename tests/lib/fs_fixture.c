#include "tests/lib/fs_fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cfsd/content.h"
#include "cfsd/dentry.h"
#include "cfsd/inode.h"
#include "cfsd/meta_key.h"

static struct store *mem_store(uint64_t capacity)
{
	struct meta *m;
	struct data *d;
	struct store *s;

	cr_assert_eq(meta_mem_open(&m), 0);
	cr_assert_eq(data_mem_open(capacity, &d), 0);
	cr_assert_eq(store_open(m, d, &s), 0);
	return s;
}

static void init(struct fs_fixture *f)
{
	*f = (struct fs_fixture){ .epoch = 1, .now_ns = 1000000 };
	wire_writer_init(&f->scratch);
	txn_init(&f->txn);
}

void fs_fixture_init(struct fs_fixture *f, uint64_t capacity)
{
	init(f);
	f->store = mem_store(capacity);
	f->standby = mem_store(capacity);
	cr_assert_eq(store_format(f->store, f->epoch, f->now_ns), 0);
	cr_assert_eq(store_format(f->standby, f->epoch, f->now_ns), 0);
}

void fs_fixture_init_disk(struct fs_fixture *f, const char *dir)
{
	init(f);
	cr_assert_eq(store_open_disk(dir, &f->store), 0);
	cr_assert_eq(store_format(f->store, f->epoch, f->now_ns), 0);
}

void fs_fixture_release(struct fs_fixture *f)
{
	store_close(f->store);
	store_close(f->standby);
	wire_writer_release(&f->scratch);
	txn_release(&f->txn);
}

static bool is_open(void *ctx, uint64_t ino)
{
	struct fs_fixture *f = ctx;

	for (size_t i = 0; i < 16; i++)
		if (f->open_inos[i] == ino)
			return true;
	return false;
}

struct op_env fs_fixture_env(struct fs_fixture *f)
{
	f->now_ns += 1000;
	return (struct op_env){
		.store = f->store,
		.pos = { f->epoch, store_position(f->store).lsn + 1 },
		.now_ns = f->now_ns,
		.is_open = is_open,
		.is_open_ctx = f,
		.scratch = &f->scratch,
	};
}

static void apply(struct fs_fixture *f)
{
	struct wire_logpos prev = store_position(f->store);
	struct record rec = {
		.prev = prev,
		.pos = { f->epoch, prev.lsn + 1 },
		.batch = f->txn.meta.buf,
		.batch_len = f->txn.meta.len,
		.extents = f->txn.extents.buf,
		.extents_len = f->txn.extents.len,
	};

	if (txn_is_empty(&f->txn))
		return;
	cr_assert_eq(store_apply(f->store, &rec), 0);
	if (f->standby)
		cr_assert_eq(store_apply(f->standby, &rec), 0);
}

int fs_fixture_run(struct fs_fixture *f, enum msg_type type, const void *req, void *rep)
{
	struct op_env env = fs_fixture_env(f);
	int r;

	f->scratch.len = 0;
	txn_clear(&f->txn);
	memset(rep, 0, msg_info((uint16_t)type)->rep_size);
	r = op_execute(&env, type, req, rep, &f->txn);
	cr_assert(r <= 0);
	cr_assert(!r || txn_is_empty(&f->txn), "an operation that fails leaves the txn empty");
	cr_assert(op_is_change(type, req) || txn_is_empty(&f->txn), "a read changes nothing");
	apply(f);
	return r;
}

int fs_fixture_reap(struct fs_fixture *f, uint64_t ino)
{
	struct op_env env = fs_fixture_env(f);
	int r;

	txn_clear(&f->txn);
	r = op_reap(&env, ino, &f->txn);
	cr_assert(!r || txn_is_empty(&f->txn));
	apply(f);
	return r;
}

static void check_data(struct fs_fixture *f, const void *key, size_t klen)
{
	struct data *a = store_data(f->store), *b = store_data(f->standby);
	static char x[65536], y[65536];
	uint64_t ino, off = 0;
	ssize_t n;

	if (!meta_key_number(key, klen, META_INODE, &ino))
		return;
	do {
		n = a->ops->read(a, ino, x, sizeof(x), off);
		cr_assert_geq(n, 0);
		cr_assert_eq(b->ops->read(b, ino, y, sizeof(y), off), n);
		cr_assert(!memcmp(x, y, (size_t)n));
		off += (uint64_t)n;
	} while (n);
}

void fs_fixture_check_standby(struct fs_fixture *f)
{
	struct meta *a = store_meta(f->store), *b = store_meta(f->standby);
	struct meta_iter *i, *j;
	const void *ka, *va, *kb, *vb;
	size_t kla, vla, klb, vlb;

	cr_assert_eq(store_free_removed(f->store), 0);
	cr_assert_eq(store_free_removed(f->standby), 0);
	cr_assert_eq(a->ops->iter_new(a, "", 0, &i), 0);
	cr_assert_eq(b->ops->iter_new(b, "", 0, &j), 0);
	while (a->ops->iter_next(i, &ka, &kla, &va, &vla) > 0) {
		cr_assert_eq(b->ops->iter_next(j, &kb, &klb, &vb, &vlb), 1);
		cr_assert(kla == klb && !memcmp(ka, kb, kla));
		cr_assert(vla == vlb && !memcmp(va, vb, vla));
		check_data(f, ka, kla);
	}
	cr_assert_eq(b->ops->iter_next(j, &kb, &klb, &vb, &vlb), 0);
	a->ops->iter_free(i);
	b->ops->iter_free(j);
}

/* What the inodes should say, counted from the other keys. */
struct counts {
	uint32_t names, subdirs, entries, xattrs, orphan, target;
	size_t content;
};

static void count_key(struct fs_fixture *f, struct counts *of, uint64_t nr, const struct batch_item *k)
{
	struct inode in;
	struct dentry de;
	uint64_t ino;

	if (meta_key_number(k->key, k->klen, META_DENTRY, &ino)) {
		cr_assert_lt(ino, nr);
		cr_assert_eq(dentry_decode(k->val, k->vlen, &de), 0);
		cr_assert_lt(de.ino, nr);
		cr_assert_eq(inode_load(f->store, de.ino, &in), 0, "the name leads nowhere");
		cr_assert_eq(in.mode >> 12, de.type);
		cr_assert(!inode_is_dir(&in) || in.parent == ino);
		of[de.ino].names++;
		of[ino].subdirs += inode_is_dir(&in);
		of[ino].entries++;
	} else if (meta_key_number(k->key, k->klen, META_XATTR, &ino)) {
		of[ino].xattrs++;
	} else if (meta_key_number(k->key, k->klen, META_ORPHAN, &ino)) {
		of[ino].orphan++;
	} else if (meta_key_number(k->key, k->klen, META_TARGET, &ino)) {
		of[ino].target++;
	} else if (meta_key_number(k->key, k->klen, META_CONTENT, &ino)) {
		of[ino].content = k->vlen;
		cr_assert_gt(k->vlen, 0);
	}
}

/* Where the inode says, and never longer than it says. */
static void check_content(struct fs_fixture *f, const struct counts *c, const struct inode *in)
{
	struct data *d = store_data(f->store);
	char beyond;

	if (c->content) {
		cr_assert(S_ISREG(in->mode) && in->layout != INODE_FILE);
		cr_assert(c->content <= CONTENT_HEAD && c->content <= in->size);
	}
	if (in->layout == INODE_INLINE)
		cr_assert_eq(d->ops->blocks(d, in->ino), 0, "a backing file of inode %lu, which is inline", in->ino);
	else if (S_ISREG(in->mode))
		cr_assert_eq(d->ops->read(d, in->ino, &beyond, 1, in->size), 0, "data beyond the end of inode %lu", in->ino);
}

static void check_counts(struct fs_fixture *f, const struct counts *c, uint64_t ino)
{
	struct inode in;

	if (inode_load(f->store, ino, &in) < 0) {
		struct data *d = store_data(f->store);

		cr_assert(!c->names && !c->entries && !c->xattrs && !c->orphan && !c->target && !c->content,
			  "keys without inode %lu", ino);
		cr_assert_eq(d->ops->blocks(d, ino), 0, "data without inode %lu", ino);
		return;
	}
	check_content(f, c, &in);
	cr_assert_eq(c->xattrs, in.nr_xattrs);
	cr_assert_eq(c->target, S_ISLNK(in.mode) ? 1 : 0);
	cr_assert_eq(c->orphan, in.nlink ? 0 : 1);
	cr_assert(!inode_is_dir(&in) || c->entries == in.size);
	if (ino == INODE_ROOT)
		cr_assert_eq(in.nlink, 2 + c->subdirs);
	else if (inode_is_dir(&in))
		cr_assert(in.nlink == (c->names ? 2 + c->subdirs : 0));
	else
		cr_assert_eq(in.nlink, c->names);
}

void fs_fixture_check_keys(struct fs_fixture *f)
{
	struct meta *m = store_meta(f->store);
	uint64_t nr = store_next_ino(f->store), inodes = 0, ino;
	struct counts *of = calloc(nr, sizeof(*of));
	struct batch_item k;
	struct meta_iter *it;

	cr_assert_not_null(of);
	cr_assert_eq(store_free_removed(f->store), 0);
	cr_assert_not(store_has_removed(f->store));
	cr_assert_eq(m->ops->iter_new(m, "", 0, &it), 0);
	while (m->ops->iter_next(it, &k.key, &k.klen, &k.val, &k.vlen) > 0) {
		count_key(f, of, nr, &k);
		inodes += meta_key_number(k.key, k.klen, META_INODE, &ino);
	}
	m->ops->iter_free(it);
	cr_assert_eq(inodes, store_nr_inodes(f->store));
	for (ino = 1; ino < nr; ino++)
		check_counts(f, &of[ino], ino);
	free(of);
}
