/* readdir, xattrs, and which tokens an operation takes away. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "cfsd/inode.h"
#include "cfsd/meta_key.h"
#include "common/bytes.h"
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

TestSuite(op_dir, .init = setup, .fini = teardown);
TestSuite(op_xattr, .init = setup, .fini = teardown);
TestSuite(op_conflict, .init = setup, .fini = teardown);

static uint64_t make(uint64_t parent, const char *name, uint32_t mode)
{
	struct msg_mknod_rep rep;

	cr_assert_eq(FS_RUN(&fx, mknod, &rep, .parent = parent, .entry = name, .mode = mode), 0);
	return rep.attr.ino;
}

/* Reads one reply's entries: names joined in BUF, the last one in LAST. */
static size_t unpack(const struct msg_readdir_rep *rep, char *buf, char *last)
{
	const uint8_t *p = rep->entries.p, *end = p + rep->entries.len;
	size_t n = 0;

	for (; p < end; n++) {
		uint16_t len = get_le16(p);
		struct wire_reader r = { p + 2, p + len };
		struct wire_attr attr;
		struct msg_lookup_rep l;

		cr_assert_leq(len, end - p);
		cr_assert_eq(wire_get_attr(&r, &attr), 0);
		cr_assert_eq((size_t)(r.end - r.p), strlen((const char *)r.p) + 1);
		strcpy(last, (const char *)r.p);
		buf += sprintf(buf, "%s ", last);
		p += len;
		struct fs_fixture saved = fx; /* the reply lives in the scratch */

		wire_writer_init(&fx.scratch);
		cr_assert_eq(FS_RUN(&fx, lookup, &l, .parent = INODE_ROOT, .entry = last), 0);
		cr_assert_eq(l.attr.ino, attr.ino);
		cr_assert_eq(l.attr.mode, attr.mode);
		cr_assert_eq(l.attr.ctime, attr.ctime);
		wire_writer_release(&fx.scratch);
		fx.scratch = saved.scratch;
	}
	return n;
}

Test(op_dir, readdir_in_order_and_in_pieces)
{
	struct msg_readdir_rep rep;
	char names[512], last[256] = "";
	size_t total = 0, rounds = 0;

	cr_assert_eq(FS_RUN(&fx, readdir, &rep, .ino = INODE_ROOT, .max_bytes = 4096), 0);
	cr_assert(rep.eof && !rep.entries.len);
	make(INODE_ROOT, "bb", S_IFREG | 0600);
	make(INODE_ROOT, "a", S_IFDIR | 0700);
	make(INODE_ROOT, "b", S_IFREG | 0600);
	make(INODE_ROOT, "\xc3\xa9", S_IFREG | 0600);
	cr_assert_eq(FS_RUN(&fx, readdir, &rep, .ino = INODE_ROOT, .max_bytes = 4096), 0);
	cr_assert(rep.eof);
	cr_assert_eq(unpack(&rep, names, last), 4);
	cr_assert_str_eq(names, "a b bb \xc3\xa9 ");
	cr_assert_eq(FS_RUN(&fx, readdir, &rep, .ino = INODE_ROOT, .after = "b", .max_bytes = 4096), 0);
	cr_assert_eq(unpack(&rep, names, last), 2);
	cr_assert_str_eq(names, "bb \xc3\xa9 ");
	cr_assert_eq(FS_RUN(&fx, readdir, &rep, .ino = INODE_ROOT, .after = "az", .max_bytes = 4096), 0);
	cr_assert_eq(unpack(&rep, names, last), 3, "AFTER need not be there any more");
	last[0] = 0;
	do {
		char after[256];

		strcpy(after, last);
		cr_assert_eq(FS_RUN(&fx, readdir, &rep, .ino = INODE_ROOT, .after = after, .max_bytes = 250), 0);
		total += unpack(&rep, names, last);
		rounds++;
	} while (!rep.eof);
	cr_assert_eq(total, 4);
	cr_assert_gt(rounds, 1);
	cr_assert_eq(FS_RUN(&fx, readdir, &rep, .ino = INODE_ROOT, .max_bytes = 20), -EINVAL);
}

/* The keys of the next directory follow at once. */
Test(op_dir, readdir_stays_in_its_directory)
{
	uint64_t d = make(INODE_ROOT, "d", S_IFDIR | 0755), f = make(INODE_ROOT, "f", S_IFREG | 0600);
	struct msg_readdir_rep rep;
	char names[512], last[256];

	make(d, "x", S_IFREG | 0600);
	cr_assert_eq(FS_RUN(&fx, readdir, &rep, .ino = INODE_ROOT, .max_bytes = 65536), 0);
	cr_assert(rep.eof);
	cr_assert_eq(unpack(&rep, names, last), 2);
	cr_assert_str_eq(names, "d f ");
	cr_assert_eq(FS_RUN(&fx, readdir, &rep, .ino = d, .after = "x", .max_bytes = 65536), 0);
	cr_assert(rep.eof && !rep.entries.len);
	cr_assert_eq(FS_RUN(&fx, readdir, &rep, .ino = f, .max_bytes = 65536), -ENOTDIR);
	cr_assert_eq(FS_RUN(&fx, readdir, &rep, .ino = 99, .max_bytes = 65536), -ESTALE);
}

Test(op_dir, thousands_of_entries)
{
	struct msg_readdir_rep rep;
	char name[32], after[256] = "";
	size_t n = 0;

	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "n%05d", i * 7919 % 3000);
		make(INODE_ROOT, name, S_IFREG | 0600);
	}
	do {
		cr_assert_eq(FS_RUN(&fx, readdir, &rep, .ino = INODE_ROOT, .after = after, .max_bytes = 30000), 0);
		for (const uint8_t *p = rep.entries.p, *end = p + rep.entries.len; p < end; p += get_le16(p), n++) {
			const char *got = (const char *)p + get_le16(p) - 7;

			snprintf(name, sizeof(name), "n%05zu", n);
			cr_assert_str_eq(got, name);
			strcpy(after, got);
		}
	} while (!rep.eof);
	cr_assert_eq(n, 3000);
}

static int set(uint64_t ino, const char *name, const char *value, uint32_t flags)
{
	struct msg_setxattr_rep rep;

	return FS_RUN(&fx, setxattr, &rep, .ino = ino, .attr_name = name, .flags = flags,
		      .value = { value, (uint32_t)strlen(value) });
}

static void cr_xattr(uint64_t ino, const char *name, const char *want)
{
	struct msg_getxattr_rep rep;
	int r = FS_RUN(&fx, getxattr, &rep, .ino = ino, .attr_name = name);

	cr_assert_eq(r, want ? 0 : -ENODATA);
	if (want)
		cr_assert(rep.value.len == strlen(want) && !memcmp(rep.value.p, want, rep.value.len));
}

Test(op_xattr, set_get_list_remove)
{
	uint64_t f = make(INODE_ROOT, "f", S_IFREG | 0600), g = make(INODE_ROOT, "g", S_IFREG | 0600);
	struct msg_listxattr_rep l;
	struct msg_removexattr_rep rm;
	struct msg_getattr_rep a, b;

	cr_xattr(f, "user.a", NULL);
	cr_assert_eq(FS_RUN(&fx, listxattr, &l, .ino = f), 0);
	cr_assert_eq(l.names.len, 0);
	cr_assert_eq(FS_RUN(&fx, getattr, &a, .ino = f), 0);
	cr_assert_eq(set(f, "user.b", "2", 0), 0);
	cr_assert_eq(set(f, "user.a", "", 0), 0);
	cr_assert_eq(set(g, "user.c", "other file", 0), 0);
	cr_assert_eq(FS_RUN(&fx, getattr, &b, .ino = f), 0);
	cr_assert_gt(b.attr.ctime, a.attr.ctime);
	cr_assert_eq(b.attr.mtime, a.attr.mtime);
	cr_xattr(f, "user.a", "");
	cr_xattr(f, "user.b", "2");
	cr_xattr(f, "user.c", NULL);
	cr_assert_eq(FS_RUN(&fx, listxattr, &l, .ino = f), 0);
	cr_assert_eq(l.names.len, 14);
	cr_assert_arr_eq(l.names.p, "user.a\0user.b", 14);
	cr_assert_eq(set(f, "user.b", "3", XATTR_CREATE), -EEXIST);
	cr_assert_eq(set(f, "user.d", "3", XATTR_REPLACE), -ENODATA);
	cr_assert_eq(set(f, "user.b", "3", XATTR_REPLACE), 0);
	cr_assert_eq(set(f, "user.d", "4", XATTR_CREATE), 0);
	cr_xattr(f, "user.b", "3");
	cr_assert_eq(FS_RUN(&fx, removexattr, &rm, .ino = f, .attr_name = "user.b"), 0);
	cr_assert_eq(FS_RUN(&fx, removexattr, &rm, .ino = f, .attr_name = "user.b"), -ENODATA);
	cr_xattr(f, "user.b", NULL);
}

Test(op_xattr, limits)
{
	uint64_t f = make(INODE_ROOT, "f", S_IFREG | 0600);
	static char big[65537];
	struct msg_setxattr_rep rep;
	struct msg_getxattr_rep got;
	struct msg_unlink_rep u;
	char name[300];

	memset(big, 'v', sizeof(big));
	cr_assert_eq(FS_RUN(&fx, setxattr, &rep, .ino = f, .attr_name = "user.a", .value = { big, 65537 }), -E2BIG);
	cr_assert_eq(FS_RUN(&fx, setxattr, &rep, .ino = f, .attr_name = "user.a", .value = { big, 65536 }), 0);
	cr_assert_eq(FS_RUN(&fx, getxattr, &got, .ino = f, .attr_name = "user.a"), 0);
	cr_assert_eq(got.value.len, 65536);
	cr_assert_eq(set(f, "", "x", 0), -ERANGE);
	memset(name, 'n', sizeof(name));
	name[256] = 0;
	cr_assert_eq(set(f, name, "x", 0), -ERANGE);
	cr_assert_eq(set(f, "user.x", "x", 4), -EINVAL);
	cr_assert_eq(set(f, "system.posix_acl_access", "x", 0), -EOPNOTSUPP);
	cr_assert_eq(set(99, "user.x", "x", 0), -ESTALE);
	for (int i = 1; i < INODE_XATTR_MAX; i++) {
		snprintf(name, sizeof(name), "user.%d", i);
		cr_assert_eq(set(f, name, "x", 0), 0);
	}
	cr_assert_eq(set(f, "user.more", "x", 0), -ENOSPC);
	cr_assert_eq(set(f, "user.1", "y", 0), 0);
	/* They go with the file; the fixture checks for keys left behind. */
	cr_assert_eq(FS_RUN(&fx, unlink, &u, .parent = INODE_ROOT, .entry = "f"), 0);
}

static struct op_conflict found[4];

/* Looks for INO with exactly TOKENS among what was found. */
static void cr_conflict(uint64_t ino, uint32_t tokens)
{
	for (size_t i = 0; i < 4; i++) {
		if (found[i].ino == ino) {
			cr_assert_eq(found[i].tokens, tokens);
			return;
		}
	}
	cr_assert_fail("inode %lu is missing", ino);
}

#define CONFLICTS(name, n, ...)                                                                                   \
	({                                                                                                        \
		struct op_env env_ = fs_fixture_env(&fx);                                                         \
		memset(found, 0, sizeof(found));                                                                  \
		cr_assert_eq(op_conflicts(&env_, MSG_##name, &(struct msg_##name##_req){ __VA_ARGS__ }, found), n); \
	})

Test(op_conflict, of_every_change)
{
	const uint32_t dir = TOKEN_NAMES | TOKEN_ATTR, data = TOKEN_ATTR | TOKEN_DATA;
	uint64_t d = make(INODE_ROOT, "d", S_IFDIR | 0755), f = make(INODE_ROOT, "f", S_IFREG | 0600);
	uint64_t g = make(d, "g", S_IFREG | 0600);

	CONFLICTS(write, 1, .ino = f);
	cr_conflict(f, data);
	CONFLICTS(setattr, 1, .ino = f, .valid = SETATTR_MODE);
	cr_conflict(f, TOKEN_ATTR);
	CONFLICTS(setattr, 1, .ino = f, .valid = SETATTR_SIZE);
	cr_conflict(f, data);
	CONFLICTS(fallocate, 1, .ino = f);
	cr_conflict(f, data);
	CONFLICTS(open, 0, .ino = f, .flags = OPEN_WRITE);
	CONFLICTS(open, 1, .ino = f, .flags = OPEN_WRITE | OPEN_TRUNC);
	cr_conflict(f, data);
	CONFLICTS(setxattr, 1, .ino = f);
	cr_conflict(f, TOKEN_ATTR);
	CONFLICTS(removexattr, 1, .ino = f);
	cr_conflict(f, TOKEN_ATTR);
	CONFLICTS(create, 1, .parent = d, .entry = "new");
	cr_conflict(d, dir);
	CONFLICTS(create, 0, .parent = d, .entry = "g");
	CONFLICTS(create, 1, .parent = d, .entry = "g", .flags = CREATE_TRUNC);
	cr_conflict(g, data);
	CONFLICTS(create, 0, .parent = d, .entry = "g", .flags = CREATE_TRUNC | CREATE_EXCL);
	CONFLICTS(mknod, 1, .parent = d, .entry = "new");
	cr_conflict(d, dir);
	CONFLICTS(symlink, 1, .parent = d, .entry = "new");
	cr_conflict(d, dir);
	CONFLICTS(link, 2, .ino = f, .parent = d, .entry = "new");
	cr_conflict(d, dir);
	cr_conflict(f, TOKEN_ATTR);
	CONFLICTS(unlink, 2, .parent = d, .entry = "g");
	cr_conflict(d, dir);
	cr_conflict(g, TOKEN_ATTR);
	CONFLICTS(unlink, 0, .parent = d, .entry = "none");
	CONFLICTS(unlink, 0, .parent = d, .entry = "bad/name");
	CONFLICTS(rmdir, 2, .parent = INODE_ROOT, .entry = "d");
	cr_conflict(INODE_ROOT, dir);
	cr_conflict(d, TOKEN_ATTR);
	CONFLICTS(rename, 4, .parent = INODE_ROOT, .entry = "f", .new_parent = d, .new_entry = "g");
	cr_conflict(INODE_ROOT, dir);
	cr_conflict(d, dir);
	cr_conflict(f, TOKEN_ATTR);
	cr_conflict(g, TOKEN_ATTR);
	CONFLICTS(rename, 2, .parent = INODE_ROOT, .entry = "f", .new_parent = INODE_ROOT, .new_entry = "x");
	CONFLICTS(rename, 0, .parent = INODE_ROOT, .entry = "none", .new_parent = d, .new_entry = "g");
	CONFLICTS(rename, 3, .parent = INODE_ROOT, .entry = "f", .new_parent = d, .new_entry = "x");
	CONFLICTS(read, 0, .ino = f);
	CONFLICTS(lookup, 0, .parent = d, .entry = "g");
	CONFLICTS(readdir, 0, .ino = d);
}

Test(op_dir, torn_and_newer_values)
{
	static const struct {
		const char *val;
		size_t len;
		int err;
	} cases[] = { { "", 0, -EBADMSG }, { "\x02", 1, -EPROTONOSUPPORT }, { "\x01\x01", 2, -EBADMSG }, { "\0", 1, -EBADMSG } };
	struct meta *m = store_meta(fx.store);
	struct msg_getattr_rep a;
	struct msg_lookup_rep l;
	struct meta_key k;
	struct batch b;
	void *inode, *name;
	size_t ilen, nlen;
	uint64_t f = make(INODE_ROOT, "f", S_IFREG | 0600);

	for (size_t i = 0; i < 4; i++) {
		meta_key_inode(&k, f);
		cr_assert_eq(m->ops->get(m, k.b, k.len, &inode, &ilen), 0);
		batch_init(&b);
		batch_put(&b, k.b, k.len, cases[i].val, cases[i].len);
		cr_assert_eq(m->ops->apply(m, b.buf, b.len, false), 0);
		cr_assert_eq(FS_RUN(&fx, getattr, &a, .ino = f), cases[i].err, "inode %zu", i);
		b.len = 0;
		batch_put(&b, k.b, k.len, inode, ilen);
		meta_key_dentry(&k, INODE_ROOT, "f");
		cr_assert_eq(m->ops->get(m, k.b, k.len, &name, &nlen), 0);
		batch_put(&b, k.b, k.len, cases[i].val, cases[i].len);
		cr_assert_eq(m->ops->apply(m, b.buf, b.len, false), 0);
		cr_assert_eq(FS_RUN(&fx, lookup, &l, .parent = INODE_ROOT, .entry = "f"), cases[i].err, "name %zu", i);
		b.len = 0;
		batch_put(&b, k.b, k.len, name, nlen);
		cr_assert_eq(m->ops->apply(m, b.buf, b.len, false), 0);
		batch_release(&b);
		free(inode);
		free(name);
	}
	/* A name that leads to an inode that is not there. */
	meta_key_inode(&k, f);
	cr_assert_eq(m->ops->get(m, k.b, k.len, &inode, &ilen), 0);
	batch_init(&b);
	batch_del(&b, k.b, k.len);
	cr_assert_eq(m->ops->apply(m, b.buf, b.len, false), 0);
	cr_assert_eq(FS_RUN(&fx, lookup, &l, .parent = INODE_ROOT, .entry = "f"), -EIO);
	b.len = 0;
	batch_put(&b, k.b, k.len, inode, ilen);
	cr_assert_eq(m->ops->apply(m, b.buf, b.len, false), 0);
	batch_release(&b);
	free(inode);
}
