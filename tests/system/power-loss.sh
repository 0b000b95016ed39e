#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# All nodes lose power at once.  What was synced is there, the cluster serves again and comes into sync by itself, and a
# mount that outlived it says of what it had not synced that it may be gone.
#
# A node that comes back has another boot id, and its copy of the filesystem is as it was at some earlier moment after
# the last sync, another one on each node: that is what a disk keeps.  The state of consensus stays: it is always synced.
. "$(dirname "$0")/../lib/functions.sh"
requires_lab
requires_program python3
trap lab_cleanup EXIT

nodes=(node1 node2 node3)
fs() { on "$1" cfs status --json | python3 -c "import json, sys; f = json.load(sys.stdin)['filesystems'][0]; print($2)"; }
in_sync() { [[ $(fs node1 'len(f["in_sync"])') == 3 ]]; }
in_sync_after() { [[ $(fs node1 'len(f["in_sync"]) == 3 and f["epoch"] > '"$1") == True ]]; }
everywhere()
{
	local n pids=()
	for n in "${nodes[@]}"; do
		"$@" "$n" &
		pids+=($!)
	done
	for n in "${pids[@]}"; do wait "$n" || fail "$*"; done
}

keep_copy() { on "$1" cp -a /var/lib/cfs/fs /var/lib/cfs/fs.kept; }
restore_copy() { on "$1" sh -c '[ ! -d /var/lib/cfs/fs.kept ] || { rm -rf /var/lib/cfs/fs && mv /var/lib/cfs/fs.kept /var/lib/cfs/fs; }'; }
new_boot() { on "$1" sh -c 'cat /proc/sys/kernel/random/uuid >/run/boot_id && mount --bind /run/boot_id /proc/sys/kernel/random/boot_id'; }
kill_daemons() { lab kill "$1" cfsd cfs-migrated; }

# The mounts live on: they are on machines that kept their power.
lose_power()
{
	local epoch
	step "all nodes lose power"
	epoch=$(fs node1 'f["epoch"]')
	# At one moment: nobody shall see another one die and change the configuration.
	everywhere lab freeze
	everywhere kill_daemons
	everywhere lab thaw
	everywhere restore_copy
	everywhere new_boot
	SECONDS=0
	everywhere lab start
	# Nobody's word from before counts.
	eventually 60 "all nodes are in sync, later than epoch $epoch" in_sync_after "$epoch"
	step "   in sync again after $SECONDS s, served by $(fs node1 'f["server"]')"
}

write_synced() { on "$1" python3 -c 'import os, sys
f = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
os.write(f, sys.argv[2].encode())
os.fsync(f)' "$2" "$3"; }
content() { on "$1" cat "$2"; }

lab up 3
eventually 60 "all nodes are in sync" in_sync

# An application that outlives it: its last write is not synced.
coproc APP { ON_LIMIT=300 on node1 python3 -u -c 'import os, sys
f = os.open("/cluster/app", os.O_CREAT | os.O_WRONLY, 0o644)
os.write(f, b"synced ")
os.fsync(f)
print("ready")
sys.stdin.readline()
os.write(f, b"not synced")
print("written")
sys.stdin.readline()
for i in range(2):
    try:
        os.fsync(f)
        print("synced")
    except OSError as e:
        print(e.strerror)
os.write(f, b" and on")
os.fsync(f)
print("goes on")'; }
app() { printf '\n' >&"${APP[1]}"; }
heard() { local line; read -r -t 60 line <&"${APP[0]}" || fail "the application says nothing"; must_be "what the application says" "$line" "$1"; }

heard ready
write_synced node2 /cluster/synced 'all of it'
write_synced node2 /cluster/replaced 'the old one'
on node2 sh -c 'mkdir /cluster/d && for i in 1 2 3; do echo $i >/cluster/d/$i; done; sync -f /cluster'
keep_copy node1
on node2 sh -c 'echo two >/cluster/two'
keep_copy node2
on node2 sh -c 'echo three >/cluster/three'
keep_copy node3
on node2 sh -c 'echo none >/cluster/none; echo new >/cluster/new && mv /cluster/new /cluster/replaced; rm /cluster/synced'
app
heard written
lose_power
must_be "the server" "$(fs node1 'f["server"]')" node3
for n in "${nodes[@]}"; do
	must_be "what was synced, read on $n" "$(content "$n" /cluster/synced)" 'all of it'
	must_be "what was replaced without a sync, read on $n" "$(content "$n" /cluster/replaced)" 'the old one'
	must_be "what was synced, read on $n" "$(on "$n" sh -c 'cat /cluster/d/*' | tr -d '\n')" 123
	must_be "what the longest copy had, read on $n" "$(content "$n" /cluster/three)" three
	on "$n" test ! -e /cluster/none || fail "a file is there that no copy had, on $n"
done
app
heard 'Input/output error'
heard synced
heard 'goes on'
step "the application was told once"

# Again, and this time nothing is lost; then each copy shows what it has.
on node1 sh -c 'echo later >/cluster/later && sync -f /cluster'
lose_power
for n in "${nodes[@]}"; do
	must_be "what was synced, read on $n" "$(content "$n" /cluster/later)" later
done
for _ in 1 2; do
	server=$(fs node1 'f["server"]')
	step "kill $server, which serves"
	lab kill "$server" cfsd cfs-migrated
	other=$(printf '%s\n' "${nodes[@]}" | grep -vx "$server" | head -n 1)
	must_be "what was synced, from another copy" "$(content "$other" /cluster/synced) $(content "$other" /cluster/later)" 'all of it later'
	lab start "$server"
	eventually 60 "all nodes are in sync" in_sync
done
