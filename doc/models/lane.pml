/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The lane: leases, tokens, takeovers, suspect mode, and the order of a key while a message of it is deferred.
 * README.md says which line of the code each step stands for. A step is one SQL statement or transaction. */

#ifndef MESSAGES
#define MESSAGES 3
#endif
#ifndef RELAYS
#define RELAYS 2
#endif
#ifndef BATCH
#define BATCH 2
#endif
#ifndef LOSSES
#define LOSSES 1 /* leases that end while their owner lives, however long it was stopped */
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef FAILURES
#define FAILURES 0 /* deliveries that the broker refuses */
#endif
#ifndef POISON
#define POISON 0 /* the message that brings down whoever sends it */
#endif
#ifndef BEHIND
#define BEHIND 0 /* messages up to this number are late: behind the position */
#endif
#ifndef ATTEMPTS
#define ATTEMPTS 2
#endif

/* Where a message is: not written, among the messages, or deferred. */
#define NOT 0
#define PENDING 1
#define WAITING 2 /* in retry, its time has not come */
#define DUE 3
#define HELD 4
#define DEAD 5
#define GONE 6 /* settled as published */

#define M(m) (1 << (m))
#define IS_HEAD(m) (place[m] == WAITING || place[m] == DUE || place[m] == DEAD)
#define HEADS ((IS_HEAD(1) -> M(1) : 0) | (IS_HEAD(2) -> M(2) : 0) | (IS_HEAD(3) -> M(3) : 0))
#define AT(m, p) (place[m] == (p))
#define SOME(p) (AT(1, p) || AT(2, p) || AT(3, p))
#define DEFERRED (SOME(WAITING) || SOME(DUE) || SOME(HELD) || SOME(DEAD))
#define WORK (SOME(PENDING) || SOME(DUE))
#define FREE (owner == 0 || ended)
/* 1 and 2 have one key, 3 another. */
#define KEY(m) ((m) == 3 -> M(3) : (M(1) | M(2)))
#define MIN(a, b) ((a) < (b) -> (a) : (b))

byte place[4], attempts[4];
byte owner, token;
short suspect;
bit ended; /* the lease */

/* What is checked. */
byte holder;    /* who was given the present token */
byte delivered; /* a set of messages */
byte written, done, losses, crashes, failures, poisoned;
byte gone;      /* a set of relays: what these held, nobody renews */

hidden byte i, n, limit;

inline fence(me, mine)
{
    assert(holder == me && token == mine) /* a stale owner changes nothing */
}

#ifdef MISTAKE_NO_FENCE
#define FENCED(mine) 0
#else
#define FENCED(mine) ((mine) != token)
#endif

/* No held message is left without a head. */
inline promote()
{
    i = 1;
    do
    :: i <= MESSAGES ->
        if
        :: place[i] == HELD && !(HEADS & KEY(i)) -> place[i] = DUE
        :: else
        fi;
        i++
    :: else -> break
    od
}

active proctype application()
{
    do
    :: written < MESSAGES -> d_step { written++; place[written] = PENDING }
    :: else -> break
    od
}

/* Time: leases end, retries become due. */
active proctype clock()
{
    byte m;

endless:
    do
    :: d_step { owner != 0 && !ended && (gone & M(owner)) -> ended = 1 }
    :: d_step { owner != 0 && !ended && !(gone & M(owner)) && losses < LOSSES -> ended = 1; losses++ }
    :: d_step { place[1] == WAITING -> place[1] = DUE }
    :: d_step { place[2] == WAITING -> place[2] = DUE }
    :: d_step { place[3] == WAITING -> place[3] = DUE }
    od
}

/* Renews what its relay holds, also after the lease ended, when nobody took it meanwhile. */
proctype keeper(byte me)
{
endless:
    do
    :: d_step { owner == me && ended && !(gone & M(me)) -> ended = 0 }
    od
}

inline forget()
{
    d_step {
        batch = 0; fresh = 0; aside = 0; rejected = 0; ok = 0; bad = 0; mine = 0; deferred = 0; hand = 0;
        charged = 0; more = 0; keep = 0; m = 0
    }
}

inline crash(me)
{
    gone = (owner == me && holder == me -> gone | M(me) : gone)
}

proctype relay(byte me)
{
    byte mine = 0;              /* the token */
    byte batch = 0, fresh = 0;  /* what to deliver; what of it is new */
    byte aside = 0;             /* new ones that must wait */
    byte rejected = 0;          /* given up */
    byte ok = 0, bad = 0, m = 0;
    short hand = 0;             /* suspects */
    bit deferred = 0, charged = 0, more = 0, free = 0, keep = 0;

idle:
    forget();
    /* The claim's snapshot, then the lane's row as it is when it is locked. */
    if
    :: d_step { FREE && WORK -> free = 1; deferred = DEFERRED }
    :: done == 0 && written == MESSAGES && owner == 0 && !WORK && !SOME(WAITING) -> goto end
    :: done > 0 -> goto end
    fi;
    if
    :: d_step {
            FREE ->
            free = 0;
#ifndef MISTAKE_TOKEN_KEPT
            token++;
#endif
            mine = token;
#ifdef MISTAKE_NO_SUSPECT
            hand = 0;
#else
            hand = (owner == 0 -> suspect : -BATCH);
#endif
            suspect = hand;
            gone = gone & ~M(owner);
            owner = me; holder = me; ended = 0
        }
    :: d_step { !FREE -> free = 0 }; goto idle
    fi;

read:
    skip;
    /* count_suspects(), read_deferred() */
    d_step {
        batch = 0; fresh = 0; aside = 0; rejected = 0; ok = 0; bad = 0; charged = 0; more = 0; n = 0; i = 1;
        do
        :: i <= MESSAGES ->
#ifdef MISTAKE_SUSPECTS_BEYOND_POSITION
            n = (AT(i, DUE) || (AT(i, PENDING) && i > BEHIND) -> n + 1 : n);
#else
            n = (AT(i, DUE) || AT(i, PENDING) -> n + 1 : n);
#endif
            i++
        :: else -> break
        od;
        hand = (hand < 0 -> MIN(n, -hand) : hand);
        limit = (hand > 0 -> 1 : BATCH);
        n = 0; i = 1;
        do
        :: deferred && i <= MESSAGES ->
            if
            :: n < limit && (AT(i, DUE) || (AT(i, HELD) && (batch & KEY(i)))) ->
                if
                :: attempts[i] >= ATTEMPTS -> rejected = rejected | M(i)
                :: else -> batch = batch | M(i)
                fi;
                n++
            :: else -> more = (AT(i, HELD) && (batch & KEY(i)) -> 1 : more)
            fi;
            i++
        :: else -> break
        od
    }
    /* read_new() */
    d_step {
        limit = (hand > 0 -> 1 : BATCH);
        n = 0; i = 1;
        do
        :: i <= MESSAGES -> n = (batch & M(i) -> n + 1 : n); i++
        :: else -> break
        od;
        i = 1;
        do
        :: i <= MESSAGES ->
            if
            :: n < limit && AT(i, PENDING) -> fresh = fresh | M(i); n++
            :: else
            fi;
            i++
        :: else -> break
        od;
#ifndef MISTAKE_DEFERRED_OF_CLAIM
        more = (DEFERRED && !deferred -> 1 : more);
#endif
        i = 0
    }
    /* Deferred ones have come since: read again, those first. */
    if
    :: more && !deferred -> deferred = 1; goto read
    :: else
    fi;
    /* find_waiting(), hold_back() */
    d_step {
        i = 1;
        do
        :: i <= MESSAGES ->
            if
            :: deferred && (fresh & M(i)) && ((HEADS & KEY(i) & ~batch) || (rejected & KEY(i)) ||
                                              (more && (HEADS & KEY(i)))) ->
                aside = aside | M(i)
            :: else -> batch = batch | (fresh & M(i))
            fi;
            i++
        :: else -> break
        od;
        more = 0
    }
    if
    :: batch == 0 && !aside && !rejected ->
        d_step {
            if
            :: !FENCED(mine) -> fence(me, mine); owner = 0; ended = 0; suspect = hand
            :: else
            fi
        };
        goto idle
    :: batch == 0 && (aside || rejected) -> goto settle
    :: batch && hand <= 0 -> skip
    :: batch && hand > 0 ->
        /* outbox_batch__charge() */
        if
        :: d_step {
                !FENCED(mine) ->
                fence(me, mine);
                hand--;
                suspect = hand;
                ended = 0; owner = me;
                charged = 1;
                i = 1;
                do
                :: i <= MESSAGES ->
                    if
                    :: batch & M(i) ->
                        attempts[i]++; place[i] = WAITING; fresh = fresh & ~M(i)
                    :: else
                    fi;
                    i++
                :: else -> break
                od
            }
        :: FENCED(mine) -> goto idle
        fi
    fi;

    /* publish */
#ifdef MISTAKE_RELEASE_BEFORE_SETTLING
    d_step { if :: !FENCED(mine) -> owner = 0; ended = 0; suspect = hand :: else fi };
#endif
#ifdef MISTAKE_SETTLE_BEFORE_PUBLISHING
    ok = batch; m = MESSAGES + 1;
#else
    m = 1;
#endif
    do
    :: m <= MESSAGES && (!(batch & M(m)) || (bad & KEY(m))) -> m++
    :: m <= MESSAGES && (batch & M(m)) && !(bad & KEY(m)) && m == POISON ->
        d_step {
            poisoned++;
            assert(poisoned <= ATTEMPTS * (2 + losses + failures)); /* a message that brings down relays is given up */
            crash(me)
        }
        goto idle
    :: m <= MESSAGES && (batch & M(m)) && !(bad & KEY(m)) && m != POISON ->
        if
        :: d_step {
                /* Nothing twice while no lease is lost. */
                assert(losses || crashes || poisoned || !(delivered & M(m)));
                /* The order of a key, among first deliveries. */
                assert((delivered & M(m)) || m != 2 || (delivered & M(1)));
                delivered = delivered | M(m);
                ok = ok | M(m);
                m++
            }
        :: d_step { failures < FAILURES -> failures++; bad = bad | M(m); m++ }
        :: crashes < CRASHES -> d_step { crashes++; crash(me) }; goto idle
        fi
    :: m > MESSAGES -> break
    od;

settle:
    if
    :: keep = 0
    :: keep = 1
    fi;
    if
    :: FENCED(mine) -> goto idle
    :: d_step {
            !FENCED(mine) ->
#ifndef MISTAKE_RELEASE_BEFORE_SETTLING
            fence(me, mine);
#endif
            i = 1;
            do
            :: i <= MESSAGES ->
                if
                :: ok & M(i) -> place[i] = GONE
                :: bad & M(i) ->
                    attempts[i] = (charged -> attempts[i] : attempts[i] + 1);
                    place[i] = (attempts[i] >= ATTEMPTS -> DEAD : WAITING)
                :: rejected & M(i) -> place[i] = DEAD
                :: (aside & M(i)) || ((batch & ~ok & ~bad) & M(i)) -> place[i] = HELD
                :: else
                fi;
                assert(place[i] != GONE || (delivered & M(i))); /* nothing is settled unseen */
                /* Neighbours of a message that brings down relays are not charged for it. */
                assert(place[i] != DEAD || i == POISON || losses || crashes || failures);
                i++
            :: else -> break
            od;
            promote();
            suspect = hand;
            ended = 0;
#ifndef MISTAKE_RELEASE_BEFORE_SETTLING
            owner = (keep -> me : 0);
#endif
            deferred = (bad || aside || rejected -> 1 : deferred);
            m = 0
        }
    fi;
    if
    :: keep -> goto read
    :: else -> goto idle
    fi;
end:
    done++
}

init
{
    atomic {
        run relay(1); run keeper(1);
        if
        :: RELAYS > 1 -> run relay(2); run keeper(2)
        :: else
        fi
    }
    d_step {
        done == RELAYS;
        i = 1;
        do
        :: i <= MESSAGES ->
            /* None is lost. */
            assert(AT(i, GONE) || AT(i, DEAD) || (i == 2 && AT(2, HELD) && AT(1, DEAD)));
            i++
        :: else -> break
        od
    }
}
