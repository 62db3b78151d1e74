/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "topic_map.h"
#include "buffer.h"

#include <stdlib.h>
#include <string.h>

static const char *const places[] = { "{topic}", "{rest}", "{key}", "{type}" };

#define PLACES (sizeof(places) / sizeof(places[0]))

/* Which place a template's text begins with; PLACES: none. */
static size_t place_of(const char *text)
{
    size_t i;

    for (i = 0; i < PLACES; i++)
        if (strncmp(text, places[i], strlen(places[i])) == 0)
            return i;
    return PLACES;
}

static const char *check_template(const struct outbox_topic_rule *rule)
{
    const char *p;

    if (rule->to[0] == '\0')
        return "a name after \"=\" is missing";
    for (p = rule->to; *p != '\0'; p++) {
        size_t place = place_of(p);

        if (*p == '{' && place == PLACES)
            return "what stands between { and } must be topic, rest, key or type";
        if (place == 1 && !rule->prefix)
            return "{rest} is what a \"*\" stood for, and there is none";
        if (place < PLACES)
            p += strlen(places[place]) - 1;
        else if (*p == '}' || *p == '*')
            return "a name after \"=\" cannot have a \"}\" or \"*\" of its own";
    }
    return NULL;
}

static const char *parse_rule(char *text, struct outbox_topic_rule *rule)
{
    char *equals = strchr(text, '='), *end;

    if (equals == NULL || equals == text)
        return "it must be FROM=TO,FROM=TO";
    rule->from = text;
    rule->to = equals + 1 + strspn(equals + 1, " ");
    for (end = equals; end > text && end[-1] == ' '; end--)
        continue;
    rule->prefix = end > text && end[-1] == '*';
    end -= rule->prefix;
    *end = '\0';
    rule->from_size = (size_t)(end - text);
    if (memchr(text, '*', rule->from_size) != NULL)
        return "a \"*\" can only stand at the end of a topic";
    if (rule->from_size == 0 && !rule->prefix)
        return "it must be FROM=TO,FROM=TO";
    return check_template(rule);
}

int outbox_topic_map__parse(const char *text, struct outbox_topic_map *map, const char **reason)
{
    size_t room = 1;
    char *p;

    memset(map, 0, sizeof(*map));
    *reason = NULL;
    map->text = strdup(text);
    for (p = map->text; p != NULL && *p != '\0'; p++)
        room += *p == ',';
    map->rules = calloc(room, sizeof(*map->rules));
    if (map->text == NULL || map->rules == NULL)
        return OUTBOX_ERR_NOMEM;
    p = map->text + strspn(map->text, " ");
    while (*p != '\0') {
        char *comma = strchr(p, ','), *end = comma != NULL ? comma : p + strlen(p);

        while (end > p && end[-1] == ' ')
            end--;
        *end = '\0';
        *reason = parse_rule(p, &map->rules[map->count++]);
        if (*reason != NULL)
            return OUTBOX_ERR_CONF;
        if (comma == NULL)
            break;
        p = comma + 1 + strspn(comma + 1, " ");
    }
    return OUTBOX_OK;
}

void outbox_topic_map__free(struct outbox_topic_map *map)
{
    free(map->rules);
    free(map->text);
}

static const struct outbox_topic_rule *find(const struct outbox_topic_map *map, const char *topic)
{
    size_t i;

    for (i = 0; i < map->count; i++) {
        const struct outbox_topic_rule *rule = &map->rules[i];

        if (strncmp(topic, rule->from, rule->from_size) == 0 && (rule->prefix || topic[rule->from_size] == '\0'))
            return rule;
    }
    return NULL;
}

int outbox_topic_map__name(const struct outbox_topic_map *map, const outbox_record *record, outbox_buffer *name)
{
    const char *topic = outbox_record_topic(record), *key = outbox_record_partition_key(record);
    const char *type = outbox_record_message_type(record), *p;
    const struct outbox_topic_rule *rule = find(map, topic);
    const char *values[PLACES] = { topic, "", key != NULL ? key : "", type != NULL ? type : "" };

    if (rule == NULL)
        return outbox_buffer__add(name, topic, strlen(topic));
    values[1] = topic + rule->from_size;
    for (p = rule->to; *p != '\0';) {
        size_t place = place_of(p), size = strcspn(p, "{");

        if (place < PLACES ? !outbox_buffer__add(name, values[place], strlen(values[place]))
                           : !outbox_buffer__add(name, p, size))
            return 0;
        p += place < PLACES ? strlen(places[place]) : size;
    }
    return 1;
}
