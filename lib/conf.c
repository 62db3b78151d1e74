/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Settings: parsed, checked and described from one table (conf_table.h). */
#include "conf_internal.h"
#include "error_internal.h"
#include "secrets.h"
#include "text.h"
#include "translate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum conf_type { INTEGER, SIZE, DURATION, CHOICE, TEXT, NAME, SECRET /* a text that no error shows */ };

struct conf_row {
    const char *key;
    enum conf_type type;
    const char *def;
    long long min, max;
    const char *choices;
    const char *help;
};

#define CONF_ROW_(symbol, key, type, def, min, max, choices, help) { key, type, def, min, max, choices, help },
static const struct conf_row rows[CONF__COUNT] = { OUTBOX_CONF_TABLE(CONF_ROW_) };
#undef CONF_ROW_

struct unit {
    const char *name;
    long long factor;
};

static const struct unit durations[] = {
    { "us", 1 }, { "ms", 1000 }, { "s", CONF_US_ }, { "m", 60 * CONF_US_ }, { "min", 60 * CONF_US_ },
    { "h", 3600 * CONF_US_ }, { "d", 86400 * CONF_US_ }, { NULL, 0 },
};

static const struct unit sizes[] = {
    { "", 1 }, { "B", 1 }, { "KiB", CONF_KIB_ }, { "MiB", CONF_MIB_ }, { "GiB", 1024 * CONF_MIB_ },
    { "k", CONF_KIB_ }, { "M", CONF_MIB_ }, { "G", 1024 * CONF_MIB_ }, { NULL, 0 },
};

static const struct unit plain[] = { { "", 1 }, { NULL, 0 } };

static int row_of(const char *key)
{
    int i;

    for (i = 0; i < CONF__COUNT; i++)
        if (key != NULL && strcmp(rows[i].key, key) == 0)
            return i;
    return -1;
}

/* "number unit", with or without a space between; 0 needs no unit. */
static int parse_number(const char *value, const struct unit *units, int64_t *out)
{
    char *end;
    long long n;

    if (value[0] < '0' || value[0] > '9')
        return 0;
    errno = 0;
    n = strtoll(value, &end, 10);
    if (errno != 0)
        return 0;
    while (*end == ' ')
        end++;
    if (n == 0 && *end == '\0') {
        *out = 0;
        return 1;
    }
    for (; units->name != NULL; units++) {
        if (strcmp(end, units->name) != 0)
            continue;
        if (n > INT64_MAX / units->factor)
            return 0;
        *out = n * units->factor;
        return 1;
    }
    return 0;
}

/* The index of a word in "a|b|c"; -1 when it is not there. */
static int parse_choice(const char *value, const char *choices)
{
    size_t size = strlen(value);
    int index = 0;

    while (choices != NULL) {
        const char *bar = strchr(choices, '|');
        size_t n = bar != NULL ? (size_t)(bar - choices) : strlen(choices);

        if (n == size && memcmp(choices, value, n) == 0)
            return index;
        choices = bar != NULL ? bar + 1 : NULL;
        index++;
    }
    return -1;
}

/* Names end up quoted in SQL, in every database; this is what all of them take. */
static int is_name(const char *value)
{
    size_t i;

    for (i = 0; value[i] != '\0'; i++) {
        char c = value[i];
        int letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';

        if (!letter && (i == 0 || c < '0' || c > '9'))
            return 0;
    }
    return 1;
}

static void print_duration(char *out, size_t size, long long us)
{
    static const struct unit names[] = { { "d", 86400 * CONF_US_ }, { "h", 3600 * CONF_US_ }, { "m", 60 * CONF_US_ },
                                         { "s", CONF_US_ }, { "ms", 1000 }, { "us", 1 } };
    size_t i = 0;

    if (us == 0) {
        snprintf(out, size, "0");
        return;
    }
    while (us % names[i].factor != 0)
        i++;
    snprintf(out, size, "%lld%s", us / names[i].factor, names[i].name);
}

static void print_size(char *out, size_t size, long long bytes)
{
    if (bytes != 0 && bytes % CONF_MIB_ == 0)
        snprintf(out, size, "%lldMiB", bytes / CONF_MIB_);
    else
        snprintf(out, size, "%lld", bytes);
}

static const char *range_text(const struct conf_row *row, char *out, size_t size)
{
    char low[40], high[40];

    switch (row->type) {
    case INTEGER:
        snprintf(out, size, "%lld to %lld", row->min, row->max);
        break;
    case SIZE:
        print_size(low, sizeof(low), row->min);
        print_size(high, sizeof(high), row->max);
        snprintf(out, size, "%s to %s bytes", low, high);
        break;
    case DURATION:
        print_duration(low, sizeof(low), row->min);
        print_duration(high, sizeof(high), row->max);
        snprintf(out, size, "%s to %s%s%s", low, high, row->choices != NULL ? ", or " : "",
                 row->choices != NULL ? row->choices : "");
        break;
    case CHOICE:
        snprintf(out, size, "%s", row->choices);
        break;
    case NAME:
        snprintf(out, size, "letters, digits and _, not starting with a digit, up to %lld", row->max);
        break;
    case TEXT:
    case SECRET:
        snprintf(out, size, "up to %lld bytes", row->max);
        break;
    }
    return out;
}

static int parse(const struct conf_row *row, const char *value, int64_t *out)
{
    int choice = parse_choice(value, row->choices);
    size_t size = strlen(value);

    *out = 0;
    switch (row->type) {
    case CHOICE:
        *out = choice;
        return choice >= 0;
    case NAME:
        return size <= (size_t)row->max && is_name(value);
    case TEXT:
    case SECRET:
        return size <= (size_t)row->max && outbox_text__length(value, size) >= 0 &&
               !outbox_text__has_control(value, size);
    case DURATION:
        if (choice >= 0) {
            *out = CONF_FOREVER;
            return 1;
        }
        if (!parse_number(value, durations, out))
            return 0;
        break;
    case SIZE:
    case INTEGER:
        if (!parse_number(value, row->type == SIZE ? sizes : plain, out))
            return 0;
        break;
    }
    return *out >= row->min && *out <= row->max;
}

static int names_module(const outbox_conf *conf, const char *name, size_t size)
{
    size_t i;

    for (i = 0; i < conf->scheme_count; i++)
        if (strncmp(conf->schemes[i].module->name, name, size) == 0 && conf->schemes[i].module->name[size] == '\0')
            return 1;
    return outbox_publisher__is_module(name, size);
}

/* How much of "redis.mode" names a publisher; 0: it is none's. Which keys that takes is checked when it is opened. Its name may
 * have dots in it, too, and that of another may be its beginning: the longest counts. Client libraries' own settings have no
 * other characters than these, and a key appears in messages. */
static size_t module_of(const outbox_conf *conf, const char *key)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const char *dot;
    size_t size = 0;

    if (strlen(key) > CONF_EXTRA_KEY_MAX)
        return 0;
    for (dot = strchr(key, '.'); dot != NULL; dot = strchr(dot + 1, '.'))
        if (dot > key && dot[1] != '\0' && names_module(conf, key, (size_t)(dot - key)))
            size = (size_t)(dot - key);
    return size > 0 && key[size + 1 + strspn(key + size + 1, allowed)] == '\0' ? size : 0;
}

static struct outbox_extra *find_extra(const outbox_conf *conf, const char *key)
{
    size_t i;

    for (i = 0; i < conf->extra_count; i++)
        if (strcmp(conf->extras[i].key, key) == 0)
            return &conf->extras[i];
    return NULL;
}

static int add_extra(outbox_conf *conf, size_t module, const char *key, char *value, outbox_error **err)
{
    struct outbox_extra *more = realloc(conf->extras, (conf->extra_count + 1) * sizeof(*more));
    char *name = more != NULL ? strdup(key) : NULL;

    if (more != NULL)
        conf->extras = more;
    if (name == NULL)
        return outbox_error__nomem(err);
    more[conf->extra_count++] = (struct outbox_extra){ name, value, module };
    return OUTBOX_OK;
}

/* Its value may be a password: no error shows it. */
static int set_extra(outbox_conf *conf, size_t module, const char *key, const char *value, outbox_error **err)
{
    static const struct conf_row any = { "", TEXT, "", 0, CONF_EXTRA_MAX, NULL, "" };
    struct outbox_extra *extra = find_extra(conf, key);
    int64_t number;
    char *copy;
    int rc;

    if (!parse(&any, value, &number))
        return outbox_error__set(err, OUTBOX_ERR_CONF, "conf.bad_value",
                                 "%.100s cannot be that: allowed are up to %d bytes of UTF-8 without control characters",
                                 key, CONF_EXTRA_MAX);
    copy = strdup(value);
    if (copy == NULL)
        return outbox_error__nomem(err);
    if (extra != NULL) {
        outbox_secrets__free(extra->value);
        extra->value = copy;
        return OUTBOX_OK;
    }
    rc = add_extra(conf, module, key, copy, err);
    if (rc != OUTBOX_OK)
        free(copy);
    return rc;
}

int outbox_conf_set(outbox_conf *conf, const char *key, const char *value, outbox_error **err)
{
    int row = row_of(key);
    char range[160];
    int64_t number;
    size_t module;
    char *copy;

    if (conf == NULL || key == NULL || value == NULL)
        return outbox_error__set(err, OUTBOX_ERR_CONF, "conf.null", "a setting needs a conf, a key and a value");
    if (row < 0 && (module = module_of(conf, key)) > 0)
        return set_extra(conf, module, key, value, err);
    if (row < 0)
        return outbox_error__set(err, OUTBOX_ERR_CONF, "conf.unknown_key",
                                 "there is no setting \"%.100s\"; outbox.conf(5) and `outboxctl settings` list them",
                                 key);
    if (!parse(&rows[row], value, &number))
        return outbox_error__set(err, OUTBOX_ERR_CONF, "conf.bad_value", "%s cannot be \"%.100s\": allowed is %s%s",
                                 key, rows[row].type == SECRET ? "***" : value, range_text(&rows[row], range, sizeof(range)),
                                 rows[row].type == DURATION ? _(", with a unit: us, ms, s, m, h, d") : "");
    copy = strdup(value);
    if (copy == NULL)
        return outbox_error__nomem(err);
    free(conf->text[row]);
    conf->text[row] = copy;
    conf->number[row] = number;
    return OUTBOX_OK;
}

const char *outbox_conf_get(const outbox_conf *conf, const char *key)
{
    int row = row_of(key);
    const struct outbox_extra *extra = row < 0 && key != NULL ? find_extra(conf, key) : NULL;

    if (extra != NULL)
        return extra->value;
    return row < 0 ? NULL : outbox_conf__text(conf, (enum outbox_conf_key)row);
}

int outbox_conf_describe(size_t index, outbox_conf_info *info)
{
    static const char *const types[] = { "integer", "size", "duration", "choice", "text", "text", "text" };

    if (index >= CONF__COUNT || info == NULL)
        return OUTBOX_NONE;
    info->key = rows[index].key;
    info->type = types[rows[index].type];
    info->default_value = rows[index].def;
    range_text(&rows[index], info->range, sizeof(info->range));
    info->help = rows[index].help;
    return OUTBOX_OK;
}

int outbox_conf_new(outbox_conf **conf, outbox_error **err)
{
    outbox_conf *c;
    int i;

    if (conf == NULL)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "conf.null", "outbox_conf_new() needs a place for the conf");
    c = calloc(1, sizeof(*c));
    *conf = c;
    if (c == NULL)
        return outbox_error__nomem(err);
    for (i = 0; i < CONF__COUNT; i++)
        parse(&rows[i], rows[i].def, &c->number[i]);
    return OUTBOX_OK;
}

void outbox_conf_free(outbox_conf *conf)
{
    int i;

    if (conf == NULL)
        return;
    for (i = 0; i < CONF__COUNT; i++)
        free(conf->text[i]);
    while (conf->extra_count > 0) {
        struct outbox_extra *extra = &conf->extras[--conf->extra_count];

        outbox_secrets__free(extra->value);
        free(extra->key);
    }
    free(conf->extras);
    free(conf->schemes);
    free(conf);
}

static int copy_extras(outbox_conf *copy, const outbox_conf *conf)
{
    size_t i, size = conf->scheme_count * sizeof(*conf->schemes);

    if (size > 0) {
        copy->schemes = malloc(size);
        if (copy->schemes == NULL)
            return OUTBOX_ERR_NOMEM;
        memcpy(copy->schemes, conf->schemes, size);
        copy->scheme_count = conf->scheme_count;
    }
    for (i = 0; i < conf->extra_count; i++)
        if (set_extra(copy, conf->extras[i].module, conf->extras[i].key, conf->extras[i].value, NULL) != OUTBOX_OK)
            return OUTBOX_ERR_NOMEM;
    return OUTBOX_OK;
}

int outbox_conf__copy(const outbox_conf *conf, outbox_conf **copy, outbox_error **err)
{
    int i, rc = outbox_conf_new(copy, err);

    if (rc != OUTBOX_OK || conf == NULL)
        return rc;
    **copy = *conf;
    memset((*copy)->text, 0, sizeof((*copy)->text));
    (*copy)->extras = NULL;
    (*copy)->schemes = NULL;
    (*copy)->extra_count = (*copy)->scheme_count = 0;
    for (i = 0; i < CONF__COUNT && rc == OUTBOX_OK; i++) {
        if (conf->text[i] == NULL)
            continue;
        (*copy)->text[i] = strdup(conf->text[i]);
        if ((*copy)->text[i] == NULL)
            rc = OUTBOX_ERR_NOMEM;
    }
    if (rc == OUTBOX_OK)
        rc = copy_extras(*copy, conf);
    if (rc == OUTBOX_OK)
        return rc;
    outbox_conf_free(*copy);
    *copy = NULL;
    return outbox_error__nomem(err);
}

int outbox_conf__parse(const outbox_setting *setting, const char *value, int64_t *number, char *range, size_t size)
{
    static const enum conf_type types[] = { INTEGER, SIZE, DURATION, CHOICE, TEXT, SECRET };
    const struct conf_row row = { setting->key, types[setting->type], setting->def, setting->min, setting->max,
                                  setting->choices, setting->help };

    range_text(&row, range, size);
    return parse(&row, value, number);
}

int64_t outbox_conf__number(const outbox_conf *conf, enum outbox_conf_key key)
{
    return conf->number[key];
}

const char *outbox_conf__text(const outbox_conf *conf, enum outbox_conf_key key)
{
    return conf->text[key] != NULL ? conf->text[key] : rows[key].def;
}

void outbox_conf_set_log(outbox_conf *conf, outbox_log_fn fn, void *user)
{
    conf->log = fn;
    conf->log_user = user;
}

void outbox_conf_set_backoff(outbox_conf *conf, outbox_backoff_fn fn, void *user)
{
    conf->backoff = fn;
    conf->backoff_user = user;
}

void outbox_conf_set_topic_map(outbox_conf *conf, outbox_topic_fn fn, void *user)
{
    conf->topic_map = fn;
    conf->topic_map_user = user;
}
