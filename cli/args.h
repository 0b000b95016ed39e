/* Arguments that several verbs take, and the addresses in them. */
#ifndef CFS_CLI_ARGS_H
#define CFS_CLI_ARGS_H

#include <argp.h>
#include <stdint.h>

#include "cluster/state_dir.h"

enum { EXIT_USAGE = 2 };

/*
 * Parses argv by OPTIONS and PARSE, and --state-dir, which every verb has. ARGS_DOC and DOC are those of argp; the verb
 * is argv[0]. Ends the program after --help and on wrong use (EXIT_USAGE).
 */
void cli_parse(int argc, char **argv, const struct argp_option *options, argp_parser_t parse, const char *args_doc,
	       const char *doc, void *input);

/* HOST[:PORT] or [HOST]:PORT; HOST as it stands. 0 or -EINVAL. */
int cli_split_address(const char *text, char *ret_host, size_t size, uint16_t *ret_port);
/* As above, the host as a numeric address. -EINVAL, -EADDRNOTAVAIL: no such name. */
int cli_resolve_address(const char *text, char ret_host[CONFIG_ADDRESS_MAX], uint16_t *ret_port);
/* The first address of this machine that others can reach. -EADDRNOTAVAIL. */
int cli_own_address(char ret_host[CONFIG_ADDRESS_MAX]);

/* Name and address of this node, from arguments that may be NULL; says on stderr what is wrong with them. 0 or -errno. */
int cli_identity(const char *verb, const char *name, const char *address, struct node_identity *ret_id);

#endif
