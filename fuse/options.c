#include "fuse/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "common/cleanup.h"

#define RETRY_DEFAULT_S 5
#define SOFT_DEFAULT_S 10
#define SECONDS_MAX 86400ul

const char options_usage[] =
	"usage: mount.fuse.cfs SOURCE DIR [-sfnv] [-o OPTION,...]\n"
	"options: state_dir=DIR log=FILE hard soft[=SECONDS] retry=SECONDS foreground\n"
	"         and those of every filesystem: ro rw nosuid nodev noexec noatime ...\n";

/* Options that are flags of mount(2), or that say nothing to a helper (SET and CLEAR 0). */
static const struct {
	const char *name;
	unsigned long set, clear;
} flag_options[] = {
	{ "ro", MS_RDONLY, 0 },
	{ "rw", 0, MS_RDONLY },
	{ "nosuid", MS_NOSUID, 0 },
	{ "suid", 0, MS_NOSUID },
	{ "nodev", MS_NODEV, 0 },
	{ "dev", 0, MS_NODEV },
	{ "noexec", MS_NOEXEC, 0 },
	{ "exec", 0, MS_NOEXEC },
	{ "sync", MS_SYNCHRONOUS, 0 },
	{ "async", 0, MS_SYNCHRONOUS },
	{ "dirsync", MS_DIRSYNC, 0 },
	{ "noatime", MS_NOATIME, 0 },
	{ "atime", 0, MS_NOATIME },
	{ "nodiratime", MS_NODIRATIME, 0 },
	{ "diratime", 0, MS_NODIRATIME },
	{ "relatime", MS_RELATIME, 0 },
	{ "norelatime", 0, MS_RELATIME },
	{ "strictatime", MS_STRICTATIME, 0 },
	{ "nostrictatime", 0, MS_STRICTATIME },
	{ "silent", MS_SILENT, 0 },
	{ "loud", 0, MS_SILENT },
	/* always so here */
	{ "allow_other", 0, 0 },
	{ "default_permissions", 0, 0 },
	/* for mount(8) and the boot */
	{ "defaults", 0, 0 },
	{ "auto", 0, 0 },
	{ "noauto", 0, 0 },
	{ "nofail", 0, 0 },
	{ "_netdev", 0, 0 },
	{ "user", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0 },
	{ "users", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0 },
	{ "nouser", 0, 0 },
};

struct parse {
	struct options *o;
	char *error;
	unsigned int error_len;
};

static int complain(const struct parse *p, const char *what, const char *name)
{
	snprintf(p->error, p->error_len, "%s: %s", what, name);
	return -EINVAL;
}

/* The value of NAME=VALUE, NULL when OPT is not that. */
static const char *value_of(const char *opt, const char *name)
{
	size_t len = strlen(name);

	return !strncmp(opt, name, len) && opt[len] == '=' ? opt + len + 1 : NULL;
}

static int parse_seconds(const struct parse *p, const char *opt, const char *value, unsigned int *ret_s)
{
	unsigned long v;
	char *end;

	errno = 0;
	v = strtoul(value, &end, 10);
	if (errno || end == value || *end || *value == '-' || v > SECONDS_MAX)
		return complain(p, "not a number of seconds", opt);
	*ret_s = (unsigned int)v;
	return 0;
}

static int set_path(const struct parse *p, const char *opt, const char *value, char **path)
{
	if (*value != '/')
		return complain(p, "not an absolute path", opt);
	free(*path);
	*path = strdup(value);
	return *path ? 0 : -ENOMEM;
}

/* 1: it is one. */
static int parse_flag(struct options *o, const char *opt)
{
	for (size_t i = 0; i < sizeof(flag_options) / sizeof(flag_options[0]); i++) {
		if (!strcmp(opt, flag_options[i].name)) {
			o->flags = (o->flags & ~flag_options[i].clear) | flag_options[i].set;
			return 1;
		}
	}
	return !strncmp(opt, "x-", 2) || !strncmp(opt, "comment=", 8);
}

static int parse_option(const struct parse *p, const char *opt)
{
	struct options *o = p->o;
	unsigned int s = SOFT_DEFAULT_S;
	const char *v;
	int r = 0;

	if (parse_flag(o, opt))
		return 0;
	if ((v = value_of(opt, "state_dir")))
		return set_path(p, opt, v, &o->state_dir);
	if ((v = value_of(opt, "log")))
		return set_path(p, opt, v, &o->log);
	if ((v = value_of(opt, "retry")))
		return parse_seconds(p, opt, v, &o->retry_s);
	if (!strcmp(opt, "hard")) {
		o->soft_ms = 0;
	} else if (!strcmp(opt, "soft") || (v = value_of(opt, "soft"))) {
		if (v)
			r = parse_seconds(p, opt, v, &s);
		if (r == 0)
			o->soft_ms = s ? s * UINT64_C(1000) : 1;
	} else if (!strcmp(opt, "foreground")) {
		o->foreground = true;
	} else if (!strcmp(opt, "remount")) {
		r = complain(p, "cannot be done to a mount in use", opt);
	} else if (!o->sloppy) {
		r = complain(p, "unknown option", opt);
	}
	return r;
}

static int parse_list(const struct parse *p, const char *list)
{
	_cleanup_free_ char *copy = strdup(list);
	char *save = NULL;
	int r = copy ? 0 : -ENOMEM;

	for (char *opt = copy ? strtok_r(copy, ",", &save) : NULL; opt && r == 0; opt = strtok_r(NULL, ",", &save))
		r = parse_option(p, opt);
	return r;
}

/* mount(8) writes -s before or after -o: it must be known first. */
static int parse_letters(struct options *o, int argc, char **argv, const struct parse *p)
{
	int c;

	optind = 0; /* glibc: start afresh, permuting */
	opterr = 0;
	while ((c = getopt(argc, argv, "sfnvhVo:t:N:")) != -1) {
		switch (c) {
		case 's':
			o->sloppy = true;
			break;
		case 'f':
			o->fake = true;
			break;
		case 'h':
			o->help = true;
			break;
		case 'V':
			o->version = true;
			break;
		case 'N':
			return complain(p, "unknown option", "-N");
		case '?':
			return complain(p, "unknown option", argv[optind - 1]);
		}
	}
	return 0;
}

int options_parse(struct options *o, int argc, char **argv, char *error, unsigned int error_len)
{
	struct parse p = { o, error, error_len };
	int c, r;

	*o = (struct options){ .retry_s = RETRY_DEFAULT_S };
	r = parse_letters(o, argc, argv, &p);
	if (r < 0 || o->help || o->version)
		return r;
	optind = 0; /* glibc: start afresh, permuting */
	while (r == 0 && (c = getopt(argc, argv, "sfnvhVo:t:N:")) != -1)
		if (c == 'o')
			r = parse_list(&p, optarg);
	if (r < 0)
		return r;
	if (argc - optind != 2)
		return complain(&p, "wanted", "SOURCE DIR");
	o->source = argv[optind];
	o->dir = argv[optind + 1];
	return 0;
}

void options_release(struct options *o)
{
	free(o->state_dir);
	free(o->log);
}
