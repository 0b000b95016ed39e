#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# No file over 1000 lines, no header over 400, no function over 120; says what is getting there
# (over 500, 200, 60) without failing.  A function is what stands between { and } in column one.
cd "${CFS_SRCDIR:-$(dirname "$0")/../..}" || exit 2

find common wire cluster cfsd fuse procfs-cluster migrate cli tests \
	\( -name '*.c' -o -name '*.h' \) -print0 2>/dev/null | sort -z |
	xargs -0 -r awk '
	function judge(what, where, size, aim, stop) {
		if (size <= aim) return
		printf "%s: %s of %d lines, %s %d\n", where, what, size, (size > stop ? "the limit is" : "aim for"), (size > stop ? stop : aim)
		if (size > stop) bad = 1
	}
	function file_end() {
		if (name ~ /\.h$/) judge("header", name, lines, 200, 400)
		else if (name != "") judge("file", name, lines, 500, 1000)
	}
	FNR == 1 { file_end(); name = FILENAME; start = 0; before = "" }
	{ lines = FNR }
	/^\{/ { start = FNR; head = before }
	/^\}/ && start { judge("function", name ":" start, FNR - start + 1, 60, 120); start = 0 }
	{ before = $0 }
	END { file_end(); exit bad }'
