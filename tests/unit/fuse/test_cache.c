/* What the mount may remember, and when it has to forget. */
#include "fuse/cache.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "wire/fileop.h"

enum { DIR_INO = 10, FILE_INO = 20, ALL = TOKEN_ATTR | TOKEN_DATA | TOKEN_NAMES };

static struct cache *make(void)
{
	struct cache *c;

	cr_assert_eq(cache_new(100, 100, &c), 0);
	return c;
}

static void put_attr(struct cache *c, uint64_t ino, uint64_t change, uint32_t tokens, uint64_t stamp)
{
	struct wire_attr a = { .ino = ino, .change = change, .size = change * 10 };

	cache_put_attr(c, &a, tokens, stamp);
}

/* Size of the cached attributes, -1: none. */
static int64_t size_of(struct cache *c, uint64_t ino)
{
	struct wire_attr a;

	return cache_get_attr(c, ino, &a) ? (int64_t)a.size : -1;
}

static enum cache_answer get(struct cache *c, const char *name)
{
	uint64_t ino;

	return cache_get_name(c, DIR_INO, name, &ino);
}

static void put(struct cache *c, const char *name, uint64_t ino)
{
	cache_put_name(c, DIR_INO, name, ino, S_IFREG, TOKEN_NAMES, cache_stamp(c));
}

/* An own change of one name of the directory, which has DIR_SIZE entries after it. */
enum { DIR_CHANGE = 9, DIR_SIZE = 7 };

static void changed(struct cache *c, const char *name, uint64_t ino, uint32_t dir_tokens, uint64_t stamp)
{
	struct wire_attr dir = { .ino = DIR_INO, .change = DIR_CHANGE, .size = DIR_SIZE };

	cache_names_changed(c, &dir, dir_tokens, &(struct cache_name){ name, ino, S_IFREG }, 1, stamp);
}

Test(cache, attributes_need_a_token)
{
	struct cache *c = make();

	put_attr(c, FILE_INO, 1, TOKEN_DATA, cache_stamp(c));
	cr_assert_eq(size_of(c, FILE_INO), -1);
	put_attr(c, FILE_INO, 1, TOKEN_ATTR, cache_stamp(c));
	cr_assert_eq(size_of(c, FILE_INO), 10);
	put_attr(c, FILE_INO, 2, 0, cache_stamp(c));
	cr_assert_eq(size_of(c, FILE_INO), -1, "newer, and ours no more");
	cache_free(c);
}

Test(cache, older_attributes_lose)
{
	struct cache *c = make();

	put_attr(c, FILE_INO, 5, ALL, cache_stamp(c));
	put_attr(c, FILE_INO, 4, ALL, cache_stamp(c));
	cr_assert_eq(size_of(c, FILE_INO), 50);
	put_attr(c, FILE_INO, 6, ALL, cache_stamp(c));
	cr_assert_eq(size_of(c, FILE_INO), 60);
	cache_free(c);
}

Test(cache, revoke_takes_what_it_names)
{
	struct cache *c = make();

	put_attr(c, DIR_INO, 1, ALL, cache_stamp(c));
	put(c, "a", FILE_INO);
	cache_revoke(c, DIR_INO, TOKEN_ATTR);
	cr_assert_eq(size_of(c, DIR_INO), -1);
	cr_assert_eq(get(c, "a"), CACHE_PRESENT);
	cache_revoke(c, DIR_INO, TOKEN_NAMES);
	cr_assert_eq(get(c, "a"), CACHE_UNKNOWN);
	cr_assert_eq(cache_nr_names(c), 0);
	cache_free(c);
}

Test(cache, overtaken_replies_are_not_kept)
{
	struct cache *c = make();
	uint64_t sent = cache_stamp(c);

	cache_revoke(c, FILE_INO, TOKEN_ATTR);
	put_attr(c, FILE_INO, 1, ALL, sent);
	cr_assert_eq(size_of(c, FILE_INO), -1);
	put_attr(c, FILE_INO, 1, ALL, cache_stamp(c));
	cr_assert_eq(size_of(c, FILE_INO), 10);

	sent = cache_stamp(c);
	cache_revoke(c, DIR_INO, TOKEN_NAMES);
	cache_put_name(c, DIR_INO, "a", FILE_INO, S_IFREG, TOKEN_NAMES, sent);
	cr_assert_eq(get(c, "a"), CACHE_UNKNOWN);
	cache_set_complete(c, DIR_INO, sent);
	cr_assert_eq(get(c, "b"), CACHE_UNKNOWN);
	cache_free(c);
}

Test(cache, clear_overtakes_everything)
{
	struct cache *c = make();
	uint64_t sent = cache_stamp(c);

	put_attr(c, FILE_INO, 1, ALL, sent);
	cache_clear(c);
	cr_assert_eq(size_of(c, FILE_INO), -1);
	put_attr(c, FILE_INO, 1, ALL, sent);
	put_attr(c, FILE_INO + 1, 1, ALL, sent);
	cr_assert_eq(size_of(c, FILE_INO), -1);
	cr_assert_eq(size_of(c, FILE_INO + 1), -1);
	cache_free(c);
}

Test(cache, names_present_and_absent)
{
	struct cache *c = make();
	uint64_t ino = 0;

	cr_assert_eq(get(c, "a"), CACHE_UNKNOWN);
	put(c, "a", FILE_INO);
	put(c, "b", 0);
	cr_assert_eq(cache_get_name(c, DIR_INO, "a", &ino), CACHE_PRESENT);
	cr_assert_eq(ino, FILE_INO);
	cr_assert_eq(get(c, "b"), CACHE_ABSENT);
	cr_assert_eq(get(c, "c"), CACHE_UNKNOWN);
	cache_put_name(c, DIR_INO, "d", 5, S_IFREG, TOKEN_ATTR, cache_stamp(c));
	cr_assert_eq(get(c, "d"), CACHE_UNKNOWN, "without the token");
	cache_free(c);
}

Test(cache, own_change_hides_the_name_until_its_reply)
{
	struct cache *c = make();
	uint64_t sent;

	put_attr(c, DIR_INO, 1, ALL, cache_stamp(c));
	put(c, "a", 0);
	sent = cache_stamp(c);
	cache_name_changing(c, DIR_INO, "a");
	cr_assert_eq(get(c, "a"), CACHE_UNKNOWN);
	/* A lookup that was sent before and is answered now saw the directory without it. */
	cache_put_name(c, DIR_INO, "a", 0, 0, TOKEN_NAMES, sent);
	cr_assert_eq(get(c, "a"), CACHE_UNKNOWN);
	changed(c, "a", FILE_INO, ALL, sent);
	cr_assert_eq(get(c, "a"), CACHE_PRESENT);
	cr_assert_eq(size_of(c, DIR_INO), DIR_SIZE, "the directory changed too");
	cache_put_name(c, DIR_INO, "a", 0, 0, TOKEN_NAMES, sent);
	cr_assert_eq(get(c, "a"), CACHE_PRESENT, "older than the change");
	cache_free(c);
}

Test(cache, own_change_brings_the_directory)
{
	struct cache *c = make();
	uint64_t sent;

	changed(c, "a", FILE_INO, ALL, cache_stamp(c));
	cr_assert_eq(get(c, "a"), CACHE_PRESENT, "the token came with it");
	cr_assert_eq(size_of(c, DIR_INO), DIR_SIZE);
	changed(c, "b", FILE_INO, TOKEN_NAMES, cache_stamp(c));
	cr_assert_eq(get(c, "b"), CACHE_PRESENT);
	cr_assert_eq(size_of(c, DIR_INO), -1, "without a token they are not kept, and those known are old");

	sent = cache_stamp(c);
	cache_revoke(c, DIR_INO, TOKEN_ATTR);
	put_attr(c, DIR_INO, 1, TOKEN_ATTR, cache_stamp(c));
	changed(c, "c", FILE_INO, ALL, sent);
	cr_assert_eq(size_of(c, DIR_INO), -1, "overtaken by a revoke: which of the two is newer, nobody knows");
	cache_free(c);
}

Test(cache, rename_in_one_directory)
{
	struct wire_attr dir = { .ino = DIR_INO, .change = DIR_CHANGE, .size = DIR_SIZE };
	struct cache_name names[] = { { .name = "a" }, { "b", FILE_INO, S_IFREG } };
	struct cache *c = make();
	uint64_t sent;

	put(c, "a", FILE_INO);
	sent = cache_stamp(c);
	cache_name_changing(c, DIR_INO, "a");
	cache_name_changing(c, DIR_INO, "b");
	cache_names_changed(c, &dir, ALL, names, 2, sent);
	cr_assert_eq(get(c, "a"), CACHE_ABSENT);
	cr_assert_eq(get(c, "b"), CACHE_PRESENT);
	cr_assert_eq(size_of(c, DIR_INO), DIR_SIZE);
	cache_names_changed(c, &dir, 0, names, 2, cache_stamp(c));
	cr_assert_eq(get(c, "a"), CACHE_UNKNOWN);
	cr_assert_eq(get(c, "b"), CACHE_UNKNOWN);
	cr_assert_eq(size_of(c, DIR_INO), -1);
	cache_free(c);
}

Test(cache, own_change_that_failed)
{
	struct cache *c = make();

	put(c, "a", FILE_INO);
	put(c, "b", FILE_INO);
	cache_set_complete(c, DIR_INO, cache_stamp(c));
	cr_assert_eq(get(c, "z"), CACHE_ABSENT);
	cache_name_changing(c, DIR_INO, "a");
	cache_name_unknown(c, DIR_INO, "a");
	cr_assert_eq(get(c, "a"), CACHE_UNKNOWN);
	cr_assert_eq(get(c, "z"), CACHE_UNKNOWN, "the list has a gap now");
	cr_assert_eq(get(c, "b"), CACHE_PRESENT);
	cache_free(c);
}

Test(cache, own_change_overtaken_by_a_revoke)
{
	struct cache *c = make();
	uint64_t sent;

	put(c, "b", FILE_INO);
	sent = cache_stamp(c);
	cache_name_changing(c, DIR_INO, "a");
	cache_revoke(c, DIR_INO, TOKEN_NAMES);
	changed(c, "a", FILE_INO, ALL, sent);
	cr_assert_eq(get(c, "a"), CACHE_UNKNOWN);
	cache_free(c);
}

struct seen {
	char text[256];
};

static int see(void *ctx, const char *name, uint64_t ino, uint32_t mode)
{
	struct seen *s = ctx;

	(void)mode;
	snprintf(s->text + strlen(s->text), sizeof(s->text) - strlen(s->text), "%s=%d ", name, (int)ino);
	return 0;
}

Test(cache, whole_listings)
{
	struct cache *c = make();
	struct seen s = { "" };
	uint64_t stamp = cache_stamp(c);

	cr_assert_eq(cache_list(c, DIR_INO, see, &s), 0);
	put(c, "a", 1);
	put(c, "b", 2);
	cr_assert_eq(cache_list(c, DIR_INO, see, &s), 0, "perhaps there are more");
	cache_set_complete(c, DIR_INO, stamp);
	cr_assert_eq(cache_list(c, DIR_INO, see, &s), 1);
	cr_assert_str_eq(s.text, "a=1 b=2 ");
	cr_assert_eq(get(c, "c"), CACHE_ABSENT);

	stamp = cache_stamp(c);
	cache_name_changing(c, DIR_INO, "a");
	cr_assert_eq(cache_list(c, DIR_INO, see, &s), 0, "not while one is changing");
	cr_assert_eq(get(c, "a"), CACHE_UNKNOWN);
	changed(c, "a", 0, ALL, stamp);
	s.text[0] = '\0';
	cr_assert_eq(cache_list(c, DIR_INO, see, &s), 1, "own changes keep it whole");
	cr_assert_str_eq(s.text, "b=2 ");
	cache_free(c);
}

Test(cache, empty_directory_is_known_whole)
{
	struct cache *c = make();
	struct seen s = { "" };

	put_attr(c, DIR_INO, 1, ALL, cache_stamp(c));
	cache_set_complete(c, DIR_INO, cache_stamp(c));
	cr_assert_eq(get(c, "x"), CACHE_ABSENT);
	cr_assert_eq(cache_list(c, DIR_INO, see, &s), 1);
	cr_assert_str_eq(s.text, "");
	cache_free(c);
}

Test(cache, pages_stay_while_the_token_does)
{
	struct cache *c = make();
	uint64_t sent;

	cr_assert(!cache_pages_kept(c, FILE_INO));
	put_attr(c, FILE_INO, 1, ALL, cache_stamp(c));
	cr_assert(!cache_pages_kept(c, FILE_INO), "older pages may be about");
	cache_pages_dropped(c, FILE_INO);
	cr_assert(cache_pages_kept(c, FILE_INO));
	cache_pages_filled(c, FILE_INO, ALL, cache_stamp(c));
	cr_assert(cache_pages_kept(c, FILE_INO));
	sent = cache_stamp(c);
	cache_revoke(c, FILE_INO, TOKEN_DATA);
	cr_assert(!cache_pages_kept(c, FILE_INO));

	put_attr(c, FILE_INO, 2, ALL, cache_stamp(c));
	cache_pages_dropped(c, FILE_INO);
	cache_pages_filled(c, FILE_INO, ALL, sent);
	cr_assert(!cache_pages_kept(c, FILE_INO), "the read was overtaken");
	cache_pages_dropped(c, FILE_INO);
	cache_pages_filled(c, FILE_INO, 0, cache_stamp(c));
	cr_assert(!cache_pages_kept(c, FILE_INO), "no token came with it");
	cache_free(c);
}

Test(cache, is_bounded_and_eviction_forgets_no_revoke)
{
	struct cache *c;
	uint64_t sent;
	char name[16];

	cr_assert_eq(cache_new(8, 16, &c), 0);
	sent = cache_stamp(c);
	cache_revoke(c, FILE_INO, TOKEN_ATTR);
	for (uint64_t i = 100; i < 200; i++)
		put_attr(c, i, 1, ALL, cache_stamp(c));
	cr_assert_eq(cache_nr_inodes(c), 8);
	cr_assert_eq(size_of(c, 199), 10);
	cr_assert_eq(size_of(c, 100), -1);
	put_attr(c, FILE_INO, 1, ALL, sent);
	cr_assert_eq(size_of(c, FILE_INO), -1, "still overtaken");

	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		put(c, name, 7);
	}
	cr_assert_leq(cache_nr_names(c), 16);
	cache_free(c);
}

Test(cache, use_keeps)
{
	struct cache *c;

	cr_assert_eq(cache_new(3, 16, &c), 0);
	for (uint64_t i = 1; i <= 3; i++)
		put_attr(c, i, 1, ALL, cache_stamp(c));
	cr_assert_eq(size_of(c, 1), 10);
	put_attr(c, 4, 1, ALL, cache_stamp(c));
	cr_assert_eq(size_of(c, 1), 10, "used lately");
	cr_assert_eq(size_of(c, 2), -1, "the oldest");
	cache_free(c);
}
