/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading the JSON form of a message, and headers as the database keeps them. */
#include "json.h"

#include "base64.h"
#include "error_internal.h"
#include "text.h"
#include "timetext.h"
#include "translate.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

/* The message points into the tree, which lives as long as it. */
struct outbox_parsed {
    outbox_message message;
    json_t *tree;
    outbox_header *headers;
    void *decoded; /* a payload that was base64 */
    int has_payload;
    int has_id; /* whether a member "id" counts */
};

struct member {
    const char *name;
    int (*take)(outbox_parsed *p, const struct member *m, json_t *value, outbox_error **err);
    size_t field; /* where in the message, for those of which there are several of one type */
};

static const char *type_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: return _("an object");
    case JSON_ARRAY: return _("an array");
    case JSON_STRING: return _("a string");
    case JSON_INTEGER: return _("an integer");
    case JSON_REAL: return _("a number with a fraction");
    case JSON_TRUE: return "true";
    case JSON_FALSE: return "false";
    default: return "null";
    }
}

static int wrong_type(const char *name, const char *wanted, const json_t *value, outbox_error **err)
{
    return outbox_error__set(err, OUTBOX_ERR_INVALID, "json.wrong_type", "member \"%s\" must be %s, and is %s", name,
                             _(wanted), type_of(value));
}

/* A string that a C string can hold. */
static int plain_text(const char *name, json_t *value, const char **text, outbox_error **err)
{
    if (!json_is_string(value))
        return wrong_type(name, N_("a string"), value, err);
    if (strlen(json_string_value(value)) != json_string_length(value))
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "json.nul",
                                 "member \"%s\" contains \\u0000, which only a payload may", name);
    *text = json_string_value(value);
    return OUTBOX_OK;
}

static int take_text(outbox_parsed *p, const struct member *m, json_t *value, outbox_error **err)
{
    return plain_text(m->name, value, (const char **)(void *)((char *)&p->message + m->field), err);
}

static int take_id(outbox_parsed *p, const struct member *m, json_t *value, outbox_error **err)
{
    return p->has_id ? plain_text(m->name, value, &p->message.id, err) : OUTBOX_OK;
}

static int second_payload(outbox_error **err)
{
    return outbox_error__set(err, OUTBOX_ERR_INVALID, "json.two_payloads",
                             "members \"payload\" and \"payload_base64\" are both there: leave one out");
}

static int take_payload(outbox_parsed *p, const struct member *m, json_t *value, outbox_error **err)
{
    if (p->has_payload)
        return second_payload(err);
    if (json_is_object(value) || json_is_array(value))
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "json.wrong_type",
                                 "member \"%s\" must be a string, and is %s: a payload is bytes, so write JSON as text "
                                 "in quotes",
                                 m->name, type_of(value));
    if (!json_is_string(value))
        return wrong_type(m->name, N_("a string"), value, err);
    p->message.payload = json_string_value(value);
    p->message.payload_size = json_string_length(value);
    p->has_payload = 1;
    return OUTBOX_OK;
}

static int take_payload_base64(outbox_parsed *p, const struct member *m, json_t *value, outbox_error **err)
{
    size_t size, wrong;

    if (p->has_payload)
        return second_payload(err);
    if (!json_is_string(value))
        return wrong_type(m->name, N_("a string"), value, err);
    size = json_string_length(value);
    p->decoded = malloc(size / 4 * 3 + 1);
    if (p->decoded == NULL)
        return outbox_error__nomem(err);
    wrong = outbox_base64__decode(json_string_value(value), size, p->decoded, &p->message.payload_size);
    if (wrong > size)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "json.base64",
                                 "member \"%s\" is no base64: its length of %zu is not a multiple of 4", m->name, size);
    if (wrong > 0)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "json.base64",
                                 "member \"%s\" is no base64: character %zu of it is wrong", m->name, wrong);
    p->message.payload = p->decoded;
    p->has_payload = 1;
    return OUTBOX_OK;
}

static int take_headers(outbox_parsed *p, const struct member *m, json_t *value, outbox_error **err)
{
    const char *name;
    json_t *text;
    size_t count = json_object_size(value);

    if (!json_is_object(value))
        return wrong_type(m->name, N_("an object"), value, err);
    if (count == 0)
        return OUTBOX_OK;
    p->headers = calloc(count, sizeof(*p->headers));
    if (p->headers == NULL)
        return outbox_error__nomem(err);
    json_object_foreach(value, name, text) {
        outbox_header *h = &p->headers[p->message.header_count++];
        h->name = name;
        if (!json_is_string(text) || strlen(json_string_value(text)) != json_string_length(text))
            return outbox_error__set(err, OUTBOX_ERR_INVALID, "json.header",
                                     "header \"%s\" must be a string without \\u0000, and is %s", name,
                                     json_is_string(text) ? "a string with one" : type_of(text));
        h->value = json_string_value(text);
    }
    p->message.headers = p->headers;
    return OUTBOX_OK;
}

static int take_available_at(outbox_parsed *p, const struct member *m, json_t *value, outbox_error **err)
{
    int64_t us;

    if (!json_is_string(value))
        return wrong_type(m->name, N_("a string such as \"2026-01-31T12:00:00Z\""), value, err);
    if (!outbox_timetext__parse(json_string_value(value), json_string_length(value), &us))
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "json.time",
                                 "member \"%s\" is \"%.64s\", which is not a time as RFC 3339 writes it, such as "
                                 "\"2026-01-31T12:00:00.5Z\"",
                                 m->name, json_string_value(value));
    /* Whatever is past means at once, and so does 0. */
    p->message.available_at = us > 0 ? us : 0;
    return OUTBOX_OK;
}

static int take_number(const struct member *m, json_t *value, int64_t low, int64_t high, int64_t *number,
                       outbox_error **err)
{
    if (!json_is_integer(value))
        return wrong_type(m->name, N_("an integer"), value, err);
    *number = json_integer_value(value);
    if (*number < low || *number > high)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "json.range",
                                 "member \"%s\" is %lld; it must be from %lld to %lld", m->name, (long long)*number,
                                 (long long)low, (long long)high);
    return OUTBOX_OK;
}

static int take_delay(outbox_parsed *p, const struct member *m, json_t *value, outbox_error **err)
{
    return take_number(m, value, 0, INT64_MAX / 1000000, &p->message.delay_ms, err);
}

static int take_max_attempts(outbox_parsed *p, const struct member *m, json_t *value, outbox_error **err)
{
    int64_t number = 0;
    int rc = take_number(m, value, 1, INT_MAX, &number, err);

    if (rc == OUTBOX_OK)
        p->message.max_attempts = (int)number;
    return rc;
}

/* What only the outbox itself can say; there when a line comes from a publisher or from outboxctl. */
static int take_nothing(outbox_parsed *p, const struct member *m, json_t *value, outbox_error **err)
{
    (void)p, (void)m, (void)value, (void)err;
    return OUTBOX_OK;
}

static const struct member members[] = {
    { "id", take_id, 0 },
    { "topic", take_text, offsetof(outbox_message, topic) },
    { "partition_key", take_text, offsetof(outbox_message, partition_key) },
    { "payload", take_payload, 0 },
    { "payload_base64", take_payload_base64, 0 },
    { "headers", take_headers, 0 },
    { "content_type", take_text, offsetof(outbox_message, content_type) },
    { "message_type", take_text, offsetof(outbox_message, message_type) },
    { "dedup_key", take_text, offsetof(outbox_message, dedup_key) },
    { "available_at", take_available_at, 0 },
    { "delay_ms", take_delay, 0 },
    { "max_attempts", take_max_attempts, 0 },
    { "attempts", take_nothing, 0 },
    { "created_at", take_nothing, 0 },
    { "published_at", take_nothing, 0 },
    { "state", take_nothing, 0 },
    { "last_error", take_nothing, 0 },
    { "lane", take_nothing, 0 },
    { "seq", take_nothing, 0 },
    { "token", take_nothing, 0 },
};

static int take_member(outbox_parsed *p, const char *name, json_t *value, outbox_error **err)
{
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        if (strcmp(members[i].name, name) == 0)
            return json_is_null(value) ? OUTBOX_OK : members[i].take(p, &members[i], value, err);
    return outbox_error__set(err, OUTBOX_ERR_INVALID, "json.unknown_member",
                             "member \"%.100s\" is not one that a message has; is it misspelt?", name);
}

static int take_members(outbox_parsed *p, outbox_error **err)
{
    const char *name;
    json_t *value;

    json_object_foreach(p->tree, name, value) {
        int rc = take_member(p, name, value, err);
        if (rc != OUTBOX_OK)
            return rc;
    }
    if (p->message.topic == NULL)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "json.no_topic",
                                 "member \"topic\" is missing: every message needs one");
    if (p->message.available_at != 0 && p->message.delay_ms != 0)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "json.two_times",
                                 "members \"available_at\" and \"delay_ms\" are both there: leave one out");
    return OUTBOX_OK;
}

/* Where memory is out jansson often says nothing at all; of a mistake in the text it always says what it is. */
static int is_out_of_memory(const json_error_t *why)
{
    return why->text[0] == '\0' || json_error_code(why) == json_error_out_of_memory;
}

static int parse_tree(outbox_parsed *p, const char *text, size_t size, outbox_error **err)
{
    json_error_t why = { 0 };

    p->tree = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &why);
    if (p->tree == NULL && is_out_of_memory(&why))
        return outbox_error__nomem(err);
    if (p->tree == NULL)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "json.syntax", "not valid JSON at byte %d: %s", why.position,
                                 why.text);
    if (!json_is_object(p->tree))
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "json.no_object", "a message must be a JSON object, and is %s",
                                 type_of(p->tree));
    return OUTBOX_OK;
}

int outbox_message_from_json(const char *text, size_t size, int keep_id, outbox_parsed **parsed, outbox_error **err)
{
    static const outbox_message start = OUTBOX_MESSAGE_INIT;
    outbox_parsed *p;
    int rc;

    if (text == NULL || parsed == NULL)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "json.no_text",
                                 "outbox_message_from_json() was called without text or a place for the message");
    *parsed = NULL;
    p = calloc(1, sizeof(*p));
    if (p == NULL)
        return outbox_error__nomem(err);
    p->message = start;
    p->has_id = keep_id;
    rc = parse_tree(p, text, size, err);
    if (rc == OUTBOX_OK)
        rc = take_members(p, err);
    if (rc != OUTBOX_OK) {
        outbox_parsed_free(p);
        return rc;
    }
    *parsed = p;
    return OUTBOX_OK;
}

const outbox_message *outbox_parsed_message(const outbox_parsed *parsed)
{
    return parsed != NULL ? &parsed->message : NULL;
}

void outbox_parsed_free(outbox_parsed *parsed)
{
    if (parsed == NULL)
        return;
    json_decref(parsed->tree);
    free(parsed->headers);
    free(parsed->decoded);
    free(parsed);
}

/* Where copies of headers go. */
struct arena {
    void *(*alloc)(void *ctx, size_t size);
    void *ctx;
};

static int copy_text(const struct arena *arena, const char *text, size_t size, const char **copy)
{
    char *to = arena->alloc(arena->ctx, size + 1);

    if (to == NULL)
        return OUTBOX_ERR_NOMEM;
    memcpy(to, text, size + 1);
    *copy = to;
    return OUTBOX_OK;
}

static int copy_header(const struct arena *arena, const char *name, json_t *value, outbox_header *h)
{
    size_t length = strlen(name);
    int rc;

    /* A byte of 0 counts as a control character. */
    if (length == 0 || outbox_text__has_control(name, length) || !json_is_string(value) ||
        outbox_text__has_control(json_string_value(value), json_string_length(value)))
        return OUTBOX_ERR_INVALID;
    rc = copy_text(arena, name, length, &h->name);
    return rc == OUTBOX_OK ? copy_text(arena, json_string_value(value), json_string_length(value), &h->value) : rc;
}

static int copy_headers(const struct arena *arena, json_t *tree, outbox_header **headers, size_t *count)
{
    const char *name;
    json_t *value;
    outbox_header *h;
    size_t n = 0;

    if (!json_is_object(tree))
        return OUTBOX_ERR_INVALID;
    if (json_object_size(tree) == 0)
        return OUTBOX_OK;
    h = arena->alloc(arena->ctx, json_object_size(tree) * sizeof(*h));
    if (h == NULL)
        return OUTBOX_ERR_NOMEM;
    json_object_foreach(tree, name, value) {
        int rc = copy_header(arena, name, value, &h[n++]);
        if (rc != OUTBOX_OK)
            return rc;
    }
    *headers = h;
    *count = n;
    return OUTBOX_OK;
}

int outbox_json__headers_decode(const char *text, size_t length, struct outbox_header **headers, size_t *count,
                                void *(*alloc)(void *ctx, size_t size), void *ctx)
{
    const struct arena arena = { alloc, ctx };
    json_error_t why = { 0 };
    json_t *tree;
    int rc;

    *headers = NULL;
    *count = 0;
    if (text == NULL || length == 0 || (length == 2 && memcmp(text, "{}", 2) == 0))
        return OUTBOX_OK;
    tree = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
    if (tree == NULL)
        return is_out_of_memory(&why) ? OUTBOX_ERR_NOMEM : OUTBOX_ERR_INVALID;
    rc = copy_headers(&arena, tree, headers, count);
    json_decref(tree);
    return rc;
}
