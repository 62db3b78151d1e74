# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# For scripts that set something up, run a command, and take it down again.

# wrap_run COMMAND [ARGUMENT...]
#
# Run the command and return its status. The command gets a process group of its own, and
# signals to this script go to the whole group, so that whoever stops the script stops
# everything below it and the script goes on to clean up. At a terminal the command stays in
# the foreground, where the terminal itself signals it.
wrap_run() {
	local status=0
	if [ -t 0 ]; then
		trap : INT TERM HUP
		"$@" || status=$?
		return "$status"
	fi
	# Job control gives the group, and keeps bash from making the command ignore SIGINT, as
	# it does with other background commands.
	set -m
	"$@" <&0 &
	wrap_child=$!
	set +m
	trap 'kill -INT -- "-$wrap_child" 2>/dev/null || :' INT
	trap 'kill -TERM -- "-$wrap_child" 2>/dev/null || :' TERM
	trap 'kill -HUP -- "-$wrap_child" 2>/dev/null || :' HUP
	# A signal interrupts wait before the command has ended.
	while :; do
		status=0
		wait "$wrap_child" || status=$?
		kill -0 "$wrap_child" 2>/dev/null || break
	done
	return "$status"
}

# wrap_usage SCRIPT: its leading comment.
wrap_usage() {
	sed -n '3,/^[^#]/{/^#/s/^# \{0,1\}//p;}' "$1"
}
