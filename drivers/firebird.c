/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Firebird 3 and later. Settles by delete.
 *
 * READ COMMITTED on Firebird 3 knows no snapshot of a statement: one that takes long sees what was committed meanwhile,
 * and could meet a message without an earlier one of its key. So a batch is read in two statements (Q_SIZES, Q_READ):
 * what is at or below a number that the first one saw was numbered before the second began, and so was committed
 * whatever its producer waited for.
 *
 * - VALUES takes one row, so rows are SELECTs from RDB$DATABASE, in a UNION ALL that is executed in its order. A
 *   statement may have 256 of them.
 * - A parameter has the type of what it is compared or computed with; where there is none, it needs a CAST.
 * - CURRENT_TIMESTAMP of Firebird 3 is the time of the server's zone, and nothing says which that is. The function
 *   {now_fn}, which the migration makes, therefore differs from version to version; on 3 the server has to run in UTC.
 * - Blanks at the end of a text do not count in comparisons, so a key of dedup is kept with a full stop behind it.
 * - A table that was made cannot be used before the transaction ends: migrations go step by step. */
#include "driver.h"
#include "probes.h"

#define PENDING_ROW                                                                                                     \
    "SELECT CAST(:lane AS SMALLINT), {id}, CAST(:topic AS VARCHAR(255) CHARACTER SET UTF8), "                           \
    "CAST(:key AS VARCHAR(255) CHARACTER SET UTF8), CAST(:payload AS BLOB SUB_TYPE BINARY), "                           \
    "CAST(:headers AS BLOB SUB_TYPE TEXT CHARACTER SET UTF8), CAST(:content_type AS VARCHAR(255) CHARACTER SET UTF8), " \
    "CAST(:message_type AS VARCHAR(255) CHARACTER SET UTF8), CAST(:max_attempts AS INTEGER), "                          \
    "CAST(:available AS BIGINT) FROM RDB$DATABASE"

static const char *const dbms[] = { "Firebird", NULL };

/* By the server's words, as drivers give one SQLSTATE, or SQLCODE, to many of them: the driver before version 3 says
 * HY000 to everything. A name that the message quotes is the table's. */
static const struct outbox_errclass errors[] = {
    { "", 0, "lock time-out", OUTBOX_ERR_CONFLICT, "database.lock_timeout",
      N_("somebody holds a lock for longer than the driver's LockTimeout: roll back and repeat the transaction") },
    { "", 0, "lock conflict on no wait", OUTBOX_ERR_CONFLICT, "database.lock_timeout",
      N_("somebody holds a lock: leave NoWait off in the DSN; roll back and repeat the transaction") },
    { "", 0, "update conflicts with concurrent update", OUTBOX_ERR_CONFLICT, NULL, NULL },
    { "", 0, "deadlock", OUTBOX_ERR_CONFLICT, NULL, NULL },
    { "", 0, "operation was cancelled", OUTBOX_ERR_CONFLICT, "database.cancelled",
      N_("the statement was cancelled by somebody: repeat the transaction") },
    { "", -803, "DEDUP", OUTBOX_ERR_DUPLICATE, NULL, OUTBOX_ADVICE_DEDUP },
    { "", -803, NULL, OUTBOX_ERR_DUPLICATE, NULL, NULL },
    { "", 0, "violation of PRIMARY or UNIQUE KEY", OUTBOX_ERR_DUPLICATE, NULL, NULL },
    { "", 0, "already exists", OUTBOX_ERR_DUPLICATE, NULL, NULL }, /* what a migration makes */
    { "", 0, "attempt to store duplicate value", OUTBOX_ERR_DUPLICATE, NULL, NULL },
    { "", 0, "read-only database", OUTBOX_ERR_READONLY, NULL, NULL },
    { "", 0, "read-only transaction", OUTBOX_ERR_READONLY, NULL, NULL },
    { "", 0, "No space left on device", OUTBOX_ERR_DATABASE, "database.full", N_("make room on the server's disk") },
    { "", 0, "no permission for", OUTBOX_ERR_DATABASE, "database.permission",
      N_("the user needs SELECT, INSERT, UPDATE and DELETE on the outbox's tables, and EXECUTE on its functions") },
    { "", 0, "database file appears corrupt", OUTBOX_ERR_DATABASE, "database.corrupt",
      N_("the file is damaged: restore it from a backup") },
    { "", 0, "I/O error", OUTBOX_ERR_DATABASE, "database.io",
      N_("the server cannot read or write its files: see its log") },
    { "", 0, "Table unknown", OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "", 0, "Column unknown", OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "", 0, "Function unknown", OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "", 0, "connection shutdown", OUTBOX_ERR_LOST, NULL, NULL },
    { "", 0, "connection lost to database", OUTBOX_ERR_LOST, NULL, NULL },
    { "", 0, "Error reading data from the connection", OUTBOX_ERR_LOST, NULL, NULL },
    { "", 0, "Error writing data to the connection", OUTBOX_ERR_LOST, NULL, NULL },
    { "", 0, "Unable to complete network request", OUTBOX_ERR_LOST, NULL, NULL },
    { "", 0, "invalid database handle", OUTBOX_ERR_LOST, NULL, NULL },
    { "08", 0, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "40", 0, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL },
    { "HYT00", 0, NULL, OUTBOX_ERR_CONFLICT, "database.lock_timeout",
      N_("somebody holds a lock for longer than a statement waits: repeat the transaction") },
    { "42S02", 0, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "42S22", 0, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "", 0, NULL, 0, NULL, NULL },
};

const struct outbox_driver outbox_driver__firebird = {
    .name = "firebird",
    .dialect = "firebird",
    .dbms = dbms,
    .flags = OUTBOX_DRIVER_DDL_COMMITS | OUTBOX_DRIVER_NOT_GENERIC,
    .quote = "", /* so names are the server's, in capitals, and people write them as they like */
    .now = "{now_fn}()",
    .zoned = "Firebird 3 tells the time of its server's time zone: run the server in UTC (TZ=UTC), or leases and waits jump "
             "by an hour twice a year",
    .bytes = "OCTET_LENGTH(m.payload) + COALESCE(OCTET_LENGTH(m.headers), 0)",
    .limit = "ROWS :limit",
    .text = "VARCHAR(1000) CHARACTER SET UTF8",
    .number = "BIGINT",
    .id = "CAST(:id AS VARCHAR(36) CHARACTER SET ASCII)",
    .params = 110,
    .sequence = "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
    .uuid = "VARCHAR(36) CHARACTER SET ASCII",
    .long_text = "BLOB SUB_TYPE TEXT CHARACTER SET UTF8",
    .long_bytes = "BLOB SUB_TYPE BINARY",
    .table_end = "",
    .if_not_exists = "",
    .insert_new = "INSERT INTO",
    .errors = errors,
    .probes = outbox_probes__firebird,
    .sql = {
        [Q_DELETE] = OUTBOX_DELETE_LIST,
        [Q_META] = "SELECT name, content FROM {meta}",
        [Q_META_SET] = "UPDATE {meta} SET content = :value WHERE name = :name",
        [Q_MARK] = "SELECT RDB$SET_CONTEXT('USER_TRANSACTION', 'outbox', '1') FROM RDB$DATABASE",
        [Q_MARKED] = "SELECT CASE RDB$GET_CONTEXT('USER_TRANSACTION', 'outbox') WHEN '1' THEN 1 ELSE 0 END "
                     "FROM RDB$DATABASE",
        [Q_CHARSET] = "SELECT LOWER(TRIM(c.RDB$CHARACTER_SET_NAME)) FROM MON$ATTACHMENTS a JOIN RDB$CHARACTER_SETS c "
                      "ON c.RDB$CHARACTER_SET_ID = a.MON$CHARACTER_SET_ID WHERE a.MON$ATTACHMENT_ID = CURRENT_CONNECTION",
        [Q_INSERT] = "INSERT INTO {messages} (lane, id, topic, partition_key, payload, headers, content_type, "
                     "message_type, max_attempts, available_at) [[" PENDING_ROW "][ UNION ALL ]]",
        [Q_DEDUP] = "INSERT INTO {dedup} (dedup_key) [[SELECT CAST(:dedup AS VARCHAR(240) CHARACTER SET UTF8) || '.' "
                    "FROM RDB$DATABASE][ UNION ALL ]]",
        [Q_AUDIT] = "INSERT INTO {audit} (id, who, what, which, messages) VALUES ({id}, :owner, :name, :value, 0)",
    },
};
