#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The simulated cluster with one rule broken at a time: each must be found, or the simulation proves nothing.
set -eu
sim=$CFS_BUILDDIR/tests/sim/cfs-sim
for rule in ack-early promote-stale no-reply-record dirty-read no-lease; do
	echo "rule broken: $rule"
	timeout 900 "$sim" --seeds 1-2000 --break "$rule" --expect-failure
done
