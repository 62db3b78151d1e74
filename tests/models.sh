#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Checks the models in doc/models with spin: each holds, in all of its states, and each mistake that can be planted in it
# is found. Prints TAP. By default each model in a small size, and three mistakes; OUTBOX_TEST_MODELS=1 runs all, and
# OUTBOX_TEST_LONG=1 larger ones too.
set -eu

models=${OUTBOX_SRCDIR:?run this through make check}/doc/models
memory=1900 # megabytes
# Of the checker that is compiled, and of its table: for a small model, compiling well takes longer than it saves.
optimize=-O0
table=-w20

if ! command -v spin >/dev/null; then
	[ -z "${OUTBOX_TEST_REQUIRE:-}" ] || { echo "1..1" && echo "not ok 1 - spin is not installed" && exit 1; }
	echo "1..0 # SKIP spin is not installed"
	exit 0
fi
if [ -n "${OUTBOX_SANITIZERS:-}" ]; then
	echo "1..0 # SKIP there is nothing of the library in the models to sanitize"
	exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

n=0
failed=
result() {
	n=$((n + 1))
	[ "$1" = ok ] || failed=1
	echo "$1 $n - $2"
}

# check MODEL COMPILER-FLAG CHECKER-FLAG FLAG...: leaves what the checker said in $work/said.
check() {
	rm -rf "$work/run"
	mkdir "$work/run"
	(
		cp "$models/$1.pml" "$work/run/model.pml"
		cd "$work/run"
		compile=$2 run=$3
		shift 3
		spin -a "$@" model.pml
		# The program is spin's, not ours: no warnings.
		"${OUTBOX_CC:-cc}" $optimize -w -DMEMLIM=$memory "$compile" -o pan pan.c
		./pan -n -m1000000 "$run"
	) >"$work/said" 2>&1 || :
}

# All states were seen, and none is wrong; one that is wrong was found.
is_right() {
	grep -q 'errors: 0' "$work/said" &&
		! grep -qE 'not completed|too small|MEMLIM|hash-compact|bit-state|bitstate' "$work/said"
}
is_wrong() {
	grep -q 'errors: 1' "$work/said" &&
		grep -qE 'assertion violated|invalid end state|non-progress cycle' "$work/said" &&
		! grep -q 'too small' "$work/said"
}
states() { sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$work/said" | head -n 1; }

# right MODEL FLAG...
right() {
	name="$*"
	model=$1
	shift
	check "$model" -DSAFETY $table "$@"
	if is_right; then
		result ok "$name holds ($(states) states)"
	else
		sed 's/^/# /' "$work/said" | cut -c1-200
		result "not ok" "$name holds"
	fi
}

# ends MODEL FLAG...: no run goes on for ever, so that what holds at the end comes to pass.
ends() {
	name="$*"
	model=$1
	shift
	check "$model" -DNP -l "$@"
	if is_right; then
		result ok "$name ends ($(states) states)"
	else
		sed 's/^/# /' "$work/said" | cut -c1-200
		result "not ok" "$name ends"
	fi
}

# mistake MODEL NAME FLAG...
mistake() {
	model=$1
	what=$2
	shift 2
	check "$model" -DSAFETY $table "-DMISTAKE_$what" "$@"
	if is_wrong; then
		result ok "$model: the mistake $what is found"
	else
		sed 's/^/# /' "$work/said" | cut -c1-200
		result "not ok" "$model: the mistake $what is found"
	fi
}

run_small() {
	right lane
	right heads -DMESSAGES=3
	right position -DTXS=2
	right wakeup
	mistake lane NO_FENCE
	mistake position ONE_SNAPSHOT -DTXS=2 -DRELAYS=2 -DPASSES=0
	mistake position SEQ_BEFORE_XID -DTXS=2 -DPASSES=0
}

run_all() {
	right lane -DFAILURES=1
	right lane -DLOSSES=2
	right lane -DFAILURES=1 -DLOSSES=0 -DCRASHES=1
	right lane -DPOISON=1 -DBEHIND=1 -DLOSSES=0 -DCRASHES=1
	right lane -DPOISON=2 -DFAILURES=1 -DLOSSES=0
	right lane -DPOISON=3 -DFAILURES=1 -DLOSSES=0
	ends lane
	ends lane -DFAILURES=1 -DLOSSES=0 -DPOISON=2
	mistake lane NO_FENCE
	mistake lane TOKEN_KEPT
	mistake lane RELEASE_BEFORE_SETTLING -DLOSSES=0
	mistake lane SETTLE_BEFORE_PUBLISHING -DLOSSES=0
	mistake lane DEFERRED_OF_CLAIM -DFAILURES=1 -DLOSSES=0
	mistake lane NO_SUSPECT -DPOISON=1 -DLOSSES=0
	mistake lane SUSPECTS_BEYOND_POSITION -DPOISON=1 -DBEHIND=1 -DLOSSES=0

	right heads
	right heads -DBLOCKS=0
	mistake heads ADMIN_SETTING -DBLOCKS=0
	mistake heads HEAD_ANYWHERE
	mistake heads NO_PARKING
	mistake heads ALL_FOLLOWERS

	right position
	right position -DTXS=3 -DSEQS=4 -DBATCH=2 -DPASSES=0 -DSTOPS=1
	right position -DTXS=2 -DPASSES=2 -DCRASHES=1 -DSTOPS=1
	right position -DTXS=2 -DSEQS=4 -DROWS=3 -DBATCH=3 -DPASSES=2
	right position -DRELAYS=2 -DPASSES=0
	ends position -DPASSES=0 -DRELAYS=2
	ends position -DTXS=2 -DCRASHES=1 -DSTOPS=1
	mistake position ONE_SNAPSHOT -DTXS=2 -DRELAYS=2 -DPASSES=0
	mistake position SEQ_BEFORE_XID -DPASSES=0
	mistake position NO_XBOUND -DPASSES=0
	mistake position SNAPSHOT_OF_SETTLING -DPASSES=0
	mistake position CUT_IGNORED -DPASSES=0
	mistake position LEFT_IGNORED -DPASSES=0 -DSTOPS=1
	mistake position CLEAN_BY_POSITION
	mistake position LOW_BEFORE_XMIN
	mistake position LOW_OVER_LATE
	mistake position STOPPED_CLEANER -DTXS=2 -DSEQS=4 -DROWS=3 -DBATCH=3 -DPASSES=2

	right wakeup
	ends wakeup
	right wakeup -DPOLL -DMISTAKE_NO_SECOND_LOOK
	right wakeup -DPOLL -DMISTAKE_ONE_LOOK
	right wakeup -DPOLL -DMISTAKE_FLAG_BEFORE_XID
	ends wakeup -DPOLL -DMISTAKE_NO_SECOND_LOOK
	mistake wakeup NO_SECOND_LOOK
	mistake wakeup ONE_LOOK
	mistake wakeup FLAG_BEFORE_XID

	[ -n "${OUTBOX_TEST_LONG:-}" ] || return 0
	right lane -DPOISON=1 -DLOSSES=1
	right lane -DFAILURES=2 -DCRASHES=1 -DLOSSES=0
	right position -DTXS=3 -DSEQS=4 -DPASSES=1
	right position -DTXS=2 -DSEQS=4 -DPASSES=2 -DCRASHES=1 -DSTOPS=1
	right position -DTXS=3 -DSEQS=4 -DRELAYS=2 -DPASSES=0 -DSTOPS=1
	right wakeup -DWRITERS=5
	right heads -DTIMED=2 -DACTS=2
	right heads -DTIMED=6 -DBLOCKS=0 -DACTS=2
}
if [ -n "${OUTBOX_TEST_MODELS:-}${OUTBOX_TEST_LONG:-}" ]; then
	optimize=-O2
	table=-w24
	run_all
else
	run_small
fi
echo "1..$n"
[ -z "$failed" ]
