/* Applying records, refusing what does not follow, formats, torn records, power loss. */
#include <criterion/criterion.h>
#include <sys/stat.h>
#include <errno.h>
#include <string.h>

#include "cfsd/extent.h"
#include "cfsd/inode.h"
#include "cfsd/meta_key.h"
#include "cfsd/store.h"
#include "cfsd/system.h"
#include "tests/lib/tmpdir.h"

#define MIB ((uint64_t)1 << 20)

static struct store *mem_store(void)
{
	struct meta *m;
	struct data *d;
	struct store *s;

	cr_assert_eq(meta_mem_open(&m), 0);
	cr_assert_eq(data_mem_open(64 * MIB, &d), 0);
	cr_assert_eq(store_open(m, d, &s), 0);
	return s;
}

static struct store *formatted_store(void)
{
	struct store *s = mem_store();

	cr_assert_eq(store_format(s, 3, 1000), 0);
	return s;
}

/* Applies T as the next record of EPOCH. */
static int apply(struct store *s, struct txn *t, uint64_t epoch)
{
	struct wire_logpos prev = store_position(s);
	int r = store_apply(s, &(struct record){
				       .prev = prev,
				       .pos = { .epoch = epoch, .lsn = prev.lsn + 1 },
				       .batch = t->meta.buf,
				       .batch_len = t->meta.len,
				       .extents = t->extents.buf,
				       .extents_len = t->extents.len,
			       });
	txn_release(t);
	return r;
}

static void put(struct txn *t, const char *key, const char *val)
{
	cr_assert_eq(batch_put(&t->meta, key, strlen(key), val, strlen(val)), 0);
}

static void cr_meta(struct store *s, const char *key, const char *want)
{
	struct meta *m = store_meta(s);
	void *val = NULL;
	size_t vlen;
	int r = m->ops->get(m, key, strlen(key), &val, &vlen);

	if (!want) {
		cr_assert_eq(r, -ENOENT);
		return;
	}
	cr_assert_eq(r, 0);
	cr_assert_eq(vlen, strlen(want));
	cr_assert_arr_eq(val, want, vlen);
	free(val);
}

static void cr_data(struct store *s, uint64_t ino, const char *want)
{
	struct data *d = store_data(s);
	char buf[64];
	ssize_t n = d->ops->read(d, ino, buf, sizeof(buf), 0);

	cr_assert_eq(n, (ssize_t)strlen(want));
	cr_assert_arr_eq(buf, want, (size_t)n);
}

Test(store, new_one_is_empty)
{
	struct store *s = mem_store();

	cr_assert(!store_is_formatted(s));
	cr_assert_eq(store_position(s).lsn, 0);
	cr_assert_eq(store_position(s).epoch, 0);
	store_close(s);
}

Test(store, format_makes_the_root)
{
	struct store *s = formatted_store();
	struct inode root;

	cr_assert(store_is_formatted(s));
	cr_assert_eq(store_position(s).epoch, 3);
	cr_assert_eq(store_position(s).lsn, 1);
	cr_assert_eq(inode_load(s, INODE_ROOT, &root), 0);
	cr_assert(inode_is_dir(&root));
	cr_assert_eq(root.nlink, 2);
	cr_assert_eq(root.mode & 07777, 0755);
	cr_assert_eq(root.mtime, 1000);
	cr_assert_eq(store_next_ino(s), 2);
	cr_assert_eq(store_nr_inodes(s), 1);
	cr_assert_eq(store_format(s, 4, 1000), -EEXIST);
	store_close(s);
}

Test(store, apply_wants_the_next_position)
{
	struct store *s = formatted_store();
	struct record rec = { .prev = { 3, 1 }, .pos = { 3, 2 } };

	rec.prev.lsn = 0;
	rec.pos.lsn = 1;
	cr_assert_eq(store_apply(s, &rec), -ESTALE);
	rec.prev = (struct wire_logpos){ 2, 1 };
	rec.pos = (struct wire_logpos){ 3, 2 };
	cr_assert_eq(store_apply(s, &rec), -ESTALE, "same lsn, written by another server");
	rec.prev = (struct wire_logpos){ 3, 1 };
	rec.pos.lsn = 3;
	cr_assert_eq(store_apply(s, &rec), -EBADMSG);
	rec.pos = (struct wire_logpos){ 2, 2 };
	cr_assert_eq(store_apply(s, &rec), -EBADMSG, "epochs do not go back");
	rec.pos = (struct wire_logpos){ 5, 2 };
	cr_assert_eq(store_apply(s, &rec), 0);
	cr_assert_eq(store_position(s).epoch, 5);
	store_close(s);
}

Test(store, bad_record_changes_nothing)
{
	struct store *s = formatted_store();
	struct txn t;

	txn_init(&t);
	put(&t, "Xk", "v");
	cr_assert_eq(txn_write(&t, 5, 0, "hello", 5), 0);
	for (size_t cut = 1; cut < t.meta.len; cut++) {
		struct record rec = { .prev = { 3, 1 }, .pos = { 3, 2 }, .batch = t.meta.buf, .batch_len = cut };

		cr_assert_eq(store_apply(s, &rec), -EBADMSG);
	}
	for (size_t cut = 1; cut < t.extents.len; cut++) {
		struct record rec = { .prev = { 3, 1 },
				      .pos = { 3, 2 },
				      .batch = t.meta.buf,
				      .batch_len = t.meta.len,
				      .extents = t.extents.buf,
				      .extents_len = cut };

		cr_assert_eq(store_apply(s, &rec), -EBADMSG);
	}
	cr_meta(s, "Xk", NULL);
	cr_data(s, 5, "");
	cr_assert_eq(store_position(s).lsn, 1);
	cr_assert_eq(apply(s, &t, 3), 0);
	cr_meta(s, "Xk", "v");
	cr_data(s, 5, "hello");
	store_close(s);
}

Test(store, extents_of_every_kind)
{
	struct store *s = formatted_store();
	struct txn t;

	txn_init(&t);
	cr_assert(txn_is_empty(&t));
	txn_write(&t, 5, 0, "0123456789", 10);
	txn_punch(&t, 5, 2, 3);
	txn_truncate(&t, 5, 8);
	txn_write(&t, 6, 0, "gone", 4);
	txn_remove(&t, 6);
	cr_assert(!txn_is_empty(&t));
	cr_assert_eq(txn_error(&t), 0);
	cr_assert_eq(apply(s, &t, 3), 0);
	struct data *d = store_data(s);
	char buf[16];

	cr_assert_eq(d->ops->read(d, 5, buf, sizeof(buf), 0), 8);
	cr_assert_arr_eq(buf, "01\0\0\0" "567", 8);
	cr_data(s, 6, "gone");
	cr_assert_eq(store_free_removed(s), 0);
	cr_data(s, 6, "");
	store_close(s);
}

Test(store, position_is_in_the_batch)
{
	struct store *s = formatted_store();
	struct txn t;
	struct meta *m;
	struct data *d;

	txn_init(&t);
	put(&t, "Xk", "v");
	cr_assert_eq(apply(s, &t, 7), 0);
	store_detach(s, &m, &d);
	cr_assert_eq(store_open(m, d, &s), 0);
	cr_assert_eq(store_position(s).epoch, 7);
	cr_assert_eq(store_position(s).lsn, 2);
	cr_assert_eq(store_next_ino(s), 2);
	store_close(s);
}

static struct store *power_loss(struct store *s)
{
	struct meta *m;
	struct data *d;

	store_detach(s, &m, &d);
	meta_mem_forget(m);
	data_mem_forget(d, NULL, NULL);
	cr_assert_eq(store_open(m, d, &s), 0);
	return s;
}

Test(store, sync_survives_power_loss)
{
	struct store *s = formatted_store();
	struct txn t;

	txn_init(&t);
	put(&t, "Xa", "1");
	txn_write(&t, 5, 0, "first", 5);
	cr_assert_eq(apply(s, &t, 3), 0);
	cr_assert_eq(store_sync(s, 0), 0);
	txn_init(&t);
	put(&t, "Xa", "2");
	txn_write(&t, 5, 0, "other", 5);
	txn_write(&t, 6, 0, "new", 3);
	cr_assert_eq(apply(s, &t, 3), 0);
	s = power_loss(s);
	cr_assert_eq(store_position(s).lsn, 2);
	cr_meta(s, "Xa", "1");
	cr_data(s, 5, "first");
	cr_data(s, 6, "");
	store_close(s);
}

Test(store, sync_includes_what_a_killed_process_left)
{
	struct store *s = formatted_store();
	struct meta *m;
	struct data *d;
	struct txn t;

	txn_init(&t);
	txn_write(&t, 5, 0, "five", 4);
	cr_assert_eq(apply(s, &t, 3), 0);
	/* Not the last record: that one is done again when the store is opened. */
	txn_init(&t);
	put(&t, "Xa", "1");
	cr_assert_eq(apply(s, &t, 3), 0);
	store_detach(s, &m, &d);
	cr_assert_eq(store_open(m, d, &s), 0);
	cr_assert_eq(store_sync(s, 0), 0);
	s = power_loss(s);
	cr_data(s, 5, "five");
	store_close(s);
}

Test(store, sync_of_one_file_is_the_metadata_and_that_file)
{
	struct store *s = formatted_store();
	struct txn t;

	txn_init(&t);
	put(&t, "Xa", "1");
	txn_write(&t, 5, 0, "five", 4);
	txn_write(&t, 6, 0, "six", 3);
	cr_assert_eq(apply(s, &t, 3), 0);
	cr_assert_eq(store_sync(s, 5), 0);
	s = power_loss(s);
	cr_meta(s, "Xa", "1");
	cr_data(s, 5, "five");
	cr_data(s, 6, "");
	store_close(s);
}

Test(store, many_files_are_synced_together)
{
	struct store *s = formatted_store();
	struct txn t;

	txn_init(&t);
	for (uint64_t ino = 10; ino < 200; ino++)
		txn_write(&t, ino, 0, "x", 1);
	txn_remove(&t, 10);
	cr_assert_eq(apply(s, &t, 3), 0);
	cr_assert_eq(store_sync(s, 0), 0);
	s = power_loss(s);
	cr_assert_eq(store_free_removed(s), 0);
	cr_data(s, 10, "");
	for (uint64_t ino = 11; ino < 200; ino++)
		cr_data(s, ino, "x");
	store_close(s);
}

/* ---- lost writes ---- */

/* An inode with some data, as record of epoch 3. */
static void make_file(struct store *s, uint64_t ino, const char *text)
{
	struct inode in = { .ino = ino, .mode = S_IFREG | 0644, .nlink = 1, .size = strlen(text), .parent = 1 };
	struct txn t;

	txn_init(&t);
	cr_assert_eq(inode_save(&t, &in), 0);
	txn_write(&t, ino, 0, text, strlen(text));
	cr_assert_eq(apply(s, &t, store_position(s).epoch), 0);
}

static void remove_file(struct store *s, uint64_t ino)
{
	struct meta_key k;
	struct txn t;

	txn_init(&t);
	meta_key_inode(&k, ino);
	batch_del(&t.meta, k.b, k.len);
	txn_remove(&t, ino);
	cr_assert_eq(apply(s, &t, 3), 0);
}

Test(store, data_stays_until_its_removal_is_durable)
{
	struct store *s = formatted_store();

	make_file(s, 5, "old");
	cr_assert_eq(store_sync(s, 0), 0);
	remove_file(s, 5);
	cr_assert(store_has_removed(s));
	s = power_loss(s);
	cr_data(s, 5, "old");
	cr_assert_eq(store_free_removed(s), 0);
	cr_data(s, 5, "old");
	remove_file(s, 5);
	cr_assert_eq(store_free_removed(s), 0);
	cr_data(s, 5, "");
	cr_assert_not(store_has_removed(s));
	s = power_loss(s);
	cr_assert_eq(store_free_removed(s), 0);
	cr_data(s, 5, "");
	store_close(s);
}

Test(store, recovered_copy_fits_together)
{
	struct store *s = formatted_store();
	struct wire_logpos at;
	struct meta *m;
	struct data *d;

	cr_assert_eq(store_loss(s).lsn, 0);
	make_file(s, 5, "synced");
	cr_assert_eq(store_sync(s, 0), 0);
	at = store_position(s);
	/* What the kernel had written though nobody asked: longer data, and data of an inode that is lost. */
	store_detach(s, &m, &d);
	cr_assert_eq(d->ops->write(d, 5, " and more", 9, 6), 0);
	cr_assert_eq(d->ops->write(d, 6, "stray", 5, 0), 0);
	cr_assert_eq(store_open(m, d, &s), 0);
	cr_assert_eq(store_recover(s, 9), 0);
	cr_data(s, 5, "synced");
	cr_data(s, 6, "");
	cr_assert_gt(store_next_ino(s), (uint64_t)1 << 32, "nobody gets a number that a client may know");
	cr_assert_eq(store_position(s).epoch, 9);
	cr_assert_gt(store_position(s).lsn, at.lsn + 1000000, "nor a position that a member may have");
	cr_assert_eq(store_loss(s).lsn, store_position(s).lsn);
	make_file(s, 7, "goes on");
	s = power_loss(s);
	cr_assert_eq(store_loss(s).epoch, 9, "and it lasts");
	cr_data(s, 5, "synced");
	store_close(s);
}

/* Strikes in the third record: after the format and one more. */
static void arm_fault(void)
{
	setenv("CFS_FAULT", "store_after_batch:fail=5:3", 1);
}

/* A process killed between a record's metadata and its data: opening completes the record. */
static void torn_record(struct store *s, struct store *(*reopen)(struct store *, void *), void *arg)
{
	struct txn t;

	txn_init(&t);
	txn_write(&t, 5, 0, "hello", 5);
	cr_assert_eq(apply(s, &t, 3), 0);
	txn_init(&t);
	put(&t, "Xa", "1");
	txn_write(&t, 5, 1, "a", 1);
	txn_truncate(&t, 5, 4);
	cr_assert_eq(apply(s, &t, 3), -EIO);
	txn_init(&t);
	cr_assert_eq(apply(s, &t, 3), -EIO, "the copy is broken until it is opened again");
	cr_data(s, 5, "hello");
	s = reopen(s, arg);
	cr_assert_eq(store_position(s).lsn, 3);
	cr_meta(s, "Xa", "1");
	cr_data(s, 5, "hall");
	/* Metadata only, then another start: the slot of an older record is left alone. */
	txn_init(&t);
	cr_assert_eq(apply(s, &t, 3), 0);
	txn_init(&t);
	txn_write(&t, 6, 0, "six", 3);
	cr_assert_eq(apply(s, &t, 4), 0);
	s = reopen(s, arg);
	cr_data(s, 5, "hall");
	cr_data(s, 6, "six");
	store_close(s);
}

static struct store *reopen_mem(struct store *s, void *arg)
{
	struct meta *m;
	struct data *d;

	(void)arg;
	store_detach(s, &m, &d);
	cr_assert_eq(store_open(m, d, &s), 0);
	return s;
}

static struct store *reopen_disk(struct store *s, void *dir)
{
	store_close(s);
	cr_assert_eq(store_open_disk(dir, &s), 0);
	return s;
}

Test(store, torn_record_is_completed_in_memory, .init = arm_fault)
{
	torn_record(formatted_store(), reopen_mem, NULL);
}

Test(store, torn_record_is_completed_on_disk, .init = arm_fault)
{
	struct tmpdir dir;
	struct store *s;

	tmpdir_make(&dir);
	cr_assert_eq(store_open_disk(dir.path, &s), 0);
	cr_assert_eq(store_format(s, 3, 1000), 0);
	torn_record(s, reopen_disk, dir.path);
	tmpdir_remove(&dir);
}

/* Strikes in the fourth record: after the format and two more. */
static void arm_append_fault(void)
{
	setenv("CFS_FAULT", "store_after_appends:fail=5:4", 1);
}

/* A file with contents in a backing file. */
static void put_file(struct txn *t, uint64_t ino, uint64_t size)
{
	cr_assert_eq(inode_save(t, &(struct inode){ .ino = ino, .mode = S_IFREG, .nlink = 1, .size = size }), 0);
}

/* A process killed between the appends of a record and its metadata: opening takes them back. */
static void torn_append(struct store *s, struct store *(*reopen)(struct store *, void *), void *arg)
{
	struct txn t;

	txn_init(&t);
	put_file(&t, 5, 5);
	txn_append(&t, 5, 0, "hello", 5);
	cr_assert_eq(apply(s, &t, 3), 0);
	s = reopen(s, arg);
	cr_data(s, 5, "hello");
	txn_init(&t);
	cr_assert_eq(apply(s, &t, 3), 0);
	txn_init(&t);
	put_file(&t, 5, 10);
	txn_append(&t, 5, 5, "again", 5);
	txn_append(&t, 6, 0, "new", 3);
	txn_write(&t, 5, 0, "b", 1);
	cr_assert_eq(apply(s, &t, 3), -EIO);
	cr_data(s, 5, "helloagain");
	s = reopen(s, arg);
	cr_assert_eq(store_position(s).lsn, 3);
	cr_data(s, 5, "hello");
	cr_data(s, 6, "");
	/* Another record at its position, and another start. */
	txn_init(&t);
	put_file(&t, 5, 8);
	txn_append(&t, 5, 5, "dad", 3);
	cr_assert_eq(apply(s, &t, 4), 0);
	s = reopen(s, arg);
	cr_data(s, 5, "hellodad");
	store_close(s);
}

Test(store, torn_append_is_taken_back_in_memory, .init = arm_append_fault)
{
	torn_append(formatted_store(), reopen_mem, NULL);
}

Test(store, torn_append_is_taken_back_on_disk, .init = arm_append_fault)
{
	struct tmpdir dir;
	struct store *s;

	tmpdir_make(&dir);
	cr_assert_eq(store_open_disk(dir.path, &s), 0);
	cr_assert_eq(store_format(s, 3, 1000), 0);
	torn_append(s, reopen_disk, dir.path);
	tmpdir_remove(&dir);
}

/* Killed while the slot itself was written: it is longer than what is there, or makes no sense. */
Test(store, torn_slot_of_a_record_that_did_not_happen)
{
	uint8_t slot[40 + EXTENT_HEADER] = { 0 };
	struct store *s = formatted_store();
	struct data *d = store_data(s);
	struct txn t;

	txn_init(&t);
	txn_write(&t, 5, 0, "hello", 5);
	cr_assert_eq(apply(s, &t, 3), 0);
	cr_assert_eq(d->ops->read(d, 0, slot, 40, 0), 40);
	slot[24] = 3; /* lsn */
	slot[32] = EXTENT_HEADER;
	slot[40] = EXTENT_APPEND;
	for (size_t len = 40; len <= sizeof(slot); len++) {
		cr_assert_eq(d->ops->write(d, 0, slot, len, (uint64_t)64 << 20), 0);
		s = reopen_mem(s, NULL);
		d = store_data(s);
		cr_data(s, 5, "hello");
	}
	store_close(s);
}

/* The record did not happen, another one took its position: its data must not appear. */
Test(store, redo_of_a_record_that_did_not_happen)
{
	struct store *s = formatted_store();
	struct data *d = store_data(s);
	struct txn t;

	txn_init(&t);
	txn_write(&t, 5, 0, "ghost", 5);
	/* As the slot would be with the process killed before the batch: write it, then roll the metadata back. */
	cr_assert_eq(store_sync(s, 0), 0);
	cr_assert_eq(apply(s, &t, 3), 0);
	cr_assert_eq(d->ops->remove(d, 5), 0);
	meta_mem_forget(store_meta(s));
	s = reopen_mem(s, NULL);
	cr_assert_eq(store_position(s).lsn, 1);
	cr_data(s, 5, "");
	txn_init(&t);
	cr_assert_eq(apply(s, &t, 3), 0);
	s = reopen_mem(s, NULL);
	cr_assert_eq(store_position(s).lsn, 2);
	cr_data(s, 5, "");
	store_close(s);
}

/* A copy of newer data is made below the store: opening it again must not put the last record's data over that. */
Test(store, redo_is_forgotten_when_the_store_is_replaced)
{
	struct store *s = formatted_store();
	struct data *d = store_data(s);
	struct txn t;

	txn_init(&t);
	txn_write(&t, 5, 0, "older", 5);
	cr_assert_eq(apply(s, &t, 3), 0);
	cr_assert_eq(store_reload(s), 0);
	cr_assert_eq(store_position(s).lsn, 2);
	cr_assert_eq(d->ops->write(d, 5, "newer", 5, 0), 0);
	s = reopen_mem(s, NULL);
	cr_data(s, 5, "newer");
	store_close(s);
}

static void system_value(struct store *s, const char *what, const void *val, size_t vlen)
{
	struct meta *m = store_meta(s);
	struct meta_key k;
	struct batch b;

	meta_key_system(&k, what);
	batch_init(&b);
	if (val)
		batch_put(&b, k.b, k.len, val, vlen);
	else
		batch_del(&b, k.b, k.len);
	cr_assert_eq(m->ops->apply(m, b.buf, b.len, true), 0);
	batch_release(&b);
}

static int open_again(struct store **s)
{
	struct meta *m;
	struct data *d;
	int r;

	store_detach(*s, &m, &d);
	r = store_open(m, d, s);
	if (r < 0) {
		m->ops->close(m);
		d->ops->close(d);
	}
	return r;
}

Test(store, newer_format_is_refused)
{
	struct store *s = formatted_store();
	const uint8_t newer[] = { 0, 3, 0, 0, 0 }, longer[] = { 0, 3, 0, 0, 0, 1, 2 };

	system_value(s, SYSTEM_FORMAT, newer, sizeof(newer));
	cr_assert_eq(open_again(&s), -EPROTONOSUPPORT);
	s = formatted_store();
	system_value(s, SYSTEM_FORMAT, longer, sizeof(longer));
	cr_assert_eq(open_again(&s), -EPROTONOSUPPORT);
	s = formatted_store();
	system_value(s, SYSTEM_POSITION, "\x02", 1);
	cr_assert_eq(open_again(&s), -EPROTONOSUPPORT);
}

Test(store, older_format_is_raised)
{
	static const uint8_t first[] = { 0, 1, 0, 0, 0 };
	struct store *s = formatted_store();
	struct meta_key k;
	struct meta *m;
	size_t len;
	void *val;

	system_value(s, SYSTEM_FORMAT, first, sizeof(first));
	cr_assert_eq(open_again(&s), 0);
	m = store_meta(s);
	meta_key_system(&k, SYSTEM_FORMAT);
	cr_assert_eq(m->ops->get(m, k.b, k.len, &val, &len), 0);
	cr_assert(len == 5 && !memcmp(val, "\0\2\0\0\0", 5));
	free(val);
	s = power_loss(s);
	cr_assert_eq(store_position(s).lsn, 1);
	store_close(s);
}

Test(store, torn_format_is_refused)
{
	static const char *const keys[] = { SYSTEM_FORMAT, SYSTEM_POSITION, SYSTEM_NEXT_INO };

	for (size_t i = 0; i < 3; i++) {
		struct store *s = formatted_store();

		system_value(s, keys[i], "\0\1", 2);
		cr_assert_eq(open_again(&s), -EBADMSG, "%s", keys[i]);
	}
	for (size_t i = 1; i < 3; i++) {
		struct store *s = formatted_store();

		system_value(s, keys[i], NULL, 0);
		cr_assert_eq(open_again(&s), -EBADMSG, "no %s", keys[i]);
	}
}

Test(store, disk_store_opens_again)
{
	struct tmpdir dir;
	struct store *s, *second;
	struct txn t;

	tmpdir_make(&dir);
	cr_assert_eq(store_open_disk(dir.path, &s), 0);
	cr_assert_eq(store_format(s, 1, 5), 0);
	txn_init(&t);
	put(&t, "Xa", "1");
	txn_write(&t, 9, 3, "abc", 3);
	cr_assert_eq(apply(s, &t, 1), 0);
	cr_assert_eq(store_sync(s, 9), 0);
	cr_assert_eq(store_sync(s, 0), 0);
	cr_assert_lt(store_open_disk(dir.path, &second), 0, "one process at a time");
	store_close(s);
	cr_assert_eq(store_open_disk(dir.path, &s), 0);
	cr_assert_eq(store_position(s).lsn, 2);
	cr_meta(s, "Xa", "1");
	store_close(s);
	tmpdir_remove(&dir);
}

Test(store, open_disk_reports_a_bad_directory)
{
	struct store *s;

	cr_assert_eq(store_open_disk("/proc/nowhere", &s), -ENOENT);
}

Test(extent, refuses_impossible_ones)
{
	uint8_t buf[EXTENT_HEADER] = { EXTENT_TRUNCATE };
	struct extent e;
	size_t pos = 0;

	cr_assert_eq(extent_next(buf, sizeof(buf), &pos, &e), -EBADMSG, "inode 0");
	buf[1] = 9;
	cr_assert_eq(extent_next(buf, sizeof(buf), &pos, &e), 1);
	pos = 0;
	memset(buf + 9, 0xff, 16);
	cr_assert_eq(extent_next(buf, sizeof(buf), &pos, &e), -EBADMSG, "off + len overflows");
	memset(buf + 9, 0, 16);
	buf[0] = 9;
	cr_assert_eq(extent_next(buf, sizeof(buf), &pos, &e), -EBADMSG, "kind");
	pos = sizeof(buf) + 1;
	cr_assert_eq(extent_next(buf, sizeof(buf), &pos, &e), -EBADMSG);
}
