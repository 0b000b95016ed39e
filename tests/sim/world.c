/* xoshiro256** seeded by splitmix64 (Blackman, Vigna): small, fast, the same everywhere. */
#include "tests/sim/world.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static uint64_t splitmix(uint64_t *x)
{
	uint64_t z = (*x += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static uint64_t rotl(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

uint64_t world_rand(struct world *w)
{
	uint64_t *s = w->rng, r = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return r;
}

uint64_t world_between(struct world *w, uint64_t lo, uint64_t hi)
{
	return lo + world_rand(w) % (hi - lo + 1);
}

bool world_chance(struct world *w, uint32_t per_million)
{
	return world_rand(w) % 1000000 < per_million;
}

void world_init(struct world *w, uint64_t seed, FILE *trace)
{
	memset(w, 0, sizeof(*w));
	w->trace = trace;
	for (int i = 0; i < 4; i++)
		w->rng[i] = splitmix(&seed);
	w->procs[0].up = true;
	for (uint32_t p = 0; p < WORLD_PROCS_MAX; p++) {
		w->procs[p].clock_offset_us = (int64_t)world_between(w, 0, 3600 * 1000 * MS);
		w->procs[p].clock_rate_ppm = (uint32_t)world_between(w, 999800, 1000200);
	}
}

void world_release(struct world *w)
{
	for (size_t i = 0; i < w->nr_events; i++)
		if (w->heap[i].drop)
			w->heap[i].drop(w->heap[i].arg);
	free(w->heap);
	w->heap = NULL;
	w->nr_events = 0;
}

static bool before(const struct world_event *a, const struct world_event *b)
{
	return a->at != b->at ? a->at < b->at : a->number < b->number;
}

static void sift_up(struct world_event *h, size_t i)
{
	while (i && before(&h[i], &h[(i - 1) / 2])) {
		struct world_event t = h[i];

		h[i] = h[(i - 1) / 2];
		h[(i - 1) / 2] = t;
		i = (i - 1) / 2;
	}
}

static void sift_down(struct world_event *h, size_t n)
{
	for (size_t i = 0;;) {
		size_t c = 2 * i + 1;
		struct world_event t;

		if (c >= n)
			return;
		if (c + 1 < n && before(&h[c + 1], &h[c]))
			c++;
		if (!before(&h[c], &h[i]))
			return;
		t = h[i];
		h[i] = h[c];
		h[c] = t;
		i = c;
	}
}

void world_after(struct world *w, uint32_t proc, uint64_t delay_us, world_fn fn, void *arg, world_fn drop)
{
	assert(proc < WORLD_PROCS_MAX && w->procs[proc].up);
	if (w->nr_events == w->cap_events) {
		w->cap_events = w->cap_events ? 2 * w->cap_events : 256;
		w->heap = realloc(w->heap, w->cap_events * sizeof(*w->heap));
		assert(w->heap);
	}
	w->heap[w->nr_events] = (struct world_event){ .at = w->now + delay_us,
						      .number = w->numbers++,
						      .proc = proc,
						      .incarnation = w->procs[proc].incarnation,
						      .fn = fn,
						      .drop = drop,
						      .arg = arg };
	sift_up(w->heap, w->nr_events++);
}

static void run_one(struct world *w)
{
	struct world_event e = w->heap[0];

	w->heap[0] = w->heap[--w->nr_events];
	sift_down(w->heap, w->nr_events);
	w->now = e.at;
	if (w->procs[e.proc].up && w->procs[e.proc].incarnation == e.incarnation)
		e.fn(e.arg);
	else if (e.drop)
		e.drop(e.arg);
}

void world_run(struct world *w, uint64_t until)
{
	while (w->nr_events && w->heap[0].at <= until)
		run_one(w);
	w->now = until;
}

void world_start(struct world *w, uint32_t proc)
{
	assert(!w->procs[proc].up);
	w->procs[proc].up = true;
	w->procs[proc].incarnation++;
}

void world_kill(struct world *w, uint32_t proc)
{
	assert(proc && w->procs[proc].up);
	w->procs[proc].up = false;
}

uint64_t world_clock_ms(const struct world *w, uint32_t proc)
{
	const struct world_proc *p = &w->procs[proc];

	return (uint64_t)((int64_t)(w->now * p->clock_rate_ppm / 1000000) + p->clock_offset_us) / MS;
}

void world_log(struct world *w, uint32_t proc, const char *fmt, ...)
{
	va_list ap;

	if (!w->trace)
		return;
	fprintf(w->trace, "[%6llu.%03llu] %2u ", (unsigned long long)(w->now / MS),
		(unsigned long long)(w->now % MS), proc);
	va_start(ap, fmt);
	vfprintf(w->trace, fmt, ap);
	va_end(ap);
	fputc('\n', w->trace);
}
