/* One line for one decision, whatever is in it. */
#include "common/log.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int saved, ends[2], write_end;

static void up(void)
{
	saved = dup(STDERR_FILENO);
	cr_assert(!pipe(ends) && dup2(ends[1], STDERR_FILENO) >= 0);
	write_end = ends[1];
}

/* Everything logged since up(). */
static const char *logged(void)
{
	static char text[8192];
	ssize_t n;

	cr_assert_geq(dup2(saved, STDERR_FILENO), 0);
	n = read(ends[0], text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = 0;
	return text;
}

TestSuite(log, .init = up);

Test(log, a_line_says_level_part_and_text)
{
	const char *text;

	log_set_level(LOG_LEVEL_INFO);
	log_debug("part", "not this one");
	log_warn("part", "node %u is %s", 3u, "away");
	text = logged();
	cr_assert_not_null(strstr(text, " warn  part: node 3 is away\n"), "%s", text);
	cr_assert_null(strstr(text, "not this"));
}

Test(log, what_others_send_makes_no_lines_and_drives_no_terminal)
{
	const char *text;

	log_set_level(LOG_LEVEL_INFO);
	log_info("join", "%s is refused", "node9\n12:00:00.000 error cfsd: all is lost\033[2J\x7f\r");
	text = logged();
	cr_assert_eq(strchr(text, '\n'), text + strlen(text) - 1, "one line: %s", text);
	cr_assert_null(strpbrk(text, "\033\x7f\r"));
	cr_assert_not_null(strstr(text, "node9?12:00:00.000"), "%s", text);
}

Test(log, none_is_silent)
{
	log_set_level(LOG_LEVEL_NONE);
	log_error("part", "not even this");
	log_set_level(LOG_LEVEL_ERROR);
	log_error("part", "this");
	cr_assert_null(strstr(logged(), "not even"));
}

Test(log, a_full_pipe_is_not_waited_for)
{
	static char rest[4096];
	const char *text;

	log_set_level(LOG_LEVEL_INFO);
	for (int i = 0; i < 10000; i++)
		log_info("part", "line %d, and some more so that the pipe is full soon", i);
	text = logged();
	cr_assert_not_null(strstr(text, "line 0,"));
	cr_assert_geq(dup2(write_end, STDERR_FILENO), 0);
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	while (read(ends[0], rest, sizeof(rest)) > 0)
		;
	log_info("part", "there is room again");
	text = logged();
	cr_assert_not_null(strstr(text, " lines are lost"), "%s", text);
	cr_assert_not_null(strstr(text, "there is room again\n"), "%s", text);
}

Test(log, a_long_text_is_cut_and_stays_a_line)
{
	char longest[4000];
	const char *text;

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	log_set_level(LOG_LEVEL_INFO);
	log_error("part", "%s", longest);
	text = logged();
	cr_assert_lt(strlen(text), 2100u);
	cr_assert_eq(text[strlen(text) - 1], '\n');
}
