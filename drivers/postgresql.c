/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* PostgreSQL through psqlODBC.
 *
 * Position settling. Each row carries the xid of its transaction, drawn before its seq (tx is the first column).
 * A lane remembers (pos, snap, xbound): the snapshot of the read and the xid of the settling transaction.
 *
 *   Every row of the lane with seq <= pos that is visible in snap is settled; any other row with seq <= pos that may
 *   yet appear belongs to a transaction that is in progress in snap and got its xid before xbound.
 *
 * For: a transaction whose xid was assigned after the read's snapshot draws its numbers after that too, so they are
 * greater than the last one that was read. What the snapshot cannot see at or below pos had its xid before and was not
 * finished: it is in pg_snapshot_xip(snap), or not below pg_snapshot_xmax(snap) and below the settling xid, which is
 * later. Such rows are "late" and are looked for beside the new ones.
 *
 * low: no row at or below it is unsettled or can still appear; raised by the cleaner, and after a restore, when the
 * xids of old rows mean nothing.
 *
 * The probes for work are scalar subqueries with ORDER BY … LIMIT 1: as EXISTS they become a join over everything. */
#include "conninfo.h"
#include "driver.h"
#include "probes.h"
#include "relatives.h"

#define COLUMNS                                                                                                         \
    "m.lane, m.seq, m.id::text, m.topic, m.partition_key, m.payload, m.headers, m.content_type, m.message_type, "       \
    "m.max_attempts, m.created_at, m.available_at, "
/* The clock is costly, and is asked only for the few messages that have a time. */
#define RAW COLUMNS "CASE WHEN m.available_at IS NULL THEN 1 WHEN m.available_at > {now} THEN 2 ELSE 1 END, NULL::text, " \
    "NULL::text, 0, 0"
#define ANY_DEFERRED "(SELECT d.seq FROM {deferred} d WHERE d.lane = :lane LIMIT 1)"
#define DEFERRED COLUMNS "m.state, m.last_error, NULL::text, m.attempts, 0"
#define DELIVERED "m.lane, m.seq, m.id::text, m.topic, m.partition_key, m.payload, m.headers, m.content_type, "         \
    "m.message_type, m.max_attempts, m.created_at, NULL::bigint, 6, m.last_error, NULL::text, m.attempts, m.published_at"

#define FREE "l.lane >= 0 AND (l.owner IS NULL OR l.lease_until < {now})"
#define NEW "(SELECT m.seq FROM {messages} m WHERE m.lane = l.lane ORDER BY m.lane, m.seq LIMIT 1)"
#define NEW_BEYOND                                                                                                      \
    "(SELECT m.seq FROM {messages} m WHERE m.lane = l.lane AND m.seq > l.pos ORDER BY m.lane, m.seq LIMIT 1)"
/* OFFSET 0 keeps the planner from turning the probes per transaction into a scan of the lane. */
#define LATE_LISTED                                                                                                     \
    "(SELECT q.seq FROM pg_snapshot_xip(l.snap) x CROSS JOIN LATERAL (SELECT m.seq FROM {messages} m WHERE "            \
    "m.lane = l.lane AND m.tx = x AND m.seq <= l.pos AND m.seq > l.low ORDER BY m.lane, m.tx, m.seq LIMIT 1) q LIMIT 1)"
#define LATE_BEYOND                                                                                                     \
    "(SELECT m.seq FROM {messages} m WHERE m.lane = l.lane AND m.tx >= pg_snapshot_xmax(l.snap) AND m.tx < l.xbound "   \
    "AND m.seq <= l.pos AND m.seq > l.low ORDER BY m.lane, m.tx, m.seq LIMIT 1)"
#define DUE                                                                                                             \
    "(SELECT d.seq FROM {deferred} d WHERE d.lane = l.lane AND d.available_at <= {now} "                                \
    "ORDER BY d.lane, d.available_at LIMIT 1)"

/* Most lanes of a quiet outbox are empty, and of them this is asked for each claim: so late rows are not looked for where there
 * can be none. Nothing was in progress in a snapshot of which xmin is xmax; nobody has an xid between one and the same. */
#define WORK                                                                                                            \
    NEW_BEYOND ", CASE WHEN pg_snapshot_xmin(l.snap) < pg_snapshot_xmax(l.snap) THEN " LATE_LISTED " END, "             \
    "CASE WHEN pg_snapshot_xmax(l.snap) < l.xbound THEN " LATE_BEYOND " END, " DUE

/* The row of a lane as it is now, whatever else is in its table. While some transaction has a snapshot for long, a backup say,
 * none of the versions written since can go away, and each claim and each settlement writes one; what looks for a lane by its
 * key visits all of them. A later version lies behind the earlier ones, and so does its entry in the index, where equal keys
 * are in the order of the rows: from the end, the first one that is met is the one that lives. (Once they can go away it may
 * lie before dead ones, which costs their visit, once, and no more than before. Without deduplicate_items, as merged entries
 * come in the other order when they are read backwards.) By a range, as what is sorted by a column that equals something is
 * not sorted at all.
 *
 * It is changed by its ctid. Somebody else may have changed it since the statement's snapshot, and then nothing may be at that
 * place: servers since November 2025 ask again where the row is, and change nothing; earlier ones change the version that
 * is there now. So what a statement asks for has to hold for that version, too: a settlement asks for the token, and a claim
 * has locked the last version and asked it whether it is free. */
#define NEWEST(columns, lane)                                                                                           \
    "(SELECT " columns " FROM {lanes} n WHERE n.lane >= " lane " AND n.lane <= " lane " "                               \
    "ORDER BY n.lane DESC LIMIT 1)"

#define THE_NEWEST "ctid = " NEWEST("ctid", ":lane") " AND "

/* Each lane so; -1, the cleaner's, is none of them. */
#define LANES(columns)                                                                                                  \
    "generate_series(0, (SELECT value::integer FROM {meta} WHERE name = 'lanes') - 1) g CROSS JOIN LATERAL "            \
    NEWEST(columns, "g")

#define LEASE                                                                                                           \
    "UPDATE {lanes} u SET token = u.token + 1, lease_until = {now} + :lease, "                                          \
    "suspect = CASE WHEN u.owner IS NULL THEN u.suspect ELSE -greatest(u.batch, 1) END, owner = :owner, batch = :batch "

#define LEASED                                                                                                          \
    "RETURNING u.lane, u.token, u.pos, u.snap::text, u.xbound::text, u.low, u.suspect, "                                \
    "(SELECT d.seq FROM {deferred} d WHERE d.lane = u.lane LIMIT 1)"

/* Lanes are looked at in order, the one that waits longest first, until one has work: while there is a backlog that is the
 * first or second, and to look at all would cost five times as much. What is free is asked of the row that gets locked, so
 * that it is asked again of a row that changed meanwhile; the inner list only gives the order. */
#define CLAIM(work)                                                                                                     \
    LEASE "WHERE u.lane = (SELECT l.lane FROM (SELECT f.lane, f.lease_until FROM {lanes} f WHERE f.lane >= 0 "          \
    "AND (f.owner IS NULL OR f.lease_until < (SELECT {now})) ORDER BY f.lease_until, f.lane OFFSET 0) o "               \
    "JOIN {lanes} l ON l.lane = o.lane WHERE " FREE " AND coalesce(" work ") IS NOT NULL "                              \
    "ORDER BY o.lease_until, o.lane LIMIT 1 FOR UPDATE OF l SKIP LOCKED) " LEASED

/* The same behind versions that cannot go away. All lanes at once are found sooner by their table while it is small: their rows
 * fill a page for each six or seven, versions between two vacuums some more. When the row that was found and locked is not
 * where it was, the answer is a row of NULLs. The size is asked once: it grows at any time, and asked twice, each lane might be
 * found in both ways. */
#define SIZE                                                                                                            \
    "WITH s AS MATERIALIZED (SELECT pg_relation_size('{lanes}'::regclass) < value::bigint * 6400 AS small FROM {meta} " \
    "WHERE name = 'lanes'), "

#define PLACE "n.ctid AS place, n.xmin AS made, n.*"
#define FOUND(work)                                                                                                     \
    "FROM (SELECT a.* FROM (SELECT " PLACE " FROM {lanes} n WHERE n.lane >= 0 AND (SELECT s.small FROM s) UNION ALL "   \
    "SELECT n.* FROM " LANES(PLACE) " n WHERE NOT (SELECT s.small FROM s)) a "                                          \
    "WHERE a.owner IS NULL OR a.lease_until < (SELECT {now}) "                                                          \
    "ORDER BY a.lease_until, a.lane OFFSET 0) l WHERE coalesce(" work ") IS NOT NULL"

#define LOCKED                                                                                                          \
    "CROSS JOIN LATERAL (SELECT l.lane FROM {lanes} l WHERE l.lane >= f.lane AND l.lane <= f.lane AND " FREE " "        \
    "ORDER BY l.lane DESC LIMIT 1 FOR UPDATE SKIP LOCKED) k "

#define CLAIM_NEWEST(work)                                                                                              \
    SIZE "c AS MATERIALIZED (SELECT f.place FROM (SELECT l.place, l.lane " FOUND(work) " OFFSET 0) f " LOCKED           \
    "LIMIT 1), u AS (" LEASE "WHERE u.ctid = (SELECT c.place FROM c) " LEASED ") SELECT u.* FROM c LEFT JOIN u ON true"

/* So many lanes at once, each with what is new there. One that has anything out of the ordinary (its owner crashed, messages go
 * one at a time, something is deferred) comes alone, when it is its turn: the first that is found. The others of that kind are
 * not even locked, unless just one lane is asked for; so when several were asked for, some found and none leased, the answer is
 * a NULL: one of the others may be there to be taken. (What is found is read no further than it is asked for.)
 *
 * A statement sees what there was when it began. If somebody settled the lane after that and let it go before this one locked
 * it, what was settled then would be read here once more, and what was deferred not seen. So only the version of the row that
 * the statement sees is leased: by its xmin, which earlier servers, too, ask again of a row that changed. A position that came
 * later all the same would show by the xid that settled, and then nothing is read. */
#define ALONE "l.owner IS NOT NULL OR l.suspect <> 0 OR (SELECT d.seq FROM {deferred} d WHERE d.lane = l.lane LIMIT 1) "\
    "IS NOT NULL"
#define AS_IT_IS "u.suspect = 0 AND u.deferred IS NULL AND pg_visible_in_snapshot(u.xbound, pg_current_snapshot())"

#define LANE_TEXT                                                                                                       \
    "CASE WHEN u.lane IS NOT NULL THEN concat('L', u.lane, ',', u.token, ',', u.pos, ',', u.low, ',', u.suspect, ';', " \
    "u.snap, ';', u.xbound, ';', CASE WHEN " AS_IT_IS " THEN pg_current_snapshot() END, ';', u.deferred) END"

/* Bounds the bytes of a batch in the server: psqlODBC fetches whole results into memory. By ROWS, which costs less than a
 * look for rows with the same seq, of which there are none. */
#define BYTES(m) "octet_length(" m ".payload) + coalesce(octet_length(" m ".headers), 0)"
#define BOUNDED(source)                                                                                                 \
    "FROM (SELECT q.*, sum(" BYTES("q") ") OVER (ORDER BY q.seq ROWS UNBOUNDED PRECEDING) - (" BYTES("q") ") AS "       \
    "ahead "                                                                                                            \
    "FROM (" source ") q) m WHERE m.ahead < :bytes ORDER BY m.seq"

/* For packed.h. By sizes in the server's encoding, so it has to be that of the connection: else each message is an
 * empty text, and the batch is read by rows. Most messages have none of the optional columns: one
 * test is cheaper than six values. */
#define OPTIONAL                                                                                                        \
    "CASE WHEN m.headers IS NULL AND m.content_type IS NULL AND m.message_type IS NULL AND "                            \
    "m.max_attempts IS NULL AND m.available_at IS NULL THEN NULL ELSE concat(',', m.available_at, ',', "                \
    "CASE WHEN m.available_at > {now} THEN 2 ELSE 1 END, ',', m.max_attempts, ',', octet_length(m.headers), ',', "      \
    "octet_length(m.content_type), ',', octet_length(m.message_type)) END"                                              
#define ALL_BYTES                                                                                                       \
    "octet_length(m.payload)::bigint + octet_length(m.topic) + coalesce(octet_length(m.partition_key), 0) + "                   \
    "coalesce(octet_length(m.headers), 0) + coalesce(octet_length(m.content_type), 0) + "                               \
    "coalesce(octet_length(m.message_type), 0)"
#define PACKED_TEXT                                                                                                     \
    "CASE WHEN " ALL_BYTES " <= :bytes "                                                                                \
    "AND (SELECT current_setting('server_encoding') IN ('UTF8', 'SQL_ASCII')) THEN concat(m.seq, ',', m.created_at, "   \
    "',', octet_length(m.payload), ',', octet_length(m.topic), ',', octet_length(m.partition_key), " OPTIONAL ", ';', " \
    "m.id, m.topic, m.partition_key, m.headers, m.content_type, m.message_type, encode(m.payload, 'hex')) ELSE '' END "
#define PACKED(xbound, snapshot, source)                                                                                \
    "SELECT concat(" xbound "';', " snapshot "';', " ANY_DEFERRED ") UNION ALL SELECT " PACKED_TEXT                     \
    "FROM (" source ") m"
#define SNAPSHOT "pg_current_snapshot(), "
#define NEXT_ROWS "SELECT * FROM {messages} WHERE lane = :lane ORDER BY lane, seq LIMIT :limit"
#define BY_POSITION(late) BY_POSITION_OF(":lane", ":pos", late)
/* Late ones by a range, in order: by what equals something, or as a join, the planner may take the other index, or all of the
 * lane, for as good, before the tables' first ANALYZE. */
#define BY_POSITION_OF(lane, pos, late)                                                                                 \
    "(SELECT m.* FROM (" late ") s CROSS JOIN LATERAL (SELECT * FROM {messages} m WHERE m.lane = " lane " AND "         \
    "m.seq >= s.seq AND m.seq <= s.seq ORDER BY m.lane, m.seq LIMIT 1) m) UNION ALL (SELECT * FROM {messages} WHERE "   \
    "lane = " lane " AND seq > " pos " ORDER BY lane, seq LIMIT :limit) ORDER BY seq LIMIT :limit"

/* Below which xid they are: the one that settled, later than all of them. */
#define LATE_ROWS LATE_ROWS_BELOW(":xbound::xid8")
#define LATE_ROWS_BELOW(bound) LATE_ROWS_OF(":lane", ":pos", ":low", ":snap::pg_snapshot", bound)
#define LATE_ROWS_OF(lane, pos, low, snap, bound)                                                                       \
    "SELECT o.seq FROM (SELECT q.seq FROM pg_snapshot_xip(" snap ") x CROSS JOIN LATERAL (SELECT m.seq FROM "           \
    "{messages} m WHERE m.lane = " lane " AND m.tx = x AND m.seq <= " pos " AND m.seq > " low " "                       \
    "ORDER BY m.lane, m.tx, m.seq LIMIT :limit) q UNION ALL (SELECT m.seq FROM {messages} m WHERE m.lane = " lane " AND "\
    "m.tx >= pg_snapshot_xmax(" snap ") AND m.tx < " bound " AND m.seq <= " pos " AND m.seq > " low " "                 \
    "ORDER BY m.lane, m.tx, m.seq)) o ORDER BY o.seq LIMIT :limit"

#define OF_U(column) "u." #column
#define OF_G(column) "g." #column
#define GATHER                                                                                                          \
    SIZE "f AS MATERIALIZED (SELECT l.place, l.made, l.lane, " ALONE " AS alone, row_number() OVER () AS n "            \
    FOUND(WORK) "), c AS MATERIALIZED (SELECT r.*, row_number() OVER () AS n FROM (SELECT f.place, f.made, f.lane, "    \
    "f.alone FROM f " LOCKED "WHERE f.n = 1 OR NOT f.alone OR :count = 1 LIMIT :count) r), "                            \
    "t AS MATERIALIZED (SELECT c.place, c.made, c.lane FROM c "                                                         \
    "WHERE c.n = 1 OR NOT (c.alone OR (SELECT f.alone FROM c f WHERE f.n = 1))), "                                      \
    "u AS (" LEASE "WHERE u.ctid = ANY (ARRAY(SELECT t.place FROM t)) AND u.xmin = ANY (ARRAY(SELECT t.made FROM t)) "  \
    "RETURNING u.lane, u.token, u.pos, u.snap, u.xbound, u.low, u.suspect, "                                            \
    "(SELECT d.seq FROM {deferred} d WHERE d.lane = u.lane LIMIT 1) AS deferred) "                                      \
    "SELECT p.text FROM t LEFT JOIN u ON u.lane = t.lane CROSS JOIN LATERAL (SELECT " LANE_TEXT " AS text UNION ALL "   \
    "SELECT " PACKED_TEXT "FROM ("                                                                                      \
    BY_POSITION_OF(OF_U(lane), OF_U(pos), LATE_ROWS_OF(OF_U(lane), OF_U(pos), OF_U(low), OF_U(snap), OF_U(xbound)))     \
    ") m WHERE " AS_IT_IS ") p "                                                                                        \
    "UNION ALL SELECT NULL FROM (SELECT f.lane FROM f LIMIT 1) f WHERE :count > 1 AND "                                 \
    "(SELECT c.lane FROM c LIMIT 1) IS NULL"

#define MOVED "snap = :snap::pg_snapshot, xbound = pg_current_xact_id(), "
#define AS_NUMBERED "pg_relation_filenode(:sequence::bigint::oid)::bigint = :file"
#define MOVE(row)                                                                                                       \
    "UPDATE {lanes} SET pos = :pos, " MOVED "owner = :owner, "                                                          \
    "lease_until = {now} + :lease, suspect = :suspect WHERE " row "lane = :lane AND token = :token AND "                \
    AS_NUMBERED " RETURNING xbound::text"

/* Several lanes, in the order in which they are given: as whoever else changes more than one does it in that order, too, nobody
 * waits for each other. By the place alone, and from a list that the planner believes to be short: by the lane as well, or
 * beside a whole scan of a table that was small once, it would visit all versions of the row. */
#define MOVE_GATHERED                                                                                                   \
    "UPDATE {lanes} u SET pos = s.pos, " MOVED "owner = NULL, lease_until = {now}, suspect = 0 "                        \
    "FROM (SELECT g.*, " NEWEST("ctid", OF_G(lane)) " AS place FROM "                                                   \
    "unnest(:lane::integer[], :token::bigint[], :pos::bigint[]) g(lane, token, pos) WHERE g.lane >= 0 AND "             \
    "g.token >= 0 OFFSET 0) s WHERE u.ctid = s.place AND u.token = s.token AND " AS_NUMBERED " RETURNING u.lane"

/* Whether a row of a restored table was written here: a transaction's own xids lie close together, be it the one of a
 * savepoint. What was copied here has an xmin of this cluster and a tx of another. */
#define WRITTEN_HERE(m, near)                                                                                           \
    m ".tx > '3' AND (" m ".xmin::text::numeric + 4294967296 - " m ".tx::text::numeric % 4294967296) % 4294967296 <= " near

static const char *const dbms[] = { "PostgreSQL", NULL };

/* On connections of the library's own only. Each plan of ours walks an index in order; these keep the planner from
 * believing misleading statistics. A relay that is stopped in the middle of a transaction must not keep its locks. */
static const char *const setup[] = {
    "SET enable_seqscan = off",
    "SET enable_bitmapscan = off",
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
    "SET enable_sort = off", /* what an index gives in order, another one would give to sort: all of a lane, for a few */
    "SET jit = off",
    "SET plan_cache_mode = force_generic_plan", /* to plan a read anew costs as much as to read a hundred messages */
    "SET default_transaction_isolation = 'read committed'",
    "SET idle_in_transaction_session_timeout = '60s'",
    "SET statement_timeout = 0", /* those of applications: here they would stop the same statement again and again */
    "SET lock_timeout = 0",
    NULL,
};

/* Protocol 7.4-0: no savepoint around each statement, which is a round trip; ours are repeated with their transaction.
 * A network that swallows packets would hang a call for as long as TCP tries: a quarter of an hour for what was sent,
 * two hours for an answer that is waited for. So libpq is told when to give up. */
static const struct outbox_word words[] = {
    { "connect_timeout", 1000000, 2, NULL, NULL },
    { "tcp_user_timeout", 1000, 1000, NULL, NULL },
    { "keepalives_idle", 2000000, 1, "KeepaliveTime", "D1" },
    { "keepalives_interval", 6000000, 1, "KeepaliveInterval", "D2" },
    { "keepalives_count", 0, 3, NULL, NULL },
    { NULL, 0, 0, NULL, NULL },
};

/* And no cursors: our results are small, and a server refuses one for a statement that changes something within WITH. */
static const struct outbox_connect connect_with = {
    "psqlodbc", "Protocol", "A1", "7.4-0", "UseDeclareFetch", "B6", "0", "pqopt", "D5", words,
};

static const struct outbox_errclass errors[] = {
    { "08", 0, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "57P", 0, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "25P03", 0, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "HY000", 0, "server closed the connection", OUTBOX_ERR_LOST, NULL, NULL },
    { "HY000", 0, "terminating connection", OUTBOX_ERR_LOST, NULL, NULL },
    { "40003", 0, NULL, OUTBOX_ERR_LOST, NULL, OUTBOX_ADVICE_UNSURE },
    { "40", 0, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL },
    { "55P03", 0, NULL, OUTBOX_ERR_CONFLICT, "database.lock_timeout",
      N_("somebody holds a lock for longer than lock_timeout: repeat the transaction") },
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
    { "58030", 0, NULL, OUTBOX_ERR_DATABASE, "database.io",
      N_("the server cannot read or write its files: see its log") },
    { "XX001", 0, NULL, OUTBOX_ERR_DATABASE, "database.corrupt", N_("the server's files are damaged: restore them") },
    { "XX002", 0, NULL, OUTBOX_ERR_DATABASE, "database.corrupt", N_("an index is damaged: REINDEX it") },
    { "22P05", 0, NULL, OUTBOX_ERR_DATABASE, "database.encoding",
      N_("the database does not keep text as UTF-8 and has no such letter: use one that was made with ENCODING "
         "'UTF8'") },
    { "22021", 0, NULL, OUTBOX_ERR_DATABASE, "database.encoding",
      N_("the server took text for what it is not: see server_encoding and client_encoding") },
    { "25P02", 0, NULL, OUTBOX_ERR_STATE, "database.aborted", OUTBOX_ADVICE_ABORTED },
    { "23505", 0, "dedup", OUTBOX_ERR_DUPLICATE, NULL, OUTBOX_ADVICE_DEDUP },
    { "23505", 0, NULL, OUTBOX_ERR_DUPLICATE, NULL, NULL },
    { "42P01", 0, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "42S02", 0, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "42703", 0, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "42S22", 0, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "3F000", 0, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "", 0, NULL, 0, NULL, NULL },
};

const struct outbox_driver outbox_driver__postgresql = {
    .name = "postgresql",
    .dialect = "postgresql",
    .dbms = dbms,
    .product = "SELECT version()",
    .relative = outbox_postgresql__relative,
    .flags = OUTBOX_DRIVER_POSITION | OUTBOX_DRIVER_SETTLE_RETURNS,
    .quote = "\"",
    .now = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
    .bytes = BYTES("m"),
    .limit = "LIMIT :limit",
    .text = "text",
    .number = "BIGINT",
    .id = ":id::uuid",
    .sequence = "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    .uuid = "uuid",
    .long_text = "text",
    .long_bytes = "bytea",
    .table_end = "",
    .if_not_exists = "",
    .insert_new = "INSERT INTO",
    .begin = "BEGIN", /* by SQL: SQLEndTran says success for a transaction that was aborted */
    .commit = "COMMIT",
    .rollback = "ROLLBACK",
    .create_schema = "CREATE SCHEMA IF NOT EXISTS {schema}",
    .migrate_lock = "SELECT pg_advisory_xact_lock(7742101, 1)",
    .connect = &connect_with,
    .setup = setup,
    .impatience = "SET lock_timeout = '100ms'",
    .wake_module = "postgresql",
    .conninfo = outbox_postgresql__conninfo,
    .errors = errors,
    .probes = outbox_probes__postgresql,
    .sql = {
        [Q_META] = "SELECT name, value FROM {meta} UNION ALL SELECT 'product', version()",
        [Q_MARK] = "SELECT set_config('outbox.transaction', '1', true)",
        [Q_MARKED] = "SELECT CASE current_setting('outbox.transaction', true) WHEN '1' THEN 1 ELSE 0 END",
        /* psqlODBC says what the program's locale has: SQL_ASCII for C, which lets the bytes through as they are. */
        [Q_CHARSET] = "SELECT CASE WHEN current_setting('client_encoding') = 'SQL_ASCII' AND "
                      "current_setting('server_encoding') IN ('UTF8', 'SQL_ASCII') THEN 'utf8' "
                      "ELSE lower(current_setting('client_encoding')) END",
        /* unnest() gives rows in the arrays' order, and NULL where an array is NULL. The payloads are the one value that
         * psqlODBC sends in binary: as elements of an array each byte would be four characters. */
        [Q_INSERT_ARRAYS] =
            "INSERT INTO {messages} (lane, id, topic, partition_key, payload, headers, content_type, message_type, "
            "max_attempts, available_at) SELECT u.lane, u.id, u.topic, u.partition_key, "
            "substring(:payload::bytea FROM u.starts FOR u.sizes), u.headers, u.content_type, u.message_type, "
            "u.max_attempts, u.available_at FROM unnest(:lane::smallint[], :id::uuid[], :topic::text[], :key::text[], "
            ":headers::text[], :content_type::text[], :message_type::text[], :max_attempts::integer[], "
            ":available::bigint[], :starts::integer[], :sizes::integer[]) u(lane, id, topic, partition_key, headers, "
            "content_type, message_type, max_attempts, available_at, starts, sizes)",
        [Q_CLAIM] = CLAIM(NEW ", " DUE),
        [Q_CLAIM_POSITION] = CLAIM(WORK),
        [Q_CLAIM_NEWEST] = CLAIM_NEWEST(NEW ", " DUE),
        [Q_CLAIM_NEWEST_POSITION] = CLAIM_NEWEST(WORK),
        [Q_GATHER] = GATHER,
        [Q_LANE] = "SELECT l.lane, l.token, l.pos, l.snap::text, l.xbound::text, l.low, l.suspect, "
                   "(SELECT d.seq FROM {deferred} d WHERE d.lane = l.lane LIMIT 1) FROM {lanes} l WHERE l.lane = :lane",
        [Q_READ] = "SELECT " RAW ", NULL::text, " ANY_DEFERRED " " BOUNDED(NEXT_ROWS),
        /* The snapshot is that of this statement, the one with which it sees the rows; written out once, not for each. */
        [Q_READ_POSITION] = "SELECT " RAW ", (SELECT pg_current_snapshot()::text), " ANY_DEFERRED " "
                            BOUNDED(BY_POSITION(LATE_ROWS)),
        [Q_READ_PACKED] = PACKED("", "", NEXT_ROWS),
        [Q_READ_PACKED_POSITION] = PACKED("", SNAPSHOT, BY_POSITION(LATE_ROWS)),
        [Q_SUSPECTS] = "(" LATE_ROWS ") UNION ALL (SELECT m.seq FROM {messages} m WHERE m.lane = :lane AND m.seq > :pos "
                       "ORDER BY m.lane, m.seq LIMIT :limit)",
        /* A lane that somebody has locked does not keep the others waiting: whoever settles it renews it, too. */
        [Q_RENEW_ALL] = "UPDATE {lanes} SET lease_until = {now} + :lease WHERE lane = ANY(ARRAY("
                        "SELECT l.lane FROM {lanes} l WHERE l.owner = :owner FOR UPDATE SKIP LOCKED))",
        [Q_RELEASE_ALL] = "UPDATE {lanes} SET owner = NULL, lease_until = {now} WHERE lane = ANY(ARRAY("
                          "SELECT l.lane FROM {lanes} l WHERE l.owner = :owner ORDER BY l.lane FOR UPDATE))",
        [Q_SETTLE_POSITION] = MOVE(""),
        [Q_SETTLE_NEWEST] = OUTBOX_SETTLE(THE_NEWEST),
        [Q_SETTLE_NEWEST_POSITION] = MOVE(THE_NEWEST),
        /* The lane is ours before and after, so one snapshot is enough; it is older than the xid that settles, which is
         * above all that it sees. */
        [Q_SETTLE_READ] = "WITH s AS (" MOVE(THE_NEWEST) ") " PACKED("(SELECT s.xbound FROM s), ", SNAPSHOT,
                          BY_POSITION(LATE_ROWS_BELOW("pg_snapshot_xmax(pg_current_snapshot())"))),
        [Q_SETTLE_GATHERED] = MOVE_GATHERED,
        /* By where they are, which the primary key says: by seq, the planner may take the other index for as good while the
         * table is all but empty, and keep to that. The lane is locked; a row that an outsider changes at the same time may
         * be left there, and has to be found by its seq. */
        [Q_DELETE] = "DELETE FROM {messages} WHERE ctid = ANY (ARRAY(SELECT m.ctid FROM unnest(:seqs::bigint[]) s "
                     "CROSS JOIN LATERAL (SELECT m.ctid FROM {messages} m WHERE m.lane = :lane AND m.seq >= s AND "
                     "m.seq <= s ORDER BY m.lane, m.seq LIMIT 1) m))",
        [Q_DELETE_MOVED] = "DELETE FROM {messages} WHERE lane = :lane AND seq = ANY (:seqs::bigint[])",
        [Q_JOURNAL] = "INSERT INTO {positions} (lane, pos, low, snap, published_at) SELECT n.lane, n.pos, n.low, n.snap, "
                      "{now} FROM " NEWEST("n.*", ":lane") " n",
        [Q_FAIL] = OUTBOX_FAIL,
        [Q_PROMOTE] = OUTBOX_PROMOTE,
        [Q_FAIL_DEFERRED] = OUTBOX_FAIL_DEFERRED,
        [Q_DEFERRED_READ] = "SELECT " DEFERRED " FROM {deferred} m WHERE m.lane = :lane AND "
                            "m.seq = ANY (:seqs::bigint[])",
        [Q_DEFERRED_DELETE] = "DELETE FROM {deferred} WHERE lane = :lane AND seq = ANY (:seqs::bigint[])",
        [Q_LANES] = "SELECT l.* FROM " LANES("n.lane, n.pos, n.snap::text, n.xbound::text, n.low, n.cleaned") " l",
        /* No settled row is as late as xbound: one that is was written after its number had begun again. What came by a
         * restore has no xid of another cluster any more. */
        [Q_CLEAN] = "DELETE FROM {messages} WHERE lane = :lane AND seq = ANY (ARRAY(SELECT m.seq FROM {messages} m WHERE "
                    "m.lane = :lane AND m.seq > :cleaned AND m.seq <= :pos AND m.tx < :xbound::xid8 AND (m.seq <= :low OR "
                    "pg_visible_in_snapshot(m.tx, :snap::pg_snapshot)) ORDER BY m.lane, m.seq {limit}))",
        [Q_JOURNAL_BEFORE] = "SELECT m.pos, m.snap::text, m.low, m.published_at FROM {positions} m WHERE "
                             "m.lane = :lane AND m.published_at <= {now} - :age ORDER BY m.published_at DESC, m.pos DESC "
                             "{limit}",
        /* Once every transaction below xbound has ended and none of them left a late row, nothing can appear there. */
        [Q_LOW] = "SELECT CASE WHEN pg_snapshot_xmin(pg_current_snapshot()) >= :xbound::xid8 AND "
                  "(SELECT z.seq FROM (" LATE_ROWS ") z LIMIT 1) IS NULL THEN 1 ELSE 0 END",
        [Q_LOW_SET] = "UPDATE {lanes} SET low = greatest(low, :low), cleaned = greatest(cleaned, :cleaned) "
                      "WHERE lane = :lane AND (low < :low OR cleaned < :cleaned) AND low >= :bound",
        [Q_COUNT_PENDING_POSITION] =
            "SELECT count(*), min(m.created_at) FROM {messages} m JOIN {lanes} l ON l.lane = m.lane WHERE m.seq > l.pos "
            "OR (m.seq > l.low AND (m.tx = ANY (ARRAY(SELECT pg_snapshot_xip(l.snap))) OR "
            "(m.tx >= pg_snapshot_xmax(l.snap) AND m.tx < l.xbound)))",
        [Q_COUNT_DELIVERED_POSITION] =
            "SELECT (SELECT count(*) FROM {published}) + (SELECT count(*) FROM {messages} m JOIN {lanes} l "
            "ON l.lane = m.lane WHERE m.seq <= l.pos AND (m.seq <= l.low OR pg_visible_in_snapshot(m.tx, l.snap)))",
        [Q_LIST_PENDING] = "SELECT " RAW " FROM {messages} m WHERE true",
        [Q_LIST_PENDING_POSITION] =
            "SELECT " RAW " FROM {messages} m JOIN {lanes} l ON l.lane = m.lane WHERE (m.seq > l.pos OR (m.seq > l.low AND "
            "NOT pg_visible_in_snapshot(m.tx, l.snap)))",
        [Q_PICK_PENDING_POSITION] =
            "SELECT m.lane, m.seq, 0 FROM {messages} m JOIN {lanes} l ON l.lane = m.lane WHERE (m.seq > l.pos OR "
            "(m.seq > l.low AND NOT pg_visible_in_snapshot(m.tx, l.snap))) AND "
            "CASE WHEN m.available_at > {now} THEN 2 ELSE 1 END = :state",
        [Q_DISCARD_PENDING_POSITION] =
            "DELETE FROM {messages} m USING {lanes} l WHERE l.lane = m.lane AND m.lane = :lane AND (m.seq > l.pos OR "
            "(m.seq > l.low AND NOT pg_visible_in_snapshot(m.tx, l.snap))) AND "
            "CASE WHEN m.available_at > {now} THEN 2 ELSE 1 END = :state AND m.seq = ANY (:seqs::bigint[])",
        [Q_LIST_DEFERRED] = "SELECT " DEFERRED " FROM {deferred} m WHERE true",
        [Q_LIST_DELIVERED] = "SELECT " DELIVERED " FROM {published} m WHERE true",
        [Q_LIST_DELIVERED_POSITION] =
            "SELECT " COLUMNS "6, NULL::text, NULL::text, 0, (SELECT p.published_at FROM {positions} p WHERE "
            "p.lane = m.lane AND p.pos >= m.seq AND (m.seq <= p.low OR pg_visible_in_snapshot(m.tx, p.snap)) "
            "ORDER BY p.lane, p.pos, p.published_at LIMIT 1) "
            "FROM {messages} m JOIN {lanes} l ON l.lane = m.lane "
            "WHERE m.seq <= l.pos AND (m.seq <= l.low OR pg_visible_in_snapshot(m.tx, l.snap))",
        /* The table's oid too: clusters that were copied from one template have one identifier. Neither ever changes for
         * a living outbox, which matters: to take a change for a restore would pass over open transactions. */
        [Q_SYSTEM] = "SELECT system_identifier::text || '/' || '{lanes}'::regclass::oid::text FROM pg_control_system()",
        /* What a statement sees was written by xids below its snapshot's xmax: others came by a restore, whatever the
         * cluster calls itself. Rebasing leaves none of them. */
        [Q_FUTURE] =
            "SELECT max(CASE WHEN l.xbound >= s.xmax OR (SELECT m.tx FROM {messages} m WHERE m.lane = l.lane AND "
            "m.tx >= s.xmax AND m.seq > l.pos ORDER BY m.lane, m.tx, m.seq LIMIT 1) IS NOT NULL THEN 1 ELSE 0 END) "
            "FROM (SELECT pg_snapshot_xmax(pg_current_snapshot()) AS xmax) s, " LANES("n.*") " l",
        /* The sequence went back: by TRUNCATE … RESTART IDENTITY, by logical replication, which does not copy it, or by a
         * restore of some tables. A role that may not look does not know. A restart gives it another file; one by setval()
         * does not. */
        [Q_SEQUENCE] =
            "SELECT CASE WHEN s.last < (SELECT max(l.pos) FROM " LANES("pos") " l) THEN 1 ELSE 0 END, coalesce(s.last, -1), "
            "s.oid::bigint, "
            "s.file::bigint FROM (SELECT q.oid, pg_relation_filenode(q.oid) AS file, CASE WHEN "
            "has_sequence_privilege(q.oid, 'SELECT') THEN coalesce(pg_sequence_last_value(q.oid), 0) END AS last FROM "
            "(SELECT pg_get_serial_sequence('{messages}', 'seq')::regclass AS oid) q OFFSET 0) s",
        /* By the first message of each lane alone: after a TRUNCATE that is enough, also when the numbers have passed all
         * positions again. */
        [Q_BEHIND] =
            "SELECT max(CASE WHEN (SELECT m.tx FROM {messages} m WHERE m.lane = l.lane AND m.seq <= l.pos "
            "ORDER BY m.lane, m.seq LIMIT 1) >= l.xbound THEN 1 ELSE 0 END) FROM " LANES("n.*") " l",
        /* Beyond what waits, too: it came by a restore. */
        [Q_ADVANCE] = "SELECT setval(s.oid, greatest(max(l.pos), max((SELECT m.seq FROM {messages} m WHERE m.lane = l.lane "
                      "ORDER BY m.lane DESC, m.seq DESC LIMIT 1)), pg_sequence_last_value(s.oid))) FROM {lanes} l, "
                      "(SELECT pg_get_serial_sequence('{messages}', 'seq')::regclass AS oid) s GROUP BY s.oid",
        [Q_LOCK_LANES] = "SELECT lane FROM {lanes} WHERE lane >= 0 ORDER BY lane FOR UPDATE",
        /* No transaction as late as xbound can have drawn a number below the position otherwise. What it wrote beyond that
         * goes too, for its order, up to the last number that was drawn before they were set right.
         *
         * Transactions may still be open that drew such numbers: they are in progress in this statement's snapshot, so it
         * becomes that of all lanes, and they leave late rows. That counts all that it sees behind a position as settled:
         * what was late and is not yet delivered gets new numbers with the rest. low is below 0 so that a cleaner that read
         * it before does not raise it, and the journal, which knows of other numbers, goes. */
        [Q_RENUMBER] =
            "WITH hit AS MATERIALIZED (SELECT l.* FROM {lanes} l WHERE l.lane >= 0 AND (SELECT w.seq FROM {messages} w WHERE "
            "w.lane = l.lane AND w.seq <= l.pos AND w.tx >= l.xbound LIMIT 1) IS NOT NULL), "
            "anew AS (UPDATE {messages} m SET seq = DEFAULT FROM (SELECT w.lane, w.seq FROM {lanes} l JOIN {messages} w "
            "ON w.lane = l.lane AND ((w.seq <= l.pos AND w.seq > l.low AND NOT pg_visible_in_snapshot(w.tx, l.snap)) OR "
            "(w.tx >= l.xbound AND w.seq <= greatest(l.pos, :count) AND l.lane IN (SELECT h.lane FROM hit h))) "
            "WHERE l.lane >= 0 ORDER BY w.seq) b WHERE m.lane = b.lane AND m.seq = b.seq RETURNING 1), "
            "forgotten AS (DELETE FROM {positions}) "
            "UPDATE {lanes} SET snap = pg_current_snapshot(), xbound = pg_current_xact_id(), low = -1, cleaned = 0 "
            "WHERE lane >= 0",
        /* The numbers have passed all positions, so only rows can tell: the first of a lane was written here, and not
         * by a transaction that copied others. */
        [Q_REBASE_PASSED] =
            "SELECT max(CASE WHEN (SELECT CASE WHEN " WRITTEN_HERE("m", "100000") " AND "
            "(SELECT n.tx FROM (SELECT n.xmin AS by, n.tx FROM {messages} n WHERE n.lane = m.lane AND n.seq > m.seq "
            "ORDER BY n.lane, n.seq LIMIT 100) n "
            "WHERE n.by = m.xmin AND n.tx <> m.tx LIMIT 1) IS NULL THEN 1 END FROM {messages} m WHERE "
            "m.lane = l.lane AND m.seq <= l.pos ORDER BY m.lane, m.seq LIMIT 1) = 1 THEN 1 ELSE 0 END) FROM {lanes} l "
            "WHERE l.lane >= 0",
        /* As in Q_RENUMBER, but that no xid of the rows can be compared. What has a number that was drawn here is taken
         * for written here unless its xids say otherwise: to send it twice is better than never. */
        [Q_REBASE_NUMBERS] =
            "WITH here AS MATERIALIZED (SELECT w.lane, w.seq FROM {messages} w WHERE " WRITTEN_HERE("w",
            "CASE WHEN w.seq <= :count::bigint THEN :near::bigint ELSE 100000 END") "), "
            "anew AS (UPDATE {messages} m SET seq = DEFAULT, tx = '3' "
            "FROM (SELECT h.lane, h.seq FROM here h ORDER BY h.seq) b WHERE m.lane = b.lane AND m.seq = b.seq RETURNING 1), "
            "others AS (UPDATE {messages} m SET tx = '3' WHERE m.tx > '3' AND NOT (" WRITTEN_HERE("m",
            "CASE WHEN m.seq <= :count::bigint THEN :near::bigint ELSE 100000 END") ")), "
            "forgotten AS (DELETE FROM {positions}) "
            "UPDATE {lanes} SET snap = pg_current_snapshot(), xbound = pg_current_xact_id(), low = -1, cleaned = 0 "
            "WHERE lane >= 0",
        [Q_REBASE_LANE] = "UPDATE {lanes} SET low = greatest(low, pos), cleaned = 0, snap = pg_current_snapshot(), "
                          "xbound = pg_current_xact_id() WHERE lane = :lane",
        /* 3 is the xid that any snapshot sees. */
        [Q_REBASE_NEW] = "UPDATE {messages} SET tx = '3' WHERE lane = :lane AND tx > '3'",
        [Q_REBASE_LATE] = LATE_ROWS,
        [Q_WAKE] = "SELECT '{messages}'::regclass::oid::text, value FROM {meta} WHERE name = 'channel'",
    },
};
