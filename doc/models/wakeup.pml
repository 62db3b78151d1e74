/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Waking up a relay without a notification in each commit: it says that it is idle, writers look at that without a
 * lock, and notify only then. What can be missed, and what covers it. README.md says what each design promises. */

#ifndef WRITERS
#define WRITERS 3
#endif

#define T(t) (1 << (t))

bit idle;          /* the flag */
bit notified;      /* a notification is on its way */
byte open;         /* transactions that have an xid, a set */
byte written, seen; /* messages that are committed; that the relay saw */

active [WRITERS] proctype writer()
{
    bit notify = 0;

#ifdef MISTAKE_FLAG_BEFORE_XID
    notify = idle;
    open = open | T(_pid);
#else
    open = open | T(_pid); /* the insert */
    notify = idle;         /* a statement of its own, with a snapshot of its own */
#endif
    d_step {
        open = open & ~T(_pid);
        written++;
        notified = (notify -> 1 : notified);
        notify = 0
    }
}

active proctype relay()
{
    byte before = 0;

busy:
    do
    :: d_step { seen < written -> seen = written }
    :: seen == written -> break
    od;
    idle = 1;
#ifndef MISTAKE_NO_SECOND_LOOK
#ifdef MISTAKE_ONE_LOOK
    before = 0;
#else
    before = open; /* who may have read the flag before it was set: their end is waited for, while looking on */
#endif
    if
    :: d_step { seen < written -> idle = 0; before = 0 }; goto busy
    :: d_step { seen == written && !(open & before) -> before = 0 }
    fi;
#endif
endless:
    if
    :: d_step { notified -> notified = 0; idle = 0 }
#ifdef POLL
    :: d_step { seen < written -> idle = 0 } /* sooner or later */
#endif
    fi;
    goto busy
}

active proctype monitor()
{
    timeout -> assert(seen == written) /* nobody sleeps while there is something to do */
}
