/*
 * Messages of the consensus core, given to a server that has a log and a snapshot: the first byte says from whom. It may
 * step down and believe what a peer says, but neither crash nor apply what is not there.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/raft_core.h"
#include "tests/lib/fuzz.h"

static void step(struct raft_core *rc, struct raft_core_event ev)
{
	struct raft_actions a;

	raft_actions_init(&a);
	raft_core_step(rc, &ev, &a, NULL, NULL);
	for (size_t i = 0; i < a.nr; i++)
		if (a.v[i].kind == RAFT_ACT_SEND)
			assert(a.v[i].len > 0);
	raft_actions_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const uint32_t ids[] = { 1, 2, 3 };
	struct raft_core_entry e[3];
	struct raft_core_disk disk = { .term = 2, .start_index = 1, .entries = e, .nr_entries = 3 };
	struct raft_actions a;
	struct raft_core *rc;
	void *members;
	size_t members_len;

	if (len < 1)
		return 0;
	assert(!raft_core_bootstrap(ids, 3, &members, &members_len));
	e[0] = (struct raft_core_entry){ 1, RAFT_CORE_CHANGE, members, (uint32_t)members_len };
	e[1] = (struct raft_core_entry){ 1, RAFT_CORE_COMMAND, "one", 3 };
	e[2] = (struct raft_core_entry){ 2, RAFT_CORE_COMMAND, "two", 3 };
	raft_actions_init(&a);
	assert(!raft_core_new(&(struct raft_core_conf){ .id = 1, .election_ms = 200, .heartbeat_ms = 40 }, 1000, &disk, &a, &rc));
	raft_actions_release(&a);
	step(rc, (struct raft_core_event){ .kind = RAFT_EV_RECEIVE, .now_ms = 1300, .from = data[0] % 2 + 2, .data = data + 1, .len = len - 1 });
	assert(raft_core_applied(rc) <= 3);
	step(rc, (struct raft_core_event){ .kind = RAFT_EV_TIMEOUT, .now_ms = 3000 });
	raft_core_free(rc);
	free(members);
	return 0;
}
