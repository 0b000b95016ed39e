/*
 * Who may run: the pure core of a move. Two state machines, one at the source and one at the target, and the rule they
 * keep together over lost messages and crashes of either daemon: exactly one of original and copy runs, or will.
 *
 * It is two-phase commit with the source as coordinator and presumed abort: the source's durable record is the
 * decision, no record means no. What must never happen is that the original can run after the record was written:
 * therefore ACT_HOLD (the cgroup freezer, which outlives CRIU and us) comes before ACT_RECORD.
 *
 * states.def is the whole of it; the shells (source.c, target.c) turn actions into work and its results into events.
 */
#ifndef CFS_MIGRATE_MOVE_H
#define CFS_MIGRATE_MOVE_H

#include <stdint.h>

/* Numbers of 0x0614 move_query: wire format. */
enum move_verdict { MOVE_UNDECIDED = 0, MOVE_COMMIT = 1, MOVE_ABORT = 2 };

enum source_state {
	SOURCE_IDLE,
	SOURCE_PREPARING,
	SOURCE_DUMPING,
	SOURCE_SENDING,
	SOURCE_DECIDING,
	SOURCE_COMMITTED,
	SOURCE_ABORTING,
	SOURCE_DONE,   /* it runs at the target */
	SOURCE_FAILED, /* it runs here, as before */
};

enum source_event {
	SOURCE_START,
	SOURCE_ACCEPTED, /* the target has a place for it */
	SOURCE_REFUSED,
	SOURCE_DUMPED,	/* the tree is stopped, the images are complete */
	SOURCE_DUMP_FAILED, /* or CRIU let go of it */
	SOURCE_VOTE_YES,
	SOURCE_VOTE_NO,
	SOURCE_RECORDED, /* the decision is durable */
	SOURCE_RECORD_FAILED, /* it is not, and never will be */
	SOURCE_CONFIRMED, /* the target runs it */
	SOURCE_LOST,	  /* the target does not know the move any more */
	SOURCE_THAWED,
	SOURCE_TICK,
	SOURCE_PEER_LOST,
	SOURCE_PEER_BACK,
	SOURCE_RESTART_DECIDED,
	SOURCE_RESTART_UNDECIDED,
};

enum target_state { TARGET_NONE, TARGET_RECEIVING, TARGET_RESTORING, TARGET_HELD, TARGET_RESUMING, TARGET_RUNNING, TARGET_GONE };

enum target_event {
	TARGET_BEGIN,
	TARGET_RESTORE, /* all images are here */
	TARGET_RESTORED, /* and held */
	TARGET_RESTORE_FAILED,
	TARGET_COMMIT,
	TARGET_ABORT,
	TARGET_RESUMED,
	TARGET_TICK,
	TARGET_PEER_LOST,
	TARGET_RESTART_HELD,
	TARGET_RESTART_RUNNING,
	TARGET_RESTART_PARTIAL,
};

enum move_action {
	/* source */
	ACT_BEGIN = 1 << 0,  /* ask the target for a place */
	ACT_DUMP = 1 << 1,   /* own cgroup, CRIU dump up to its post-dump hook */
	ACT_SEND = 1 << 2,   /* images, then ask for the vote */
	ACT_HOLD = 1 << 3,   /* freeze the cgroup: from here on the original cannot run, whoever dies */
	ACT_RECORD = 1 << 4, /* make the decision durable */
	ACT_TELL = 1 << 5,   /* the decision, to the target; it may resume while the original still waits for its end */
	ACT_KILL = 1 << 6,   /* the original */
	ACT_THAW = 1 << 7,   /* let CRIU put it back; unfreeze; its old cgroup */
	ACT_FORGET = 1 << 8, /* remove the record */
	ACT_REPLY = 1 << 9,  /* tell who asked for the move */
	/* target */
	ACT_OPEN = 1 << 10,
	ACT_ACCEPT = 1 << 11,
	ACT_RESTORE = 1 << 12, /* up to CRIU's pre-resume hook */
	ACT_VOTE_YES = 1 << 13,
	ACT_DISCARD = 1 << 14, /* kill the copy */
	ACT_VOTE_NO = 1 << 15,
	ACT_ASK = 1 << 16,     /* the source for its verdict */
	ACT_RESUME = 1 << 17,
	ACT_CONFIRM = 1 << 18, /* the decision was carried out */
	ACT_DENY = 1 << 19,    /* there is nothing to resume */
};

/* Feeds an event; changes *state and returns the actions (bits), 0 when the event means nothing in this state. */
uint32_t source_step(enum source_state *state, enum source_event event);
uint32_t target_step(enum target_state *state, enum target_event event);
/* What a source in STATE answers to a target in doubt. A source that knows nothing of the move answers MOVE_ABORT. */
enum move_verdict source_verdict(enum source_state state);
const char *source_state_name(enum source_state state);
const char *target_state_name(enum target_state state);

#endif
