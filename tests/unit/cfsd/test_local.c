#include <criterion/criterion.h>
#include <string.h>

#include "cfsd/local.h"
#include "cfsd/meta_key.h"

static struct store *a_store(void)
{
	struct meta *meta;
	struct data *data;
	struct store *s;

	cr_assert_eq(meta_mem_open(&meta), 0);
	cr_assert_eq(data_mem_open(1 << 20, &data), 0);
	cr_assert_eq(store_open(meta, data, &s), 0);
	cr_assert_eq(store_format(s, 1, 1), 0);
	return s;
}

/* As another boot would have left it. */
static void pretend_boot(struct store *s)
{
	struct meta_key k;
	struct batch b;

	batch_init(&b);
	meta_key_system(&k, "boot");
	batch_put(&b, k.b, k.len, "00000000-0000-0000-0000-000000000000", 36);
	cr_assert_eq(store_meta(s)->ops->apply(store_meta(s), b.buf, b.len, true), 0);
	batch_release(&b);
}

Test(local, mark_lasts_until_the_copy_is_whole)
{
	struct wire_logpos pos = { .epoch = 3, .lsn = 77 };
	struct store *s = a_store();

	cr_assert_not(local_is_copying(s));
	cr_assert_eq(local_mark_copying(s), 0);
	cr_assert(local_is_copying(s));
	cr_assert_eq(local_set_position(s, pos), 0);
	cr_assert_eq(store_position(s).lsn, 77);
	cr_assert(local_is_copying(s), "a position is not yet a copy");
	pos.lsn++;
	cr_assert_eq(local_mark_whole(s, pos), 0);
	cr_assert_not(local_is_copying(s));
	cr_assert_eq(store_position(s).epoch, 3);
	cr_assert_eq(store_position(s).lsn, 78);
	store_close(s);
}

static bool lost(struct store *s)
{
	bool is = false;

	cr_assert_eq(local_power_lost(s, &is), 0);
	return is;
}

Test(local, power_loss_is_known_until_dealt_with)
{
	struct store *s = a_store();

	cr_assert_not(lost(s), "never open before");
	cr_assert_eq(local_note_opened(s), 0);
	cr_assert_not(lost(s), "a crash of the program loses nothing");
	pretend_boot(s);
	cr_assert(lost(s));
	cr_assert(lost(s), "also at the next start");
	cr_assert_eq(local_note_opened(s), 0);
	cr_assert_not(lost(s));
	pretend_boot(s);
	cr_assert_eq(local_note_closed(s), 0);
	cr_assert_not(lost(s), "closed in time");
	cr_assert_eq(local_note_opened(s), 0);
	cr_assert_eq(local_note_lost(s), 0);
	cr_assert(lost(s), "a failed sync is as bad");
	store_close(s);
}

Test(local, its_keys_are_not_for_others)
{
	static const char *const own[] = { "lsn", "copying", "boot" }, *const shared[] = { "format", "next_ino", "loss" };
	struct meta_key k;

	for (int i = 0; i < 3; i++) {
		meta_key_system(&k, own[i]);
		cr_assert(local_is_key(k.b, k.len), "%s", own[i]);
	}
	for (int i = 0; i < 3; i++) {
		meta_key_system(&k, shared[i]);
		cr_assert_not(local_is_key(k.b, k.len), "%s", shared[i]);
	}
	meta_key_inode(&k, 1);
	cr_assert_not(local_is_key(k.b, k.len));
	meta_key_removed(&k, 1);
	cr_assert(local_is_key(k.b, k.len));
}
