/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel prints is plain ASCII: no locale here. */
#include "procfs-cluster/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

int text_put(struct wire_writer *w, const char *p, size_t len)
{
	uint8_t *to = wire_reserve(w, len);

	if (!to)
		return w->err;
	memcpy(to, p, len);
	return 0;
}

int text_printf(struct wire_writer *w, const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(line))
		return w->err ? w->err : (w->err = -EMSGSIZE);
	return text_put(w, line, (size_t)n);
}

bool text_line(struct text *t, struct text *ret_line)
{
	const char *nl;

	if (t->p >= t->end)
		return false;
	nl = memchr(t->p, '\n', text_len(*t));
	*ret_line = (struct text){ t->p, nl ? nl : t->end };
	t->p = nl ? nl + 1 : t->end;
	return true;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

bool text_word(struct text *t, struct text *ret_word)
{
	const char *p = t->p, *q;

	while (p < t->end && is_blank(*p))
		p++;
	for (q = p; q < t->end && !is_blank(*q) && *q != '\n';)
		q++;
	if (p == q)
		return false;
	*ret_word = (struct text){ p, q };
	t->p = q;
	return true;
}

bool text_is(struct text t, const char *s)
{
	return strlen(s) == text_len(t) && !memcmp(t.p, s, text_len(t));
}

bool text_u64(struct text t, uint64_t *ret)
{
	uint64_t v = 0;

	if (t.p == t.end)
		return false;
	for (; t.p < t.end; t.p++) {
		if (*t.p < '0' || *t.p > '9' || __builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*t.p - '0'), &v))
			return false;
	}
	*ret = v;
	return true;
}

bool text_i64(struct text t, int64_t *ret)
{
	bool minus = t.p < t.end && *t.p == '-';
	uint64_t v;

	t.p += minus;
	if (!text_u64(t, &v) || v > INT64_MAX)
		return false;
	*ret = minus ? -(int64_t)v : (int64_t)v;
	return true;
}

bool text_find(struct text t, const char *key, struct text *ret_rest)
{
	struct text line, word;

	while (text_line(&t, &line))
		if (text_word(&line, &word) && text_is(word, key)) {
			*ret_rest = line;
			return true;
		}
	return false;
}
