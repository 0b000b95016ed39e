/*
 * One log line per decision, on stderr (systemd and the lab collect it): "LEVEL part: text".
 * Lower layers return errors and stay silent; the layer that decides logs once, with object and reason.
 */
#ifndef CFS_COMMON_LOG_H
#define CFS_COMMON_LOG_H

enum log_level { LOG_LEVEL_NONE = -1, LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Messages above LEVEL are dropped, NONE drops all. Default INFO; the environment's CFS_LOG (error|warn|info|debug) overrides. */
void log_set_level(enum log_level level);
void log_write(enum log_level level, const char *part, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* PART is the folder or file noun: log_info("lease", "node %u lost", id). */
#define log_error(part, ...) log_write(LOG_LEVEL_ERROR, part, __VA_ARGS__)
#define log_warn(part, ...) log_write(LOG_LEVEL_WARN, part, __VA_ARGS__)
#define log_info(part, ...) log_write(LOG_LEVEL_INFO, part, __VA_ARGS__)
#define log_debug(part, ...) log_write(LOG_LEVEL_DEBUG, part, __VA_ARGS__)

#endif
