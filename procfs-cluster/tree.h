/*
 * The tree's table and its inode numbers. Pure: an inode number says everything about a file, so that nothing has to be
 * remembered between requests:
 *
 *   bit 63     SUBTREE_INO_BIT
 *   62..32     cluster pid, or node id below nodes/
 *   31         reached by a plain pid: a directory of its own, for the kernel gives a directory one name only
 *   30..24     row of tree.def
 *   23..0      descriptor, or the pid part of a thread's cluster pid
 */
#ifndef CFS_PROCFS_TREE_H
#define CFS_PROCFS_TREE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "procfs-cluster/files.h"

/* arguments of show_text() and show_control() */
enum show_text_arg {
	SHOW_TEXT_MOUNTS,
	SHOW_TEXT_PID_MAX,
	SHOW_TEXT_NODE_STATE,
	SHOW_TEXT_CLUSTER_NAME,
	SHOW_TEXT_MEMBERS,
	SHOW_TEXT_NODENUM,
};

enum show_control_arg { SHOW_CONTROL_CANTMOVE, SHOW_CONTROL_HOME, SHOW_CONTROL_NMIGS };

enum tree_id {
#define TREE(id, parent, name, mode, show, arg) TREE_##id,
#include "procfs-cluster/tree.def"
#undef TREE
	TREE_NR
};

_Static_assert(TREE_NR <= 128, "a row has 7 bits in an inode number");

#define TREE_NUMBER_MAX ((1u << 24) - 1)

struct show;
typedef void (*show_fn)(struct show *s);

struct tree_entry {
	enum tree_id id, parent;
	const char *name;
	mode_t mode;
	show_fn show; /* NULL: a directory of fixed rows */
	unsigned arg;
};

/* What an inode number says. */
struct tree_node {
	enum tree_id id;
	bool plain;	 /* reached by a plain pid */
	uint32_t cpid;	 /* or node id; 0 above processes and nodes */
	uint32_t number; /* descriptor or thread */
};

uint64_t tree_ino(const struct tree_node *n);
/* 0, or -ESTALE: not one of ours. */
int tree_node_of(uint64_t ino, struct tree_node *ret);

const struct tree_entry *tree_entry(enum tree_id id);
/* The row of a fixed name in a directory, NULL when there is none. */
const struct tree_entry *tree_child(enum tree_id parent, const char *name);
/* The row that takes numbers ("#") or node names ("@") in a directory, NULL when there is none. */
const struct tree_entry *tree_child_of_kind(enum tree_id parent, char kind);
/* Fixed names of a directory, by index; NULL after the last. */
const struct tree_entry *tree_child_at(enum tree_id parent, size_t index);
/* True for what belongs to a process. */
bool tree_is_process(enum tree_id id);
/* A decimal number as names have it: no sign, no leading zero. -ENOENT otherwise. */
int tree_number(const char *name, uint32_t *ret);
/* The path of a file below the tree's root, from the table's fixed names. */
void tree_path(enum tree_id id, char *buf, size_t size);

#endif
