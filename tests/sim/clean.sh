#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The simulated cluster, all rules kept: nothing may be found.  CFS_SIM_SEEDS=N for more than the usual.
set -eu
sim=$CFS_BUILDDIR/tests/sim/cfs-sim
timeout 900 "$sim" --seeds "1-${CFS_SIM_SEEDS:-2000}"
timeout 900 "$sim" --raft --seeds "1-${CFS_SIM_SEEDS:-2000}"
