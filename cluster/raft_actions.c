/* The list of actions that a step of the core fills. Pure memory. */
#include <stdlib.h>
#include <string.h>

#include "cluster/raft_internal.h"

void raft_actions_init(struct raft_actions *a)
{
	*a = (struct raft_actions){ 0 };
}

void raft_actions_release(struct raft_actions *a)
{
	for (size_t i = 0; i < a->nr; i++)
		free(a->v[i].data);
	free(a->v);
	raft_actions_init(a);
}

struct raft_action *raft_action_add(struct raft_actions *a, enum raft_action_kind kind)
{
	if (a->nr == a->cap) {
		size_t cap = a->cap ? 2 * a->cap : 8;
		struct raft_action *v = realloc(a->v, cap * sizeof(*v));

		if (!v) {
			a->oom = true;
			return NULL;
		}
		a->v = v;
		a->cap = cap;
	}
	a->v[a->nr] = (struct raft_action){ .kind = kind };
	return &a->v[a->nr++];
}

struct raft_action *raft_action_add_data(struct raft_actions *a, enum raft_action_kind kind, const void *data, size_t len)
{
	void *copy = malloc(len ? len : 1);
	struct raft_action *act = copy ? raft_action_add(a, kind) : NULL;

	if (!act) {
		free(copy);
		a->oom = true;
		return NULL;
	}
	if (len)
		memcpy(copy, data, len);
	act->data = copy;
	act->len = len;
	return act;
}
