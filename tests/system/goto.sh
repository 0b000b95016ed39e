#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Processes move between real nodes: programs that check themselves go round three nodes, a job keeps its pid, output,
# input and exit status over CFS_MOVES (50) moves, 100 MB is frozen for less than a second, and what cannot be moved is
# refused with its reason and runs on.
. "$(dirname "$0")/../lib/functions.sh"
requires_lab
trap lab_cleanup EXIT
moves=${CFS_MOVES:-50}
bin=${CFS_BUILDDIR:-$CFS_SRCDIR/build}/tests
out=$(mktemp -d)

cpid() { echo $((${1#node} * 4194304 + $2)); } # NODE PID
goto() { on "$1" sh -c "echo $3 >/cluster/proc/$2/goto"; } # ASKED CPID TARGET
where() { on "$1" cat "/cluster/proc/$2/where"; }
pid_of_job() { sed -n 's/^pid //p' "$1"; }
has_pid() { [[ -n $(pid_of_job "$1") ]]; }
round() { echo "node$((($1 % 3) + 1))"; } # 1 -> node2, 2 -> node3, 3 -> node1

lab up 3
on node1 mkdir /cluster/w

step "a job of cfs run: $moves moves with input and output"
{ for ((i = 1; i <= moves * 20; i++)); do echo "line $i"; sleep 0.03; done; } |
	ON_LIMIT=600 on node2 cfs run --node node1 -- sh -c \
		'cd /cluster/w; echo pid $$; while read -r l; do n=$((n + 1)); echo "$l by $$"; done; echo "read $n" >&2; exit 42' \
	>"$out/run" 2>"$out/run.err" &
job=$!
eventually 10 "the job has started" has_pid "$out/run"
pid=$(pid_of_job "$out/run")
job_cpid=$(cpid node1 "$pid")
for ((i = 1; i <= moves; i++)); do
	goto node3 "$job_cpid" "$(round "$i")" || fail "move $i to $(round "$i")"
done
must_be "the job's place" "$(where node2 "$job_cpid")" "$(round "$moves")"
status=0
wait "$job" || status=$?
must_be "its exit status" "$status" 42
for ((i = 1; i <= moves * 20; i++)); do echo "line $i by $pid"; done >"$out/expected"
sed 1d "$out/run" | cmp - "$out/expected" || fail "its output is not what it was given"
must_be "its stderr" "$(cat "$out/run.err")" "read $((moves * 20))"

step "a job killed by a signal, after a move"
on node1 cfs run -- sh -c 'echo pid $$; exec sleep 100' >"$out/killed" &
job=$!
eventually 10 "the job has started" has_pid "$out/killed"
pid=$(pid_of_job "$out/killed")
goto node1 "$pid" node2
on node2 pkill -9 -x sleep
status=0
wait "$job" || status=$?
must_be "its exit status" "$status" 137

for program in move_file move_threads move_tree move_signals move_fds move_maps move_attrs; do
	step "$program: 9 moves"
	on node1 cfs run -- sh -c "cd /cluster/w; echo pid \$\$; exec $bin/migrate/$program 12" >"$out/$program" &
	job=$!
	eventually 10 "$program has started" has_pid "$out/$program"
	pid=$(pid_of_job "$out/$program")
	for ((i = 1; i <= 9; i++)); do
		goto node1 "$(cpid node1 "$pid")" "$(round "$i")" || fail "move $i of $program"
	done
	wait "$job" || fail "$program: $(cat "$out/$program")"
	must_be "its verdict" "$(tail -n 1 "$out/$program")" PASS
done

for size in 10 100; do
	step "$size MB"
	on node1 sh -c "cd /cluster/w && setsid -f $bin/lib/ticker $size /cluster/w/gap.$size </dev/null >/dev/null 2>&1"
	pid=$(on node1 pgrep -xn ticker)
	on node1 kill -USR1 "$pid"
	sleep 0.5
	goto node1 "$pid" node3
	sleep 0.5
	gap=$(on node2 cat "/cluster/w/gap.$size" | tr -d ' ')
	step "   frozen $((gap / 1000)) ms as it saw it; $(lab log node1 | grep -o 'frozen .*' | tail -n 1)"
	((gap > 0 && gap < 1000000)) || fail "frozen for $gap us"
	on node3 pkill -TERM -x ticker
done

ended() { ! on node1 pgrep -x "$1" >/dev/null; }

step "the number of a process that left is not given away"
number_is_kept() { [[ $(on node1 cat "/proc/$1/comm" 2>/dev/null) == cfs-moved ]]; }
number_is_free() { ! on node1 test -e "/proc/$1"; }
new_pid() { on node1 sh -c "echo $(($1 - 1)) >/proc/sys/kernel/ns_last_pid; sh -c 'echo \$\$'"; }
on node1 sh -c "cd /cluster/w && setsid -f $bin/lib/ticker 1 /cluster/w/gap.n </dev/null >/dev/null 2>&1"
pid=$(on node1 pgrep -xn ticker)
goto node1 "$pid" node3
eventually 5 "node1 keeps number $pid" number_is_kept "$pid"
[[ $(new_pid "$pid") != "$pid" ]] || fail "another process got number $pid"
must_be "its lines in ps" "$(on node2 globalview ps -eo pid,comm | grep -c "^ *$(cpid node1 "$pid") ")" 1
on node1 pkill -KILL -x cfs-migrated
eventually 10 "its successor keeps it, too" number_is_kept "$pid"
goto node2 "$(cpid node1 "$pid")" node1
must_be "its lines in ps" "$(on node2 globalview ps -eo pid,comm | grep -c "^ *$(cpid node1 "$pid") ")" 1
number_is_kept "$pid" || fail "number $pid is not kept while the process is back"
on node1 pkill -TERM -x ticker
eventually 5 "the number is free again" number_is_free "$pid"

for kind in io_uring device tty socket local-file pidfd shared-offset shared-map ext-unix-socket cpu-affinity ptraced vfork \
	zombie-leader capability; do
	step "refused: $kind"
	if [[ $kind == capability ]] && (($((0x$(sed -n 's/CapEff:\t//p' /proc/self/status) >> 24 & 1)))); then
		step "   the machine has it"
		continue
	fi
	on node1 sh -c "cd /cluster/w && umask 0; rm -f count; : >count; setsid -f $bin/migrate/refuse $kind /cluster/w/count </dev/null >/dev/null 2>&1"
	sleep 0.5
	pid=$(on node1 pgrep -xo refuse) || { step "   not available on this kernel"; continue; }
	cantmove=$(on node1 cat "/cluster/proc/$pid/cantmove")
	must_be "the number of reasons in $cantmove" "$(grep -c . <<<"$cantmove")" 1
	[[ $cantmove == "$kind "* ]] || fail "cantmove says: $cantmove"
	must_fail "$kind" on node1 cfs migrate "$pid" node2
	before=$(on node1 cat /cluster/w/count)
	sleep 0.3
	[[ $(on node1 cat /cluster/w/count) > "$before" ]] || fail "it does not run on"
	on node1 kill -TERM "$pid"
	eventually 5 "it ends" ended refuse
done

step "unknown and unreachable nodes"
on node1 sh -c "cd /cluster/w && setsid -f $bin/lib/ticker 1 /cluster/w/gap </dev/null >/dev/null 2>&1"
pid=$(on node1 pgrep -xn ticker)
must_fail "no node node9" on node1 cfs migrate "$pid" node9
must_fail "no such process" on node1 cfs migrate 999999 node2
lab kill node3
must_fail node3 on node1 cfs migrate "$pid" node3
must_be "its place" "$(where node1 "$pid")" node1
on node1 kill -TERM "$pid"
rm -rf "$out"
