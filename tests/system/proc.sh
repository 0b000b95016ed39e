#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# /cluster/proc on three real nodes: 300 processes on each, moves, a node that dies, one that is cut off.
. "$(dirname "$0")/../lib/functions.sh"

requires_lab
requires_program ps
trap lab_cleanup EXIT

node=4194304
procs=300
work=$(mktemp -d)

ms() { date +%s%3N; }
ps_on() { on "$1" globalview ps -eo pid=,args=; }
# what is expected of node N's sleepers, one cluster pid a line
expected() { local n; for n in "$@"; do awk -v base=$((n * node)) '{ print base + $1 }' "$work/pids.$n"; done | sort; }
shown() { ps_on "$1" | awk '/[s]leep 1000[.]25$/ { print $1 }' | sort; }
same() { diff "$work/expected" "$work/shown" >"$work/diff" || fail "$1: $(head -5 "$work/diff")"; }

step "a cluster, $procs processes on each node"
lab up 3
for n in 1 2 3; do
	on "node$n" bash -c "for ((i = 0; i < $procs; i++)); do setsid sleep 1000.25 </dev/null >/dev/null 2>&1 & echo \$!; done" \
		>"$work/pids.$n"
done
eventually 10 "the sleepers" bash -c "[[ \$('$CFS_SRCDIR/tests/lab' exec node3 -- pgrep -fc 'sleep 1000[.]25') -ge $procs ]]"

step "ps sees them from every node"
expected 1 2 3 >"$work/expected"
for n in 1 2 3; do
	shown "node$n" >"$work/shown"
	same "ps on node$n"
done
best=999999
for _ in 1 2 3; do
	took=$(on node2 bash -c 'start=$(date +%s%3N); globalview ps aux >/dev/null; echo $(($(date +%s%3N) - start))')
	((took >= best)) || best=$took
done
step "globalview ps aux takes $best ms"
((best < 1000)) || fail "globalview ps aux took $best ms"
on node2 globalview top -b -n1 >"$work/top"
total=$(awk '/^Tasks:/ { print $2 }' "$work/top")
((total > 3 * procs)) || fail "top counts $total"
must_be "pgrep's count" "$(on node3 globalview pgrep -fc 'sleep 1000[.]25')" $((3 * procs))

step "single files"
pid=$(head -1 "$work/pids.1")
cpid=$((node + pid))
proc=/cluster/proc
must_be where "$(on node3 cat $proc/$cpid/where)" node1
must_be "where by plain pid" "$(on node1 cat "$proc/$pid/where")" node1
must_be home "$(on node2 cat $proc/$cpid/home)" node1
must_be exe "$(on node2 readlink $proc/$cpid/exe)" "$(on node1 readlink "/proc/$pid/exe")"
must_be cmdline "$(on node2 cat $proc/$cpid/cmdline | tr '\0' ' ')" "sleep 1000.25 "
must_be self "$(on node2 sh -c "cut -d' ' -f1 $proc/self/stat; echo" | head -1 | awk -v n=$node '{ print int($1 / n) }')" 2
must_be '$$' "$(on node3 sh -c 'cat /cluster/proc/$$/where')" node3
must_be members "$(on node1 cut -d' ' -f2,3 $proc/cluster/members)" $'node1 UP\nnode2 UP\nnode3 UP'
one_node=$(awk '/^MemTotal/ { print $2 }' /proc/meminfo)
must_be MemTotal "$(on node1 awk '/^MemTotal/ { print $2 }' $proc/meminfo)" $((3 * one_node))

step "moves"
on node1 bash -c "echo node3 >$proc/$pid/goto" || fail "goto: $(on node1 cat $proc/$cpid/cantmove)"
for n in 1 2 3; do must_be "where, from node$n" "$(on "node$n" cat $proc/$cpid/where)" node3; done
must_be "where by plain pid, at home" "$(on node1 cat "$proc/$pid/where")" node3
must_be goto "$(on node2 cat $proc/$cpid/goto)" node3
must_be nmigs "$(on node2 cat $proc/$cpid/nmigs)" 1
shown node2 >"$work/shown"
same "ps after a move"
on node2 bash -c "echo 2 >$proc/$cpid/goto"
must_be where "$(on node1 cat $proc/$cpid/where)" node2
on node2 bash -c "echo home >$proc/$cpid/goto"
must_be where "$(on node2 cat $proc/$cpid/where)" node1
shown node3 >"$work/shown"
same "ps after the return"

step "what goto refuses"
must_fail "Invalid argument" on node1 bash -c "echo nowhere >$proc/$cpid/goto"
must_fail "No such file" on node1 bash -c "echo node2 >$proc/$((node + 4194303))/goto"
must_fail "Permission denied" on node1 setpriv --reuid=65534 --clear-groups bash -c "echo node2 >$proc/$cpid/goto"
must_be where "$(on node2 cat $proc/$cpid/where)" node1

# left_out LIMIT FROM N...: at once, ps on FROM shows node N's processes and no others
left_out()
{
	local limit=$1 from=$2 start took
	shift 2
	start=$(ms)
	shown "$from" >"$work/shown"
	took=$(($(ms) - start))
	expected "$@" >"$work/expected"
	same "ps of nodes $*"
	step "   ps without the other took $took ms"
	((took < limit)) || fail "ps took $took ms"
}

all_back() { expected 1 2 3 >"$work/expected" && shown node1 >"$work/shown" && diff -q "$work/expected" "$work/shown" >/dev/null; }

step "a node that dies"
lab kill node3
left_out 3000 node1 1 2
must_fail "No route to host" on node1 cat "$proc/$((3 * node + $(head -1 "$work/pids.3")))/where"
lab start node3
eventually 30 "node3's processes" all_back

step "a node that is cut off"
lab cut node2
left_out 4000 node3 1 3
must_fail "No route to host" on node1 bash -c "echo node2 >$proc/$cpid/goto"
lab heal node2
eventually 30 "node2's processes" all_back

step "a node that stands still"
sed -n 1,20p "$work/pids.2" | awk -v base=$((2 * node)) '{ print base + $1 }' >"$work/still"
lab freeze node2
left_out 3000 node1 1 3
start=$(ms)
on node3 bash -c 'while read -r p; do ! cat /cluster/proc/$p/{limits,maps} 2>&1; done | sort | uniq -c' <"$work/still" >"$work/said"
took=$(($(ms) - start))
must_be "what reading from a node that stands still says" "$(awk '/No route to host/ { n += $1 } END { print n }' "$work/said")" 40
((took < 6000)) || fail "reading 40 files of a node that stands still took $took ms"
lab thaw node2
eventually 30 "node2's processes" all_back
rm -rf "$work"
