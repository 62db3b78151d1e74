/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where psqlODBC gets with a connection string or DSN, libpq gets with what is derived from it: the same server,
 * database, user and settings. psql stands for libpq.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conninfo.h"
#include "dsn.h"
#include "lib-test.h"
#include "proxy.h"

#define WHERE "current_user || '|' || current_database() || '|' || extract(epoch FROM pg_postmaster_start_time()) || '|' " \
              "|| current_setting('statement_timeout')"

/* $H, $P, $D, $T: the server's folder, port and database, and a port of 127.0.0.1 that leads to it. */
struct way {
    const char *dsn; /* $W: the name of a DSN with the lines below; $F: the path of a file DSN with them */
    const char *ini; /* or NULL */
    int works;       /* 1: psqlODBC gets there; 0: it does not; -1: nothing is derived */
};

#define AT "Driver={PostgreSQL Unicode};Servername=$H;Port=$P;Database=$D;"
#define OVER "Driver={PostgreSQL Unicode};Servername=127.0.0.1;Port=$T;Database=$D;UID=outbox;"
#define INI "Driver=PostgreSQL Unicode\nServername=$H\nPort=$P\nDatabase=$D\n"

/* ann's password is "p%41w+x y", bob's "a;b}c{d'e\f=g", outbox needs none. */
static const struct way ways[] = {
    {AT "Username=outbox", NULL, 1},
    {AT "UID=outbox", NULL, 1},
    {"driver=PostgreSQL Unicode; SERVERNAME = $H ;port= $P;DATABASE={$D};uid={outbox}", NULL, 0},
    {"Driver={PostgreSQL Unicode};Server=$H;Port=$P;Database=$D;UID=outbox", NULL, 1},
    {"Driver={PostgreSQL Unicode};Servername={$H};Port=$P;Database=$D;UID=outbox", NULL, 0},
    {OVER, NULL, 1},
    /* Passwords. */
    {AT "UID=ann;PWD={p%41w+x y}", NULL, 1},
    {AT "UID=ann;PWD=p%2541w%2Bx+y", NULL, 1},
    {AT "UID=ann;PWD=p%2541w%2bx%20y", NULL, 1},
    {AT "UID=ann;PWD=p%41w+x y", NULL, 0},
    {AT "UID=ann;PWD={p%2541w%2Bx+y}", NULL, 0},
    {AT "UID=ann;Password={p%41w+x y}", NULL, 1},
    {AT "UID=ann;Password=p%2541w%2Bx+y", NULL, 1},
    {AT "UID=ann;PWD=wrong", NULL, 0},
    {AT "UID=ann", NULL, 0},
    {AT "UID=bob;PWD={a;b}}c{d'e\\f=g}", NULL, 1},
    {AT "UID=bob;PWD=a%3Bb%7Dc%7Bd%27e%5Cf%3Dg", NULL, 1},
    {"DSN=$W", INI "Username=ann\nPassword=p%2541w%2Bx+y\n", 1},
    {"DSN=$W", INI "Username=ann\nPassword=p%41w+x y\n", 0},
    {"DSN=$W", INI "Username=ann\nPassword={p%41w+x y}\n", 0},
    {"DSN=$W", INI "Username=ann\nPWD=p%2541w%2Bx+y\n", 0},
    {"DSN=$W", INI "Username=bob\nPassword=a%3Bb%7Dc%7Bd%27e%5Cf%3Dg\n", 1},
    {"$W", INI "Username=bob\nPassword=a%3Bb%7Dc%7Bd%27e%5Cf%3Dg\n", 1},
    {"DSN=$W;UID=ann;PWD={p%41w+x y}", INI "Username=bob\nPassword=a%3Bb%7Dc%7Bd%27e%5Cf%3Dg\n", 1},
    {"DSN=$W;PWD={a;b}}c{d'e\\f=g}", INI "Username=bob\n", 1},
    {"DSN=$W;PWD=p%2541w%2Bx+y", INI "Username=ann\nPassword=wrong\n", 1},
    /* What counts when there is more than one. */
    {AT "UID=outbox;Username=cid", NULL, 1},
    {AT "Username=cid;UID=outbox", NULL, 1},
    {AT "UID=outbox;UID=cid", NULL, 1},
    {AT "UID=cid;Database=postgres", NULL, 1},
    {AT "UID=cid;Servername=/nonexistent", NULL, 0},
    {"Driver={PostgreSQL Unicode};Server=$H;Servername=/nonexistent;Port=$P;Database=$D;UID=cid", NULL, 0},
    {"Driver={PostgreSQL Unicode};Servername=/nonexistent;Server=$H;Port=$P;Database=$D;UID=cid", NULL, 1},
    {AT "UID=ann;PWD={p%41w+x y};Password=wrong", NULL, 0},
    {AT "UID=ann;PWD=wrong;Password={p%41w+x y}", NULL, 1},
    {"DSN=$W", INI "Username=outbox\nUID=cid\n", 1},
    {"DSN=$W", INI "UID=cid\n", 0},
    {"DSN=$W;Username=cid", INI "Username=outbox\n", 1},
    {"DSN=$W;Database=postgres;UID=cid", INI "Username=outbox\n", 1},
    {"DSN=$W;Servername=/nonexistent", INI "Username=outbox\n", 0},
    {"DSN=$W", "Driver=PostgreSQL Unicode\nServer=$H\nPort=$P\nDatabase=$D\nUsername=outbox\n", 0},
    {"DSN=$W", "Driver=PostgreSQL Unicode\nServername=$H\nDatabase=$D\nUsername=outbox\n", 1},
    /* Encryption, which this server has not. */
    {OVER "SSLmode=disable", NULL, 1},
    {OVER "SSLmode=d", NULL, 1},
    {OVER "SSLmode=prefer", NULL, 1},
    {OVER "SSLmode=p", NULL, 1},
    {OVER "SSLmode=allow", NULL, 1},
    {OVER "SSLmode=a", NULL, 1},
    {OVER "SSLmode=require", NULL, 0},
    {OVER "SSLmode=r", NULL, 0},
    {OVER "SSLmode=Require", NULL, 1},
    {OVER "SSLmode=REQUIRE", NULL, 1},
    {OVER "SSLmode=verify-full", NULL, 0},
    {OVER "SSLmode=vc", NULL, 0},
    {OVER "SSLmode=Verify-full", NULL, 1},
    {OVER "SSLmode=x", NULL, 1},
    {OVER "SSLmode={require}", NULL, 1},
    {OVER "CA=r", NULL, 0},
    {OVER "CA=d", NULL, 1},
    {"DSN=$W;Servername=127.0.0.1;Port=$T", INI "Username=outbox\nSSLmode=require\n", 0},
    {"DSN=$W;Servername=127.0.0.1;Port=$T", INI "Username=outbox\nSSLmode=r\n", 0},
    {"DSN=$W;Servername=127.0.0.1;Port=$T", INI "Username=outbox\nSSLmode=Require\n", 0},
    {"DSN=$W;Servername=127.0.0.1;Port=$T", INI "Username=outbox\nSSLmode=disable\n", 1},
    {"DSN=$W;Servername=127.0.0.1;Port=$T;SSLmode=disable", INI "Username=outbox\nSSLmode=require\n", 1},
    /* libpq's own words. */
    {AT "UID=outbox;pqopt={options='-c statement_timeout=7s'}", NULL, 1},
    {AT "UID=outbox;D5={options='-c statement_timeout=8s' application_name='a}}b'}", NULL, 1},
    {AT "UID=outbox;pqopt={host=/nonexistent}", NULL, 0},
    {AT "UID=outbox;pqopt={user=cid}", NULL, 0},
    {AT "UID=outbox;pqopt={dbname=postgres}", NULL, 0},
    {AT "UID=outbox;pqopt={port=1}", NULL, 0},
    {OVER "pqopt={sslmode=require}", NULL, 0},
    {"DSN=$W", INI "Username=outbox\npqopt=options='-c statement_timeout=9s'\n", 1},
    {"DSN=$W;pqopt={options='-c statement_timeout=6s'}", INI "Username=outbox\npqopt=options='-c statement_timeout=9s'\n", 1},
    {"FILEDSN=/nonexistent", NULL, -1},
    {"FILEDSN=$F", INI "UID=outbox\n", 1},
    {"FILEDSN=$F", INI "UID=ann\nPWD=p%2541w%2Bx+y\n", 1},
    {"FILEDSN=$F;PWD={p%41w+x y}", INI "UID=ann\nPWD=wrong\n", 1},
    {"FILEDSN=$F;UID=outbox;Servername=127.0.0.1;Port=$T;SSLmode=require", INI "UID=cid\n", 0},
};

static struct proxy proxy;
static char name[16]; /* of the present DSN: the driver manager remembers what it read of one */
static char file_dsn[300];

static void fill_in(char *out, size_t size, const char *text)
{
    size_t used = 0;

    for (; *text != '\0' && used + 1 < size; text++) {
        const char *what = NULL;
        char port[8];

        snprintf(port, sizeof port, "%d", proxy.port);
        if (*text == '$')
            what = text[1] == 'H' ? getenv("SERVER_HOST") : text[1] == 'P' ? getenv("SERVER_PORT")
                   : text[1] == 'D' ? getenv("SERVER_DATABASE") 
                   : text[1] == 'W' ? name : text[1] == 'F' ? file_dsn : port;
        if (what != NULL) {
            used += (size_t)snprintf(out + used, size - used, "%s", what);
            text++;
        } else {
            out[used++] = *text;
        }
    }
    out[used] = '\0';
}

static void write_section(const char *path, const char *section, const char *lines)
{
    char text[1000];
    FILE *file = fopen(path, "a");

    REQUIRE(file != NULL, "no %s", path);
    fill_in(text, sizeof text, lines);
    fprintf(file, "[%s]\n%s\n", section, text);
    fclose(file);
}

static void write_ini(const struct way *way)
{
    snprintf(file_dsn, sizeof file_dsn, "%s.%s.dsn", getenv("ODBCINI"), name);
    if (strstr(way->dsn, "$F") != NULL)
        write_section(file_dsn, "ODBC", way->ini);
    else
        write_section(getenv("ODBCINI"), name, way->ini);
}

/* Where psqlODBC gets with the string that the library connects with; "no connection". */
static void by_odbc(const char *string, char *where, size_t size)
{
    struct db db;
    char *text = NULL;

    snprintf(where, size, "no connection");
    if (db_open(&db, string, 1) == 0) {
        text = db_text(&db, "SELECT " WHERE);
        snprintf(where, size, "%s", text != NULL ? text : "no answer");
        db_close(&db);
    }
    free(text);
}

static void by_libpq(const char *conninfo, char *where, size_t size)
{
    FILE *out;

    setenv("DERIVED", conninfo, 1);
    snprintf(where, size, "no connection");
    out = popen("psql -wqXAtc \"SELECT " WHERE "\" \"$DERIVED\" 2>&1", "r");
    if (CHECK(out != NULL, "no psql")) {
        char line[400] = "";

        if (fgets(line, sizeof line, out) != NULL && strchr(line, '|') != NULL)
            snprintf(where, size, "%.*s", (int)strcspn(line, "\n"), line);
        pclose(out);
    }
}

static void go(const struct way *way)
{
    outbox_conf *conf = NULL;
    outbox_error *err = NULL;
    char dsn[1000], odbc[500], libpq[500], *string = NULL, *conninfo = NULL;

    if (way->ini != NULL)
        write_ini(way);
    fill_in(dsn, sizeof dsn, way->dsn);
    CHECK_INT(outbox_conf_new(&conf, NULL), OUTBOX_OK);
    CHECK_INT(outbox_dsn__expand(dsn, conf, &string, &err), OUTBOX_OK);
    CHECK_INT(outbox_postgresql__conninfo(string, &conninfo, &err), OUTBOX_OK);
    if (way->works < 0) {
        CHECK(conninfo == NULL, "derived: %s", conninfo);
    } else if (CHECK(conninfo != NULL, "nothing is derived")) {
        by_odbc(string, odbc, sizeof odbc);
        by_libpq(conninfo, libpq, sizeof libpq);
        CHECK((strcmp(odbc, "no connection") != 0) == way->works, "psqlODBC gets here: %s", odbc);
        if (way->works)
            CHECK_STR(libpq, odbc);
        if (tap_failed())
            tap_note("derived: %s", conninfo);
    }
    free(conninfo);
    free(string);
    outbox_error_free(err);
    outbox_conf_free(conf);
}

static int prepare(void)
{
    struct db db;
    int rc;

    if (db_open(&db, postgresql_dsn(), 1) != 0)
        return 0;
    rc = db_exec(&db, "CREATE ROLE ann LOGIN PASSWORD 'p%%41w+x y'") |
         db_exec(&db, "CREATE ROLE bob LOGIN PASSWORD E'a;b}c{d\\'e\\\\f=g'") | db_exec(&db, "CREATE ROLE cid LOGIN") |
         system("for u in ann bob; do sed -i \"1i local all $u scram-sha-256\" \"$PGDATA/pg_hba.conf\"; done; "
                "chmod 644 \"$PGDATA/pg_hba.conf\"") |
         (db_int(&db, "SELECT pg_reload_conf()::int") != 1);
    /* A session that begins now sees the new rules: the server reads them before it accepts the next one. */
    db_close(&db);
    return rc == 0;
}

int main(int argc, char **argv)
{
    if (postgresql_dsn() == NULL)
        return tap_skip_all("no PostgreSQL: run it through tests/run-test");
    tap_begin("users and a way to the server");
    CHECK(prepare() && proxy_start(&proxy), "no server");
    tap_end();
    /* What is not derived must not be found elsewhere. */
    setenv("SERVER_HOST", getenv("PGHOST"), 1);
    setenv("SERVER_PORT", getenv("PGPORT"), 1);
    setenv("SERVER_DATABASE", getenv("PGDATABASE"), 1);
    for (size_t i = 0; i < COUNT_OF(ways); i++)
        if (argc < 2 || strstr(ways[i].dsn, argv[1]) != NULL ||
            (ways[i].ini != NULL && strstr(ways[i].ini, argv[1]) != NULL)) {
            const char *lines = ways[i].ini != NULL ? strchr(strstr(ways[i].ini, "$D"), '\n') + 1 : "";

            snprintf(name, sizeof name, "w%d", (int)i);
            tap_begin("%.150s%s%.*s", ways[i].dsn, lines[0] != '\0' ? " with " : "", (int)strcspn(lines, "\n"), lines);
            unsetenv("PGPORT");
            unsetenv("PGUSER");
            unsetenv("PGDATABASE");
            setenv("PGHOST", "/nonexistent", 1);
            go(&ways[i]);
            tap_end();
        }
    setenv("PGHOST", getenv("SERVER_HOST"), 1);
    proxy_stop(&proxy);
    return tap_finish();
}
