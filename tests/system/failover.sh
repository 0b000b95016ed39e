#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The file server dies, or is cut off, while two nodes write.  No call fails, no record is lost or
# doubled, the stall stays under two seconds, and the node that comes back is in sync again.
# CFS_ROUNDS (4) rounds; each second one cuts the network instead of killing.
. "$(dirname "$0")/../lib/functions.sh"
requires_lab
trap lab_cleanup EXIT
rounds=${CFS_ROUNDS:-4}
recorder=${CFS_BUILDDIR:-$CFS_SRCDIR/build}/tests/lib/recorder
out=$(mktemp -d)

fs() { on "$1" cfs status --json | python3 -c "import json, sys; f = json.load(sys.stdin)['filesystems'][0]; print($2)"; }
in_sync() { [[ $(fs "$1" 'len(f["in_sync"])') == 3 ]]; }
field() { sed -n "s/.*\"$1\": \([0-9.]*\).*/\1/p" "$2"; }

lab up 3
longest=0
for ((i = 1; i <= rounds; i++)); do
	server=$(fs node1 'f["server"]')
	mapfile -t clients < <(printf 'node%d\n' 1 2 3 | grep -vx "$server")
	eventually 60 "all nodes are in sync" in_sync "${clients[0]}"
	how='kill'
	((i % 2)) || how='cut'
	step "round $i: $how $server, which serves"
	pids=()
	for c in "${clients[@]}"; do
		on "$c" "$recorder" "/cluster/$c.$i" 8 >"$out/$c" 2>"$out/$c.err" &
		pids+=($!)
	done
	sleep 2
	lab "$how" "$server"
	for pid in "${pids[@]}"; do
		wait "$pid" || { cat "$out"/*.err; fail "a recorder saw an error"; }
	done
	for c in "${clients[@]}"; do
		n=$(field records "$out/$c")
		stall=$(field longest_stall_ms "$out/$c")
		step "   $c: $n records, longest stall $stall ms"
		longest=$(awk -v a="$longest" -v b="$stall" 'BEGIN { print (a > b ? a : b) }')
		# Read back on the other client: it is the cluster's answer, not a cache's.
		other=$(printf '%s\n' "${clients[@]}" | grep -vx "$c")
		on "$other" "$recorder" --verify "/cluster/$c.$i" "$n" || fail "records of $c"
	done
	if [[ $how == kill ]]; then lab start "$server"; else lab heal "$server"; fi
	eventually 90 "$server is in sync again" in_sync "${clients[0]}"
	for c in "${clients[@]}"; do
		on "$server" "$recorder" --verify "/cluster/$c.$i" "$(field records "$out/$c")" || fail "records of $c, read on $server"
	done
done
rm -rf "$out"
step "longest stall of all: $longest ms"
awk -v s="$longest" 'BEGIN { exit !(s < 2000) }' || fail "stalled for 2 s or more"
