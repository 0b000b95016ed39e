#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A seed replays exactly: two runs print the same trace, another seed prints another.
set -eu
sim=$CFS_BUILDDIR/tests/sim/cfs-sim
a=$(timeout 120 "$sim" --seed 7 --trace | sha256sum)
b=$(timeout 120 "$sim" --seed 7 --trace | sha256sum)
c=$(timeout 120 "$sim" --seed 8 --trace | sha256sum)
[ "$a" = "$b" ] || { echo "seed 7 ran differently the second time"; exit 1; }
[ "$a" != "$c" ] || { echo "seeds 7 and 8 are the same"; exit 1; }
