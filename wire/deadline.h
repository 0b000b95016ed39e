/* What is due when: a binary heap of embedded entries. Pure; times are whatever unit the user counts in. */
#ifndef CFS_WIRE_DEADLINE_H
#define CFS_WIRE_DEADLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct deadline {
	uint64_t due;
	size_t pos; /* 1 + index in the heap; 0: not in one */
};

struct deadlines {
	struct deadline **heap;
	size_t len, cap;
};

void deadlines_release(struct deadlines *ds);
/* D must not be in a heap. 0 or -ENOMEM. */
int deadline_add(struct deadlines *ds, struct deadline *d, uint64_t due);
/* Fine when it is in none. */
void deadline_remove(struct deadlines *ds, struct deadline *d);
/* The earliest, NULL when there is none. */
struct deadline *deadline_first(const struct deadlines *ds);

#endif
