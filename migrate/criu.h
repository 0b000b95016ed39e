/*
 * CRIU, driven through the protocol of `criu swrk`: one SOCK_SEQPACKET packet is one protobuf message (rpc.proto).
 *
 * A conversation serves one dump or one restore. CRIU stops at hooks and waits for criu_ack(): between the hook
 * CRIU_HOOK_POST_DUMP and its answer the dumped processes are stopped; between CRIU_HOOK_PRE_RESUME and its answer the
 * restored ones exist completely and do not run. Everything is called, and calls back, on the loop's thread.
 *
 * When our end of the socket is closed (also by our death), a dump at its hook puts the processes back. A restore at
 * PRE_RESUME would go on: there somebody else must hold a copy of our end (cfs-job does).
 */
#ifndef CFS_MIGRATE_CRIU_H
#define CFS_MIGRATE_CRIU_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <uv.h>

struct criu;

enum criu_hook {
	CRIU_HOOK_OTHER, /* answered by criu.c itself */
	CRIU_HOOK_PRE_DUMP,
	CRIU_HOOK_POST_DUMP,
	CRIU_HOOK_POST_RESTORE,
	CRIU_HOOK_PRE_RESUME,
	CRIU_HOOK_POST_RESUME,
};

struct criu_events {
	/* CRIU waits at HOOK until criu_ack(). PID: of the restored root in CRIU's pid namespace, 0 where not known. */
	void (*hook)(void *ctx, enum criu_hook hook, pid_t pid);
	/* The conversation is over: 0, or -EREMOTEIO with CRIU's own words for it, -ECONNRESET when CRIU is gone. The
	   struct criu still belongs to the user. */
	void (*done)(void *ctx, int status, const char *reason);
};

struct criu_inherit {
	const char *key; /* "pipe:[4711]" as in /proc/PID/fd */
	int fd;		 /* number in CRIU's own descriptor table */
};

/* Takes SOCK over (also on failure). 0 or -errno. */
int criu_new(uv_loop_t *loop, int sock, const struct criu_events *events, void *ctx, struct criu **ret_criu);
/* Closes the socket; no callback follows. NULL is fine. */
void criu_free(struct criu *criu);

/* Both return 0 or -errno and report through the events. IMAGES_DIR is a path that CRIU can open; logs go there. */
int criu_dump(struct criu *criu, const char *images_dir, pid_t pid);
int criu_restore(struct criu *criu, const char *images_dir, const struct criu_inherit *inherit, size_t nr_inherit);
/* The conversation is one that somebody else began, and CRIU waits at a hook of it. */
void criu_adopt(struct criu *criu);
/* Answers the hook CRIU waits at. OK false makes a dump put the processes back, a restore kill them. */
int criu_ack(struct criu *criu, bool ok);

/* One line of CRIU's log without its time and source position: "(00.01) Error (criu/x.c:7): text" -> "text". */
const char *criu_log_text(const char *line);
/* The first error in the log at PATH, as text; false when there is none. */
bool criu_log_reason(const char *path, char *ret_text, size_t size);

/* Runs `criu --version` and compares with 4.2. 0, -ENOENT: cannot run it, -EPROTONOSUPPORT: too old. */
int criu_check_version(char *ret_text, size_t size);
/* "Version: 4.2.1\n..." -> 40201; 0 when it is none. */
unsigned criu_version_number(const char *text);

#endif
