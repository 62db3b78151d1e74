/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Portable SQL for any database with transactions: conditional updates with row counts, settled by delete. Also what
 * every dialect falls back to.
 *
 * State numbers are those of enum outbox_state: 2 scheduled, 3 retry, 4 held, 5 dead. */
#include "driver.h"

#define COPIED OUTBOX_COPIED

/* Record columns; the fetch types stand in OUTBOX_RECORD_TYPES. m is whatever is read. */
#define COLUMNS                                                                                                         \
    "m.lane, m.seq, m.id, m.topic, m.partition_key, m.payload, m.headers, m.content_type, m.message_type, "             \
    "m.max_attempts, m.created_at, m.available_at, "
#define BARE "m.lane, m.seq, m.id, m.topic, m.partition_key, CAST(NULL AS {text}), CAST(NULL AS {text}), m.content_type, "    \
    "m.message_type, m.max_attempts, m.created_at, m.available_at, "
#define PENDING(of) "CASE WHEN " of "available_at > {now} THEN 2 ELSE 1 END"
#define RAW COLUMNS PENDING("m.") ", CAST(NULL AS {text}), CAST(NULL AS {text}), CAST(0 AS {number}), CAST(0 AS {number})"
#define ANY_DEFERRED "(SELECT MIN(d.seq) FROM {deferred} d WHERE d.lane = :lane)"
#define DEFERRED COLUMNS "m.state, m.last_error, CAST(NULL AS {text}), m.attempts, CAST(0 AS {number})"
#define DELIVERED "m.lane, m.seq, m.id, m.topic, m.partition_key, m.payload, m.headers, m.content_type, m.message_type, "\
    "m.max_attempts, m.created_at, CAST(NULL AS {number}), CAST(6 AS {number}), m.last_error, CAST(NULL AS {text}), "   \
    "m.attempts, m.published_at"

/* The nearest of a deferred message's key on one side of it, in one state: a probe of an index. */
#define OF_KEY(which, side, state)                                                                                      \
    "(SELECT " which "(f.seq) FROM {deferred} f WHERE f.lane = m.lane AND f.key_hash = m.key_hash AND f.state = " state  \
    " AND f.seq " side " m.seq AND m.key_hash <> 0)"

static const char *const dbms[] = { NULL };

static const struct outbox_errclass errors[] = {
    { "08", 0, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "57P", 0, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "40003", 0, NULL, OUTBOX_ERR_LOST, NULL, OUTBOX_ADVICE_UNSURE },
    { "40", 0, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL },
    { "55P03", 0, NULL, OUTBOX_ERR_CONFLICT, "database.lock_timeout",
      N_("somebody holds a lock for longer than lock_timeout: repeat the transaction") },
    { "HYT00", 0, NULL, OUTBOX_ERR_CONFLICT, "database.lock_timeout",
      N_("somebody holds a lock for longer than a statement waits: repeat the transaction") },
    { "25006", 0, NULL, OUTBOX_ERR_READONLY, NULL,
      N_("the server is read-only, a standby perhaps after a failover: try again once it, or the DSN's other server, "
         "takes writes") },
    { "53100", 0, NULL, OUTBOX_ERR_DATABASE, "database.full", N_("make room on the server's disk") },
    { "53", 0, NULL, OUTBOX_ERR_DATABASE, "database.resources", N_("the server lacks memory, connections or disk") },
    { "42501", 0, "denied for schema", OUTBOX_ERR_DATABASE, "database.permission",
      N_("the role needs USAGE on the schema, and CREATE too where it makes the outbox's tables") },
    { "42501", 0, "denied for database", OUTBOX_ERR_DATABASE, "database.permission",
      N_("the role needs CREATE on the database to make a schema") },
    { "42501", 0, NULL, OUTBOX_ERR_DATABASE, "database.permission",
      N_("the role lacks a right: permissions.md lists what writers, relays and administrators need") },
    { "57014", 0, NULL, OUTBOX_ERR_CONFLICT, "database.cancelled",
      N_("the statement was cancelled, by statement_timeout or somebody: repeat the transaction") },
    { "25P02", 0, NULL, OUTBOX_ERR_STATE, "database.aborted", OUTBOX_ADVICE_ABORTED },
    { "23", 0, "dedup", OUTBOX_ERR_DUPLICATE, NULL, OUTBOX_ADVICE_DEDUP },
    { "23", 0, NULL, OUTBOX_ERR_DUPLICATE, NULL, NULL },
    { "42S02", 0, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "42S22", 0, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "42P01", 0, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "3F000", 0, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "HY000", 5, "lock", OUTBOX_ERR_CONFLICT, NULL, NULL },
    { "HY000", 19, "dedup", OUTBOX_ERR_DUPLICATE, NULL, OUTBOX_ADVICE_DEDUP },
    { "HY000", 19, "constraint", OUTBOX_ERR_DUPLICATE, NULL, NULL },
    { "HY000", 1, "no such table", OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "HY000", 8, "readonly", OUTBOX_ERR_READONLY, NULL, NULL },
    { "HY000", 13, "full", OUTBOX_ERR_DATABASE, "database.full", N_("make room on the database's disk") },
    { "", 0, NULL, 0, NULL, NULL },
};

const struct outbox_driver outbox_driver__generic = {
    .name = "generic",
    .dialect = "generic",
    .dbms = dbms,
    /* Standard SQL as far as it goes; a server that wants it otherwise gets a driver of its own. */
    .quote = "\"",
    .now = "CAST(EXTRACT(EPOCH FROM CURRENT_TIMESTAMP) * 1000000 AS BIGINT)",
    .bytes = "OCTET_LENGTH(m.payload) + COALESCE(OCTET_LENGTH(m.headers), 0)",
    .limit = "FETCH FIRST :limit ROWS ONLY",
    .text = "VARCHAR(1000)",
    .number = "BIGINT",
    .id = ":id",
    .sequence = "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    .uuid = "CHAR(36)",
    .long_text = "CLOB",
    .long_bytes = "BLOB",
    .table_end = "",
    .if_not_exists = "",
    .insert_new = "INSERT INTO",
    .errors = errors,
    .sql = {
        [Q_META] = "SELECT name, value FROM {meta}",
        [Q_CLOCK] = "SELECT {now} FROM {meta} WHERE name = 'version'",
        [Q_INSERT] = OUTBOX_INSERT,
        [Q_DEDUP] = OUTBOX_DEDUP,
        [Q_CANDIDATES] =
            "SELECT l.lane, l.token FROM {lanes} l WHERE l.lane >= 0 AND (l.owner IS NULL OR l.lease_until < {now}) AND "
            "((SELECT MIN(m.seq) FROM {messages} m WHERE m.lane = l.lane) IS NOT NULL OR "
            "(SELECT MIN(d.available_at) FROM {deferred} d WHERE d.lane = l.lane) <= {now}) "
            "ORDER BY l.lease_until, l.lane",
        [Q_CANDIDATES_POSITION] =
            "SELECT l.lane, l.token FROM {lanes} l WHERE l.lane >= 0 AND (l.owner IS NULL OR l.lease_until < {now}) AND "
            "((SELECT MIN(m.seq) FROM {messages} m WHERE m.lane = l.lane AND m.seq > l.pos) IS NOT NULL OR "
            "(SELECT MIN(d.available_at) FROM {deferred} d WHERE d.lane = l.lane) <= {now}) "
            "ORDER BY l.lease_until, l.lane",
        /* An owner that is still there held the lane when its lease ran out: it crashed, or hangs. Below 0: so many it
         * may have had in hand; how many there are is counted when the lane is read. */
        [Q_TAKE] = OUTBOX_TAKE,
        [Q_LANE] = "SELECT l.lane, l.token, l.pos, CAST(NULL AS {text}), CAST(NULL AS {text}), l.low, l.suspect, "
                   "(SELECT MIN(d.seq) FROM {deferred} d WHERE d.lane = l.lane) FROM {lanes} l WHERE l.lane = :lane",
        [Q_READ] = "SELECT " RAW ", CAST(NULL AS {text}), " ANY_DEFERRED " FROM {messages} m WHERE m.lane = :lane AND "
                   "m.seq <= :seq ORDER BY m.lane, m.seq {limit}",
        [Q_SIZES] = "SELECT m.seq, {bytes} FROM {messages} m WHERE m.lane = :lane ORDER BY m.lane, m.seq {limit}",
        [Q_SUSPECTS] = "SELECT m.seq FROM {messages} m WHERE m.lane = :lane AND m.seq > :pos ORDER BY m.lane, m.seq "
                       "{limit}",
        [Q_RENEW] = "UPDATE {lanes} SET lease_until = {now} + :lease WHERE lane = :lane AND token = :token "
                    "AND owner IS NOT NULL",
        [Q_RENEW_ALL] = "UPDATE {lanes} SET lease_until = {now} + :lease WHERE owner = :owner",
        [Q_RELEASE_ALL] = "UPDATE {lanes} SET owner = NULL, lease_until = {now} WHERE owner = :owner",
        [Q_SETTLE] = OUTBOX_SETTLE(""),
        [Q_SETTLE_POSITION] = "UPDATE {lanes} SET pos = :pos, low = :pos, owner = :owner, lease_until = {now} + :lease, "
                              "suspect = :suspect WHERE lane = :lane AND token = :token",
        /* One at a time, by the whole key: for a list, a planner may rather read all of a small table, and a database without
         * versions of rows then waits for messages that others have not committed yet, possibly for as long as that takes. */
        [Q_DELETE] = "DELETE FROM {messages} WHERE lane = :lane AND seq = [[:seq]]",
        [Q_ARCHIVE] = "INSERT INTO {published} (lane, seq, " COPIED ", attempts, published_at) SELECT lane, seq, " COPIED
                      ", 0, {now} FROM {messages} WHERE lane = :lane AND seq IN ([[:seq]])",
        [Q_ARCHIVE_DEFERRED] = "INSERT INTO {published} (lane, seq, " COPIED ", attempts, last_error, published_at) "
                               "SELECT lane, seq, " COPIED ", attempts, last_error, {now} FROM {deferred} "
                               "WHERE lane = :lane AND seq IN ([[:seq]])",
        [Q_JOURNAL] = "INSERT INTO {positions} (lane, pos, low, published_at) SELECT lane, pos, low, {now} FROM {lanes} "
                      "WHERE lane = :lane",
        [Q_DEFER] = "INSERT INTO {deferred} (lane, seq, " COPIED ", state, attempts, available_at, last_error, key_hash, "
                    "deferred_at) SELECT lane, seq, " COPIED ", CAST(:state AS {number}), CAST(:attempts AS {number}), "
                    "{now} + CAST(:delay AS {number}), CAST(:error AS {text}), CAST(:key_hash AS {number}), {now} "
                    "FROM {messages} WHERE lane = :lane AND seq IN ([[:seq]])",
        /* One at a time: no way to give each row its own values is known to all. */
        [Q_FAIL] = "INSERT INTO {deferred} (lane, seq, " COPIED ", state, attempts, available_at, last_error, key_hash, "
                   "deferred_at) SELECT lane, seq, " COPIED ", CAST(:state AS {number}), CAST(:attempts AS {number}), "
                   "CASE WHEN CAST(:state AS {number}) = 2 THEN available_at ELSE {now} + CAST(:delay AS {number}) END, "
                   "CAST(:error AS {text}), CAST(:key_hash AS {number}), {now} "
                   "FROM {messages} WHERE lane = :lane AND seq = :seq",
        [Q_FAIL_DEFERRED] = "UPDATE {deferred} SET state = :state, attempts = :attempts, "
                            "available_at = {now} + CAST(:delay AS {number}), last_error = :error, deferred_at = {now} "
                            "WHERE lane = :lane AND seq = :seq",
        [Q_DUE] = "SELECT m.seq, m.key_hash, {bytes}, m.state, " OF_KEY("MAX", "<", "3") ", " OF_KEY("MAX", "<", "5") ", "
                  OF_KEY("MIN", ">", "3") ", " OF_KEY("MIN", ">", "5") ", " OF_KEY("MIN", ">", "4") " FROM {deferred} m "
                  "WHERE m.lane = :lane AND m.available_at <= {now} ORDER BY m.lane, m.available_at, m.seq {limit}",
        [Q_FOLLOWERS] = "SELECT m.seq, {bytes} FROM {deferred} m WHERE m.lane = :lane AND m.key_hash = :key_hash AND "
                        "m.state = 4 AND m.seq > :seq AND m.seq < :bound ORDER BY m.seq {limit}",
        [Q_WAITING] = "SELECT DISTINCT key_hash FROM {deferred} WHERE lane = :lane AND state IN (3, :dead) AND key_hash "
                      "IN ([[:key_hash]])",
        [Q_DEFERRED_READ] = "SELECT " DEFERRED " FROM {deferred} m WHERE m.lane = :lane AND m.seq IN ([[:seq]])",
        /* Whatever the state says: one that stays due would be claimed again and again. */
        [Q_DEFERRED_PARK] = "UPDATE {deferred} SET state = 4, available_at = NULL WHERE lane = :lane AND "
                            "available_at IS NOT NULL AND seq IN ([[:seq]])",
        [Q_DEFERRED_DELETE] = "DELETE FROM {deferred} WHERE lane = :lane AND seq IN ([[:seq]])",
        [Q_DISCARD_DEFERRED] = "DELETE FROM {deferred} WHERE lane = :lane AND state = :state AND seq IN ([[:seq]])",
        [Q_PROMOTE] =
            "UPDATE {deferred} SET state = 3, available_at = {now} WHERE lane = :lane AND key_hash IN ([[:key_hash]]) AND "
            "state = 4 AND seq = (SELECT MIN(f.seq) FROM {deferred} f WHERE f.lane = :lane AND "
            "f.key_hash = {deferred_plain}.key_hash AND f.state = 4) AND NOT EXISTS (SELECT 1 FROM {deferred} h WHERE "
            "h.lane = :lane AND h.key_hash = {deferred_plain}.key_hash AND h.state IN (3, :dead) AND "
            "h.seq < {deferred_plain}.seq)",
        [Q_STRANDED] =
            "SELECT DISTINCT m.lane, m.key_hash FROM {deferred} m WHERE m.state = 5 AND m.key_hash <> 0 AND "
            "(SELECT MIN(f.seq) FROM {deferred} f WHERE f.lane = m.lane AND f.key_hash = m.key_hash AND f.state = 4) < "
            "COALESCE((SELECT MIN(f.seq) FROM {deferred} f WHERE f.lane = m.lane AND f.key_hash = m.key_hash AND "
            "f.state = 3), 9223372036854775807) ORDER BY m.lane, m.key_hash {limit}",
        [Q_LOCK_LANE] = "UPDATE {lanes} SET lane = lane WHERE lane = :lane",
        [Q_CLEANER_TAKE] = "UPDATE {lanes} SET owner = :owner, token = token + 1, lease_until = {now} + :lease "
                           "WHERE lane = -1 AND (owner IS NULL OR owner = :owner OR lease_until < {now})",
        [Q_CLEANER_RELEASE] = "UPDATE {lanes} SET owner = NULL, lease_until = {now} WHERE lane = -1 AND owner = :owner",
        [Q_LANES] = "SELECT lane, pos, CAST(NULL AS {text}), CAST(NULL AS {text}), low, cleaned FROM {lanes} "
                    "WHERE lane >= 0 ORDER BY lane",
        [Q_CLEAN] = "DELETE FROM {messages} WHERE lane = :lane AND seq IN (SELECT m.seq FROM {messages} m WHERE "
                    "m.lane = :lane AND m.seq <= :pos ORDER BY m.lane, m.seq {limit})",
        [Q_JOURNAL_BEFORE] = "SELECT m.pos, CAST(NULL AS {text}), m.low, m.published_at FROM {positions} m WHERE "
                             "m.lane = :lane AND m.published_at <= {now} - :age ORDER BY m.published_at DESC, m.pos DESC "
                             "{limit}",
        [Q_JOURNAL_DUE] = "SELECT l.lane FROM {lanes} l WHERE l.lane >= 0 AND (SELECT MIN(p.published_at) FROM {positions} p "
                          "WHERE p.lane = l.lane) <= {now} - :age",
        [Q_JOURNAL_DELETE] = "DELETE FROM {positions} WHERE lane = :lane AND published_at <= :available",
        [Q_LOW_SET] = "UPDATE {lanes} SET cleaned = :cleaned WHERE lane = :lane AND cleaned < :cleaned",
        [Q_ARCHIVE_OLD] = "SELECT m.lane, m.seq FROM {published} m WHERE m.published_at <= {now} - :age "
                          "ORDER BY m.published_at {limit}",
        [Q_ARCHIVE_DELETE] = "DELETE FROM {published} WHERE lane = :lane AND seq IN ([[:seq]])",
        [Q_DEAD_OLD] = "SELECT m.lane, m.seq, m.key_hash FROM {deferred} m WHERE m.state = 5 AND "
                       "m.deferred_at <= {now} - :age ORDER BY m.lane, m.seq {limit}",
        [Q_DEAD_DELETE] = "DELETE FROM {deferred} WHERE lane = :lane AND state = 5 AND deferred_at <= {now} - :age AND "
                          "seq IN ([[:seq]])",
        [Q_DEDUP_OLD] = "SELECT m.dedup_key FROM {dedup} m WHERE m.created_at <= {now} - :age "
                        "ORDER BY m.created_at {limit}",
        [Q_DEDUP_DELETE] = "DELETE FROM {dedup} WHERE dedup_key IN ([[:dedup]])",
        [Q_COUNT_PENDING] = "SELECT COUNT(*), MIN(m.created_at) FROM {messages} m",
        [Q_COUNT_PENDING_POSITION] = "SELECT COUNT(*), MIN(m.created_at) FROM {messages} m JOIN {lanes} l "
                                     "ON l.lane = m.lane WHERE m.seq > l.pos",
        [Q_COUNT_DEFERRED] = "SELECT state, COUNT(*) FROM {deferred} GROUP BY state",
        [Q_COUNT_DELIVERED] = "SELECT COUNT(*) FROM {published}",
        [Q_COUNT_DELIVERED_POSITION] =
            "SELECT (SELECT COUNT(*) FROM {published}) + (SELECT COUNT(*) FROM {messages} m JOIN {lanes} l "
            "ON l.lane = m.lane WHERE m.seq <= l.pos) FROM {meta} WHERE name = 'version'",
        [Q_COUNT_LANES] = "SELECT COUNT(*), SUM(CASE WHEN owner IS NOT NULL AND lease_until >= {now} THEN 1 ELSE 0 END) "
                          "FROM {lanes} WHERE lane >= 0",
        [Q_BACKLOG_LANES] =
            "SELECT l.lane, l.pos, CASE WHEN l.owner IS NOT NULL AND l.lease_until >= {now} THEN 1 ELSE 0 END, {now}, "
            "(SELECT MIN(m.seq) FROM {messages} m WHERE m.lane = l.lane AND m.seq > l.pos), "
            "(SELECT MAX(m.seq) FROM {messages} m WHERE m.lane = l.lane) FROM {lanes} l WHERE l.lane >= 0",
        [Q_BACKLOG_LANE] =
            "SELECT COUNT(*), MIN(s.created_at), MAX(s.seq) FROM (SELECT m.seq, m.created_at FROM {messages} m "
            "WHERE m.lane = :lane AND m.seq > :pos ORDER BY m.lane, m.seq {limit}) s",
        [Q_BACKLOG_DEFERRED] =
            "SELECT s.lane, s.state, COUNT(*), COUNT(DISTINCT s.key_hash) FROM (SELECT d.lane, d.state, d.key_hash "
            "FROM {deferred} d WHERE d.lane >= :lane ORDER BY d.lane, d.key_hash, d.state, d.seq {limit}) s "
            "GROUP BY s.lane, s.state",
        [Q_PEEK_PENDING] = "SELECT " BARE PENDING("m.") ", CAST(NULL AS {text}), CAST(NULL AS {text}), CAST(0 AS {number}), "
                           "CAST(0 AS {number}) FROM {messages} m WHERE m.lane = :lane AND m.seq > :pos "
                           "ORDER BY m.lane, m.seq {limit}",
        [Q_PEEK_DEFERRED] = "SELECT " BARE "m.state, m.last_error, CAST(NULL AS {text}), m.attempts, CAST(0 AS {number}) "
                            "FROM {deferred} m WHERE m.lane >= :lane AND m.lane <= :bound ORDER BY m.lane, m.seq {limit}",
        [Q_OWNERS] = "SELECT l.lane, l.owner, l.lease_until - {now}, l.suspect FROM {lanes} l ORDER BY l.lane",
        [Q_HOLDERS] = "SELECT owner, COUNT(*), MAX(lease_until) - {now} FROM {lanes} WHERE lane >= 0 AND owner IS NOT NULL "
                      "AND lease_until >= {now} GROUP BY owner ORDER BY owner",
        [Q_LIST_PENDING] = "SELECT " RAW " FROM {messages} m WHERE 1 = 1",
        [Q_LIST_PENDING_POSITION] = "SELECT " RAW " FROM {messages} m JOIN {lanes} l ON l.lane = m.lane "
                                    "WHERE m.seq > l.pos",
        [Q_LIST_DEFERRED] = "SELECT " DEFERRED " FROM {deferred} m WHERE 1 = 1",
        [Q_LIST_DELIVERED] = "SELECT " DELIVERED " FROM {published} m WHERE 1 = 1",
        [Q_LIST_DELIVERED_POSITION] =
            "SELECT " COLUMNS "CAST(6 AS {number}), CAST(NULL AS {text}), CAST(NULL AS {text}), CAST(0 AS {number}), "
            "(SELECT MIN(p.published_at) FROM {positions} p WHERE p.lane = m.lane AND p.pos = "
            "(SELECT MIN(q.pos) FROM {positions} q WHERE q.lane = m.lane AND q.pos >= m.seq)) "
            "FROM {messages} m JOIN {lanes} l ON l.lane = m.lane WHERE m.seq <= l.pos",
        [Q_PICK_PENDING] = "SELECT m.lane, m.seq, 0 FROM {messages} m WHERE " PENDING("m.") " = :state",
        [Q_PICK_PENDING_POSITION] = "SELECT m.lane, m.seq, 0 FROM {messages} m JOIN {lanes} l ON l.lane = m.lane "
                                    "WHERE m.seq > l.pos AND " PENDING("m.") " = :state",
        [Q_DISCARD_PENDING] = "DELETE FROM {messages} WHERE lane = :lane AND " PENDING("") " = :state AND "
                              "seq IN ([[:seq]])",
        [Q_DISCARD_PENDING_POSITION] = "DELETE FROM {messages} WHERE lane = :lane AND " PENDING("") " = :state AND seq > "
                                       "(SELECT l.pos FROM {lanes} l WHERE l.lane = :lane) AND seq IN ([[:seq]])",
        [Q_PICK_DEFERRED] = "SELECT m.lane, m.seq, m.key_hash FROM {deferred} m WHERE 1 = 1",
        /* attempts first: MariaDB would see the new state there. */
        [Q_REDRIVE] = "UPDATE {deferred} SET attempts = CASE WHEN state = 5 THEN 0 ELSE attempts END, state = 3, "
                      "available_at = {now} + :delay WHERE lane = :lane AND state = :state AND seq IN ([[:seq]])",
        [Q_AUDIT] = "INSERT INTO {audit} (id, who, what, which, messages) VALUES (:id, :owner, :name, :value, 0)",
        [Q_AUDIT_ADD] = "UPDATE {audit} SET messages = messages + :count WHERE id = :id",
        [Q_AUDIT_LIST] = "SELECT m.id, m.done_at, m.who, m.what, m.which, m.messages FROM {audit} m "
                         "ORDER BY m.done_at DESC, m.id DESC {limit}",
        [Q_META_SET] = "UPDATE {meta} SET value = :value WHERE name = :name",
    },
};
