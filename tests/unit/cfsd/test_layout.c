/* Pins the bytes of LAYOUT.md: what fails here is a new version of the layout. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cfsd/dentry.h"
#include "cfsd/inode.h"
#include "cfsd/meta_key.h"
#include "cfsd/system.h"

/* Key and value of the first item, in hex. */
static void cr_item(struct batch *b, const char *key, const char *val)
{
	char got[512], *p = got;
	struct batch_item it;
	size_t pos = 0;

	cr_assert_eq(batch_next(b->buf, b->len, &pos, &it), 1);
	for (size_t i = 0; i < it.klen; i++)
		p += sprintf(p, "%02x", ((const uint8_t *)it.key)[i]);
	cr_assert_str_eq(got, key);
	p = got;
	*p = 0;
	for (size_t i = 0; i < it.vlen; i++)
		p += sprintf(p, "%02x", ((const uint8_t *)it.val)[i]);
	cr_assert_str_eq(got, val);
	b->len = 0;
}

Test(layout, dentry)
{
	struct txn t;

	txn_init(&t);
	dentry_save(&t, 1, "ab", 0x0203, S_IFREG | 0644);
	cr_item(&t.meta, "4400000000000000016162", "01030200000000000008");
	txn_release(&t);
}

Test(layout, inode)
{
	struct inode in = { .ino = 2,
			    .mode = 0x81a4,
			    .nlink = 1,
			    .uid = 3,
			    .gid = 4,
			    .rdev = 5,
			    .size = 6,
			    .atime = 7,
			    .mtime = 8,
			    .ctime = 9,
			    .btime = 10,
			    .change = 11,
			    .stamp = { 12, 13 },
			    .parent = 14,
			    .nr_xattrs = 15,
			    .layout = 16 },
		     back;
	struct txn t;
	struct batch_item it;
	size_t pos = 0;

	txn_init(&t);
	inode_save(&t, &in);
	cr_assert_eq(batch_next(t.meta.buf, t.meta.len, &pos, &it), 1);
	cr_assert_eq(it.vlen, 102);
	cr_assert_eq(inode_decode(2, it.val, it.vlen, &back), 0);
	cr_assert(back.mode == in.mode && back.size == 6 && back.stamp.lsn == 13 && back.nr_xattrs == 15 && back.layout == 16);
	for (size_t cut = 0; cut < it.vlen; cut++)
		cr_assert_lt(inode_decode(2, it.val, cut, &back), 0);
	cr_item(&t.meta, "490000000000000002",
		"01"
		"a4810000" "01000000" "03000000" "04000000"
		"0500000000000000" "0600000000000000"
		"0700000000000000" "0800000000000000" "0900000000000000" "0a00000000000000"
		"0b00000000000000"
		"0c00000000000000" "0d00000000000000"
		"0e00000000000000"
		"0f000000" "10");
	txn_release(&t);
}

Test(layout, system)
{
	struct batch b;

	batch_init(&b);
	system_put_format(&b);
	cr_item(&b, "53666f726d6174", "0002000000");
	system_put_position(&b, (struct wire_logpos){ 2, 3 });
	cr_item(&b, "536c736e", "0102000000000000000300000000000000");
	system_put_counters(&b, &(struct system_counters){ 4, 5 });
	cr_item(&b, "536e6578745f696e6f", "0104000000000000000500000000000000");
	batch_release(&b);
}

Test(layout, extents)
{
	static const uint8_t want[] = { 1, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 'x',
					2, 2, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
					5, 2, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 'y' };
	struct txn t;

	txn_init(&t);
	txn_write(&t, 2, 3, "x", 1);
	txn_truncate(&t, 2, 9);
	txn_append(&t, 2, 9, "y", 1);
	cr_assert_eq(t.extents.len, sizeof(want));
	cr_assert_arr_eq(t.extents.buf, want, sizeof(want));
	txn_release(&t);
}
