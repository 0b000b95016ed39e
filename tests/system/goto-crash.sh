#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# cfs-migrated is killed at each point of a move, at the source or at the target.  When it is there again, exactly one copy
# of the process runs: before the decision the original, after it the copy; and no line of what it writes is missing or
# there twice.  (The exhaustive version, without real processes, is tests/unit/migrate/test_move.)
#
# Only cfs-migrated runs here, started by hand so that one of them can have a fault armed; a local directory that all nodes
# see stands for the cluster's filesystem.
. "$(dirname "$0")/../lib/functions.sh"
requires_lab
requires_program findmnt
build=${CFS_BUILDDIR:-$CFS_SRCDIR/build}
root=${CFS_LAB_ROOT:-/var/tmp/cfs-lab}
work=$(mktemp -d /var/tmp/cfs-goto.XXXXXX)
type=$(findmnt -no FSTYPE -T "$work")

clean_up()
{
	local status=$?
	trap - EXIT
	if [[ $status != 0 && $status != 77 ]]; then tail -vn 20 "$work"/migrated.*; fi
	lab down || status=1
	rm -rf "$work"
	exit "$status"
}
trap clean_up EXIT

migrated() # NODE [CFS_FAULT]: starts it
{
	on "$1" env CFS_FAULT="${2:-}" setsid -f "$build/migrate/cfs-migrated" --cfs-type "$type" \
		</dev/null >>"$work/migrated.$1" 2>&1
	eventually 5 "cfs-migrated on $1 is ready" on "$1" pgrep -x cfs-migrated >/dev/null
}
stop_migrated() { on "$1" sh -c 'pkill -KILL -x cfs-migrated; while pgrep -x cfs-migrated >/dev/null; do sleep 0.05; done' || true; }
is_dead() { ! on "$1" pgrep -x cfs-migrated >/dev/null; }
count() { on "$1" pgrep -xc move_file || true; }
settled() { (($(count node1) + $(count node2) == 1)); }
runs_at() { settled && (($(count "$1") == 1)) && grows; }
grows()
{
	local before
	before=$(stat -c %s "$work"/log.*)
	sleep 0.3
	(($(stat -c %s "$work"/log.*) > before))
}
# No image, no cfs-job or its socket, no zombie, no criu.
is_clean()
{
	[[ -z $(on "$1" find /run/cfs/images /run/cfs/jobs -mindepth 1) ]] && ! on "$1" pgrep -x 'cfs-job|criu' >/dev/null
}
is_over() { (($(count node1) + $(count node2) == 0)); }

begin()
{
	rm -f "$work"/log.* "$work"/file.* "$work"/said
	on node1 sh -c "cd $work && setsid -f $build/tests/migrate/move_file 8 </dev/null >said 2>&1"
	sleep 0.5
	pid=$(on node1 pgrep -x move_file)
}

strike() # POINT NODE WHERE-IT-ENDS
{
	local point=$1 node=$2 at=$3 pid
	step "$node killed at $point: it stays or goes on, on $at"
	stop_migrated "$node"
	migrated "$node" "$point:kill"
	begin
	ON_LIMIT=4 on node1 "$build/cli/cfs" migrate "$pid" node2 2>/dev/null && fail "the move said it worked"
	eventually 5 "the fault strikes" is_dead "$node"
	migrated "$node"
	eventually 10 "one copy runs, on $at" runs_at "$at"
	finish
}

# What it did, and what the move left.
finish()
{
	eventually 15 "it ends" is_over
	must_be "its own verdict" "$(cat "$work/said")" PASS
	[[ -z $(uniq -d "$work"/log.*) ]] || fail "it did work twice: $(uniq -d "$work"/log.* | head -n 3)"
	[[ -z $(on node1 find /var/lib/cfs/migrate/moves -type f) ]] || fail "a record of the move is left"
	for node in node1 node2; do
		eventually 5 "nothing is left on $node" is_clean "$node"
	done
	[[ -z $(find "$(findmnt -nt cgroup2 -o TARGET | head -n 1)/cfs-lab/$CFS_LAB" -name 'cfs-move-*') ]] ||
		fail "a cgroup of the move is left"
}

lab up 3 --no-start
"$build/tests/migrate/cluster_state" "$root/$CFS_LAB"/node{1,2,3}/state
for node in node1 node2 node3; do migrated "$node"; done
strike move_source_sending node1 node1
strike move_target_receiving node2 node1
strike move_source_frozen node1 node1
strike move_source_voted node1 node1
strike move_source_decided node1 node2
strike move_target_restored node2 node1
strike move_target_resumed node2 node2

# Each strikes once; which comes first depends on what is sent when.
undo()
{
	local pid i said
	step "five moves fail, each at another point, and are undone; the sixth is good"
	stop_migrated node1
	stop_migrated node2
	migrated node1 move_source_sending:fail=5,move_source_frozen:fail=5,move_source_voted:fail=5
	migrated node2 move_target_receiving:fail=28,move_target_restored:fail=5
	begin
	for i in 1 2 3 4 5; do
		on node1 "$build/cli/cfs" migrate "$pid" node2 2>>"$work/reasons" && fail "move $i said it worked"
	done
	said=$(sort "$work/reasons" | uniq -c | sed 's/^ *//')
	must_be "what the five moves said" "$said" "2 cfs migrate: fault point
1 cfs migrate: node2: cannot keep the copy: Input/output error
1 cfs migrate: sending to node2 failed: Input/output error
1 cfs migrate: sending to node2 failed: No space left on device"
	runs_at node1 || fail "it does not run on"
	on node1 "$build/cli/cfs" migrate "$pid" node2 || fail "the sixth move"
	runs_at node2 || fail "it does not run on node2"
	finish
}
undo
