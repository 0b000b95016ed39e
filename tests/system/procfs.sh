#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# /cluster/proc with stock programs, without a cluster: tests/lib/procfs_mount, three process services in one process
# that all read this machine's /proc, and a fourth node that never answers.
. "$(dirname "$0")/../lib/functions.sh"

requires_root
[[ -c /dev/fuse ]] || skip "needs /dev/fuse"
requires_program ps
requires_program top
requires_program /usr/bin/python3
unshare --mount true 2>/dev/null || skip "needs mount namespaces"
build=${CFS_BUILDDIR:-$CFS_SRCDIR/build}
PATH=$build/procfs-cluster:$PATH

dir=$(mktemp -d /tmp/cfs-procfs-XXXXXX)
proc=$dir/mnt/proc
node=4194304
naps=1000.$$ # seconds: tells this run's sleepers from those of another
procs=200 # and those of the machine: some 300 on each node
sleepers=()
cleanup()
{
	local status=$?
	trap - EXIT
	((${#sleepers[@]} == 0)) || kill "${sleepers[@]}" 2>/dev/null || true
	umount -l "$dir/mnt" 2>/dev/null || true
	[[ -z ${mounted:-} ]] || kill -KILL "$mounted" 2>/dev/null || true
	[[ $status == 0 ]] || cat "$dir/log"
	wait 2>/dev/null || true
	rm -rf "$dir"
	exit "$status"
}
trap cleanup EXIT
mkdir "$dir/mnt" "$dir/state"
# others than root come through
chmod 755 "$dir"

step "mount"
"$build/tests/lib/procfs_mount" 3 "$dir/mnt" "$dir/state" >"$dir/log" 2>&1 &
mounted=$!
eventually 10 "the mount" test -e "$proc/cluster/members"
export CFS_MOUNT=$dir/mnt
view() { timeout -k 2 20 globalview "$@"; }

step "$procs processes more"
for ((i = 0; i < procs; i++)); do
	sleep "$naps" &
	sleepers+=($!)
done
one=${sleepers[0]}
cpid=$((node + one))

step "ps has each of them once a node, under its cluster pid"
for id in 1 2 3; do for pid in "${sleepers[@]}"; do echo $((id * node + pid)); done; done | sort >"$dir/expected"
view ps -eo pid=,args= >/dev/null # the silent node is waited for now
best=999999
for _ in 1 2 3; do
	start=$(date +%s%3N)
	view ps aux >"$dir/ps"
	took=$(($(date +%s%3N) - start))
	((took >= best)) || best=$took
done
awk -v naps="$naps" '$(NF - 1) == "sleep" && $NF == naps { print $2 }' "$dir/ps" | sort >"$dir/got"
diff "$dir/expected" "$dir/got" >"$dir/diff" || fail "ps shows others: $(head -5 "$dir/diff")"
step "ps aux of $(wc -l <"$dir/ps") processes took $best ms"
((best < ${CFS_PS_LIMIT:-1000})) || fail "ps aux took $best ms"

step "other stock programs"
view top -b -n1 >"$dir/top"
total=$(awk '/^Tasks:/ { print $2 }' "$dir/top")
((total > 3 * procs)) || fail "top says $(head -3 "$dir/top")"
must_be "pgrep's count" "$(view pgrep -xfc "sleep $naps")" $((3 * procs))
must_be "the parent of a process" "$(view ps -o ppid= -p $cpid | tr -d ' ')" $((node + $$))
step "threads"
/usr/bin/python3 -c 'import threading, time; [threading.Thread(target=time.sleep, args=(1000,), daemon=True).start() for _ in range(300)]; time.sleep(1000)' &
threaded=$!
sleepers+=("$threaded")
eventually 10 "300 threads" bash -c "[[ \$(ls /proc/$threaded/task | wc -l) == 301 ]]"
for id in 1 2 3; do for tid in "/proc/$threaded/task"/*; do echo $((id * node + ${tid##*/})); done; done | sort >"$dir/expected"
reads() # how many files were asked for one by one
{
	local said
	said=$(grep -c ^reads: "$dir/log") || true
	kill -USR1 "$mounted"
	eventually 10 "the number of reads" bash -c "[[ \$(grep -c ^reads: $dir/log) -gt $said ]]"
	sed -n 's/^reads: //p' "$dir/log" | tail -n 1
}
before=$(reads)
view ps -eLo pid=,lwp=,nlwp=,comm= >"$dir/threads"
read=$(($(reads) - before))
awk -v pid="$threaded" -v node=$node '$1 % node == pid && $3 == 301 { print $2 }' "$dir/threads" | sort >"$dir/got"
diff "$dir/expected" "$dir/got" >"$dir/diff" || fail "ps -eL shows others: $(head -5 "$dir/diff")"
threads=$(wc -l <"$dir/threads")
step "ps -eL of $threads threads: $read files were read one by one"
((read < threads / 10)) || fail "threads are read one by one: $read files for $threads threads"
view top -H -b -n1 >"$dir/top"
total=$(awk '/^Threads:/ { print $2 }' "$dir/top")
((total > 3 * (procs + 300))) || fail "top -H says $(head -3 "$dir/top")"
tid=$(ls "/proc/$threaded/task" | tail -1)
for file in $(cd "/proc/$threaded/task/$tid" && ls "$proc/$((node + threaded))/task/$((node + tid))"); do
	case $file in autogroup | io | stat | status | schedstat | smaps*) continue ;; esac
	cmp "$proc/$((node + threaded))/task/$((node + tid))/$file" "/proc/$threaded/task/$tid/$file" || fail "$file of a thread differs"
done
step "sums"
view free >/dev/null
view uptime >/dev/null
view vmstat >/dev/null
if command -v htop >/dev/null && command -v script >/dev/null; then
	# it may not listen yet when the first q comes
	(trap '' PIPE; for _ in 1 2 3 4 5 6 7; do sleep 2; printf q || break; done; true) 2>/dev/null |
		TERM=xterm view script -qc htop /dev/null >"$dir/htop" || fail "htop failed"
	grep -q '\(4\|8\|12\)[0-9]\{6\}' "$dir/htop" || fail "htop shows no cluster pid"
fi
must_be "processors" "$(view grep -c ^processor /proc/cpuinfo)" $((3 * $(grep -c ^processor /proc/cpuinfo)))
must_be "/proc/self in globalview" "$(view sh -c 'read -r pid rest </proc/self/stat; echo $((pid - $$))')" $node
must_be "localview in globalview" "$(view localview stat -f -c %T /proc)" proc

step "one process"
must_be where "$(cat "$proc/$cpid/where")" node1
must_be "where by plain pid" "$(cat "$proc/$one/where")" node1
must_be "home" "$(cat "$proc/$((2 * node + one))/home")" node2
must_be "goto before a move" "$(cat "$proc/$one/goto")" 0
must_be exe "$(readlink "$proc/$cpid/exe")" "$(readlink "/proc/$one/exe")"
must_be cwd "$(readlink "$proc/$cpid/cwd")" "$(readlink "/proc/$one/cwd")"
must_be "file 1" "$(readlink "$proc/$cpid/fd/1")" "$(readlink "/proc/$one/fd/1")"
for file in cmdline environ comm statm limits maps cgroup oom_score; do
	cmp "$proc/$cpid/$file" "/proc/$one/$file" || fail "$file differs"
done
must_be "stat but for its pids" "$(cut -d' ' -f9- "$proc/$cpid/stat")" "$(cut -d' ' -f9- "/proc/$one/stat")"
must_be "tid" "$(ls "$proc/$cpid/task")" $cpid
thread=$(readlink "$proc/thread-self")
must_be thread-self "$thread" "${thread%%/*}/task/${thread%%/*}"

# top keeps files open and goes back to the start
must_fail "moves on" perl -e 'open(F, "<", $ARGV[0]) or die; sysread(F, $a, 99); select(undef, undef, undef, 0.3); sysseek(F, 0, 0);
	sysread(F, $b, 99); die "moves on\n" if $b gt $a' "$proc/uptime"

step "names that are not there"
for name in 0 01 -1 4194303 x "$node" $((9 * node + one)) "$cpid/nothing" "$cpid/fd/99999" "$cpid/task/$one/stat"x nodes/node9; do
	[[ ! -e $proc/$name ]] || fail "$name is there"
done

step "goto"
# shellcheck disable=SC2069  # what it says is the output
put() { printf '%s\n' "$1" | tee "$proc/$2/goto" 2>&1 >/dev/null; }
put node2 "$one"
put home "$cpid"
must_fail "Invalid argument" put node9 "$one"
must_fail "Operation not supported" put node3 "$one"
must_be cantmove "$(cat "$proc/$one/cantmove")" "device fd 3 /dev/kvm"
must_fail "Permission denied" bash -c "echo node2 >$proc/$one/where"

step "signals while one waits for a move"
start=$(date +%s%3N)
# a child that ends, as the original does when one's own child has moved, is no reason not to wait
bash -c "trap : CHLD; sleep 0.2 & echo node1 >$proc/$one/goto" || fail "SIGCHLD ended the write"
(($(date +%s%3N) - start > 2500)) || fail "the write did not wait"
for signal in INT KILL; do
	start=$(date +%s%3N)
	if timeout -s $signal 0.3 bash -c "echo node1 >$proc/$one/goto"; then fail "SIG$signal did not end the writer"; fi
	(($(date +%s%3N) - start < 2000)) || fail "SIG$signal was not heard"
done

step "strangers"
as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
must_fail "Permission denied" as_nobody cat "$proc/$cpid/cantmove"
must_be "a stranger's wchan" "$(as_nobody cat "$proc/$cpid/wchan")" 0
# Every file, read by root, its user, its user in another group and a stranger: what the kernel says, of
# a process of root's, of one of nobody's, and of one of nobody's that is not dumpable.
setpriv --reuid=65534 --regid=65534 --clear-groups sleep "$naps" &
theirs=$!
setpriv --reuid=65534 --regid=65534 --clear-groups /usr/bin/python3 -c "import ctypes, time; ctypes.CDLL(None).prctl(4, 0); time.sleep(1000)" &
secretive=$!
sleepers+=("$theirs" "$secretive")
eventually 5 "it is not dumpable" bash -c "[[ \$(stat -c %u /proc/$secretive/environ) == 0 ]]"
cat >"$dir/read-all" <<-'END'
	cd "$1" || exit
	for f in autogroup cgroup cmdline comm environ io limits loginuid maps mountinfo mounts oom_score oom_score_adj schedstat \
		sessionid smaps smaps_rollup stack stat statm status syscall wchan fdinfo/0 task/$2/io task/$2/stat task/$2/status; do
		cat $f 2>&1 >/dev/null | sed 's/^cat: //;s/Operation not permitted/Permission denied/' # syscall's
	done
	for f in cwd exe root fd/0; do readlink -v $f 2>&1 >/dev/null | sed 's/^readlink: //'; done
	for f in fd fdinfo task; do ls $f 2>&1 >/dev/null | sed "s/^ls: //;s/'//g"; done
END
for who in "0 0" "65534 65534" "65534 4711" "4711 65534"; do
	for pid in $one $theirs $secretive; do
		as() { setpriv --reuid="${who% *}" --regid="${who#* }" --clear-groups "$@"; }
		as sh "$dir/read-all" "/proc/$pid" "$pid" >"$dir/expected"
		as sh "$dir/read-all" "$proc/$((node + pid))" "$((node + pid))" | sed "s,task/$((node + pid)),task/$pid," >"$dir/got"
		diff "$dir/expected" "$dir/got" >"$dir/diff" ||
			fail "user and group $who may read other files of $(ps -o user=,args= -p "$pid"): $(cat "$dir/diff")"
	done
done
must_fail "Permission denied" as_nobody bash -c "echo node2 >$proc/$cpid/goto"
must_be "a stranger's start code" "$(as_nobody cut -d' ' -f26-28 "$proc/$cpid/stat")" "1 1 0"
as_nobody globalview ps aux >"$dir/ps.nobody" 2>"$dir/ps.error" || grep -q 'user namespaces' "$dir/ps.error" ||
	fail "globalview of others: $(cat "$dir/ps.error")"

step "one that ended"
kill "$one"
wait "$one" 2>/dev/null || true
sleepers=("${sleepers[@]:1}")
must_fail "No such" cat "$proc/$cpid/stat"
must_fail "No such" put node2 "$cpid"

step "unmount"
umount "$dir/mnt"
wait "$mounted" || fail "procfs_mount ended with $?"
