#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Real programs and the POSIX they need, done on one node and looked at from another.
. "$(dirname "$0")/../lib/functions.sh"
requires_lab
requires_program git
requires_program sqlite3
trap lab_cleanup EXIT

sh_on() { on "$1" sh -ec "cd /cluster/w; $2"; }

lab up 3
on node1 mkdir -m 777 /cluster/w

step "rename over, unlink while open, links"
sh_on node1 'echo one >a; echo two >b; mv b a; ln a hard; ln -s a soft'
must_be "a" "$(sh_on node2 'cat a')" two
must_be "links of a" "$(sh_on node3 'stat -c %h a')" 2
must_be "soft" "$(sh_on node2 'readlink soft; cat soft' | tr '\n' ' ')" "a two "
sh_on node2 'exec 3<a; rm a hard; cat <&3' | grep two >/dev/null || fail "an unlinked open file cannot be read"
must_fail "No such file" sh_on node1 'cat a'
sh_on node1 'mkdir -p d/e/f; mv d/e d2; rmdir d2/f d2 d'
must_fail "not empty" sh_on node1 'mkdir -p full/x; rmdir full'

step "what another node writes is seen after close, also where it was cached"
for i in 1 2 3 4 5 6 7 8 9 10; do
	sh_on node1 "echo $i >turn"
	must_be "turn on node2" "$(sh_on node2 'cat turn')" $i
	sh_on node2 "echo $i$i >turn"
	must_be "turn on node1" "$(sh_on node1 'cat turn')" $i$i
done
sh_on node1 'cat missing 2>/dev/null || true'
sh_on node2 'echo here >missing'
must_be "a name that was missing" "$(sh_on node1 'cat missing')" here

step "appends from two nodes at once"
for n in 1 2; do
	sh_on node$n "for i in \$(seq 200); do echo node$n-\$i >>log; done" &
done
wait
must_be "lines" "$(sh_on node3 'sort -u log | wc -l')" 400

step "permissions of several users"
sh_on node1 'echo secret >mine; chmod 600 mine; mkdir -m 1777 tmp; install -d -o nobody -m 755 his'
as_nobody() { on "$1" setpriv --reuid=65534 --regid=65534 --clear-groups sh -ec "cd /cluster/w; $2"; }
must_fail "Permission denied" as_nobody node2 'cat mine'
must_fail "Permission denied" as_nobody node2 'echo x >mine'
as_nobody node2 'echo his >his/x; echo t >tmp/t'
must_be "owner" "$(sh_on node3 'stat -c %u his/x')" 65534
sh_on node3 'chown 0:0 his'
must_fail "Permission denied" as_nobody node2 'rm his/x'

step "sizes, holes, times, statfs"
sh_on node1 'truncate -s 1G sparse; printf end | dd of=sparse bs=1 seek=500000000 conv=notrunc 2>/dev/null'
must_be "sparse" "$(sh_on node2 'dd if=sparse bs=1 skip=500000000 count=3 2>/dev/null; stat -c " %s" sparse')" "end 1073741824"
sh_on node1 'touch -d "2001-02-03 04:05:06 UTC" old'
must_be "mtime" "$(sh_on node2 'stat -c %Y old')" 981173106
sh_on node1 'df /cluster | tail -n 1' | awk '{ exit !($2 > 0 && $4 > 0) }' || fail "df shows nothing"

step "mmap"
on node1 python3 -c '
import mmap, os
with open("/cluster/w/map", "wb") as f: f.write(os.urandom(1 << 20))'
must_be "checksum of a mapping" "$(on node2 python3 -c '
import hashlib, mmap
with open("/cluster/w/map", "rb") as f: print(hashlib.sha256(mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)).hexdigest())')" \
	"$(sh_on node3 'sha256sum map' | cut -d' ' -f1)"

step "git"
sh_on node1 'export HOME=/tmp GIT_CONFIG_GLOBAL=/dev/null; git init -q r; cd r; git config user.email a@b; git config user.name a
	for i in $(seq 50); do echo $i >f$i; done; git add -A; git commit -qm one; git branch other; git mv f1 g1; git commit -qm two; git gc -q'
must_be "git fsck" "$(sh_on node2 'git -C r -c safe.directory=\* fsck 2>&1 | grep -v ^Checking || true')" ""
must_be "git log" "$(sh_on node2 'git -C r -c safe.directory=\* log --format=%s | tr "\n" " "')" "two one "

step "sqlite"
sh_on node1 "sqlite3 db 'create table t(a integer primary key, b text); with recursive n(i) as (select 1 union all select i+1 from n where i<5000) insert into t select i, hex(randomblob(20)) from n;'"
must_be "rows" "$(sh_on node2 "sqlite3 db 'select count(*) from t; pragma integrity_check'" | tr '\n' ' ')" "5000 ok "
sh_on node2 "sqlite3 db 'delete from t where a % 2'"
must_be "rows after" "$(sh_on node1 "sqlite3 db 'select count(*) from t'")" 2500

step "umount and mount"
on node2 umount /cluster
on node2 mount -t fuse.cfs cfs /cluster
must_be "rows after a new mount" "$(sh_on node2 "sqlite3 db 'select count(*) from t'")" 2500
