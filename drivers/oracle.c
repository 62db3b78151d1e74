/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Oracle 12.2 and later, through Oracle's ODBC driver. Settles by delete.
 *
 * - An empty string is NULL. The library writes NULL for what is empty but the payload, which may be NULL here, and is
 *   empty when it is read.
 * - One INSERT takes one row: with several, a long payload could not be bound (ORA-01461), and INSERT ALL draws one
 *   number for all. Other lists are short, as a plan is made for each size.
 * - The driver has no integers of 64 bits: numbers go as text, and the server takes them as numbers.
 * - Numbers are drawn in ORDER, without which the instances of a cluster keep some in store, and enqueue order is lost.
 * - Each statement sees one state of the tables, and readers wait for nobody.
 * - What makes tables commits: migrations go step by step.
 *
 * Nobody has run this on a server. */
#include "driver.h"

#include <sql.h>
#include <sqlext.h>

#define AGE "(SYS_EXTRACT_UTC(SYSTIMESTAMP) - TIMESTAMP '1970-01-01 00:00:00')"

#define OUTCOME                                                                                                         \
    "SELECT CAST(:seq AS {number}) vseq, CAST(:state AS {number}) vstate, CAST(:attempts AS {number}) vattempts, "      \
    "CAST(:delay AS {number}) vdelay, CAST(:error AS {text}) verror, CAST(:key_hash AS {number}) vkey FROM dual"

static const char *const dbms[] = { "Oracle", NULL };

static const char *const setup[] = {
    "ALTER SESSION SET ISOLATION_LEVEL = READ COMMITTED",
    /* Numbers that go as text have no other separators. */
    "ALTER SESSION SET NLS_NUMERIC_CHARACTERS = '.,'",
    NULL,
};

#define FULL N_("make room in the tablespace, or let its files grow")
#define PERMISSION                                                                                                      \
    "the user needs SELECT, INSERT, UPDATE and DELETE on the outbox's tables; to migrate, also CREATE TABLE, CREATE "  \
    "VIEW, CREATE PROCEDURE and a quota"
#define ROUTINES                                                                                                        \
    N_("a routine of the outbox does not compile: SELECT name, line, text FROM user_errors says why; mend that, then "  \
       "migrate again")
#define STARTING N_("the instance starts, stops or fails over: try again")

/* By the server's numbers, ORA-n. */
static const struct outbox_errclass errors[] = {
    /* Only the statement was rolled back; but what it was a part of is to be repeated as a whole. */
    { "", 60, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL },
    { "", 8177, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL },
    { "", 4020, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL },
    { "", 54, NULL, OUTBOX_ERR_CONFLICT, "database.lock_timeout", N_("somebody holds a lock: repeat the transaction") },
    { "", 30006, NULL, OUTBOX_ERR_CONFLICT, "database.lock_timeout",
      N_("somebody holds a lock: repeat the transaction") },
    { "", 1555, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL }, /* the snapshot is too old */
    { "", 1013, NULL, OUTBOX_ERR_CONFLICT, "database.cancelled",
      N_("the statement was cancelled by somebody: repeat the transaction") },
    { "", 40, NULL, OUTBOX_ERR_CONFLICT, "database.cancelled",
      N_("the resource manager ended the call: repeat the transaction") },
    { "", 25402, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL }, /* failed over: roll back */
    { "", 25408, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL },
    { "", 25405, NULL, OUTBOX_ERR_LOST, NULL, OUTBOX_ADVICE_UNSURE },
    { "", 1, "DEDUP", OUTBOX_ERR_DUPLICATE, NULL, OUTBOX_ADVICE_DEDUP },
    { "", 1, NULL, OUTBOX_ERR_DUPLICATE, NULL, NULL },
    { "", 955, NULL, OUTBOX_ERR_DUPLICATE, NULL, NULL }, /* what a migration makes */
    { "", 1408, NULL, OUTBOX_ERR_DUPLICATE, NULL, NULL },
    { "", 942, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "", 904, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "", 4043, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "", 6550, "PLS-00905", OUTBOX_ERR_SCHEMA, "schema.routines", ROUTINES },
    { "", 6550, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "", 6575, NULL, OUTBOX_ERR_SCHEMA, "schema.routines", ROUTINES },
    { "", 16000, NULL, OUTBOX_ERR_READONLY, NULL, N_("the database is open for reading only, a standby perhaps") },
    { "", 1456, NULL, OUTBOX_ERR_READONLY, NULL, NULL },
    { "", 372, NULL, OUTBOX_ERR_READONLY, NULL, NULL }, /* the file, the tablespace */
    { "", 1653, NULL, OUTBOX_ERR_DATABASE, "database.full", FULL },
    { "", 1654, NULL, OUTBOX_ERR_DATABASE, "database.full", FULL },
    { "", 1688, NULL, OUTBOX_ERR_DATABASE, "database.full", FULL },
    { "", 1691, NULL, OUTBOX_ERR_DATABASE, "database.full", FULL },
    { "", 1536, NULL, OUTBOX_ERR_DATABASE, "database.full",
      N_("the user's quota on the tablespace is used up: raise it") },
    { "", 30036, NULL, OUTBOX_ERR_DATABASE, "database.full", N_("make room in the undo tablespace") },
    { "", 257, NULL, OUTBOX_ERR_DATABASE, "database.full", N_("the archiver is stuck: make room for archived logs") },
    { "", 4031, NULL, OUTBOX_ERR_DATABASE, "database.resources", N_("the server lacks shared memory") },
    { "", 4030, NULL, OUTBOX_ERR_DATABASE, "database.resources", N_("the server lacks memory") },
    { "", 18, NULL, OUTBOX_ERR_LOST, "database.resources", N_("the server lacks sessions: raise `sessions`") },
    { "", 20, NULL, OUTBOX_ERR_LOST, "database.resources", N_("the server lacks processes: raise `processes`") },
    { "", 2391, NULL, OUTBOX_ERR_LOST, "database.resources", N_("the user may have no more sessions") },
    { "", 1578, NULL, OUTBOX_ERR_DATABASE, "database.corrupt", N_("a block is damaged: recover it") },
    { "", 1031, NULL, OUTBOX_ERR_DATABASE, "database.permission", PERMISSION },
    { "", 1033, NULL, OUTBOX_ERR_LOST, "database.starting", STARTING },
    { "", 1034, NULL, OUTBOX_ERR_LOST, "database.starting", STARTING },
    { "", 1089, NULL, OUTBOX_ERR_LOST, "database.starting", STARTING },
    { "", 1090, NULL, OUTBOX_ERR_LOST, "database.starting", STARTING },
    { "", 1092, NULL, OUTBOX_ERR_LOST, "database.starting", STARTING },
    { "", 28, NULL, OUTBOX_ERR_LOST, NULL, NULL },   /* the session was killed */
    { "", 31, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "", 1012, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "", 2396, NULL, OUTBOX_ERR_LOST, NULL, NULL }, /* it was idle for too long */
    { "", 3113, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "", 3114, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "", 3135, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "", 12170, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "", 12528, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "", 12537, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "", 12541, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "", 12543, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "", 12547, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "", 12570, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "", 12571, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "08", 0, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "40", 0, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL },
    { "HYT00", 0, NULL, OUTBOX_ERR_CONFLICT, "database.lock_timeout",
      N_("somebody holds a lock for longer than a statement waits: repeat the transaction") },
    { "42S02", 0, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "42S22", 0, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "", 0, NULL, 0, NULL, NULL },
};

const struct outbox_driver outbox_driver__oracle = {
    .name = "oracle",
    .dialect = "oracle",
    .dbms = dbms,
    .flags = OUTBOX_DRIVER_DDL_COMMITS | OUTBOX_DRIVER_NOT_GENERIC,
    .quote = "", /* so names are the server's, in capitals, and people write them as they like */
    .now = "TRUNC(EXTRACT(DAY FROM " AGE ") * 86400000000 + EXTRACT(HOUR FROM " AGE ") * 3600000000 + "
           "EXTRACT(MINUTE FROM " AGE ") * 60000000 + EXTRACT(SECOND FROM " AGE ") * 1000000)",
    .bytes = "COALESCE(DBMS_LOB.GETLENGTH(m.payload), 0) + COALESCE(DBMS_LOB.GETLENGTH(m.headers), 0)",
    .limit = "FETCH FIRST TO_NUMBER(:limit) ROWS ONLY",
    .text = "VARCHAR2(1000 CHAR)",
    .number = "NUMBER(19)",
    .id = ":id",
    .params = 80,
    .bindings = { 0, 0, SQL_LONGVARCHAR, SQL_LONGVARBINARY, 2000, 1 },
    .sequence = "NUMBER(19) GENERATED ALWAYS AS IDENTITY (ORDER) PRIMARY KEY",
    .uuid = "VARCHAR2(36)",
    .long_text = "CLOB",
    .long_bytes = "BLOB",
    .table_end = "",
    .if_not_exists = "",
    .insert_new = "INSERT INTO",
    .setup = setup,
    .errors = errors,
    .sql = {
        [Q_DELETE] = OUTBOX_DELETE_LIST,
        [Q_CLOCK] = "SELECT {now} FROM dual",
        /* Both the database's character set and the client's have to know it. */
        [Q_CHARSET] = "SELECT TO_CHAR(UNISTR('\\20AC')) FROM dual",
        /* That a transaction is open in autocommit, nobody says; there is none unless somebody began one by SQL. */
        [Q_MARK] = "SELECT 1 FROM dual",
        [Q_MARKED] = "SELECT CASE WHEN DBMS_TRANSACTION.LOCAL_TRANSACTION_ID IS NULL THEN 0 ELSE 1 END FROM dual",
        [Q_DEDUP] = "INSERT INTO {dedup} (dedup_key) [[SELECT CAST(:dedup AS VARCHAR2(240 CHAR)) FROM dual][ UNION ALL ]]",
        [Q_FAIL] = "INSERT INTO {deferred} (lane, seq, " OUTBOX_COPIED ", state, attempts, available_at, last_error, "
                   "key_hash, deferred_at) SELECT lane, seq, " OUTBOX_COPIED ", vstate, vattempts, CASE WHEN vstate = 2 "
                   "THEN available_at ELSE {now} + vdelay END, verror, vkey, {now} FROM {messages} JOIN ([[" OUTCOME
                   "][ UNION ALL ]]) v ON v.vseq = seq WHERE lane = :lane",
        [Q_FAIL_DEFERRED] =
            "MERGE INTO {deferred} d USING ([[" OUTCOME "][ UNION ALL ]]) v ON (d.lane = :lane AND d.seq = v.vseq) "
            "WHEN MATCHED THEN UPDATE SET d.state = v.vstate, d.attempts = v.vattempts, "
            "d.available_at = {now} + v.vdelay, d.last_error = v.verror, d.deferred_at = {now}",
    },
};
