/* Shared by repl.c (roles), repl_server.c and repl_member.c only. */
#ifndef CFS_CFSD_REPL_INTERNAL_H
#define CFS_CFSD_REPL_INTERNAL_H

#include "cfsd/repl.h"

/* What the server knows of another member. */
struct repl_peer {
	uint32_t node;
	bool following; /* attached; records are sent to it */
	bool drop;	/* in sync by the record, but lost, late or diverged: to be taken out */
	bool joining;	/* commits wait for it; it will be proposed when it has everything committed */
	bool maybe;	/* was in a proposal whose outcome is unknown: commits wait for it */
	bool syncing;	/* joining: asked to make durable what it has */
	bool durable;	/* ... and has */
	uint64_t acked;
	uint64_t deadline_ms; /* to make progress by; 0: nothing is expected of it */
};

enum repl_source_state { SOURCE_NONE, SOURCE_ASKED, SOURCE_FOLLOWING };

struct repl {
	struct repl_conf conf;
	const struct repl_log *log;

	struct config_fs fs; /* newest configuration; epoch 0 before the first */
	enum repl_role role;
	bool lease, broken, recovering;
	uint64_t recover_at_ms; /* not before */
	uint64_t fence_epoch; /* refused by this epoch: no serving below it */
	struct wire_logpos last;
	uint64_t committed;
	uint32_t flags; /* REPL_ATTACH_* that apply to our store */

	/* server */
	bool served; /* nobody else served since we did, at served_epoch */
	uint64_t served_epoch;
	struct repl_peer peers[CONFIG_MEMBERS_MAX];
	size_t nr_peers;
	bool changing; /* a proposal expecting changing_epoch is under way */
	uint64_t changing_epoch;
	uint64_t change_at_ms; /* not before */

	/* member */
	uint32_t source; /* who we follow, or want to */
	enum repl_source_state source_state;
	uint64_t attach_at_ms;
	bool copying;
	struct wire_logpos spooled; /* end of what is kept for after the copy */
};

struct repl_action *repl_emit(struct repl_actions *out, enum repl_action_type type);
bool repl_same_pos(struct wire_logpos a, struct wire_logpos b);

/* repl_server.c */
/* Serving again after a moment without a lease. */
void repl_server_resume(struct repl *r, uint64_t now_ms);
/* Lets every follower go. */
void repl_server_stop(struct repl *r, struct repl_actions *out);
/* The configuration moved on (new_epoch: by a compare-and-swap), or serving begins: peers as recorded. */
void repl_server_adopt(struct repl *r, uint64_t now_ms, bool new_epoch);
void repl_server_event(struct repl *r, const struct repl_event *ev, struct repl_actions *out);
/* Commits what may be committed, proposes what must change. */
void repl_server_settle(struct repl *r, uint64_t now_ms, struct repl_actions *out);
/* The store broke while serving: another member shall serve. */
void repl_server_hand_over(struct repl *r, uint64_t now_ms, struct repl_actions *out);

/* repl_member.c */
void repl_member_source(struct repl *r, uint32_t source, uint64_t now_ms, struct repl_actions *out);
/* Ends following for now. */
void repl_member_leave(struct repl *r, uint64_t now_ms, struct repl_actions *out);
void repl_member_event(struct repl *r, const struct repl_event *ev, struct repl_actions *out);
void repl_member_settle(struct repl *r, uint64_t now_ms, struct repl_actions *out);

#endif
