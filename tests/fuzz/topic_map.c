/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The setting topic.map: refused with a reason, or each topic gets the name that the rules give it, as worked out here
 * a second time. Lines of the input: the map, a topic, a key, a type.
 */
#include "buffer.h"
#include "fuzz/fuzz.h"
#include "record.h"
#include "topic_map.h"

#include <stdlib.h>
#include <string.h>

/* Without the blanks around it. */
static char *trimmed(char *text)
{
    size_t size;

    text += strspn(text, " ");
    for (size = strlen(text); size > 0 && text[size - 1] == ' '; size--)
        text[size - 1] = '\0';
    return text;
}

/* With each {place} of the template replaced; none is left that is unknown. */
static char *filled(const char *template, const outbox_record *record, const char *rest)
{
    const struct {
        const char *place, *value;
    } places[] = {
        {"{topic}", record->topic},
        {"{rest}", rest},
        {"{key}", record->partition_key},
        {"{type}", record->message_type},
    };
    struct outbox_buffer out = { NULL, 0, 0 };

    FUZZ_CHECK(outbox_buffer__add(&out, "", 0), "out of memory");
    while (*template != '\0') {
        const char *add = template;
        size_t size = 1, skip = 1;

        for (size_t i = 0; i < sizeof places / sizeof *places && *template == '{'; i++)
            if (strncmp(template, places[i].place, strlen(places[i].place)) == 0) {
                add = places[i].value != NULL ? places[i].value : "";
                size = strlen(add);
                skip = strlen(places[i].place);
            }
        FUZZ_CHECK(skip > 1 || strchr("{}*", *template) == NULL, "a template is \"%s\"", template);
        FUZZ_CHECK(outbox_buffer__add(&out, add, size), "out of memory");
        template += skip;
    }
    FUZZ_CHECK(outbox_buffer__add(&out, "", 1), "out of memory");
    return out.data;
}

/* The first rule that fits. */
static char *expected(const char *map, const outbox_record *record)
{
    char *copy = strdup(map), *save = NULL, *rule, *name = NULL;

    FUZZ_CHECK(copy != NULL, "out of memory");
    for (rule = strtok_r(copy, ",", &save); rule != NULL && name == NULL; rule = strtok_r(NULL, ",", &save)) {
        char *equals = strchr(rule, '='), *from, *star;
        size_t length;

        if (*trimmed(rule) == '\0')
            continue; /* nothing comes after the last comma */
        FUZZ_CHECK(equals != NULL, "a rule is \"%s\"", rule);
        *equals = '\0';
        from = trimmed(rule);
        star = strchr(from, '*');
        FUZZ_CHECK(star == NULL || star[1] == '\0', "a topic is \"%s\"", from);
        FUZZ_CHECK(from[0] != '\0', "a topic is empty");
        length = star != NULL ? (size_t)(star - from) : strlen(from);
        if (strncmp(record->topic, from, length) == 0 && (star != NULL || record->topic[length] == '\0'))
            name = filled(trimmed(equals + 1), record, star != NULL ? record->topic + length : "");
    }
    free(copy);
    if (name == NULL)
        name = strdup(record->topic);
    FUZZ_CHECK(name != NULL, "out of memory");
    return name;
}

static void check_name(const struct outbox_topic_map *map, const char *text, const outbox_record *record)
{
    struct outbox_buffer name = { NULL, 0, 0 };
    char *want = expected(text, record);

    FUZZ_CHECK(outbox_topic_map__name(map, record, &name), "out of memory");
    FUZZ_CHECK(name.size == strlen(want) && (name.size == 0 || memcmp(name.data, want, name.size) == 0),
               "\"%s\" became \"%.*s\" and not \"%s\"", record->topic, (int)name.size, name.data, want);
    outbox_buffer__free(&name);
    free(want);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *input = fuzz_text(data, size), *at = input;
    outbox_record record = { .topic = "" };
    struct outbox_topic_map map;
    const char *text = strsep(&at, "\n"), *reason;
    int rc;

    if (at != NULL)
        record.topic = strsep(&at, "\n");
    record.partition_key = strsep(&at, "\n");
    record.message_type = strsep(&at, "\n");
    rc = outbox_topic_map__parse(text, &map, &reason);
    FUZZ_CHECK(rc == OUTBOX_OK || rc == OUTBOX_ERR_CONF, "%s", outbox_status_name(rc));
    FUZZ_CHECK((rc == OUTBOX_OK) == (reason == NULL) && (reason == NULL || reason[0] != '\0'), "%d, no reason", rc);
    if (rc == OUTBOX_OK)
        check_name(&map, text, &record);
    outbox_topic_map__free(&map);
    free(input);
    return 0;
}
