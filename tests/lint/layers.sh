#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Includes go one way only: common <- wire <- cluster <- {cfsd, fuse, procfs-cluster, migrate} <- cli.
# Parts on the same level meet through messages; only a program's main file (main.c, *_main.c)
# may put several of them together.
cd "${CFS_SRCDIR:-$(dirname "$0")/../..}" || exit 2

declare -A allowed=(
	[common]="common"
	[wire]="common wire"
	[cluster]="common wire cluster"
	[cfsd]="common wire cluster cfsd"
	[fuse]="common wire cluster fuse"
	[procfs-cluster]="common wire cluster procfs-cluster"
	[migrate]="common wire cluster migrate"
	[cli]="common wire cluster cfsd fuse procfs-cluster migrate cli"
)
bad=0
while IFS=: read -r file line folder header; do
	from=${file%%/*}
	[[ -n ${allowed[$folder]:-} ]] || continue
	[[ " ${allowed[$from]} " == *" $folder "* ]] && continue
	# The seam that /cluster/proc is put into the mount through.
	[[ $from/$header == procfs-cluster/subtree.h ]] && continue
	[[ $file == */main.c || $file == */*_main.c ]] && [[ $folder != cli ]] && continue
	echo "$file:$line: $from must not include $folder"
	bad=1
done < <(grep -rnE '^#[ ]*include "[a-z-]+/' --include='*.[ch]' --include='*.def' \
	common wire cluster cfsd fuse procfs-cluster migrate cli 2>/dev/null |
	sed -E 's|^([^:]+):([0-9]+):.*include "([a-z-]+)/([^"]*)".*|\1:\2:\3:\4|')
exit "$bad"
