#include "migrate/move.h"

#include <stddef.h>

struct row {
	int state, event, next;
	uint32_t actions;
};

static const struct row source_rows[] = {
#define SOURCE(state, event, next, actions) { SOURCE_##state, SOURCE_##event, SOURCE_##next, actions },
#define TARGET(state, event, next, actions)
#include "migrate/states.def"
#undef SOURCE
#undef TARGET
};

static const struct row target_rows[] = {
#define SOURCE(state, event, next, actions)
#define TARGET(state, event, next, actions) { TARGET_##state, TARGET_##event, TARGET_##next, actions },
#include "migrate/states.def"
#undef SOURCE
#undef TARGET
};

static const struct row *find(const struct row *rows, size_t n, int state, int event)
{
	for (size_t i = 0; i < n; i++)
		if (rows[i].state == state && rows[i].event == event)
			return &rows[i];
	return NULL;
}

uint32_t source_step(enum source_state *state, enum source_event event)
{
	const struct row *r = find(source_rows, sizeof(source_rows) / sizeof(source_rows[0]), (int)*state, (int)event);

	if (!r)
		return 0;
	*state = (enum source_state)r->next;
	return r->actions;
}

uint32_t target_step(enum target_state *state, enum target_event event)
{
	const struct row *r = find(target_rows, sizeof(target_rows) / sizeof(target_rows[0]), (int)*state, (int)event);

	if (!r)
		return 0;
	*state = (enum target_state)r->next;
	return r->actions;
}

enum move_verdict source_verdict(enum source_state state)
{
	switch (state) {
	case SOURCE_COMMITTED:
	case SOURCE_DONE:
		return MOVE_COMMIT;
	case SOURCE_ABORTING:
	case SOURCE_FAILED:
		return MOVE_ABORT;
	case SOURCE_IDLE:
	case SOURCE_PREPARING:
	case SOURCE_DUMPING:
	case SOURCE_SENDING:
	case SOURCE_DECIDING:
		break;
	}
	return MOVE_UNDECIDED;
}

const char *source_state_name(enum source_state state)
{
	static const char *const names[] = { "idle", "preparing", "dumping", "sending", "deciding", "committed", "aborting", "done",
					     "failed" };

	return names[state];
}

const char *target_state_name(enum target_state state)
{
	static const char *const names[] = { "none", "receiving", "restoring", "held", "resuming", "running", "gone" };

	return names[state];
}
