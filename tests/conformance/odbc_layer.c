/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ODBC layer alone: values of every size in and out, row counts, errors and their classes. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arena.h"
#include "lib-test.h"
#include "odbc.h"
#include "secrets.h"

struct layer {
    const struct target *target;
    outbox_odbc *odbc;
    outbox_arena arena;
    struct fixture fx;
};

static struct outbox_value text_value(const char *text)
{
    struct outbox_value v = {text ? OUTBOX_T_TEXT : OUTBOX_T_NULL_TEXT, 0, text, text ? strlen(text) : 0};

    return v;
}

static struct outbox_value int_value(int64_t number)
{
    struct outbox_value v = {OUTBOX_T_INT, number, NULL, 0};

    return v;
}

static struct outbox_value bytes_value(const void *data, size_t size)
{
    struct outbox_value v = {OUTBOX_T_BYTES, 0, data, size};

    return v;
}

/* Inserts one row (n, t, b) through a prepared statement that is used again and again. */
static void insert(struct layer *l, outbox_stmt *stmt, int64_t n, const char *t, const void *b, size_t size)
{
    struct fixture *fx = &l->fx;
    struct outbox_value values[3] = {int_value(n), text_value(t), bytes_value(b, size)};
    int64_t rows = -1;

    if (b == NULL)
        values[2].type = OUTBOX_T_NULL_BYTES;
    for (size_t i = 0; i < 3; i++)
        OK(outbox_stmt__bind(stmt, i, &values[i], &fx->err));
    OK(outbox_stmt__execute(stmt, "insert", &rows, &fx->err));
    CHECK_INT(rows, 1);
    outbox_stmt__finish(stmt);
}

static void check_back(struct layer *l, int64_t n, const char *t, const void *b, size_t size)
{
    struct fixture *fx = &l->fx;
    struct outbox_value key = int_value(n), cells[3];
    outbox_stmt *stmt = NULL;

    memset(cells, 0, sizeof cells);
    MUST(outbox_odbc__prepare(l->odbc, "SELECT n, t, b FROM f_layer WHERE n = ?", 1, &stmt, &fx->err));
    OK(outbox_stmt__bind(stmt, 0, &key, &fx->err));
    OK(outbox_stmt__execute(stmt, "select", NULL, &fx->err));
    if (OK(outbox_stmt__fetch(stmt, "itb", cells, &l->arena, &fx->err))) {
        CHECK_INT(cells[0].number, n);
        CHECK_INT(cells[1].type, t ? OUTBOX_T_TEXT : OUTBOX_T_NULL_TEXT);
        CHECK(t == NULL || (cells[1].size == strlen(t) && memcmp(cells[1].data, t, strlen(t) + 1) == 0),
              "%zu bytes of text came back as %zu", t ? strlen(t) : 0, cells[1].size);
        CHECK_INT(cells[2].type, b ? OUTBOX_T_BYTES : OUTBOX_T_NULL_BYTES);
        CHECK(b == NULL || (cells[2].size == size && memcmp(cells[2].data, b, size) == 0),
              "%zu bytes came back as %zu, or others", size, cells[2].size);
        EXPECT(outbox_stmt__fetch(stmt, "itb", cells, &l->arena, &fx->err), OUTBOX_NONE);
    }
    outbox_stmt__finish(stmt);
    outbox_stmt__free(stmt);
    outbox_arena__reset(&l->arena);
}

/* Around the sizes at which buffers end, and far beyond. */
static void test_sizes(struct layer *l)
{
    static const size_t sizes[] = {0,     1,     2,     4095,  8191,  8192,  16382, 16383,   16384,
                                   16385, 32767, 32768, 65535, 65536, 65537, 99999, 1000000, 5000011};
    struct fixture *fx = &l->fx;
    char *bytes = malloc(5000012), *text = malloc(5000012);
    outbox_stmt *stmt = NULL;

    REQUIRE(bytes != NULL && text != NULL, "out of memory");
    MUST(outbox_odbc__prepare(l->odbc, "INSERT INTO f_layer (n, t, b) VALUES (?, ?, ?)", 3, &stmt, &fx->err));
    for (size_t i = 0; i < COUNT_OF(sizes) && !tap_failed(); i++) {
        for (size_t k = 0; k < sizes[i]; k++) {
            bytes[k] = (char)(k * 37 + k / 253);
            text[k] = (char)('a' + k % 26);
        }
        text[sizes[i]] = '\0';
        insert(l, stmt, (int64_t)i + 1, text, bytes, sizes[i]);
        check_back(l, (int64_t)i + 1, text, bytes, sizes[i]);
    }
    outbox_stmt__free(stmt);
    free(bytes);
    free(text);
}

static void test_values(struct layer *l)
{
    struct fixture *fx = &l->fx;
    outbox_stmt *stmt = NULL;
    char wide[16385 * 4 + 1];

    for (size_t i = 0; i + 4 < sizeof wide; i += 4)
        memcpy(wide + i, "😀", 4);
    wide[sizeof wide - 1] = '\0';
    MUST(outbox_odbc__prepare(l->odbc, "INSERT INTO f_layer (n, t, b) VALUES (?, ?, ?)", 3, &stmt, &fx->err));
    insert(l, stmt, INT64_MAX, NULL, NULL, 0);
    insert(l, stmt, INT64_MIN + 1, "", "", 0);
    insert(l, stmt, 0, "😀 שלום e\xcc\x81 ' \\ ? {x} $1", "\0\1\2\0", 4);
    insert(l, stmt, -1, wide, "\\x41", 4);
    check_back(l, INT64_MAX, NULL, NULL, 0);
    check_back(l, INT64_MIN + 1, "", "", 0);
    check_back(l, 0, "😀 שלום e\xcc\x81 ' \\ ? {x} $1", "\0\1\2\0", 4);
    check_back(l, -1, wide, "\\x41", 4);
    outbox_stmt__free(stmt);
}

/* As for drivers without integers of 64 bits, and for those that want to be told that a value is long. */
static void test_bindings(struct layer *l)
{
    static const struct outbox_bindings other = {SQL_VARCHAR, SQL_VARBINARY, SQL_LONGVARCHAR, SQL_LONGVARBINARY, 3, 1};

    if (!target_is_sqlite(l->fx.target)) {
        tap_skip("PostgreSQL takes no text for a number");
        return;
    }
    outbox_odbc__set_bindings(l->odbc, &other);
    test_values(l);
}

static void test_row_counts(struct layer *l)
{
    struct fixture *fx = &l->fx;
    struct outbox_value key = int_value(3);
    outbox_stmt *stmt = NULL, *none = NULL;
    int64_t rows = -1;

    OK(outbox_odbc__direct(l->odbc, "INSERT INTO f_layer (n) VALUES (1), (2), (3), (4), (5)", &fx->err));
    MUST(outbox_odbc__prepare(l->odbc, "DELETE FROM f_layer WHERE n > ?", 1, &stmt, &fx->err));
    OK(outbox_stmt__bind(stmt, 0, &key, &fx->err));
    OK(outbox_stmt__execute(stmt, "delete", &rows, &fx->err));
    CHECK_INT(rows, 2);
    outbox_stmt__finish(stmt);
    OK(outbox_stmt__execute(stmt, "delete", &rows, &fx->err));
    CHECK_INT(rows, 0);
    outbox_stmt__finish(stmt);
    key = int_value(1);
    OK(outbox_stmt__bind(stmt, 0, &key, &fx->err));
    OK(outbox_stmt__execute(stmt, "delete", &rows, &fx->err));
    CHECK_INT(rows, 2);
    outbox_stmt__free(stmt);
    /* Nothing to fetch is no error, whatever the driver returns from executing. */
    MUST(outbox_odbc__prepare(l->odbc, "SELECT n FROM f_layer WHERE n > 100", 0, &none, &fx->err));
    OK(outbox_stmt__execute(none, "select", NULL, &fx->err));
    EXPECT(outbox_stmt__fetch(none, "i", &key, &l->arena, &fx->err), OUTBOX_NONE);
    outbox_stmt__free(none);
}

static void test_transactions(struct layer *l)
{
    struct fixture *fx = &l->fx;

    for (int commit = 0; commit < 2; commit++) {
        OK(outbox_odbc__autocommit(l->odbc, 0, &fx->err));
        OK(outbox_odbc__direct(l->odbc, "INSERT INTO f_layer (n) VALUES (1)", &fx->err));
        CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM f_layer"), 0);
        OK(outbox_odbc__end(l->odbc, commit, &fx->err));
        OK(outbox_odbc__autocommit(l->odbc, 1, &fx->err));
        CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM f_layer"), commit);
    }
}

static void test_errors(struct layer *l)
{
    struct fixture *fx = &l->fx;
    outbox_odbc *none = NULL;
    int rc;

    OK(outbox_odbc__direct(l->odbc, "INSERT INTO f_layer (n) VALUES (1)", &fx->err));
    rc = outbox_odbc__direct(l->odbc, "INSERT INTO f_layer (n) VALUES (1)", &fx->err);
    CHECK(rc < 0, "a duplicate was accepted");
    EXPECT(rc, rc);
    CHECK(strstr(fx->message, "f_layer") != NULL, "no statement in: %s", fx->message);
    rc = outbox_odbc__direct(l->odbc, "SELECT * FROM no_such_table", &fx->err);
    CHECK(rc < 0, "a missing table was found");
    EXPECT(rc, rc);
    /* The connection is none the worse. */
    OK(outbox_odbc__direct(l->odbc, "INSERT INTO f_layer (n) VALUES (2)", &fx->err));
    EXPECT(outbox_odbc__open("Driver={No such driver};PWD=s3cr3t", &none, &fx->err), OUTBOX_ERR_CONNECT);
    CHECK(none == NULL && strstr(fx->message, "s3cr3t") == NULL, "a password in: %s", fx->message);
}

/* A call that fails with a name, and says so many things, in one line. */
static void check_said(struct layer *l, int rc, const char *name, const char *const *said)
{
    struct fixture *fx = &l->fx;
    const char *p;

    CHECK(rc < 0, "%s did not fail", name);
    EXPECT(rc, rc);
    CHECK_STR(fx->name, name);
    for (; *said != NULL; said++)
        CHECK(strstr(fx->message, *said) != NULL, "no \"%s\" in: %s", *said, fx->message);
    CHECK(strstr(fx->message, "  ") == NULL && strstr(fx->message, "Error while") == NULL, "noise in: %s", fx->message);
    for (p = fx->message; *p != '\0'; p++)
        CHECK((unsigned char)*p >= ' ', "a control character in: %s", fx->message);
}

/* A connection that fails: which one, why, and what to do. */
static void test_connect_errors(struct layer *l)
{
    static const struct {
        const char *database, *dsn, *name, *said[4];
    } cases[] = {
        { "sqlite", "no_such.db", "database.no_dsn", { "DSN no_such.db", "sqlite:PATH" } },
        { "sqlite", "Driver=Nope;Database=d", "database.no_driver", { "Nope", "libsqliteodbc, odbc-postgresql" } },
        { "sqlite", "sqlite:/no/such/folder/x.db", "database.file", { "database /no/such/folder/x.db", "its folder" } },
        { "sqlite", "Driver={FreeTDS};Server=127.0.0.1;Port=1;Database=x;UID=u;PWD=s3cr3t;TDS_Version=7.4",
          "database.connect", { "database x on 127.0.0.1", "native 20009", "is the server there" } },
        { "sqlite", "postgresql://u:s3cr3t@h/d?sslmode=require", "conn.url", { "postgresql://…", "Servername=" } },
        { "sqlite", "mysql://h/d", "conn.url", { "mysql://…", "connection string" } },
        { "postgresql", "Database=nodb;Username=outbox", "database.unknown", { "database nodb on", "\"nodb\"", "create it" } },
        { "postgresql", "Database=outbox_test;Username=nouser", "database.password", { "\"nouser\"", "no such user" } },
        { "postgresql", "Database=outbox_test;Username=outbox;Port=9", "database.connect", { "is the server there" } },
    };
    struct fixture *fx = &l->fx;
    char dsn[600];

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        outbox_conn *conn = NULL;

        if (strcmp(cases[i].database, fx->target->database) != 0)
            continue;
        snprintf(dsn, sizeof dsn, "%s", cases[i].dsn);
        if (target_is_postgresql(fx->target))
            snprintf(dsn, sizeof dsn, "Driver={PostgreSQL Unicode};Servername=%s;%s%s", getenv("PGHOST"), cases[i].dsn,
                     strstr(cases[i].dsn, "Port=") == NULL ? ";Port=5432" : "");
        check_said(l, outbox_conn_open(dsn, fx->conf, &conn, &fx->err), cases[i].name, cases[i].said);
        CHECK(strstr(fx->message, "s3cr3t") == NULL, "a password in: %s", fx->message);
        outbox_conn_close(conn);
    }
}

/* A statement that fails: on which database, what was wrong, and advice for whoever reads it. */
static void test_advice(struct layer *l)
{
    static const char *const again[] = { "dedup_key request 4711", "enqueued before, so roll back", NULL };
    static const char *const id[] = { "the id 01890a5d-ac96-774b-bcce-b302099a8057", "enqueued before", NULL };
    static const char *const aborted[] = { "roll back, then repeat the transaction", NULL };
    static const char *const missing[] = { "(database ", "outboxctl migrate", NULL };
    static const char *const mismatch[] = { "leads to", "leave the setting at auto", NULL };
    struct fixture *fx = &l->fx;
    const char *other = target_is_postgresql(fx->target) ? "sqlite" : "postgresql";
    outbox_message m = text_message("t", "k", "1"), n = m;
    outbox_conn *conn = fixture_connect(fx), *wrong = NULL;

    REQUIRE(conn != NULL, "no connection");
    check_said(l, outbox_enqueue(conn, &m, 1, NULL, &fx->err), "schema.missing", missing);
    MUST(outbox_migrate(conn, NULL, &fx->err));
    m.dedup_key = "request 4711";
    n.id = "01890A5D-AC96-774B-BCCE-B302099A8057";
    OK(outbox_enqueue(conn, &m, 1, NULL, &fx->err));
    OK(outbox_enqueue(conn, &n, 1, NULL, &fx->err));
    check_said(l, outbox_enqueue(conn, &m, 1, NULL, &fx->err), "database.duplicate", again);
    OK(outbox_conn_begin(conn, &fx->err));
    check_said(l, outbox_enqueue(conn, &n, 1, NULL, &fx->err), "database.duplicate", id);
    n.id = NULL;
    if (target_is_postgresql(fx->target))
        check_said(l, outbox_enqueue(conn, &n, 1, NULL, &fx->err), "database.aborted", aborted);
    OK(outbox_conn_rollback(conn, &fx->err));
    fixture_set(fx, "driver", other);
    check_said(l, outbox_conn_open(fx->dsn, fx->conf, &wrong, &fx->err), "driver.mismatch", mismatch);
    outbox_conn_close(wrong);
    fixture_set(fx, "driver", "auto");
}

/* What PostgreSQL's roles lack: the advice differs by what was denied. */
static void test_denied(struct layer *l)
{
    static const char *const table[] = { "permission denied for table", "permissions.md", NULL };
    static const char *const schema[] = { "permission denied for schema", "CREATE too", NULL };
    static const char *const database[] = { "permission denied for database", "CREATE on the database", NULL };
    struct fixture *fx = &l->fx;
    outbox_message m = text_message("t", "k", "1");
    outbox_conn *conn = NULL;
    char dsn[600];

    if (!target_is_postgresql(fx->target)) {
        tap_skip("PostgreSQL's");
        return;
    }
    CHECK_INT(db_exec(&fx->db, "CREATE ROLE nothing LOGIN"), 0);
    snprintf(dsn, sizeof dsn, "%s;Username=nothing", fx->dsn);
    REQUIRE(fixture_migrate(fx) == 0, "no tables");
    if (OK(outbox_conn_open(dsn, fx->conf, &conn, &fx->err)))
        check_said(l, outbox_enqueue(conn, &m, 1, NULL, &fx->err), "database.permission", table);
    outbox_conn_close(conn);
    conn = NULL;
    fixture_set(fx, "schema.prefix", "denied_");
    if (OK(outbox_conn_open(dsn, fx->conf, &conn, &fx->err)))
        check_said(l, outbox_migrate(conn, NULL, &fx->err), "database.permission", schema);
    outbox_conn_close(conn);
    conn = NULL;
    fixture_set(fx, "schema.name", "denied");
    if (OK(outbox_conn_open(dsn, fx->conf, &conn, &fx->err)))
        check_said(l, outbox_migrate(conn, NULL, &fx->err), "database.permission", database);
    outbox_conn_close(conn);
    CHECK_INT(db_exec(&fx->db, "DROP ROLE nothing"), 0);
}

/* No piece of a password may be left, in whatever a driver manager, a driver or libpq quotes. */
static void test_secrets(struct layer *l)
{
    static const char *const quoted[] = {
        "cannot use DSN=x;PWD={alpha;bravo}}charlie};UID=u", "PWD={alpha;bravo}}charlie", "pwd = alpha bravo charlie;UID=u",
        "Password=alpha bravo;sslpassword=charlie", "pqopt={user=u password=alpha;bravo'}}charlie sslmode=x};UID=u",
        "pqopt=password='alpha bravo' sslpassword=charlie", "D5={passwd = alpha}}bravo}} charlie}", "PWD={}}alpha}}}};bravo}",
        "postgresql://u:alpha@host/db?password=bravo", "pqopt={postgresql://u:alpha:bravo@host}", "PWD=alpha=bravo{charlie",
    };
    static const char *const strings[] = {
        "PWD={alpha;bravo}}charlie}", "Pwd = alpha bravo charlie ", "pqopt={password=alpha bravo charlie}",
        "pqopt={application_name=x password='alpha bravo' charlie}", "Password=alpha;passwd=bravo;PWD={charlie}",
    };
    char text[256];

    (void)l;
    for (size_t i = 0; i < COUNT_OF(quoted); i++) {
        snprintf(text, sizeof text, "%s", quoted[i]);
        outbox_secrets__hide(text);
        CHECK(strlen(text) == strlen(quoted[i]), "of another length: %s", text);
        CHECK(!strstr(text, "alpha") && !strstr(text, "bravo") && !strstr(text, "charlie"), "left: %s", text);
    }
    for (size_t i = 0; i < COUNT_OF(strings); i++) {
        snprintf(text, sizeof text, "missing \"=\" after \"alpha\" or 'bravo' in charlie");
        outbox_secrets__hide_known(text, strings[i]);
        CHECK(!strstr(text, "alpha") && !strstr(text, "bravo") && strstr(text, "missing"), "left: %s", text);
        CHECK(!strstr(text, "charlie"), "left: %s", text);
    }
    snprintf(text, sizeof text, "password authentication failed for user {u}; UID=u;PWD=x;Port=1");
    outbox_secrets__hide(text);
    CHECK_STR(text, "password authentication failed for user {u}; UID=u;PWD=*;Port=1");
}

/* What libpq itself quotes of words that it cannot read. */
static void test_quoted_secrets(struct layer *l)
{
    static const char *const more[] = { "pqopt={password=alpha bravo}", "pqopt={password='alpha bravo}",
                                        "pqopt={passwordx=alpha password=bravo}", "PWD={alpha;}}bravo}" };
    struct fixture *fx = &l->fx;
    outbox_odbc *none = NULL;
    char text[600];

    if (!target_is_postgresql(fx->target)) {
        tap_skip("libpq's");
        return;
    }
    for (size_t i = 0; i < COUNT_OF(more); i++) {
        snprintf(text, sizeof text, "Driver={PostgreSQL Unicode};Servername=/nonexistent;Database=d;Username=u;%s", more[i]);
        EXPECT(outbox_odbc__open(text, &none, &fx->err), OUTBOX_ERR_CONNECT);
        tap_note("%s", fx->message);
        CHECK(strstr(fx->message, "alpha") == NULL && strstr(fx->message, "bravo") == NULL, "left: %s", fx->message);
    }
}

/* The file has the name that was given, and no other one appears. */
static void open_path(struct layer *l, const char *directory, const char *name)
{
    struct fixture *fx = &l->fx;
    outbox_conn *conn = NULL;
    char dsn[512];
    struct dirent *entry;
    DIR *dir;

    snprintf(dsn, sizeof dsn, "sqlite:%s/%s", directory, name);
    if (OK(outbox_conn_open(dsn, fx->conf, &conn, &fx->err)))
        OK(outbox_migrate(conn, NULL, &fx->err));
    CHECK(access(dsn + 7, F_OK) == 0, "no file %s", dsn + 7);
    dir = opendir(directory);
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        CHECK(strncmp(entry->d_name, name, strlen(name)) == 0 || entry->d_name[0] == '.', "%s appeared", entry->d_name);
    if (dir != NULL)
        closedir(dir);
    outbox_conn_close(conn);
    unlink(dsn + 7);
}

static void test_paths(struct layer *l)
{
    static const char *const names[] = { "plain", "a;b", "a;Driver=x;", "{a}", "a{b}}c", "a b", " a ", "a=b", "\303\251t\303\251",
                                         "%41", "a?b#c", "a?;b#%3B", "'q\"", "}", "a&mode=ro", "a;?mode=memory", ";" };
    struct fixture *fx = &l->fx;
    char directory[96];

    if (target_is_postgresql(fx->target)) {
        tap_skip("SQLite's");
        return;
    }
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        snprintf(directory, sizeof directory, "%s/p%zu", fx->directory, i);
        if (CHECK_INT(mkdir(directory, 0700), 0))
            open_path(l, directory, names[i]);
    }
    EXPECT(outbox_conn_open("sqlite:file:/tmp/a;b", fx->conf, &(outbox_conn *){NULL}, &fx->err), OUTBOX_ERR_INVALID);
    CHECK_STR(fx->name, "conn.bad_path");
}

/* Paths that begin with what a connection string would not keep. */
static void test_relative_paths(struct layer *l)
{
    static const char *const names[] = { " a;", "{x}", "\tz", "y;" };
    struct fixture *fx = &l->fx;
    char dsn[64];
    int here;

    if (target_is_postgresql(fx->target)) {
        tap_skip("SQLite's");
        return;
    }
    here = open(".", O_RDONLY | O_DIRECTORY);
    if (!CHECK(here >= 0 && chdir(fx->directory) == 0, "no folder"))
        return;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        outbox_conn *conn = NULL;

        snprintf(dsn, sizeof dsn, "sqlite:%s", names[i]);
        if (OK(outbox_conn_open(dsn, fx->conf, &conn, &fx->err)))
            OK(outbox_migrate(conn, NULL, &fx->err));
        outbox_conn_close(conn);
        CHECK(access(names[i], F_OK) == 0, "no file %s", names[i]);
    }
    CHECK_INT(fchdir(here), 0);
    close(here);
}

static void run(const struct target *target, const char *name, void (*test)(struct layer *))
{
    struct layer l;
    char dsn[1024];

    memset(&l, 0, sizeof l);
    tap_begin("%s: %s", target->database, name);
    if (fixture_prepare(&l.fx, target) == 0 && CHECK_INT(db_open(&l.fx.db, l.fx.dsn, 1), 0)) {
        struct fixture *fx = &l.fx;

        CHECK_INT(db_exec(&fx->db, "DROP TABLE IF EXISTS f_layer"), 0);
        CHECK_INT(db_exec(&fx->db, "CREATE TABLE f_layer (n bigint PRIMARY KEY, t text, b %s)",
                          target_is_postgresql(target) ? "bytea" : "blob"), 0);
        db_connection_string(fx->dsn, dsn, sizeof dsn);
        if (OK(outbox_odbc__open(dsn, &l.odbc, &fx->err)))
            test(&l);
        outbox_odbc__close(l.odbc);
    }
    outbox_arena__free(&l.arena);
    fixture_close(&l.fx);
    tap_end();
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*test)(struct layer *);
    } tests[] = {
        {"values of all sizes", test_sizes},
        {"NULL, empty, extreme and strange values", test_values},
        {"values bound otherwise", test_bindings},
        {"row counts", test_row_counts},
        {"transactions", test_transactions},
        {"errors", test_errors},
        {"errors: connections", test_connect_errors},
        {"errors: advice", test_advice},
        {"errors: rights", test_denied},
        {"sqlite: any path", test_paths},
        {"sqlite: any relative path", test_relative_paths},
        {"no piece of a password is left", test_secrets},
        {"passwords that libpq quotes", test_quoted_secrets},
    };
    static const char *const targets[] = {"sqlite/position", "postgresql/position"};

    for (size_t t = 0; t < COUNT_OF(targets); t++)
        for (size_t i = 0; i < COUNT_OF(tests); i++)
            if ((t == 0 || postgresql_dsn() != NULL) && (argc < 2 || strstr(tests[i].name, argv[1]) != NULL))
                run(target_find(targets[t]), tests[i].name, tests[i].test);
    return tap_finish();
}
