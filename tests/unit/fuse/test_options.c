/* The command line, as mount(8) and people write it. */
#include "fuse/options.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mount.h>

static char error[256];

static int parse(struct options *o, const char *line)
{
	static char copy[512];
	char *argv[16] = { (char[]){ "mount.fuse.cfs" } }, *save;
	int argc = 1;

	strcpy(copy, line);
	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	error[0] = '\0';
	return options_parse(o, argc, argv, error, sizeof(error));
}

Test(options, as_mount_calls_it)
{
	struct options o;

	cr_assert_eq(parse(&o, "cfs /cluster -o rw,nosuid,nodev,state_dir=/s,retry=3,log=/l"), 0);
	cr_assert_str_eq(o.source, "cfs");
	cr_assert_str_eq(o.dir, "/cluster");
	cr_assert_eq(o.flags, MS_NOSUID | MS_NODEV);
	cr_assert_str_eq(o.state_dir, "/s");
	cr_assert_str_eq(o.log, "/l");
	cr_assert_eq(o.retry_s, 3);
	cr_assert_eq(o.soft_ms, 0);
	options_release(&o);
	cr_assert_eq(parse(&o, "-v -n cfs /cluster -o ro -o rw,_netdev,nofail,x-systemd.automount"), 0);
	cr_assert_eq(o.flags, 0);
	options_release(&o);
}

Test(options, later_wins)
{
	struct options o;

	cr_assert_eq(parse(&o, "a b -o soft,hard"), 0);
	cr_assert_eq(o.soft_ms, 0);
	cr_assert_eq(parse(&o, "a b -o hard,soft=7"), 0);
	cr_assert_eq(o.soft_ms, 7000);
	cr_assert_eq(parse(&o, "a b -o soft"), 0);
	cr_assert_gt(o.soft_ms, 0);
	cr_assert_eq(parse(&o, "a b -o state_dir=/x,state_dir=/y"), 0);
	cr_assert_str_eq(o.state_dir, "/y");
	options_release(&o);
}

Test(options, what_is_wrong_is_named)
{
	static const struct {
		const char *line, *word;
	} bad[] = {
		{ "a b -o bogus", "bogus" },	       { "a b -o retry=", "retry=" },
		{ "a b -o retry=-1", "retry=-1" },     { "a b -o retry=1x", "retry=1x" },
		{ "a b -o retry=99999999", "retry" },  { "a b -o state_dir=rel", "rel" },
		{ "a b -o remount,ro", "remount" },    { "a", "SOURCE DIR" },
		{ "a b c", "SOURCE DIR" },	       { "a b -Z", "-Z" },
	};
	struct options o;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_assert_eq(parse(&o, bad[i].line), -EINVAL, "%s", bad[i].line);
		cr_assert_not_null(strstr(error, bad[i].word), "%s: %s", bad[i].line, error);
		options_release(&o);
	}
}

Test(options, sloppy_skips_the_unknown_wherever_it_stands)
{
	struct options o;

	cr_assert_eq(parse(&o, "a b -o bogus -s"), 0);
	cr_assert_eq(parse(&o, "-s a b -o bogus,ro"), 0);
	cr_assert_eq(o.flags, MS_RDONLY);
}
