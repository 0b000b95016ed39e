/* Binary min-heap; each entry knows its place, so that one that was kept in time leaves in O(log n). */
#include "wire/deadline.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

void deadlines_release(struct deadlines *ds)
{
	free(ds->heap);
	*ds = (struct deadlines){ 0 };
}

static void place(struct deadlines *ds, struct deadline *d, size_t i)
{
	ds->heap[i] = d;
	d->pos = i + 1;
}

static void sift_up(struct deadlines *ds, struct deadline *d, size_t i)
{
	for (; i > 0 && ds->heap[(i - 1) / 2]->due > d->due; i = (i - 1) / 2)
		place(ds, ds->heap[(i - 1) / 2], i);
	place(ds, d, i);
}

static void sift_down(struct deadlines *ds, struct deadline *d, size_t i)
{
	size_t child;

	while ((child = 2 * i + 1) < ds->len) {
		if (child + 1 < ds->len && ds->heap[child + 1]->due < ds->heap[child]->due)
			child++;
		if (ds->heap[child]->due >= d->due)
			break;
		place(ds, ds->heap[child], i);
		i = child;
	}
	place(ds, d, i);
}

int deadline_add(struct deadlines *ds, struct deadline *d, uint64_t due)
{
	assert(!d->pos);
	if (ds->len == ds->cap) {
		size_t cap = ds->cap ? 2 * ds->cap : 64;
		struct deadline **heap = realloc(ds->heap, cap * sizeof(*heap));

		if (!heap)
			return -ENOMEM;
		ds->heap = heap;
		ds->cap = cap;
	}
	d->due = due;
	sift_up(ds, d, ds->len++);
	return 0;
}

void deadline_remove(struct deadlines *ds, struct deadline *d)
{
	struct deadline *last;
	size_t i = d->pos;

	if (!i--)
		return;
	assert(ds->heap[i] == d);
	d->pos = 0;
	last = ds->heap[--ds->len];
	if (last == d)
		return;
	if (last->due < d->due)
		sift_up(ds, last, i);
	else
		sift_down(ds, last, i);
}

struct deadline *deadline_first(const struct deadlines *ds)
{
	return ds->len ? ds->heap[0] : NULL;
}
