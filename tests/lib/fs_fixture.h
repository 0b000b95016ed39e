/*
 * A filesystem on memory stores for tests: requests in, replies out, and a standby that applies every record, too.
 * No session, no replication: a request is executed and applied at once.
 */
#ifndef CFS_TESTS_LIB_FS_FIXTURE_H
#define CFS_TESTS_LIB_FS_FIXTURE_H

#include "cfsd/op.h"

struct fs_fixture {
	struct store *store, *standby;
	struct wire_writer scratch;
	struct txn txn;	 /* the last one, as it was applied */
	uint64_t now_ns; /* advances by 1000 with each request; tests may turn it back */
	uint64_t epoch;
	uint64_t open_inos[16]; /* what somebody holds open; 0: free */
};

/* CAPACITY: bytes of file data. Criterion assertions inside: for tests only. */
void fs_fixture_init(struct fs_fixture *f, uint64_t capacity);
/* The same on a disk store in DIR, without standby. */
void fs_fixture_init_disk(struct fs_fixture *f, const char *dir);
void fs_fixture_release(struct fs_fixture *f);
/* *REP is cleared, and valid until the next call. */
int fs_fixture_run(struct fs_fixture *f, enum msg_type type, const void *req, void *rep);
int fs_fixture_reap(struct fs_fixture *f, uint64_t ino);
struct op_env fs_fixture_env(struct fs_fixture *f);
/* The standby has the same keys, values and file contents, byte for byte. */
void fs_fixture_check_standby(struct fs_fixture *f);

/* No key without its inode, no inode without its name (or orphan key), and the counters are right. */
void fs_fixture_check_keys(struct fs_fixture *f);

#define FS_RUN(f, name, rep, ...) fs_fixture_run(f, MSG_##name, &(struct msg_##name##_req){ __VA_ARGS__ }, rep)

#endif
