/* cfs token: a one-use token for a machine that shall join. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/args.h"
#include "cli/ask.h"
#include "cli/cmd.h"

enum { TOKEN_TTL_S = 3600, TOKEN_MS = 10000 };

static error_t parse(int key, char *arg, struct argp_state *state)
{
	(void)arg;
	if (key != 'j')
		return key == ARGP_KEY_ARG ? (argp_usage(state), 0) : ARGP_ERR_UNKNOWN;
	*(bool *)state->input = true;
	return 0;
}

int cmd_token(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "json", 'j', NULL, 0, "As JSON: token, expires (seconds since 1970)", 0 },
		{ 0 },
	};
	struct msg_token_new_req req = { TOKEN_TTL_S };
	struct msg_token_new_rep *rep;
	bool json = false;
	void *p;

	cli_parse(argc, argv, options, parse, "", "Says a token with which one machine can join the cluster within an hour.",
		  &json);
	if (cli_ask("token", MSG_token_new, &req, TOKEN_MS, &p) < 0)
		return 1;
	rep = p;
	if (json) {
		json_t *j = json_pack("{s:s, s:I}", "token", rep->token, "expires", (json_int_t)rep->expires);

		json_dumpf(j, stdout, JSON_INDENT(1));
		puts("");
		json_decref(j);
	} else {
		puts(rep->token);
	}
	free(rep);
	return 0;
}
