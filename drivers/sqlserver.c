/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SQL Server 2016 and later, and Azure SQL, through Microsoft's driver or FreeTDS. Settles by delete.
 *
 * Readers wait for writers here, unless the database has READ_COMMITTED_SNAPSHOT on (Azure SQL has). So
 *
 * - looks for work pass over what is locked (READPAST): a message that is not committed is none yet, and a lane that
 *   somebody settles is taken; READCOMMITTEDLOCK, because READPAST is refused where readers use snapshots;
 * - a batch is read without it, as a message that is passed over would be overtaken by a later one of its key. Where
 *   readers use no snapshots, this waits for transactions that have inserted into the lane;
 * - a batch is read in two statements (Q_SIZES, Q_READ), so that it holds whatever was committed before the numbers
 *   that the first one saw.
 *
 * A statement takes 2100 parameters. Identity numbers are drawn in the order of an INSERT from an ordered SELECT. Text
 * goes as UTF-16, whatever the collation, and is compared by its bytes; as blanks at its end do not count in
 * comparisons, a key of dedup is kept with a full stop behind it. Nobody has run this on a server. */
#include "driver.h"

#include <sql.h>
#include <sqlext.h>
#include <sqlucode.h>

#define SKIP "WITH (READPAST, READCOMMITTEDLOCK)"
#define FREE "l.lane >= 0 AND (l.owner IS NULL OR l.lease_until < {now})"
#define NEW "(SELECT TOP (1) m.seq FROM {messages} m " SKIP " WHERE m.lane = l.lane ORDER BY m.seq)"
#define NEXT_DUE                                                                                                        \
    "(SELECT TOP (1) d.available_at FROM {deferred} d " SKIP " WHERE d.lane = l.lane AND d.available_at IS NOT NULL "   \
    "ORDER BY d.available_at)"

/* One statement each: VALUES as a table. */
#define OUTCOMES                                                                                                        \
    "(VALUES [[" OUTBOX_OUTCOME "]]) v (vseq, vstate, vattempts, vdelay, verror, vkey)"

static const char *const dbms[] = { "Microsoft SQL Server", NULL };

/* A relay that waits for a lock must not wait as long as a lease lasts. XACT_ABORT: after an error nothing of the
 * transaction is left, rather than all but the statement. */
static const char *const setup[] = {
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET LOCK_TIMEOUT 10000",
    "SET XACT_ABORT ON",
    "SET NOCOUNT OFF",
    NULL,
};

#define AZURE N_("the service moves or limits this database for the moment: try again")

/* By the server's numbers; SQLSTATEs are those of the drivers. */
static const struct outbox_errclass errors[] = {
    { "", 1205, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL },
    { "", 1222, NULL, OUTBOX_ERR_CONFLICT, "database.lock_timeout",
      N_("somebody holds a lock for longer than LOCK_TIMEOUT: roll back and repeat the transaction") },
    { "", 3960, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL }, /* a row changed since the snapshot */
    { "", 3961, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL }, /* a table did */
    { "", 41302, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL }, /* tables in memory */
    { "", 41305, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL },
    { "", 41325, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL },
    { "", 41301, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL },
    { "", 3930, NULL, OUTBOX_ERR_STATE, "database.aborted", OUTBOX_ADVICE_ABORTED },
    { "", 2601, "dedup", OUTBOX_ERR_DUPLICATE, NULL, OUTBOX_ADVICE_DEDUP },
    { "", 2627, "dedup", OUTBOX_ERR_DUPLICATE, NULL, OUTBOX_ADVICE_DEDUP },
    { "", 2601, NULL, OUTBOX_ERR_DUPLICATE, NULL, NULL },
    { "", 2627, NULL, OUTBOX_ERR_DUPLICATE, NULL, NULL },
    { "", 208, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "", 207, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "", 3906, NULL, OUTBOX_ERR_READONLY, NULL, NULL },
    { "", 3924, NULL, OUTBOX_ERR_READONLY, NULL, NULL }, /* a transaction that began on a secondary */
    { "", 976, NULL, OUTBOX_ERR_READONLY, NULL,
      N_("the server is a secondary that takes no connections of this kind: let the DSN lead to the group's "
         "listener") },
    { "", 983, NULL, OUTBOX_ERR_READONLY, NULL, N_("the availability group changes roles: try again") },
    { "", 1105, NULL, OUTBOX_ERR_DATABASE, "database.full", N_("make room in the database's files") },
    { "", 9002, NULL, OUTBOX_ERR_DATABASE, "database.full",
      N_("the transaction log is full: back it up, or let it grow") },
    { "", 40544, NULL, OUTBOX_ERR_DATABASE, "database.full", N_("the database has reached its size: raise its limit") },
    { "", 701, NULL, OUTBOX_ERR_DATABASE, "database.resources", N_("the server lacks memory") },
    { "", 1204, NULL, OUTBOX_ERR_DATABASE, "database.resources", N_("the server lacks memory for locks") },
    { "", 823, NULL, OUTBOX_ERR_DATABASE, "database.io", N_("the server cannot read or write its files: see its log") },
    { "", 824, NULL, OUTBOX_ERR_DATABASE, "database.corrupt", N_("the server's files are damaged: restore them") },
    { "", 229, NULL, OUTBOX_ERR_DATABASE, "database.permission",
      N_("the user needs SELECT, INSERT, UPDATE and DELETE on the outbox's tables") },
    { "", 262, NULL, OUTBOX_ERR_DATABASE, "database.permission",
      N_("to migrate, the user needs CREATE TABLE and CREATE VIEW") },
    { "", 2760, NULL, OUTBOX_ERR_DATABASE, "database.permission",
      N_("there is no such schema, or the user may not use it") },
    { "", 4060, NULL, OUTBOX_ERR_LOST, "database.resources", AZURE },
    { "", 4221, NULL, OUTBOX_ERR_LOST, "database.resources", AZURE },
    { "", 40143, NULL, OUTBOX_ERR_LOST, "database.resources", AZURE },
    { "", 40197, NULL, OUTBOX_ERR_LOST, "database.resources", AZURE },
    { "", 40501, NULL, OUTBOX_ERR_LOST, "database.resources", AZURE },
    { "", 40540, NULL, OUTBOX_ERR_LOST, "database.resources", AZURE },
    { "", 40613, NULL, OUTBOX_ERR_LOST, "database.resources", AZURE },
    { "", 49918, NULL, OUTBOX_ERR_LOST, "database.resources", AZURE },
    { "", 49919, NULL, OUTBOX_ERR_LOST, "database.resources", AZURE },
    { "", 49920, NULL, OUTBOX_ERR_LOST, "database.resources", AZURE },
    { "", 10928, NULL, OUTBOX_ERR_LOST, "database.resources", AZURE },
    { "", 10929, NULL, OUTBOX_ERR_LOST, "database.resources", AZURE },
    { "", 64, NULL, OUTBOX_ERR_LOST, NULL, NULL },  /* the network's, of Windows' numbers, from here on */
    { "", 233, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "", 10053, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "", 10054, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "", 10060, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "", 6005, NULL, OUTBOX_ERR_LOST, NULL, NULL },  /* the server shuts down */
    { "", 596, NULL, OUTBOX_ERR_LOST, NULL, NULL },   /* the session was killed */
    { "", 20004, NULL, OUTBOX_ERR_LOST, NULL, NULL }, /* FreeTDS: reading, writing, the server is gone */
    { "", 20006, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "", 20009, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "", 20047, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "HYT00", 0, NULL, OUTBOX_ERR_CONFLICT, "database.cancelled",
      N_("the statement took too long: repeat the transaction") },
    { "HYT01", 0, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "08", 0, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "40", 0, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL },
    { "42S02", 0, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "42S22", 0, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "", 0, NULL, 0, NULL, NULL },
};

const struct outbox_driver outbox_driver__sqlserver = {
    .name = "sqlserver",
    .dialect = "sqlserver",
    .dbms = dbms,
    .quote = "\"",
    .now = "(DATEDIFF_BIG(MICROSECOND, '1970-01-01', SYSUTCDATETIME()))",
    .bytes = "DATALENGTH(m.payload) + COALESCE(DATALENGTH(m.headers), 0)",
    .limit = "OFFSET 0 ROWS FETCH NEXT :limit ROWS ONLY",
    .text = "NVARCHAR(1000)",
    .number = "BIGINT",
    .id = ":id",
    .params = 2100,
    .bindings = { SQL_WVARCHAR, SQL_VARBINARY, SQL_WLONGVARCHAR, SQL_LONGVARBINARY, 4000, 0 },
    .sequence = "BIGINT IDENTITY(1, 1) NOT NULL PRIMARY KEY",
    .uuid = "CHAR(36)",
    .long_text = "NVARCHAR(MAX)",
    .long_bytes = "VARBINARY(MAX)",
    .table_end = "",
    .if_not_exists = "",
    .insert_new = "INSERT INTO",
    .migrate_lock = "EXEC sp_getapplock @Resource = 'outbox_migrate', @LockMode = 'Exclusive', @LockOwner = 'Transaction'",
    .create_schema = "IF SCHEMA_ID(REPLACE('{schema}', '\"', '')) IS NULL EXEC('CREATE SCHEMA {schema}')",
    .setup = setup,
    .errors = errors,
    .sql = {
        /* In autocommit there is none, unless somebody began one by SQL. */
        [Q_MARK] = "SELECT 1",
        [Q_MARKED] = "SELECT CASE WHEN @@TRANCOUNT > 0 THEN 1 ELSE 0 END",
        [Q_CHARSET] = "SELECT NCHAR(8364)",
        [Q_DEDUP] = "INSERT INTO {dedup} (dedup_key) VALUES [[(CAST(:dedup AS NVARCHAR(240)) + N'.')]]",
        /* Only an ORDER BY promises in which order the numbers are drawn. */
        [Q_INSERT] = "INSERT INTO {messages} (lane, id, topic, partition_key, payload, headers, content_type, "
                     "message_type, max_attempts, available_at) SELECT lane, id, topic, partition_key, payload, headers, "
                     "content_type, message_type, max_attempts, available_at FROM (VALUES [[(CAST(:lane AS SMALLINT), "
                     "CAST({id} AS CHAR(36)), CAST(:topic AS NVARCHAR(255)), CAST(:key AS NVARCHAR(255)), "
                     "CAST(:payload AS VARBINARY(MAX)), CAST(:headers AS NVARCHAR(MAX)), "
                     "CAST(:content_type AS NVARCHAR(255)), CAST(:message_type AS NVARCHAR(255)), "
                     "CAST(:max_attempts AS INTEGER), CAST(:available AS BIGINT), {row})]]) "
                     "v (lane, id, topic, partition_key, payload, headers, content_type, message_type, max_attempts, "
                     "available_at, ordinal) ORDER BY v.ordinal",
        /* What others have locked is passed over. No OUTPUT: it can say what it changed, but not whether any message of the
         * lane is deferred. */
        [Q_TAKE] = "UPDATE {lanes} WITH (READPAST, READCOMMITTEDLOCK, ROWLOCK) SET token = token + 1, "
                   "lease_until = {now} + :lease, suspect = CASE WHEN owner IS NULL THEN suspect WHEN batch > 1 THEN "
                   "-batch ELSE -1 END, owner = :owner, batch = :batch WHERE lane = :lane AND token = :token AND "
                   "(owner IS NULL OR lease_until < {now})",
        [Q_RENEW_ALL] = "UPDATE {lanes} WITH (READPAST, READCOMMITTEDLOCK, ROWLOCK) SET lease_until = {now} + :lease "
                        "WHERE owner = :owner",
        [Q_CANDIDATES] = "SELECT l.lane, l.token FROM {lanes} l " SKIP " WHERE " FREE " AND (" NEW " IS NOT NULL OR " NEXT_DUE
                         " <= {now}) ORDER BY l.lease_until, l.lane",
        [Q_FAIL] = "INSERT INTO {deferred} (lane, seq, " OUTBOX_COPIED ", state, attempts, available_at, last_error, "
                   "key_hash, deferred_at) SELECT lane, seq, " OUTBOX_COPIED ", vstate, vattempts, CASE WHEN vstate = 2 "
                   "THEN available_at ELSE {now} + vdelay END, verror, vkey, {now} FROM {messages} JOIN " OUTCOMES
                   " ON vseq = seq WHERE lane = :lane",
        [Q_FAIL_DEFERRED] =
            "UPDATE d SET state = vstate, attempts = vattempts, available_at = {now} + vdelay, last_error = verror, "
            "deferred_at = {now} FROM {deferred} d JOIN " OUTCOMES " ON vseq = d.seq WHERE d.lane = :lane",
    },
};
