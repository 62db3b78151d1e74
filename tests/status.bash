# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# outboxd with a status page, for the tests of that: outboxes in SQLite, and a publisher that does as each payload says.

status_daemon=

status_end() {
	[ -z "$status_daemon" ] || kill -KILL "$status_daemon" 2>/dev/null || :
	[ -z "${OUTBOX_TEST_PGCTL:-}" ] || "$OUTBOX_TEST_PGCTL" resume >/dev/null 2>&1 || :
	# shellcheck disable=SC2154  # of tap.bash
	rm -rf "$tap_folder"
}
not() { ! "$@"; }
await() {
	local tries
	for ((tries = 0; tries < 1200; tries++)); do
		! "$@" >/dev/null 2>&1 || break
		sleep 0.05
	done
	"$@"
}
# status_outbox NAME: its section
status_outbox() {
	cat >publisher <<-'SH'
		#!/bin/sh
		while read -r line; do
			case $line in
			*'"payload":"bad'*) if [ -e mend ]; then echo ok; else echo 'reject refused: <img src=x onerror=alert(1)>'; fi ;;
			*'"payload":"later'*) echo retry 1h not yet ;;
			*) echo ok ;;
			esac
		done
	SH
	chmod +x publisher
	printf '[outbox %s]\ndsn = sqlite:%s/%s.db\npublisher = exec:%s\nmetrics.interval = 100ms\n' "$1" "$PWD" "$1" \
		"$PWD/publisher"
}
# status_configure NAME...: ./outboxd.conf
status_configure() {
	local name
	for name in "$@"; do
		status_outbox "$name"
	done >outboxd.conf
	printf '[outboxd]\nlisten = unix:%s/http\n' "$PWD" >>outboxd.conf
}
status_start() { # [OPTION...]
	: >outboxd.log # of the run before
	outboxd --config outboxd.conf "$@" 2>outboxd.log &
	status_daemon=$!
}
status_stop() {
	local rc=0
	kill -TERM "$status_daemon"
	wait "$status_daemon" || rc=$?
	status_daemon=
	return "$rc"
}
status_reload() { # and waits until that is told, well or not
	local before
	before=$(grep -c reloaded outboxd.log || :)
	kill -HUP "$status_daemon"
	await status_reloaded "$before" >/dev/null
}
status_reloaded() {
	[ "$(grep -c reloaded outboxd.log || :)" -gt "$1" ]
}
# get PATH [OPTION...]: the body to ./body, the status to ./status; by ./http unless an option says otherwise
get() {
	local path=$1
	shift
	: >body
	curl --silent --path-as-is --max-time 60 --unix-socket http -o body -D head -w '%{http_code}' "$@" \
		"http://localhost$path" >status
}
enqueue() { # OUTBOX PAYLOAD [OPTION...]
	outboxctl enqueue --quiet --config outboxd.conf --outbox "$1" --payload "$2" "${@:3}"
}
