/*
 * How the mount stays in touch with the server of one filesystem: pure core. No clock, socket or memory allocation;
 * client.c drives it, and so can a simulator.
 *
 * Life of an operation: submitted -> queued -> sent -> (answered | bounced -> queued again ...) -> finished.
 * An operation that was bounced (the connection went down, or the server is not the server any more) goes out again
 * with the slot and sequence number it was first sent with, so that a server which has executed it answers from its
 * reply record. It comes back into the queue only by its own REPLY event: the transport ends every call exactly once,
 * so an operation is never under way twice from here.
 *
 * States:  IDLE (no server known) -> CONNECTING -> OPENING (session) -> READY; WAIT is the pause before the next try.
 */
#ifndef CFS_FUSE_CLIENT_CORE_H
#define CFS_FUSE_CLIENT_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CORE_SLOTS_MAX 256u
#define CORE_BACKOFF_MIN_MS 20u
#define CORE_BACKOFF_MAX_MS 200u
/* A server that owes an answer and has sent nothing for this long is asked whether it is there. */
#define CORE_PROBE_AFTER_MS 500u
/* What was cached under tokens may be used this long after the sending of the newest answered request. Less than the
   100 ms between the end of a server's lease and the promotion of another (margin_ms of cluster/lease.h): a mount that
   is cut off together with its server may have been answered right before that end. */
#define CORE_FRESH_MS 80u

enum core_state { CORE_IDLE, CORE_WAIT, CORE_CONNECTING, CORE_OPENING, CORE_READY };

enum core_op_state { CORE_OP_NEW, CORE_OP_QUEUED, CORE_OP_SENT, CORE_OP_FINISHED };

/* The core's part of an operation; embedded by its owner, all zero at first but for `change`. */
struct core_op {
	struct core_op *prev, *next; /* in one of the core's lists */
	uint64_t number;	     /* order of submission */
	uint64_t submitted_ms, sent_ms;
	uint64_t session; /* count of the session opening it was last sent under; 0: never sent */
	uint64_t seq;	  /* 0 for operations that change nothing */
	uint32_t slot;
	bool change; /* needs a slot */
	bool has_slot;
	enum core_op_state state;
	int status; /* when finished */
};

enum core_event_kind {
	CORE_EV_CONFIG,	   /* server (0: none) and epoch from the configuration */
	CORE_EV_UP,	   /* the connection asked for by CORE_CONNECT is up */
	CORE_EV_DOWN,	   /* it could not be made, or is gone; its calls have ended before */
	CORE_EV_OPENED,	   /* session_open ended: status, epoch, slots */
	CORE_EV_SUBMIT,	   /* op is new */
	CORE_EV_REPLY,	   /* the call of op ended with status */
	CORE_EV_INTERRUPT, /* whoever wants op is being killed */
	CORE_EV_PROBED,	   /* the ping asked for by CORE_PROBE ended with status */
	CORE_EV_TICK,
};

struct core_event {
	enum core_event_kind kind;
	struct core_op *op;
	int status;
	uint32_t server;
	uint64_t epoch;
	uint32_t slots;
};

/* What the driver has to do after a step, in this order; then core_take() until NULL, core_finished() until NULL. */
enum core_flag {
	CORE_LOST = 1 << 0,	  /* the session is not open now: nothing granted under it holds */
	CORE_DISCONNECT = 1 << 1, /* close the connection or the attempt: no UP or DOWN of it afterwards */
	CORE_CONNECT = 1 << 2,	  /* to `node` */
	CORE_OPEN = 1 << 3,	  /* send session_open with `epoch` */
	CORE_OPENED = 1 << 4,	  /* the session is open */
	CORE_PROBE = 1 << 5,	  /* ping the server */
	CORE_REFRESH = 1 << 6,	  /* somebody may know a newer configuration: ask */
};

struct core_update {
	unsigned int flags;
	uint32_t node;
	uint64_t epoch;
};

struct client_core {
	enum core_state state;
	uint64_t soft_ms; /* 0: wait for ever; else -EIO for what could not be sent for this long */

	uint32_t server; /* of the configuration */
	uint64_t epoch;
	uint32_t node; /* of the connection or attempt; 0 without */
	bool conn_up;
	uint64_t session_epoch; /* what operations carry */
	uint64_t session;	/* counts openings */

	uint32_t backoff_ms;
	uint64_t retry_at, heard_ms, fresh_ms;
	bool probing;

	uint64_t last_number;
	struct core_op *queue, *sent, *finished; /* utlist; queue and sent in order of number */

	uint32_t nr_slots;
	struct {
		uint64_t seq;
		bool busy;
	} slots[CORE_SLOTS_MAX];
};

void core_init(struct client_core *c, uint64_t soft_ms);
void core_step(struct client_core *c, const struct core_event *ev, uint64_t now_ms, struct core_update *ret_update);
/* The next operation to send, now in state SENT with slot, seq and epoch (session_epoch) decided; NULL: none for now. */
struct core_op *core_take(struct client_core *c, uint64_t now_ms);
/* The next operation that is finished and the owner's again; NULL: none. */
struct core_op *core_finished(struct client_core *c);
/* When a TICK is wanted, UINT64_MAX: not before something else happens. */
uint64_t core_deadline(const struct client_core *c);
/* May what is held under tokens still be used at NOW? */
bool core_is_fresh(const struct client_core *c, uint64_t now_ms);
/* Errors that say nothing about the operation, only about who was asked or how: ask (again). */
bool core_status_bounces(int status);

#endif
