#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cfsd/batch.h"

Test(batch, items_come_back_in_order)
{
	struct batch b;
	struct batch_item it;
	size_t pos = 0;

	batch_init(&b);
	cr_assert_eq(batch_put(&b, "key", 3, "value", 5), 0);
	cr_assert_eq(batch_del(&b, "gone", 4), 0);
	cr_assert_eq(batch_put(&b, "", 0, NULL, 0), 0);
	cr_assert_eq(batch_next(b.buf, b.len, &pos, &it), 1);
	cr_assert(it.klen == 3 && !memcmp(it.key, "key", 3));
	cr_assert(it.vlen == 5 && !memcmp(it.val, "value", 5));
	cr_assert_eq(batch_next(b.buf, b.len, &pos, &it), 1);
	cr_assert(it.klen == 4 && !memcmp(it.key, "gone", 4));
	cr_assert_null(it.val);
	cr_assert_eq(batch_next(b.buf, b.len, &pos, &it), 1);
	cr_assert_not_null(it.val, "an empty value is not a deletion");
	cr_assert_eq(it.klen + it.vlen, 0);
	cr_assert_eq(batch_next(b.buf, b.len, &pos, &it), 0);
	cr_assert_eq(batch_next(b.buf, b.len, &pos, &it), 0);
	batch_release(&b);
	cr_assert_null(b.buf);
}

Test(batch, every_truncation_is_refused)
{
	struct batch b;
	size_t ends[3], n = 0;

	batch_init(&b);
	batch_put(&b, "a", 1, "12345", 5);
	ends[n++] = b.len;
	batch_del(&b, "bb", 2);
	ends[n++] = b.len;
	batch_put(&b, "c", 1, "", 0);
	for (size_t len = 1; len < b.len; len++) {
		uint8_t *copy = malloc(len); /* exact, so that a sanitizer sees reads beyond it */
		struct batch_item it;
		size_t pos = 0;
		int r;

		memcpy(copy, b.buf, len);
		while ((r = batch_next(copy, len, &pos, &it)) > 0)
			;
		cr_assert_eq(r, len == ends[0] || len == ends[1] ? 0 : -EBADMSG, "%zu", len);
		free(copy);
	}
	batch_release(&b);
}

Test(batch, nonsense_is_refused)
{
	uint8_t raw[8] = { 3 };
	struct batch_item it;
	size_t pos = 0;

	cr_assert_eq(batch_next(raw, sizeof(raw), &pos, &it), -EBADMSG, "kind");
	raw[0] = 2;
	raw[3] = 1;
	cr_assert_eq(batch_next(raw, sizeof(raw), &pos, &it), -EBADMSG, "deletion with a value");
	raw[0] = 1;
	memset(raw + 1, 0xff, 6);
	cr_assert_eq(batch_next(raw, sizeof(raw), &pos, &it), -EBADMSG, "lengths");
	pos = 9;
	cr_assert_eq(batch_next(raw, sizeof(raw), &pos, &it), -EBADMSG, "position");
	cr_assert_eq(pos, 9);
}

Test(batch, too_long_a_key_sticks)
{
	struct batch b;
	char *key = calloc(1, 65536);

	batch_init(&b);
	cr_assert_eq(batch_put(&b, key, 65535, "v", 1), 0);
	cr_assert_eq(batch_put(&b, key, 65536, "v", 1), -EMSGSIZE);
	cr_assert_eq(batch_del(&b, "k", 1), -EMSGSIZE);
	cr_assert_eq(batch_append(&b, "x", 1), -EMSGSIZE);
	batch_release(&b);
	free(key);
}

Test(batch, append_joins)
{
	struct batch a, b;
	struct batch_item it;
	size_t pos = 0, n = 0;

	batch_init(&a);
	batch_init(&b);
	batch_put(&a, "1", 1, "x", 1);
	batch_put(&b, "2", 1, "y", 1);
	cr_assert_eq(batch_append(&a, b.buf, b.len), 0);
	cr_assert_eq(batch_append(&a, NULL, 0), 0);
	while (batch_next(a.buf, a.len, &pos, &it) > 0)
		cr_assert_eq(*(const char *)it.key, '1' + (char)n++);
	cr_assert_eq(n, 2);
	batch_release(&a);
	batch_release(&b);
}
