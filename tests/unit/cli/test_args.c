/* Addresses and names as people type them. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "cli/args.h"

static void good(const char *text, const char *host, uint16_t port)
{
	char h[64];
	uint16_t p = 0;

	cr_assert_eq(cli_split_address(text, h, sizeof(h), &p), 0, "%s", text);
	cr_assert_str_eq(h, host);
	cr_assert_eq(p, port, "%s: %u", text, p);
}

Test(args, addresses)
{
	good("node1", "node1", 7480);
	good("10.0.0.1:99", "10.0.0.1", 99);
	good("10.0.0.1:65535", "10.0.0.1", 65535);
	good("fd00::1", "fd00::1", 7480);
	good("[fd00::1]", "fd00::1", 7480);
	good("[fd00::1]:99", "fd00::1", 99);
}

Test(args, what_is_no_address)
{
	static const char *const bad[] = { "", ":99", "a:", "a:0", "a:65536", "a:9x", "a: 9", "a:-1", "[fd00::1", "[]:9", "[fd00::1]x" };
	char h[16];
	uint16_t p;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_assert_eq(cli_split_address(bad[i], h, sizeof(h), &p), -EINVAL, "%s", bad[i]);
	cr_assert_eq(cli_split_address("a-name-that-is-longer-than-the-buffer", h, sizeof(h), &p), -EINVAL);
}

Test(args, identity)
{
	struct node_identity id;

	cr_assert_eq(cli_identity("init", "n1", "127.0.0.1:5", &id), 0);
	cr_assert_str_eq(id.name, "n1");
	cr_assert_str_eq(id.host, "127.0.0.1");
	cr_assert_eq(id.port, 5);
	cr_assert_eq(cli_identity("init", "a b", "127.0.0.1", &id), -EINVAL);
	cr_assert_eq(cli_identity("init", ".", "127.0.0.1", &id), -EINVAL);
	cr_assert_eq(cli_identity("init", "n1", "127.0.0.1:x", &id), -EINVAL);
	cr_assert_eq(cli_identity("init", NULL, "127.0.0.1", &id), 0);
	cr_assert(id.name[0], "the host's name");
}
