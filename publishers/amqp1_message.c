/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A message of an outbox as one of AMQP 1.0: a durable one, with one data section. */
#include "amqp1.h"

#include <stdlib.h>
#include <string.h>

/* What is neither payload nor names and values: headers of sections, properties. */
#define OVERHEAD 1024
#define TOPIC "{topic}"

static pn_bytes_t text(const char *s, size_t size)
{
    return pn_bytes(size, s);
}

static int put_properties(pn_data_t *data, const outbox_meta *metas, size_t count)
{
    int rc = pn_data_put_map(data);

    pn_data_enter(data);
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = pn_data_put_string(data, text(metas[i].name, metas[i].name_size));
        if (rc == 0)
            rc = pn_data_put_string(data, text(metas[i].value, metas[i].value_size));
    }
    pn_data_exit(data);
    return rc;
}

static int fill(struct amqp1_link *link, const outbox_record *r)
{
    const char *type = outbox_envelope_value(link->envelope, OUTBOX_META_TYPE);
    const char *content_type = outbox_envelope_value(link->envelope, OUTBOX_META_CONTENT_TYPE);
    const char *id = outbox_record_id(r), *key = outbox_record_partition_key(r);
    pn_message_t *m = link->message;
    pn_atom_t atom = { .type = PN_STRING };
    size_t size, count;
    const void *payload = outbox_envelope_payload(link->envelope, &size);
    const outbox_meta *metas = outbox_envelope_metas(link->envelope, &count);
    int rc;

    pn_message_clear(m);
    atom.u.as_bytes = text(id, strlen(id));
    rc = pn_message_set_id(m, atom);
    rc |= pn_message_set_durable(m, 1) | pn_message_set_inferred(m, 1);
    rc |= pn_message_set_creation_time(m, outbox_record_created_at(r) / 1000);
    if (type != NULL)
        rc |= pn_message_set_subject(m, type);
    if (content_type != NULL)
        rc |= pn_message_set_content_type(m, content_type);
    if (key != NULL && outbox_target_number(link->login->target, "group_id") == 1)
        rc |= pn_message_set_group_id(m, key);
    rc |= put_properties(pn_message_properties(m), metas, count);
    return rc | pn_data_put_binary(pn_message_body(m), pn_bytes(size, payload));
}

static int reserve(struct amqp1_link *link, size_t room)
{
    char *bytes;

    if (room <= link->room)
        return 1;
    bytes = realloc(link->bytes, room);
    if (bytes == NULL)
        return 0;
    link->bytes = bytes;
    link->room = room;
    return 1;
}

const char *amqp1_message_make(struct amqp1_link *link, const outbox_record *record)
{
    size_t count, size, room;
    const outbox_meta *metas = outbox_envelope_metas(link->envelope, &count);
    int rc = fill(link, record);

    outbox_envelope_payload(link->envelope, &size);
    for (room = size + OVERHEAD; count > 0; count--)
        room += metas[count - 1].name_size + metas[count - 1].value_size + 10;
    while (rc == 0) {
        if (!reserve(link, room))
            return "out of memory while a message was made";
        link->size = link->room;
        rc = pn_message_encode(link->message, link->bytes, &link->size);
        if (rc != PN_OVERFLOW)
            break;
        rc = 0;
        room = link->room * 2;
    }
    return rc == 0 ? NULL : "the client library could not make a message of it: out of memory";
}

char *amqp1_message_address(const struct amqp1_link *link)
{
    const char *pattern = outbox_target_text(link->login->target, "address"), *at = strstr(pattern, TOPIC);
    const char *topic = outbox_envelope_topic(link->envelope);
    size_t before = (size_t)(at - pattern), middle = strlen(topic), after;
    char *address;

    if (at == NULL)
        return strdup(pattern);
    at += strlen(TOPIC);
    after = strlen(at);
    address = malloc(before + middle + after + 1);
    if (address == NULL)
        return NULL;
    memcpy(address, pattern, before);
    memcpy(address + before, topic, middle);
    memcpy(address + before + middle, at, after + 1);
    return address;
}
