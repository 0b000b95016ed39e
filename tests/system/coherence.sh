#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What one node changes the next sees, at the very next system call: one process looks at the mounts of two nodes.
# Also while connections are cut, and the mounts stay small.
. "$(dirname "$0")/../lib/functions.sh"
requires_lab
checker=${CFS_BUILDDIR:-$CFS_SRCDIR/build}/tests/lib/coherence
[[ -x $checker ]] || skip "needs tests/lib/coherence (make)"
trap lab_cleanup EXIT

lab up 3
mount_pid() { lab status | awk -v n="$1" '$1 == n' | grep -o 'mount.fuse.cfs=[0-9]*' | cut -d= -f2; }
seen_from() { echo "/proc/$(mount_pid "$1")/root/cluster"; }

for pair in "node1 node2" "node2 node3" "node3 node1"; do
	read -r a b <<<"$pair"
	step "$a and $b"
	on "$a" mkdir "/cluster/$a"
	timeout 120 "$checker" "$(seen_from "$a")/$a" "$(seen_from "$b")/$a"
done

step "two mounts of one node"
root=$(seen_from node2)
on node2 sh -c 'mkdir /run/other /cluster/two && mount -t fuse.cfs cfs /run/other'
on node2 sh -c 'test -d /run/other/proc && ls /run/other/two'
timeout 120 "$checker" "$root/two" "${root%/cluster}/run/other/two"
on node2 umount /run/other

step "the server fails while both look"
on node1 mkdir /cluster/failing
timeout 120 "$checker" "$(seen_from node2)/failing" "$(seen_from node3)/failing" 1500 &
pid=$!
sleep 1
lab kill node1 cfsd
wait $pid
lab start node1

# The server goes on holding a file for its last user a while: not longer than its name.
step "a closed file goes with its name"
inodes() { on node1 df --output=iused /cluster | tail -1; }
before=$(inodes)
as_before() { [[ $(inodes) == "$before" ]]; }
on node2 sh -c 'echo closed > /cluster/gone && rm /cluster/gone'
as_before || fail "removed by who made it, it is still there"
on node2 sh -c 'echo closed > /cluster/gone'
on node3 rm /cluster/gone
eventually 2 "the removed file is freed" as_before
on node2 sh -c 'exec 3<>/cluster/gone; echo open >&3; sleep 6; echo still >&3' &
sleep 1
on node3 rm /cluster/gone
wait $!
eventually 2 "the removed file is freed after its close" as_before

step "memory of the mounts"
on node2 sh -c 'dd if=/dev/zero of=/cluster/big bs=1M count=64 2>/dev/null; cat /cluster/big >/dev/null'
sleep 1
for node in node1 node2 node3; do
	rss=$(awk '/^VmRSS/ { print $2 }' "/proc/$(mount_pid $node)/status")
	step "$node: $rss kB"
	((rss < 30000)) || fail "mount.fuse.cfs on $node has $rss kB"
done

step "umount ends the daemon"
pid=$(mount_pid node3)
on node3 umount /cluster
eventually 5 "mount.fuse.cfs is gone" test ! -d "/proc/$pid"
