/*
 * One simulated cluster: three nodes (consensus + leases + file service), some clients, a network, faults by seed, and
 * a checker that knows what must be true. The cores are the daemon's own; what is here is only their shell.
 */
#ifndef CFS_TESTS_SIM_SIM_H
#define CFS_TESTS_SIM_SIM_H

#include "tests/sim/net.h"
#include "tests/sim/world.h"

#define SIM_NODES 3
#define SIM_CLIENTS_MAX 4
#define SIM_CLIENT(i) (SIM_NODES + 1 + (i)) /* process number of client i; nodes are 1.. */
#define SIM_FS 1u

/* Rules that can be broken on purpose, to see that the simulation would notice. */
enum sim_break {
	SIM_BREAK_ACK_EARLY = 1 << 0,	  /* acknowledge before the standby has it */
	SIM_BREAK_PROMOTE_STALE = 1 << 1, /* promote a standby that is not in sync */
	SIM_BREAK_NO_REPLY_RECORD = 1 << 2, /* forget the reply record */
	SIM_BREAK_NO_WAIT = 1 << 3,	  /* promote before the old lease has ended */
	SIM_BREAK_DIRTY_READ = 1 << 4,	  /* show what is not committed */
	SIM_BREAK_NO_LEASE = 1 << 5,	  /* serve without a lease */
	SIM_BREAK_TRUST_LOST = 1 << 6,	  /* go on with a copy that lost power as if it were whole */
	SIM_BREAK_SURVIVOR_EARLY = 1 << 7, /* after a loss of power do not wait for all in-sync members */
	SIM_BREAK_SURVIVOR_SHORTEST = 1 << 8, /* choose the shortest copy then */
	SIM_BREAK_JOIN_UNSYNCED = 1 << 9, /* count a member in sync whose copy is not durable */
};

struct sim_conf {
	uint64_t seed;
	unsigned breaks;
	uint32_t guards_off; /* RAFT_GUARD(n) | ... */
	FILE *trace;
	uint64_t storm_us, calm_us; /* how long faults strike, how long the cluster then has to come together */
};

struct sim_node;
struct sim_client;
struct check;

struct sim {
	struct sim_conf conf;
	struct world world;
	struct net *net;
	struct sim_node *nodes[SIM_NODES + 1];
	struct sim_client *clients[SIM_CLIENTS_MAX];
	size_t nr_clients;
	struct check *check;
	bool storm; /* faults still strike */
	bool failed;
	char why[256];
};

/* Runs one seed. True when nothing was wrong; else SIM_WHY says what. */
bool sim_run(const struct sim_conf *conf, char *ret_why, size_t len);
/* Something is not as it must be: the run ends here. */
void sim_fail(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
