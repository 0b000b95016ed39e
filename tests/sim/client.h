/* A simulated client: the mount's own core (fuse/client_core.h) and an application that does random things. */
#ifndef CFS_TESTS_SIM_CLIENT_H
#define CFS_TESTS_SIM_CLIENT_H

#include "tests/sim/sim.h"

struct sim_client *sim_client_new(struct sim *s, uint32_t proc);
void sim_client_free(struct sim_client *c);
void sim_client_start(struct sim_client *c);
/* No new operations: what is under way may still end. True when nothing is. */
bool sim_client_idle(const struct sim_client *c);

#endif
