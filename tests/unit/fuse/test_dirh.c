/* Directory handles: pieces of a listing, and what is not one. */
#include "fuse/dirh.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "wire/message.h"

static void put_entry(struct wire_writer *w, const char *name, uint64_t ino)
{
	struct wire_attr a = { .ino = ino, .mode = 0100644 };
	size_t start = w->len, len = strlen(name) + 1;

	wire_reserve(w, 2);
	wire_put_attr(w, &a);
	memcpy(wire_reserve(w, len), name, len);
	put_le16(w->buf + start, (uint16_t)(w->len - start));
}

static struct wire_blob blob(const struct wire_writer *w)
{
	return (struct wire_blob){ w->buf, (uint32_t)w->len };
}

Test(dirh, pieces_keep_their_places)
{
	struct wire_writer w;
	struct wire_blob b;
	struct dirh d;

	dirh_init(&d, 7);
	cr_assert(!d.started);
	cr_assert_str_eq(dirh_last_name(&d), "");
	dirh_add(&d, ".", 7, 0040000);
	d.nr_local = 1;
	cr_assert(d.started);
	cr_assert_str_eq(dirh_last_name(&d), "", "the server does not know .");
	wire_writer_init(&w);
	put_entry(&w, "a", 1);
	put_entry(&w, "bb", 2);
	b = blob(&w);
	cr_assert_eq(dirh_add_piece(&d, &b), 0);
	cr_assert_str_eq(dirh_last_name(&d), "bb");
	w.len = 0;
	for (int i = 0; i < 500; i++)
		put_entry(&w, "ccc", 3);
	b = blob(&w);
	cr_assert_eq(dirh_add_piece(&d, &b), 0);
	cr_assert_eq(d.nr_entries, 503);
	cr_assert_str_eq(dirh_name(&d, 1), "a");
	cr_assert_eq(d.entries[2].ino, 2);
	cr_assert_eq(d.entries[2].mode, 0100644);
	dirh_rewind(&d);
	cr_assert_eq(d.nr_entries, 0);
	cr_assert_eq(d.ino, 7);
	cr_assert(!d.started);
	wire_writer_release(&w);
	dirh_release(&d);
}

Test(dirh, every_torn_piece_is_refused)
{
	struct wire_writer w;
	struct dirh d;
	size_t first;

	wire_writer_init(&w);
	put_entry(&w, "name", 1);
	first = w.len;
	put_entry(&w, "other", 2);
	for (size_t len = 1; len < w.len; len++) {
		/* In memory of its own, so that a sanitizer sees a read beyond it. */
		void *copy = malloc(len);
		struct wire_blob b = { copy, (uint32_t)len };

		memcpy(copy, w.buf, len);
		dirh_init(&d, 7);
		cr_assert_eq(dirh_add_piece(&d, &b), len == first ? 0 : -EBADMSG, "%zu bytes", len);
		dirh_release(&d);
		free(copy);
	}
	wire_writer_release(&w);
}

Test(dirh, names_must_end_where_the_entry_does)
{
	struct wire_writer w;
	struct wire_blob b;
	struct dirh d;

	dirh_init(&d, 7);
	wire_writer_init(&w);
	put_entry(&w, "", 1);
	b = blob(&w);
	cr_assert_eq(dirh_add_piece(&d, &b), -EBADMSG, "empty");
	w.len = 0;
	put_entry(&w, "abc", 1);
	w.buf[w.len - 1] = 'd';
	b = blob(&w);
	cr_assert_eq(dirh_add_piece(&d, &b), -EBADMSG, "no end");
	w.buf[w.len - 1] = w.buf[w.len - 3] = '\0';
	cr_assert_eq(dirh_add_piece(&d, &b), -EBADMSG, "two ends");
	put_le16(w.buf, 1);
	cr_assert_eq(dirh_add_piece(&d, &b), -EBADMSG, "shorter than its own length");
	cr_assert_eq(d.nr_entries, 0);
	wire_writer_release(&w);
	dirh_release(&d);
}
