/* Text into a wire_writer, and lines out of borrowed text that has no NUL at its end. */
#ifndef CFS_PROCFS_TEXT_H
#define CFS_PROCFS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "wire/codec.h"

/* Appends; 0 or the writer's error. */
int text_put(struct wire_writer *w, const char *p, size_t len);
int text_printf(struct wire_writer *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

struct text {
	const char *p, *end;
};

static inline struct text text_of(const void *p, size_t len)
{
	return (struct text){ p, (const char *)p + len };
}

static inline size_t text_len(struct text t)
{
	return (size_t)(t.end - t.p);
}

/* Takes the next line (without its newline) off T; false at the end. */
bool text_line(struct text *t, struct text *ret_line);
/* Takes the next word (separated by blanks and tabs) off T; false when there is none. */
bool text_word(struct text *t, struct text *ret_word);
bool text_is(struct text t, const char *s);
/* The whole of T is a decimal number that fits; else false. */
bool text_u64(struct text t, uint64_t *ret);
bool text_i64(struct text t, int64_t *ret);
/* The line whose first word is KEY, what follows it; false when there is none. */
bool text_find(struct text t, const char *key, struct text *ret_rest);

#endif
