/*
 * Pins the bytes of every message: tests/golden/messages-<page>.txt holds, for the samples of tests/lib/wire_samples.c,
 * number, name, who may send it when, the encoded length and the bytes. After a deliberate change:
 *
 *     CFS_GOLDEN_UPDATE=1 tests/unit/wire/test_golden      and look at the diff before committing it
 *
 * A new row is a new line. A changed line is another protocol: raise WIRE_VERSION.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "tests/lib/wire_samples.h"

enum { NR_PAGES = 256 };

static void print_part(FILE *f, const char *part, msg_encode encode, void (*fill)(void *))
{
	_Alignas(8) uint8_t msg[WIRE_SAMPLE_SIZE] = { 0 };
	struct wire_writer w;

	fill(msg);
	wire_writer_init(&w);
	cr_assert_eq(encode(&w, msg), 0);
	fprintf(f, "  %s %zu ", part, w.len);
	for (size_t i = 0; i < w.len; i++)
		fprintf(f, "%02x", w.buf[i]);
	fprintf(f, "\n");
	wire_writer_release(&w);
}

static void print_row(FILE *f, const struct wire_sample *s)
{
	static const char *const from[] = { "?", "any", "node", "client", "member" };
	const struct msg_info *m = s->info;

	fprintf(f, "%04x %s from %s %s%s\n", m->number, m->name, from[m->from],
		m->state == MSG_STATE_NEW ? "new" : "ready", m->oneway ? " oneway" : "");
	print_part(f, "req", m->encode_req, s->fill_req);
	if (!m->oneway)
		print_part(f, "rep", m->encode_rep, s->fill_rep);
}

/* The text of one page of numbers, malloc'ed; "" for a page without rows. */
static char *print_page(unsigned page)
{
	static struct wire_sample samples[WIRE_SAMPLES_MAX];
	size_t n = wire_samples(samples, WIRE_SAMPLES_MAX), len;
	char *text = NULL;
	FILE *f = open_memstream(&text, &len);

	cr_assert(f && n);
	for (size_t i = 0; i < n; i++)
		if (samples[i].info->number >> 8 == page)
			print_row(f, &samples[i]);
	fclose(f);
	return text;
}

static void page_path(unsigned page, char *ret_path, size_t size)
{
	const char *dir = getenv("CFS_SRCDIR");

	snprintf(ret_path, size, "%s/tests/golden/messages-%02x.txt", dir ? dir : "..", page);
}

static char *read_file(const char *path)
{
	static const size_t max = 1 << 20;
	char *text = calloc(1, max);
	FILE *f = fopen(path, "r");

	cr_assert(text);
	if (f) {
		cr_assert_lt(fread(text, 1, max - 1, f), max - 1);
		fclose(f);
	}
	return text;
}

static void update(const char *path, const char *text)
{
	FILE *f;

	if (!*text) {
		remove(path);
		return;
	}
	f = fopen(path, "w");
	cr_assert(f, "%s", path);
	fputs(text, f);
	fclose(f);
}

Test(golden, messages)
{
	for (unsigned page = 0; page < NR_PAGES; page++) {
		_cleanup_free_ char *text = print_page(page);
		_cleanup_free_ char *pinned = NULL;
		char path[512];

		page_path(page, path, sizeof(path));
		if (getenv("CFS_GOLDEN_UPDATE"))
			update(path, text);
		pinned = read_file(path);
		cr_expect(!strcmp(text, pinned),
			  "%s is not what messages.def gives: run test_golden with CFS_GOLDEN_UPDATE=1 and see git diff",
			  path);
	}
}
