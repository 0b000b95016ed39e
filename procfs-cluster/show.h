/*
 * Making the content of files. A show function fills `out` (of a link: its text; of a directory: names, each ended by
 * NUL) and calls show_end() exactly once, at once or when other nodes have answered.
 */
#ifndef CFS_PROCFS_SHOW_H
#define CFS_PROCFS_SHOW_H

#include "procfs-cluster/locate.h"
#include "procfs-cluster/scans.h"
#include "procfs-cluster/tree.h"
#include "wire/message.h"

/* Everything of one mount's /cluster/proc. */
struct procfs {
	const struct subtree_host *host;
	struct remote *remote;
	struct nodes *nodes;
	struct locator *locator;
	struct scans *scans;
	int proc_fd; /* the reader's node */
};

struct show {
	struct procfs *fs;
	struct tree_node node;
	const struct tree_entry *entry;
	uint32_t uid, gid, caller; /* who reads: user, group, thread */
	struct wire_writer out;
	void (*done)(void *ctx, int status);
	void *ctx;
	/* of the show functions */
	struct ident id;
	bool located_again;
	union {
		struct msg_proc_read_req read;
		struct msg_proc_local_req local;
	} req;
	char path[64];
};

/* Fills FS, NODE, UID, GID, CALLER and what is done at the end, then starts. S belongs to the caller and lives until DONE;
   show_release() frees the content. */
void show_start(struct show *s);
void show_release(struct show *s);
void show_end(struct show *s, int status);

/* The name of a node, or its number when the configuration has none. */
const char *show_node_name(const struct procfs *fs, uint32_t node, char buf[16]);

void show_process(struct show *s);
void show_below(struct show *s);
void show_thread(struct show *s);
void show_where(struct show *s);
void show_goto(struct show *s);
void show_control(struct show *s);
void show_self(struct show *s);
void show_joined(struct show *s);
void show_node_file(struct show *s);
void show_local(struct show *s);
void show_text(struct show *s);

#endif
