/* The level and the program's start are the only file-scope state in the project besides the fault table (style rule). */
#include "common/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = { "error", "warn", "info", "debug" };
enum { NOT_SET = -2 };
static atomic_int log_level = NOT_SET;

static int level_from_env(void)
{
	const char *env = getenv("CFS_LOG");

	for (int i = 0; env && i <= LOG_LEVEL_DEBUG; i++)
		if (!strcmp(env, level_names[i]))
			return i;
	return LOG_LEVEL_INFO;
}

void log_set_level(enum log_level level)
{
	atomic_store(&log_level, (int)level);
}

/* What is logged may come from anybody who can reach a port: it makes no lines of its own and drives no terminal. */
static void make_printable(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

/*
 * One write: lines of several threads and processes on one stderr do not mix. Not where it would wait: a collector that
 * stands still must not make a node look dead. What is lost is counted, and told when there is room again.
 */
static void put_line(const char *line, size_t len)
{
	static atomic_uint lost;
	struct pollfd out = { .fd = STDERR_FILENO, .events = POLLOUT };
	unsigned n;

	if (poll(&out, 1, 0) == 0) {
		atomic_fetch_add(&lost, 1);
		return;
	}
	n = atomic_exchange(&lost, 0);
	if (n && dprintf(STDERR_FILENO, "... %u lines are lost: nobody took them\n", n) < 0)
		return;
	if (write(STDERR_FILENO, line, len) < 0)
		return;
}

void log_write(enum log_level level, const char *part, const char *fmt, ...)
{
	char line[2048];
	struct timespec now;
	struct tm tm;
	va_list ap;
	int max = atomic_load(&log_level);
	size_t n;

	if (max == NOT_SET)
		atomic_store(&log_level, max = level_from_env());
	if ((int)level > max)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	n = strftime(line, sizeof(line), "%H:%M:%S", &tm);
	n += (size_t)snprintf(line + n, sizeof(line) - n, ".%03ld %-5s %s: ", now.tv_nsec / 1000000,
			      level_names[level], part);
	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	va_end(ap);
	make_printable(line);
	n = strlen(line);
	line[n++] = '\n';
	put_line(line, n);
}
