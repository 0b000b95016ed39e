#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Consensus with one guard of the library's defects switched off at a time (cluster/raft_guards.c): each must be found.
set -eu
sim=$CFS_BUILDDIR/tests/sim/cfs-sim
for guard in 1 2 4 11; do
	echo "guard off: G$guard"
	timeout 900 "$sim" --raft --seeds "1-${CFS_SIM_GUARD_SEEDS:-20000}" --guard-off "$guard" --expect-failure
done
