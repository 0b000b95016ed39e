/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a wire_writer holds, as a string. */
#ifndef TESTS_PROCFS_WRITER_H
#define TESTS_PROCFS_WRITER_H

#include <criterion/criterion.h>

#include "procfs-cluster/text.h"

static inline const char *writer_str(struct wire_writer *w)
{
	cr_assert_eq(text_put(w, "", 1), 0);
	w->len--;
	return (const char *)w->buf;
}

static inline struct text text_str(const char *s)
{
	return text_of(s, strlen(s));
}

#endif
