/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Enqueue: check everything, then write it in as few statements as the driver allows, in the caller's transaction, if
 * there is one. */
#include "arena.h"
#include "buffer.h"
#include "enqueue_internal.h"
#include "backoff.h"
#include "error_internal.h"
#include "json.h"
#include "sized.h"
#include "text.h"
#include "translate.h"
#include "usdt.h"
#include "uuid.h"

#include <outbox/message.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX_CHARS 255
#define DEDUP_MAX_CHARS 200
#define HEADERS_MAX ((size_t)1024 * 1024)
#define OTHER_BYTES ((size_t)8 * 1024) /* of a row beside payload and headers, at the most, and of the statement's text */

#define MESSAGE_LEAST OUTBOX_SIZE_TO(outbox_message, max_attempts)

struct call {
    struct outbox_row *rows;
    size_t count;
};

/* The place of a message that came alone: it needs no number. */
#define ALONE SIZE_MAX

static int bad(outbox_error **err, size_t index, const char *name, const char *what)
{
    if (index == ALONE)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, name, "%s; nothing was written", _(what));
    return outbox_error__set(err, OUTBOX_ERR_INVALID, name, "message %zu: %s; nothing was written", index, _(what));
}

static int check_text(const char *text, long max, int required, size_t index, const char *field, outbox_error **err)
{
    char what[200];
    long length;

    if (text == NULL || text[0] == '\0') {
        if (!required)
            return OUTBOX_OK;
        snprintf(what, sizeof(what), _("%s is required"), field);
        return bad(err, index, "enqueue.missing_field", what);
    }
    length = outbox_text__length(text, strlen(text));
    if (length < 0) {
        snprintf(what, sizeof(what), _("%s is not valid UTF-8"), field);
        return bad(err, index, "enqueue.invalid_utf8", what);
    }
    if (length > max) {
        snprintf(what, sizeof(what), _("%s has %ld characters, %ld are allowed"), field, length, max);
        return bad(err, index, "enqueue.too_long", what);
    }
    return OUTBOX_OK;
}

/* A topic may be a part of a URL or a subject, a type becomes a header: a line end in one would begin another. */
static int check_line(const char *text, long max, int required, size_t index, const char *field, outbox_error **err)
{
    char what[200];
    int rc = check_text(text, max, required, index, field, err);

    if (rc != OUTBOX_OK || text == NULL || !outbox_text__has_control(text, strlen(text)))
        return rc;
    snprintf(what, sizeof(what), _("%s has a control character, which brokers would misread"), field);
    return bad(err, index, "enqueue.control_character", what);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted, as there may be many. */
static int check_header_names(const outbox_message *m, size_t index, outbox_error **err)
{
    const char **names = m->header_count > 1 ? malloc(m->header_count * sizeof(*names)) : NULL;
    char what[200];
    size_t i;
    int rc = OUTBOX_OK;

    if (m->header_count <= 1)
        return OUTBOX_OK;
    if (names == NULL)
        return outbox_error__nomem(err);
    for (i = 0; i < m->header_count; i++)
        names[i] = m->headers[i].name;
    qsort(names, m->header_count, sizeof(*names), by_text);
    for (i = 1; i < m->header_count && rc == OUTBOX_OK; i++)
        if (strcmp(names[i - 1], names[i]) == 0) {
            snprintf(what, sizeof(what), _("header \"%.60s\" is there twice"), names[i]);
            rc = bad(err, index, "enqueue.bad_header", what);
        }
    free(names);
    return rc;
}

/* Brokers take a few kilobytes. Without a limit no size of a batch would bound a relay's memory. */
static int check_header_bytes(size_t bytes, size_t index, outbox_error **err)
{
    char what[200];

    if (bytes <= HEADERS_MAX)
        return OUTBOX_OK;
    snprintf(what, sizeof(what), _("headers have %zu bytes, %zu are allowed"), bytes, HEADERS_MAX);
    return bad(err, index, "enqueue.headers_too_large", what);
}

static int check_headers(const outbox_message *m, size_t index, outbox_error **err)
{
    char what[200];
    size_t i, bytes = 0;
    int rc;

    if (m->header_count > 0 && m->headers == NULL)
        return bad(err, index, "enqueue.bad_header", N_("header_count is not 0, but headers is NULL"));
    for (i = 0; i < m->header_count; i++) {
        const outbox_header *h = &m->headers[i];

        if (h->name == NULL || h->name[0] == '\0' || h->value == NULL) {
            snprintf(what, sizeof(what), _("header %zu needs a name and a value"), i);
            return bad(err, index, "enqueue.bad_header", what);
        }
        if (outbox_text__length(h->name, strlen(h->name)) < 0 || outbox_text__length(h->value, strlen(h->value)) < 0) {
            snprintf(what, sizeof(what), _("header %zu is not valid UTF-8"), i);
            return bad(err, index, "enqueue.invalid_utf8", what);
        }
        if (outbox_text__has_control(h->name, strlen(h->name)) || outbox_text__has_control(h->value, strlen(h->value))) {
            snprintf(what, sizeof(what), _("header \"%.60s\" has a control character, which brokers would misread"),
                     h->name);
            return bad(err, index, "enqueue.bad_header", what);
        }
        bytes += strlen(h->name) + strlen(h->value);
    }
    rc = check_header_bytes(bytes, index, err);
    return rc != OUTBOX_OK ? rc : check_header_names(m, index, err);
}

static int check_numbers(const outbox_conn *conn, const outbox_message *m, size_t index, outbox_error **err)
{
    int64_t max = outbox_conf__number(conn->conf, CONF_ENQUEUE_MAX_PAYLOAD);
    char what[200];

    if (m->payload == NULL && m->payload_size > 0)
        return bad(err, index, "enqueue.missing_field", N_("payload is NULL, but payload_size is not 0"));
    if (m->payload_size > (uint64_t)max) {
        snprintf(what, sizeof(what), _("payload has %zu bytes, enqueue.max_payload allows %lld"), m->payload_size,
                 (long long)max);
        return bad(err, index, "enqueue.payload_too_large", what);
    }
    if (m->max_attempts < 0)
        return bad(err, index, "enqueue.bad_max_attempts",
                   N_("max_attempts must be at least 1, or 0 for the relay's limit"));
    if (m->available_at < 0 || m->delay_ms < 0 || m->delay_ms > INT64_MAX / 2000)
        return bad(err, index, "enqueue.bad_time",
                   N_("available_at and delay_ms must not be negative or beyond all time"));
    if (m->available_at > 0 && m->delay_ms > 0)
        return bad(err, index, "enqueue.bad_time", N_("available_at and delay_ms exclude each other"));
    return OUTBOX_OK;
}

static int check(const outbox_conn *conn, const outbox_message *m, size_t index, outbox_error **err)
{
    outbox_id id;
    int rc;

    if (m->size < MESSAGE_LEAST)
        return bad(err, index, "enqueue.bad_size", N_("size is not set: start from OUTBOX_MESSAGE_INIT"));
    if ((rc = check_line(m->topic, TEXT_MAX_CHARS, 1, index, "topic", err)) != OUTBOX_OK ||
        (rc = check_text(m->partition_key, TEXT_MAX_CHARS, 0, index, "partition_key", err)) != OUTBOX_OK ||
        (rc = check_line(m->content_type, TEXT_MAX_CHARS, 0, index, "content_type", err)) != OUTBOX_OK ||
        (rc = check_line(m->message_type, TEXT_MAX_CHARS, 0, index, "message_type", err)) != OUTBOX_OK ||
        (rc = check_text(m->dedup_key, DEDUP_MAX_CHARS, 0, index, "dedup_key", err)) != OUTBOX_OK ||
        (rc = check_headers(m, index, err)) != OUTBOX_OK || (rc = check_numbers(conn, m, index, err)) != OUTBOX_OK)
        return rc;
    if (m->id != NULL && !outbox_uuid__parse(m->id, strlen(m->id), &id))
        return bad(err, index, "enqueue.bad_id", N_("id is not a UUID (8-4-4-4-12 hexadecimal digits)"));
    return OUTBOX_OK;
}

static void take_message(const outbox_message *messages, size_t index, outbox_message *m)
{
    size_t size = messages[0].size;

    outbox_sized__take(m, sizeof(*m), (const char *)messages + index * size, size);
}

static struct outbox_value text_value(const char *text)
{
    if (text == NULL || text[0] == '\0')
        return (struct outbox_value){ OUTBOX_T_NULL_TEXT, 0, NULL, 0 };
    return (struct outbox_value){ OUTBOX_T_TEXT, 0, text, strlen(text) };
}

void outbox_row__bind(const void *ctx, size_t index, int param, struct outbox_value *v)
{
    const struct outbox_row *row = (const struct outbox_row *)ctx + index;
    const outbox_message *m = row->m;

    switch (param) {
    case P_LANE:
        *v = (struct outbox_value){ OUTBOX_T_INT, row->lane, NULL, 0 };
        break;
    case P_ID:
        *v = text_value(row->id.text);
        break;
    case P_TOPIC:
        *v = text_value(m->topic);
        break;
    case P_KEY:
        *v = text_value(m->partition_key);
        break;
    case P_PAYLOAD:
        *v = (struct outbox_value){ OUTBOX_T_BYTES, 0, m->payload, m->payload_size };
        break;
    case P_HEADERS:
        *v = text_value(row->headers);
        break;
    case P_CONTENT_TYPE:
        *v = text_value(m->content_type);
        break;
    case P_MESSAGE_TYPE:
        *v = text_value(m->message_type);
        break;
    case P_MAX_ATTEMPTS:
        *v = (struct outbox_value){ m->max_attempts > 0 ? OUTBOX_T_INT : OUTBOX_T_NULL_INT, m->max_attempts, NULL, 0 };
        break;
    default: /* P_AVAILABLE */
        *v = (struct outbox_value){ row->available > 0 ? OUTBOX_T_INT : OUTBOX_T_NULL_INT, row->available, NULL, 0 };
        break;
    }
}

static int prepare_row(outbox_conn *conn, struct outbox_row *row, const outbox_message *m, int64_t now, outbox_error **err)
{
    row->m = m;
    row->lane = outbox_lane__known_lane(conn->lane_memo, m->partition_key, conn->lanes);
    if (row->lane < 0)
        row->lane = (int)outbox_backoff__random(conn->lanes - 1);
    row->available = m->delay_ms > 0 ? now + m->delay_ms * 1000 : m->available_at;
    if (m->id != NULL)
        outbox_uuid__parse(m->id, strlen(m->id), &row->id);
    if (m->header_count > 0)
        return outbox_json__headers_encode(m->headers, m->header_count, &row->headers, err);
    return OUTBOX_OK;
}

static int prepare_rows(outbox_conn *conn, const outbox_message *messages, struct call *call, outbox_error **err)
{
    outbox_id *ids = calloc(call->count, sizeof(*ids));
    int64_t now = 0;
    size_t i;
    int rc;

    if (ids == NULL)
        return outbox_error__nomem(err);
    rc = outbox_uuid__make(ids, call->count, err);
    for (i = 0; i < call->count && rc == OUTBOX_OK; i++) {
        const outbox_message *m = &call->rows[i].given;

        take_message(messages, i, &call->rows[i].given);
        if (m->delay_ms > 0 && now == 0)
            rc = outbox_conn__now(conn, &now, err);
        call->rows[i].id = ids[i];
        if (rc == OUTBOX_OK)
            rc = prepare_row(conn, &call->rows[i], m, now, err);
    }
    free(ids);
    return rc;
}

static void bind_dedup(const void *ctx, size_t index, int param, struct outbox_value *v)
{
    (void)param;
    *v = text_value(((char *const *)ctx)[index]);
}

/* "id:…" and "key:…" keep the two apart. The caller's own id and its dedup_key are both unique. */
static int dedup_keys(const struct outbox_row *rows, size_t count, outbox_arena *arena, char **keys, size_t *n)
{
    size_t i;

    *n = 0;
    for (i = 0; i < count; i++) {
        const outbox_message *m = rows[i].m;
        char text[DEDUP_MAX_CHARS * 4 + 8];

        if (m->id != NULL) {
            snprintf(text, sizeof(text), "id:%s", rows[i].id.text);
            if ((keys[(*n)++] = outbox_arena__copy(arena, text, strlen(text))) == NULL)
                return 0;
        }
        if (m->dedup_key != NULL && m->dedup_key[0] != '\0') {
            snprintf(text, sizeof(text), "key:%s", m->dedup_key);
            if ((keys[(*n)++] = outbox_arena__copy(arena, text, strlen(text))) == NULL)
                return 0;
        }
    }
    return 1;
}

/* "id:" and "key:" begin them, as in the table. Which of several it was, some servers say. */
static void say_keys(char *const *keys, size_t count, char *doing, size_t size)
{
    if (count == 1)
        snprintf(doing, size, _("enqueue the message with the %s %.200s"), keys[0][0] == 'i' ? "id" : "dedup_key",
                 strchr(keys[0], ':') + 1);
    else
        snprintf(doing, size, _("enqueue messages whose ids and dedup_keys must be new (%zu of them, the first %.200s)"),
                 count, keys[0]);
}

static int insert_dedup(outbox_conn *conn, const struct outbox_row *rows, size_t count, outbox_error **err)
{
    outbox_arena arena = { NULL };
    char **keys = calloc(count * 2, sizeof(*keys));
    struct outbox_args args = { .set = 0, .row = bind_dedup };
    char doing[300];
    size_t n = 0, at, chunk;
    int rc = OUTBOX_OK;

    if (keys == NULL || !dedup_keys(rows, count, &arena, keys, &n))
        rc = outbox_error__nomem(err);
    for (at = 0; at < n && rc == OUTBOX_OK; at += chunk) {
        chunk = outbox_conn__chunk(conn, Q_DEDUP, n - at);
        args.ctx = keys + at;
        say_keys(keys + at, chunk, doing, sizeof(doing));
        rc = outbox_conn__run(conn, Q_DEDUP, &args, chunk, doing, NULL, err);
    }
    free(keys);
    outbox_arena__free(&arena);
    return rc;
}

/* The database would refuse the second one too, but after the first was written. */
static int check_unique(const struct call *call, outbox_error **err)
{
    outbox_arena arena = { NULL };
    char **keys = calloc(call->count * 2, sizeof(*keys));
    size_t n = 0, i;
    int rc = OUTBOX_OK;

    if (keys == NULL || !dedup_keys(call->rows, call->count, &arena, keys, &n))
        rc = outbox_error__nomem(err);
    if (rc == OUTBOX_OK && n > 1)
        qsort(keys, n, sizeof(*keys), by_text);
    for (i = 1; i < n && rc == OUTBOX_OK; i++)
        if (strcmp(keys[i - 1], keys[i]) == 0)
            rc = outbox_error__set(err, OUTBOX_ERR_DUPLICATE, "enqueue.twice_in_call",
                                   "two messages of this call have the same id or dedup_key (%.80s); nothing was written",
                                   keys[i]);
    free(keys);
    outbox_arena__free(&arena);
    return rc;
}

size_t outbox_row__bytes(const struct outbox_row *row)
{
    return row->m->payload_size + (row->headers != NULL ? strlen(row->headers) : 0);
}

/* A server that takes no longer statements would end the connection, and with it the caller's transaction. */
static int check_packets(const outbox_conn *conn, const struct call *call, outbox_error **err)
{
    char what[200];
    size_t i;

    for (i = 0; i < call->count && conn->packet > 0; i++)
        if (outbox_row__bytes(&call->rows[i]) + OTHER_BYTES > (uint64_t)conn->packet) {
            snprintf(what, sizeof(what), _("payload and headers have %zu bytes, but the server takes no statement above "
                                          "%lld (max_allowed_packet)"),
                     outbox_row__bytes(&call->rows[i]), (long long)conn->packet);
            return bad(err, call->count == 1 ? ALONE : i, "enqueue.payload_too_large", what);
        }
    return OUTBOX_OK;
}

/* How many rows go into the next statement: a kept size, or any where columns are arrays, and not too many bytes. */
static size_t chunk_of(const outbox_conn *conn, const struct outbox_row *rows, size_t left)
{
    int arrays = outbox_conn__sql(conn, Q_INSERT_ARRAYS) != NULL;
    size_t n = !arrays ? outbox_conn__chunk(conn, Q_INSERT, left) : left < OUTBOX_ARRAY_ROWS ? left : OUTBOX_ARRAY_ROWS;
    size_t bytes = 0, most = OUTBOX_CHUNK_BYTES, i;

    if (conn->packet > 0 && (uint64_t)conn->packet < most)
        most = (size_t)conn->packet;
    for (i = 0; i < n; i++) {
        bytes += outbox_row__bytes(&rows[i]) + (conn->packet > 0 ? OTHER_BYTES : 0);
        if (bytes > most && i > 0)
            return arrays ? i : outbox_conn__chunk(conn, Q_INSERT, i);
    }
    return n;
}

/* Arrays pay from two rows on. */
static int insert_rows(outbox_conn *conn, const struct outbox_row *rows, size_t n, outbox_error **err)
{
    struct outbox_args args = { .set = 0, .row = outbox_row__bind, .ctx = rows };

    if (n > 1 && outbox_conn__sql(conn, Q_INSERT_ARRAYS) != NULL)
        return outbox_rows__insert_arrays(conn, rows, n, err);
    return outbox_conn__run(conn, Q_INSERT, &args, n, "enqueue messages", NULL, err);
}

static int insert_all(outbox_conn *conn, const struct call *call, outbox_error **err)
{
    size_t at, n;
    int rc = OUTBOX_OK;

    for (at = 0; at < call->count && rc == OUTBOX_OK; at += n) {
        n = chunk_of(conn, call->rows + at, call->count - at);
        rc = insert_dedup(conn, call->rows + at, n, err);
        if (rc == OUTBOX_OK)
            rc = insert_rows(conn, call->rows + at, n, err);
    }
    return rc;
}

static int takes_several(const outbox_conn *conn, const struct call *call)
{
    size_t i;

    for (i = 0; i < call->count; i++)
        if (call->rows[i].m->id != NULL || (call->rows[i].m->dedup_key != NULL && call->rows[i].m->dedup_key[0] != '\0'))
            return 1;
    return chunk_of(conn, call->rows, call->count) < call->count;
}

/* All or nothing. One statement is that by itself; several need a transaction, if none is open. */
static int insert(outbox_conn *conn, const struct call *call, outbox_error **err)
{
    int was_open = conn->in_transaction, rc = OUTBOX_OK;

    if (takes_several(conn, call))
        rc = outbox_conn__begin_unless_open(conn, err);
    if (rc != OUTBOX_OK)
        return rc;
    rc = insert_all(conn, call, err);
    if (was_open || !conn->in_transaction)
        return rc;
    if (rc == OUTBOX_OK)
        return outbox_conn__commit(conn, err);
    outbox_conn__rollback(conn);
    return rc;
}

static int check_all(const outbox_conn *conn, const outbox_message *messages, size_t count, outbox_error **err)
{
    outbox_message m;
    size_t i;
    int rc = OUTBOX_OK;

    if (messages[0].size < MESSAGE_LEAST)
        return bad(err, count == 1 ? ALONE : 0, "enqueue.bad_size",
                   N_("size is not set: start from OUTBOX_MESSAGE_INIT"));
    for (i = 0; i < count && rc == OUTBOX_OK; i++) {
        take_message(messages, i, &m);
        rc = check(conn, &m, count == 1 ? ALONE : i, err);
    }
    return rc;
}

static int enqueue(outbox_conn *conn, const outbox_message *messages, size_t count, outbox_id *ids, size_t *bytes,
                   outbox_error **err)
{
    struct call call = { NULL, count };
    size_t i;
    int rc = check_all(conn, messages, count, err);

    if (rc == OUTBOX_OK)
        rc = outbox_conn__load(conn, err);
    if (rc != OUTBOX_OK)
        return rc;
    call.rows = calloc(count, sizeof(*call.rows));
    if (call.rows == NULL)
        return outbox_error__nomem(err);
    rc = prepare_rows(conn, messages, &call, err);
    if (rc == OUTBOX_OK)
        rc = check_unique(&call, err);
    if (rc == OUTBOX_OK)
        rc = check_packets(conn, &call, err);
    for (i = 0; i < count && rc == OUTBOX_OK && ids != NULL; i++)
        ids[i] = call.rows[i].id;
    if (rc == OUTBOX_OK)
        rc = insert(conn, &call, err);
    for (i = 0; i < count; i++) {
        *bytes += call.rows[i].given.payload_size;
        free(call.rows[i].headers);
    }
    free(call.rows);
    return rc;
}

int outbox_enqueue(outbox_conn *conn, const outbox_message *messages, size_t count, outbox_id *ids, outbox_error **err)
{
    size_t bytes = 0;
    int rc;

    if (conn == NULL || messages == NULL || count == 0)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "enqueue.nothing", "no connection or no message was given");
    PROBE1(enqueue__start, count);
    rc = enqueue(conn, messages, count, ids, &bytes, err);
    PROBE3(enqueue__done, count, bytes, rc);
    return rc;
}
