/*
 * The simulated world: a virtual clock, a seeded source of chance, and processes that crash and come back.
 *
 * Everything that happens is an event of one heap, ordered by (time, number), so a seed replays exactly. An event
 * belongs to a process and its incarnation: what a dead incarnation had planned never happens.
 */
#ifndef CFS_TESTS_SIM_WORLD_H
#define CFS_TESTS_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define WORLD_PROCS_MAX 16
#define MS 1000ull /* the clock counts microseconds */

typedef void (*world_fn)(void *arg);

struct world_event {
	uint64_t at, number;
	uint32_t proc, incarnation;
	world_fn fn, drop; /* drop frees ARG when the event is void; may be NULL */
	void *arg;
};

struct world_proc {
	bool up;
	uint32_t incarnation;
	int64_t clock_offset_us; /* its clock is now * rate + offset: nodes never agree on time */
	uint32_t clock_rate_ppm; /* 1000000 is exact */
};

struct world {
	uint64_t now; /* true time, us */
	uint64_t rng[4];
	uint64_t numbers;
	struct world_event *heap;
	size_t nr_events, cap_events;
	struct world_proc procs[WORLD_PROCS_MAX];
	FILE *trace; /* NULL: silent */
};

void world_init(struct world *w, uint64_t seed, FILE *trace);
void world_release(struct world *w);

/* Calls fn(arg) after DELAY us unless PROC dies first, then drop(arg). PROC 0 is the world itself: it never dies. */
void world_after(struct world *w, uint32_t proc, uint64_t delay_us, world_fn fn, void *arg, world_fn drop);
/* Runs events up to and including time UNTIL. */
void world_run(struct world *w, uint64_t until);

void world_start(struct world *w, uint32_t proc);
void world_kill(struct world *w, uint32_t proc);
/* The process's own monotonic clock, ms. */
uint64_t world_clock_ms(const struct world *w, uint32_t proc);

uint64_t world_rand(struct world *w);
/* In [lo, hi]. */
uint64_t world_between(struct world *w, uint64_t lo, uint64_t hi);
bool world_chance(struct world *w, uint32_t per_million);

void world_log(struct world *w, uint32_t proc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
