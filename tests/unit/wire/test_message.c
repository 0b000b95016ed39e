/* Every row of messages.def: what is encoded is decoded, and nothing else is. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/wire_samples.h"

static struct wire_sample samples[WIRE_SAMPLES_MAX];
static size_t nr_samples;

static void collect(void)
{
	nr_samples = wire_samples(samples, WIRE_SAMPLES_MAX);
	cr_assert_gt(nr_samples, 0u);
}

TestSuite(message, .init = collect);

struct part {
	const char *name;
	size_t size;
	msg_encode encode;
	msg_decode decode;
	void (*fill)(void *msg);
	bool (*equal)(const void *a, const void *b);
};

/* Runs CHECK on the request of every row, and on its reply where it has one. */
static void each_part(void (*check)(const struct part *p))
{
	for (size_t i = 0; i < nr_samples; i++) {
		const struct wire_sample *s = &samples[i];
		const struct msg_info *m = s->info;
		struct part req = { m->name, m->req_size, m->encode_req, m->decode_req, s->fill_req, s->equal_req };
		struct part rep = { m->name, m->rep_size, m->encode_rep, m->decode_rep, s->fill_rep, s->equal_rep };

		cr_assert_leq(m->req_size, (size_t)WIRE_SAMPLE_SIZE, "%s", m->name);
		cr_assert_leq(m->rep_size, (size_t)WIRE_SAMPLE_SIZE, "%s", m->name);
		check(&req);
		cr_assert_eq(m->oneway, !rep.fill, "%s", m->name);
		if (rep.fill)
			check(&rep);
	}
}

/* An exact allocation of LEN bytes, so that a sanitizer sees one byte too far. */
static int decode_exact(const struct part *p, const uint8_t *bytes, size_t len, void *ret_msg, uint8_t **ret_copy)
{
	uint8_t *copy = malloc(len ? len : 1);
	struct wire_reader r = { copy, copy + len };
	int err;

	cr_assert(copy);
	memcpy(copy, bytes, len);
	err = p->decode(&r, ret_msg);
	*ret_copy = copy;
	return err;
}

static void encode_sample(const struct part *p, void *msg, struct wire_writer *w)
{
	memset(msg, 0, WIRE_SAMPLE_SIZE);
	p->fill(msg);
	wire_writer_init(w);
	wire_reserve(w, 0);
	cr_assert_eq(p->encode(w, msg), 0, "%s", p->name);
}

static void check_round_trip(const struct part *p)
{
	_Alignas(8) uint8_t sent[WIRE_SAMPLE_SIZE], got[WIRE_SAMPLE_SIZE] = { 0 };
	struct wire_writer w;
	uint8_t *copy;

	encode_sample(p, sent, &w);
	cr_assert_eq(decode_exact(p, w.buf, w.len, got, &copy), 0, "%s", p->name);
	cr_assert(p->equal(sent, got), "%s came back different", p->name);
	free(copy);
	wire_writer_release(&w);
}

Test(message, every_row_comes_back)
{
	each_part(check_round_trip);
}

static void check_truncations(const struct part *p)
{
	_Alignas(8) uint8_t sent[WIRE_SAMPLE_SIZE], got[WIRE_SAMPLE_SIZE], before[WIRE_SAMPLE_SIZE];
	struct wire_writer w;
	uint8_t *copy;

	encode_sample(p, sent, &w);
	memset(before, 0xa5, sizeof(before));
	for (size_t len = 0; len < w.len; len++) {
		memset(got, 0xa5, sizeof(got));
		cr_assert_eq(decode_exact(p, w.buf, len, got, &copy), -EBADMSG, "%s cut to %zu", p->name, len);
		cr_assert(!memcmp(got, before, sizeof(got)), "%s cut to %zu wrote its output", p->name, len);
		free(copy);
	}
	wire_writer_release(&w);
}

Test(message, every_truncation_is_refused)
{
	each_part(check_truncations);
}

static void check_trailing(const struct part *p)
{
	_Alignas(8) uint8_t sent[WIRE_SAMPLE_SIZE], got[WIRE_SAMPLE_SIZE];
	struct wire_writer w;
	const uint8_t zero = 0;
	uint8_t *copy;

	encode_sample(p, sent, &w);
	cr_assert_eq(wire_put_u8(&w, &zero), 0);
	cr_assert_eq(decode_exact(p, w.buf, w.len, got, &copy), -EBADMSG, "%s with a byte more", p->name);
	free(copy);
	wire_writer_release(&w);
}

Test(message, a_trailing_byte_is_refused)
{
	each_part(check_trailing);
}

static void check_zeroed(const struct part *p)
{
	_Alignas(8) uint8_t sent[WIRE_SAMPLE_SIZE] = { 0 }, got[WIRE_SAMPLE_SIZE];
	struct wire_writer w;
	uint8_t *copy;

	wire_writer_init(&w);
	wire_reserve(&w, 0);
	cr_assert_eq(p->encode(&w, sent), 0, "%s", p->name);
	cr_assert_eq(decode_exact(p, w.buf, w.len, got, &copy), 0, "%s", p->name);
	free(copy);
	wire_writer_release(&w);
}

Test(message, a_zeroed_message_is_one)
{
	each_part(check_zeroed);
}

Test(message, rows_are_found_by_number)
{
	size_t n;
	const struct msg_info *table = msg_table(&n);

	cr_assert_eq(n, nr_samples);
	for (size_t i = 0; i < n; i++) {
		cr_assert_eq(msg_info(table[i].number), &table[i], "%s", table[i].name);
		cr_assert(table[i].from >= MSG_FROM_ANY && table[i].from <= MSG_FROM_MEMBER, "%s", table[i].name);
	}
	cr_assert_null(msg_info(0));
	cr_assert_null(msg_info(0xffff));
	cr_assert_eq(msg_info(MSG_hello)->state, MSG_STATE_NEW);
	cr_assert_eq(msg_info(MSG_lookup)->from, MSG_FROM_CLIENT);
}

/* What is not proved who it is may only say what the connection needs: nothing else is ANY, and ANY only before hello. */
Test(message, only_any_rows_are_new)
{
	for (size_t i = 0; i < nr_samples; i++)
		cr_assert_eq(samples[i].info->from == MSG_FROM_ANY, samples[i].info->state == MSG_STATE_NEW, "%s",
			     samples[i].info->name);
}

Test(message, over_long_fields_are_refused)
{
	static char text[WIRE_STR_MAX + 2];
	struct msg_lookup_req lookup = { .entry = text };
	struct msg_symlink_req symlink = { .target = text };
	struct wire_writer w;

	memset(text, 'x', sizeof(text) - 1);
	wire_writer_init(&w);
	cr_assert_eq(msg_info(MSG_lookup)->encode_req(&w, &lookup), -EMSGSIZE);
	wire_writer_release(&w);
	cr_assert_eq(msg_info(MSG_symlink)->encode_req(&w, &symlink), -EMSGSIZE);
	wire_writer_release(&w);
}

Test(message, composites_pack_alone)
{
	struct wire_attr a = { .ino = 7, .mode = 0100644, .size = 1ull << 40, .change = 9 }, b = { 0 };
	struct wire_writer w;
	struct wire_reader r;

	wire_writer_init(&w);
	cr_assert_eq(wire_put_attr(&w, &a), 0);
	r = (struct wire_reader){ w.buf, w.buf + w.len };
	cr_assert_eq(wire_get_attr(&r, &b), 0);
	cr_assert_eq(r.p, r.end);
	cr_assert(a.ino == b.ino && a.mode == b.mode && a.size == b.size && a.change == b.change);
	r = (struct wire_reader){ w.buf, w.buf + w.len - 1 };
	b.ino = 1;
	cr_assert_eq(wire_get_attr(&r, &b), -EBADMSG);
	cr_assert_eq(b.ino, 1u);
	wire_writer_release(&w);
}
