/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SQLite through libsqliteodbc. One writer at a time: seq order is commit order, so the position alone says what is
 * settled. Transactions are begun by SQL, as the driver's own are deferred and fail when a reader wants to write. */
#include "driver.h"
#include "probes.h"

/* A text's LENGTH is in characters. */
#define BYTES(m) "LENGTH(" m ".payload) + COALESCE(LENGTH(CAST(" m ".headers AS BLOB)), 0)"

#define WINDOW(where)                                                                                                   \
    "SELECT m.lane, m.seq, m.id, m.topic, m.partition_key, m.payload, m.headers, m.content_type, m.message_type, "      \
    "m.max_attempts, m.created_at, m.available_at, CASE WHEN m.available_at > {now} THEN 2 ELSE 1 END, NULL, NULL, 0, " \
    "0, NULL, (SELECT MIN(d.seq) FROM {deferred} d WHERE d.lane = :lane) "                                              \
    "FROM (SELECT q.*, SUM(" BYTES("q") ") OVER (ORDER BY q.seq) - (" BYTES("q") ") AS ahead FROM "                    \
    "(SELECT * FROM {messages} WHERE " where " ORDER BY lane, seq LIMIT :limit) q) m WHERE m.ahead < :bytes "           \
    "ORDER BY m.seq"

/* For packed.h. PRINTF() makes a text of all parts at once, where || copies what there is so far each time; a NULL is no text.
 * Rows are joined to their numbers, as those of a subquery would be copied. Most messages have none of the optional columns.
 * Columns take any type here, and a text ends for PRINTF() where a NUL is, so an id must have its size, and what may be NULL
 * be a number: then no other faults make up for each other. */
#define SIZE(column) "LENGTH(CAST(m." column " AS BLOB))"
#define OPTIONAL                                                                                                        \
    "CASE WHEN COALESCE(m.headers, m.content_type, m.message_type, m.max_attempts, m.available_at) IS NOT NULL THEN "   \
    "PRINTF(',%s,%d,%s,%s,%s,%s', m.available_at, CASE WHEN m.available_at > {now} THEN 2 ELSE 1 END, m.max_attempts, " \
    SIZE("headers") ", " SIZE("content_type") ", " SIZE("message_type") ") END"
#define PACKED(where)                                                                                                   \
    "SELECT PRINTF(';;%s', (SELECT MIN(d.seq) FROM {deferred} d WHERE d.lane = :lane)) UNION ALL "                      \
    "SELECT CASE WHEN " BYTES("m") " <= :bytes AND " SIZE("id") " = 36 AND TYPEOF(m.available_at) IN ('null', "         \
    "'integer') AND TYPEOF(m.max_attempts) IN ('null', 'integer') THEN "                                                \
    "PRINTF('%d,%s,%d,%d,%s%s;%s%s%s%s%s%s%s', m.seq, m.created_at, "                                                   \
    "LENGTH(m.payload), " SIZE("topic") ", " SIZE("partition_key") ", " OPTIONAL ", m.id, m.topic, m.partition_key, "   \
    "m.headers, m.content_type, m.message_type, HEX(m.payload)) ELSE '' END FROM "                                      \
    "(SELECT seq FROM {messages} WHERE " where " ORDER BY lane, seq LIMIT :limit) s CROSS JOIN {messages} m "           \
    "ON m.seq = s.seq"

/* The driver keeps what it prepared of queries alone, and takes for one what begins with WITH: all else is parsed anew each
 * time that it is executed, which is a third of what an insert of many rows takes. */
#define KEPT "WITH kept(n) AS (SELECT 1) "

/* It shows no rows of a bare UPDATE … RETURNING either. */
#define CLAIM(work)                                                                                                     \
    "WITH c(lane) AS (SELECT l.lane FROM {lanes} l WHERE l.lane >= 0 AND (l.owner IS NULL OR l.lease_until < {now}) "   \
    "AND COALESCE(" work ", (SELECT 1 FROM {deferred} d WHERE d.lane = l.lane AND d.available_at <= {now} LIMIT 1)) "   \
    "IS NOT NULL ORDER BY l.lease_until, l.lane LIMIT 1) "                                                              \
    "UPDATE {lanes} SET token = token + 1, lease_until = {now} + :lease, "                                              \
    "suspect = CASE WHEN owner IS NULL THEN suspect ELSE -MAX(batch, 1) END, owner = :owner, batch = :batch "      \
    "WHERE lane = (SELECT lane FROM c) RETURNING lane, token, pos, NULL, NULL, low, suspect, "                          \
    "(SELECT d.seq FROM {deferred} d WHERE d.lane = {lanes_plain}.lane LIMIT 1)"

static const char *const dbms[] = { "SQLite", NULL };

/* Every diagnostic is HY000; the numbers are SQLite's. */
static const struct outbox_errclass errors[] = {
    { "08", 0, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "", 5, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL },
    { "", 6, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL },
    { "", 0, "database is locked", OUTBOX_ERR_CONFLICT, NULL, NULL },
    { "", 8, NULL, OUTBOX_ERR_READONLY, NULL,
      N_("the file or its folder is not writable for this user: try again once it is") },
    { "", 0, "readonly database", OUTBOX_ERR_READONLY, NULL,
      N_("the file or its folder is not writable for this user: try again once it is") },
    { "", 13, NULL, OUTBOX_ERR_DATABASE, "database.full", N_("make room on the disk, or raise PRAGMA max_page_count") },
    { "", 0, "database or disk is full", OUTBOX_ERR_DATABASE, "database.full",
      N_("make room on the disk, or raise PRAGMA max_page_count") },
    { "", 11, NULL, OUTBOX_ERR_DATABASE, "database.corrupt", N_("the file is damaged: restore it from a backup") },
    { "", 26, NULL, OUTBOX_ERR_DATABASE, "database.corrupt", N_("the file is no SQLite database") },
    { "", 14, NULL, OUTBOX_ERR_LOST, "database.file",
      N_("the file cannot be opened: its folder must exist, and be readable and writable for this user") },
    { "", 10, NULL, OUTBOX_ERR_LOST, "database.io", N_("the file could not be read or written") },
    { "", 3, NULL, OUTBOX_ERR_DATABASE, "database.permission", N_("this user may not use the file") },
    { "", 0, "dedup.", OUTBOX_ERR_DUPLICATE, NULL, OUTBOX_ADVICE_DEDUP },
    { "", 0, "within a transaction", OUTBOX_ERR_STATE, "conn.transaction_open",
      N_("a transaction is open on this connection already") },
    { "", 0, "UNIQUE constraint", OUTBOX_ERR_DUPLICATE, NULL, NULL },
    { "", 0, "no such table", OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "", 0, "no such column", OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "", 0, "unknown database", OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "", 0, NULL, 0, NULL, NULL },
};

const struct outbox_driver outbox_driver__sqlite = {
    .name = "sqlite",
    .dialect = "sqlite",
    .dbms = dbms,
    .flags = OUTBOX_DRIVER_POSITION | OUTBOX_DRIVER_BEGIN_TELLS | OUTBOX_DRIVER_CLAIM_LOCKS | OUTBOX_DRIVER_INDEX_SCHEMA,
    .quote = "\"",
    /* Milliseconds are what SQLite has. */
    .now = "(CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000)",
    .bytes = BYTES("m"),
    .limit = "LIMIT :limit",
    .text = "VARCHAR(1000)",
    .number = "INTEGER",
    .id = ":id",
    /* One connection writes at a time, so lanes keep no writers apart; and a transaction of many messages writes a page of their
     * index for each lane that it meets. */
    .lanes = 16,
    .sequence = "INTEGER PRIMARY KEY AUTOINCREMENT",
    .uuid = "CHAR(36)",
    .long_text = "TEXT",
    .long_bytes = "BLOB",
    .table_end = "",
    .if_not_exists = "",
    .insert_new = "INSERT INTO",
    .begin = "BEGIN IMMEDIATE",
    .commit = "COMMIT",
    .rollback = "ROLLBACK",
    /* Messages of a lane lie far apart, those of other lanes between them: SQLite's 2 MB hardly hold the next batches of all
     * lanes, so that each page was read again for each of them. In KiB. */
    .claims = "PRAGMA cache_size = -8192",
    .wake_file = 1,
    .errors = errors,
    .probes = outbox_probes__sqlite,
    .sql = {
        [Q_INSERT] = KEPT OUTBOX_INSERT,
        [Q_DEDUP] = KEPT OUTBOX_DEDUP,
        [Q_DELETE] = OUTBOX_DELETE_LIST,
        [Q_WAKE] = "SELECT file, '' FROM pragma_database_list WHERE name = 'main'",
        /* A deferred transaction that has read cannot write once another one has committed; one that writes first waits
         * for its turn instead. */
        [Q_TOUCH] = "UPDATE {meta} SET value = value WHERE 1 = 0",
        [Q_CLAIM] = CLAIM("(SELECT m.seq FROM {messages} m WHERE m.lane = l.lane LIMIT 1)"),
        [Q_CLAIM_POSITION] = CLAIM("(SELECT m.seq FROM {messages} m WHERE m.lane = l.lane AND m.seq > l.pos "
                                   "ORDER BY m.lane, m.seq LIMIT 1)"),
        [Q_FAIL] = OUTBOX_FAIL,
        [Q_PROMOTE] = OUTBOX_PROMOTE,
        [Q_FAIL_DEFERRED] = OUTBOX_FAIL_DEFERRED,
        [Q_READ] = WINDOW("lane = :lane"),
        [Q_READ_POSITION] = WINDOW("lane = :lane AND seq > :pos"),
        [Q_READ_PACKED] = PACKED("lane = :lane"),
        [Q_READ_PACKED_POSITION] = PACKED("lane = :lane AND seq > :pos"),
    },
};
