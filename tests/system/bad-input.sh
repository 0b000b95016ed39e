#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Bad input gets a clear message and loses nothing.  Joining and tokens: membership.sh.
. "$(dirname "$0")/../lib/functions.sh"
requires_lab
trap lab_cleanup EXIT

json() { on node1 cfs status --json | python3 -c "import json, sys; s = json.load(sys.stdin); print($1)"; }
server() { json 's["filesystems"][0]["server"]'; }
alive() { on "$1" cfs status >/dev/null 2>&1; }

# The shell says that it failed, cantmove why, and the process goes on.
refused() # TEXT PID NODE
{
	must_fail "not supported" on node1 bash -c "echo $3 >/cluster/proc/$2/goto"
	must_fail "$1" on node1 cfs migrate "$2" "$3"
	on node1 cat "/cluster/proc/$2/cantmove" | grep "$1" >/dev/null ||
		fail "cantmove of $2 says: $(on node1 cat "/cluster/proc/$2/cantmove"); expected: $1"
	on node1 kill -0 "$2" || fail "process $2 did not survive the refused move"
}

step "a mount without a cluster"
lab up 3 --no-start
from=$SECONDS
must_fail "" on node2 mount -t fuse.cfs cfs /cluster
((SECONDS - from < 15)) || fail "it took $((SECONDS - from)) s"
for node in node1 node2 node3; do lab start "$node"; done

step "goto: unknown node, unknown pid, a node that is down"
sleeper=$(on node1 sh -c '{ setsid sleep 1000 >/dev/null 2>&1 </dev/null & echo $!; }')
must_fail "Invalid argument" on node1 bash -c "echo nowhere >/cluster/proc/$sleeper/goto"
must_fail "no node nowhere" on node1 cfs migrate "$sleeper" nowhere
must_fail "No such file" on node1 bash -c "echo node2 >/cluster/proc/999999/goto"
must_fail "no such process" on node1 cfs migrate 999999 node2
lab kill node3
must_fail "No route" on node1 bash -c "echo node3 >/cluster/proc/$sleeper/goto"
must_fail "cannot be reached" on node1 cfs migrate "$sleeper" node3
on node1 kill -0 "$sleeper"
must_be "where" "$(on node1 cat "/cluster/proc/$sleeper/where")" node1
lab start node3

step "goto: a device, and io_uring"
device=$(on node1 sh -c '{ setsid sh -c "exec sleep 1000 3</dev/net/tun" >/dev/null 2>&1 </dev/null & echo $!; }')
sleep 0.5
if on node1 test -e "/proc/$device/fd/3"; then refused "device" "$device" node2; fi
ring=$(on node1 sh -c '{ setsid python3 -c "
import ctypes, time
p = (ctypes.c_char * 120)()
fd = ctypes.CDLL(None).syscall(425, 8, p)
assert fd >= 0
time.sleep(1000)" >/dev/null 2>&1 </dev/null & echo $!; }')
sleep 1
if on node1 kill -0 "$ring" 2>/dev/null; then refused "io_uring" "$ring" node2; fi

step "torn, oversized and foreign frames on every port"
ports=$(on node1 sh -c "ss -Hltn" | awk '{ sub(/.*:/, "", $4); print $4 }' | sort -u)
[[ -n $ports ]] || fail "cfsd listens nowhere"
for port in $ports; do
	on node2 python3 - 10.99.0.1 "$port" <<-'END'
	import os, socket, struct, sys
	for data in (b"", b"x", b"GET / HTTP/1.0\r\n\r\n", b"\0" * 4096, b"\xff" * 4096, os.urandom(65536),
	             struct.pack("<I", 0xffffffff) * 4, struct.pack(">I", 0xffffffff) * 4,
	             b"\x16\x03\x01\xff\xff" + b"\x01" * 70000):
	    try:
	        with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as s:
	            s.settimeout(1)
	            s.sendall(data)
	            s.shutdown(socket.SHUT_WR)
	            while s.recv(4096): pass
	    except OSError:
	        pass
	END
done
alive node1 || fail "node1 does not answer after garbage"
on node1 sh -c 'echo fine >/cluster/after-garbage'
must_be "a file after garbage" "$(on node2 cat /cluster/after-garbage)" fine

step "a peer with a good certificate: another version, torn, oversized and foreign frames"
log_says() { lab log node1 | grep -q "$1"; }
status=$(on node2 python3 - 10.99.0.1 <<-'END'
	import socket, ssl, struct, sys
	def dial():
	    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
	    ctx.check_hostname = False
	    ctx.load_verify_locations("/var/lib/cfs/tls/ca.crt")
	    ctx.load_cert_chain("/var/lib/cfs/tls/node.crt", "/var/lib/cfs/tls/node.key")
	    s = ctx.wrap_socket(socket.create_connection((sys.argv[1], 7480), 5))
	    s.settimeout(5)
	    return s
	def header(version, kind, length, number):
	    return struct.pack("<HBBIHHIQ", 0x4643, version, kind, length, number, 0, 0, 1)
	s = dial()
	s.sendall(header(99, 1, 0, 1))
	magic, version, kind, length, number, status, flags, ident = struct.unpack("<HBBIHHIQ", s.recv(24))
	print(version != 99, status)
	for data in (header(version, 1, 1 << 30, 1), b"GET / HTTP/1.0\r\n\r\nGET / HTTP", header(version, 1, 100, 1) + b"x" * 50):
	    s = dial()
	    s.sendall(data)
	    try:
	        s.unwrap() if len(data) == 74 else s.recv(1)
	    except OSError:
	        pass
	    s.close()
	END
)
must_be "an answer of another version, EPROTONOSUPPORT" "$status" "True 105"
for text in "speaks protocol version 99, this node" "sent an oversized frame" "sent what is not a frame" "torn frame"; do
	eventually 5 "node1 logs: $text" log_says "$text"
done
alive node1 || fail "node1 does not answer after bad frames"

step "sockets that say nothing keep nobody out"
on node2 python3 - 10.99.0.1 <<-'END'
	import resource, socket, subprocess, sys
	resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
	idle = [socket.create_connection((sys.argv[1], port), 5) for port in (7480, 7481) for i in range(300)]
	subprocess.run(["cfs", "status"], check=True, stdout=subprocess.DEVNULL, timeout=5)
	END
log_says "have said no hello" || fail "node1 does not tell of sockets that say nothing"
must_be "a file beside them" "$(on node3 cat /cluster/after-garbage)" fine

step "a state directory from a newer version"
lab kill node3
on node3 sh -c 'cd /var/lib/cfs && cp node /run/node && sed -i -E "s/(\"format\": *)[0-9]+/\1999/" node && ! cmp -s node /run/node' ||
	fail "the state says no format"
must_fail "newer" on node3 timeout 20 cfsd
must_fail "newer" on node3 cfs init
must_fail "newer" on node3 cfs status
must_fail "newer" on node3 cfs join 10.99.0.1 "$(on node1 cfs token)" --name node9 --address 10.99.0.3
on node3 sh -c 'echo nonsense >/var/lib/cfs/node'
must_fail "damaged" on node3 cfs status
must_fail "cannot be read" on node3 timeout 20 cfsd
must_fail "already" on node3 cfs init
on node3 cp /run/node /var/lib/cfs/node
lab start node3
eventually 30 "node3 works again" on node3 test -e /cluster/after-garbage
