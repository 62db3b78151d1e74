/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writing JSON. Parsing is jansson's; writing is done here, because a tree of values for every message, made only
 * to be printed, costs several times what the text does, and the publishers write one for each message.
 */
#include "json.h"

#include "base64.h"
#include "error_internal.h"
#include "text.h"
#include "timetext.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Text that grows. Once memory is out it stays `failed` and takes nothing more, so that one check at the end does. */
struct writer {
    char *text;
    size_t used, room;
    int failed;
    int members; /* of the object that is being written */
};

static int writer_reserve(struct writer *w, size_t more)
{
    size_t room = w->room == 0 ? 512 : w->room;
    char *text;

    if (w->failed)
        return 0;
    if (more <= w->room - w->used)
        return 1;
    while (room - w->used < more) {
        if (room > SIZE_MAX / 2)
            goto fail;
        room *= 2;
    }
    text = realloc(w->text, room);
    if (text == NULL)
        goto fail;
    w->text = text;
    w->room = room;
    return 1;
fail:
    w->failed = 1;
    return 0;
}

static void put_bytes(struct writer *w, const char *bytes, size_t size)
{
    if (!writer_reserve(w, size))
        return;
    memcpy(w->text + w->used, bytes, size);
    w->used += size;
}

static void put_text(struct writer *w, const char *text)
{
    put_bytes(w, text, strlen(text));
}

static void put_escape(struct writer *w, unsigned char c)
{
    static const char short_form[] = "btn\0fr"; /* of 8 … 13 */
    char escape[8];

    if (c == '"' || c == '\\')
        snprintf(escape, sizeof(escape), "\\%c", c);
    else if (c >= 8 && c <= 13 && c != 11)
        snprintf(escape, sizeof(escape), "\\%c", short_form[c - 8]);
    else
        snprintf(escape, sizeof(escape), "\\u%04x", c);
    put_text(w, escape);
}

/* UTF-8, without the quotes: runs that need no escape are copied whole. */
static void put_escaped(struct writer *w, const char *text, size_t size)
{
    size_t run = 0;

    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        put_bytes(w, text + run, i - run);
        put_escape(w, c);
        run = i + 1;
    }
    put_bytes(w, text + run, size - run);
}

/* Text that some other program put into the table and that is not UTF-8: U+FFFD stands for each wrong byte. */
static void put_repaired(struct writer *w, const char *text, size_t size)
{
    for (size_t i = 0; i < size;) {
        size_t n = 1;
        while (n <= 4 && n <= size - i && outbox_text__length(text + i, n) != 1)
            n++;
        if (n > 4 || n > size - i) {
            put_text(w, "\xef\xbf\xbd");
            i++;
        } else {
            put_escaped(w, text + i, n);
            i += n;
        }
    }
}

static void put_string(struct writer *w, const char *text, size_t size)
{
    put_text(w, "\"");
    if (outbox_text__length(text, size) >= 0)
        put_escaped(w, text, size);
    else
        put_repaired(w, text, size);
    put_text(w, "\"");
}

/* `name` is one of ours and needs no escape. */
static void put_name(struct writer *w, const char *name)
{
    put_text(w, w->members++ > 0 ? ",\"" : "\"");
    put_text(w, name);
    put_text(w, "\":");
}

static void put_member(struct writer *w, const char *name, const char *text)
{
    if (text == NULL)
        return;
    put_name(w, name);
    put_string(w, text, strlen(text));
}

static void put_number(struct writer *w, const char *name, int64_t number)
{
    char text[24];

    put_name(w, name);
    snprintf(text, sizeof(text), "%" PRId64, number);
    put_text(w, text);
}

static void put_time(struct writer *w, const char *name, int64_t us)
{
    char text[OUTBOX_TIMETEXT_SIZE];

    if (us == 0)
        return;
    outbox_timetext__format(us, text);
    put_member(w, name, text);
}

/* As text where text it is, so that people can read it; NUL bytes are text to few programs. */
static void put_payload(struct writer *w, const char *payload, size_t size)
{
    size_t encoded = outbox_base64__encoded_size(size);

    if (memchr(payload, '\0', size) == NULL && outbox_text__length(payload, size) >= 0) {
        put_name(w, "payload");
        put_text(w, "\"");
        put_escaped(w, payload, size);
        put_text(w, "\"");
        return;
    }
    put_name(w, "payload_base64");
    put_text(w, "\"");
    if (writer_reserve(w, encoded)) {
        outbox_base64__encode(payload, size, w->text + w->used);
        w->used += encoded;
    }
    put_text(w, "\"");
}

static void put_headers(struct writer *w, const outbox_header *headers, size_t count)
{
    put_text(w, "{");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            put_text(w, ",");
        put_string(w, headers[i].name, strlen(headers[i].name));
        put_text(w, ":");
        put_string(w, headers[i].value, strlen(headers[i].value));
    }
    put_text(w, "}");
}

/* Ends the text and hands it over. */
static int writer_finish(struct writer *w, char **text, outbox_error **err)
{
    put_bytes(w, "", 1);
    if (w->failed) {
        free(w->text);
        return outbox_error__nomem(err);
    }
    *text = w->text;
    return OUTBOX_OK;
}

/* What the message is. */
static void put_message(struct writer *w, const outbox_record *r)
{
    size_t size, count;
    const void *payload = outbox_record_payload(r, &size);
    const outbox_header *headers = outbox_record_headers(r, &count);

    put_member(w, "id", outbox_record_id(r));
    put_member(w, "topic", outbox_record_topic(r));
    put_member(w, "partition_key", outbox_record_partition_key(r));
    put_payload(w, payload, size);
    if (count > 0) {
        put_name(w, "headers");
        put_headers(w, headers, count);
    }
    put_member(w, "content_type", outbox_record_content_type(r));
    put_member(w, "message_type", outbox_record_message_type(r));
}

/* What became of it. */
static void put_progress(struct writer *w, const outbox_record *r)
{
    outbox_state state = outbox_record_state(r);

    put_number(w, "attempts", outbox_record_attempts(r));
    if (outbox_record_max_attempts(r) > 0)
        put_number(w, "max_attempts", outbox_record_max_attempts(r));
    put_time(w, "created_at", outbox_record_created_at(r));
    put_time(w, "available_at", outbox_record_available_at(r));
    put_time(w, "published_at", outbox_record_published_at(r));
    /* A relay has it in hand: where it was before is of no use to who gets it, and "pending" would be wrong. */
    if ((int)state != 0 && outbox_record_token(r) == 0)
        put_member(w, "state", outbox_state_name(state));
    put_member(w, "last_error", outbox_record_last_error(r));
    if (outbox_record_seq(r) > 0) {
        put_number(w, "lane", outbox_record_lane(r));
        put_number(w, "seq", outbox_record_seq(r));
    }
    if (outbox_record_token(r) > 0)
        put_number(w, "token", outbox_record_token(r));
}

int outbox_record_to_json(const outbox_record *r, char **text, outbox_error **err)
{
    struct writer w = { 0 };

    if (r == NULL || text == NULL)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "json.no_record",
                                 "outbox_record_to_json() was called without a record or a place for the text");
    put_text(&w, "{");
    put_message(&w, r);
    put_progress(&w, r);
    put_text(&w, "}");
    return writer_finish(&w, text, err);
}

int outbox_json__headers_encode(const outbox_header *headers, size_t count, char **text, outbox_error **err)
{
    struct writer w = { 0 };

    put_headers(&w, headers, count);
    return writer_finish(&w, text, err);
}
