/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "procfs-cluster/tree.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "procfs-cluster/show.h"

#define INO_BIT (UINT64_C(1) << 63)
#define PLAIN_BIT (UINT64_C(1) << 31)
#define show_none NULL

static const struct tree_entry entries[] = {
#define TREE(id_, parent_, name_, mode_, maker, arg_) \
	[TREE_##id_] = { TREE_##id_, TREE_##parent_, name_, mode_, show_##maker, arg_ },
#include "procfs-cluster/tree.def"
#undef TREE
};

uint64_t tree_ino(const struct tree_node *n)
{
	return INO_BIT | (uint64_t)(n->cpid & 0x7fffffff) << 32 | (n->plain ? PLAIN_BIT : 0) | (uint64_t)n->id << 24 |
	       (n->number & TREE_NUMBER_MAX);
}

int tree_node_of(uint64_t ino, struct tree_node *ret)
{
	unsigned id = ino >> 24 & 0x7f;

	if (!(ino & INO_BIT) || id >= TREE_NR)
		return -ESTALE;
	*ret = (struct tree_node){
		.id = id,
		.plain = ino & PLAIN_BIT,
		.cpid = ino >> 32 & 0x7fffffff,
		.number = ino & TREE_NUMBER_MAX,
	};
	return 0;
}

const struct tree_entry *tree_entry(enum tree_id id)
{
	return &entries[id];
}

static bool is_fixed(const struct tree_entry *e)
{
	return e->name[0] && e->name[0] != '#' && e->name[0] != '@';
}

const struct tree_entry *tree_child(enum tree_id parent, const char *name)
{
	for (size_t i = 0; i < TREE_NR; i++)
		if (entries[i].parent == parent && is_fixed(&entries[i]) && !strcmp(entries[i].name, name))
			return &entries[i];
	return NULL;
}

const struct tree_entry *tree_child_of_kind(enum tree_id parent, char kind)
{
	for (size_t i = 0; i < TREE_NR; i++)
		if (entries[i].parent == parent && entries[i].name[0] == kind)
			return &entries[i];
	return NULL;
}

const struct tree_entry *tree_child_at(enum tree_id parent, size_t index)
{
	for (size_t i = 0; i < TREE_NR; i++)
		if (entries[i].parent == parent && is_fixed(&entries[i]) && !index--)
			return &entries[i];
	return NULL;
}

bool tree_is_process(enum tree_id id)
{
	while (id != TREE_ROOT && id != TREE_PID)
		id = entries[id].parent;
	return id == TREE_PID;
}

int tree_number(const char *name, uint32_t *ret)
{
	uint64_t v = 0;
	const char *p = name;

	for (; *p >= '0' && *p <= '9' && v <= UINT32_MAX; p++)
		v = v * 10 + (uint64_t)(*p - '0');
	if (p == name || *p || v > UINT32_MAX || (*name == '0' && name[1]))
		return -ENOENT;
	*ret = (uint32_t)v;
	return 0;
}

void tree_path(enum tree_id id, char *buf, size_t size)
{
	const struct tree_entry *e = &entries[id], *parent = &entries[e->parent];

	if (parent->id == TREE_ROOT)
		snprintf(buf, size, "%s", e->name);
	else if (parent->parent == TREE_ROOT)
		snprintf(buf, size, "%s/%s", parent->name, e->name);
	else
		snprintf(buf, size, "%s/%s/%s", entries[parent->parent].name, parent->name, e->name);
}
