#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What a transactional outbox is for, in less than a minute: ./demo builds everything and runs this.
#
# Each step is checked, and the script fails when what it shows is not true. It needs nothing but
# the SQLite driver of ODBC, and leaves nothing behind.
#
#   OUTBOXCTL, OUTBOXD, OUTBOX_SHOP   the programs, if they are not those of the build folder
set -euo pipefail

build=${OUTBOX_BUILDDIR:-build}
ctl=${OUTBOXCTL:-$build/tools/outboxctl}
daemon=${OUTBOXD:-$build/tools/outboxd}
shop=${OUTBOX_SHOP:-$build/examples/shop}

bold='' dim='' green='' red='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
	bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
fi

folder=$(mktemp -d "${TMPDIR:-/tmp}/outbox-demo.XXXXXX")
relay=
finish() {
	[ -z "$relay" ] || kill "$relay" 2>/dev/null || true
	[ -z "$relay" ] || wait "$relay" 2>/dev/null || true
	rm -rf "$folder"
}
trap finish EXIT
trap 'exit 130' INT TERM

heading() {
	printf '\n%s%s%s\n' "$bold" "$1" "$plain"
}

# Shows a command as one would type it, and runs it.
run() {
	local shown=$*
	shown=${shown//"$folder/"/}
	printf '%s$ %s%s\n' "$dim" "$shown" "$plain"
	"$@"
}
outboxctl() { "$ctl" "$@"; }
outboxd() { "$daemon" "$@"; }
shop() { "$shop" "Driver=SQLite3;Database=$folder/shop.db;Timeout=5000" "$@"; }

# check WHAT COMMAND...: says whether it is true.
check() {
	local what=$1
	shift
	if "$@"; then
		printf '%s✓ %s%s\n' "$green" "$what" "$plain"
	else
		printf '%s✗ %s: this is not true%s\n' "$red" "$what" "$plain" >&2
		exit 1
	fi
}
# How many messages are in a state.
count() {
	outboxctl stats --json | sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p"
}
# wait_for STATE NUMBER: at most twenty seconds.
wait_for() {
	local tries
	for ((tries = 0; tries < 200; tries++)); do
		[ "$(count "$1")" != "$2" ] || return 0
		sleep 0.1
	done
	return 1
}
payloads() {
	sed 's/.*"topic":"\([a-z]*\)".*"payload":"\(.*\)","\(content_type\|attempts\)".*/  \1: \2/; s/\\"/"/g; s/","content_type.*//' "$1"
}
# The orders' numbers, from the payloads alone: ids and times have such digits, too.
orders() {
	sed -n 's/.*"payload":"{\\"order\\":\\"\([0-9]*\)\\".*/\1/p' "$1" | tr '\n' ' '
}

export OUTBOX_DSN=sqlite:$folder/shop.db

heading "1. An application changes its tables and enqueues a message, in one transaction"
run outboxctl migrate
shop open
run shop buy 1001 ada good
run shop buy 1002 bob declined
run shop buy 1003 ada good
check "two of ten books were sold, although three transactions took one" [ "$(shop books)" = 8 ]
check "two messages wait: what was rolled back has never been" [ "$(count pending)" = 2 ]

heading "2. A relay delivers exactly what was committed"
run outboxd --quiet --once --publisher "file:$folder/delivered.jsonl"
payloads "$folder/delivered.jsonl"
check "two messages arrived" [ "$(wc -l <"$folder/delivered.jsonl")" = 2 ]
check "in the order of the customer's orders" [ "$(orders "$folder/delivered.jsonl")" = "1001 1003 " ]
check "nothing is left to do" [ "$(count pending)" = 0 ]

heading "3. A message that cannot be delivered is tried again, and then laid aside"
# It answers each line: messages to "mail" fail as long as the mail server is down.
cat >"$folder/send.sh" <<'SCRIPT'
while read -r line; do
	case $line in
	*'"topic":"mail"'*)
		echo x >>"$1/tries"
		if [ ! -e "$1/mail-server-is-up" ]; then
			echo "retry the mail server is down"
			continue
		fi
		;;
	esac
	printf '%s\n' "$line" >>"$1/sent.jsonl"
	echo ok
done
SCRIPT
run outboxctl enqueue --quiet --topic mail --key ada --payload '{"to":"ada"}'
run outboxctl enqueue --quiet --topic orders --key ada --payload '{"order":"1004"}'
printf '%s$ outboxd --publisher "exec:sh send.sh" --set retry.max_attempts=3 …  &%s\n' "$dim" "$plain"
"$daemon" --quiet --publisher "exec:sh '$folder/send.sh' '$folder'" --set retry.max_attempts=3 \
	--set retry.backoff_min=50ms --set retry.backoff_max=200ms --set relay.poll_interval=100ms \
	2>"$folder/log" &
relay=$!
check "after three attempts it is with the dead letters" wait_for dead 1
run outboxctl list --state dead
check "it was sent three times" [ "$(wc -l <"$folder/tries")" = 3 ]
check "the message to another topic was not held up by it" grep -q '"topic":"orders"' "$folder/sent.jsonl"

heading "4. Once the cause is mended, the dead letters are sent again"
: >"$folder/mail-server-is-up"
run outboxctl redrive --topic mail
check "no dead letter is left" wait_for dead 0
check "and nothing is pending" wait_for pending 0
arrived() {
	local tries
	for ((tries = 0; tries < 200; tries++)); do
		! grep -q '"topic":"mail"' "$folder/sent.jsonl" || return 0
		sleep 0.1
	done
	return 1
}
check "the mail was sent" arrived
payloads "$folder/sent.jsonl"

heading "5. The relay is told to stop"
kill -TERM "$relay"
status=0
wait "$relay" || status=$?
relay=
check "it finished what it had in hand, and ended with status 0" [ "$status" = 0 ]
run outboxctl stats
printf '\n%sEverything above was checked and is true.%s\n' "$green" "$plain"
