/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a driver is: the statements of one database, as data. A dialect overrides what is better or different; a
 * statement that it leaves NULL is the generic one. Templates are explained in sqltext.h. */
#ifndef OUTBOX_DRIVER_H
#define OUTBOX_DRIVER_H

#include "odbc.h"
#include "table.h"
#include "translate.h"

/* Advice that several drivers give. */
#define OUTBOX_ADVICE_DEDUP                                                                                            \
    N_("a message with this id or dedup_key was enqueued before, so roll back: there is nothing to do")
#define OUTBOX_ADVICE_ABORTED                                                                                           \
    N_("a statement of this transaction failed before, and its error says why: roll back, then repeat the transaction")
#define OUTBOX_ADVICE_UNSURE                                                                                            \
    N_("whether it was committed is not known: connect again, and look before you repeat the transaction")

/* Statements. P: used in position mode instead of the one before. Columns of results are given as fetch types. */
enum outbox_query {
    Q_META,             /* name, value: tt; where there is a `product`, that too, by this name */
    Q_TOUCH,            /* a write that changes nothing, before anything is read in the application's transaction; or NULL */
    Q_CLOCK,            /* the server's time: i */
    Q_CHARSET,          /* in which the connection sends text, which has to be utf8…, or a euro sign, which arrives as one
                         * where it is: t; NULL: it can be no other */
    Q_PACKET,           /* bytes that the server takes in one statement: i; NULL: it sets no such limit */
    Q_MARK,             /* leaves a mark until the transaction ends, be it one of this statement alone; or NULL */
    Q_MARKED,           /* 1 when it is there, so that a transaction is open: i */
    Q_INSERT,           /* enqueue rows */
    Q_INSERT_ARRAYS,    /* enqueue any number of rows, each column as an array in text and all payloads as one, cut at
                         * :starts (from 1) and :sizes; or NULL */
    Q_DEDUP,            /* note ids and keys that must be unique */
    Q_CLAIM,            /* lease a lane that has work; columns as of Q_LANE; NULL: Q_CANDIDATES and Q_TAKE */
    Q_CLAIM_POSITION,
    Q_CLAIM_NEWEST,     /* the same two, for connections of the library's own: sooner found. A row of NULLs when somebody else
                         * changed the lane's row meanwhile, and then the others have the last word; or NULL */
    Q_CLAIM_NEWEST_POSITION,
    Q_GATHER,           /* lease up to :count lanes that have work, and read at most :limit messages of each, by position: texts
                         * as packed.h says, a NULL for a lane that somebody else changed meanwhile: T; or NULL */
    Q_CANDIDATES,       /* lane, token of free lanes with work: ii */
    Q_CANDIDATES_POSITION,
    Q_TAKE,             /* lease one of them if its token is still that */
    Q_LANE,             /* what Q_CLAIM returns, of one lane */
    Q_READ,             /* a batch of a lane; then snapshot, any deferred message or NULL: ti */
    Q_READ_POSITION,
    Q_READ_PACKED,      /* the same, as packed.h says, but no text of messages with more than :bytes bytes: T; or NULL */
    Q_READ_PACKED_POSITION,
    Q_SIZES,            /* seq, bytes of a batch to come: ii; NULL: Q_READ bounds its bytes itself */
    Q_SUSPECTS,         /* messages of a lane that are not settled: i */
    Q_RENEW,            /* one lane */
    Q_RENEW_ALL,        /* all lanes of an owner */
    Q_RELEASE_ALL,      /* the same, let go */
    Q_SETTLE,           /* fence; keep or release */
    Q_SETTLE_POSITION,  /* the same, and move the position, unless numbers began again since :file was asked */
    Q_SETTLE_NEWEST,    /* the same two, sooner found; they may change nothing when somebody else changes the row
                         * meanwhile, and then the others have the last word; or NULL */
    Q_SETTLE_NEWEST_POSITION,
    Q_SETTLE_READ,      /* that, then Q_READ_PACKED_POSITION from there, with the new xbound, which is NULL when nothing was
                         * changed: T; or NULL */
    Q_SETTLE_GATHERED,  /* Q_SETTLE_POSITION of several lanes, each let go, from :lane, :token and :pos as arrays: the lanes
                         * that it settled: i; others have the last word, as above; there is one where there is Q_GATHER */
    Q_DELETE,           /* messages by seq */
    Q_DELETE_MOVED,     /* the same, for when that deleted fewer: somebody changes rows at the same time; or NULL */
    Q_ARCHIVE,          /* copy messages by seq to the published ones */
    Q_ARCHIVE_DEFERRED,
    Q_JOURNAL,          /* note where a lane's position is now */
    Q_DEFER,            /* copy messages by seq to the deferred ones */
    Q_FAIL,             /* the same, each with its state, attempts, wait (scheduled: its own time) and error; repeated, or
                         * for one */
    Q_FAIL_DEFERRED,    /* state, attempts, wait and error of deferred ones that failed again */
    Q_DUE,              /* seq, key_hash, bytes, state; of its key: the last retry and dead before it, the first retry,
                         * dead and held behind it: iiiiiiiii */
    Q_FOLLOWERS,        /* seq, bytes of a key's held ones in between: ii */
    Q_WAITING,          /* keys of a list that wait: i */
    Q_DEFERRED_READ,    /* deferred ones by seq */
    Q_DEFERRED_PARK,    /* back to held, by seq */
    Q_DEFERRED_DELETE,  /* by seq */
    Q_DISCARD_DEFERRED, /* the same, those that are still in a state */
    Q_PROMOTE,          /* let the first held one of each key of a list go, when no head is before it */
    Q_STRANDED,         /* lane, key_hash of keys with dead messages, and held ones before any retry: ii */
    Q_LOCK_LANE,        /* for administration: waits for whoever settles the lane */
    Q_CLEANER_TAKE,
    Q_CLEANER_RELEASE,
    Q_LANES,            /* lane, pos, snap, xbound, low, cleaned: iittii */
    Q_CLEAN,            /* remove what lies behind a position */
    Q_JOURNAL_BEFORE,   /* pos, snap, low, published_at of the last journal row that is old enough: itii */
    Q_JOURNAL_DUE,      /* lanes whose journal has a row that is old enough: i */
    Q_JOURNAL_DELETE,
    Q_LOW,              /* 1 when nothing can appear at or below a position any more: i; NULL where it never can */
    Q_LOW_SET,
    Q_ARCHIVE_OLD,      /* lane, seq: ii */
    Q_ARCHIVE_DELETE,
    Q_DEAD_OLD,         /* lane, seq, key_hash: iii */
    Q_DEAD_DELETE,      /* by seq, those that are still dead, for as long */
    Q_DEDUP_OLD,        /* dedup_key: t */
    Q_DEDUP_DELETE,
    Q_COUNT_PENDING,    /* count, oldest created_at: ii */
    Q_COUNT_PENDING_POSITION,
    Q_COUNT_DEFERRED,   /* state, count: ii */
    Q_COUNT_DELIVERED,  /* count: i */
    Q_COUNT_DELIVERED_POSITION,
    Q_COUNT_LANES,      /* all, held: ii */
    Q_BACKLOG_LANES,    /* lane, pos, 1 when held, now, first and last seq beyond pos or NULL: iiiiii */
    Q_BACKLOG_LANE,     /* of the first ones beyond :pos: count, oldest created_at, last seq: iii */
    Q_BACKLOG_DEFERRED, /* lane, state, count, keys, of the first ones from :lane on: iiii */
    Q_PEEK_PENDING,     /* record columns of the first ones of :lane beyond :pos, without payload and headers */
    Q_PEEK_DEFERRED,    /* the same, of the first ones from lane :lane to lane :bound */
    Q_OWNERS,           /* lane, owner, microseconds until its lease ends, suspect: itii */
    Q_HOLDERS,          /* owner, lanes it leases, microseconds until the last of these leases ends: tii */
    Q_LIST_PENDING,     /* record columns; a filter follows */
    Q_LIST_PENDING_POSITION,
    Q_LIST_DEFERRED,
    Q_LIST_DELIVERED,
    Q_LIST_DELIVERED_POSITION,
    Q_SYSTEM,           /* which cluster this is: t; NULL: not asked */
    Q_PICK_PENDING,     /* lane, seq, key_hash, for administration, of pending or scheduled ones: iii; a filter follows */
    Q_PICK_PENDING_POSITION,
    Q_PICK_DEFERRED,
    Q_DISCARD_PENDING,  /* messages by seq, those that are still in a state */
    Q_DISCARD_PENDING_POSITION,
    Q_REDRIVE,          /* dead ones by seq; or those in retry, which keep their attempts */
    Q_META_SET,
    Q_FUTURE,           /* 1 when xids that matter lie in this cluster's future: i; NULL: not asked */
    Q_SEQUENCE,         /* 1 when the numbers to come lie behind a position, the last one or -1, which sequence, in which
                         * file, another one after each restart: iiii; NULL: not asked */
    Q_BEHIND,           /* 1 when messages were written behind a position: i; used with Q_SEQUENCE, like the next three */
    Q_ADVANCE,          /* let numbers begin beyond all positions */
    Q_LOCK_LANES,       /* all of them */
    Q_RENUMBER,         /* new numbers for messages that were written behind a position since it is what it is; from now on
                         * what such a transaction in progress wrote is late, wherever it is */
    Q_REBASE_PASSED,    /* 1 when messages of a restored outbox were written here, behind a position: i */
    Q_REBASE_NUMBERS,   /* new numbers for those, by :near and :count; all others count as written long ago, and what such a
                         * transaction in progress wrote is late */
    Q_REBASE_LANE,      /* the position means what it says here */
    Q_REBASE_NEW,       /* all messages of a lane count as written long ago */
    Q_AUDIT,            /* note who does what to which messages, none so far */
    Q_AUDIT_ADD,        /* and how many more it was done to */
    Q_AUDIT_LIST,       /* id, done_at, who, what, which, messages, newest first: tittti */
    Q_REBASE_LATE,      /* after a restore: seq of late rows of a lane: i */
    Q_WAKE,             /* what a wake-up source watches, and the channel or '': tt; NULL: there is none */
    Q__COUNT
};

#define OUTBOX_DRIVER_POSITION 1u        /* can settle by position */
#define OUTBOX_DRIVER_SETTLE_RETURNS 2u  /* Q_SETTLE_POSITION answers with a row: the new xbound */
#define OUTBOX_DRIVER_DDL_COMMITS 32u    /* a migration runs outside of a transaction; what is there already is passed over */
#define OUTBOX_DRIVER_NOT_GENERIC 64u    /* the generic statements do not run here: INSERT of several rows, for one */
#define OUTBOX_DRIVER_INDEX_SCHEMA 16u   /* CREATE INDEX has the schema before the index, not before the table */
#define OUTBOX_DRIVER_BEGIN_TELLS 4u     /* `begin` in an open transaction is OUTBOX_ERR_STATE, and does nothing to it */
#define OUTBOX_DRIVER_CLAIM_LOCKS 8u     /* Q_CLAIM locks out writers even when it finds nothing: look first */

/* What connections of the library's own say when they connect, where the user has no say in it. */
struct outbox_word {
    const char *name;
    int64_t unit;         /* of the setting conn.timeout, in microseconds; 0: the number is `least` */
    int64_t least;
    const char *instead, *instead_short; /* an attribute that says the same; or NULL */
};

struct outbox_connect {
    const char *library;                 /* what the file of the ODBC driver is named like, without folders */
    const char *key, *short_key, *value; /* an attribute, unless the user says another value */
    const char *fixed_key, *fixed_short, *fixed_value; /* one that has this value, whatever the user says */
    const char *words_key, *words_short; /* another one, that holds name=number words */
    const struct outbox_word *words;     /* ends with a NULL name */
};

/* Of an outbox, where neither a setting nor the driver says how many. build-aux/embed-migrations reads it. */
#define OUTBOX_LANES 64

struct outbox_driver {
    const char *name;
    const char *dialect;        /* folder of migrations */
    const char *const *dbms;    /* what SQL_DBMS_NAME starts with; ends with NULL */
    const char *product;        /* SQL that tells more than that: t; NULL: there are no others of that name */
    int (*relative)(const char *product, char *name, size_t size); /* whether it is one of those, and which */
    unsigned flags;
    const char *quote;          /* around names */
    const char *now;            /* microseconds since 1970 UTC, by the server's clock, of this statement */
    const char *bytes;          /* of the columns payload and headers, which may be NULL, without reading them */
    const char *zoned;          /* advice, where the server's time zone may be why its clock differs; NULL: it never is */
    const char *limit;          /* what follows ORDER BY */
    const char *text;           /* type for CAST of an error text */
    const char *number;         /* type for CAST of a number of 64 bits */
    const char *id;             /* how the parameter :id is written into the column id */
    int lanes;                  /* of an outbox, where nobody says how many; 0: OUTBOX_LANES */
    size_t params;              /* most that a statement may have; 0: more than are used */
    /* ODBC's types for parameters, where they are not SQL_VARCHAR and SQL_VARBINARY; the long ones above so many bytes. */
    struct outbox_bindings bindings;
    /* What the generic schema is made of. */
    const char *sequence;       /* the rest of a column that numbers rows, and is the primary key */
    const char *uuid, *long_text, *long_bytes; /* types */
    const char *table_end;      /* what follows a table's columns */
    const char *if_not_exists;  /* where what makes tables commits; else "" */
    const char *insert_new;     /* INSERT INTO, or what passes over rows that are there when that can be */
    const char *begin, *commit, *rollback; /* SQL; NULL: the ODBC calls */
    const char *migrate_lock;   /* first statement of the migrating transaction; NULL: none */
    const char *create_schema;  /* NULL: schemas are not made here */
    const struct outbox_connect *connect; /* NULL: nothing is said */
    const char *const *setup;   /* run on connections of the library's own; ends with NULL */
    const char *claims;         /* and on those of them that claim; it is no harm when it fails; or NULL */
    /* After it, no statement of the connection waits for a lock for long; NULL: the ODBC driver's timeout, in whole seconds,
     * has to do. For what comes round again, like the renewal of leases. A driver that has it sees to it in Q_TAKE itself. */
    const char *impatience;
    const char *wake_module;    /* the loadable source of wake-ups; NULL: none */
    /* What its client library connects with, from an ODBC connection string; free it; NULL when that cannot be told. */
    int (*conninfo)(const char *connection_string, char **conninfo, outbox_error **err);
    int wake_file;              /* Q_WAKE names a file that changes with each commit */
    const struct outbox_errclass *errors;
    const char *const *probes;  /* what the doctor asks (probes.h); NULL: what any database is asked */
    const char *sql[Q__COUNT];
};

/* What a message keeps wherever it goes. */
#define OUTBOX_COPIED "id, topic, partition_key, payload, headers, content_type, message_type, max_attempts, created_at"

/* Q_INSERT, Q_DEDUP and Q_SETTLE; what a dialect says before them, or of the row beside its key, it says there. */
#define OUTBOX_INSERT                                                                                                   \
    "INSERT INTO {messages} (lane, id, topic, partition_key, payload, headers, content_type, message_type, "            \
    "max_attempts, available_at) VALUES [[(:lane, {id}, :topic, :key, :payload, :headers, :content_type, "              \
    ":message_type, :max_attempts, :available)]]"
#define OUTBOX_DEDUP "INSERT INTO {dedup} (dedup_key) VALUES [[(:dedup)]]"
#define OUTBOX_SETTLE(row)                                                                                              \
    "UPDATE {lanes} SET owner = :owner, lease_until = {now} + :lease, suspect = :suspect "                              \
    "WHERE " row "lane = :lane AND token = :token"

/* Q_TAKE, as any database has it. */
#define OUTBOX_TAKE                                                                                                     \
    "UPDATE {lanes} SET token = token + 1, lease_until = {now} + :lease, "                                              \
    "suspect = CASE WHEN owner IS NULL THEN suspect WHEN batch > 1 THEN -batch ELSE -1 END, "                           \
    "owner = :owner, batch = :batch WHERE lane = :lane AND token = :token AND (owner IS NULL OR lease_until < {now})"

/* What became of one message: bound for each, written for all at once. */
#define OUTBOX_OUTCOME                                                                                                  \
    "(CAST(:seq AS {number}), CAST(:state AS {number}), CAST(:attempts AS {number}), CAST(:delay AS {number}), "        \
    "CAST(:error AS {text}), CAST(:key_hash AS {number}))"

/* Q_DELETE for databases in which nobody waits for rows that others have not committed yet. */
#define OUTBOX_DELETE_LIST "DELETE FROM {messages} WHERE lane = :lane AND seq IN ([[:seq]])"

/* Q_FAIL and Q_FAIL_DEFERRED for many, where VALUES is a table, and an UPDATE may begin with WITH. */
#define OUTBOX_FAIL                                                                                                     \
    "INSERT INTO {deferred} (lane, seq, " OUTBOX_COPIED ", state, attempts, available_at, last_error, key_hash, "       \
    "deferred_at) WITH v (vseq, vstate, vattempts, vdelay, verror, vkey) AS (VALUES [[" OUTBOX_OUTCOME "]]) "           \
    "SELECT lane, seq, " OUTBOX_COPIED ", vstate, vattempts, CASE WHEN vstate = 2 THEN available_at ELSE "              \
    "{now} + vdelay END, verror, vkey, {now} "                                                                          \
    "FROM {messages} JOIN v ON vseq = seq WHERE lane = :lane"
#define OUTBOX_FAIL_DEFERRED                                                                                            \
    "WITH v (vseq, vstate, vattempts, vdelay, verror, vkey) AS (VALUES [[" OUTBOX_OUTCOME "]]) UPDATE {deferred} SET "  \
    "state = (SELECT vstate FROM v WHERE vseq = seq), attempts = (SELECT vattempts FROM v WHERE vseq = seq), "          \
    "available_at = {now} + (SELECT vdelay FROM v WHERE vseq = seq), "                                                  \
    "last_error = (SELECT verror FROM v WHERE vseq = seq), deferred_at = {now} "                                        \
    "WHERE lane = :lane AND seq IN (SELECT vseq FROM v)"

/* Q_PROMOTE likewise: the first held one of a key is looked up by its index, however many there are. */
#define OUTBOX_PROMOTE                                                                                                 \
    "WITH v (vkey) AS (VALUES [[(CAST(:key_hash AS {number}))]]) UPDATE {deferred} SET state = 3, "                    \
    "available_at = {now} WHERE lane = :lane AND state = 4 AND seq IN (SELECT (SELECT MIN(f.seq) FROM {deferred} f "   \
    "WHERE f.lane = :lane AND f.key_hash = vkey AND f.state = 4) FROM v) AND "                                         \
    "(SELECT MIN(h.seq) FROM {deferred} h WHERE h.lane = :lane AND h.key_hash = {deferred_plain}.key_hash AND "        \
    "h.state = 3 AND h.seq < {deferred_plain}.seq) IS NULL AND "                                                       \
    "(SELECT MIN(h.seq) FROM {deferred} h WHERE h.lane = :lane AND h.key_hash = {deferred_plain}.key_hash AND "        \
    "h.state = :dead AND h.seq < {deferred_plain}.seq) IS NULL"

/* Record columns, in the order in which every reading statement gives them; see record.c. */
#define OUTBOX_RECORD_TYPES "iitttbtttiiiittii"

#define OUTBOX_DRIVER_DECLARE_(name) extern const struct outbox_driver outbox_driver__##name;
OUTBOX_DRIVERS(OUTBOX_DRIVER_DECLARE_)
#undef OUTBOX_DRIVER_DECLARE_

/* In the order of the table; NULL behind the last. */
const struct outbox_driver *outbox_driver__at(size_t index);

/* By name, or by what the server calls itself; "generic" on a known server speaks with that server's expressions.
 * NULL: no driver of that name. */
const struct outbox_driver *outbox_driver__find(const char *name);
const struct outbox_driver *outbox_driver__of_dbms(const char *dbms);

/* By the file of an ODBC driver; NULL when it wants nothing. */
const struct outbox_connect *outbox_driver__connect(const char *file);

/* A statement: the driver's, or the generic one. NULL: it does without. */
const char *outbox_driver__sql(const struct outbox_driver *driver, enum outbox_query query);

#endif
