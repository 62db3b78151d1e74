/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages as they are read back. */
#include "record.h"
#include "json.h"
#include "uuid.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const state_names[OUTBOX_STATE_COUNT] = { "?", "pending", "scheduled", "retry", "held", "dead",
                                                             "published" };

const char *outbox_state_name(outbox_state state)
{
    return (int)state > 0 && (int)state < OUTBOX_STATE_COUNT ? state_names[state] : "?";
}

int outbox_state_parse(const char *name, outbox_state *state)
{
    int i;

    for (i = 1; i < OUTBOX_STATE_COUNT; i++)
        if (name != NULL && strcmp(name, state_names[i]) == 0) {
            *state = (outbox_state)i;
            return OUTBOX_OK;
        }
    return OUTBOX_NONE;
}

void *outbox_record__alloc(void *arena, size_t size)
{
    return outbox_arena__alloc(arena, size);
}

static const char *text_or_null(const struct outbox_value *cell)
{
    return cell->type == OUTBOX_T_TEXT ? cell->data : NULL;
}

/* A database may hold numbers that a plain SQL producer made up: the nearest one that makes sense. */
static int count_of(const struct outbox_value *cell)
{
    return cell->number < 0 ? 0 : cell->number > INT_MAX ? INT_MAX : (int)cell->number;
}

int outbox_record__fill(outbox_record *r, const struct outbox_value *c, outbox_arena *arena)
{
    int rc;

    memset(r, 0, sizeof(*r));
    r->lane = (int)c[0].number;
    r->seq = c[1].number;
    /* A plain SQL producer may have written what is no UUID where the column is text: shown as it is. */
    if (c[2].type == OUTBOX_T_TEXT && !outbox_uuid__parse(c[2].data, c[2].size, &r->id))
        snprintf(r->id.text, sizeof(r->id.text), "%s", (const char *)c[2].data);
    r->topic = c[3].type == OUTBOX_T_TEXT ? c[3].data : "";
    r->partition_key = text_or_null(&c[4]);
    r->payload = c[5].data != NULL ? c[5].data : "";
    r->payload_size = c[5].size;
    r->content_type = text_or_null(&c[7]);
    r->message_type = text_or_null(&c[8]);
    r->max_attempts = count_of(&c[9]);
    r->created_at = c[10].number;
    r->available_at = c[11].number;
    r->state = (outbox_state)(c[12].number > 0 && c[12].number < OUTBOX_STATE_COUNT ? c[12].number : 0);
    r->last_error = text_or_null(&c[13]);
    r->attempts = count_of(&c[15]);
    r->published_at = c[16].number;
    if (c[6].type != OUTBOX_T_TEXT)
        return OUTBOX_OK;
    rc = outbox_json__headers_decode(c[6].data, c[6].size, &r->headers, &r->header_count, outbox_record__alloc, arena);
    return rc == OUTBOX_ERR_INVALID ? OUTBOX_NONE : rc;
}

const char *outbox_record_id(const outbox_record *r)
{
    return r->id.text;
}

const char *outbox_record_topic(const outbox_record *r)
{
    return r->topic;
}

const char *outbox_record_partition_key(const outbox_record *r)
{
    return r->partition_key;
}

const void *outbox_record_payload(const outbox_record *r, size_t *size)
{
    if (size != NULL)
        *size = r->payload_size;
    return r->payload;
}

const outbox_header *outbox_record_headers(const outbox_record *r, size_t *count)
{
    if (count != NULL)
        *count = r->header_count;
    return r->headers;
}

const char *outbox_record_header(const outbox_record *r, const char *name)
{
    size_t i;

    for (i = 0; i < r->header_count; i++)
        if (strcmp(r->headers[i].name, name) == 0)
            return r->headers[i].value;
    return NULL;
}

const char *outbox_record_content_type(const outbox_record *r)
{
    return r->content_type;
}

const char *outbox_record_message_type(const outbox_record *r)
{
    return r->message_type;
}

int outbox_record_max_attempts(const outbox_record *r)
{
    return r->max_attempts;
}

int outbox_record_attempts(const outbox_record *r)
{
    return r->attempts;
}

int64_t outbox_record_created_at(const outbox_record *r)
{
    return r->created_at;
}

int64_t outbox_record_available_at(const outbox_record *r)
{
    return r->available_at;
}

int64_t outbox_record_published_at(const outbox_record *r)
{
    return r->published_at;
}

const char *outbox_record_last_error(const outbox_record *r)
{
    return r->last_error;
}

outbox_state outbox_record_state(const outbox_record *r)
{
    return r->state;
}

int outbox_record_lane(const outbox_record *r)
{
    return r->lane;
}

int64_t outbox_record_seq(const outbox_record *r)
{
    return r->seq;
}

int64_t outbox_record_token(const outbox_record *r)
{
    return r->token;
}

void outbox_free(void *text)
{
    free(text);
}
