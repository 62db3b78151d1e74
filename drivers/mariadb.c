/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* MariaDB through its own ODBC driver, Connector/ODBC. Settles by delete.
 *
 * InnoDB locks what a statement looks at, not only what it changes. So
 *
 * - connections of the library's own read committed: no gaps are locked, and inserts of applications wait for nobody;
 * - each statement that deletes or updates rows is told to find them by the primary key: one that walked over another
 *   index or the whole table would wait for the uncommitted rows of applications, or of relays that settle other lanes;
 * - rows are copied by INSERT … SELECT, which under READ COMMITTED locks nothing that it reads.
 *
 * A column that is null comes first in an index. Held messages have no available_at, so what is due is found by
 * due_at, which is never null.
 *
 * What differs on MySQL stands in comments that only one of the two executes; it was not run there. */
#include "driver.h"
#include "probes.h"

#define FREE "l.lane >= 0 AND (l.owner IS NULL OR l.lease_until < {now})"

/* With ORDER BY … LIMIT 1 a subquery reads one entry of the index; MIN() would read all of the lane's. */
#define NEW "(SELECT m.seq FROM {messages} m FORCE INDEX (lane_seq) WHERE m.lane = l.lane ORDER BY m.seq LIMIT 1)"
#define NEXT_DUE "(SELECT d.due_at FROM {deferred} d FORCE INDEX (due) WHERE d.lane = l.lane ORDER BY d.due_at LIMIT 1)"
/* The nearest of a deferred message's key on one side of it, in one state. */
#define OF_KEY(side, state, order)                                                                                      \
    "(SELECT f.seq FROM {deferred} f FORCE INDEX (key_state) WHERE f.lane = m.lane AND f.key_hash = m.key_hash AND "    \
    "f.state = " state " AND f.seq " side " m.seq AND m.key_hash <> 0 ORDER BY f.seq " order " LIMIT 1)"
#define FIRST_OF_KEY(state)                                                                                              \
    "(SELECT f.seq FROM {deferred} f FORCE INDEX (key_state) WHERE f.lane = m.lane AND f.key_hash = m.key_hash AND "    \
    "f.state = " state " ORDER BY f.seq LIMIT 1)"

#define MESSAGE                                                                                                         \
    "m.lane, m.seq, m.id, m.topic, m.partition_key, m.payload, m.headers, m.content_type, m.message_type, "             \
    "m.max_attempts, m.created_at, m.available_at, CASE WHEN m.available_at > {now} THEN 2 ELSE 1 END, NULL, NULL, 0, 0"

/* For packed.h. Sizes are of what the table holds: where the connection has another character set, a text with other letters
 * does not fit them. One that is larger than max_allowed_packet is NULL, as is all with sql_mode = EMPTY_STRING_IS_NULL. */
#define OR_EMPTY(column) "COALESCE(m." column ", '')"
#define SIZE(column) "COALESCE(LENGTH(m." column "), '')"
#define OPTIONAL                                                                                                        \
    "CASE WHEN COALESCE(m.headers, m.content_type, m.message_type, m.max_attempts, m.available_at) IS NULL THEN '' "    \
    "ELSE CONCAT(',', " OR_EMPTY("available_at") ", CASE WHEN m.available_at > {now} THEN ',2,' ELSE ',1,' END, "       \
    OR_EMPTY("max_attempts") ", ',', " SIZE("headers") ", ',', " SIZE("content_type")                                   \
    ", ',', " SIZE("message_type") ") END"
#define PACKED                                                                                                          \
    "SELECT CONCAT(';;', COALESCE((SELECT MIN(d.seq) FROM {deferred} d WHERE d.lane = :lane), '')) UNION ALL "          \
    "(SELECT CASE WHEN {bytes} <= :bytes THEN CONCAT(m.seq, ',', m.created_at, ',', LENGTH(m.payload), ',', "           \
    "LENGTH(m.topic), ',', " SIZE("partition_key") ", " OPTIONAL ", ';', m.id, m.topic, "                               \
    OR_EMPTY("partition_key") ", " OR_EMPTY("headers") ", " OR_EMPTY("content_type") ", "                               \
    OR_EMPTY("message_type") ", HEX(m.payload)) ELSE '' END FROM {messages} m FORCE INDEX (lane_seq) "                  \
    "WHERE m.lane = :lane ORDER BY m.lane, m.seq LIMIT :limit)"

/* A table of VALUES has the types that its rows have when the statement is prepared, and a parameter then is a short
 * number, to which greater ones are cut without a word. The first row, which is no message's, makes them long. */
#define ROW "/*!80019 ROW */"
#define OUTCOMES                                                                                                        \
    "WITH v (vseq, vstate, vattempts, vdelay, verror, vkey) AS (VALUES " ROW "(9223372036854775807, 0, "                \
    "9223372036854775807, 9223372036854775807, CAST(NULL AS {text}), 9223372036854775807), [[" ROW OUTBOX_OUTCOME "]])"

static const char *const dbms[] = { "MariaDB", "MySQL", NULL };

/* A relay that is stopped in the middle of a transaction must not keep its locks; one that waits for a lock must not
 * wait as long as a lease lasts. Values that do not fit are refused, not cut. */
static const char *const setup[] = {
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', SESSION innodb_lock_wait_timeout = 10"
    "/*M!100301 , SESSION idle_transaction_timeout = 60 */",
    NULL,
};

#define PERMISSION                                                                                                      \
    "the user needs SELECT, INSERT, UPDATE and DELETE on the outbox's tables; to migrate, also CREATE, CREATE VIEW "    \
    "and CREATE ROUTINE"

/* By the server's numbers: to many of them it says HY000. */
static const struct outbox_errclass errors[] = {
    /* Only the statement was rolled back; but what it was a part of is to be repeated as a whole. */
    { "", 1205, NULL, OUTBOX_ERR_CONFLICT, "database.lock_timeout",
      N_("somebody holds a lock for longer than innodb_lock_wait_timeout: roll back and repeat the transaction") },
    /* Everything was rolled back, and what follows without a new beginning is committed by itself. */
    { "", 1213, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL },
    { "", 1020, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL }, /* a row changed since the snapshot: innodb_snapshot_isolation */
    { "", 1412, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL }, /* a table did */
    { "40", 0, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL },
    { "", 1317, NULL, OUTBOX_ERR_CONFLICT, "database.cancelled",
      N_("the statement was cancelled by somebody: repeat the transaction") },
    { "", 1969, NULL, OUTBOX_ERR_CONFLICT, "database.cancelled",
      N_("the statement was cancelled, by max_statement_time: repeat the transaction") },
    { "", 1062, "dedup", OUTBOX_ERR_DUPLICATE, NULL, OUTBOX_ADVICE_DEDUP },
    { "", 1062, NULL, OUTBOX_ERR_DUPLICATE, NULL, NULL },
    { "", 1290, NULL, OUTBOX_ERR_READONLY, NULL, NULL },
    { "", 1047, "WSREP", OUTBOX_ERR_READONLY, NULL,
      N_("this node of the cluster has no majority with it, or is not up to date yet: try again later, or on another "
         "node") },
    { "", 1792, NULL, OUTBOX_ERR_READONLY, NULL, NULL },
    { "", 1836, NULL, OUTBOX_ERR_READONLY, NULL, NULL },
    { "", 1049, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "", 1054, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "", 1146, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "", 1021, NULL, OUTBOX_ERR_DATABASE, "database.full", N_("make room on the server's disk") },
    { "", 1114, NULL, OUTBOX_ERR_DATABASE, "database.full", N_("make room on the server's disk") },
    { "", 1040, NULL, OUTBOX_ERR_DATABASE, "database.resources",
      N_("the server lacks connections: raise max_connections") },
    { "", 1044, NULL, OUTBOX_ERR_DATABASE, "database.permission", PERMISSION },
    { "", 1142, NULL, OUTBOX_ERR_DATABASE, "database.permission", PERMISSION },
    { "", 1370, NULL, OUTBOX_ERR_DATABASE, "database.permission", PERMISSION },
    { "", 1053, NULL, OUTBOX_ERR_LOST, NULL, NULL }, /* the server shuts down */
    { "", 1927, NULL, OUTBOX_ERR_LOST, NULL, NULL }, /* killed, perhaps by idle_transaction_timeout */
    { "", 2006, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "", 2013, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "", 2055, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "08", 0, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "", 0, NULL, 0, NULL, NULL },
};

const struct outbox_driver outbox_driver__mariadb = {
    .name = "mariadb",
    .dialect = "mariadb",
    .dbms = dbms,
    .quote = "`",
    /* Not from NOW(), which is told in the session's zone: in autumn one hour comes twice. */
    .now = "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)))",
    .bytes = "LENGTH(m.payload) + COALESCE(LENGTH(m.headers), 0)",
    .limit = "LIMIT :limit",
    .text = "CHAR(1000)",
    .number = "SIGNED",
    .id = ":id",
    .sequence = "BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY",
    .uuid = "CHAR(36)",
    .long_text = "LONGTEXT",
    .long_bytes = "LONGBLOB",
    /* Without these, a table is in the character set and collation of its database: latin1, where 'a' = 'A'. */
    .table_end = " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 "
                 "COLLATE=/*M!100201 utf8mb4_nopad_bin *//*!80017 utf8mb4_0900_bin */",
    /* Statements that make tables commit: what an attempt left behind that failed is taken over. */
    .if_not_exists = "IF NOT EXISTS ",
    .insert_new = "INSERT IGNORE INTO",
    .begin = "START TRANSACTION",
    .commit = "COMMIT",
    .rollback = "ROLLBACK",
    .create_schema = "CREATE SCHEMA IF NOT EXISTS {schema}",
    .setup = setup,
    .impatience = "SET SESSION innodb_lock_wait_timeout = 0", /* not at all; MySQL takes a second for it */
    .errors = errors,
    .probes = outbox_probes__mariadb,
    .sql = {
        /* A transaction that is open says so itself. (MySQL does not: it refuses the call.) */
        [Q_MARK] = "SELECT 1",
        [Q_MARKED] = "SELECT @@in_transaction",
        [Q_CHARSET] = "SELECT @@character_set_client",
        [Q_PACKET] = "SELECT @@max_allowed_packet",
        [Q_CANDIDATES] = "SELECT l.lane, l.token FROM {lanes} l WHERE " FREE " AND (" NEW " IS NOT NULL OR " NEXT_DUE
                         " <= {now}) ORDER BY l.lease_until, l.lane",
        /* Only MariaDB can say so for a statement. */
        [Q_TAKE] = "/*M!100108 SET STATEMENT innodb_lock_wait_timeout = 0 FOR */ " OUTBOX_TAKE,
        [Q_READ] = "SELECT " MESSAGE ", NULL, (SELECT MIN(d.seq) FROM {deferred} d WHERE d.lane = :lane) "
                   "FROM {messages} m FORCE INDEX (lane_seq) WHERE m.lane = :lane AND m.seq <= :seq "
                   "ORDER BY m.seq LIMIT :limit",
        [Q_READ_PACKED] = PACKED,
        [Q_SIZES] = "SELECT m.seq, {bytes} FROM {messages} m FORCE INDEX (lane_seq) WHERE m.lane = :lane "
                    "ORDER BY m.seq LIMIT :limit",
        [Q_DELETE] = "DELETE m FROM {messages} m FORCE INDEX (PRIMARY) WHERE m.lane = :lane AND m.seq IN ([[:seq]])",
        [Q_FAIL] = "INSERT INTO {deferred} (lane, seq, " OUTBOX_COPIED ", state, attempts, available_at, last_error, "
                   "key_hash, deferred_at) " OUTCOMES " SELECT lane, seq, " OUTBOX_COPIED ", vstate, vattempts, "
                   "CASE WHEN vstate = 2 THEN available_at ELSE {now} + vdelay END, verror, vkey, {now} FROM {messages} "
                   "JOIN v ON vseq = seq WHERE lane = :lane",
        /* UPDATE takes no WITH here; a table that is joined may begin with one. */
        [Q_FAIL_DEFERRED] =
            "UPDATE {deferred} d JOIN (" OUTCOMES " SELECT * FROM v) w "
            "ON w.vseq = d.seq SET d.state = w.vstate, d.attempts = w.vattempts, d.available_at = {now} + w.vdelay, "
            "d.last_error = w.verror, d.deferred_at = {now} WHERE d.lane = :lane",
        [Q_DUE] = "SELECT m.seq, m.key_hash, {bytes}, m.state, " OF_KEY("<", "3", "DESC") ", " OF_KEY("<", "5", "DESC") ", "
                  OF_KEY(">", "3", "ASC") ", " OF_KEY(">", "5", "ASC") ", " OF_KEY(">", "4", "ASC") " "
                  "FROM {deferred} m FORCE INDEX (due) WHERE m.lane = :lane AND m.due_at <= {now} "
                  "ORDER BY m.due_at, m.seq LIMIT :limit",
        [Q_DEFERRED_PARK] = "UPDATE {deferred} FORCE INDEX (PRIMARY) SET state = 4, available_at = NULL WHERE "
                            "lane = :lane AND available_at IS NOT NULL AND seq IN ([[:seq]])",
        [Q_DEFERRED_DELETE] = "DELETE d FROM {deferred} d FORCE INDEX (PRIMARY) WHERE d.lane = :lane AND "
                              "d.seq IN ([[:seq]])",
        /* DISTINCT: the table that is joined is made before the one it was read from is changed. */
        [Q_PROMOTE] =
            "UPDATE {deferred} d JOIN (SELECT DISTINCT g.seq FROM (SELECT f.key_hash, MIN(f.seq) AS seq FROM {deferred} f "
            "FORCE INDEX (key_state) WHERE f.lane = :lane AND f.key_hash IN ([[:key_hash]]) AND f.state = 4 "
            "GROUP BY f.lane, f.key_hash) g WHERE NOT EXISTS (SELECT 1 FROM {deferred} h WHERE h.lane = :lane AND "
            "h.key_hash = g.key_hash AND h.state IN (3, :dead) AND h.seq < g.seq)) p ON p.seq = d.seq "
            "SET d.state = 3, d.available_at = {now} WHERE d.lane = :lane",
        [Q_STRANDED] =
            "SELECT DISTINCT m.lane, m.key_hash FROM {deferred} m WHERE m.state = 5 AND m.key_hash <> 0 AND "
            FIRST_OF_KEY("4") " < COALESCE(" FIRST_OF_KEY("3") ", 9223372036854775807) ORDER BY m.lane, m.key_hash "
            "LIMIT :limit",
        [Q_ARCHIVE_DELETE] = "DELETE p FROM {published} p FORCE INDEX (PRIMARY) WHERE p.lane = :lane AND "
                             "p.seq IN ([[:seq]])",
        [Q_DEDUP_DELETE] = "DELETE d FROM {dedup} d FORCE INDEX (PRIMARY) WHERE d.dedup_key IN ([[:dedup]])",
        /* A row that stays as it is does not count as changed: in a cluster (Galera) the lock would be this node's only.
         * Nothing else uses the column where rows are deleted. */
        [Q_LOCK_LANE] = "UPDATE {lanes} SET cleaned = cleaned + 1 WHERE lane = :lane",
        [Q_REDRIVE] = "UPDATE {deferred} FORCE INDEX (PRIMARY) SET "
                      "attempts = CASE WHEN state = 5 THEN 0 ELSE attempts END, state = 3, "
                      "available_at = {now} + :delay WHERE lane = :lane AND state = :state AND seq IN ([[:seq]])",
    },
};
