/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Statements as drivers write them, and as ODBC takes them.
 *
 * A driver's template has names in braces for tables and expressions ({messages}, {now}), named parameters
 * (:lane), and one part in double brackets that is repeated for each row: VALUES [[(:lane, :topic)]]. What stands
 * between the rows is a comma, or what a second part says: [[SELECT :lane][ UNION ALL ]]; {row} is the number of the
 * row, from 0. Rendering
 * replaces names, turns parameters into ? and notes their order, so that a dialect is free to use them in any order
 * and as often as it likes. */
#ifndef OUTBOX_SQLTEXT_H
#define OUTBOX_SQLTEXT_H

#include <outbox/types.h>

/* X(symbol, name) */
#define OUTBOX_PARAMS(X)                                                                                                \
    X(LANE, "lane") X(SEQ, "seq") X(SEQS, "seqs") X(TOKEN, "token") X(OWNER, "owner") X(LEASE, "lease")                 \
    X(LIMIT, "limit") X(BYTES, "bytes") X(POS, "pos") X(SNAP, "snap") X(XBOUND, "xbound") X(LOW, "low")                 \
    X(CLEANED, "cleaned") X(BATCH, "batch") X(SUSPECT, "suspect") X(STATE, "state") X(ATTEMPTS, "attempts")             \
    X(DELAY, "delay") X(ERROR, "error") X(KEY_HASH, "key_hash") X(DEAD, "dead") X(ID, "id") X(TOPIC, "topic")           \
    X(KEY, "key") X(PAYLOAD, "payload") X(HEADERS, "headers") X(CONTENT_TYPE, "content_type")                           \
    X(MESSAGE_TYPE, "message_type") X(MAX_ATTEMPTS, "max_attempts") X(AVAILABLE, "available") X(AGE, "age")             \
    X(DEDUP, "dedup") X(NAME, "name") X(VALUE, "value") X(COUNT, "count") X(BOUND, "bound") X(STARTS, "starts")         \
    X(SIZES, "sizes") X(SEQUENCE, "sequence") X(FILE, "file") X(NEAR, "near")

enum outbox_param {
#define PARAM_ENUM_(symbol, name) P_##symbol,
    OUTBOX_PARAMS(PARAM_ENUM_)
#undef PARAM_ENUM_
        P__COUNT
};

/* A name in braces and what stands for it. The table ends with a NULL name. */
struct outbox_sqlname {
    const char *name;
    const char *value;
};

struct outbox_sqlparam {
    unsigned short param; /* enum outbox_param */
    unsigned short row;   /* which repetition */
};

struct outbox_sqltext {
    char *sql;
    struct outbox_sqlparam *params;
    size_t count;
};

/* 1 when the template has a part that is repeated. */
int outbox_sqltext__repeats(const char *template_text);

/* 1 when that part can stand there once only: what equals it is one. */
int outbox_sqltext__is_single(const char *template_text);

/* Renders for that many rows. Free the result with outbox_sqltext__free(). */
int outbox_sqltext__render(const char *template_text, const struct outbox_sqlname *names, size_t nrows,
                           struct outbox_sqltext *out, outbox_error **err);
void outbox_sqltext__free(struct outbox_sqltext *text);

#endif
