/* Small files: loaded whole, replaced whole or not at all. */
#include "common/file.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/tmpdir.h"

static struct tmpdir tmp;

static void up(void)
{
	tmpdir_make(&tmp);
}

static void down(void)
{
	tmpdir_remove(&tmp);
}

TestSuite(file, .init = up, .fini = down);

static void holds(const char *name, const char *expected)
{
	char *text = NULL;
	size_t len = 99;

	cr_assert_eq(file_load(tmp.path, name, 100, &text, &len), 0);
	cr_assert_eq(len, strlen(expected));
	cr_assert_str_eq(text, expected);
	free(text);
}

static mode_t mode_of(const char *name)
{
	char path[256];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", tmp.path, name);
	return stat(path, &st) < 0 ? 0 : st.st_mode & 07777;
}

Test(file, what_was_written_is_loaded)
{
	cr_assert_eq(file_replace(tmp.path, "a", "one", 3, 0644, true), 0);
	holds("a", "one");
	cr_assert_eq(file_replace(tmp.path, "a", "", 0, 0644, false), 0);
	holds("a", "");
	cr_assert_eq(mode_of("a.new"), 0, "nothing is left beside it");
}

Test(file, what_is_not_there_or_too_large)
{
	char *text = NULL;
	size_t len;

	cr_assert_eq(file_load(tmp.path, "none", 100, &text, &len), -ENOENT);
	cr_assert_eq(file_replace(tmp.path, "a", "12345", 5, 0644, false), 0);
	cr_assert_eq(file_load(tmp.path, "a", 4, &text, &len), -EFBIG);
	cr_assert_null(text, "written only on success");
	cr_assert_eq(file_replace(tmp.path, "no/such", "x", 1, 0644, true), -ENOENT);
}

Test(file, the_mode_is_the_one_given)
{
	umask(0);
	cr_assert_eq(file_replace(tmp.path, "key.new", "left over", 9, 0666, false), 0);
	cr_assert_eq(file_replace(tmp.path, "key", "secret", 6, 0600, true), 0);
	cr_assert_eq(mode_of("key"), 0600u, "a left-over file that all can read does not matter");
	umask(077);
	cr_assert_eq(file_replace(tmp.path, "public", "x", 1, 0644, true), 0);
	cr_assert_eq(mode_of("public"), 0644u);
}

Test(file, a_link_is_replaced_and_never_followed)
{
	char path[256];

	cr_assert_eq(file_replace(tmp.path, "target", "mine", 4, 0644, false), 0);
	snprintf(path, sizeof(path), "%s/a.new", tmp.path);
	cr_assert_eq(symlink("target", path), 0);
	cr_assert_eq(file_replace(tmp.path, "a", "theirs", 6, 0644, false), -ELOOP);
	holds("target", "mine");
	snprintf(path, sizeof(path), "%s/b", tmp.path);
	cr_assert_eq(symlink("target", path), 0);
	cr_assert_eq(file_replace(tmp.path, "b", "theirs", 6, 0644, false), 0);
	holds("b", "theirs");
	holds("target", "mine");
}

Test(file, a_failure_leaves_the_old_one)
{
	char path[256];

	cr_assert_eq(file_replace(tmp.path, "dir", "x", 1, 0644, false), 0);
	snprintf(path, sizeof(path), "%s/dir", tmp.path);
	cr_assert(!unlink(path) && !mkdir(path, 0755));
	cr_assert_eq(file_replace(tmp.path, "dir", "y", 1, 0644, true), -EISDIR);
	cr_assert_eq(mode_of("dir.new"), 0, "and nothing beside it");
}
