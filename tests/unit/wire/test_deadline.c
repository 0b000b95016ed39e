/* The heap against a model: always the earliest first, whatever leaves in between. */
#include "wire/deadline.h"

#include <criterion/criterion.h>
#include <stdlib.h>

Test(deadline, an_empty_heap)
{
	struct deadlines ds = { 0 };
	struct deadline d = { 0 };

	cr_assert_null(deadline_first(&ds));
	deadline_remove(&ds, &d);
	deadlines_release(&ds);
}

Test(deadline, the_earliest_is_first)
{
	struct deadlines ds = { 0 };
	struct deadline d[5] = { 0 };
	static const uint64_t due[] = { 50, 10, 40, 20, 30 };

	for (int i = 0; i < 5; i++)
		cr_assert_eq(deadline_add(&ds, &d[i], due[i]), 0);
	for (uint64_t want = 10; want <= 50; want += 10) {
		struct deadline *first = deadline_first(&ds);

		cr_assert_eq(first->due, want);
		deadline_remove(&ds, first);
		cr_assert_eq(first->pos, 0u);
	}
	cr_assert_null(deadline_first(&ds));
	deadlines_release(&ds);
}

static struct deadline *model_first(struct deadline *d, size_t n)
{
	struct deadline *first = NULL;

	for (size_t i = 0; i < n; i++)
		if (d[i].pos && (!first || d[i].due < first->due))
			first = &d[i];
	return first;
}

Test(deadline, random_comings_and_goings)
{
	enum { NR = 300, STEPS = 20000 };
	static struct deadline d[NR];
	struct deadlines ds = { 0 };
	unsigned seed = 7;

	for (int i = 0; i < STEPS; i++) {
		struct deadline *one = &d[rand_r(&seed) % NR], *want, *got;

		if (one->pos)
			deadline_remove(&ds, one);
		else
			cr_assert_eq(deadline_add(&ds, one, (uint64_t)(rand_r(&seed) % 1000)), 0);
		want = model_first(d, NR);
		got = deadline_first(&ds);
		cr_assert_eq(!want, !got);
		cr_assert(!want || want->due == got->due, "step %d", i);
	}
	deadlines_release(&ds);
}
