/*
 * Replication of one filesystem on one node: primary-backup with the configuration in the quorum (PacificA, Lin et al.
 * 2008). Pure core: events in, actions out; no clock, socket or store. The shell is repl_io.c + service.c; the
 * simulator drives the same core.
 *
 * Rules it keeps:
 *  - A record is committed when every recorded in-sync member has it. Committed is what replies wait for.
 *  - A member that does not answer is dropped by compare-and-swap first; only the new configuration lets commits go on.
 *  - A member that is to be added is waited for like an in-sync one from before the compare-and-swap is proposed until
 *    its outcome is known, so the recorded set never names a member that lacks a committed record; and it makes what it
 *    has durable before, so that what was synced is on every disk of the set.
 *  - The log of the recorded server is the truth. A member whose position is not in it copies everything anew, but
 *    starts only when the configuration no longer counts it as in sync.
 *  - What comes from a lower epoch of another server is refused, and who is refused by a higher epoch fences itself
 *    until it has that configuration.
 *  - A copy that lost writes (power) is not served from, but for one case: it is the recorded server's and the only one in
 *    sync. Then it is what there is (cluster/lease.h says when one becomes the only one); RECOVER makes it fit first. That
 *    the record is the newest is known by the lease.
 *
 * Order of a step: the shell does what the event reports first (MADE: applied and appended to the log; RECORD: only
 * checked, the APPLY action applies it), then runs the actions in the order given. Actions may not be reordered.
 */
#ifndef CFS_CFSD_REPL_H
#define CFS_CFSD_REPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cfsd/repl_log.h"
#include "cluster/config.h"
#include "cluster/lease.h"

enum repl_role {
	REPL_NONE,    /* not a member */
	REPL_OUT,     /* member, not in sync: being brought up */
	REPL_STANDBY, /* in sync */
	REPL_SERVER,  /* serving */
	REPL_FENCED,  /* recorded server, but may not serve: no lease, refused by a higher epoch, or store broken */
};

enum repl_event_type {
	REPL_EV_TICK,	/* only time */
	REPL_EV_CONFIG, /* fs: the configuration's record of this filesystem (older ones are ignored) */
	REPL_EV_LEASE,	/* valid: may this node serve the current epoch? */
	REPL_EV_BROKEN, /* the store failed: it is not applied to any more */
	REPL_EV_RECOVERED, /* the RECOVER asked for at epoch is done: the store is at pos; or has failed: status */
	/* at the server */
	REPL_EV_MADE,	 /* pos: a change applied to the own store and appended to the log */
	REPL_EV_ATTACH,	 /* node asks for records: epoch, pos, flags */
	REPL_EV_ACK,	 /* node has everything up to pos */
	REPL_EV_LOST,	 /* node: its connection is gone */
	REPL_EV_REFUSED, /* node knows a higher epoch */
	REPL_EV_SYNCED,	 /* node answered a SYNC: status */
	REPL_EV_CHANGED, /* status (of cluster_done) of the change that expected epoch */
	/* at a member */
	REPL_EV_ATTACHED, /* node answered: status; mode; pos (COPY: the records after pos follow) */
	REPL_EV_DETACHED, /* node: the connection to it is gone, or could not be made */
	REPL_EV_RECORD,	  /* from node: epoch (the sender's), prev, pos, committed */
	REPL_EV_COPIED,	  /* the copy is complete and everything spooled is applied: the store is at pos */
};

/* ATTACH flags; wire format. */
enum {
	REPL_ATTACH_DIRTY = 1 << 0, /* the data of the last record may be torn (crash) */
	REPL_ATTACH_LOST = 1 << 1,  /* the store is empty, half copied or lost writes: only a copy will do */
	REPL_ATTACH_SURVIVED = 1 << 2, /* with LOST: it was whole until it lost writes; what was synced is there */
};
/* ATTACHED mode; wire format. */
enum repl_mode { REPL_MODE_TAIL = 0, REPL_MODE_COPY = 1 };

struct repl_event {
	enum repl_event_type type;
	uint64_t now_ms; /* monotonic; in every event */
	const struct config_fs *fs;
	uint32_t node;
	uint64_t epoch;
	struct wire_logpos prev, pos;
	uint64_t committed;
	uint32_t flags; /* REPL_ATTACH_* */
	enum repl_mode mode;
	int status;
	bool valid;
};

enum repl_action_type {
	REPL_ACT_START,	 /* serve at epoch; fresh: nothing volatile (sessions, tokens) is left from before */
	REPL_ACT_STOP,	 /* serve no more: what is held is refused with -EREMCHG */
	REPL_ACT_COMMIT, /* everything up to pos.lsn is committed: replies waiting for it go out */
	REPL_ACT_CHANGE, /* compare-and-swap: epoch is what is expected; server, in_sync */
	REPL_ACT_SEND,	 /* to node: the record at pos */
	REPL_ACT_TAIL,	 /* to node: every record after pos.lsn that the log holds */
	REPL_ACT_ACCEPT, /* answer node's attach: mode, pos, epoch */
	REPL_ACT_REFUSE, /* answer node's attach (status < 0), or tell it of a higher epoch (status 0); epoch */
	REPL_ACT_DROP,	 /* close node's connection to us */
	REPL_ACT_SYNC,	 /* have node make all it has durable, then SYNCED; it has pos */
	REPL_ACT_RECOVER, /* at epoch: make the store fit to be served from after lost writes, then RECOVERED */
	REPL_ACT_ATTACH, /* connect to node and ask for what follows pos: flags, epoch */
	REPL_ACT_DETACH, /* close our connection to node */
	REPL_ACT_APPLY,	 /* the record of this event: store_apply() and append to the log; on failure BROKEN, and stop here */
	REPL_ACT_REDO,	 /* the record of this event is the last one applied: apply its data once more */
	REPL_ACT_SPOOL,	 /* keep the record of this event until the copy is complete */
	REPL_ACT_ACK,	 /* to node: we have everything up to pos */
	REPL_ACT_COPY,	 /* mark the store half copied; copy everything from node; the records after pos are spooled */
	REPL_ACT_ABORT,	 /* stop copying; the store stays marked */
};

struct repl_action {
	enum repl_action_type type;
	uint32_t node;
	uint64_t epoch;
	struct wire_logpos pos;
	int status;
	uint32_t flags;
	enum repl_mode mode;
	bool fresh;
	uint32_t server;
	uint32_t in_sync[CONFIG_MEMBERS_MAX];
	size_t nr_in_sync;
};

#define REPL_ACTIONS_MAX 64
struct repl_actions {
	struct repl_action v[REPL_ACTIONS_MAX];
	size_t n;
};

struct repl_conf {
	uint32_t self;	     /* node id */
	uint32_t ack_ms;     /* 500: an in-sync member that has not acknowledged for so long is dropped */
	uint32_t attach_ms;  /* 700: what a new server gives in-sync members to come */
	uint32_t retry_ms;   /* 50: between attempts to attach, or to change the configuration */
	uint32_t join_lag;   /* 256: a follower this many records behind is waited for, to be added */
	bool broken_ack_early; /* simulator only: commit without asking the standbys */
	bool broken_join_unsynced; /* simulator only: a member need not make its copy durable to be added */
	bool broken_trust_lost; /* simulator only: a copy that lost writes is taken for whole */
};

struct repl;

/* LOG is borrowed and ends at the store's position. FLAGS: REPL_ATTACH_* as found at start. */
int repl_new(const struct repl_conf *conf, const struct repl_log *log, uint32_t flags, struct repl **ret_r);
void repl_free(struct repl *r);
/* Actions are written over whatever was in OUT. */
void repl_step(struct repl *r, const struct repl_event *ev, struct repl_actions *out);

enum repl_role repl_role(const struct repl *r);
const char *repl_role_name(enum repl_role role);
/* Of the newest configuration seen. */
uint64_t repl_epoch(const struct repl *r);
const struct config_fs *repl_config(const struct repl *r);
struct wire_logpos repl_position(const struct repl *r);
uint64_t repl_committed(const struct repl *r);
/* What this copy is worth, as the leader is to be told. */
enum lease_copy repl_copy(const struct repl *r);
/* Is there an in-sync member that could serve instead? */
bool repl_can_hand_over(const struct repl *r);
/* Must a commit wait for NODE (in sync, or about to be)? For fsync and space checks. */
bool repl_waits_for(const struct repl *r, uint32_t node);

#endif
