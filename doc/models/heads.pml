/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One key that waits, with any number of heads: scheduled messages that come due before or behind one in retry, dead ones
 * that block or do not, administration that takes heads away. One relay holds the lane; leases are lane.pml's business.
 * A step is one statement or transaction; what is read without the lock may be old when it is used.
 *
 * Checked after each transaction: every held message has a head before it. Checked when a message is planned: none of its
 * key before it waits, but for what goes before it in the same batch. */

#ifndef MESSAGES
#define MESSAGES 4
#endif
#ifndef LIMIT
#define LIMIT 2 /* messages in a batch */
#endif
#ifndef BLOCKS
#define BLOCKS 1 /* ordering.dead, as the relay has it */
#endif
#ifndef FAILURES
#define FAILURES 2
#endif
#ifndef ACTS
#define ACTS 1 /* of administration */
#endif
#ifndef TIMED
#define TIMED 4 /* a set of messages: scheduled ones; here the second */
#endif

/* Where a message is. */
#define NOT 0
#define PENDING 1
#define LATER 2   /* scheduled, its time has not come */
#define COME 3    /* scheduled, its time has come */
#define WAITING 4 /* in retry, its time has not come */
#define DUE 5     /* in retry, its time has come */
#define HELD 6
#define DEAD 7
#define GONE 8

#define M(m) (1 << (m))
#define IS_RETRY(m) (place[m] == WAITING || place[m] == DUE)
#define IS_HEAD(m) (IS_RETRY(m) || (BLOCKS && place[m] == DEAD))

byte place[MESSAGES + 1];
byte written, failures, acts;

hidden byte i, j, n, before, found;

/* outbox_conn__promote(): the first held one, when no head is before it. Dead ones are heads where they block, and for a
 * relay; administration does not know, and takes them for none. */
inline promote(dead_is_head)
{
    i = 1; found = 0;
    do
    :: i <= MESSAGES && !found ->
        if
        :: place[i] == HELD -> place[i] = DUE; found = 1
#ifdef MISTAKE_HEAD_ANYWHERE
        :: place[i] != HELD && (IS_RETRY(i) || (dead_is_head && place[i] == DEAD)) -> found = 1
        :: place[i] != HELD && !(IS_RETRY(i) || (dead_is_head && place[i] == DEAD)) ->
            j = i + 1;
            do
            :: j <= MESSAGES -> found = (IS_RETRY(j) -> 1 : found); j++
            :: else -> break
            od
#else
        :: IS_RETRY(i) || (dead_is_head && place[i] == DEAD) -> found = 1
        :: else
#endif
        fi;
        i++
    :: else -> break
    od;
    i = 0
}

inline check_heads()
{
    i = 1; found = 0;
    do
    :: i <= MESSAGES ->
        found = (IS_HEAD(i) -> 1 : found);
        assert(place[i] != HELD || found);
        i++
    :: else -> break
    od;
    i = 0
}

active proctype application()
{
    do
    :: written < MESSAGES -> d_step { written++; place[written] = PENDING }
    :: else -> break
    od
}

active proctype clock()
{
    byte m = 1;

endless:
    do
    :: d_step { place[m] == LATER -> place[m] = COME }
    :: d_step { place[m] == WAITING -> place[m] = DUE }
    :: m = (m % MESSAGES) + 1
    od
}

/* discard of dead messages, or of those in retry; redrive. */
active proctype administration()
{
    byte m = 1;

endless:
    do
    :: d_step {
            acts < ACTS && (place[m] == DEAD || IS_RETRY(m)) ->
            acts++;
            place[m] = GONE;
#ifdef MISTAKE_ADMIN_SETTING
            promote(1);
#else
            promote(0);
#endif
            check_heads()
        }
    :: d_step { acts < ACTS && place[m] == DEAD -> acts++; place[m] = DUE; check_heads() }
    :: m = (m % MESSAGES) + 1
    od
}

active proctype relay()
{
    byte snap[MESSAGES + 1]; /* what Q_DUE saw */
    byte batch, fresh, aside, park, ok, bad, rejected, m, next, parked_of;
    bit exhausted, waiting, stop;

idle:
    skip;
    d_step {
        batch = 0; fresh = 0; aside = 0; park = 0; ok = 0; bad = 0; rejected = 0; m = 1; next = 0; exhausted = 0;
        waiting = 0; stop = 0; parked_of = 0; n = 0
    }
    /* Q_DUE, plan_one(): what is due, in order, when the nearest head before it is taken. */
    d_step {
        i = 1; before = 0; n = 0;
        do
        :: i <= MESSAGES ->
            snap[i] = place[i];
            if
            :: place[i] == DUE || place[i] == COME ->
                if
#ifndef MISTAKE_NO_PARKING
                :: before != 0 && !(batch & M(before)) -> park = park | M(i)
#endif
                :: else ->
                    if
                    :: n < LIMIT -> batch = batch | M(i); n++
                    :: else
                    fi
                fi
            :: else
            fi;
            before = (IS_HEAD(i) -> i : before);
            i++
        :: else -> break
        od;
        i = 0
    }
    /* Q_FOLLOWERS of each head that is taken, up to the next one as it was seen; as long as there is room. */
    m = 1;
    do
    :: m <= MESSAGES && (batch & M(m)) && snap[m] == DUE && !(parked_of & M(m)) ->
        d_step {
            parked_of = parked_of | M(m);
            next = MESSAGES + 1; i = MESSAGES;
            do
            :: i > m ->
#ifndef MISTAKE_ALL_FOLLOWERS
                next = (snap[i] == WAITING || snap[i] == DUE || (BLOCKS && snap[i] == DEAD) -> i : next);
#endif
                i--
            :: else -> break
            od;
            n = 0; i = 1;
            do
            :: i <= MESSAGES -> n = (batch & M(i) -> n + 1 : n); i++
            :: else -> break
            od;
            stop = 0; i = m + 1;
            do
            :: i < next ->
                if
                :: place[i] == HELD && !(batch & M(i)) ->
                    if
                    :: n < LIMIT && !stop -> batch = batch | M(i); n++
                    :: else -> stop = 1
                    fi
                :: else
                fi;
                i++
            :: else -> break
            od;
            exhausted = (next == MESSAGES + 1 && !stop -> 1 : exhausted);
            /* When there is no room, nothing more of the key is taken. */
            i = m + 1;
            do
            :: stop && i <= MESSAGES ->
                if
                :: i >= next -> batch = batch & ~M(i)
                :: else
                fi;
                i++
            :: else -> break
            od;
            m++
        }
    :: m <= MESSAGES && !((batch & M(m)) && snap[m] == DUE && !(parked_of & M(m))) -> m++
    :: m > MESSAGES -> break
    od;
    /* park() */
    if
    :: park ->
        d_step {
            i = 1;
            do
            :: i <= MESSAGES ->
                place[i] = ((park & M(i)) && (place[i] == DUE || place[i] == COME || place[i] == WAITING) -> HELD : place[i]);
                i++
            :: else -> break
            od;
            promote(BLOCKS);
            check_heads()
        }
    :: else
    fi;
    /* Q_DEFERRED_READ: what is still there; and none before it waits that is not taken. */
    d_step {
        i = 1; before = 0;
        do
        :: i <= MESSAGES ->
            batch = (place[i] == GONE -> batch & ~M(i) : batch);
            assert(!(batch & M(i)) || !before);
            before = (!(batch & M(i)) && (snap[i] == HELD || snap[i] == WAITING || snap[i] == DUE ||
                                          (BLOCKS && snap[i] == DEAD)) && place[i] == snap[i] -> 1 : before);
            i++
        :: else -> break
        od;
        i = 0
    }
    /* read_new() */
    d_step {
        n = 0; i = 1;
        do
        :: i <= MESSAGES -> n = (batch & M(i) -> n + 1 : n); i++
        :: else -> break
        od;
        i = 1;
        do
        :: i <= MESSAGES ->
            if
            :: place[i] == PENDING && n < LIMIT -> fresh = fresh | M(i); n++
            :: else
            fi;
            i++
        :: else -> break
        od;
        i = 0
    }
    /* find_waiting(), hold_back() */
    d_step {
        i = 1;
        do
        :: i <= MESSAGES -> waiting = (IS_HEAD(i) -> 1 : waiting); i++
        :: else -> break
        od;
        i = 1;
        do
        :: i <= MESSAGES ->
            if
            :: (fresh & M(i)) && (M(i) & TIMED) -> aside = aside | M(i)
            :: (fresh & M(i)) && !(M(i) & TIMED) && waiting && !exhausted -> aside = aside | M(i)
            :: (fresh & M(i)) && !(M(i) & TIMED) && !(waiting && !exhausted) -> batch = batch | M(i)
            :: else
            fi;
            i++
        :: else -> break
        od;
        i = 0
    }
    if
    :: batch == 0 && aside == 0 -> goto idle
    :: else
    fi;
    /* publish: after one that failed, none of its key is sent */
    m = 1; stop = 0;
    do
    :: m <= MESSAGES && (!(batch & M(m)) || stop) -> m++
    :: m <= MESSAGES && (batch & M(m)) && !stop ->
        if
        :: ok = ok | M(m)
        :: d_step { failures < FAILURES -> failures++; bad = bad | M(m); stop = 1 }
        :: d_step { failures < FAILURES -> failures++; rejected = rejected | M(m); stop = BLOCKS }
        fi;
        m++
    :: m > MESSAGES -> break
    od;
    /* settle: what administration removed meanwhile stays removed */
    m = 1;
    d_step {
        i = 1;
        do
        :: i <= MESSAGES ->
            if
            :: place[i] == GONE
            :: place[i] != GONE && (ok & M(i)) -> place[i] = GONE
            :: place[i] != GONE && (bad & M(i)) -> place[i] = WAITING
            :: place[i] != GONE && (rejected & M(i)) -> place[i] = DEAD
            :: place[i] != GONE && (aside & M(i)) && (M(i) & TIMED) -> place[i] = LATER
            :: place[i] != GONE && (aside & M(i)) && !(M(i) & TIMED) -> place[i] = HELD
            :: place[i] != GONE && (batch & ~ok & ~bad & ~rejected & M(i)) -> place[i] = HELD
            :: else
            fi;
            i++
        :: else -> break
        od;
        promote(BLOCKS);
        check_heads()
    }
    goto idle
}
