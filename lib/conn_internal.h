/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A connection: its driver, its prepared statements, and what the database said of the outbox. */
#ifndef OUTBOX_CONN_INTERNAL_H
#define OUTBOX_CONN_INTERNAL_H

#include "buffer.h"
#include "conf_internal.h"
#include "driver.h"
#include "lane.h"
#include "sqltext.h"

#include <outbox/conn.h>

/* Statements with repeated parts are kept in these sizes. */
#define OUTBOX_SIZES 10
#define OUTBOX_NAMES 64
#define OUTBOX_LISTS 3 /* most that a statement is given */

struct outbox_cached {
    outbox_stmt *stmt;
    struct outbox_sqltext text;
};

struct outbox_conn {
    outbox_odbc *odbc;
    outbox_conf *conf;
    struct outbox_driver driver; /* a copy: "generic" takes the expressions of the server that it found */
    const struct outbox_driver *native; /* the one for what the ODBC driver says that it leads to */
    char relative[60]; /* what the server is, where it only calls itself that; "" else */
    int known;         /* whether that was asked */
    struct outbox_sqlname names[OUTBOX_NAMES];
    char *name_text[OUTBOX_NAMES];
    struct outbox_cached cache[Q__COUNT][OUTBOX_SIZES];
    struct outbox_key_memo lane_memo[OUTBOX_KEY_MEMO];
    struct outbox_buffer lists[OUTBOX_LISTS]; /* those that a statement was last given as one value each */
    int lanes;      /* 0: not asked yet */
    int position;   /* settle by position */
    int version;
    int64_t packet; /* bytes that the server takes in one statement; 0: no limit is known */
    char dialect[20]; /* in which the tables were made */
    char system[80];
    struct {
        int64_t id, file; /* of the sequence, as it was when nothing lay behind a position; 0: not asked yet, or never */
        int doubted;      /* it may be another one now: to be looked at before the next claim */
    } numbers;
    int in_transaction;
    int doomed;     /* a statement failed in this transaction: it can only be rolled back */
    int stuck;      /* and that failed too: it may still be open, and nothing more is written here */
};

/* Values for one statement: fixed ones by name, those of repeated parts from a function. */
struct outbox_args {
    struct outbox_value v[P__COUNT];
    uint64_t set;
    void (*row)(const void *ctx, size_t row, int param, struct outbox_value *value);
    const void *ctx;
};

void outbox_args__int(struct outbox_args *args, enum outbox_param param, int64_t number);
void outbox_args__text(struct outbox_args *args, enum outbox_param param, const char *text); /* NULL is NULL */
/* As PostgreSQL writes arrays, into a buffer that stays until the statement has run. 0: out of memory. */
int outbox_args__list(struct outbox_args *args, enum outbox_param param, struct outbox_buffer *buffer, const int64_t *list,
                      size_t count);

/* Receives a row; a negative return ends the statement with that. */
typedef int (*outbox_row_fn)(void *ctx, const struct outbox_value *cells, outbox_error **err);

struct outbox_result {
    const char *types;   /* of the columns; NULL: no result */
    outbox_arena *arena; /* where cells go */
    outbox_row_fn fn;
    void *ctx;
    int64_t rows;        /* rows written, or fetched */
};

/* Runs a statement of the driver. nrows is for its repeated part, one of outbox_conn__chunk(). result may be NULL. */
int outbox_conn__run(outbox_conn *conn, enum outbox_query query, const struct outbox_args *args, size_t nrows,
                     const char *doing, struct outbox_result *result, outbox_error **err);

/* Runs it for all numbers of a list: in chunks, or at once where the driver takes a list as one value. */
int outbox_conn__run_list(outbox_conn *conn, enum outbox_query query, const struct outbox_args *args,
                          const int64_t *list, size_t count, const char *doing, struct outbox_result *result,
                          outbox_error **err);

/* A statement that is not kept: a template of the moment. */
int outbox_conn__run_once(outbox_conn *conn, const char *sql_template, const struct outbox_args *args, const char *doing,
                          struct outbox_result *result, outbox_error **err);

/* The largest kept size that is not larger than left. */
size_t outbox_conn__chunk(const outbox_conn *conn, enum outbox_query query, size_t left);

/* Position or not: the query that fits this outbox. Each …_POSITION follows its delete form. */
enum outbox_query outbox_conn__form(const outbox_conn *conn, enum outbox_query query);
const char *outbox_conn__sql(const outbox_conn *conn, enum outbox_query query);

/* OUTBOX_ERR_UNSUPPORTED when the driver cannot settle as the outbox does, or is to. */
int outbox_conn__check_settle(const struct outbox_driver *driver, int position, outbox_error **err);

/* Asks, unless that is known, whether the server is what it calls itself, and chooses the driver by that. On a borrowed
 * connection the answer comes with the outbox's own facts, so this is for who has to know before there are any. */
int outbox_conn__identify(outbox_conn *conn, outbox_error **err);

/* Reads the outbox's own facts once; OUTBOX_ERR_SCHEMA when it is not there. */
int outbox_conn__load(outbox_conn *conn, outbox_error **err);

/* When positions do not mean what they say: after a restore all are taken over; messages whose numbers began again behind
 * them get new ones. A consumer that starts asks both, as does the first look of a connection; the keeper and the cleaner
 * look at the numbers from time to time. */
int outbox_conn__check_restore(outbox_conn *conn, outbox_error **err);
int outbox_conn__check_numbers(outbox_conn *conn, outbox_error **err);

int outbox_conn__begin(outbox_conn *conn, outbox_error **err);
/* For what takes several statements: joins a transaction that is open, be it the application's, else begins one, which
 * shows in in_transaction. OUTBOX_ERR_STATE when it cannot be told on a borrowed connection. */
int outbox_conn__begin_unless_open(outbox_conn *conn, outbox_error **err);
int outbox_conn__commit(outbox_conn *conn, outbox_error **err);
void outbox_conn__rollback(outbox_conn *conn); /* keeps the error that led to it */
/* A lock that somebody holds for long is OUTBOX_ERR_CONFLICT from now on. */
int outbox_conn__be_impatient(outbox_conn *conn, outbox_error **err);
int outbox_conn__check(const outbox_conn *conn, outbox_error **err); /* OUTBOX_ERR_LOST when it is stuck */
int outbox_conn__now(outbox_conn *conn, int64_t *now, outbox_error **err);

/* The names for a template: schema.* of the conf, for a driver. Frees with outbox_names__free(). */
int outbox_names__make(const outbox_conf *conf, const struct outbox_driver *driver, struct outbox_sqlname *names,
                       char **texts, outbox_error **err);
void outbox_names__free(char **texts);

/* The version of the schema that this library works with. */
#define OUTBOX_SCHEMA_VERSION 1

#endif
