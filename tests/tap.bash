# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# TAP for tests in bash: `try WHAT COMMAND…` is one test, `finish` prints the plan and comes last.

tap_count=0
tap_failed=0
tap_folder=$(mktemp -d)
trap 'rm -rf "$tap_folder"' EXIT

# try WHAT COMMAND...: what the command says is shown when it fails.
try() {
	local what=$1
	shift
	tap_count=$((tap_count + 1))
	if "$@" >"$tap_folder/log" 2>&1; then
		echo "ok $tap_count - $what"
	else
		tap_failed=1
		# With an end for the last line, so that what follows is read.
		awk '{ print "# " $0 }' "$tap_folder/log"
		echo "not ok $tap_count - $what"
	fi
}

skip() {
	tap_count=$((tap_count + 1))
	echo "ok $tap_count - $1 # SKIP $2"
}

finish() {
	echo "1..$tap_count"
	return "$tap_failed"
}

# same WHAT WHAT: whether two sorted files have the same lines; says which are in one only.
same() {
	if [ ! -s "$1" ] || [ ! -s "$2" ]; then
		echo "nothing was found: ${1##*/} or ${2##*/} is empty"
		return 1
	fi
	comm -23 "$1" "$2" | sed "s|^|only in ${1##*/}: |" >"$tap_folder/only"
	comm -13 "$1" "$2" | sed "s|^|only in ${2##*/}: |" >>"$tap_folder/only"
	cat "$tap_folder/only"
	[ ! -s "$tap_folder/only" ]
}
