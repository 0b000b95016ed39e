#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A release tarball has every file of the repository: a README or a test's data is easily forgotten.
cd "${CFS_SRCDIR:-$(dirname "$0")/../..}" || exit 2
git=(git -c safe.directory="$PWD")	# root, in somebody's checkout

# The tarball itself has no repository, and its directory may be in that of another project.
[[ -e .git ]] || { echo "skipped: not a git checkout"; exit 77; }
dist=$(mktemp -d) || exit 2
trap 'rm -rf "$dist"' EXIT
env -u MAKEFLAGS -u MAKELEVEL make -s -C "${CFS_BUILDDIR:-build}" distdir distdir="$dist/cfs" || exit 1
missing=$("${git[@]}" ls-files | grep -vE '^\.(ci/|git)' | while IFS= read -r file; do
	[[ ! -e $file || -e $dist/cfs/$file ]] || echo "$file"
done)
[[ -z $missing ]] || { printf 'not in EXTRA_DIST or a _SOURCES:\n%s\n' "$missing"; exit 1; }
