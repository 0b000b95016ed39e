#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The lab itself, without daemons: isolation, exit status and stdio, freeze, cut, two labs at once,
# and nothing left behind, even after its script was killed in the middle of its work.
. "$(dirname "$0")/../lib/functions.sh"
requires_lab

# What the machine shows of the things a lab could leave behind.
footprint()
{
	ip netns
	ip -o link | cut -d: -f2
	mount | grep -v ^procfs_mount	# of a unit test that may run beside this one
	find "$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)" -maxdepth 2 -path "*/$CFS_LAB*"
	# Kernel threads come and go by themselves, and so does whatever else runs here.
	pgrep -fa -- "--name $CFS_LAB" || true
	# The mount points stay while other labs use them.
	[[ -n $other_labs ]] || ls / /var/lib /var/tmp
}

# Refused is an answer.
reaches() { { on "$1" timeout 1 bash -c "exec 3<>/dev/tcp/$2/9" 2>&1 || true; } | grep refused >/dev/null; }

other_labs=$(find /var/tmp/cfs-lab -mindepth 1 -maxdepth 1 -type d 2>/dev/null || true)
nothing_left() { diff <(echo "$before") <(footprint) || fail "something is left $1"; }

before=$(footprint)
trap lab_cleanup EXIT

step "three nodes"
lab up 3 --no-start
must_be "host name" "$(on node2 hostname)" node2
must_be "pid of init" "$(on node1 sh -c 'readlink /proc/1/exe' | xargs basename)" bash
must_be "descriptors" "$(on node1 sh -c 'ls /proc/$$/fd' </dev/null | tr '\n' ' ')" "0 1 2 "
must_be "stdin to stdout" "$(echo hello | on node3 cat)" hello
status=0
on node1 sh -c 'exit 7' || status=$?
must_be "exit status" $status 7
on node1 sh -c 'echo one >/var/lib/cfs/x && echo one >/run/cfs/x'
must_fail "No such file" on node2 cat /var/lib/cfs/x
must_fail "No such file" on node2 cat /run/cfs/x

step "what is not understood is refused"
must_fail "no verb dance" lab dance
must_fail "down takes no $CFS_LAB" lab down "$CFS_LAB"
must_fail "freeze takes no node2" lab freeze node1 node2
must_fail "needs more words" lab exec node1
must_fail "goes behind --" lab exec node1 ls -l
must_fail "there is no node9" lab exec node9 -- true
must_fail "a number of nodes" lab up three
lab exec --help | grep -q '^usage' || fail "no help"

step "network: cut and heal"
reaches node1 10.99.0.3 || fail "node1 does not reach node3"
lab cut node3
! reaches node1 10.99.0.3 || fail "node1 reaches node3, which is cut off"
reaches node1 10.99.0.2 || fail "node1 does not reach node2"
lab heal node3
eventually 5 "node1 reaches node3 again" reaches node1 10.99.0.3

step "freeze and thaw"
on node2 setsid -f sh -c 'while :; do echo >>/run/ticks; sleep 0.01; done'
lab freeze node2
lab status | grep 'node2 .*frozen' >/dev/null || fail "status does not say frozen"
must_fail "frozen" lab exec node2 -- true
lab thaw node2
on node2 true

step "another lab beside it"
CFS_LAB=$CFS_LAB-b lab up 2 --no-start
must_be "address" "$(CFS_LAB=$CFS_LAB-b on node1 hostname -I | tr -d ' ')" 10.99.0.1
must_fail "already there" lab up 1 --no-start
CFS_LAB=$CFS_LAB-b lab down
on node1 test -d /cluster

step "down, with a frozen node"
lab freeze node2
lab down
nothing_left "after down"
lab down

step "the script killed at ten points of its start"
for delay in 0.02 0.05 0.08 0.11 0.15 0.2 0.25 0.3 0.4 0.6; do
	"$CFS_SRCDIR/tests/lab" up 3 --no-start 2>/dev/null &
	pid=$!
	sleep "$delay"
	kill -KILL $pid 2>/dev/null || true
	wait $pid 2>/dev/null || true
	lab down
	nothing_left "after being killed at $delay s"
done
trap - EXIT
