/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The doctor's questions, in the words of each database. */
#include "driver.h"
#include "probes.h"

#include <stddef.h>

#define NOTHING "CAST(NULL AS {text})"

/* ---- Any database: only the outbox's own tables are looked at ---- */

/* The first message of each lane, behind what its position says is settled: one look into an index a lane. */
#define WAITING(relays)                                                                                                 \
    "SELECT " NOTHING ", " NOTHING ", {now} - MIN(m.created_at), COUNT(*) FROM {lanes} l JOIN {messages} m "            \
    "ON m.lane = l.lane AND m.seq = (SELECT MIN(f.seq) FROM {messages} f WHERE f.lane = l.lane AND f.seq > l.pos) "     \
    "WHERE l.lane >= 0 AND (l.owner IS NULL OR l.lease_until < {now}) AND m.created_at < {now} - :age AND "             \
    "(m.available_at IS NULL OR m.available_at < {now} - :age) AND " relays                                             \
    " (SELECT 1 FROM {lanes} h WHERE h.lane >= 0 AND h.owner IS NOT NULL AND h.lease_until >= {now})"

/* No lease is longer than a day; a minute more is for clocks that are being corrected. */
#define FUTURE                                                                                                          \
    "SELECT 'messages', " NOTHING ", MAX(m.created_at) - {now}, COUNT(*) FROM {lanes} l JOIN {messages} m "             \
    "ON m.lane = l.lane AND m.seq = (SELECT MAX(f.seq) FROM {messages} f WHERE f.lane = l.lane) "                       \
    "WHERE m.created_at > {now} + 60000000 UNION ALL "                                                                  \
    "SELECT 'leases', " NOTHING ", MAX(l.lease_until) - {now}, COUNT(*) FROM {lanes} l "                                \
    "WHERE l.owner IS NOT NULL AND l.lease_until > {now} + 86460000000"

#define NO_CLEANER                                                                                                      \
    "EXISTS (SELECT 1 FROM {lanes} c WHERE c.lane = -1 AND c.lease_until < {now} - :age)"
#define UNCLEANED                                                                                                       \
    "SELECT " NOTHING ", " NOTHING ", {now} - MIN(p.published_at), COUNT(*) FROM {published} p "                        \
    "WHERE p.published_at < {now} - :bound AND " NO_CLEANER " UNION ALL "                                               \
    "SELECT " NOTHING ", " NOTHING ", {now} - MIN(m.created_at), COUNT(*) FROM {lanes} l JOIN {messages} m "            \
    "ON m.lane = l.lane AND m.seq = (SELECT MIN(f.seq) FROM {messages} f WHERE f.lane = l.lane) "                       \
    "WHERE l.lane >= 0 AND m.seq <= l.pos AND m.created_at < {now} - :bound AND " NO_CLEANER

const char *const outbox_probes__generic[A__COUNT] = {
    [A_FUTURE] = FUTURE,
    [A_STALE] = "SELECT l.owner, " NOTHING ", {now} - MAX(l.lease_until), COUNT(*) FROM {lanes} l WHERE "
                "l.owner IS NOT NULL AND l.lease_until < {now} GROUP BY l.owner ORDER BY l.owner",
    [A_UNATTENDED] = WAITING("NOT EXISTS"),
    [A_SLOW] = WAITING("EXISTS"),
    [A_UNCLEANED] = UNCLEANED,
    [A_FAILING] = "SELECT MAX(m.last_error), " NOTHING ", {now} - MIN(m.created_at), COUNT(*) FROM {deferred} m "
                  "WHERE m.state = 3 AND m.attempts >= 3",
    [A_DEAD] = "SELECT " NOTHING ", " NOTHING ", {now} - MIN(m.deferred_at), COUNT(*) FROM {deferred} m WHERE m.state = 5",
    [A_BLOCKED] = "SELECT " NOTHING ", " NOTHING ", {now} - MIN(m.created_at), COUNT(*) FROM {deferred} m WHERE "
                  "m.state = 4 AND EXISTS (SELECT 1 FROM {deferred} d WHERE d.lane = m.lane AND "
                  "d.key_hash = m.key_hash AND d.state = 5 AND d.seq < m.seq)",
};

/* ---- PostgreSQL ---- */

#define SINCE(time) "(extract(epoch FROM clock_timestamp() - " #time ") * 1000000)::bigint"
#define PROCESS                                                                                                         \
    "SELECT 'process ' || a.pid || ' (' || concat_ws(', ', a.usename, nullif(a.application_name, ''), a.state) || ')', " \
    "'SELECT pg_terminate_backend(' || a.pid || ')', " SINCE(a.xact_start) ", 1 FROM pg_stat_activity a "             \
    "WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND " SINCE(a.xact_start) " >= :age AND "

/* Where the tables are, and so the indexes; their names are not quoted in the migrations. */
#define PG_INDEX(name, rest)                                                                                            \
    "('{prefix}" name "', 'CREATE INDEX CONCURRENTLY {prefix}" name " ON " rest "')"
#define PG_INDEXES                                                                                                      \
    "SELECT w.name, w.fix, 0::bigint, 1::bigint FROM (VALUES "                                                          \
    PG_INDEX("messages_tx", "{messages} (lane, tx, seq)") ", "                                                          \
    PG_INDEX("deferred_due", "{deferred} (lane, available_at) WHERE available_at IS NOT NULL") ", "                     \
    PG_INDEX("deferred_key", "{deferred} (lane, key_hash, state, seq)") ", "                                            \
    PG_INDEX("published_at", "{published} (published_at)") ", "                                                         \
    PG_INDEX("positions_at", "{positions} (lane, published_at)") ", "                                                   \
    PG_INDEX("positions_pos", "{positions} (lane, pos, published_at)") ", "                                             \
    PG_INDEX("dedup_at", "{dedup} (created_at)") ", "                                                                   \
    PG_INDEX("audit_at", "{audit} (done_at)")                                                                           \
    ") w(name, fix) WHERE NOT EXISTS (SELECT 1 FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "                \
    "JOIN pg_class t ON t.oid = i.indrelid WHERE c.relname = lower(w.name) AND i.indisvalid AND "                       \
    "t.relnamespace = (SELECT m.relnamespace FROM pg_class m WHERE m.oid = '{messages}'::regclass))"

/* Local tables that Citus manages are in its list as well: without a key, copies, or others beside them. */
#define PG_DISTRIBUTED                                                                                                  \
    "SELECT p.logicalrelid::text, 'SELECT undistribute_table(' || quote_literal(p.logicalrelid::text) || ')', "         \
    "0::bigint, 1::bigint FROM pg_dist_partition p WHERE p.logicalrelid IN ('{messages}'::regclass, "                   \
    "'{lanes}'::regclass, '{deferred}'::regclass, '{published}'::regclass, '{positions}'::regclass, "                   \
    "'{dedup}'::regclass, '{audit}'::regclass, '{meta}'::regclass) AND "                                                \
    "NOT (p.partmethod = 'n' AND p.repmodel = 's' AND p.colocationid = 0)"

/* Of a standby, where the primary is: whether that one is gone for good, and this one is to be promoted, only people know. */
#define PG_READ_WRITE(object) "'BEGIN READ WRITE; ALTER ' || " object " || ' RESET default_transaction_read_only; COMMIT' "
#define PG_ROLE "'ROLE ' || quote_ident(session_user)"
#define PG_DATABASE "'DATABASE ' || quote_ident(current_database())"
#define PG_WRITABLE                                                                                                     \
    "SELECT CASE WHEN pg_is_in_recovery() THEN 'SELECT sender_host, sender_port FROM pg_stat_wal_receiver' "            \
    "WHEN s.source = 'user' THEN " PG_READ_WRITE(PG_ROLE)                                                               \
    "WHEN s.source = 'database' THEN " PG_READ_WRITE(PG_DATABASE)                                                       \
    "WHEN s.source = 'database user' THEN " PG_READ_WRITE(PG_ROLE " || ' IN ' || " PG_DATABASE)                         \
    "WHEN s.source = 'configuration file' THEN 'ALTER SYSTEM SET default_transaction_read_only = off; "                 \
    "SELECT pg_reload_conf()' ELSE 'SELECT source, setting FROM pg_settings WHERE name = "                              \
    "''default_transaction_read_only''' END, NULL::text, 0::bigint, 1::bigint FROM pg_settings s "                      \
    "WHERE s.name = 'default_transaction_read_only'"

const char *const outbox_probes__postgresql[A__COUNT] = {
    [A_VERSION] = "SELECT current_setting('server_version'), NULL::text, 0::bigint, 1::bigint",
    /* What a session begins with, not what the library has set since. */
    [A_ISOLATION] = "SELECT reset_val, NULL::text, 0::bigint, 1::bigint FROM pg_settings "
                    "WHERE name = 'default_transaction_isolation'",
    [A_ZONE] = "SELECT current_setting('TimeZone'), NULL::text, 0::bigint, 1::bigint",
    [A_SESSION] = "SELECT pg_backend_pid()::text, NULL::text, 0::bigint, 1::bigint",
    [A_USER] = "SELECT quote_ident(current_user), NULL::text, 0::bigint, 1::bigint",
    [A_WRITABLE] = PG_WRITABLE,
    [A_ENCODING] = "SELECT current_setting('server_encoding'), 'CREATE DATABASE ' || "
                   "quote_ident(current_database() || '_utf8') || ' ENCODING ''UTF8'' LC_COLLATE ''C'' LC_CTYPE ''C'' "
                   "TEMPLATE template0', 0::bigint, 1::bigint "
                   "WHERE current_setting('server_encoding') <> 'UTF8'",
    [A_TRANSACTIONS] = PROCESS "a.backend_xid IS NOT NULL UNION ALL "
                       "SELECT 'prepared transaction ' || p.gid, 'ROLLBACK PREPARED ' || quote_literal(p.gid), "
                       SINCE(p.prepared) ", 1 FROM pg_prepared_xacts p WHERE p.database = current_database() AND "
                       SINCE(p.prepared) " >= :age",
    [A_SNAPSHOTS] = PROCESS "a.backend_xid IS NULL AND a.backend_xmin IS NOT NULL UNION ALL "
                    "SELECT 'replication slot ' || s.slot_name, 'SELECT pg_drop_replication_slot(' || "
                    "quote_literal(s.slot_name) || ')', 0, 1 FROM pg_replication_slots s WHERE NOT s.active AND "
                    "s.xmin IS NOT NULL",
    [A_BLOAT] = "SELECT s.relid::regclass::text, 'VACUUM (ANALYZE) ' || s.relid::regclass, s.n_dead_tup, 1::bigint "
                "FROM pg_stat_user_tables s WHERE s.relid IN ('{messages}'::regclass, '{lanes}'::regclass, "
                "'{deferred}'::regclass, '{published}'::regclass, '{positions}'::regclass, '{dedup}'::regclass) AND "
                "s.n_dead_tup >= 10000 AND s.n_dead_tup > s.n_live_tup",
    [A_INDEXES] = PG_INDEXES,
    [A_CACHED] = "SELECT s.seqrelid::regclass::text, 'ALTER SEQUENCE ' || s.seqrelid::regclass || ' CACHE 1', s.seqcache, "
                 "1::bigint FROM pg_sequence s WHERE s.seqcache > 1 AND "
                 "s.seqrelid = pg_get_serial_sequence('{messages}', 'seq')::regclass",
    [A_CITUS] = "SELECT to_regclass('pg_dist_partition')::text, NULL::text, 0::bigint, 1::bigint",
    [A_DISTRIBUTED] = PG_DISTRIBUTED,
};

/* ---- MariaDB ---- */

#define MDB_INDEX(table, name, columns)                                                                                 \
    "SELECT '{prefix}" table "' AS tab, '" name "' AS name, 'CREATE INDEX " name " ON {" table "} (" columns ")' AS fix"

/* Who may not read a table sees none of its indexes, not even the primary key. */
#define MDB_INDEXED                                                                                                     \
    "EXISTS (SELECT 1 FROM information_schema.statistics s WHERE s.table_name = w.tab AND "                             \
    "s.table_schema = COALESCE(NULLIF(:name, ''), DATABASE()) AND "

const char *const outbox_probes__mariadb[A__COUNT] = {
    [A_VERSION] = "SELECT VERSION(), NULL, 0, 1",
    /* What MySQL renamed: each server reads its own comment. */
    [A_ISOLATION] = "SELECT LOWER(REPLACE(/*M!100000 @@global.tx_isolation *//*!80003 @@global.transaction_isolation */, "
                    "'-', ' ')), NULL, 0, 1",
    [A_ZONE] = "SELECT CASE @@time_zone WHEN 'SYSTEM' THEN @@system_time_zone ELSE @@time_zone END, NULL, 0, 1",
    [A_SESSION] = "SELECT CAST(CONNECTION_ID() AS CHAR), NULL, 0, 1",
    [A_USER] = "SELECT CONCAT(QUOTE(SUBSTRING_INDEX(CURRENT_USER(), '@', 1)), '@', "
               "QUOTE(SUBSTRING_INDEX(CURRENT_USER(), '@', -1))), NULL, 0, 1",
    [A_WRITABLE] = "SELECT CASE WHEN @@global.read_only THEN 'SET GLOBAL read_only = OFF' ELSE "
                   "/*M!100000 'SELECT @@global.read_only, @@innodb_read_only, @@tx_read_only' */"
                   "/*!80003 'SELECT @@global.read_only, @@innodb_read_only, @@transaction_read_only' */ END, NULL, 0, 1",
    [A_ENCODING] = OUTBOX_PROBE_NONE, /* the tables say theirs */
    [A_TRANSACTIONS] = "SELECT CONCAT('connection ', t.trx_mysql_thread_id), CONCAT('KILL ', t.trx_mysql_thread_id), "
                       "TIMESTAMPDIFF(MICROSECOND, t.trx_started, NOW(6)), 1 FROM information_schema.innodb_trx t WHERE "
                       "t.trx_mysql_thread_id <> CONNECTION_ID() AND "
                       "TIMESTAMPDIFF(MICROSECOND, t.trx_started, NOW(6)) >= :age",
    [A_INDEXES] = "SELECT CONCAT(w.name, ' of ', w.tab), w.fix, 0, 1 FROM ("
                  MDB_INDEX("messages", "lane_seq", "lane, seq") " UNION ALL "
                  MDB_INDEX("deferred", "due", "lane, due_at, seq") " UNION ALL "
                  MDB_INDEX("deferred", "key_state", "lane, key_hash, state, seq") " UNION ALL "
                  MDB_INDEX("published", "published_at", "published_at") " UNION ALL "
                  MDB_INDEX("dedup", "created_at", "created_at")
                  ") w WHERE " MDB_INDEXED "s.index_name = 'PRIMARY') AND NOT " MDB_INDEXED "s.index_name = w.name)",
};

/* ---- SQLite ---- */

#define LITE_INDEX(name, rest)                                                                                          \
    "SELECT '{prefix}" name "' AS name, 'CREATE INDEX {index}" name " ON " rest "' AS fix"

const char *const outbox_probes__sqlite[A__COUNT] = {
    [A_VERSION] = "SELECT sqlite_version(), NULL, 0, 1",
    [A_ISOLATION] = "SELECT 'serializable', NULL, 0, 1",
    [A_ZONE] = OUTBOX_PROBE_NONE,
    [A_SESSION] = OUTBOX_PROBE_NONE,
    [A_USER] = OUTBOX_PROBE_NONE,
    [A_WRITABLE] = OUTBOX_PROBE_NONE,
    [A_TRANSACTIONS] = OUTBOX_PROBE_NONE, /* one writes at a time: who cannot, tells */
    /* A database keeps its encoding; a new one is in UTF-8. */
    [A_ENCODING] = "SELECT e.encoding, 'sqlite3 ''' || REPLACE(f.file, '''', '''\\''''') || ''' .dump | sqlite3 <file>', 0, 1 "
                   "FROM pragma_encoding e, pragma_database_list f WHERE e.encoding <> 'UTF-8' AND f.name = 'main'",
    [A_INDEXES] = "SELECT w.name, w.fix, 0, 1 FROM ("
                  LITE_INDEX("messages_lane", "{messages_on} (lane, seq)") " UNION ALL "
                  LITE_INDEX("deferred_due", "{deferred_on} (lane, available_at)") " UNION ALL "
                  LITE_INDEX("deferred_key", "{deferred_on} (lane, key_hash, state, seq)") " UNION ALL "
                  LITE_INDEX("published_at", "{published_on} (published_at)") " UNION ALL "
                  LITE_INDEX("positions_at", "{positions_on} (lane, published_at)") " UNION ALL "
                  LITE_INDEX("positions_pos", "{positions_on} (lane, pos, published_at)") " UNION ALL "
                  LITE_INDEX("dedup_at", "{dedup_on} (created_at)") " UNION ALL "
                  LITE_INDEX("audit_at", "{audit_on} (done_at)")
                  ") w WHERE NOT EXISTS (SELECT 1 FROM sqlite_master s WHERE s.type = 'index' AND "
                  "LOWER(s.name) = LOWER(w.name))",
};

/* ---- Firebird ---- */

#define FB_FACT(expression)                                                                                             \
    "SELECT " expression ", CAST(NULL AS VARCHAR(10)), CAST(0 AS BIGINT), CAST(1 AS BIGINT) FROM RDB$DATABASE"

/* The isolation level and the time zone are the ODBC driver's and the server's, and nothing here tells them in every version;
 * a write that is tried tells that the database takes none. */
const char *const outbox_probes__firebird[A__COUNT] = {
    [A_VERSION] = FB_FACT("RDB$GET_CONTEXT('SYSTEM', 'ENGINE_VERSION')"),
    [A_SESSION] = FB_FACT("CAST(CURRENT_CONNECTION AS VARCHAR(20))"),
    [A_USER] = FB_FACT("'\"' || TRIM(CURRENT_USER) || '\"'"),
    [A_ENCODING] = OUTBOX_PROBE_NONE, /* the tables say theirs */
};
