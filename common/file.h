/* Small files as a whole: loaded at once, replaced atomically. Blocking: not for the cluster thread. */
#ifndef CFS_COMMON_FILE_H
#define CFS_COMMON_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* Everything in DIR/NAME, malloc'ed, with a NUL behind its end that is not counted. -EFBIG: over MAX bytes. */
int file_load(const char *dir, const char *name, size_t max, char **ret_text, size_t *ret_len);
/*
 * DIR/NAME becomes BUF with MODE; a crash leaves the old or the new one. SYNC: the new one, once this has returned; else
 * that is up to the kernel. Two at a time on one name must not be.
 */
int file_replace(const char *dir, const char *name, const void *buf, size_t len, unsigned mode, bool sync);

#endif
