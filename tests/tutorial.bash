# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Runs the sections of doc/tutorials.md, each as it stands, in a folder of its own. What tests/conformance/tutorials and
# tests/publishers/tutorials share.

# shellcheck disable=SC2034  # for those who share this
builddir=${OUTBOX_BUILDDIR:?run this through make check}
srcdir=${OUTBOX_SRCDIR:?run this through make check}
# shellcheck source=tests/tap.bash
. "$srcdir/tests/tap.bash"
# shellcheck source=tests/blocks.bash
. "$srcdir/tests/blocks.bash"
tutorials=$srcdir/doc/tutorials.md
PATH=${OUTBOX_TOOLS:?run this through make check}:$PATH
export OUTBOX_BUILDDIR
unset OUTBOX_DSN
following=

tutorial_end() {
	# What it started is in its group.
	[ -z "$following" ] || kill -KILL -- "-$following" 2>/dev/null || :
	following=
}
trap 'tutorial_end; rm -rf "$tap_folder"' EXIT

# follow SECTION [PATTERN...]: does what it says, and each pattern is in what comes out.
follow() {
	local section=$1 folder=$tap_folder/$1 line language found pattern status=0
	shift
	mkdir -p "$folder"
	while IFS=$'\t' read -r line language found _; do
		if [ "$found" = "$section" ] && [ "$language" = sh ]; then
			block "$tutorials" "$line" >>"$folder/typed"
		fi
	done < <(blocks "$tutorials")
	[ -s "$folder/typed" ] || return 1
	(cd "$folder" && exec setsid timeout 120 sh -eux ./typed) >"$folder/out" 2>&1 </dev/null &
	following=$!
	wait "$following" || status=$?
	tutorial_end
	# Not the commands, which sh shows with a "+".
	cat "$folder/out"
	for pattern; do
		grep -v '^+' "$folder/out" | grep -qE -- "$pattern" || { echo "not there: $pattern"; status=1; }
	done
	return "$status"
}
free_port() {
	python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
