/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Publishers: made from functions, from one function, or opened by URL. */
#include "publishers/builtin.h"
#include "delivery.h"
#include "error_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *scheme;
    outbox_publisher_open_fn *open;
} schemes[] = {
    { "null:", outbox_publisher__null_open },
    { "stdout:", outbox_publisher__stdout_open },
    { "file:", outbox_publisher__file_open },
    { "exec:", outbox_publisher__exec_open },
};

/* The scheme as far as it may be one: what is none may be a connection string, with a password in it. */
static int scheme_size(const char *url)
{
    size_t size = strspn(url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");

    return url[size] == ':' && size <= 32 ? (int)size : 0;
}

int outbox_publisher_open(const char *url, const outbox_conf *conf, outbox_publisher **publisher, outbox_error **err)
{
    size_t i;

    if (url == NULL || publisher == NULL)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "publisher.no_url", "no publisher was named: give a URL");
    *publisher = NULL;
    for (i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
        if (strncmp(url, schemes[i].scheme, strlen(schemes[i].scheme)) == 0)
            return schemes[i].open(url + strlen(schemes[i].scheme), conf, publisher, err);
    if (scheme_size(url) == 0)
        return outbox_error__set(err, OUTBOX_ERR_UNSUPPORTED, "publisher.no_scheme",
                                 "a publisher is named by a URL, and this is none; null:, stdout:, file:PATH and "
                                 "exec:COMMAND are there");
    return outbox_error__set(err, OUTBOX_ERR_UNSUPPORTED, "publisher.no_scheme",
                             "there is no publisher \"%.*s:\"; null:, stdout:, file:PATH and exec:COMMAND are there",
                             scheme_size(url), url);
}

int outbox_publisher_new(const outbox_publisher_ops *ops, void *self, outbox_publisher **publisher, outbox_error **err)
{
    outbox_publisher *p;

    if (publisher == NULL || ops == NULL || ops->size < sizeof(*ops) || ops->abi != OUTBOX_PUBLISHER_ABI ||
        ops->publish == NULL || ops->name == NULL)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "publisher.bad_ops",
                                 "a publisher needs size, abi, a name and a publish function");
    p = calloc(1, sizeof(*p));
    *publisher = p;
    if (p == NULL)
        return outbox_error__nomem(err);
    p->ops = *ops;
    p->self = self;
    pthread_mutex_init(&p->lock, NULL);
    return OUTBOX_OK;
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
        sizeof(ops), OUTBOX_PUBLISHER_ABI, OUTBOX_PUBLISHER_IN_ORDER, "callback", callback_publish, NULL, free,
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
