/* The S keys: what the store knows about itself. */
#ifndef CFS_CFSD_SYSTEM_H
#define CFS_CFSD_SYSTEM_H

#include <stdbool.h>
#include <stdint.h>

#include "cfsd/batch.h"
#include "cfsd/meta.h"
#include "wire/message.h"

#define SYSTEM_FORMAT "format"	   /* version of the layout */
#define SYSTEM_POSITION "lsn"	   /* the last applied record */
#define SYSTEM_NEXT_INO "next_ino" /* counters */
#define SYSTEM_LOSS "loss"	   /* the record that says that acknowledged changes before it may be missing */

struct system_counters {
	uint64_t next_ino;  /* never goes back: numbers are not reused */
	uint64_t nr_inodes; /* existing ones, orphans included */
};

struct system_state {
	bool formatted;
	bool older; /* made by an older version, whose layout is part of ours: to be marked by system_put_format() */
	struct wire_logpos pos;
	struct system_counters counters;
	struct wire_logpos loss; /* zeros: nothing was ever lost */
};

/* An empty store gives zeros. -EPROTONOSUPPORT: a newer version's, -EBADMSG: torn. */
int system_load(struct meta *m, struct system_state *ret_state);
int system_put_format(struct batch *b);
int system_put_position(struct batch *b, struct wire_logpos pos);
int system_put_counters(struct batch *b, const struct system_counters *c);
int system_put_loss(struct batch *b, struct wire_logpos pos);
int system_loss_decode(const void *val, size_t vlen, struct wire_logpos *ret_pos);
int system_counters_decode(const void *val, size_t vlen, struct system_counters *ret_c);

#endif
