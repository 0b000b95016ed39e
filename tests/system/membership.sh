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

# The token with another byte at OFFSET, and the right check: not a typing error.
forge() # TOKEN OFFSET
{
	python3 - "$@" <<-'END'
	import base64, hashlib, sys
	text = sys.argv[1][5:]
	body = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))[:-4])
	body[int(sys.argv[2])] ^= 1
	print("cfs1-" + base64.urlsafe_b64encode(bytes(body) + hashlib.sha256(body).digest()[:4]).decode().rstrip("="))
	END
}

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
must_fail "wrong, or another cluster" on node4 cfs join 10.99.0.1 "$(forge "$token" 0)" --name node4 --address 10.99.0.4
must_fail "wrong, or another cluster" on node4 cfs join 10.99.0.1 "$(forge "$token" 20)" --name node4 --address 10.99.0.4
must_fail "newer version" on node4 cfs join 10.99.0.1 "cfs2${token#cfs1}" --name node4 --address 10.99.0.4
must_be "nodes after forged tokens" "$(json 'len(s["nodes"])')" 3
on node4 cfs join 10.99.0.1 "$token" --name node4 --address 10.99.0.4

step "the answer to a join is lost, and asked for again"
on node4 rm /var/lib/cfs/node /var/lib/cfs/config
on node4 cfs join 10.99.0.1 "$token" --name node4 --address 10.99.0.4
must_be "nodes after the same join twice" "$(json 'len(s["nodes"])')" 4
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

step "removed: what was never up, not what is up or unknown"
must_fail "is UP" on node1 cfs remove node2
must_fail "cfs leave" on node1 cfs remove node1
must_fail "no node nowhere" on node1 cfs remove nowhere
must_fail "cfsd is running" on node2 cfs leave
on node1 cfs remove node4
must_be "nodes" "$(json 'len(s["nodes"])')" 3

step "killed and started again"
lab kill node3
eventually 20 "node3 is seen as down" json_state node3 DOWN
lab start node3 --no-mount
eventually 20 "node3 is seen as up" json_state node3 UP

step "a dead node is removed, and refused when it comes back"
lab kill node3
on node1 cfs remove node3
must_be "names" "$(json '" ".join(n["name"] for n in s["nodes"])')" "node1 node2"
must_be "copies" "$(json '" ".join(s["filesystems"][0]["members"])')" "node1 node2"
eventually 20 "an odd number of votes" eval '[[ $(json "sum(n[\"voter\"] for n in s[\"nodes\"])") == 1 ]]'
on node3 setsid -f cfsd >>/dev/null 2>&1
eventually 10 "node3 hears that it was removed" must_fail "was removed" on node3 cfs status
must_fail "" on node3 mount -t fuse.cfs cfs /cluster
must_be "names" "$(json '" ".join(n["name"] for n in s["nodes"])')" "node1 node2"

step "it joins again, under the name it had"
lab kill node3
on node3 sh -c 'rm -rf /var/lib/cfs/* /var/lib/cfs/.[!.]*' || true
on node3 cfs join 10.99.0.1 "$(on node1 cfs token)" --name node3 --address 10.99.0.3
lab start node3
eventually 20 "node3 is up again" json_state node3 UP
must_be "its number" "$(json '[n["id"] for n in s["nodes"] if n["name"] == "node3"][0] > 4')" True
eventually 60 "three copies in sync" eval '[[ $(json "len(s[\"filesystems\"][0][\"in_sync\"])") == 3 ]]'

step "the server, which leads, leaves in order"
server=$(json 's["filesystems"][0]["server"]')
[[ $server == node1 ]] && ask=node2 || ask=node1
on "$server" sh -c 'kill $(pidof cfsd); while pidof cfsd >/dev/null; do sleep 0.1; done'
on "$server" cfs leave
names() { on "$ask" cfs status --json | python3 -c 'import json, sys; print(*sorted(n["name"] for n in json.load(sys.stdin)["nodes"]))'; }
[[ " $(names) " != *" $server "* ]] || fail "$server is still there after it left: $(names)"
must_fail "was removed" on "$server" cfs status
on "$ask" sh -c 'mountpoint -q /cluster || mount -t fuse.cfs cfs /cluster; echo fine >/cluster/after-leave'
must_fail "already" on "$server" cfs init

step "two nodes become one"
other=$(for name in $(names); do [[ $name == "$ask" ]] || echo "$name"; done)
lab kill "$other"
on "$ask" cfs remove "$other"
must_fail "only node" on "$ask" cfs leave
must_be "its file" "$(on "$ask" cat /cluster/after-leave)" fine
