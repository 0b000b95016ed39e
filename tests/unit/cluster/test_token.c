/* Join tokens as text. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/token.h"

static struct join_token sample(size_t addresses)
{
	struct join_token t = { .nr_addresses = addresses };

	memset(t.secret, 0xa5, sizeof(t.secret));
	memset(t.ca_sha256, 0xff, sizeof(t.ca_sha256));
	for (size_t i = 0; i < addresses; i++) {
		strcpy(t.address[i].host, "2001:db8::1");
		t.address[i].port = (uint16_t)(7480 + i);
	}
	return t;
}

Test(token, round_trip_whatever_the_padding)
{
	for (size_t n = 0; n <= TOKEN_ADDRESSES_MAX; n++) {
		struct join_token t = sample(n), got;
		char *text = join_token_encode(&t);

		cr_assert_eq(strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), strlen(text));
		cr_assert_eq(join_token_decode(text, &got), 0);
		cr_assert_eq(got.nr_addresses, n);
		cr_assert_eq(memcmp(got.secret, t.secret, sizeof(t.secret)), 0);
		cr_assert_eq(memcmp(got.ca_sha256, t.ca_sha256, sizeof(t.ca_sha256)), 0);
		for (size_t i = 0; i < n; i++) {
			cr_assert_str_eq(got.address[i].host, "2001:db8::1");
			cr_assert_eq(got.address[i].port, 7480 + i);
		}
		free(text);
	}
}

Test(token, every_cut_and_every_changed_letter_is_noticed)
{
	struct join_token t = sample(2), got = { .nr_addresses = 99 };
	char *text = join_token_encode(&t);
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		text[i] = 0;
		cr_assert_eq(join_token_decode(text, &got), -EBADMSG);
		text[i] = c == 'A' ? 'B' : 'A';
		cr_assert_eq(join_token_decode(text, &got), -EBADMSG, "letter %zu", i);
		text[i] = '=';
		cr_assert_eq(join_token_decode(text, &got), -EBADMSG);
		text[i] = c;
	}
	cr_assert_eq(got.nr_addresses, 99, "written only on success");
	free(text);
}

Test(token, what_is_none)
{
	struct join_token got;
	char longer[4096];

	memset(longer, 'A', sizeof(longer));
	memcpy(longer, "cfs1-", 5);
	longer[sizeof(longer) - 1] = 0;
	cr_assert_eq(join_token_decode("", &got), -EBADMSG);
	cr_assert_eq(join_token_decode("nonsense", &got), -EBADMSG);
	cr_assert_eq(join_token_decode("cfs1-", &got), -EBADMSG);
	cr_assert_eq(join_token_decode(longer, &got), -EBADMSG);
	cr_assert_eq(join_token_decode("cfs2-AAAA", &got), -EPROTONOSUPPORT);
}
