/*
 * What a filesystem must answer, the plain way: a tree of nodes with their contents in memory. No keys, no batches, no
 * records, nothing shared with cfsd/ but the messages. Tests and the simulator give it the same requests as the real
 * one, in the order in which they took effect, and compare.
 *
 *	struct fs_model *m = fs_model_new(now_ns);
 *	status = fs_model_execute(m, type, &req, &model_rep, now_ns);
 *	assert(status == real_status && fs_model_same_reply(type, &real_rep, &model_rep, true));
 *
 * Inode numbers count up from 2 with every inode made, as those of cfsd do; times and change counters follow the rules
 * of cfsd/inode.h when both are given the same clock. Space has no end here. Memory that runs out aborts.
 */
#ifndef CFS_TESTS_LIB_FS_MODEL_H
#define CFS_TESTS_LIB_FS_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/fileop.h"
#include "wire/message.h"

struct fs_model;

/* An empty filesystem: the root directory, number 1, mode 0755. */
struct fs_model *fs_model_new(uint64_t now_ns);
void fs_model_free(struct fs_model *m);
/* 0 or a negative errno, as op_execute(). REP (of the request's reply type) is cleared and filled; what it points to
   lives until the next call. Tokens in it are 0. */
int fs_model_execute(struct fs_model *m, enum msg_type type, const void *req, void *rep, uint64_t now_ns);

/* Somebody opens, or no longer has open: an unlinked inode lives on until the last one. */
void fs_model_hold(struct fs_model *m, uint64_t ino);
void fs_model_unhold(struct fs_model *m, uint64_t ino);
/* Does the inode exist, orphan or not? */
bool fs_model_exists(const struct fs_model *m, uint64_t ino);
/* Inodes there are, orphans included; steps through them, from 0 to 0. */
uint64_t fs_model_nodes(const struct fs_model *m);
uint64_t fs_model_next(const struct fs_model *m, uint64_t ino);

/* Same reply, but for tokens and block counts; also but for times and change counters unless TIMES. */
bool fs_model_same_reply(enum msg_type type, const void *a, const void *b, bool times);

/* Runs one request somewhere: fs_fixture_run() or a simulated client. */
typedef int (*fs_model_run)(void *ctx, enum msg_type type, const void *req, void *rep);
/*
 * Asks for everything there is, in the model and through RUN: attributes, names, contents, targets, xattrs. Returns the
 * number of the first inode that differs, 0 when none does.
 */
uint64_t fs_model_verify(struct fs_model *m, fs_model_run run, void *ctx, bool times);

#endif
