/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the library relies on in psqlODBC, PostgreSQL, libsqliteodbc and SQLite, without the library. When one of these
 * fails after an upgrade, the drivers have to be looked at.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib-test.h"

static SQLHSTMT statement(struct db *db)
{
    SQLHSTMT stmt = NULL;

    SQLAllocHandle(SQL_HANDLE_STMT, db->dbc, &stmt);
    return stmt;
}

static SQLRETURN direct(SQLHSTMT stmt, const char *sql)
{
    char copy[4096];

    snprintf(copy, sizeof copy, "%s", sql);
    return SQLExecDirect(stmt, (SQLCHAR *)copy, SQL_NTS);
}

/* Rows that a statement returns; -1 after an error. */
static int returned_rows(struct db *db, const char *sql, SQLRETURN *rc)
{
    SQLHSTMT stmt = statement(db);
    int rows = 0;

    *rc = direct(stmt, sql);
    if (!SQL_SUCCEEDED(*rc) && *rc != SQL_NO_DATA)
        rows = -1;
    while (rows >= 0 && SQL_SUCCEEDED(SQLFetch(stmt)))
        rows++;
    SQLFreeHandle(SQL_HANDLE_STMT, stmt);
    return rows;
}

static void native_error(SQLHSTMT stmt, char *state, SQLINTEGER *native)
{
    SQLCHAR text[512];

    strcpy(state, "?????");
    *native = -1;
    SQLGetDiagRec(SQL_HANDLE_STMT, stmt, 1, (SQLCHAR *)state, native, text, sizeof text, NULL);
}

/* ---- Both ---- */

static void test_seq_order(struct fixture *fx)
{
    char *sql = malloc(200000);
    int pg = target_is_postgresql(fx->target);
    size_t used;

    REQUIRE(sql != NULL, "out of memory");
    CHECK_INT(db_exec(&fx->db, pg ? "CREATE TABLE f_order (seq bigint GENERATED ALWAYS AS IDENTITY, n int)"
                                  : "CREATE TABLE f_order (seq INTEGER PRIMARY KEY, n int)"), 0);
    for (int round = 0; round < 5; round++) {
        used = (size_t)sprintf(sql, "INSERT INTO f_order (n) VALUES (%d)", round * 2000);
        for (int i = 1; i < 1999; i++)
            used += (size_t)sprintf(sql + used, ",(%d)", round * 2000 + i);
        CHECK_INT(db_exec(&fx->db, "%s", sql), 0);
    }
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM f_order a JOIN f_order b ON b.seq = a.seq + 1 WHERE b.n <= a.n"), 0);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM f_order"), 5 * 1999);
    free(sql);
}

static void test_row_count(struct fixture *fx)
{
    SQLHSTMT stmt = statement(&fx->db);
    SQLLEN count = 77;
    SQLRETURN rc;

    CHECK_INT(db_exec(&fx->db, "CREATE TABLE f_count (n int)"), 0);
    CHECK_INT(db_exec(&fx->db, "INSERT INTO f_count VALUES (1), (2), (3)"), 0);
    rc = direct(stmt, "UPDATE f_count SET n = n + 1 WHERE n > 1");
    CHECK(SQL_SUCCEEDED(rc), "UPDATE returned %d", rc);
    SQLRowCount(stmt, &count);
    CHECK_INT(count, 2);
    SQLFreeStmt(stmt, SQL_CLOSE);
    rc = direct(stmt, "UPDATE f_count SET n = 0 WHERE n > 100");
    CHECK(SQL_SUCCEEDED(rc) || rc == SQL_NO_DATA, "UPDATE of nothing returned %d", rc);
    SQLRowCount(stmt, &count);
    CHECK_INT(count, 0);
    SQLFreeHandle(SQL_HANDLE_STMT, stmt);
}

/* Ten megabytes with every byte, in and out. */
static void test_payload(struct fixture *fx)
{
    SQLHSTMT stmt = statement(&fx->db);
    SQLLEN size = 10 << 20, got = 0;
    unsigned char *in = malloc((size_t)size), *out = malloc((size_t)size);

    REQUIRE(in != NULL && out != NULL, "out of memory");
    for (SQLLEN i = 0; i < size; i++)
        in[i] = (unsigned char)(i * 131 + i / 255);
    CHECK_INT(db_exec(&fx->db, target_is_postgresql(fx->target) ? "CREATE TABLE f_bytes (b bytea)"
                                                                : "CREATE TABLE f_bytes (b blob)"), 0);
    SQLBindParameter(stmt, 1, SQL_PARAM_INPUT, SQL_C_BINARY, SQL_VARBINARY, (SQLULEN)size, 0, in, size, &size);
    CHECK(SQL_SUCCEEDED(direct(stmt, "INSERT INTO f_bytes VALUES (?)")), "INSERT failed");
    SQLFreeStmt(stmt, SQL_CLOSE);
    SQLFreeStmt(stmt, SQL_RESET_PARAMS);
    CHECK(SQL_SUCCEEDED(direct(stmt, "SELECT b FROM f_bytes")), "SELECT failed");
    CHECK(SQL_SUCCEEDED(SQLFetch(stmt)), "no row");
    CHECK(SQL_SUCCEEDED(SQLGetData(stmt, 1, SQL_C_BINARY, out, 10 << 20, &got)), "no data");
    CHECK_INT(got, 10 << 20);
    CHECK(memcmp(in, out, 10 << 20) == 0, "the bytes differ");
    SQLFreeHandle(SQL_HANDLE_STMT, stmt);
    free(in);
    free(out);
}

/* ---- PostgreSQL ---- */

static void test_pg_no_data(struct fixture *fx)
{
    SQLRETURN rc;

    CHECK_INT(db_exec(&fx->db, "CREATE TABLE f_none (n int)"), 0);
    CHECK_INT(returned_rows(&fx->db, "UPDATE f_none SET n = 1 RETURNING n", &rc), 0);
    CHECK(rc == SQL_NO_DATA || SQL_SUCCEEDED(rc), "UPDATE … RETURNING of nothing returned %d", rc);
    CHECK_INT(db_exec(&fx->db, "INSERT INTO f_none VALUES (1), (2)"), 0);
    CHECK_INT(returned_rows(&fx->db, "UPDATE f_none SET n = 1 RETURNING n", &rc), 2);
    CHECK_INT(returned_rows(&fx->db, "WITH d AS (DELETE FROM f_none RETURNING n) SELECT n FROM d", &rc), 2);
}

/* COMMIT of an aborted transaction says success: the library must know by itself. */
static void test_pg_commit_lies(struct fixture *fx)
{
    struct db db;

    REQUIRE_INT(db_open(&db, fx->dsn, 0), 0);
    db.quiet = 1;
    CHECK_INT(db_exec(&db, "CREATE TABLE f_lie (n int PRIMARY KEY)"), 0);
    CHECK_INT(db_commit(&db), 0);
    CHECK_INT(db_exec(&db, "INSERT INTO f_lie VALUES (1)"), 0);
    CHECK_INT(db_exec(&db, "INSERT INTO f_lie VALUES (1)"), -1);
    CHECK(strncmp(db.error, "23505", 5) == 0, "the SQLSTATE of a duplicate: %s", db.error);
    tap_note("COMMIT of an aborted transaction says %s", db_commit(&db) == 0 ? "success" : "failure");
    CHECK_INT(db_int(&db, "SELECT count(*) FROM f_lie"), 0);
    db_close(&db);
}

/* The defaults of a row are evaluated in column order: a transaction has its number before it draws from the sequence,
 * also when columns are named in another order, for INSERT … SELECT, and for many rows. */
static void test_pg_default_order(struct fixture *fx)
{
    static const char *const inserts[] = {
        "INSERT INTO f_def (b, a) VALUES (1, 1), (2, 2)",
        "INSERT INTO f_def (a) SELECT i FROM generate_series(1, 10) i",
        "INSERT INTO f_def (a, b) SELECT i, i FROM generate_series(1, 10) i ORDER BY i DESC",
        "INSERT INTO f_def DEFAULT VALUES",
    };

    /* The second default fails unless the first has run. */
    CHECK_INT(db_exec(&fx->db, "CREATE FUNCTION f_has_xid() RETURNS bigint LANGUAGE plpgsql VOLATILE AS "
                      "'BEGIN IF pg_current_xact_id_if_assigned() IS NULL THEN RAISE EXCEPTION ''no xid yet''; END IF; "
                      "RETURN 1; END'"), 0);
    CHECK_INT(db_exec(&fx->db, "CREATE TABLE f_def (tx xid8 NOT NULL DEFAULT pg_current_xact_id(), seq bigint NOT NULL "
                      "DEFAULT f_has_xid(), a int, b int)"), 0);
    for (size_t i = 0; i < COUNT_OF(inserts); i++)
        CHECK(db_exec(&fx->db, "%s", inserts[i]) == 0, "%s", inserts[i]);
    /* And the probe sees it when they stand the other way round. */
    CHECK_INT(db_exec(&fx->db, "CREATE TABLE f_rev (seq bigint NOT NULL DEFAULT f_has_xid(), tx xid8 NOT NULL DEFAULT "
                      "pg_current_xact_id(), a int)"), 0);
    fx->db.quiet = 1;
    CHECK_INT(db_exec(&fx->db, "INSERT INTO f_rev (a) VALUES (1)"), -1);
}

static void test_pg_uuid_case(struct fixture *fx)
{
    char *text = db_text(&fx->db, "SELECT '01890a5d-ac96-774b-bcce-b302099a8057'::uuid");

    tap_note("a uuid is read as %s", text ? text : "NULL");
    CHECK(text != NULL && strlen(text) == 36, "a uuid is not 36 characters");
    free(text);
}

/* The snapshot functions as settling by position uses them. */
static void test_pg_snapshots(struct fixture *fx)
{
    struct db other;

    REQUIRE_INT(db_open(&other, fx->dsn, 0), 0);
    CHECK_INT(db_exec(&fx->db, "CREATE TABLE f_snap (tx xid8 DEFAULT pg_current_xact_id(), s pg_snapshot)"), 0);
    CHECK_INT(db_exec(&other, "INSERT INTO f_snap DEFAULT VALUES"), 0);
    CHECK_INT(db_exec(&fx->db, "INSERT INTO f_snap (s) VALUES (pg_current_snapshot())"), 0);
    CHECK_INT(db_commit(&other), 0);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM f_snap late, f_snap seen WHERE seen.s IS NOT NULL AND late.s IS NULL "
                     "AND NOT pg_visible_in_snapshot(late.tx, seen.s) AND (late.tx IN (SELECT pg_snapshot_xip(seen.s)) "
                     "OR late.tx >= pg_snapshot_xmax(seen.s))"), 1);
    db_close(&other);
}

/* ---- SQLite ---- */

static void test_sqlite_returning(struct fixture *fx)
{
    SQLRETURN rc;

    CHECK_INT(db_exec(&fx->db, "CREATE TABLE f_ret (n INTEGER PRIMARY KEY, v int)"), 0);
    CHECK_INT(db_exec(&fx->db, "INSERT INTO f_ret (v) VALUES (1), (2), (3)"), 0);
    CHECK_INT(returned_rows(&fx->db, "WITH c(i) AS (SELECT 1) UPDATE f_ret SET v = v + 1 WHERE v > 1 RETURNING n", &rc), 2);
    CHECK_INT(returned_rows(&fx->db, "WITH c(i) AS (SELECT 1) DELETE FROM f_ret WHERE v > 2 RETURNING n", &rc), 2);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM f_ret"), 1);
    tap_note("UPDATE … RETURNING without WITH returns %d rows",
             returned_rows(&fx->db, "UPDATE f_ret SET v = 9 RETURNING n", &rc));
}

/* A writer in the way is error 5, a uniqueness violation 19, and both have the same SQLSTATE. */
static void test_sqlite_errors(struct fixture *fx)
{
    char busy[256], state[6];
    SQLINTEGER native;
    struct db other;
    SQLHSTMT stmt;

    CHECK_INT(db_exec(&fx->db, "CREATE TABLE f_err (n INTEGER PRIMARY KEY)"), 0);
    CHECK_INT(db_exec(&fx->db, "INSERT INTO f_err VALUES (1)"), 0);
    stmt = statement(&fx->db);
    CHECK(!SQL_SUCCEEDED(direct(stmt, "INSERT INTO f_err VALUES (1)")), "a duplicate was accepted");
    native_error(stmt, state, &native);
    CHECK_INT(native, 19);
    SQLFreeHandle(SQL_HANDLE_STMT, stmt);
    snprintf(busy, sizeof busy, "Driver=SQLite3;Database=%s;Timeout=1;JournalMode=WAL", fx->dsn + 7);
    REQUIRE_INT(db_open(&other, busy, 1), 0);
    CHECK_INT(db_exec(&fx->db, "BEGIN IMMEDIATE"), 0);
    stmt = statement(&other);
    CHECK(!SQL_SUCCEEDED(direct(stmt, "BEGIN IMMEDIATE")), "two writers at once");
    native_error(stmt, state, &native);
    CHECK_INT(native, 5);
    CHECK_INT(db_exec(&fx->db, "COMMIT"), 0);
    SQLFreeStmt(stmt, SQL_CLOSE);
    CHECK(SQL_SUCCEEDED(direct(stmt, "BEGIN IMMEDIATE")), "the lock was not released");
    SQLFreeStmt(stmt, SQL_CLOSE);
    CHECK(SQL_SUCCEEDED(direct(stmt, "ROLLBACK")), "no ROLLBACK");
    SQLFreeHandle(SQL_HANDLE_STMT, stmt);
    db_close(&other);
}

static void test_sqlite_wal(struct fixture *fx)
{
    char *mode = db_text(&fx->db, "PRAGMA journal_mode");

    CHECK_STR(mode, "wal");
    free(mode);
    CHECK(db_int(&fx->db, "SELECT sqlite_version() >= '3.35.0'") == 1, "RETURNING needs 3.35");
}

static void prepared(const struct target *target, const struct test *tests, size_t count, const char *only)
{
    /* No tables of the library's are made: these tests connect for themselves. */
    for (size_t i = 0; i < count; i++) {
        struct fixture fx;

        if (only != NULL && strstr(tests[i].name, only) == NULL)
            continue;
        tap_begin("%s: %s", target->database, tests[i].name);
        if (fixture_prepare(&fx, target) == 0 && CHECK_INT(db_open(&fx.db, fx.dsn, 1), 0))
            tests[i].run(&fx);
        fixture_close(&fx);
        tap_end();
    }
}

int main(int argc, char **argv)
{
    static const struct test both[] = {
        {"order of VALUES is the order of seq", test_seq_order, 1},
        {"rows of an UPDATE are counted", test_row_count, 1},
        {"10 MiB are exact", test_payload, 1},
    };
    static const struct test pg[] = {
        {"zero rows from RETURNING are no error", test_pg_no_data, 1},
        {"COMMIT after an error", test_pg_commit_lies, 1},
        {"defaults are evaluated in column order", test_pg_default_order, 1},
        {"case of a uuid", test_pg_uuid_case, 1},
        {"snapshots name who is in progress", test_pg_snapshots, 1},
    };
    static const struct test sqlite[] = {
        {"RETURNING behind WITH", test_sqlite_returning, 1},
        {"native error numbers", test_sqlite_errors, 1},
        {"WAL", test_sqlite_wal, 1},
    };
    const char *only = argc > 1 ? argv[1] : NULL;

    prepared(target_find("sqlite/position"), both, COUNT_OF(both), only);
    prepared(target_find("sqlite/position"), sqlite, COUNT_OF(sqlite), only);
    if (postgresql_dsn() != NULL) {
        prepared(target_find("postgresql/position"), both, COUNT_OF(both), only);
        prepared(target_find("postgresql/position"), pg, COUNT_OF(pg), only);
    }
    return tap_finish();
}
