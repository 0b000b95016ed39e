#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Every verb of cfs is in its help, in cfs(1) and in the completion; each has --help and --version, and says 2 when it is
# used wrongly.
cd "${CFS_SRCDIR:-$(dirname "$0")/../..}" || exit 2
cfs=${CFS_BUILDDIR:-build}/cli/cfs
bad=0

complain() { echo "$*"; bad=1; }
is() # STATUS COMMAND...
{
	local expected=$1 got
	shift
	"$@" >/dev/null 2>&1 </dev/null
	got=$?
	[[ $got == "$expected" ]] || complain "$*: exit status $got, expected $expected"
}

[[ -x $cfs ]] || { echo "skipped: no $cfs"; exit 77; }
export CFS_STATE_DIR=/nonexistent
mapfile -t verbs < <(sed -n 's/^CMD("\([a-z]*\)".*/\1/p' cli/commands.def)
[[ ${#verbs[@]} -gt 5 ]] || complain "cli/commands.def cannot be read"
# shellcheck source=cli/completions/cfs
. cli/completions/cfs
complete_after() # WORDS...: what the completion offers for the last one
{
	COMP_WORDS=("$@")
	COMP_CWORD=$(($# - 1))
	_cfs
	printf '%s\n' "${COMPREPLY[@]}"
}

for verb in "${verbs[@]}"; do
	grep -q "^\.B cfs $verb\$" man/cfs.1 || complain "cfs $verb is not in the synopsis of man/cfs.1"
	grep -q "^\.B $verb\$" man/cfs.1 || complain "man/cfs.1 does not explain $verb"
	"$cfs" --help | grep -q "  cfs $verb " || complain "cfs --help does not tell of $verb"
	complete_after cfs "" | grep -qx "$verb" || complain "cli/completions/cfs does not know $verb"
	is 0 "$cfs" "$verb" --help
	is 0 "$cfs" "$verb" --version
	is 2 "$cfs" "$verb" --no-such-option
	# Every long option of the verb is offered.
	while read -r option; do
		if [[ $verb == run ]]; then words=(cfs run -); else words=(cfs "$verb" -); fi
		complete_after "${words[@]}" | grep -qx -- "$option=\?" ||
			complain "cli/completions/cfs does not know $option of cfs $verb"
		option_in_man=${option//-/\\\\-}
		grep -q -- "$option_in_man" man/cfs.1 || complain "man/cfs.1 does not tell of $option"
	done < <("$cfs" "$verb" --help | grep -oE -- '--[a-z-]+' | grep -vE -- '--(usage|version)$' | sort -u)
done
is 0 "$cfs" --help
is 0 "$cfs" --version
is 2 "$cfs"
is 2 "$cfs" no-such-verb
for args in "status extra" "token extra" "leave extra" "remove" "remove a b" "join a" "join a b c" "migrate 1" "migrate x node" \
	"migrate -1 node" "run" "run --node" "init extra" "init --address not/an.address" "join node: token"; do
	# shellcheck disable=SC2086  # words
	is 2 "$cfs" $args
done
is 1 "$cfs" status
is 1 "$cfs" leave
is 1 "$cfs" remove node1
is 125 "$cfs" run true
exit "$bad"
