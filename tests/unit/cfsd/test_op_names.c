/* lookup, create, mknod, symlink, link, unlink, rmdir, readlink: what POSIX says of names. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "cfsd/inode.h"
#include "tests/lib/fs_fixture.h"

static struct fs_fixture fx;

static void setup(void)
{
	fs_fixture_init(&fx, 64 << 20);
}

static void teardown(void)
{
	fs_fixture_check_standby(&fx);
	fs_fixture_check_keys(&fx);
	fs_fixture_release(&fx);
}

TestSuite(op_names, .init = setup, .fini = teardown);

static const struct wire_cred user = { 1000, 100 };

static int create(uint64_t parent, const char *name, uint32_t mode, uint32_t flags, struct wire_attr *ret_attr)
{
	struct msg_create_rep rep;
	int r = FS_RUN(&fx, create, &rep, .cred = user, .parent = parent, .entry = name, .mode = mode, .flags = flags);

	if (!r && ret_attr)
		*ret_attr = rep.attr;
	return r;
}

static uint64_t make(uint64_t parent, const char *name, uint32_t mode)
{
	struct msg_mknod_rep rep;

	cr_assert_eq(FS_RUN(&fx, mknod, &rep, .cred = user, .parent = parent, .entry = name, .mode = mode), 0);
	return rep.attr.ino;
}

static uint64_t make_dir(uint64_t parent, const char *name)
{
	return make(parent, name, S_IFDIR | 0755);
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

static int unlink_name(uint64_t parent, const char *name)
{
	struct msg_unlink_rep rep;

	return FS_RUN(&fx, unlink, &rep, .parent = parent, .entry = name);
}

static int rmdir_name(uint64_t parent, const char *name)
{
	struct msg_rmdir_rep rep;

	return FS_RUN(&fx, rmdir, &rep, .parent = parent, .entry = name);
}

static int link_name(uint64_t ino, uint64_t parent, const char *name)
{
	struct msg_link_rep rep;

	return FS_RUN(&fx, link, &rep, .ino = ino, .parent = parent, .entry = name);
}

Test(op_names, create_makes_a_file)
{
	struct wire_attr root = attr_of(INODE_ROOT), a;

	cr_assert_eq(lookup(INODE_ROOT, "f"), 0);
	cr_assert_eq(create(INODE_ROOT, "f", 0640, 0, &a), 0);
	cr_assert_eq(a.mode, S_IFREG | 0640);
	cr_assert_eq(a.nlink, 1);
	cr_assert_eq(a.uid, 1000);
	cr_assert_eq(a.gid, 100);
	cr_assert_eq(a.size, 0);
	cr_assert_eq(a.mtime, fx.now_ns);
	cr_assert_eq(a.btime, fx.now_ns);
	cr_assert_eq(lookup(INODE_ROOT, "f"), a.ino);
	struct wire_attr after = attr_of(INODE_ROOT);

	cr_assert_gt(after.mtime, root.mtime);
	cr_assert_gt(after.ctime, root.ctime);
	cr_assert_gt(after.change, root.change);
	cr_assert_eq(after.nlink, 2);
	cr_assert_eq(after.size, 1);
}

Test(op_names, create_of_an_existing_name)
{
	struct wire_attr a, b;
	struct msg_write_rep w;

	cr_assert_eq(create(INODE_ROOT, "f", 0644, 0, &a), 0);
	cr_assert_eq(FS_RUN(&fx, write, &w, .ino = a.ino, .data = { "abc", 3 }), 0);
	cr_assert_eq(create(INODE_ROOT, "f", 0600, CREATE_EXCL, &b), -EEXIST);
	cr_assert_eq(create(INODE_ROOT, "f", 0600, 0, &b), 0);
	cr_assert_eq(b.ino, a.ino);
	cr_assert_eq(b.size, 3);
	cr_assert_eq(b.mode, S_IFREG | 0644);
	cr_assert(txn_is_empty(&fx.txn), "opening changes nothing");
	cr_assert_eq(create(INODE_ROOT, "f", 0600, CREATE_TRUNC, &b), 0);
	cr_assert_eq(b.size, 0);
	cr_assert_gt(b.mtime, a.mtime);
	make_dir(INODE_ROOT, "d");
	cr_assert_eq(create(INODE_ROOT, "d", 0600, 0, &b), -EISDIR);
	cr_assert_eq(create(INODE_ROOT, "d", 0600, CREATE_EXCL, &b), -EEXIST);
	make(INODE_ROOT, "p", S_IFIFO | 0600);
	cr_assert_eq(create(INODE_ROOT, "p", 0600, 0, &b), -ESTALE, "the client must look up again");
}

Test(op_names, parents_and_names_are_checked)
{
	char longest[257];
	struct wire_attr a;
	struct msg_lookup_rep l;

	memset(longest, 'n', 256);
	longest[255] = 0;
	cr_assert_eq(create(INODE_ROOT, longest, 0600, 0, &a), 0);
	cr_assert_eq(lookup(INODE_ROOT, longest), a.ino);
	longest[255] = 'n';
	longest[256] = 0;
	cr_assert_eq(create(INODE_ROOT, longest, 0600, 0, NULL), -ENAMETOOLONG);
	cr_assert_eq(create(INODE_ROOT, "", 0600, 0, NULL), -EINVAL);
	cr_assert_eq(create(INODE_ROOT, NULL, 0600, 0, NULL), -EINVAL);
	cr_assert_eq(create(INODE_ROOT, ".", 0600, 0, NULL), -EINVAL);
	cr_assert_eq(create(INODE_ROOT, "..", 0600, 0, NULL), -EINVAL);
	cr_assert_eq(create(INODE_ROOT, "a/b", 0600, 0, NULL), -EINVAL);
	cr_assert_eq(create(a.ino, "f", 0600, 0, NULL), -ENOTDIR);
	cr_assert_eq(create(77, "f", 0600, 0, NULL), -ESTALE);
	cr_assert_eq(FS_RUN(&fx, lookup, &l, .parent = a.ino, .entry = "f"), -ENOTDIR);
	cr_assert_eq(FS_RUN(&fx, lookup, &l, .parent = INODE_ROOT, .entry = ".."), -EINVAL);
	cr_assert_eq(unlink_name(INODE_ROOT, "a/b"), -EINVAL);
	cr_assert_eq(rmdir_name(INODE_ROOT, "."), -EINVAL);
	cr_assert_eq(unlink_name(INODE_ROOT, "none"), -ENOENT);
	cr_assert_eq(rmdir_name(INODE_ROOT, "none"), -ENOENT);
}

Test(op_names, mknod_makes_every_kind)
{
	static const uint32_t types[] = { S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK };
	struct msg_mknod_rep rep;
	char name[] = "n0";

	for (size_t i = 0; i < 5; i++, name[1]++) {
		cr_assert_eq(FS_RUN(&fx, mknod, &rep, .parent = INODE_ROOT, .entry = name, .mode = types[i] | 0604,
				    .rdev = 0x103),
			     0);
		cr_assert_eq(rep.attr.mode, types[i] | 0604);
		cr_assert_eq(rep.attr.rdev, i >= 3 ? 0x103 : 0);
		cr_assert_eq(rep.attr.nlink, 1);
	}
	cr_assert_eq(FS_RUN(&fx, mknod, &rep, .parent = INODE_ROOT, .entry = "plain", .mode = 0600), 0);
	cr_assert_eq(rep.attr.mode, S_IFREG | 0600);
	cr_assert_eq(FS_RUN(&fx, mknod, &rep, .parent = INODE_ROOT, .entry = "x", .mode = S_IFLNK | 0600), -EINVAL);
	cr_assert_eq(FS_RUN(&fx, mknod, &rep, .parent = INODE_ROOT, .entry = "n0", .mode = 0600), -EEXIST);
}

Test(op_names, directories_count_their_links)
{
	uint64_t d = make_dir(INODE_ROOT, "d");

	cr_assert_eq(attr_of(d).nlink, 2);
	cr_assert_eq(attr_of(INODE_ROOT).nlink, 3);
	make_dir(d, "a");
	make_dir(d, "b");
	cr_assert_eq(attr_of(d).nlink, 4);
	cr_assert_eq(rmdir_name(INODE_ROOT, "d"), -ENOTEMPTY);
	cr_assert_eq(rmdir_name(d, "a"), 0);
	cr_assert_eq(rmdir_name(d, "b"), 0);
	cr_assert_eq(attr_of(d).nlink, 2);
	cr_assert_eq(unlink_name(INODE_ROOT, "d"), -EISDIR);
	cr_assert_eq(rmdir_name(INODE_ROOT, "d"), 0);
	cr_assert_eq(attr_of(INODE_ROOT).nlink, 2);
	cr_assert_eq(attr_of(INODE_ROOT).size, 0);
	cr_assert_eq(lookup(INODE_ROOT, "d"), 0);
	make(INODE_ROOT, "f", S_IFREG | 0600);
	cr_assert_eq(rmdir_name(INODE_ROOT, "f"), -ENOTDIR);
}

Test(op_names, setgid_directory_hands_its_group_down)
{
	struct msg_setattr_rep s;
	struct wire_attr a;
	uint64_t d = make_dir(INODE_ROOT, "d"), sub;

	cr_assert_eq(FS_RUN(&fx, setattr, &s, .ino = d, .valid = SETATTR_MODE | SETATTR_GID, .mode = 02775, .gid = 7), 0);
	cr_assert_eq(create(d, "f", 0644, 0, &a), 0);
	cr_assert_eq(a.gid, 7);
	cr_assert_eq(a.uid, 1000);
	cr_assert_eq(a.mode, S_IFREG | 0644);
	sub = make_dir(d, "sub");
	cr_assert_eq(attr_of(sub).gid, 7);
	cr_assert_eq(attr_of(sub).mode, S_IFDIR | 02755);
}

Test(op_names, hard_links)
{
	struct wire_attr a;
	uint64_t d = make_dir(INODE_ROOT, "d");

	cr_assert_eq(create(INODE_ROOT, "f", 0644, 0, &a), 0);
	cr_assert_eq(link_name(a.ino, d, "g"), 0);
	cr_assert_eq(attr_of(a.ino).nlink, 2);
	cr_assert_gt(attr_of(a.ino).ctime, a.ctime);
	cr_assert_eq(attr_of(a.ino).mtime, a.mtime);
	cr_assert_eq(lookup(d, "g"), a.ino);
	cr_assert_eq(link_name(a.ino, d, "g"), -EEXIST);
	cr_assert_eq(link_name(d, INODE_ROOT, "e"), -EPERM);
	cr_assert_eq(link_name(99, INODE_ROOT, "e"), -ESTALE);
	cr_assert_eq(unlink_name(INODE_ROOT, "f"), 0);
	cr_assert_eq(attr_of(a.ino).nlink, 1);
	cr_assert_eq(unlink_name(d, "g"), 0);
	struct msg_getattr_rep g;

	cr_assert_eq(FS_RUN(&fx, getattr, &g, .ino = a.ino), -ESTALE);
}

static void set_nlink(uint64_t ino, uint32_t nlink)
{
	struct store *both[] = { fx.store, fx.standby };
	struct wire_logpos prev = store_position(fx.store);
	struct inode in;
	struct txn t;

	txn_init(&t);
	cr_assert_eq(inode_load(fx.store, ino, &in), 0);
	in.nlink = nlink;
	inode_save(&t, &in);
	for (size_t i = 0; i < 2; i++)
		cr_assert_eq(store_apply(both[i], &(struct record){ .prev = prev,
								    .pos = { prev.epoch, prev.lsn + 1 },
								    .batch = t.meta.buf,
								    .batch_len = t.meta.len }),
			     0);
	txn_release(&t);
}

Test(op_names, link_counts_end)
{
	struct msg_mknod_rep rep;
	struct msg_rename_rep rn;
	uint64_t f = make(INODE_ROOT, "f", S_IFREG | 0600), d = make_dir(INODE_ROOT, "d");

	set_nlink(f, INODE_LINK_MAX);
	cr_assert_eq(link_name(f, INODE_ROOT, "g"), -EMLINK);
	set_nlink(f, 1);
	set_nlink(d, INODE_LINK_MAX);
	cr_assert_eq(FS_RUN(&fx, mknod, &rep, .parent = d, .entry = "x", .mode = S_IFDIR | 0700), -EMLINK);
	cr_assert_eq(FS_RUN(&fx, mknod, &rep, .parent = d, .entry = "x", .mode = S_IFREG | 0700), 0);
	make_dir(INODE_ROOT, "e");
	cr_assert_eq(FS_RUN(&fx, rename, &rn, .parent = INODE_ROOT, .entry = "e", .new_parent = d, .new_entry = "e"),
		     -EMLINK);
	set_nlink(d, 2);
}

Test(op_names, symbolic_links)
{
	struct msg_symlink_rep s;
	struct msg_readlink_rep l;
	char longest[WIRE_STR_MAX + 2];
	uint64_t f = make(INODE_ROOT, "f", S_IFREG | 0600);

	cr_assert_eq(FS_RUN(&fx, symlink, &s, .cred = user, .parent = INODE_ROOT, .entry = "l", .target = "../a/b"), 0);
	cr_assert_eq(s.attr.mode, S_IFLNK | 0777);
	cr_assert_eq(s.attr.size, 6);
	cr_assert_eq(s.attr.uid, 1000);
	cr_assert_eq(FS_RUN(&fx, readlink, &l, .ino = s.attr.ino), 0);
	cr_assert_str_eq(l.target, "../a/b");
	cr_assert_eq(FS_RUN(&fx, readlink, &l, .ino = f), -EINVAL);
	cr_assert_eq(FS_RUN(&fx, readlink, &l, .ino = 99), -ESTALE);
	cr_assert_eq(FS_RUN(&fx, symlink, &s, .parent = INODE_ROOT, .entry = "l", .target = "x"), -EEXIST);
	cr_assert_eq(FS_RUN(&fx, symlink, &s, .parent = INODE_ROOT, .entry = "e", .target = ""), -ENOENT);
	memset(longest, 't', sizeof(longest));
	longest[sizeof(longest) - 1] = 0;
	cr_assert_eq(FS_RUN(&fx, symlink, &s, .parent = INODE_ROOT, .entry = "e", .target = longest), -ENAMETOOLONG);
	longest[WIRE_STR_MAX] = 0;
	cr_assert_eq(FS_RUN(&fx, symlink, &s, .parent = INODE_ROOT, .entry = "e", .target = longest), 0);
	cr_assert_eq(FS_RUN(&fx, readlink, &l, .ino = s.attr.ino), 0);
	cr_assert_str_eq(l.target, longest);
	cr_assert_eq(unlink_name(INODE_ROOT, "e"), 0);
	cr_assert_eq(FS_RUN(&fx, readlink, &l, .ino = s.attr.ino), -ESTALE);
}

static int count_orphan(void *ctx, uint64_t ino)
{
	*(uint64_t *)ctx += ino;
	return 0;
}

Test(op_names, unlinked_while_open)
{
	struct wire_attr a;
	struct msg_write_rep w;
	struct msg_read_rep rd;
	uint64_t sum = 0;

	cr_assert_eq(create(INODE_ROOT, "f", 0644, 0, &a), 0);
	fx.open_inos[0] = a.ino;
	cr_assert_eq(FS_RUN(&fx, write, &w, .ino = a.ino, .data = { "abc", 3 }), 0);
	cr_assert_eq(FS_RUN(&fx, write, &w, .ino = a.ino, .off = 10000, .data = { "abc", 3 }), 0);
	cr_assert_eq(unlink_name(INODE_ROOT, "f"), 0);
	cr_assert_eq(lookup(INODE_ROOT, "f"), 0);
	cr_assert_eq(attr_of(a.ino).nlink, 0);
	cr_assert_eq(FS_RUN(&fx, write, &w, .ino = a.ino, .off = 3, .data = { "def", 3 }), 0);
	cr_assert_eq(FS_RUN(&fx, read, &rd, .ino = a.ino, .len = 10), 0);
	cr_assert_arr_eq(rd.data.p, "abcdef", 6);
	cr_assert_eq(link_name(a.ino, INODE_ROOT, "back"), -ENOENT);
	cr_assert_eq(op_orphans(fx.store, count_orphan, &sum), 0);
	cr_assert_eq(sum, a.ino);
	fx.open_inos[0] = 0;
	cr_assert_eq(fs_fixture_reap(&fx, a.ino), 0);
	cr_assert_eq(fs_fixture_reap(&fx, a.ino), -ENOENT);
	cr_assert_eq(fs_fixture_reap(&fx, INODE_ROOT), -ENOENT, "not an orphan");
	sum = 0;
	cr_assert_eq(op_orphans(fx.store, count_orphan, &sum), 0);
	cr_assert_eq(sum, 0);
	cr_assert_eq(store_nr_inodes(fx.store), 1);
	struct data *d = store_data(fx.store);

	cr_assert_neq(d->ops->blocks(d, a.ino), 0, "power could be lost now");
	cr_assert_eq(store_free_removed(fx.store), 0);
	cr_assert_eq(d->ops->blocks(d, a.ino), 0);
}

Test(op_names, removed_directory_takes_nothing)
{
	struct msg_readdir_rep rep;
	uint64_t d = make_dir(INODE_ROOT, "d");

	fx.open_inos[0] = d;
	cr_assert_eq(rmdir_name(INODE_ROOT, "d"), 0);
	cr_assert_eq(attr_of(d).nlink, 0);
	cr_assert_eq(create(d, "f", 0600, 0, NULL), -ENOENT);
	cr_assert_eq(lookup(d, "f"), 0);
	cr_assert_eq(FS_RUN(&fx, readdir, &rep, .ino = d, .max_bytes = 4096), 0);
	cr_assert_eq(rep.entries.len, 0);
	cr_assert(rep.eof);
	cr_assert_eq(fs_fixture_reap(&fx, d), 0);
}

Test(op_names, numbers_are_not_used_again)
{
	uint64_t a = make(INODE_ROOT, "a", S_IFREG | 0600), b;

	cr_assert_eq(unlink_name(INODE_ROOT, "a"), 0);
	b = make(INODE_ROOT, "a", S_IFREG | 0600);
	cr_assert_gt(b, a);
	cr_assert_eq(store_nr_inodes(fx.store), 2);
}

Test(op_names, change_times_grow_when_the_clock_does_not)
{
	struct wire_attr before, after;

	make(INODE_ROOT, "a", S_IFREG | 0600);
	before = attr_of(INODE_ROOT);
	fx.now_ns = 5;
	make(INODE_ROOT, "b", S_IFREG | 0600);
	after = attr_of(INODE_ROOT);
	cr_assert_eq(after.ctime, before.ctime + 1);
	cr_assert_eq(after.mtime, after.ctime);
}

Test(op_names, names_are_unicode_or_not)
{
	static const char *const names[] = { "a", "\xff\xfe", "\xc3\xa9", "a b", "~", "\x01" };

	for (size_t i = 0; i < 6; i++) {
		uint64_t ino = make(INODE_ROOT, names[i], S_IFREG | 0600);

		cr_assert_eq(lookup(INODE_ROOT, names[i]), ino);
	}
}
