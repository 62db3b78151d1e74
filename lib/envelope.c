/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a broker gets beside a payload. Texts of the record are used where they are; what has to be made goes to memory that
 * the next message uses again. */
#include "arena.h"
#include "ascii.h"
#include "base64.h"
#include "buffer.h"
#include "error_internal.h"
#include "record.h"
#include "target.h"
#include "text.h"
#include "timetext.h"
#include "topic_map.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#define CE_PREFIX_MAX 20
#define CE_NAME_MAX 40
/* Room for the name that the program's function gives. */
#define TOPIC_ROOM 1024

enum { CLOUDEVENTS_OFF, CLOUDEVENTS_BINARY, CLOUDEVENTS_STRUCTURED };
enum ce { CE_SPECVERSION, CE_ID, CE_SOURCE, CE_TYPE, CE_TIME, CE_PARTITIONKEY, CE_COUNT };

static const char *const ce_names[CE_COUNT] = { "specversion", "id", "source", "type", "time", "partitionkey" };

static const char *const names[] = { "outbox-id",         "content-type", "outbox-type",   "outbox-key",
                                     "outbox-created-at", "outbox-token", "outbox-attempt" };

#define NAMES (sizeof(names) / sizeof(names[0]))

struct outbox_envelope {
    const outbox_target *target;
    struct outbox_topic_map map;
    int64_t mode;
    uint32_t flags, native;
    char prefix[CE_PREFIX_MAX];
    char ce[CE_COUNT][CE_PREFIX_MAX + CE_NAME_MAX];
    const outbox_record *record;
    outbox_arena arena; /* of this message */
    outbox_meta *metas;
    size_t count, room;
    const char *values[NAMES];
    struct outbox_buffer topic, event;
    char created_at[OUTBOX_TIMETEXT_SIZE], token[48], attempt[24], why[200];
    /* What token and attempt are the texts of: those of a batch nearly always have them in common. */
    int64_t of_token;
    int of_lane, of_attempts;
};

/* ---- Making and freeing -------------------------------------------------------- */

int outbox_envelope_new(const outbox_target *target, const outbox_envelope_style *style, outbox_envelope **envelope,
                        outbox_error **err)
{
    outbox_envelope *e;
    const char *reason;
    size_t i;
    int rc;

    if (envelope == NULL || target == NULL || style == NULL || style->size < sizeof(*style) ||
        style->cloudevents == NULL || strlen(style->cloudevents) >= CE_PREFIX_MAX)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "envelope.bad_style",
                                 "an envelope needs a target and a style with a prefix of up to %d characters",
                                 CE_PREFIX_MAX - 1);
    *envelope = NULL;
    e = calloc(1, sizeof(*e));
    if (e == NULL)
        return outbox_error__nomem(err);
    e->target = target;
    e->mode = outbox_conf__number(target->conf, CONF_CLOUDEVENTS);
    e->flags = style->flags;
    e->native = style->native;
    snprintf(e->prefix, sizeof(e->prefix), "%s", style->cloudevents);
    for (i = 0; i < CE_COUNT; i++)
        snprintf(e->ce[i], sizeof(e->ce[i]), "%s%s", e->prefix, ce_names[i]);
    rc = outbox_topic_map__parse(outbox_conf__text(target->conf, CONF_TOPIC_MAP), &e->map, &reason);
    if (rc == OUTBOX_OK) {
        *envelope = e;
        return rc;
    }
    outbox_envelope_free(e);
    if (rc == OUTBOX_ERR_NOMEM)
        return outbox_error__nomem(err);
    return outbox_error__set(err, rc, "conf.bad_value", "topic.map cannot be read: %s", reason);
}

void outbox_envelope_free(outbox_envelope *e)
{
    if (e == NULL)
        return;
    outbox_topic_map__free(&e->map);
    outbox_arena__free(&e->arena);
    outbox_buffer__free(&e->topic);
    outbox_buffer__free(&e->event);
    free(e->metas);
    free(e);
}

/* ---- What must not get to a broker ---------------------------------------------- */

static int refuse(outbox_envelope *e, const char *what, const char *name, const char *why)
{
    char shown[60];
    char *p;

    snprintf(shown, sizeof(shown), "%s", name);
    outbox_text__repair(shown);
    for (p = shown; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    snprintf(e->why, sizeof(e->why), "%s%s%s%s %s", what, name[0] != '\0' ? " \"" : "", shown,
             name[0] != '\0' ? "\"" : "", why);
    return OUTBOX_ERR_INVALID;
}

static int check_text(outbox_envelope *e, const char *what, const char *name, const char *text)
{
    size_t size = text != NULL ? strlen(text) : 0;

    if (outbox_text__is_plain(text, size))
        return OUTBOX_OK;
    if (size > 0 && outbox_text__has_control(text, size))
        return refuse(e, what, name, "has a control character in it, such as a line break");
    if (size > 0 && outbox_text__length(text, size) < 0)
        return refuse(e, what, name, "is not UTF-8");
    return OUTBOX_OK;
}

static int is_token(const char *name)
{
    return name[0] != '\0' && name[strspn(name, "!#$%&'*+-.^_`|~0123456789"
                                                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")] == '\0';
}

static int check_header(outbox_envelope *e, const outbox_header *header)
{
    int rc;

    if (header->name[0] == '\0')
        return refuse(e, "a header", "", "has no name");
    rc = check_text(e, "the name of the header", header->name, header->name);
    if (rc == OUTBOX_OK && (e->flags & OUTBOX_STYLE_HTTP) != 0 && !is_token(header->name))
        rc = refuse(e, "the header", header->name, "has a name that HTTP does not allow");
    return rc == OUTBOX_OK ? check_text(e, "the value of the header", header->name, header->value) : rc;
}

static int check_record(outbox_envelope *e, const outbox_record *r)
{
    int rc = check_text(e, "the partition key", "", r->partition_key);

    if (rc == OUTBOX_OK)
        rc = check_text(e, "the content type", "", r->content_type);
    if (rc == OUTBOX_OK)
        rc = check_text(e, "the message type", "", r->message_type);
    return rc == OUTBOX_OK ? check_text(e, "the id", "", r->id.text) : rc;
}

/* ---- Entries -------------------------------------------------------------------- */

static int add(outbox_envelope *e, outbox_meta_kind kind, const char *name, const char *value)
{
    outbox_meta *meta;

    if (e->count == e->room) {
        size_t room = e->room * 2 + 16;
        outbox_meta *more = realloc(e->metas, room * sizeof(*more));

        if (more == NULL)
            return OUTBOX_ERR_NOMEM;
        e->metas = more;
        e->room = room;
    }
    meta = &e->metas[e->count++];
    meta->kind = kind;
    meta->name = name;
    meta->name_size = strlen(name);
    meta->value = value;
    meta->value_size = strlen(value);
    return OUTBOX_OK;
}

static int add_ours(outbox_envelope *e, const outbox_record *r)
{
    size_t i;
    int rc = OUTBOX_OK;

    outbox_timetext__format(r->created_at, e->created_at);
    if (e->token[0] == '\0' || e->of_lane != r->lane || e->of_token != r->token) {
        e->of_lane = r->lane;
        e->of_token = r->token;
        snprintf(e->token, sizeof(e->token), "%d:%" PRId64, r->lane, r->token);
    }
    if (e->attempt[0] == '\0' || e->of_attempts != r->attempts) {
        e->of_attempts = r->attempts;
        snprintf(e->attempt, sizeof(e->attempt), "%" PRId64, (int64_t)r->attempts + 1);
    }
    e->values[OUTBOX_META_ID] = r->id.text;
    e->values[OUTBOX_META_CONTENT_TYPE] =
        e->mode == CLOUDEVENTS_STRUCTURED ? "application/cloudevents+json; charset=utf-8" : r->content_type;
    e->values[OUTBOX_META_TYPE] = r->message_type;
    e->values[OUTBOX_META_KEY] = r->partition_key;
    e->values[OUTBOX_META_CREATED_AT] = e->created_at;
    e->values[OUTBOX_META_TOKEN] = e->token;
    e->values[OUTBOX_META_ATTEMPT] = e->attempt;
    for (i = 0; i < NAMES && rc == OUTBOX_OK; i++)
        if (e->values[i] != NULL && (e->native & OUTBOX_META_BIT(i)) == 0)
            rc = add(e, (outbox_meta_kind)i, names[i], e->values[i]);
    return rc;
}

/* CloudEvents over HTTP: printable ASCII but for blank, quote and percent stays. */
static const char *percent(outbox_envelope *e, const char *value)
{
    static const char digits[] = "0123456789ABCDEF";
    const unsigned char *p = (const unsigned char *)value;
    char *text, *to;

    if ((e->flags & OUTBOX_STYLE_HTTP) == 0)
        return value;
    while (*p > 0x20 && *p < 0x7f && *p != '"' && *p != '%')
        p++;
    if (*p == '\0')
        return value;
    text = to = outbox_arena__alloc(&e->arena, strlen(value) * 3 + 1);
    for (p = (const unsigned char *)value; text != NULL && *p != '\0'; p++) {
        if (*p > 0x20 && *p < 0x7f && *p != '"' && *p != '%') {
            *to++ = (char)*p;
            continue;
        }
        *to++ = '%';
        *to++ = digits[*p >> 4];
        *to++ = digits[*p & 15];
    }
    if (text != NULL)
        *to = '\0';
    return text;
}

/* The attribute that a header "ce-NAME" of the message's own is; NULL: it is none. */
static const char *attribute_of(const char *name)
{
    const char *attribute = name + 3;

    if (!outbox_ascii__same(name, "ce-", 3) || attribute[0] == '\0' || strlen(attribute) > CE_NAME_MAX - 1 ||
        attribute[strspn(attribute, "abcdefghijklmnopqrstuvwxyz0123456789")] != '\0')
        return NULL;
    return attribute;
}

/* What the message says of itself, by a header of its own; or NULL. */
static const char *set_attribute(const outbox_record *r, const char *name)
{
    size_t i;

    for (i = 0; i < r->header_count; i++) {
        const char *attribute = attribute_of(r->headers[i].name);

        if (attribute != NULL && strcmp(attribute, name) == 0)
            return r->headers[i].value;
    }
    return NULL;
}

/* It goes before what follows from the message; but its id is its id. */
static const char *own_attribute(const outbox_record *r, enum ce which)
{
    return which > CE_ID ? set_attribute(r, ce_names[which]) : NULL;
}

static int is_ours(const char *attribute)
{
    size_t i;

    for (i = 0; i < CE_COUNT; i++)
        if (strcmp(attribute, ce_names[i]) == 0)
            return 1;
    return 0;
}

static const char *attribute_value(const outbox_envelope *e, const outbox_record *r, enum ce which)
{
    const char *own = own_attribute(r, which);

    if (own != NULL && own[0] != '\0')
        return own;
    switch (which) {
    case CE_SPECVERSION:
        return "1.0";
    case CE_ID:
        return r->id.text;
    case CE_SOURCE:
        return outbox_conf__text(e->target->conf, CONF_CLOUDEVENTS_SOURCE);
    case CE_TYPE:
        return r->message_type != NULL && r->message_type[0] != '\0' ? r->message_type : r->topic;
    case CE_TIME:
        return e->created_at;
    default:
        return r->partition_key;
    }
}

static int add_attribute(outbox_envelope *e, const char *name, const char *value)
{
    const char *shown = percent(e, value);

    return shown != NULL ? add(e, OUTBOX_META_CLOUDEVENT, name, shown) : OUTBOX_ERR_NOMEM;
}

static int add_attributes(outbox_envelope *e, const outbox_record *r)
{
    int which, rc = OUTBOX_OK;

    for (which = 0; which < CE_COUNT && rc == OUTBOX_OK; which++) {
        const char *value = attribute_value(e, r, (enum ce)which);

        if (value != NULL && value[0] != '\0')
            rc = add_attribute(e, e->ce[which], value);
    }
    return rc;
}

/* Names that are ours stay ours: a message that was forwarded may bring those of another outbox. */
static int is_reserved(const outbox_envelope *e, const char *name)
{
    size_t i;

    if (outbox_ascii__lower(name[0]) != 'o' && outbox_ascii__lower(name[0]) != 'c')
        return 0; /* all of them begin so */
    for (i = 0; i < NAMES; i++)
        if (outbox_ascii__same(name, names[i], SIZE_MAX))
            return i != OUTBOX_META_CONTENT_TYPE || e->values[i] != NULL;
    return 0;
}

static int add_header(outbox_envelope *e, const outbox_header *header)
{
    const char *attribute = e->mode != CLOUDEVENTS_OFF ? attribute_of(header->name) : NULL;
    size_t size;
    char *name;

    if (is_reserved(e, header->name))
        return OUTBOX_OK;
    if (attribute == NULL)
        return add(e, OUTBOX_META_HEADER, header->name, header->value);
    if (is_ours(attribute) || e->mode == CLOUDEVENTS_STRUCTURED)
        return OUTBOX_OK;
    size = strlen(e->prefix) + strlen(attribute) + 1;
    name = outbox_arena__alloc(&e->arena, size);
    if (name == NULL)
        return OUTBOX_ERR_NOMEM;
    snprintf(name, size, "%s%s", e->prefix, attribute);
    return add_attribute(e, name, header->value);
}

/* ---- An event in JSON ------------------------------------------------------------ */

static int put(outbox_envelope *e, const char *text)
{
    return outbox_buffer__add(&e->event, text, strlen(text));
}

/* All texts were checked: nothing but quotes and backslashes has to be escaped. */
static int put_string(outbox_envelope *e, const char *text)
{
    int ok = put(e, "\"");

    while (ok && *text != '\0') {
        size_t run = strcspn(text, "\"\\");

        ok = outbox_buffer__add(&e->event, text, run);
        text += run;
        if (ok && *text != '\0')
            ok = put(e, "\\") && outbox_buffer__add(&e->event, text++, 1);
    }
    return ok && put(e, "\"");
}

static int put_member(outbox_envelope *e, const char *name, const char *value)
{
    return put(e, e->event.size > 1 ? ",\"" : "\"") && put(e, name) && put(e, "\":") && put_string(e, value);
}

/* Whether a payload says that it is JSON, and is. */
static int is_json(const outbox_record *r)
{
    const char *type = r->content_type != NULL ? r->content_type : "";
    size_t size = strcspn(type, "; ");
    json_t *value;

    if (!(size == 16 && outbox_ascii__same(type, "application/json", 16)) &&
        !(size == 9 && outbox_ascii__same(type, "text/json", 9)) &&
        !(size > 5 && outbox_ascii__same(type + size - 5, "+json", 5)))
        return 0;
    value = json_loadb(r->payload, r->payload_size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    json_decref(value);
    return value != NULL;
}

static int put_data(outbox_envelope *e, const outbox_record *r)
{
    size_t size = outbox_base64__encoded_size(r->payload_size);
    char *text;

    if (r->payload_size == 0)
        return 1;
    if (is_json(r))
        return put(e, ",\"data\":") && outbox_buffer__add(&e->event, r->payload, r->payload_size);
    text = malloc(size + 1);
    if (text == NULL)
        return 0;
    outbox_base64__encode(r->payload, r->payload_size, text);
    text[size] = '\0';
    if (!put(e, ",\"data_base64\":\"") || !put(e, text) || !put(e, "\"")) {
        free(text);
        return 0;
    }
    free(text);
    return 1;
}

static const char *header_of(const outbox_record *r, const char *name)
{
    size_t i;

    for (i = 0; i < r->header_count; i++)
        if (outbox_ascii__same(r->headers[i].name, name, SIZE_MAX))
            return r->headers[i].value;
    return "";
}

/* The headers of W3C's trace context, as CloudEvents' extension for distributed tracing has them: where an event travels
 * without headers, nothing else tells its trace. The two belong together: those of a message that sets the attributes
 * itself are not mixed with them. */
static int put_trace(outbox_envelope *e, const outbox_record *r)
{
    const char *parent = header_of(r, "traceparent"), *state = header_of(r, "tracestate");

    if (parent[0] == '\0' || set_attribute(r, "traceparent") != NULL || set_attribute(r, "tracestate") != NULL)
        return 1;
    return put_member(e, "traceparent", parent) && (state[0] == '\0' || put_member(e, "tracestate", state));
}

static int make_event(outbox_envelope *e, const outbox_record *r)
{
    int which, ok = put(e, "{");
    size_t i;

    for (which = 0; which < CE_COUNT && ok; which++) {
        const char *value = attribute_value(e, r, (enum ce)which);

        if (value != NULL && value[0] != '\0')
            ok = put_member(e, ce_names[which], value);
    }
    for (i = 0; i < r->header_count && ok; i++) {
        const char *attribute = attribute_of(r->headers[i].name);

        if (attribute != NULL && !is_ours(attribute) && strncmp(attribute, "data", 4) != 0)
            ok = put_member(e, attribute, r->headers[i].value);
    }
    ok = ok && put_trace(e, r);
    if (ok && r->content_type != NULL && r->content_type[0] != '\0')
        ok = put_member(e, "datacontenttype", r->content_type);
    return ok && put_data(e, r) && put(e, "}") ? OUTBOX_OK : OUTBOX_ERR_NOMEM;
}

/* ---- Filling ---------------------------------------------------------------------- */

static int map_topic(outbox_envelope *e, const outbox_record *r)
{
    const outbox_conf *conf = e->target->conf;
    char given[TOPIC_ROOM];
    int rc = OUTBOX_NONE;

    e->topic.size = 0;
    if (conf->topic_map != NULL) {
        given[0] = '\0';
        rc = conf->topic_map(conf->topic_map_user, r, given, sizeof(given));
        given[sizeof(given) - 1] = '\0';
    }
    if (rc < 0)
        return refuse(e, "the topic", r->topic, "was refused by the program's function that maps topics");
    if (rc == OUTBOX_OK ? !outbox_buffer__add(&e->topic, given, strlen(given))
                        : !outbox_topic_map__name(&e->map, r, &e->topic))
        return OUTBOX_ERR_NOMEM;
    if (e->topic.size == 0)
        return refuse(e, "the topic", r->topic, "has no name left after it was mapped");
    return check_text(e, "the topic", e->topic.data, e->topic.data);
}

int outbox_envelope_fill(outbox_envelope *e, const outbox_record *record, const char **why)
{
    size_t i;
    int rc;

    e->record = record;
    e->count = 0;
    e->event.size = 0;
    outbox_arena__reset(&e->arena);
    rc = map_topic(e, record);
    if (rc == OUTBOX_OK)
        rc = check_record(e, record);
    for (i = 0; i < record->header_count && rc == OUTBOX_OK; i++)
        rc = check_header(e, &record->headers[i]);
    if (rc == OUTBOX_OK)
        rc = add_ours(e, record);
    if (rc == OUTBOX_OK && e->mode == CLOUDEVENTS_BINARY)
        rc = add_attributes(e, record);
    for (i = 0; i < record->header_count && rc == OUTBOX_OK; i++)
        rc = add_header(e, &record->headers[i]);
    if (rc == OUTBOX_OK && e->mode == CLOUDEVENTS_STRUCTURED)
        rc = make_event(e, record);
    if (why != NULL)
        *why = rc == OUTBOX_OK ? "" : rc == OUTBOX_ERR_NOMEM ? "out of memory while the message was put together" : e->why;
    return rc;
}

const char *outbox_envelope_topic(const outbox_envelope *e)
{
    return e->topic.data;
}

const outbox_meta *outbox_envelope_metas(const outbox_envelope *e, size_t *count)
{
    if (count != NULL)
        *count = e->count;
    return e->metas;
}

const char *outbox_envelope_value(const outbox_envelope *e, outbox_meta_kind kind)
{
    size_t i;

    if ((size_t)kind < NAMES)
        return e->values[kind];
    for (i = 0; i < e->count; i++)
        if (e->metas[i].kind == kind)
            return e->metas[i].value;
    return NULL;
}

const void *outbox_envelope_payload(const outbox_envelope *e, size_t *size)
{
    if (e->mode != CLOUDEVENTS_STRUCTURED)
        return outbox_record_payload(e->record, size);
    if (size != NULL)
        *size = e->event.size;
    return e->event.data;
}
