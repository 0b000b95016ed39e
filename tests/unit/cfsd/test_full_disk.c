/*
 * A disk that really fills up, under a real store: ENOSPC to whoever asks, the store itself never fails. A small tmpfs in
 * a mount namespace of the test's own; skipped where that is not allowed.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "cfsd/inode.h"
#include "tests/lib/fs_fixture.h"
#include "tests/lib/tmpdir.h"

static struct tmpdir dir;
static struct fs_fixture fx;

static void setup(void)
{
	tmpdir_make(&dir);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", dir.path, "tmpfs", 0, "size=48m") < 0) {
		tmpdir_remove(&dir);
		cr_skip_test("needs root for a mount namespace");
	}
	fs_fixture_init_disk(&fx, dir.path);
}

static void teardown(void)
{
	fs_fixture_check_keys(&fx);
	fs_fixture_release(&fx);
	umount2(dir.path, MNT_DETACH);
	tmpdir_remove(&dir);
}

TestSuite(full_disk, .init = setup, .fini = teardown);

static int create(const char *name, uint64_t *ret_ino)
{
	struct msg_create_rep rep;
	int r = FS_RUN(&fx, create, &rep, .parent = INODE_ROOT, .entry = name, .mode = 0644);

	*ret_ino = rep.attr.ino;
	return r;
}

static void cr_goes_on(uint64_t ino)
{
	struct msg_setattr_rep s;

	/* Changes that are always allowed, enough of them to make LevelDB write tables. */
	for (uint32_t i = 0; i < 20000; i++)
		cr_assert_eq(FS_RUN(&fx, setattr, &s, .ino = ino, .valid = SETATTR_MODE, .mode = i & 0777), 0);
	cr_assert_eq(store_sync(fx.store, 0), 0);
}

Test(full_disk, filled_by_writes, .timeout = 100)
{
	static char buf[128 << 10];
	struct msg_write_rep w;
	struct msg_unlink_rep u;
	uint64_t ino, other;
	int r;

	cr_assert_eq(create("f", &ino), 0);
	memset(buf, 'x', sizeof(buf));
	do {
		r = FS_RUN(&fx, write, &w, .ino = ino, .flags = WRITE_APPEND, .data = { buf, sizeof(buf) });
	} while (!r);
	cr_assert_eq(r, -ENOSPC);
	while (!FS_RUN(&fx, write, &w, .ino = ino, .flags = WRITE_APPEND, .data = { buf, 4096 }))
		;
	cr_assert_eq(FS_RUN(&fx, write, &w, .ino = ino, .off = 4096, .data = { buf, 4096 }), 0, "overwriting");
	cr_goes_on(ino);
	cr_assert_eq(FS_RUN(&fx, unlink, &u, .parent = INODE_ROOT, .entry = "f"), 0);
	cr_assert_eq(store_free_removed(fx.store), 0);
	cr_assert_eq(create("g", &other), 0);
	cr_assert_eq(FS_RUN(&fx, write, &w, .ino = other, .data = { buf, sizeof(buf) }), 0);
}

Test(full_disk, filled_by_names, .timeout = 100)
{
	struct msg_symlink_rep s;
	struct msg_unlink_rep u;
	char name[32], target[3000];
	uint64_t n = 0, ino;
	int r;

	/* Targets that do not compress: LevelDB would make little of them. */
	do {
		for (size_t i = 0; i < sizeof(target) - 1; i++)
			target[i] = (char)('!' + (n * 31 + i * i * 7 + (i ^ n) * 13) % 90);
		target[sizeof(target) - 1] = 0;
		snprintf(name, sizeof(name), "%lu", n++);
		r = FS_RUN(&fx, symlink, &s, .parent = INODE_ROOT, .entry = name, .target = target);
	} while (!r && n < 100000);
	cr_assert_eq(r, -ENOSPC);
	cr_assert_gt(n, 1000);
	cr_goes_on(INODE_ROOT);
	for (uint64_t i = 0; i < n - 1; i++) {
		snprintf(name, sizeof(name), "%lu", i);
		cr_assert_eq(FS_RUN(&fx, unlink, &u, .parent = INODE_ROOT, .entry = name), 0, "%lu", i);
	}
	cr_assert_eq(store_nr_inodes(fx.store), 1);
	/* LevelDB gives the room back when it has merged its tables, not at once. */
	r = create("f", &ino);
	cr_assert(!r || r == -ENOSPC);
}
