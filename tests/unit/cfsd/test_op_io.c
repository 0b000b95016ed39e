/* setattr, open, read, write, fallocate, statfs: content, sizes, times, set-id bits, and a full disk. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "cfsd/content.h"
#include "cfsd/extent.h"
#include "tests/lib/fs_fixture.h"

static struct fs_fixture fx;
static uint64_t file; /* an empty one, mode 0644 */

static uint64_t make(const char *name, uint32_t mode)
{
	struct msg_mknod_rep rep;

	cr_assert_eq(FS_RUN(&fx, mknod, &rep, .parent = INODE_ROOT, .entry = name, .mode = mode), 0);
	return rep.attr.ino;
}

static void setup(void)
{
	fs_fixture_init(&fx, 64 << 20);
	file = make("file", S_IFREG | 0644);
}

static void teardown(void)
{
	fs_fixture_check_standby(&fx);
	fs_fixture_check_keys(&fx);
	fs_fixture_release(&fx);
}

TestSuite(op_io, .init = setup, .fini = teardown);

static struct wire_attr attr_of(uint64_t ino)
{
	struct msg_getattr_rep rep;

	cr_assert_eq(FS_RUN(&fx, getattr, &rep, .ino = ino), 0);
	return rep.attr;
}

static struct inode inode_of(uint64_t ino)
{
	struct inode in;

	cr_assert_eq(inode_load(fx.store, ino, &in), 0);
	return in;
}

static int write_at(uint64_t off, const char *text, uint32_t flags, struct msg_write_rep *ret_rep)
{
	struct msg_write_rep rep;
	int r = FS_RUN(&fx, write, &rep, .ino = file, .off = off, .flags = flags,
		       .data = { text, (uint32_t)strlen(text) });

	if (ret_rep)
		*ret_rep = rep;
	return r;
}

static void cr_content(uint64_t off, const void *want, uint32_t len)
{
	struct msg_read_rep rep;

	cr_assert_eq(FS_RUN(&fx, read, &rep, .ino = file, .off = off, .len = 1000), 0);
	cr_assert_eq(rep.data.len, len);
	cr_assert(!len || !memcmp(rep.data.p, want, len));
}

static int set_size(uint64_t size)
{
	struct msg_setattr_rep rep;

	return FS_RUN(&fx, setattr, &rep, .ino = file, .valid = SETATTR_SIZE, .size = size);
}

static void set_mode(uint64_t ino, uint32_t mode)
{
	struct msg_setattr_rep rep;

	cr_assert_eq(FS_RUN(&fx, setattr, &rep, .ino = ino, .valid = SETATTR_MODE, .mode = mode), 0);
}

Test(op_io, write_and_read)
{
	struct wire_attr before = attr_of(file);
	struct msg_write_rep w;

	cr_content(0, "", 0);
	cr_assert_eq(write_at(0, "hello", 0, &w), 0);
	cr_assert_eq(w.off, 0);
	cr_assert_eq(w.written, 5);
	cr_assert_eq(w.attr.size, 5);
	cr_assert_eq(w.attr.blocks, 8);
	cr_assert_gt(w.attr.mtime, before.mtime);
	cr_assert_eq(w.attr.ctime, w.attr.mtime);
	cr_assert_eq(w.attr.atime, before.atime);
	cr_content(0, "hello", 5);
	cr_content(2, "llo", 3);
	cr_content(5, "", 0);
	cr_content(UINT64_MAX, "", 0);
	cr_assert_eq(write_at(1, "a", 0, &w), 0);
	cr_assert_eq(w.attr.size, 5);
	cr_content(0, "hallo", 5);
	cr_assert_eq(attr_of(file).blocks, 8);
}

static void cr_begins(uint64_t off, const void *want, uint32_t len)
{
	struct msg_read_rep rep;

	cr_assert_eq(FS_RUN(&fx, read, &rep, .ino = file, .off = off, .len = len), 0);
	cr_assert_eq(rep.data.len, len);
	cr_assert(!memcmp(rep.data.p, want, len));
}

static uint64_t file_bytes(void)
{
	struct data *d = store_data(fx.store);

	return d->ops->blocks(d, file) * 512;
}

/* What is with the metadata stays there; what comes behind it is in a backing file, for good. */
Test(op_io, small_contents_are_inline)
{
	static char big[CONTENT_HEAD + 1];

	memset(big, 'b', sizeof(big) - 1);
	cr_assert_eq(write_at(0, "small", 0, NULL), 0);
	cr_assert_eq(inode_of(file).layout, INODE_INLINE);
	cr_assert_eq(write_at(0, big, 0, NULL), 0);
	cr_assert_eq(inode_of(file).layout, INODE_INLINE);
	cr_assert_eq(file_bytes(), 0);
	cr_assert_eq(write_at(CONTENT_HEAD, "x", 0, NULL), 0);
	cr_assert_eq(inode_of(file).layout, INODE_HEAD);
	cr_assert_gt(file_bytes(), 0);
	cr_content(CONTENT_HEAD - 1, "bx", 2);
	cr_assert_eq(set_size(3), 0);
	cr_assert_eq(inode_of(file).layout, INODE_HEAD, "it has a file, and goes on with it");
	cr_content(0, "bbb", 3);
	cr_assert_eq(set_size(0), 0);
	cr_assert_eq(inode_of(file).layout, INODE_HEAD);
	cr_assert_eq(file_bytes(), 0);
	cr_assert_eq(write_at(1, "y", 0, NULL), 0);
	cr_content(0, "\0y", 2);
	cr_assert_eq(file_bytes(), 0);
}

/* Nothing that was written is moved: a power loss would take the file's part, and what was synced before with it. */
Test(op_io, a_write_across_the_head)
{
	static char big[CONTENT_HEAD + 1];
	struct extent e;
	size_t pos = 0;

	memset(big, 'b', sizeof(big) - 1);
	cr_assert_eq(write_at(0, "a", 0, NULL), 0);
	cr_assert_eq(write_at(CONTENT_HEAD - 2, "12345", 0, NULL), 0);
	cr_assert_eq(extent_next(fx.txn.extents.buf, fx.txn.extents.len, &pos, &e), 1);
	cr_assert(e.kind == EXTENT_APPEND && e.off == CONTENT_HEAD && e.len == 3);
	cr_content(CONTENT_HEAD - 3, "\00012345", 6);
	cr_assert_eq(write_at(1, big, 0, NULL), 0);
	cr_content(CONTENT_HEAD - 3, "bbbb45", 6);
	cr_begins(0, "abbb", 4);
}

Test(op_io, a_large_first_write_has_one_place)
{
	static char big[CONTENT_HEAD + 3];
	struct extent e;
	size_t pos = 0;

	memset(big, 'b', sizeof(big) - 1);
	cr_assert_eq(write_at(0, big, 0, NULL), 0);
	cr_assert_eq(inode_of(file).layout, INODE_FILE);
	cr_assert_eq(extent_next(fx.txn.extents.buf, fx.txn.extents.len, &pos, &e), 1);
	cr_assert(e.kind == EXTENT_APPEND && e.off == 0 && e.len == sizeof(big) - 1);
	cr_assert_eq(set_size(0), 0);
	cr_assert_eq(write_at(0, "small", 0, NULL), 0);
	cr_assert_eq(inode_of(file).layout, INODE_FILE);
	cr_content(0, "small", 5);
}

Test(op_io, inline_contents_of_a_long_file)
{
	struct msg_fallocate_rep rep;

	cr_assert_eq(write_at(0, "abcdef", 0, NULL), 0);
	cr_assert_eq(set_size(100000), 0);
	cr_assert_eq(inode_of(file).layout, INODE_INLINE);
	cr_begins(4, "ef\0", 3);
	cr_content(99998, "\0\0", 2);
	cr_assert_eq(FS_RUN(&fx, fallocate, &rep, .ino = file, .mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, .off = 4,
			    .len = 50000), 0);
	cr_assert_eq(set_size(6), 0);
	cr_content(0, "abcd\0\0", 6);
	cr_assert_eq(set_size(2), 0);
	cr_assert_eq(set_size(4), 0);
	cr_content(0, "ab\0\0", 4);
	/* A hole between what is inline and what is not. */
	cr_assert_eq(write_at(50000, "far", 0, NULL), 0);
	cr_assert_eq(inode_of(file).layout, INODE_HEAD);
	cr_begins(0, "ab\0\0\0", 5);
	cr_content(49999, "\0far", 4);
}

/* What nobody can see before the metadata says so goes into the file first, and is not noted in the redo slot. */
Test(op_io, appends)
{
	struct extent e;
	size_t pos = 0;

	cr_assert_eq(set_size(CONTENT_HEAD), 0);
	cr_assert_eq(write_at(CONTENT_HEAD, "one", 0, NULL), 0);
	cr_assert_eq(extent_next(fx.txn.extents.buf, fx.txn.extents.len, &pos, &e), 1);
	cr_assert(e.kind == EXTENT_APPEND && e.off == CONTENT_HEAD && e.len == 3);
	cr_assert_eq(write_at(CONTENT_HEAD + 3, "two", 0, NULL), 0);
	pos = 0;
	cr_assert_eq(extent_next(fx.txn.extents.buf, fx.txn.extents.len, &pos, &e), 1);
	cr_assert_eq(e.kind, EXTENT_APPEND);
	cr_assert_eq(write_at(CONTENT_HEAD + 5, "over", 0, NULL), 0);
	pos = 0;
	cr_assert_eq(extent_next(fx.txn.extents.buf, fx.txn.extents.len, &pos, &e), 1);
	cr_assert_eq(e.kind, EXTENT_WRITE, "it changes a byte that was there");
	cr_content(CONTENT_HEAD, "onetwover", 9);
}

Test(op_io, append_is_placed_here)
{
	struct msg_write_rep w;

	cr_assert_eq(write_at(0, "one", 0, NULL), 0);
	cr_assert_eq(write_at(0, "two", WRITE_APPEND, &w), 0);
	cr_assert_eq(w.off, 3);
	cr_assert_eq(w.attr.size, 6);
	cr_content(0, "onetwo", 6);
}

Test(op_io, holes_are_zeros)
{
	cr_assert_eq(write_at(5, "x", 0, NULL), 0);
	cr_content(0, "\0\0\0\0\0x", 6);
	cr_assert_eq(set_size(8), 0);
	cr_content(4, "\0x\0\0", 4);
	cr_assert_eq(attr_of(file).size, 8);
}

Test(op_io, what_was_cut_off_does_not_come_back)
{
	cr_assert_eq(write_at(0, "secret", 0, NULL), 0);
	cr_assert_eq(set_size(2), 0);
	cr_assert_eq(set_size(6), 0);
	cr_content(0, "se\0\0\0\0", 6);
	cr_assert_eq(set_size(2), 0);
	cr_assert_eq(write_at(5, "x", 0, NULL), 0);
	cr_content(0, "se\0\0\0x", 6);
}

Test(op_io, write_of_nothing)
{
	struct wire_attr before = attr_of(file);
	struct msg_write_rep w;

	cr_assert_eq(write_at(100, "", 0, &w), 0);
	cr_assert_eq(w.written, 0);
	cr_assert_eq(w.attr.size, 0);
	cr_assert_eq(attr_of(file).change, before.change);
}

Test(op_io, wrong_kinds_of_inode)
{
	uint64_t dir = make("d", S_IFDIR | 0755), fifo = make("p", S_IFIFO | 0644);
	struct msg_read_rep rd;
	struct msg_write_rep w;
	struct msg_setattr_rep s;
	struct msg_open_rep o;
	struct msg_fallocate_rep fa;

	cr_assert_eq(FS_RUN(&fx, read, &rd, .ino = dir, .len = 1), -EISDIR);
	cr_assert_eq(FS_RUN(&fx, read, &rd, .ino = fifo, .len = 1), -EINVAL);
	cr_assert_eq(FS_RUN(&fx, read, &rd, .ino = 99, .len = 1), -ESTALE);
	cr_assert_eq(FS_RUN(&fx, write, &w, .ino = dir, .data = { "x", 1 }), -EISDIR);
	cr_assert_eq(FS_RUN(&fx, write, &w, .ino = fifo, .data = { "x", 1 }), -EINVAL);
	cr_assert_eq(FS_RUN(&fx, setattr, &s, .ino = dir, .valid = SETATTR_SIZE), -EISDIR);
	cr_assert_eq(FS_RUN(&fx, setattr, &s, .ino = fifo, .valid = SETATTR_SIZE), -EINVAL);
	cr_assert_eq(FS_RUN(&fx, setattr, &s, .ino = 99, .valid = SETATTR_MODE), -ESTALE);
	cr_assert_eq(FS_RUN(&fx, open, &o, .ino = dir, .flags = OPEN_READ), 0);
	cr_assert_eq(FS_RUN(&fx, open, &o, .ino = dir, .flags = OPEN_WRITE), -EISDIR);
	cr_assert_eq(FS_RUN(&fx, open, &o, .ino = 99), -ESTALE);
	cr_assert_eq(FS_RUN(&fx, fallocate, &fa, .ino = dir, .len = 1), -EISDIR);
	cr_assert_eq(FS_RUN(&fx, fallocate, &fa, .ino = fifo, .len = 1), -ENODEV);
}

Test(op_io, sizes_end)
{
	struct msg_write_rep w;
	struct msg_fallocate_rep fa;

	cr_assert_eq(set_size(INODE_SIZE_MAX + 1), -EFBIG);
	cr_assert_eq(set_size(UINT64_MAX), -EFBIG);
	cr_assert_eq(set_size(INODE_SIZE_MAX), 0);
	cr_assert_eq(write_at(INODE_SIZE_MAX, "x", 0, NULL), -EFBIG);
	cr_assert_eq(write_at(0, "x", WRITE_APPEND, NULL), -EFBIG);
	cr_assert_eq(write_at(UINT64_MAX, "x", 0, NULL), -EFBIG);
	cr_assert_eq(write_at(INODE_SIZE_MAX - 2, "abc", 0, &w), 0, "as much as fits");
	cr_assert_eq(w.written, 2);
	cr_content(INODE_SIZE_MAX - 2, "ab", 2);
	cr_assert_eq(FS_RUN(&fx, fallocate, &fa, .ino = file, .off = INODE_SIZE_MAX, .len = 1), -EFBIG);
	cr_assert_eq(FS_RUN(&fx, fallocate, &fa, .ino = file, .off = 1, .len = UINT64_MAX), -EFBIG);
	cr_assert_eq(set_size(0), 0);
}

Test(op_io, data_stamp_is_the_last_change_of_data)
{
	struct inode in;

	cr_assert_eq(inode_of(file).stamp.lsn, 0);
	cr_assert_eq(write_at(0, "abc", 0, NULL), 0);
	in = inode_of(file);
	cr_assert_eq(in.stamp.lsn, store_position(fx.store).lsn);
	cr_assert_eq(in.stamp.epoch, fx.epoch);
	set_mode(file, 0600);
	cr_assert_eq(inode_of(file).stamp.lsn, in.stamp.lsn);
	fx.epoch = 2;
	cr_assert_eq(set_size(1), 0);
	cr_assert_gt(inode_of(file).stamp.lsn, in.stamp.lsn);
	cr_assert_eq(inode_of(file).stamp.epoch, 2);
}

Test(op_io, truncation_when_opened)
{
	struct msg_open_rep o;

	cr_assert_eq(write_at(0, "abc", 0, NULL), 0);
	cr_assert_eq(FS_RUN(&fx, open, &o, .ino = file, .flags = OPEN_READ | OPEN_WRITE), 0);
	cr_assert_eq(o.attr.size, 3);
	cr_assert(!op_is_change(MSG_open, &(struct msg_open_req){ .flags = OPEN_WRITE }));
	cr_assert(op_is_change(MSG_open, &(struct msg_open_req){ .flags = OPEN_WRITE | OPEN_TRUNC }));
	cr_assert_eq(FS_RUN(&fx, open, &o, .ino = file, .flags = OPEN_WRITE | OPEN_TRUNC), 0);
	cr_assert_eq(o.attr.size, 0);
	cr_content(0, "", 0);
}

Test(op_io, set_id_bits)
{
	struct msg_setattr_rep s;

	set_mode(file, 06755);
	cr_assert_eq(attr_of(file).mode, S_IFREG | 06755);
	cr_assert_eq(write_at(0, "a", 0, NULL), 0);
	cr_assert_eq(attr_of(file).mode, S_IFREG | 06755, "the kernel says when");
	cr_assert_eq(write_at(0, "a", WRITE_KILL_PRIV, NULL), 0);
	cr_assert_eq(attr_of(file).mode, S_IFREG | 0755);
	set_mode(file, 06745);
	cr_assert_eq(FS_RUN(&fx, setattr, &s, .ino = file, .valid = SETATTR_UID | SETATTR_KILL_PRIV, .uid = 5), 0);
	cr_assert_eq(s.attr.mode, S_IFREG | 02745, "no group execution: not a set-id bit");
	cr_assert_eq(s.attr.uid, 5);
	set_mode(INODE_ROOT, 06755);
	cr_assert_eq(FS_RUN(&fx, setattr, &s, .ino = INODE_ROOT, .valid = SETATTR_GID | SETATTR_KILL_PRIV, .gid = 5), 0);
	cr_assert_eq(s.attr.mode, S_IFDIR | 06755);
	set_mode(file, S_IFDIR | 0600);
	cr_assert_eq(attr_of(file).mode, S_IFREG | 0600, "the type cannot be changed");
}

Test(op_io, given_times)
{
	struct wire_attr before = attr_of(file), a;
	struct msg_setattr_rep s;

	cr_assert_eq(FS_RUN(&fx, setattr, &s, .ino = file, .valid = SETATTR_ATIME | SETATTR_MTIME, .atime = 5, .mtime = 7), 0);
	cr_assert_eq(s.attr.atime, 5);
	cr_assert_eq(s.attr.mtime, 7);
	cr_assert_gt(s.attr.ctime, before.ctime);
	cr_assert_eq(FS_RUN(&fx, setattr, &s, .ino = file, .valid = SETATTR_MTIME, .mtime = UINT64_MAX), 0);
	cr_assert_eq(write_at(0, "x", 0, NULL), 0);
	a = attr_of(file);
	cr_assert_eq(a.mtime, a.ctime, "a write takes a time in the future back");
	cr_assert_eq(FS_RUN(&fx, setattr, &s, .ino = file, .valid = SETATTR_ATIME_NOW | SETATTR_MTIME_NOW), 0);
	cr_assert_eq(s.attr.atime, fx.now_ns);
	cr_assert_eq(s.attr.mtime, s.attr.ctime);
	cr_assert_eq(FS_RUN(&fx, setattr, &s, .ino = file), 0);
	cr_assert(txn_is_empty(&fx.txn), "nothing asked, nothing changed");
}

Test(op_io, every_content_has_its_own_mtime)
{
	uint64_t last = 0;

	fx.now_ns = 0;
	for (int i = 0; i < 50; i++) {
		fx.now_ns = (uint64_t)(i % 7) * 100; /* a clock that stands still and goes back */
		cr_assert_eq(write_at(0, "x", 0, NULL), 0);
		cr_assert_gt(attr_of(file).mtime, last);
		last = attr_of(file).mtime;
	}
}

Test(op_io, fallocate_extends_and_punches)
{
	struct msg_fallocate_rep fa;
	const uint32_t punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	cr_assert_eq(write_at(0, "abcdef", 0, NULL), 0);
	cr_assert_eq(FS_RUN(&fx, fallocate, &fa, .ino = file, .off = 4, .len = 6), 0);
	cr_assert_eq(fa.attr.size, 10);
	cr_assert_eq(FS_RUN(&fx, fallocate, &fa, .ino = file, .off = 0, .len = 3), 0);
	cr_assert_eq(fa.attr.size, 10);
	cr_content(0, "abcdef\0\0\0\0", 10);
	cr_assert_eq(FS_RUN(&fx, fallocate, &fa, .ino = file, .mode = punch, .off = 1, .len = 2), 0);
	cr_content(0, "a\0\0def\0\0\0\0", 10);
	cr_assert_eq(FS_RUN(&fx, fallocate, &fa, .ino = file, .mode = punch, .off = 5, .len = 1000), 0);
	cr_assert_eq(fa.attr.size, 10);
	cr_content(0, "a\0\0de\0\0\0\0\0", 10);
	cr_assert_eq(FS_RUN(&fx, fallocate, &fa, .ino = file, .mode = punch, .off = 50, .len = 10), 0);
	cr_assert_eq(FS_RUN(&fx, fallocate, &fa, .ino = file, .mode = FALLOC_FL_KEEP_SIZE, .len = 1), -EOPNOTSUPP);
	cr_assert_eq(FS_RUN(&fx, fallocate, &fa, .ino = file, .mode = FALLOC_FL_ZERO_RANGE, .len = 1), -EOPNOTSUPP);
	cr_assert_eq(FS_RUN(&fx, fallocate, &fa, .ino = file), -EINVAL);
}

Test(op_io, fsync_is_of_what_exists)
{
	struct msg_fsync_rep rep;

	cr_assert_eq(FS_RUN(&fx, fsync, &rep, .ino = file), 0);
	cr_assert_eq(FS_RUN(&fx, fsync, &rep, .ino = 0), 0);
	cr_assert_eq(FS_RUN(&fx, fsync, &rep, .ino = 99), -ESTALE);
}

Test(op_io, long_reads_are_cut)
{
	struct msg_read_rep rd;

	cr_assert_eq(set_size((uint64_t)WIRE_BLOB_MAX * 2), 0);
	cr_assert_eq(FS_RUN(&fx, read, &rd, .ino = file, .len = UINT32_MAX), 0);
	cr_assert_eq(rd.data.len, WIRE_BLOB_MAX);
	cr_assert_eq(set_size(0), 0);
}

Test(op_io, unknown_operation)
{
	struct msg_getattr_rep rep;

	cr_assert_eq(fs_fixture_run(&fx, MSG_ping, &(struct msg_ping_req){ 0 }, &rep), -ENOSYS);
	cr_assert(!op_is_change(MSG_ping, NULL));
}

/* 256 KiB in all, of which one new name may want 64. */
Test(op_full, full_disk)
{
	static char buf[64 << 10];
	struct msg_write_rep w;
	struct msg_create_rep c;
	struct msg_statfs_rep st;
	struct msg_fallocate_rep fa;
	struct msg_unlink_rep u;
	struct msg_setxattr_rep x;
	struct msg_rename_rep rn;
	uint64_t off = 0, lsn;
	int r;

	fs_fixture_init(&fx, 256 << 10);
	file = make("file", S_IFREG | 0644);
	do {
		r = FS_RUN(&fx, write, &w, .ino = file, .off = off, .data = { buf, sizeof(buf) });
		off += sizeof(buf);
	} while (!r && off < 1 << 20);
	cr_assert_eq(r, -ENOSPC);
	cr_assert_geq(off, sizeof(buf) * 3);
	while (!FS_RUN(&fx, write, &w, .ino = file, .flags = WRITE_APPEND, .data = { buf, 4096 }))
		;
	lsn = store_position(fx.store).lsn;
	cr_assert_eq(FS_RUN(&fx, fallocate, &fa, .ino = file, .off = 0, .len = 1 << 20), -ENOSPC);
	while (!FS_RUN(&fx, fallocate, &fa, .ino = file, .off = 0, .len = 4096) && lsn + 3 > store_position(fx.store).lsn)
		;
	cr_assert_eq(FS_RUN(&fx, statfs, &st, .ino = INODE_ROOT), 0);
	cr_assert_eq(st.bsize, 4096);
	cr_assert_eq(st.blocks, 64);
	cr_assert_lt(st.bfree, 17);
	cr_assert_eq(st.files, 2 + st.ffree);
	cr_assert_eq(st.namelen, 255);
	/* Nothing new. */
	fx.scratch.len = 0;
	struct data *d = store_data(fx.store), *e = store_data(fx.standby);

	cr_assert_eq(d->ops->write(d, 999, buf, 4096 * st.bfree, 0), 0);
	cr_assert_eq(e->ops->write(e, 999, buf, 4096 * st.bfree, 0), 0);
	cr_assert_eq(FS_RUN(&fx, create, &c, .parent = INODE_ROOT, .entry = "g", .mode = 0600), -ENOSPC);
	cr_assert_eq(FS_RUN(&fx, setxattr, &x, .ino = file, .attr_name = "user.a", .value = { "v", 1 }), -ENOSPC);
	cr_assert_eq(write_at(1 << 20, "x", 0, NULL), -ENOSPC);
	cr_assert_eq(FS_RUN(&fx, rename, &rn, .parent = INODE_ROOT, .entry = "file", .new_parent = INODE_ROOT, .new_entry = "f2"),
		     -ENOSPC);
	/* What is there can be written again, cut and removed. */
	cr_assert_eq(write_at(0, "again", 0, NULL), 0);
	set_mode(file, 0600);
	cr_assert_eq(set_size(100), 0);
	cr_assert_eq(FS_RUN(&fx, create, &c, .parent = INODE_ROOT, .entry = "g", .mode = 0600), 0);
	cr_assert_eq(FS_RUN(&fx, unlink, &u, .parent = INODE_ROOT, .entry = "file"), 0);
	cr_assert_eq(d->ops->remove(d, 999), 0);
	cr_assert_eq(e->ops->remove(e, 999), 0);
	teardown();
}
