/*
 * Consensus alone: up to seven servers whose membership keeps changing, small snapshots, every fault. Checks: one leader
 * a term, the same entries applied everywhere, nothing committed lost, no busy timers, and that after the storm the group
 * comes together and can still change its membership.
 */
#ifndef CFS_TESTS_SIM_RAFT_SIM_H
#define CFS_TESTS_SIM_RAFT_SIM_H

#include "cluster/raft_core.h"
#include "tests/sim/sim.h"

bool raft_sim_run(const struct sim_conf *conf, char *ret_why, size_t len);

#endif
