# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# Building, for ./check and ./try: quiet when all is well, the log's end when it is not.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
logs=$top/build/logs
export PATH=/usr/local/sbin:/usr/sbin:/sbin:$PATH	# plain `su` leaves them out

# stage NAME WORDS COMMAND...: prints the words and how long it took; output goes to logs/NAME.log
stage()
{
	local name=$1 words=$2 start=$SECONDS
	shift 2
	mkdir -p "$logs"
	printf '%-52s ' "$words ..."
	if (cd "$top" && "$@") >"$logs/$name.log" 2>&1 </dev/null; then
		printf 'ok  %4d s\n' $((SECONDS - start))
		return 0
	fi
	printf 'FAILED after %d s\n' $((SECONDS - start))
	return 1
}

show_end() # NAME [LINES]
{
	echo "--- the end of build/logs/$1.log"
	tail -n "${2:-40}" "$logs/$1.log" | sed 's/^/    /'
}

# A build tree must be remade when configure is.
configure_tree() # DIRECTORY OPTION...
{
	local dir=$1
	shift
	[[ -x $top/configure && ! $top/configure.ac -nt $top/configure ]] ||
		(cd "$top" && autoreconf -i) || return
	mkdir -p "$dir"
	cd "$dir" || return
	[[ -x config.status && ! $top/configure -nt config.status ]] ||
		"$top/configure" -q "$@"
}

# Fails on warnings too: they are counted in the log of a build from scratch.
build_tree() # DIRECTORY OPTION...
{
	configure_tree "$@" && make -s -j"$(nproc)" all
}
