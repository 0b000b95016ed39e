/* Writes to control files: from text to a request of the node where the process runs. */
#ifndef CFS_PROCFS_CONTROL_H
#define CFS_PROCFS_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#include "cluster/config.h"
#include "procfs-cluster/show.h"

struct control;

/* STATUS: 0 or the error of the write. */
typedef void (*control_done)(void *ctx, int status);

/*
 * What a write to goto asks for: the name of a node, its number, or "home"; blanks around it do not count. Fills
 * ret_target with the node's name, or "home". -EINVAL: no such node; -EHOSTUNREACH: it is not up. Pure.
 */
int control_parse_goto(const struct config *c, const char *buf, size_t len, char ret_target[CONFIG_NAME_MAX]);

/* Writes BUF to the file NODE for UID. DONE, perhaps before return: when what was asked for is done. ret_c (written before DONE): to be given
   to control_abandon() as long as DONE was not called; NULL when it was refused at once. */
void control_write(struct procfs *fs, const struct tree_node *node, uint32_t uid, const char *buf, size_t len,
		   control_done done, void *ctx, struct control **ret_c);
/* The writer does not wait any more: DONE is not called. What is under way goes on. */
void control_abandon(struct control *c);

#endif
