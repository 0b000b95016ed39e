/*
 * cfs-sim: a cluster in one process, seed after seed. Exit 0: nothing found; 1: something found (the seed is printed,
 * and replays exactly with --seed N --trace); with --expect-failure the other way round.
 */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/log.h"
#include "tests/sim/raft_sim.h"
#include "tests/sim/sim.h"

struct args {
	uint64_t first, last;
	unsigned breaks;
	uint32_t guards_off;
	unsigned jobs;
	bool trace, expect, raft;
	uint64_t storm_s;
};

static const struct {
	const char *name;
	unsigned bit;
} rules[] = {
	{ "ack-early", SIM_BREAK_ACK_EARLY },
	{ "promote-stale", SIM_BREAK_PROMOTE_STALE },
	{ "no-reply-record", SIM_BREAK_NO_REPLY_RECORD },
	{ "no-lease-wait", SIM_BREAK_NO_WAIT },
	{ "dirty-read", SIM_BREAK_DIRTY_READ },
	{ "no-lease", SIM_BREAK_NO_LEASE },
	{ "trust-lost", SIM_BREAK_TRUST_LOST },
	{ "survivor-early", SIM_BREAK_SURVIVOR_EARLY },
	{ "survivor-shortest", SIM_BREAK_SURVIVOR_SHORTEST },
	{ "join-unsynced", SIM_BREAK_JOIN_UNSYNCED },
};

static const struct argp_option options[] = {
	{ "seed", 's', "N", 0, "run one seed", 0 },
	{ "seeds", 'S', "A-B", 0, "run these seeds", 0 },
	{ "raft", 'r', NULL, 0, "only consensus, with changing membership", 0 },
	{ "break", 'b', "RULE", 0, "break a rule of sim.h: ack-early, trust-lost, ...", 0 },
	{ "guard-off", 'g', "N", 0, "switch guard GN of the consensus core off", 0 },
	{ "expect-failure", 'x', NULL, 0, "succeed when something is found, at the first", 0 },
	{ "storm", 't', "SECONDS", 0, "how long faults strike (virtual time; default 10)", 0 },
	{ "trace", 'T', NULL, 0, "print everything that happens", 0 },
	{ "jobs", 'j', "N", 0, "processes at once (default: cores)", 0 },
	{ 0 },
};

static error_t parse_break(struct args *a, const char *arg, struct argp_state *state)
{
	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		if (strcmp(rules[i].name, arg))
			continue;
		a->breaks |= rules[i].bit;
		return 0;
	}
	argp_error(state, "no such rule: %s", arg);
	return EINVAL;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 's':
		a->first = a->last = strtoull(arg, NULL, 10);
		return 0;
	case 'S':
		if (sscanf(arg, "%" SCNu64 "-%" SCNu64, &a->first, &a->last) != 2 || a->first > a->last)
			argp_error(state, "not a range: %s", arg);
		return 0;
	case 'r':
		a->raft = true;
		return 0;
	case 'b':
		return parse_break(a, arg, state);
	case 'g':
		a->guards_off |= RAFT_GUARD(strtoul(arg, NULL, 10));
		return 0;
	case 'x':
		a->expect = true;
		return 0;
	case 't':
		a->storm_s = strtoull(arg, NULL, 10);
		return 0;
	case 'T':
		a->trace = true;
		return 0;
	case 'j':
		a->jobs = (unsigned)strtoul(arg, NULL, 10);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static bool run_seed(const struct args *a, uint64_t seed)
{
	struct sim_conf conf = { .seed = seed,
				 .breaks = a->breaks,
				 .guards_off = a->guards_off,
				 .trace = a->trace ? stdout : NULL,
				 .storm_us = a->storm_s * 1000 * MS,
				 .calm_us = 30 * 1000 * MS };
	char why[256];
	bool ok = a->raft ? raft_sim_run(&conf, why, sizeof(why)) : sim_run(&conf, why, sizeof(why));

	if (!ok)
		printf("seed %" PRIu64 ": %s\n", seed, why);
	return ok;
}

/* Worker J of the jobs takes every jobs'th seed. Exit: 0 nothing found, 1 found. */
static int worker(const struct args *a, unsigned j)
{
	bool found = false;

	for (uint64_t seed = a->first + j; seed <= a->last; seed += a->jobs) {
		found |= !run_seed(a, seed);
		if (found && a->expect)
			break;
	}
	fflush(stdout);
	return found;
}

static int run_all(const struct args *a)
{
	unsigned running = a->jobs;
	int status, found = 0;

	for (unsigned j = 0; j < a->jobs; j++) {
		pid_t pid = fork();

		if (pid < 0) {
			perror("fork");
			return 2;
		}
		if (!pid)
			exit(worker(a, j));
	}
	for (; running && wait(&status) > 0; running--) {
		if (!WIFEXITED(status)) {
			printf("a worker died of signal %d\n", WTERMSIG(status));
			return 2;
		}
		found |= WEXITSTATUS(status);
	}
	return found;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		options, parse, NULL, "Simulates a cluster with faults and checks what clients saw.", NULL, NULL, NULL
	};
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	struct args a = { .first = 1, .last = 100, .jobs = cores > 0 ? (unsigned)cores : 1, .storm_s = 10 };
	int found;

	argp_parse(&argp, argc, argv, 0, NULL, &a);
	log_set_level(LOG_LEVEL_ERROR);
	if (a.jobs < 1 || a.first == a.last)
		a.jobs = 1;
	found = a.jobs == 1 ? worker(&a, 0) : run_all(&a);
	printf("seeds %" PRIu64 "-%" PRIu64 ": %s\n", a.first, a.last, found ? "FOUND" : "nothing found");
	return a.expect && found < 2 ? !found : found;
}
