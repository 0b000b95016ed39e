#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The simulated cluster with one rule broken at a time: each must be found, or the simulation proves nothing.
set -eu
sim=$CFS_BUILDDIR/tests/sim/cfs-sim
for rule in ack-early promote-stale no-reply-record dirty-read no-lease trust-lost survivor-early survivor-shortest; do
	echo "rule broken: $rule"
	timeout 900 "$sim" --seeds 1-2000 --break "$rule" --expect-failure
done
# Power has to be lost right after a member has joined, and the wrong bytes to be on its disk.
echo "rule broken: join-unsynced"
timeout 900 "$sim" --seeds 10001-20000 --break join-unsynced --expect-failure
