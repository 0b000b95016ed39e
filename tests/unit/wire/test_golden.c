/*
 * Pins the bytes of every message: tests/golden/messages-<page>.txt holds, for the samples of tests/lib/wire_samples.c,
 * number, name, who may send it when, the encoded length and the bytes. After a deliberate change:
 *
 *     CFS_GOLDEN_UPDATE=1 tests/unit/wire/test_golden      and look at the diff before committing it
 *
 * A new row is a new line. A changed line is another protocol: raise WIRE_VERSION. The update also writes the seeds of
 * tests/fuzz/corpus/{message,frame}.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "tests/lib/wire_samples.h"
#include "wire/frame.h"

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

static const char *source_dir(void)
{
	const char *dir = getenv("CFS_SRCDIR");

	return dir ? dir : "..";
}

static void page_path(unsigned page, char *ret_path, size_t size)
{
	snprintf(ret_path, size, "%s/tests/golden/messages-%02x.txt", source_dir(), page);
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

static void write_bytes(const char *path, const void *head, size_t head_len, const struct wire_writer *w)
{
	FILE *f = fopen(path, "w");

	cr_assert(f, "%s", path);
	fwrite(head, 1, head_len, f);
	fwrite(w->buf, 1, w->len, f);
	fclose(f);
}

/* One seed for fuzz_message, and one frame more in STREAM. */
static void seed_part(const struct msg_info *m, bool rep, msg_encode encode, void (*fill)(void *),
		      struct wire_writer *stream)
{
	const uint8_t head[] = { (uint8_t)m->number, (uint8_t)(m->number >> 8), rep };
	struct frame_header h = { .version = WIRE_VERSION, .type = m->number, .id = m->oneway ? 0 : m->number };
	_Alignas(8) uint8_t msg[WIRE_SAMPLE_SIZE] = { 0 };
	size_t start = frame_begin(stream);
	struct wire_writer w;
	char path[512];

	h.kind = m->oneway ? FRAME_ONEWAY : rep ? FRAME_REPLY : FRAME_REQUEST;
	fill(msg);
	wire_writer_init(&w);
	wire_reserve(&w, 0);
	cr_assert(!encode(&w, msg) && !encode(stream, msg) && !frame_end(stream, start, &h));
	snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/message/%s-%s", source_dir(), m->name, rep ? "rep" : "req");
	write_bytes(path, head, sizeof(head), &w);
	wire_writer_release(&w);
}

static void update_corpus(void)
{
	static struct wire_sample samples[WIRE_SAMPLES_MAX];
	size_t n = wire_samples(samples, WIRE_SAMPLES_MAX);
	const uint8_t pieces = 6;
	struct wire_writer stream;
	char path[512];

	snprintf(path, sizeof(path), "mkdir -p %s/tests/fuzz/corpus/message %s/tests/fuzz/corpus/frame", source_dir(),
		 source_dir());
	cr_assert_eq(system(path), 0);
	wire_writer_init(&stream);
	for (size_t i = 0; i < n; i++) {
		const struct msg_info *m = samples[i].info;

		seed_part(m, false, m->encode_req, samples[i].fill_req, &stream);
		if (!m->oneway)
			seed_part(m, true, m->encode_rep, samples[i].fill_rep, &stream);
	}
	snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/frame/all", source_dir());
	write_bytes(path, &pieces, 1, &stream);
	wire_writer_release(&stream);
}

Test(golden, messages)
{
	if (getenv("CFS_GOLDEN_UPDATE"))
		update_corpus();
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
