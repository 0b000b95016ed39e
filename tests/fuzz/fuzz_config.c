/*
 * The configuration and its commands, from disk, snapshots and other nodes. Whatever is accepted is encoded to the same
 * bytes; a command that is refused changes nothing; after any command the configuration can be encoded and decoded.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/config.h"
#include "cluster/token.h"
#include "tests/lib/fuzz.h"

static void check_bytes(const struct config *c)
{
	static struct config again;
	void *a, *b;
	size_t alen, blen;

	assert(!config_encode(c, &a, &alen));
	assert(!config_decode(a, alen, &again));
	assert(!config_encode(&again, &b, &blen));
	assert(alen == blen && !memcmp(a, b, alen));
	free(a);
	free(b);
}

/* Pieces of the input as commands to a small cluster: u8 length, bytes. */
static void run_commands(const uint8_t *data, size_t len)
{
	static struct config c, before;

	c = (struct config){ .cluster_id = 1, .next_node_id = 3, .nr_nodes = 2, .nr_fs = 1 };
	c.nodes[0] = (struct config_node){ 1, "a", "h", 1, NODE_UP, true };
	c.nodes[1] = (struct config_node){ 2, "b", "h", 2, NODE_UP, false };
	c.fs[0] = (struct config_fs){ 1, "root", "/", 1, 1, { 1, 2 }, 2, { 1 }, 1 };
	for (uint64_t index = 1; len > 0; index++) {
		size_t n = data[0] < len - 1 ? data[0] : len - 1;

		before = c;
		if (config_apply(&c, data + 1, n, index) < 0)
			assert(!memcmp(&before, &c, sizeof(c)));
		else
			assert(c.version == index);
		check_bytes(&c);
		assert(c.fs[0].epoch >= before.fs[0].epoch);
		data += 1 + n;
		len -= 1 + n;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct config c;
	struct join_token token;
	char *text;

	if (!config_decode(data, len, &c))
		check_bytes(&c);
	run_commands(data, len);
	text = strndup((const char *)data, len);
	assert(text);
	if (!join_token_decode(text, &token)) {
		char *again = join_token_encode(&token);

		assert(again && !strcmp(again, text));
		free(again);
	}
	free(text);
	return 0;
}
