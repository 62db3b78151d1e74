/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Publishers: made from functions, from one function, or opened by URL. */
#include "publishers/builtin.h"
#include "delivery.h"
#include "error_internal.h"
#include "module.h"
#include "sized.h"
#include "target.h"
#include "translate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEME_MAX 32
#define SCHEME_LETTERS "abcdefghijklmnopqrstuvwxyz0123456789+-."

static const struct {
    const char *scheme;
    outbox_publisher_open_fn *open;
} schemes[] = {
    { "null:", outbox_publisher__null_open },
    { "stdout:", outbox_publisher__stdout_open },
    { "file:", outbox_publisher__file_open },
    { "exec:", outbox_publisher__exec_open },
};

/* Which loadable module opens which scheme. */
static const struct {
    const char *scheme, *module;
} modules[] = {
    { "kafka", "kafka" }, { "kafkas", "kafka" }, { "amqp", "amqp" },   { "amqps", "amqp" },  { "nats", "nats" },
    { "tls", "nats" },    { "redis", "redis" }, { "rediss", "redis" }, { "http", "http" },
    { "https", "http" },  { "mqtt", "mqtt" },   { "mqtts", "mqtt" },  { "amqp1", "amqp1" },
    { "amqp1s", "amqp1" },
};

static const char *known_module(const char *name, size_t size, int is_scheme)
{
    size_t i;

    for (i = 0; i < sizeof(modules) / sizeof(modules[0]); i++) {
        const char *known = is_scheme ? modules[i].scheme : modules[i].module;

        if (strncmp(known, name, size) == 0 && known[size] == '\0')
            return modules[i].module;
    }
    return NULL;
}

/* A module of somebody else's has the name of its scheme. There is no slash in it: it is in the folders for modules. */
static int is_others_module(const char *name, size_t size, char copy[SCHEME_MAX + 1])
{
    if (size == 0 || size > SCHEME_MAX || strspn(name, SCHEME_LETTERS) < size)
        return 0;
    memcpy(copy, name, size);
    copy[size] = '\0';
    return outbox_module__installed("publisher", copy);
}

int outbox_publisher__is_module(const char *name, size_t size)
{
    char copy[SCHEME_MAX + 1];

    return known_module(name, size, 0) != NULL || is_others_module(name, size, copy);
}

/* The scheme as far as it may be one: what is none may be a connection string, with a password in it. */
static size_t scheme_size(const char *url)
{
    size_t size = strspn(url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");

    return url[size] == ':' && size <= SCHEME_MAX ? size : 0;
}

/* What the program brought itself goes before what is installed. */
static int find_module(const char *url, const outbox_conf *conf, const outbox_publisher_module **module,
                       outbox_error **err)
{
    size_t i, size = scheme_size(url);
    char others[SCHEME_MAX + 1];
    outbox_publisher_entry entry;
    const char *name;
    void *symbol;
    int rc;

    for (i = 0; conf != NULL && i < conf->scheme_count; i++) {
        *module = conf->schemes[i].module;
        if (strncmp(conf->schemes[i].scheme, url, size) == 0 && conf->schemes[i].scheme[size] == '\0')
            return OUTBOX_OK;
    }
    name = known_module(url, size, 1);
    if (name == NULL && is_others_module(url, size, others))
        name = others;
    if (name == NULL)
        return OUTBOX_NONE;
    rc = outbox_module__find("publisher", name, &symbol, err);
    if (rc != OUTBOX_OK)
        return rc;
    memcpy(&entry, &symbol, sizeof(entry));
    *module = entry();
    if (*module == NULL || (*module)->abi != OUTBOX_PUBLISHER_MODULE_ABI ||
        (*module)->size < OUTBOX_SIZE_TO(outbox_publisher_module, open) || (*module)->name == NULL ||
        (*module)->open == NULL)
        return outbox_error__set(err, OUTBOX_ERR_UNSUPPORTED, "module.version",
                                 "the publisher module %s was built for another version of liboutbox: install one that "
                                 "was built for this", name);
    return OUTBOX_OK;
}

static int open_module(const outbox_publisher_module *module, const char *url, const outbox_conf *conf,
                       outbox_publisher **publisher, outbox_error **err)
{
    const outbox_publisher_ops *ops = NULL;
    outbox_target *target;
    void *self = NULL;
    int rc = outbox_target__new(module, url, conf, &target, err);

    if (rc != OUTBOX_OK)
        return rc;
    rc = module->open(target, &ops, &self, err);
    if (rc != OUTBOX_OK) {
        outbox_target__free(target);
        return outbox_error__set(err, rc, "publisher.open", "the publisher %s could not be opened", module->name);
    }
    rc = outbox_publisher_new(ops, self, publisher, err);
    if (rc == OUTBOX_OK) {
        (*publisher)->target = target;
        return rc;
    }
    if (ops != NULL && ops->close != NULL)
        ops->close(self);
    outbox_target__free(target);
    return rc;
}

/* The schemes of the modules that are there: "kafka:, kafkas:, redis:"; or that there are none. */
static const char *list_installed(char *text, size_t size)
{
    size_t i, used = 0;

    for (i = 0; i < sizeof(modules) / sizeof(modules[0]) && used < size; i++)
        if (outbox_module__installed("publisher", modules[i].module))
            used += (size_t)snprintf(text + used, size - used, "%s%s:", used > 0 ? ", " : "", modules[i].scheme);
    return used > 0 ? text : _("none");
}

/* What opens the URL: *builtin, or a module, which is loaded then. */
static int find(const char *url, const outbox_conf *conf, outbox_publisher_open_fn **builtin,
                const outbox_publisher_module **module, outbox_error **err)
{
    char installed[256];
    size_t i;
    int rc;

    *builtin = NULL;
    if (url == NULL)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "publisher.no_url", "no publisher was named: give a URL");
    for (i = 0; i < sizeof(schemes) / sizeof(schemes[0]) && *builtin == NULL; i++)
        if (strncmp(url, schemes[i].scheme, strlen(schemes[i].scheme)) == 0)
            *builtin = schemes[i].open;
    if (*builtin != NULL)
        return OUTBOX_OK;
    if (scheme_size(url) == 0)
        return outbox_error__set(err, OUTBOX_ERR_UNSUPPORTED, "publisher.no_scheme",
                                 "a publisher is named by a URL, and this is none; null:, stdout:, file:PATH and "
                                 "exec:COMMAND are built in, modules are installed for: %s",
                                 list_installed(installed, sizeof(installed)));
    rc = find_module(url, conf, module, err);
    if (rc == OUTBOX_NONE)
        return outbox_error__set(err, OUTBOX_ERR_UNSUPPORTED, "publisher.no_scheme",
                                 "there is no publisher \"%.*s:\"; null:, stdout:, file:PATH and exec:COMMAND are built "
                                 "in, modules are installed for: %s",
                                 (int)scheme_size(url), url, list_installed(installed, sizeof(installed)));
    return rc;
}

int outbox_publisher_check(const char *url, const outbox_conf *conf, outbox_error **err)
{
    const outbox_publisher_module *module;
    outbox_publisher_open_fn *builtin;

    return find(url, conf, &builtin, &module, err);
}

int outbox_publisher_open(const char *url, const outbox_conf *conf, outbox_publisher **publisher, outbox_error **err)
{
    const outbox_publisher_module *module;
    outbox_publisher_open_fn *builtin;
    int rc;

    if (publisher == NULL)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "publisher.no_url", "no publisher was named: give a URL");
    *publisher = NULL;
    rc = find(url, conf, &builtin, &module, err);
    if (rc != OUTBOX_OK)
        return rc;
    if (builtin != NULL)
        return builtin(strchr(url, ':') + 1, conf, publisher, err);
    return open_module(module, url, conf, publisher, err);
}

int outbox_publisher_register(outbox_conf *conf, const char *scheme, const outbox_publisher_module *module,
                              outbox_error **err)
{
    struct outbox_scheme *more;
    size_t size = scheme != NULL ? strlen(scheme) : 0;

    if (conf == NULL || size == 0 || size > SCHEME_MAX || strspn(scheme, SCHEME_LETTERS) != size)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "publisher.bad_scheme",
                                 "a scheme has lower case letters, digits, \"+\", \"-\" and \".\", up to %d of them",
                                 SCHEME_MAX);
    if (module == NULL || module->abi != OUTBOX_PUBLISHER_MODULE_ABI ||
        module->size < OUTBOX_SIZE_TO(outbox_publisher_module, open) || module->name == NULL || module->open == NULL)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "publisher.bad_module",
                                 "a publisher module needs size, abi, a name and an open function");
    more = realloc(conf->schemes, (conf->scheme_count + 1) * sizeof(*more));
    if (more == NULL)
        return outbox_error__nomem(err);
    conf->schemes = more;
    more[conf->scheme_count++] = (struct outbox_scheme){ scheme, module };
    return OUTBOX_OK;
}

int outbox_publisher_new(const outbox_publisher_ops *ops, void *self, outbox_publisher **publisher, outbox_error **err)
{
    outbox_publisher *p;

    if (publisher == NULL || ops == NULL || ops->size < OUTBOX_SIZE_TO(outbox_publisher_ops, close) ||
        ops->abi != OUTBOX_PUBLISHER_ABI || ops->publish == NULL || ops->name == NULL)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "publisher.bad_ops",
                                 "a publisher needs size, abi, a name and a publish function");
    p = calloc(1, sizeof(*p));
    *publisher = p;
    if (p == NULL)
        return outbox_error__nomem(err);
    outbox_sized__take(&p->ops, sizeof(p->ops), ops, ops->size);
    p->self = self;
    pthread_mutex_init(&p->lock, NULL);
    return OUTBOX_OK;
}

int outbox_publisher_reach(outbox_publisher *publisher, outbox_error **err)
{
    int rc = publisher->ops.reach != NULL ? publisher->ops.reach(publisher->self, err) : OUTBOX_NONE;

    return rc < 0 ? outbox_error__set(err, rc, "publisher.reach", "the publisher %s cannot reach its broker",
                                      publisher->ops.name) : rc;
}

const char *outbox_publisher_name(const outbox_publisher *publisher)
{
    return publisher->ops.name;
}

struct callback {
    outbox_publish_fn fn;
    void *user;
};

static int callback_publish(void *self, outbox_delivery *d, outbox_error **err)
{
    const struct callback *cb = self;
    const outbox_record *message;
    size_t index;

    (void)err;
    while ((message = outbox_delivery_next(d, &index)) != NULL) {
        outbox_error *why = NULL;
        int64_t retry_ms = -1;
        outbox_verdict verdict = cb->fn(cb->user, message, &retry_ms, &why);

        if ((int)verdict < OUTBOX_PUBLISHED || (int)verdict > OUTBOX_UNAVAILABLE)
            outbox_delivery_answer(d, index, OUTBOX_UNKNOWN, -1, "the publish callback returned what is no verdict");
        else
            outbox_delivery_answer(d, index, verdict, retry_ms, why != NULL ? outbox_error_message(why) : NULL);
        outbox_error_free(why);
    }
    return OUTBOX_OK;
}

int outbox_publisher_from_callback(outbox_publish_fn fn, void *user, outbox_publisher **publisher, outbox_error **err)
{
    static const outbox_publisher_ops ops = {
        .size = sizeof(ops),
        .abi = OUTBOX_PUBLISHER_ABI,
        .flags = OUTBOX_PUBLISHER_IN_ORDER,
        .name = "callback",
        .publish = callback_publish,
        .close = free,
    };
    struct callback *cb;
    int rc;

    if (fn == NULL)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "publisher.no_callback", "the publish callback is NULL");
    cb = malloc(sizeof(*cb));
    if (cb == NULL)
        return outbox_error__nomem(err);
    cb->fn = fn;
    cb->user = user;
    rc = outbox_publisher_new(&ops, cb, publisher, err);
    if (rc != OUTBOX_OK)
        free(cb);
    return rc;
}
