/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "target.h"
#include "environment.h"
#include "error_internal.h"
#include "log.h"
#include "secrets.h"
#include "text.h"
#include "translate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Larger than any token or key that belongs on one line. */
#define SECRET_MAX 65536

static const outbox_setting *row_of(const outbox_target *t, const char *key)
{
    size_t i;

    for (i = 0; i < t->setting_count; i++)
        if (strcmp(t->module->settings[i].key, key) == 0)
            return &t->module->settings[i];
    return NULL;
}

/* "tls.key_password_file" is of the row "tls.key_password". */
static const outbox_setting *row_of_file(const outbox_target *t, const char *key)
{
    size_t i, size = strlen(key);

    for (i = 0; i < t->setting_count; i++) {
        const outbox_setting *row = &t->module->settings[i];

        if (row->type == OUTBOX_SETTING_SECRET && size == strlen(row->key) + 5 &&
            strncmp(row->key, key, size - 5) == 0 && strcmp(key + size - 5, "_file") == 0)
            return row;
    }
    return NULL;
}

static const char *setting(const outbox_target *t, const char *key, const char *suffix)
{
    char name[CONF_EXTRA_KEY_MAX + 20];

    snprintf(name, sizeof(name), "%s.%s%s", t->module->name, key, suffix);
    return outbox_conf_get(t->conf, name);
}

static int take_value(outbox_target *t, const outbox_setting *row, outbox_error **err)
{
    struct outbox_target_value *value = &t->values[row - t->module->settings];
    const char *given = setting(t, row->key, ""), *text = given != NULL ? given : row->def;
    char range[160];

    if (row->type == OUTBOX_SETTING_SECRET && given == NULL)
        return OUTBOX_OK;
    if (!outbox_conf__parse(row, text, &value->number, range, sizeof(range)))
        return outbox_error__set(err, OUTBOX_ERR_CONF, "conf.bad_value", "%s.%s cannot be \"%.100s\": allowed is %s%s",
                                 t->module->name, row->key, row->type == OUTBOX_SETTING_SECRET ? "***" : text, range,
                                 row->type == OUTBOX_SETTING_DURATION ? _(", with a unit: us, ms, s, m, h, d") : "");
    if (given == NULL)
        return OUTBOX_OK;
    value->text = strdup(given);
    return value->text != NULL ? OUTBOX_OK : outbox_error__nomem(err);
}

/* What a file says, without the end of its line. */
static int read_secret(const outbox_target *t, const char *key, const char *path, char **secret, outbox_error **err)
{
    char *text = malloc(SECRET_MAX + 1);
    int fd = text != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1, why = errno;
    ssize_t n = 0, size = 0;

    if (text == NULL)
        return outbox_error__nomem(err);
    while (fd >= 0 && size < SECRET_MAX && (n = read(fd, text + size, (size_t)(SECRET_MAX - size))) > 0)
        size += n;
    if (fd >= 0 && n < 0)
        why = errno;
    if (fd >= 0)
        close(fd);
    if (fd < 0 || n < 0) {
        free(text);
        return outbox_error__set(err, OUTBOX_ERR_SYSTEM, "publisher.secret_file", "%s.%s_file: cannot read %.300s: %s",
                                 t->module->name, key, path, strerror(why));
    }
    while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r'))
        size--;
    text[size] = '\0';
    if (size > 0 && size < SECRET_MAX && !outbox_text__has_control(text, (size_t)size)) {
        *secret = text;
        return OUTBOX_OK;
    }
    outbox_secrets__free(text);
    return outbox_error__set(err, OUTBOX_ERR_CONF, "publisher.secret_file",
                             "%s.%s_file: %.300s must have one line with the secret and nothing else", t->module->name,
                             key, path);
}

/* OUTBOX_REDIS_TLS_KEY_PASSWORD for redis.tls.key_password; not where others may have set the environment. */
static const char *from_environment(const outbox_target *t, const char *key)
{
    char name[CONF_EXTRA_KEY_MAX + 20], *p;
    const char *value;

    snprintf(name, sizeof(name), "OUTBOX_%s_%s", t->module->name, key);
    for (p = name; *p != '\0'; p++) {
        if (*p >= 'a' && *p <= 'z')
            *p = (char)(*p - 'a' + 'A');
        else if (!(*p >= 'A' && *p <= 'Z') && !(*p >= '0' && *p <= '9'))
            *p = '_';
    }
    value = outbox_environment__getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

static int take_secret(outbox_target *t, const outbox_setting *row, outbox_error **err)
{
    struct outbox_target_value *value = &t->values[row - t->module->settings];
    const char *file = setting(t, row->key, "_file"), *text;

    if (value->text != NULL && value->text[0] == '\0') {
        free(value->text);
        value->text = NULL;
    }
    if (value->text != NULL && file != NULL)
        return outbox_error__set(err, OUTBOX_ERR_CONF, "publisher.secret_twice",
                                 "%s.%s and %s.%s_file are both set: take one away", t->module->name, row->key,
                                 t->module->name, row->key);
    if (value->text != NULL)
        return OUTBOX_OK;
    if (file != NULL)
        return read_secret(t, row->key, file, &value->text, err);
    text = from_environment(t, row->key);
    if (text == NULL && strcmp(row->key, "password") == 0)
        text = t->url.password;
    if (text == NULL)
        return OUTBOX_OK;
    value->text = strdup(text);
    return value->text != NULL ? OUTBOX_OK : outbox_error__nomem(err);
}

static int take_user(outbox_target *t, outbox_error **err)
{
    const char *user = row_of(t, "user") != NULL ? outbox_target_text(t, "user") : NULL;

    if (user == NULL || user[0] == '\0')
        user = from_environment(t, "user");
    if (user == NULL)
        user = t->url.user;
    if (user == NULL)
        return OUTBOX_OK;
    t->user = strdup(user);
    return t->user != NULL ? OUTBOX_OK : outbox_error__nomem(err);
}

/* Settings that nobody asked for are told, or kept for the client library. */
static int take_rest(outbox_target *t, outbox_error **err)
{
    size_t i, size = strlen(t->module->name);

    t->extra = calloc(t->conf->extra_count + 1, sizeof(*t->extra));
    if (t->extra == NULL)
        return outbox_error__nomem(err);
    for (i = 0; i < t->conf->extra_count; i++) {
        const char *key = t->conf->extras[i].key + size + 1;

        if (t->conf->extras[i].module != size || strncmp(t->conf->extras[i].key, t->module->name, size) != 0 ||
            row_of(t, key) != NULL || row_of_file(t, key) != NULL)
            continue;
        if ((t->module->flags & OUTBOX_MODULE_EXTRA_SETTINGS) == 0)
            return outbox_error__set(err, OUTBOX_ERR_CONF, "conf.unknown_key",
                                     "the publisher %s has no setting \"%s.%.100s\": its manual page lists them",
                                     t->module->name, t->module->name, key);
        t->extra[t->extra_count++] = (outbox_header){ key, t->conf->extras[i].value };
    }
    return OUTBOX_OK;
}

/* What the URL's query says are settings; but no place for a secret. */
static int take_query(outbox_target *t, outbox_error **err)
{
    size_t i;

    for (i = 0; i < t->url.query_count; i++) {
        const outbox_setting *row = row_of(t, t->url.query[i].name);
        char key[CONF_EXTRA_KEY_MAX + 1];
        int rc;

        if (row != NULL && row->type == OUTBOX_SETTING_SECRET)
            return outbox_error__set(err, OUTBOX_ERR_INVALID, "publisher.secret_in_url",
                                     "\"%s\" must not stand in the query of a publisher's URL: set %s.%s_file", row->key,
                                     t->module->name, row->key);
        snprintf(key, sizeof(key), "%s.%.80s", t->module->name, t->url.query[i].name);
        if (outbox_conf_get(t->conf, key) != NULL)
            return outbox_error__set(err, OUTBOX_ERR_INVALID, "publisher.set_twice",
                                     "\"%s\" is set by the publisher's URL and otherwise: take one away", key);
        rc = outbox_conf_set(t->conf, key, t->url.query[i].value, err);
        if (rc != OUTBOX_OK)
            return rc;
    }
    return OUTBOX_OK;
}

static int take_all(outbox_target *t, outbox_error **err)
{
    const outbox_setting *row;
    int rc = take_query(t, err);

    for (row = t->module->settings; rc == OUTBOX_OK && row != NULL && row->key != NULL; row++) {
        rc = take_value(t, row, err);
        if (rc == OUTBOX_OK && row->type == OUTBOX_SETTING_SECRET)
            rc = take_secret(t, row, err);
    }
    if (rc == OUTBOX_OK)
        rc = take_user(t, err);
    return rc == OUTBOX_OK ? take_rest(t, err) : rc;
}

int outbox_target__new(const outbox_publisher_module *module, const char *url, const outbox_conf *conf,
                       outbox_target **target, outbox_error **err)
{
    outbox_target *t = calloc(1, sizeof(*t));
    const char *reason;
    int rc;

    *target = NULL;
    if (t == NULL)
        return outbox_error__nomem(err);
    t->module = module;
    while (module->settings != NULL && module->settings[t->setting_count].key != NULL)
        t->setting_count++;
    t->values = calloc(t->setting_count + 1, sizeof(*t->values));
    rc = outbox_broker_url__parse(url, (module->flags & OUTBOX_MODULE_OWN_QUERY) == 0, &t->url, &reason);
    if (rc == OUTBOX_ERR_INVALID)
        outbox_error__set(err, rc, "publisher.bad_url", "the URL of the publisher %s cannot be read: %s", module->name,
                          reason);
    else if (rc != OUTBOX_OK || t->values == NULL)
        rc = outbox_error__nomem(err);
    if (rc == OUTBOX_OK)
        rc = outbox_conf__copy(conf, &t->conf, err);
    if (rc == OUTBOX_OK)
        rc = take_all(t, err);
    if (rc == OUTBOX_OK)
        *target = t;
    else
        outbox_target__free(t);
    return rc;
}

void outbox_target__free(outbox_target *t)
{
    size_t i;

    if (t == NULL)
        return;
    for (i = 0; t->values != NULL && i < t->setting_count; i++)
        outbox_secrets__free(t->values[i].text);
    free(t->values);
    free(t->extra);
    free(t->user);
    outbox_broker_url__free(&t->url);
    outbox_conf_free(t->conf);
    free(t);
}

const char *outbox_target_scheme(const outbox_target *t)
{
    return t->url.scheme;
}

const char *outbox_target_shown(const outbox_target *t)
{
    return t->url.shown;
}

const char *outbox_target_url(const outbox_target *t)
{
    return t->url.given;
}

const outbox_endpoint *outbox_target_endpoints(const outbox_target *t, size_t *count)
{
    if (count != NULL)
        *count = t->url.endpoint_count;
    return t->url.endpoints;
}

const char *outbox_target_path(const outbox_target *t)
{
    return t->url.path;
}

int outbox_target_is(const outbox_target *t, const char *scheme)
{
    return strcmp(t->url.scheme, scheme) == 0;
}

int64_t outbox_target_number(const outbox_target *t, const char *key)
{
    const outbox_setting *row = row_of(t, key);

    return row != NULL ? t->values[row - t->module->settings].number : 0;
}

const char *outbox_target_text(const outbox_target *t, const char *key)
{
    const outbox_setting *row = row_of(t, key);

    if (row == NULL)
        return NULL;
    return t->values[row - t->module->settings].text != NULL ? t->values[row - t->module->settings].text : row->def;
}

const char *outbox_target_secret(const outbox_target *t, const char *key)
{
    const outbox_setting *row = row_of(t, key);

    if (strcmp(key, "user") == 0)
        return t->user;
    return row != NULL ? t->values[row - t->module->settings].text : NULL;
}

const outbox_header *outbox_target_extra(const outbox_target *t, size_t *count)
{
    if (count != NULL)
        *count = t->extra_count;
    return t->extra_count > 0 ? t->extra : NULL;
}

void outbox_target_log(const outbox_target *t, outbox_log_level level, const char *format, ...)
{
    char line[1200];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    outbox_log__write(t->conf, level, "%s", line);
}

int outbox_error_format(outbox_error **err, int status, const char *name, const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), outbox_translate(format), args);
    va_end(args);
    return outbox_error_new(err, status, name, text);
}
