#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# init, token, join and status; what they refuse, and that a refusal loses nothing.
. "$(dirname "$0")/../lib/functions.sh"
requires_lab
trap lab_cleanup EXIT

json() { on node1 cfs status --json | python3 -c "import json, sys; s = json.load(sys.stdin); print($1)"; }
json_state() { [[ $(json "[n[\"state\"] for n in s[\"nodes\"] if n[\"name\"] == \"$1\"][0]") == "$2" ]]; }
all_up() { [[ $(json '" ".join(n["state"] for n in s["nodes"])') == "$1" ]]; }

step "three nodes"
lab up 4 --no-start
for node in node1 node2 node3; do lab start "$node" --no-mount; done

step "status"
must_be "names" "$(json '" ".join(sorted(n["name"] for n in s["nodes"]))')" "node1 node2 node3"
must_be "ids" "$(json 'len(set(n["id"] for n in s["nodes"]))')" 3
eventually 20 "all nodes are up" all_up "UP UP UP"
must_be "filesystems" "$(json 'len(s["filesystems"])')" 1
must_be "fields" "$(json '" ".join(sorted(set(("name", "path", "server", "epoch", "in_sync")) & set(s["filesystems"][0])))')" \
	"epoch in_sync name path server"
for node in node1 node2 node3; do
	on "$node" cfs status | grep node2 >/dev/null || fail "cfs status on $node does not know node2"
done

step "a second init, and a join of a member"
must_fail "already" on node1 cfs init
token=$(on node1 cfs token)
must_fail "already" on node2 cfs join 10.99.0.1 "$token" --name node2 --address 10.99.0.2
must_fail "already" on node4 cfs join 10.99.0.1 "$token" --name node2 --address 10.99.0.4

step "tokens: made up, altered, used twice"
must_fail "not a join token" on node4 cfs join 10.99.0.1 nonsense --name node4 --address 10.99.0.4
# The last digit belongs to the secret.
last=${token: -1}
altered=${token%?}$([[ $last == 0 ]] && echo 1 || echo 0)
must_fail "token" on node4 cfs join 10.99.0.1 "$altered" --name node4 --address 10.99.0.4
must_be "nodes after refused joins" "$(json 'len(s["nodes"])')" 3
on node4 cfs join 10.99.0.1 "$token" --name node4 --address 10.99.0.4
on node4 sh -c 'rm -rf /var/lib/cfs/* /var/lib/cfs/.[!.]*' || true
must_fail "used before" on node4 cfs join 10.99.0.1 "$token" --name node5 --address 10.99.0.4

step "a cluster that cannot be reached"
token=$(on node1 cfs token)
lab cut node4
from=$SECONDS
must_fail "cannot be reached" on node4 cfs join 10.99.0.1 "$token" --name node5 --address 10.99.0.4
lab heal node4
((SECONDS - from < 20)) || fail "join of an address that nobody has took $((SECONDS - from)) s"
must_fail "not a node" on node4 cfs status

step "killed and started again"
lab kill node3
eventually 20 "node3 is seen as down" json_state node3 DOWN
lab start node3 --no-mount
eventually 20 "node3 is seen as up" json_state node3 UP
