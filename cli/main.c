/* cfs: the command. Each verb is a row of commands.def and a file cmd_<verb>.c. */
#include "cli/cmd.h"

#include <stdio.h>
#include <string.h>

#include "common/bytes.h"

static const struct command {
	const char *verb;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
#define CMD(verb, function, help) { verb, function, help },
#include "cli/commands.def"
#undef CMD
};

static void usage(FILE *out)
{
	fprintf(out, "usage: cfs VERB ...\n");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		fprintf(out, "  cfs %s %s\n", commands[i].verb, commands[i].help);
}

int main(int argc, char **argv)
{
	if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		usage(argc < 2 ? stderr : stdout);
		return argc < 2 ? 2 : 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (!strcmp(argv[1], commands[i].verb))
			return commands[i].run(argc - 1, argv + 1);
	fprintf(stderr, "cfs: there is no verb %s\n", argv[1]);
	usage(stderr);
	return 2;
}
