/* Reference counts of inodes, and what a new server is told about them. */
#include "fuse/inode.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "common/bytes.h"

Test(inode, lives_while_something_holds_it)
{
	struct inodes *t;
	struct inode *in;

	cr_assert_eq(inodes_new(&t), 0);
	cr_assert_null(inode_find(t, 5));
	inode_lookup(t, 5);
	inode_lookup(t, 5);
	inode_forget(t, 5, 1);
	in = inode_find(t, 5);
	cr_assert_not_null(in);
	in->nr_opens = 1;
	inode_forget(t, 5, 1);
	cr_assert_eq(inode_find(t, 5), in, "open");
	in->nr_opens = 0;
	in->state = INODE_CLOSING;
	inode_settle(t, in);
	cr_assert_eq(inode_find(t, 5), in, "the server is being told");
	in->state = INODE_CLOSED;
	in->nr_io = 1;
	inode_settle(t, in);
	cr_assert_eq(inode_find(t, 5), in, "a read is under way");
	in->nr_io = 0;
	inode_settle(t, in);
	cr_assert_null(inode_find(t, 5));
	cr_assert_eq(inodes_count(t), 0);
	inodes_free(t);
}

Test(inode, forget_of_more_than_there_is)
{
	struct inodes *t;

	cr_assert_eq(inodes_new(&t), 0);
	inode_forget(t, 5, 3);
	inode_lookup(t, 5);
	inode_forget(t, 5, 3);
	cr_assert_eq(inodes_count(t), 0);
	inodes_free(t);
}

Test(inode, what_is_not_synced_and_lost_is_told_once)
{
	struct inode in = { .ino = 5 };
	uint64_t at;

	cr_assert_eq(inode_synced(&in, 0, 1), 0, "nothing changed here");
	inode_changed(&in, 1);
	cr_assert_eq(inode_synced(&in, in.changes, 1), 0);
	cr_assert_eq(inode_synced(&in, in.changes, 2), 0, "it was synced before the loss");
	inode_changed(&in, 2);
	inode_changed(&in, 3);
	cr_assert_eq(inode_synced(&in, in.changes, 3), -EIO);
	cr_assert_eq(inode_synced(&in, in.changes, 3), 0, "told");
	/* A change that is answered while the sync is under way is not covered by it. */
	inode_changed(&in, 3);
	at = in.changes;
	inode_changed(&in, 3);
	cr_assert_eq(inode_synced(&in, at, 3), 0);
	cr_assert_eq(inode_synced(&in, at, 4), -EIO);
}

/* Number of times INO is in the list. */
static int listed(struct inodes *t, uint64_t ino)
{
	struct wire_writer w;
	int n = 0;

	wire_writer_init(&w);
	inodes_encode_holds(t, &w);
	for (size_t i = 0; i < w.len; i += 8)
		n += get_le64(w.buf + i) == ino;
	wire_writer_release(&w);
	return n;
}

Test(inode, holds_are_told_before_what_is_asked_again)
{
	struct inodes *t;
	struct inode *in;

	cr_assert_eq(inodes_new(&t), 0);
	in = inode_find_or_add(t, 5);
	cr_assert_eq(listed(t, 5), 0);
	in->state = INODE_OPENING;
	cr_assert_eq(listed(t, 5), 0, "the open itself will come again");
	in->state = INODE_OPEN;
	in->nr_holds = 1;
	cr_assert_eq(listed(t, 5), 1);
	in->nr_holds = 2; /* a create found it open */
	cr_assert_eq(listed(t, 5), 2);
	in->nr_holds = 1;
	in->state = INODE_CLOSING;
	cr_assert_eq(listed(t, 5), 2, "the release will come again and take one");
	in->nr_holds = 0;
	cr_assert_eq(listed(t, 5), 1);
	inodes_free(t);
}

static void count(void *ctx, uint64_t ino)
{
	*(uint64_t *)ctx += ino;
}

Test(inode, open_ones)
{
	uint64_t sum = 0;
	struct inodes *t;

	cr_assert_eq(inodes_new(&t), 0);
	for (uint64_t i = 1; i <= 4; i++)
		inode_lookup(t, i);
	inode_find(t, 2)->nr_opens = 1;
	inode_find(t, 3)->nr_opens = 2;
	inodes_for_each_open(t, count, &sum);
	cr_assert_eq(sum, 5);
	inodes_free(t);
}
