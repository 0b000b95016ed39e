/* rename(2), renameat2(2). */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "cfsd/inode.h"
#include "tests/lib/fs_fixture.h"

static struct fs_fixture fx;
static uint64_t dir_a, dir_b, file; /* /a/ /b/ /a/f */
static uint64_t replaced;

static uint64_t make(uint64_t parent, const char *name, uint32_t mode)
{
	struct msg_mknod_rep rep;

	cr_assert_eq(FS_RUN(&fx, mknod, &rep, .parent = parent, .entry = name, .mode = mode), 0);
	return rep.attr.ino;
}

static void setup(void)
{
	fs_fixture_init(&fx, 64 << 20);
	dir_a = make(INODE_ROOT, "a", S_IFDIR | 0755);
	dir_b = make(INODE_ROOT, "b", S_IFDIR | 0755);
	file = make(dir_a, "f", S_IFREG | 0644);
}

static void teardown(void)
{
	fs_fixture_check_standby(&fx);
	fs_fixture_check_keys(&fx);
	fs_fixture_release(&fx);
}

TestSuite(op_rename, .init = setup, .fini = teardown);

static int move(uint64_t parent, const char *name, uint64_t new_parent, const char *new_name, uint32_t flags)
{
	struct msg_rename_rep rep;
	int r = FS_RUN(&fx, rename, &rep, .parent = parent, .entry = name, .new_parent = new_parent, .new_entry = new_name,
		       .flags = flags);

	replaced = rep.replaced;
	return r;
}

static uint64_t lookup(uint64_t parent, const char *name)
{
	struct msg_lookup_rep rep;

	cr_assert_eq(FS_RUN(&fx, lookup, &rep, .parent = parent, .entry = name), 0);
	return rep.attr.ino;
}

static struct wire_attr attr_of(uint64_t ino)
{
	struct msg_getattr_rep rep;

	cr_assert_eq(FS_RUN(&fx, getattr, &rep, .ino = ino), 0);
	return rep.attr;
}

static bool is_gone(uint64_t ino)
{
	struct msg_getattr_rep rep;

	return FS_RUN(&fx, getattr, &rep, .ino = ino) == -ESTALE;
}

Test(op_rename, within_a_directory)
{
	struct wire_attr before = attr_of(file), dir = attr_of(dir_a);

	cr_assert_eq(move(dir_a, "f", dir_a, "g", 0), 0);
	cr_assert_eq(lookup(dir_a, "f"), 0);
	cr_assert_eq(lookup(dir_a, "g"), file);
	cr_assert_eq(replaced, 0);
	cr_assert_gt(attr_of(file).ctime, before.ctime);
	cr_assert_eq(attr_of(file).mtime, before.mtime);
	cr_assert_gt(attr_of(dir_a).mtime, dir.mtime);
	cr_assert_eq(attr_of(dir_a).size, 1);
}

Test(op_rename, to_another_directory)
{
	cr_assert_eq(move(dir_a, "f", dir_b, "g", 0), 0);
	cr_assert_eq(lookup(dir_b, "g"), file);
	cr_assert_eq(attr_of(dir_a).size, 0);
	cr_assert_eq(attr_of(dir_b).size, 1);
}

Test(op_rename, over_a_file)
{
	uint64_t other = make(dir_b, "g", S_IFREG | 0600);

	cr_assert_eq(move(dir_a, "f", dir_b, "g", RENAME_NOREPLACE), -EEXIST);
	cr_assert_eq(move(dir_a, "f", dir_b, "g", 0), 0);
	cr_assert_eq(replaced, other);
	cr_assert(is_gone(other));
	cr_assert_eq(lookup(dir_b, "g"), file);
	cr_assert_eq(attr_of(dir_b).size, 1);
}

Test(op_rename, over_an_open_file)
{
	uint64_t other = make(dir_b, "g", S_IFREG | 0600);

	fx.open_inos[0] = other;
	cr_assert_eq(move(dir_a, "f", dir_b, "g", 0), 0);
	cr_assert_eq(attr_of(other).nlink, 0);
	cr_assert_eq(fs_fixture_reap(&fx, other), 0);
	cr_assert(is_gone(other));
}

Test(op_rename, over_another_link_of_itself)
{
	struct msg_link_rep rep;

	cr_assert_eq(FS_RUN(&fx, link, &rep, .ino = file, .parent = dir_b, .entry = "g"), 0);
	cr_assert_eq(move(dir_a, "f", dir_b, "g", 0), 0);
	cr_assert(txn_is_empty(&fx.txn));
	cr_assert_eq(replaced, file, "says that nothing was changed");
	cr_assert_eq(lookup(dir_a, "f"), file);
	cr_assert_eq(lookup(dir_b, "g"), file);
	cr_assert_eq(move(dir_a, "f", dir_b, "g", RENAME_EXCHANGE), 0);
	cr_assert_eq(move(INODE_ROOT, "a", INODE_ROOT, "a", 0), 0, "a directory that is not empty, onto itself");
	cr_assert_eq(move(dir_a, "f", dir_b, "g", RENAME_NOREPLACE), -EEXIST);
}

Test(op_rename, directories_take_their_links_along)
{
	uint64_t sub = make(dir_a, "sub", S_IFDIR | 0755);
	struct inode in;

	make(sub, "x", S_IFREG | 0600);
	cr_assert_eq(move(dir_a, "sub", dir_b, "sub", 0), 0);
	cr_assert_eq(attr_of(dir_a).nlink, 2);
	cr_assert_eq(attr_of(dir_b).nlink, 3);
	cr_assert_eq(inode_load(fx.store, sub, &in), 0);
	cr_assert_eq(in.parent, dir_b);
	cr_assert_neq(lookup(sub, "x"), 0);
}

Test(op_rename, over_a_directory)
{
	uint64_t empty = make(dir_b, "e", S_IFDIR | 0755), full = make(dir_b, "full", S_IFDIR | 0755);

	make(full, "x", S_IFREG | 0600);
	make(dir_a, "sub", S_IFDIR | 0755);
	cr_assert_eq(move(dir_a, "sub", dir_b, "full", 0), -ENOTEMPTY);
	cr_assert_eq(move(dir_a, "f", dir_b, "e", 0), -EISDIR);
	cr_assert_eq(move(dir_a, "sub", dir_a, "f", 0), -ENOTDIR);
	cr_assert_eq(move(dir_a, "sub", dir_b, "e", 0), 0);
	cr_assert_eq(replaced, empty);
	cr_assert(is_gone(empty));
	cr_assert_eq(attr_of(dir_b).nlink, 4);
	cr_assert_eq(attr_of(dir_a).nlink, 2);
}

Test(op_rename, below_itself)
{
	uint64_t sub = make(dir_a, "sub", S_IFDIR | 0755), deep = make(sub, "deep", S_IFDIR | 0755);

	cr_assert_eq(move(INODE_ROOT, "a", dir_a, "x", 0), -EINVAL);
	cr_assert_eq(move(INODE_ROOT, "a", deep, "x", 0), -EINVAL);
	cr_assert_eq(move(INODE_ROOT, "a", deep, "x", RENAME_EXCHANGE), -ENOENT);
	cr_assert_eq(move(sub, "deep", INODE_ROOT, "a", 0), -ENOTEMPTY, "over a directory above it");
	cr_assert_eq(move(sub, "deep", INODE_ROOT, "a", RENAME_EXCHANGE), -EINVAL);
	cr_assert_eq(move(INODE_ROOT, "a", sub, "deep", RENAME_EXCHANGE), -EINVAL);
	cr_assert_eq(move(sub, "deep", INODE_ROOT, "b", 0), 0, "up and over an empty one is fine");
	cr_assert_eq(lookup(INODE_ROOT, "b"), deep);
}

Test(op_rename, exchange)
{
	uint64_t other = make(dir_b, "d", S_IFDIR | 0755);
	struct inode in;

	cr_assert_eq(move(dir_a, "f", dir_b, "none", RENAME_EXCHANGE), -ENOENT);
	cr_assert_eq(move(dir_a, "f", dir_b, "d", RENAME_EXCHANGE), 0);
	cr_assert_eq(replaced, other);
	cr_assert_eq(lookup(dir_a, "f"), other);
	cr_assert_eq(lookup(dir_b, "d"), file);
	cr_assert_eq(attr_of(dir_a).nlink, 3);
	cr_assert_eq(attr_of(dir_b).nlink, 2);
	cr_assert_eq(attr_of(dir_a).size, 1);
	cr_assert_eq(inode_load(fx.store, other, &in), 0);
	cr_assert_eq(in.parent, dir_a);
	make(dir_a, "g", S_IFREG | 0600);
	cr_assert_eq(move(dir_a, "g", dir_a, "f", RENAME_EXCHANGE), 0, "within one directory");
	cr_assert_eq(lookup(dir_a, "g"), other);
	cr_assert_eq(attr_of(dir_a).nlink, 3);
}

Test(op_rename, bad_requests)
{
	uint64_t gone = make(INODE_ROOT, "gone", S_IFDIR | 0755);
	struct msg_rmdir_rep rep;

	cr_assert_eq(move(dir_a, "none", dir_b, "g", 0), -ENOENT);
	cr_assert_eq(move(dir_a, "f", dir_b, "g", RENAME_NOREPLACE | RENAME_EXCHANGE), -EINVAL);
	cr_assert_eq(move(dir_a, "f", dir_b, "g", RENAME_WHITEOUT), -EINVAL);
	cr_assert_eq(move(dir_a, "f", dir_b, ".", 0), -EINVAL);
	cr_assert_eq(move(dir_a, "..", dir_b, "g", 0), -EINVAL);
	cr_assert_eq(move(dir_a, "f", file, "g", 0), -ENOTDIR);
	cr_assert_eq(move(file, "f", dir_b, "g", 0), -ENOTDIR);
	cr_assert_eq(move(dir_a, "f", 99, "g", 0), -ESTALE);
	fx.open_inos[0] = gone;
	cr_assert_eq(FS_RUN(&fx, rmdir, &rep, .parent = INODE_ROOT, .entry = "gone"), 0);
	cr_assert_eq(move(dir_a, "f", gone, "g", 0), -ENOENT);
}
