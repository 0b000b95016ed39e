#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A job whose children come and go all the time moves round the three nodes 50 times (CFS_MOVES).
# Its pid, its output, its file and its exit status are those of a job that stayed.  More of moving:
# goto.sh.
. "$(dirname "$0")/../lib/functions.sh"
requires_lab
trap lab_cleanup EXIT
moves=${CFS_MOVES:-50}
out=$(mktemp)

# The cluster pid of the one process whose arguments start so.
find_cpid() { on node2 globalview ps -eo pid,args | awk -v want="$1" 'index($0, want) && $2 == "sh" { print $1; exit }'; }
there() { [[ -n $(find_cpid "$1") ]]; }
move() # CPID NODE
{
	on node1 sh -c "echo $2 >/cluster/proc/$1/goto" || fail "move to $2: $(on node1 cat "/cluster/proc/$1/cantmove")"
	must_be "where of $1" "$(on node3 cat "/cluster/proc/$1/where")" "$2"
}

lab up 3
step "a job that writes to its standard output and to a file"
on node1 tee /cluster/job.sh >/dev/null <<-'END'
	exec 3>>/cluster/job.log
	i=0
	while ! [ -e /cluster/stop ]; do
		i=$((i + 1))
		echo "$$ $i"
		echo "$$ $i" >&3
		sleep 0.02
	done
	exit 42
END
ON_LIMIT=600 on node1 cfs run sh /cluster/job.sh >"$out" &
run=$!
eventually 20 "the job runs" there "sh /cluster/job.sh"
cpid=$(find_cpid "sh /cluster/job.sh")

step "$moves moves"
nodes=(node2 node3 node1)
from=$(date +%s%N)
for ((i = 0; i < moves; i++)); do
	move "$cpid" "${nodes[i % 3]}"
done
step "$(((($(date +%s%N) - from) / 1000000) / moves)) ms a move, looking where it is included"
on node2 touch /cluster/stop
status=0
wait $run || status=$?
must_be "exit status" $status 42
must_be "pids seen by the job" "$(cut -d' ' -f1 "$out" | sort -u | wc -l)" 1
diff <(cut -d' ' -f2 "$out") <(seq "$(wc -l <"$out")") >/dev/null || fail "standard output has a gap or a line twice"
on node3 cat /cluster/job.log | cmp - "$out" || fail "file and standard output differ"
step "$(wc -l <"$out") lines, none lost, none twice"
rm -f "$out"
