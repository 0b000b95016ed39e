/* cfs: the command. Each verb is a row of commands.def and a file cmd_<verb>.c. */
#include "cli/cmd.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/log.h"

/* argp's: what --version prints. */
const char *argp_program_version = "cfs (CFS) " PACKAGE_VERSION;

static const struct command {
	const char *verb;
	int (*run)(int argc, char **argv);
	const char *args, *help;
} commands[] = {
#define CMD(verb, function, args, help) { verb, function, args, help },
#include "cli/commands.def"
#undef CMD
};

static void usage(FILE *out)
{
	fprintf(out, "usage: cfs VERB ...\n");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		fprintf(out, "  cfs %-8s %-38s %s\n", commands[i].verb, commands[i].args, commands[i].help);
	fprintf(out, "More: cfs VERB --help, cfs(1).\n");
}

static bool is_one_of(const char *arg, const char *a, const char *b, const char *c)
{
	return !strcmp(arg, a) || !strcmp(arg, b) || !strcmp(arg, c);
}

int main(int argc, char **argv)
{
	/* The verbs say themselves what went wrong, in a user's words. */
	if (!getenv("CFS_LOG"))
		log_set_level(LOG_LEVEL_NONE);
	if (argc < 2) {
		usage(stderr);
		return 2;
	}
	if (is_one_of(argv[1], "--help", "-h", "help")) {
		usage(stdout);
		return 0;
	}
	if (is_one_of(argv[1], "--version", "-V", "version")) {
		puts(argp_program_version);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (!strcmp(argv[1], commands[i].verb))
			return commands[i].run(argc - 1, argv + 1);
	fprintf(stderr, "cfs: there is no verb %s: see cfs --help\n", argv[1]);
	return 2;
}
