#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The server's disk fills up: the application gets ENOSPC, the server stays up, what was
# acknowledged is there, and after something is removed writing works again.
. "$(dirname "$0")/../lib/functions.sh"
requires_lab
trap lab_cleanup EXIT

lab up 3 --disk 64m
step "files before"
on node2 sh -c 'mkdir /cluster/d && for i in 1 2 3 4 5; do echo $i >/cluster/d/$i; done; sync'
step "filling it"
status=0
said=$(on node2 sh -c 'dd if=/dev/zero of=/cluster/big bs=1M count=200 conv=fsync 2>&1') || status=$?
[[ $status != 0 ]] || fail "200 MB fitted on a disk of 64 MB"
[[ $said == *"No space left"* ]] || fail "dd said: $said"
step "everything still works"
for node in node1 node2 node3; do
	timeout 10 "$CFS_SRCDIR/tests/lab" exec "$node" -- cfs status >/dev/null || fail "$node does not answer"
	must_be "files seen from $node" "$(on "$node" sh -c 'cat /cluster/d/*' | tr -d '\n')" 12345
done
on node3 rm /cluster/big
eventually 20 "writing works again" on node3 sh -c 'dd if=/dev/zero of=/cluster/small bs=1M count=1 conv=fsync 2>/dev/null'
