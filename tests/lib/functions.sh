# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# For the shell tests: . "$CFS_SRCDIR/tests/lib/functions.sh"
set -euo pipefail
export LC_ALL=C

CFS_SRCDIR=${CFS_SRCDIR:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
# A lab of this test's own, so that tests and people do not meet.
CFS_LAB=${CFS_LAB:-t-$(basename "$0" .sh | tr -c 'a-z0-9\n' -)-$$}
export CFS_SRCDIR CFS_LAB

fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
skip() { printf 'skipped: %s\n' "$*"; exit 77; }
step() { printf '%s %s\n' "$(date +%T.%3N)" "$*"; }

requires_root() { [[ $(id -u) == 0 ]] || skip "needs root"; }
requires_program() { command -v "$1" >/dev/null || skip "needs the program $1"; }
requires_lab()
{
	requires_root
	[[ -c /dev/fuse ]] || skip "needs /dev/fuse"
	grep -q ' cgroup2 ' /proc/mounts || skip "needs a mounted cgroup2"
	unshare --net --pid --mount --uts --fork true 2>/dev/null || skip "needs namespaces"
}

lab() { "$CFS_SRCDIR/tests/lab" "$@"; }

# on NODE COMMAND...: runs it there, for $ON_LIMIT (60) seconds at most
on()
{
	local node=$1
	shift
	timeout -k 2 "${ON_LIMIT:-60}" "$CFS_SRCDIR/tests/lab" exec "$node" -- "$@"
}

# eventually SECONDS WHAT COMMAND...: until it succeeds
eventually()
{
	local limit=$1 what=$2 end=$((SECONDS + $1))
	shift 2
	until "$@"; do
		((SECONDS < end)) || fail "not within $limit s: $what"
		sleep 0.1
	done
}

# Takes the lab down when the test ends, however it does; shows the logs when it failed.
lab_cleanup()
{
	local status=$? node
	trap - EXIT
	if [[ $status != 0 && $status != 77 ]]; then
		lab status || true
		for node in $(lab status 2>/dev/null | awk '{ print $1 }'); do
			echo "--- $node, end of cfsd.log"
			lab log "$node" 2>/dev/null | tail -n 30 || true
		done
	fi
	lab down || status=1
	exit "$status"
}

# Says why and stops when COMMAND succeeds or is silent; its message must contain TEXT.
#   must_fail TEXT COMMAND...
must_fail()
{
	local text=$1 out
	shift
	if out=$("$@" 2>&1 </dev/null); then fail "succeeded: $*"; fi
	[[ $out == *"$text"* ]] || fail "$* said: $out; expected to see: $text"
}

must_be() # WHAT GOT EXPECTED
{
	[[ $2 == "$3" ]] || fail "$1 is $2, expected $3"
}
