/* The verbs of the cfs command, one function each in cmd_<verb>.c: returns the exit status. */
#ifndef CFS_CLI_CMD_H
#define CFS_CLI_CMD_H

#define CMD(verb, function, args, help) int function(int argc, char **argv);
#include "cli/commands.def"
#undef CMD

#endif
