/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the doctor asks a database (lib/doctor.c). Templates as in driver.h. Each row of a result is one thing that was
 * found: what it is, a statement that mends it or NULL, a number and a count: ttii; a count of 0 is nothing. :age is how
 * long something must have lasted, in microseconds. */
#ifndef OUTBOX_PROBES_H
#define OUTBOX_PROBES_H

#define OUTBOX_PROBE_TYPES "ttii"

enum outbox_probe {
    /* Facts. */
    A_VERSION,   /* of the server */
    A_ISOLATION, /* that transactions of applications get */
    A_ZONE,      /* the session's time zone */
    A_SESSION,   /* a name of this session of the server, which no other has */
    A_USER,      /* as GRANT wants it */
    A_WRITABLE,  /* when it takes no writes: a statement that tells why */
    /* What can be wrong. */
    A_ENCODING,     /* text that is not kept as UTF-8 */
    A_FUTURE,       /* written or leased beyond the server's present: the number says how far */
    A_TRANSACTIONS, /* open ones that wrote: since when */
    A_SNAPSHOTS,    /* open ones that only read, and what else keeps dead rows: since when */
    A_BLOAT,        /* tables with dead rows: how many */
    A_INDEXES,      /* that are missing */
    A_CACHED,       /* the sequence of messages, when sessions take several numbers at a time: how many */
    A_CITUS,        /* a fact: where the server keeps which tables are spread over nodes; NULL: it does not spread any */
    A_DISTRIBUTED,  /* the outbox's tables that are, asked where there is such a place */
    A_STALE,        /* owners whose leases ended: how long ago; lanes */
    A_UNATTENDED,   /* lanes with a message that waits, while no relay holds any: how long; lanes */
    A_SLOW,         /* lanes with a message that waits, while relays hold others */
    A_UNCLEANED,    /* what is past :bound, while no cleaner ran */
    A_FAILING,      /* messages that failed again and again: the last error */
    A_DEAD,         /* dead ones: since when; how many */
    A_BLOCKED,      /* those that wait behind dead ones: since when; how many */
    A__COUNT
};

/* There is no such thing in this database. */
#define OUTBOX_PROBE_NONE ""

/* One for each dialect that has more to ask than generic. NULL: nobody has written that yet, so it is asked as generic does
 * or not at all, which the doctor says. */
extern const char *const outbox_probes__generic[A__COUNT];
extern const char *const outbox_probes__postgresql[A__COUNT];
extern const char *const outbox_probes__mariadb[A__COUNT];
extern const char *const outbox_probes__sqlite[A__COUNT];
extern const char *const outbox_probes__firebird[A__COUNT];

#endif
