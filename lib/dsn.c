/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dsn.h"
#include "ascii.h"
#include "connstr.h"
#include "driver.h"
#include "error_internal.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SQLITE "sqlite:"
#define SQLITE_NO_CREATE ";NoCreat=1"
#define SQLITE_MORE ";Timeout=10000;JournalMode=WAL;SyncPragma=NORMAL;FKSupport=1"

/* libsqliteodbc knows no braces: a value ends at the first ';', and blanks around it are lost. */
static int is_plain(const char *path)
{
    size_t size = strlen(path);

    return strncmp(path, "file:", 5) == 0 ||
           (path[strcspn(path, ";{")] == '\0' && path[0] != ' ' && path[size - 1] != ' ' &&
            !outbox_text__has_control(path, size));
}

/* SQLite itself takes a URI, in which any byte can be written. */
static int add_path(struct outbox_buffer *out, const char *path)
{
    char hex[4];
    int good;

    if (is_plain(path))
        return outbox_buffer__add(out, path, strlen(path));
    good = outbox_buffer__add(out, "file:", 5);
    for (; *path != '\0' && good; path++) {
        unsigned byte = (unsigned char)*path;

        snprintf(hex, sizeof(hex), "%%%02X", byte);
        good = byte <= ' ' || byte == 0x7f || strchr(";{}%?#", *path) != NULL ? outbox_buffer__add(out, hex, 3)
                                                                            : outbox_buffer__add(out, path, 1);
    }
    return good;
}

static int check_path(const char *path, outbox_error **err)
{
    if (path[0] == '\0')
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "conn.bad_path", "no path stands after sqlite:");
    if (strncmp(path, "file:", 5) == 0 && strchr(path, ';') != NULL)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "conn.bad_path",
                                 "the path \"%.200s\" is a URI with a ';', which ends a value in a connection string: "
                                 "write %%3B", path);
    return OUTBOX_OK;
}

/* Neither an attribute nor the name of a DSN can begin so. It is not shown, as it may hold a password. */
static int is_url(const char *dsn)
{
    size_t scheme = strcspn(dsn, ":;= ");

    return scheme > 0 && strncmp(dsn + scheme, "://", 3) == 0;
}

int outbox_dsn__plain(const char *dsn, struct outbox_buffer *out, outbox_error **err)
{
    int good;

    if (strncmp(dsn, SQLITE, strlen(SQLITE)) == 0) {
        dsn += strlen(SQLITE);
        if (check_path(dsn, err) != OUTBOX_OK)
            return OUTBOX_ERR_INVALID;
        good = outbox_buffer__add(out, "Driver=SQLite3;Database=", 24) && add_path(out, dsn) &&
               outbox_buffer__add(out, SQLITE_MORE, strlen(SQLITE_MORE));
    } else if (is_url(dsn)) {
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "conn.url",
                                 "%.*s://… is a URL, which ODBC does not know: give a DSN's name, or a connection string "
                                 "such as \"Driver=PostgreSQL Unicode;Servername=HOST;Database=NAME;Username=USER\"",
                                 (int)strcspn(dsn, ":") < 20 ? (int)strcspn(dsn, ":") : 20, dsn);
    } else if (strchr(dsn, '=') != NULL) {
        good = outbox_buffer__add(out, dsn, strlen(dsn));
    } else {
        good = outbox_buffer__add(out, "DSN=", 4) && outbox_buffer__add(out, dsn, strlen(dsn));
    }
    return good ? OUTBOX_OK : outbox_error__nomem(err);
}

/* ---- what a driver adds ---- */

struct given {
    const char *text; /* the connection string */
    char *dsn;        /* the DSN that it names, or NULL */
    const struct outbox_connect *wants;
    int64_t timeout;
    int is_sqlite;
};

/* What the user says for a keyword or its short form; *value is NULL when nothing. Free it. */
static int user_says(const struct given *g, const char *key, const char *short_key, char **value, outbox_error **err)
{
    int rc = outbox_connstr__get(g->text, key, value, err);

    if (rc == OUTBOX_OK && *value == NULL)
        rc = outbox_connstr__get(g->text, short_key, value, err);
    if (rc == OUTBOX_OK && *value == NULL && g->dsn != NULL)
        rc = outbox_odbc__profile(g->dsn, key, "odbc.ini", value, err);
    return rc;
}

/* The user's string, without the attributes that are written anew. */
static int copy_rest(const struct given *g, struct outbox_buffer *out)
{
    const struct outbox_connect *w = g->wants;
    const char *const ours[] = { w->words_key, w->words_short, w->fixed_key, w->fixed_short };
    const char *at = g->text;
    struct outbox_connstr_part part;
    size_t i;

    while (outbox_connstr__next(&at, &part)) {
        for (i = 0; i < sizeof(ours) / sizeof(ours[0]) && !outbox_connstr__is(&part, ours[i]); i++)
            ;
        if (i == sizeof(ours) / sizeof(ours[0]) &&
            !(outbox_buffer__add(out, part.text, part.size) && outbox_buffer__add(out, ";", 1)))
            return 0;
    }
    return outbox_connstr__add(out, w->fixed_key, w->fixed_value);
}

static int64_t scaled(const struct outbox_word *word, int64_t timeout)
{
    int64_t number = word->unit > 0 ? timeout / word->unit : word->least;

    return number < word->least ? word->least : number;
}

/* Ours first, unless an attribute of its own says it already: of the same word the last one counts. */
static int pack(const struct given *g, struct outbox_buffer *packed, outbox_error **err)
{
    const struct outbox_word *w;
    char text[80], *said;
    int rc = OUTBOX_OK;

    for (w = g->wants->words; w->name != NULL && rc == OUTBOX_OK; w++) {
        said = NULL;
        if (w->instead != NULL)
            rc = user_says(g, w->instead, w->instead_short, &said, err);
        snprintf(text, sizeof(text), "%s=%lld ", w->name, (long long)scaled(w, g->timeout));
        if (rc == OUTBOX_OK && said == NULL && !outbox_buffer__add(packed, text, strlen(text)))
            rc = outbox_error__nomem(err);
        free(said);
    }
    return rc;
}

static int add_words(const struct given *g, struct outbox_buffer *out, outbox_error **err)
{
    struct outbox_buffer packed = { NULL, 0, 0 };
    char *theirs;
    int rc = user_says(g, g->wants->words_key, g->wants->words_short, &theirs, err);

    if (rc == OUTBOX_OK && (theirs == NULL || strstr(theirs, "://") == NULL)) /* a URI takes no more words */
        rc = pack(g, &packed, err);
    if (rc == OUTBOX_OK && (!outbox_buffer__add(&packed, theirs, theirs != NULL ? strlen(theirs) : 0) ||
                            !outbox_connstr__add(out, g->wants->words_key, packed.data)))
        rc = outbox_error__nomem(err);
    outbox_buffer__free(&packed);
    free(theirs);
    return rc;
}

static int improve(const struct given *g, struct outbox_buffer *out, outbox_error **err)
{
    char *said;
    int rc = user_says(g, g->wants->key, g->wants->short_key, &said, err);

    if (rc == OUTBOX_OK && (!copy_rest(g, out) || (said == NULL && !outbox_connstr__add(out, g->wants->key, g->wants->value))))
        rc = outbox_error__nomem(err);
    free(said);
    return rc == OUTBOX_OK ? add_words(g, out, err) : rc;
}

static int names_sqlite(const char *driver)
{
    while (*driver != '\0' && !outbox_ascii__same(driver, "sqlite", strlen("sqlite")))
        driver++;
    return *driver != '\0';
}

/* The file of the ODBC driver tells what will connect, before anything does. */
static int find_wants(struct given *g, outbox_error **err)
{
    char *driver = NULL, *file = NULL;
    int rc = outbox_connstr__get(g->text, "DSN", &g->dsn, err);

    if (rc == OUTBOX_OK)
        rc = user_says(g, "Driver", "Driver", &driver, err);
    if (rc == OUTBOX_OK && driver != NULL && strchr(driver, '/') == NULL)
        rc = outbox_odbc__profile(driver, "Driver", "odbcinst.ini", &file, err);
    if (rc == OUTBOX_OK && driver != NULL)
        g->wants = outbox_driver__connect(file != NULL ? file : driver);
    g->is_sqlite = driver != NULL && names_sqlite(file != NULL ? file : driver);
    free(driver);
    free(file);
    return rc;
}

/* unixODBC drops the braces from what stands beside a file DSN, and so breaks a password with a ';'. What the file says is
 * put in its place, behind all else: of the same attribute the first one counts. */
static int unfold_file(struct outbox_buffer *text, outbox_error **err)
{
    struct outbox_buffer out = { NULL, 0, 0 };
    struct outbox_connstr_part part;
    char *file, *says = NULL, *said;
    const char *at;
    int good = 1, rc = outbox_connstr__get(text->data, "FILEDSN", &file, err);

    if (rc == OUTBOX_OK && file != NULL)
        rc = outbox_odbc__file_dsn(file, &says, err);
    free(file);
    if (rc != OUTBOX_OK || says == NULL)
        return rc;
    for (at = text->data; good && outbox_connstr__next(&at, &part);)
        good = outbox_connstr__is(&part, "FILEDSN") ||
               (outbox_buffer__add(&out, part.text, part.size) && outbox_buffer__add(&out, ";", 1));
    for (at = says; good && rc == OUTBOX_OK && outbox_connstr__next(&at, &part); free(said)) {
        char key[64];

        snprintf(key, sizeof(key), "%.*s", (int)part.key_size, part.key);
        rc = outbox_connstr__get(text->data, key, &said, err);
        if (rc == OUTBOX_OK && said == NULL)
            good = outbox_buffer__add(&out, part.text, part.size) && outbox_buffer__add(&out, ";", 1);
    }
    free(says);
    if (rc != OUTBOX_OK || !good) {
        outbox_buffer__free(&out);
        return rc != OUTBOX_OK ? rc : outbox_error__nomem(err);
    }
    outbox_buffer__free(text);
    *text = out;
    return OUTBOX_OK;
}

/* SQLite makes a file that is not there: a path that is mistyped would be an empty database. */
static int forbid_creation(const char *dsn, struct outbox_buffer *text, outbox_error **err)
{
    const char *path = dsn + strlen(SQLITE);

    if (strncmp(dsn, SQLITE, strlen(SQLITE)) == 0 && strncmp(path, "file:", 5) != 0 && strcmp(path, ":memory:") != 0 &&
        access(path, F_OK) != 0)
        return outbox_error__set(err, OUTBOX_ERR_CONNECT, "database.file",
                                 "cannot open the SQLite database %.500s: %s; `outboxctl migrate` makes it", path,
                                 strerror(errno));
    return outbox_buffer__add(text, SQLITE_NO_CREATE, strlen(SQLITE_NO_CREATE)) ? OUTBOX_OK : outbox_error__nomem(err);
}

int outbox_dsn__expand(const char *dsn, const outbox_conf *conf, char **text, outbox_error **err)
{
    struct outbox_buffer plain = { NULL, 0, 0 }, more = { NULL, 0, 0 };
    struct given g = { .timeout = outbox_conf__number(conf, CONF_CONN_TIMEOUT) };
    int rc = outbox_dsn__plain(dsn, &plain, err);

    *text = NULL;
    if (rc == OUTBOX_OK)
        rc = unfold_file(&plain, err);
    g.text = plain.data;
    if (rc == OUTBOX_OK)
        rc = find_wants(&g, err);
    if (rc == OUTBOX_OK && g.wants != NULL)
        rc = improve(&g, &more, err);
    if (rc == OUTBOX_OK && g.wants != NULL) {
        outbox_buffer__free(&plain);
        plain = more;
    } else {
        outbox_buffer__free(&more);
    }
    if (rc == OUTBOX_OK && g.is_sqlite && outbox_conf__number(conf, CONF_CONN_CREATE) == CREATE_OFF)
        rc = forbid_creation(dsn, &plain, err);
    if (rc != OUTBOX_OK)
        outbox_buffer__free(&plain);
    free(g.dsn);
    *text = plain.data;
    return rc;
}
