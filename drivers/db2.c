/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Db2 for Linux, Unix and Windows, 11.1 and later, through IBM's CLI driver. Settles by delete.
 *
 * - Under cursor stability a statement sees what is committed while it runs, and passes over what is not: it could meet
 *   a message without an earlier one of its key. So a batch is read in two statements (Q_SIZES, Q_READ): what is at or
 *   below a number that the first one saw was numbered before the second began, and so was committed whatever its
 *   producer waited for. The first one may pass over what is locked, and so waits for nobody.
 * - Without a limit the server waits for locks for ever.
 * - In VALUES of several rows a parameter needs a CAST. Numbers are drawn in ORDER, also by the members of a cluster.
 * - Blanks at the end of a text do not count in comparisons, so a key of dedup is kept with a full stop behind it.
 * - A default can be no expression, so triggers set times.
 *
 * Nobody has run this on a server. */
#include "driver.h"

#define SKIP " SKIP LOCKED DATA"

/* Types of IBM's own, from its sqlcli.h. */
#define DB2_CLOB (-99)
#define DB2_BLOB (-98)

static const char *const dbms[] = { "DB2/LINUX", "DB2/AIX", "DB2/NT", "DB2/SUN", "DB2/HP", NULL };

static const char *const setup[] = {
    "SET CURRENT ISOLATION = CS",
    "SET CURRENT LOCK TIMEOUT = WAIT 10",
    NULL,
};

#define FULL N_("make room in the table space, or let it grow")
#define PERMISSION                                                                                                      \
    "the user needs SELECT, INSERT, UPDATE and DELETE on the outbox's tables; to migrate, also CREATETAB and CREATEIN"

/* By SQLCODE, and SQLSTATE. */
static const struct outbox_errclass errors[] = {
    { "", -911, "Reason code \"68\"", OUTBOX_ERR_CONFLICT, "database.lock_timeout",
      N_("somebody holds a lock for longer than LOCK TIMEOUT; everything was rolled back: repeat the transaction") },
    { "", -911, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL }, /* everything was rolled back */
    { "", -913, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL }, /* only the statement was */
    { "", -952, NULL, OUTBOX_ERR_CONFLICT, "database.cancelled",
      N_("the statement was cancelled by somebody: repeat the transaction") },
    { "", -30108, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL }, /* connected to another server: everything was rolled back */
    { "", -803, "DEDUP", OUTBOX_ERR_DUPLICATE, NULL, OUTBOX_ADVICE_DEDUP },
    { "", -803, NULL, OUTBOX_ERR_DUPLICATE, NULL, NULL },
    { "", -204, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "", -206, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "", -1773, NULL, OUTBOX_ERR_READONLY, NULL, N_("the server is a standby: let the DSN lead to the primary") },
    { "", -817, NULL, OUTBOX_ERR_READONLY, NULL, NULL },
    { "", -290, NULL, OUTBOX_ERR_DATABASE, "database.resources",
      N_("the table space is in a state that forbids this: see LIST TABLESPACES") },
    { "", -668, NULL, OUTBOX_ERR_DATABASE, "database.resources",
      N_("the table needs REORG, or SET INTEGRITY, as the code says") },
    { "", -289, NULL, OUTBOX_ERR_DATABASE, "database.full", FULL },
    { "", -964, NULL, OUTBOX_ERR_DATABASE, "database.full",
      N_("the transaction log is full: make it greater, or end the oldest transaction") },
    { "", -968, NULL, OUTBOX_ERR_DATABASE, "database.full", N_("make room on the server's disk") },
    { "", -912, NULL, OUTBOX_ERR_DATABASE, "database.resources",
      N_("the server lacks memory for locks: raise LOCKLIST") },
    { "", -954, NULL, OUTBOX_ERR_DATABASE, "database.resources", N_("the server lacks memory: raise APPLHEAPSZ") },
    { "", -551, NULL, OUTBOX_ERR_DATABASE, "database.permission", PERMISSION },
    { "", -552, NULL, OUTBOX_ERR_DATABASE, "database.permission", PERMISSION },
    { "", -286, NULL, OUTBOX_ERR_DATABASE, "database.resources",
      N_("the tables need a table space with pages of 8 KiB or more, or EXTENDED_ROW_SZ") },
    { "", -670, NULL, OUTBOX_ERR_DATABASE, "database.resources",
      N_("the tables need a table space with pages of 8 KiB or more, or EXTENDED_ROW_SZ") },
    { "", -1024, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "", -1040, NULL, OUTBOX_ERR_LOST, "database.resources",
      N_("the database has no connection left: raise MAXAPPLS") },
    { "", -1224, NULL, OUTBOX_ERR_LOST, NULL, NULL }, /* forced off */
    { "", -1229, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "", -1034, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "", -30081, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "", -99999, "connection", OUTBOX_ERR_LOST, NULL, NULL }, /* of the CLI driver itself */
    { "08506", 0, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL },
    { "08", 0, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "40003", 0, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "40", 0, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL },
    { "57033", 0, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL },
    { "23505", 0, NULL, OUTBOX_ERR_DUPLICATE, NULL, NULL },
    { "42704", 0, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "42703", 0, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "HYT00", 0, NULL, OUTBOX_ERR_CONFLICT, "database.lock_timeout",
      N_("somebody holds a lock for longer than a statement waits: repeat the transaction") },
    { "42S02", 0, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "42S22", 0, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "", 0, NULL, 0, NULL, NULL },
};

#define UTC "(CURRENT TIMESTAMP - CURRENT TIMEZONE)"

const struct outbox_driver outbox_driver__db2 = {
    .name = "db2",
    .dialect = "db2",
    .dbms = dbms,
    .quote = "", /* so names are the server's, in capitals, and people write them as they like */
    /* 719163 is DAYS('1970-01-01'). */
    .now = "((BIGINT(DAYS(" UTC ")) - 719163) * 86400000000 + BIGINT(MIDNIGHT_SECONDS(" UTC ")) * 1000000 + "
           "MICROSECOND(" UTC "))",
    .bytes = "LENGTH(m.payload) + COALESCE(LENGTH(m.headers), 0)",
    .limit = "FETCH FIRST CAST(:limit AS BIGINT) ROWS ONLY",
    .text = "VARCHAR(1000 CODEUNITS32)",
    .number = "BIGINT",
    .id = "CAST(:id AS CHAR(36))",
    .params = 700,
    .bindings = { 0, 0, DB2_CLOB, DB2_BLOB, 32672, 0 },
    .sequence = "BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY (ORDER) PRIMARY KEY",
    .uuid = "CHAR(36)",
    .long_text = "CLOB(4M)",
    .long_bytes = "BLOB(1G)",
    .table_end = "",
    .if_not_exists = "",
    .insert_new = "INSERT INTO",
    .setup = setup,
    .errors = errors,
    .sql = {
        /* In which the database keeps text, and the driver gives it to the program. */
        [Q_CHARSET] = "SELECT VARCHAR(U&'\\20AC', 4) FROM SYSIBM.SYSDUMMY1",
        [Q_INSERT] = "INSERT INTO {messages} (lane, id, topic, partition_key, payload, headers, content_type, "
                     "message_type, max_attempts, available_at) VALUES [[(CAST(:lane AS SMALLINT), {id}, "
                     "CAST(:topic AS VARCHAR(255 CODEUNITS32)), CAST(:key AS VARCHAR(255 CODEUNITS32)), "
                     "CAST(:payload AS BLOB(1G)), CAST(:headers AS CLOB(4M)), "
                     "CAST(:content_type AS VARCHAR(255 CODEUNITS32)), CAST(:message_type AS VARCHAR(255 CODEUNITS32)), "
                     "CAST(:max_attempts AS INTEGER), CAST(:available AS BIGINT))]]",
        [Q_DEDUP] = "INSERT INTO {dedup} (dedup_key) VALUES [[(CAST(:dedup AS VARCHAR(240 CODEUNITS32)) || '.')]]",
        [Q_CANDIDATES] =
            "SELECT l.lane, l.token FROM {lanes} l WHERE l.lane >= 0 AND (l.owner IS NULL OR l.lease_until < {now}) AND "
            "((SELECT MIN(m.seq) FROM {messages} m WHERE m.lane = l.lane) IS NOT NULL OR "
            "(SELECT MIN(d.available_at) FROM {deferred} d WHERE d.lane = l.lane) <= {now}) "
            "ORDER BY l.lease_until, l.lane FOR READ ONLY WITH CS" SKIP,
        [Q_SIZES] = "SELECT m.seq, {bytes} FROM {messages} m WHERE m.lane = :lane ORDER BY m.lane, m.seq {limit} "
                    "FOR READ ONLY WITH CS" SKIP,
    },
};
