/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Position settling on PostgreSQL, one lane: transactions that commit late, relays, and the cleaner behind them.
 * README.md says which line of the code each step stands for. A step is one SQL statement. */

#ifndef TXS
#define TXS 3 /* transactions of the application's */
#endif
#ifndef SEQS
#define SEQS 3 /* rows that all of them write, at most 6 */
#endif
#ifndef ROWS
#define ROWS 2 /* rows that one of them writes at the most */
#endif
#ifndef BATCH
#define BATCH 1
#endif
#ifndef RELAYS
#define RELAYS 1
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef STOPS
#define STOPS 0 /* batches that are settled before all of it was answered */
#endif
#ifndef PASSES
#define PASSES 1 /* of the cleaner */
#endif
#ifndef CLEAN
#define CLEAN 1 /* rows that it deletes in one statement */
#endif

#define X(x) (1 << (x))
#define S(s) (1 << ((s) - 1))
#define ALL(p) (p(1) && p(2) && p(3) && p(4) && p(5) && p(6))
#define ANY(p) (p(1) || p(2) || p(3) || p(4) || p(5) || p(6))
#define MAX(a, b) ((a) > (b) -> (a) : (b))

/* The server. Bit x of a set of transactions is xid x, bit s - 1 of a set of rows is number s. */
byte next_xid = 2, completed = 1, next_seq = 1;
short running, committed;
byte tx[7];
byte rows;    /* that are in the table, seen or not */

/* The lane. Whoever made it had xid 1. */
byte owner, pos, low, cleaned, xmax = 2, xbound = 1;
short xip;

/* What is checked: rows that must go, and that went. */
byte due, delivered;
byte started, finished, relays_done, crashes, stops;

hidden byte i, n, x, stop, xmin;

#define VISIBLE(s) ((rows & S(s)) && (committed & X(tx[s])))
#define SEES(t, xm, xi) ((t) < (xm) && !((xi) & X(t)))
/* Drawn when the read had begun, seen by nobody: what LATE_ROWS looks for. */
#ifdef MISTAKE_NO_XBOUND
#define OPEN(t, xm, xi, xb) ((t) < (xm) && ((xi) & X(t)))
#else
#define OPEN(t, xm, xi, xb) ((t) < (xm) -> ((xi) & X(t)) : (t) < (xb))
#endif
#define LATE(s) ((s) <= pos && (s) > low && OPEN(tx[s], xmax, xip, xbound))
#define WORK(s) (VISIBLE(s) && ((s) > pos || LATE(s)))

#define SETTLED(s) (VISIBLE(s) && ((s) <= low || ((s) <= pos && SEES(tx[s], xmax, xip))))
#define NOT_UNSEEN(s) (!SETTLED(s) || (delivered & S(s)))
#define INVARIANT(s) (!(rows & S(s)) || (s) > pos || SETTLED(s) || \
    ((s) > low && (tx[s] < xmax -> (xip & X(tx[s])) : tx[s] < xbound)))
#define NOT_FORGOTTEN(s) ((s) > cleaned || !VISIBLE(s))

inline check()
{
    assert(ALL(NOT_UNSEEN));    /* nothing is settled that was not delivered */
    assert(ALL(INVARIANT));     /* what is not settled behind the position is looked for */
    assert(ALL(NOT_FORGOTTEN))  /* nothing stays for ever where the cleaner does not look again */
}

inline complete(id)
{
    running = running & ~X(id);
    completed = MAX(completed, id)
}

/* They are alike, so they begin in their order. */
active [TXS] proctype transaction()
{
    byte id = 0, number = 0, written = 0;

    started == _pid;
#ifdef MISTAKE_SEQ_BEFORE_XID
    d_step { next_seq <= SEQS -> number = next_seq; next_seq++; started++ }
    d_step { id = next_xid; next_xid++; running = running | X(id) }
#else
    d_step { id = next_xid; next_xid++; running = running | X(id); started++ }
#endif
    do
    :: d_step {
            written < ROWS && (number > 0 || next_seq <= SEQS) ->
            if
            :: number == 0 -> number = next_seq; next_seq++
            :: else
            fi;
            tx[number] = id;
            rows = rows | S(number);
            number = 0;
            written++;
            check()
        }
    :: number == 0 -> break
    od;
    if
    :: d_step {
            committed = committed | X(id);
            complete(id);
            i = 1;
            do
            :: i <= SEQS -> due = (tx[i] == id -> due | S(i) : due); i++
            :: else -> break
            od;
            check();
            finished++; id = 0; written = 0
        }
    :: d_step {
            complete(id);
            i = 1;
            do
            :: i <= SEQS -> rows = (tx[i] == id -> rows & ~S(i) : rows); i++
            :: else -> break
            od;
            check();
            finished++; id = 0; written = 0
        }
    fi
}

proctype relay(byte me)
{
    byte batch = 0, left = 0, last = 0, my_low = 0, my_xmax = 0, seen = 0;
    short my_xip = 0;
    bit cut = 0;

idle:
    batch = 0; left = 0; last = 0; my_low = 0; my_xmax = 0; my_xip = 0; cut = 0; seen = 0;
#ifdef MISTAKE_ONE_SNAPSHOT
    /* One statement that claims and reads: its snapshot, then the lane's row. */
    d_step {
        i = 1;
        do
        :: i <= SEQS -> seen = (VISIBLE(i) -> seen | S(i) : seen); i++
        :: else -> break
        od;
        my_xmax = completed + 1;
        my_xip = running & (X(my_xmax) - 1)
    }
#endif
    if
    :: d_step { owner == 0 && ANY(WORK) -> owner = me; my_low = low }
    :: finished == TXS && owner == 0 && !ANY(WORK) -> goto end
    fi;

read:
    skip;
    d_step {
#ifdef MISTAKE_ONE_SNAPSHOT
#define READ(s) ((seen & S(s)) && (rows & S(s)))
#else
#define READ(s) VISIBLE(s)
        my_xmax = completed + 1;
        my_xip = running & (X(my_xmax) - 1);
#endif
        batch = 0; last = 0; n = 0; i = 1;
        do
        :: i <= SEQS ->
            if
            :: n < BATCH && READ(i) && (i > pos || (i > my_low && OPEN(tx[i], xmax, xip, xbound))) ->
                batch = batch | S(i); last = i; n++
            :: else
            fi;
            i++
        :: else -> break
        od;
        cut = (n == BATCH && last <= pos)
    }
    if
    :: batch == 0 -> owner = 0; goto idle
    :: crashes < CRASHES -> d_step { crashes++; owner = 0 }; goto idle
    :: batch != 0
    fi;

    /* Published, or left when it has to stop. */
    atomic {
        left = 0;
        if
        :: skip
        :: stops < STOPS ->
            stops++;
            if
            :: left = batch & (S(last))
            :: left = batch & ~(S(last))
            :: left = batch
            fi
        fi;
        d_step {
            assert(crashes || !(delivered & batch & ~left)); /* nothing twice when nobody crashes */
            delivered = delivered | (batch & ~left);
            last = 0
        }
    }
    if
    :: crashes < CRASHES -> d_step { crashes++; owner = 0 }; goto idle
    :: true
    fi;

    d_step {
        x = next_xid; next_xid++;
        completed = MAX(completed, x);
#ifdef MISTAKE_SNAPSHOT_OF_SETTLING
        my_xmax = completed + 1;
        my_xip = running & (X(my_xmax) - 1);
#endif
#ifdef MISTAKE_CUT_IGNORED
        cut = 0;
#endif
        /* where_to() */
        stop = 7; i = SEQS;
        do
        :: i > 0 -> stop = ((left & S(i)) -> i : stop); i--
        :: else -> break
        od;
#ifdef MISTAKE_LEFT_IGNORED
        stop = 7;
#endif
        n = pos; i = 1;
        do
        :: i <= SEQS -> n = ((batch & S(i)) && i < stop && i > n -> i : n); i++
        :: else -> break
        od;
        if
        :: !cut && stop > pos ->
            pos = n; xmax = my_xmax; xip = my_xip; xbound = x
        :: else -> n = 0
        fi;
        /* What the position does not say is deleted. */
        i = 1;
        do
        :: i <= SEQS ->
            rows = ((batch & S(i)) && !(left & S(i)) && i > n -> rows & ~S(i) : rows); i++
        :: else -> break
        od;
        check();
        batch = 0; left = 0; cut = 0; my_xmax = 0; my_xip = 0
    }
    if
    :: owner = 0; goto idle
#ifndef MISTAKE_ONE_SNAPSHOT
    :: goto read
#endif
    fi;
end:
    relays_done++
}

proctype cleaner()
{
    byte pass = 0, p_pos = 0, p_low = 0, p_cleaned = 0, p_xmax = 0, p_xbound = 0, removed = 0;
    short p_xip = 0;
    bit quiet = 0, stopped = 0;

    do
    :: pass < PASSES ->
        pass++;
        d_step {
            p_pos = pos; p_low = low; p_cleaned = cleaned; p_xmax = xmax; p_xip = xip; p_xbound = xbound
        }
        /* clean_behind() */
        do
        :: d_step {
                removed = 0; i = p_cleaned + 1;
                do
                :: i <= p_pos ->
                    if
#ifdef MISTAKE_CLEAN_BY_POSITION
                    :: removed < CLEAN && VISIBLE(i) ->
#else
                    :: removed < CLEAN && VISIBLE(i) && (i <= p_low || SEES(tx[i], p_xmax, p_xip)) ->
#endif
                        assert(SETTLED(i) && (delivered & S(i))); /* no unsettled row is removed */
                        rows = rows & ~S(i);
                        removed++
                    :: else
                    fi;
                    i++
                :: else -> break
                od
            }
            if
            :: removed < CLEAN -> break
            :: removed == CLEAN
            :: removed == CLEAN -> stopped = 1; break
            fi
        od;
        removed = 0;
        /* raise_low() */
#ifdef MISTAKE_STOPPED_CLEANER
        stopped = 0;
#endif
        if
        :: p_pos != p_low && !stopped ->
            d_step {
                xmin = 1; i = completed + 1;
                do
                :: xmin < i && !(running & X(xmin)) -> xmin++
                :: else -> break
                od;
#ifdef MISTAKE_LOW_BEFORE_XMIN
                quiet = 1;
#else
                quiet = xmin >= p_xbound;
#endif
                i = p_low + 1;
                do
                :: i <= p_pos ->
#ifndef MISTAKE_LOW_OVER_LATE
                    quiet = (VISIBLE(i) && OPEN(tx[i], p_xmax, p_xip, p_xbound) -> 0 : quiet);
#endif
                    i++
                :: else -> break
                od
            }
            d_step {
                low = (quiet -> MAX(low, p_pos) : low);
                cleaned = MAX(cleaned, p_low);
                check();
                quiet = 0
            }
        :: else
        fi;
        d_step {
            stopped = 0; p_pos = 0; p_low = 0; p_cleaned = 0; p_xmax = 0; p_xip = 0; p_xbound = 0
        }
    :: break
    od
}

init
{
    atomic {
        i = 1;
        do
        :: i <= RELAYS -> run relay(i); i++
        :: else -> break
        od;
        if
        :: PASSES > 0 -> run cleaner()
        :: else
        fi
    }
    relays_done == RELAYS;
    assert(!(due & ~delivered)) /* nothing is lost */
}
