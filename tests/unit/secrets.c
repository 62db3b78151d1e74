/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A password in a connection string gets into no error, however the driver quotes it. The two functions of ODBC below
 * take the place of the driver manager's: connecting fails, and the diagnostic is what the test wants it to be.
 */
#include <outbox/outbox.h>

#include <criterion/criterion.h>

#include <sql.h>
#include <sqlext.h>

#include <stdio.h>
#include <string.h>

static const char *diagnostic;

SQLRETURN SQLDriverConnect(SQLHDBC hdbc, SQLHWND hwnd, SQLCHAR *in, SQLSMALLINT in_size, SQLCHAR *out, SQLSMALLINT room,
                           SQLSMALLINT *out_size, SQLUSMALLINT completion)
{
    (void)hdbc, (void)hwnd, (void)in, (void)in_size, (void)out, (void)room, (void)out_size, (void)completion;
    return SQL_ERROR;
}

SQLRETURN SQLGetDiagRec(SQLSMALLINT type, SQLHANDLE handle, SQLSMALLINT record, SQLCHAR *state, SQLINTEGER *native,
                        SQLCHAR *text, SQLSMALLINT room, SQLSMALLINT *size)
{
    (void)type, (void)handle, (void)record;
    if (diagnostic == NULL)
        return SQL_NO_DATA;
    memcpy(state, "28P01", 6);
    *native = 101;
    *size = (SQLSMALLINT)snprintf((char *)text, (size_t)room, "%s", diagnostic);
    return *size < room ? SQL_SUCCESS : SQL_SUCCESS_WITH_INFO;
}

static void expect(const char *said, const char *shown)
{
    char want[1200];
    outbox_conn *conn = NULL;
    outbox_error *err = NULL;
    int rc;

    diagnostic = said;
    rc = outbox_conn_open("DSN=x", NULL, &conn, &err);
    cr_expect_eq(rc, OUTBOX_ERR_CONNECT, "\"%s\": %s", said, outbox_status_name(rc));
    snprintf(want, sizeof(want), "cannot connect to the database (DSN x): %s [SQLSTATE 28P01, native 101]; correct the user or the password in "
             "the DSN", shown);
    cr_expect_str_eq(outbox_error_message(err), want, "\"%s\":\n%s, not\n%s", said, outbox_error_message(err), want);
    outbox_error_free(err);
}

Test(secrets, passwords_are_hidden)
{
    static const struct {
        const char *said, *shown;
    } cases[] = {
        { "no such host", "no such host" },
        { "", "" },
        { "DSN=x;UID=u;PWD=s3cr3t", "DSN=x;UID=u;PWD=******" },
        { "DSN=x;UID=u;PWD=s3cr3t;", "DSN=x;UID=u;PWD=******;" },
        { "DSN=x;PWD=s3cr3t;UID=u is wrong", "DSN=x;PWD=******;UID=u is wrong" },
        { "pwd=s3cr3t;", "pwd=******;" },
        { "Password=s3cr3t;", "Password=******;" },
        { "PASSWORD=s3cr3t;", "PASSWORD=******;" },
        { "passwd=s3cr3t;", "passwd=******;" },
        { "sslpassword=s3cr3t;", "sslpassword=******;" },
        { "PWD=one;UID=u;Password=two;x", "PWD=***;UID=u;Password=***;x" },
        { "PWD=one;PWD=two;x", "PWD=***;PWD=***;x" },
        { "PWD=;UID=u", "PWD=;UID=u" },
        { "PWD=", "PWD=" },
        /* A value may have spaces, and only a semicolon ends it. */
        { "PWD=my secret;UID=u", "PWD=*********;UID=u" },
        { "PWD=my secret", "PWD=*********" },
        { "PWD = s3cr3t;UID=u", "PWD = ******;UID=u" },
        { "PWD=  s3cr3t;UID=u", "PWD= ******;UID=u" },
        /* One line, and without what psqlODBC was doing itself. */
        { "ERROR:  it is\tnot\r\n\nthere;\nError while executing the query", "ERROR: it is not there" },
        { "ends;\n", "ends;" },
        /* In braces a semicolon may stand in it, and "}}" is one brace; in libpq's quotes too. */
        { "PWD={s3cr3t};UID=u", "PWD=********;UID=u" },
        { "PWD={a;b};UID=u", "PWD=*****;UID=u" },
        { "PWD={a}};b};UID=u", "PWD=*******;UID=u" },
        { "PWD={a}}}};b};UID=u", "PWD=*********;UID=u" },
        { "PWD={};UID=u", "PWD=**;UID=u" },
        { "PWD='a;b';UID=u", "PWD=*****;UID=u" },
        { "PWD='a\\';b';UID=u", "PWD=*******;UID=u" },
        { "PWD={a;b}", "PWD=*****" },
        { "PWD={a;b", "PWD=****" },
        { "PWD={a}}", "PWD=****" },
        { "PWD={", "PWD=*" },
        { "PWD='a;b", "PWD=****" },
        { "PWD={PWD=a;b};Password={c;d};UID=u", "PWD=*********;Password=*****;UID=u" },
        /* Where a secret is misread, rather too much goes. */
        { "PWD={}};PWD=b};UID=u", "PWD=****************" },
        /* A key inside braces: its value ends with them. */
        { "pqopt={user=u password=a;b}}c sslmode=x};UID=u", "pqopt={user=u password=****************};UID=u" },
        /* Other secrets. */
        { "token=s3cr3t;x", "token=******;x" },
        { "ClientSecret=s3cr3t;x", "ClientSecret=******;x" },
        { "access_token=s3cr3t", "access_token=******" },
        /* No password. */
        { "the password is wrong", "the password is wrong" },
        { "password authentication failed for user \"pwd\"", "password authentication failed for user \"pwd\"" },
        { "PWDX=a;b", "PWDX=a;b" },
        { "pw", "pw" },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect(cases[i].said, cases[i].shown);
}

/* What a driver says is cut to what there is room for, wherever in a password that is. */
Test(secrets, cut_off_passwords_are_hidden)
{
    size_t before;

    for (before = 470; before < 520; before++) {
        char said[700];
        outbox_conn *conn = NULL;
        outbox_error *err = NULL;

        memset(said, 'x', before);
        snprintf(said + before, sizeof(said) - before, ";PWD={s3cr3t;s3cr3t};UID=u");
        diagnostic = said;
        cr_expect_eq(outbox_conn_open("DSN=x", NULL, &conn, &err), OUTBOX_ERR_CONNECT);
        cr_expect_null(strstr(outbox_error_message(err), "s3"), "%zu before: %s", before, outbox_error_message(err));
        outbox_error_free(err);
    }
}

Test(secrets, a_driver_that_gives_no_reason)
{
    outbox_conn *conn = NULL;
    outbox_error *err = NULL;

    diagnostic = NULL;
    cr_expect_eq(outbox_conn_open("DSN=x;PWD=s3cr3t", NULL, &conn, &err), OUTBOX_ERR_CONNECT);
    cr_expect_not_null(strstr(outbox_error_message(err), "gave no reason"), "%s", outbox_error_message(err));
    cr_expect_null(strstr(outbox_error_message(err), "s3cr3t"), "%s", outbox_error_message(err));
    cr_expect_str_eq(outbox_error_sqlstate(err), "HY000");
    outbox_error_free(err);
}
