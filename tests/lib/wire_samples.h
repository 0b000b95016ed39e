/*
 * A filled message of every row of messages.def, for round trips, the golden files and the fuzzers' corpus. A field's
 * value depends only on its type and its place in the message, so a row's bytes change only when the row does.
 */
#ifndef TESTS_LIB_WIRE_SAMPLES_H
#define TESTS_LIB_WIRE_SAMPLES_H

#include <stdbool.h>
#include <stddef.h>

#include "wire/message.h"

struct wire_sample {
	const struct msg_info *info;
	void (*fill_req)(void *msg);
	void (*fill_rep)(void *msg); /* NULL for ONEWAY rows */
	bool (*equal_req)(const void *a, const void *b);
	bool (*equal_rep)(const void *a, const void *b);
};

/* One entry a row, in the order of msg_table(). */
size_t wire_samples(struct wire_sample *ret_samples, size_t max);

/* Largest struct of a message, for tests that put one on the stack. */
enum { WIRE_SAMPLE_SIZE = 4096, WIRE_SAMPLES_MAX = 512 };

#endif
