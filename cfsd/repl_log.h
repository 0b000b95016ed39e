/*
 * The recent records of one filesystem's log, in memory: what a member that was away for a moment is sent instead of a
 * copy of everything. Bounded by count and bytes; the oldest go first. The log on disk is the store itself.
 */
#ifndef CFS_CFSD_REPL_LOG_H
#define CFS_CFSD_REPL_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "cfsd/store.h"

struct repl_log;

/* An empty log whose history ends at {0,0}. */
int repl_log_new(size_t max_records, size_t max_bytes, struct repl_log **ret_log);
void repl_log_free(struct repl_log *log);
/* Forgets every record; the history now ends at POS. */
void repl_log_reset(struct repl_log *log, struct wire_logpos pos);
/* Copies REC. -ESTALE when it does not follow the last one, -ENOMEM: then the log is as after a reset to REC's pos. */
int repl_log_append(struct repl_log *log, const struct record *rec);
/* The record at LSN, valid until the log changes; NULL when it is not held. */
const struct record *repl_log_get(const struct repl_log *log, uint64_t lsn);
/* Is POS a place in this history from which everything that came later is held? */
bool repl_log_follows(const struct repl_log *log, struct wire_logpos pos);
/* Is the record at POS itself held? */
bool repl_log_has(const struct repl_log *log, struct wire_logpos pos);
struct wire_logpos repl_log_last(const struct repl_log *log);

#endif
