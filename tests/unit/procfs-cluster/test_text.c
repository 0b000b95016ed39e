/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "procfs-cluster/text.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "writer.h"

Test(text, lines_with_and_without_an_end)
{
	struct text t = text_str("a\n\nbc"), line;

	cr_assert(text_line(&t, &line) && text_is(line, "a"));
	cr_assert(text_line(&t, &line) && text_is(line, ""));
	cr_assert(text_line(&t, &line) && text_is(line, "bc"));
	cr_assert(!text_line(&t, &line));
}

Test(text, words_stop_at_the_line)
{
	struct text t = text_str("  x\ty \nz"), word;

	cr_assert(text_word(&t, &word) && text_is(word, "x"));
	cr_assert(text_word(&t, &word) && text_is(word, "y"));
	cr_assert(!text_word(&t, &word));
}

Test(text, numbers)
{
	uint64_t u = 7;
	int64_t i = 7;

	cr_assert(text_u64(text_str("18446744073709551615"), &u) && u == UINT64_MAX);
	u = 7;
	cr_assert(!text_u64(text_str("18446744073709551616"), &u));
	cr_assert(!text_u64(text_str("99999999999999999999999"), &u));
	cr_assert(!text_u64(text_str(""), &u));
	cr_assert(!text_u64(text_str("-1"), &u));
	cr_assert(!text_u64(text_str("1x"), &u));
	cr_assert_eq(u, 7u);
	cr_assert(text_i64(text_str("-12"), &i) && i == -12);
	cr_assert(!text_i64(text_str("-"), &i));
	cr_assert(!text_i64(text_str("9223372036854775808"), &i));
	cr_assert_eq(i, -12);
}

Test(text, find_takes_whole_keys)
{
	struct text rest, word;

	cr_assert(text_find(text_str("cpu0 1\ncpu 2 3\n"), "cpu", &rest));
	cr_assert(text_word(&rest, &word) && text_is(word, "2"));
	cr_assert(!text_find(text_str("cpu0 1\n"), "cpu", &rest));
	cr_assert(!text_find(text_str(""), "cpu", &rest));
}

Test(text, printf_too_long_is_an_error_that_stays)
{
	struct wire_writer w;

	wire_writer_init(&w);
	cr_assert_eq(text_printf(&w, "%d-%s", 5, "x"), 0);
	cr_assert_str_eq(writer_str(&w), "5-x");
	cr_assert_eq(text_printf(&w, "%2000d", 5), -EMSGSIZE);
	cr_assert_eq(text_printf(&w, "x"), -EMSGSIZE);
	wire_writer_release(&w);
}
