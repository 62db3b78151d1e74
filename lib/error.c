/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Errors as objects: status, stable name, sentence, SQLSTATE, native code. */
#include "error_internal.h"
#include "text.h"
#include "translate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_MAX 1024
#define NAME_MAX_ 64

struct outbox_error {
    int status;
    long native;
    char sqlstate[6];
    char name[NAME_MAX_];
    char message[MESSAGE_MAX];
};

/* Never written to and never freed, so that running out of memory can be told without memory. */
static const outbox_error no_memory = { OUTBOX_ERR_NOMEM, 0, "", "memory.exhausted",
                                        "out of memory: the call was given up, nothing was kept of it" };

int outbox_error__nomem(outbox_error **err)
{
    if (err != NULL && *err == NULL)
        *err = (outbox_error *)(uintptr_t)&no_memory;
    return OUTBOX_ERR_NOMEM;
}

static int error_make(outbox_error **err, int status, const char *name, const char *format, va_list args)
{
    outbox_error *e;

    if (err == NULL || *err != NULL)
        return status;
    e = calloc(1, sizeof(*e));
    if (e == NULL) {
        outbox_error__nomem(err);
        return status;
    }
    e->status = status;
    snprintf(e->name, sizeof(e->name), "%s", name);
    vsnprintf(e->message, sizeof(e->message), format, args);
    /* It may quote what is no UTF-8, and a text that was too long may have been cut inside a character. */
    outbox_text__repair(e->message);
    *err = e;
    return status;
}

int outbox_error__set(outbox_error **err, int status, const char *name, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    error_make(err, status, name, err != NULL && *err == NULL ? outbox_translate(format) : format, args);
    va_end(args);
    return status;
}

void outbox_error__pass(outbox_error **err, outbox_error *why)
{
    if (err != NULL && *err == NULL)
        *err = why;
    else
        outbox_error_free(why);
}

/* In the words of whoever calls. */
static int error_quote(outbox_error **err, int status, const char *name, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    error_make(err, status, name, format, args);
    va_end(args);
    return status;
}

void outbox_error__database(outbox_error **err, const char *sqlstate, long native)
{
    if (err == NULL || *err == NULL || *err == &no_memory)
        return;
    snprintf((*err)->sqlstate, sizeof((*err)->sqlstate), "%.5s", sqlstate);
    (*err)->native = native;
}

outbox_error *outbox_error__copy(const outbox_error *err)
{
    outbox_error *copy;

    if (err == NULL)
        return NULL;
    copy = err == &no_memory ? NULL : malloc(sizeof(*copy));
    if (copy == NULL)
        return (outbox_error *)(uintptr_t)&no_memory;
    *copy = *err;
    return copy;
}

int outbox_error_new(outbox_error **err, int status, const char *name, const char *message)
{
    return error_quote(err, status, name != NULL ? name : "application.error", "%s", message != NULL ? message : "");
}

int outbox_error_status(const outbox_error *err)
{
    return err != NULL ? err->status : OUTBOX_OK;
}

const char *outbox_error_name(const outbox_error *err)
{
    return err != NULL ? err->name : "";
}

const char *outbox_error_message(const outbox_error *err)
{
    return err != NULL ? err->message : "";
}

const char *outbox_error_sqlstate(const outbox_error *err)
{
    return err != NULL ? err->sqlstate : "";
}

long outbox_error_native(const outbox_error *err)
{
    return err != NULL ? err->native : 0;
}

int outbox_error_retryable(const outbox_error *err)
{
    return err != NULL && (err->status == OUTBOX_ERR_CONFLICT || err->status == OUTBOX_ERR_READONLY);
}

int outbox_error_fatal(const outbox_error *err)
{
    return err != NULL && (err->status == OUTBOX_ERR_LOST || err->status == OUTBOX_ERR_CONNECT);
}

void outbox_error_free(outbox_error *err)
{
    if (err != &no_memory)
        free(err);
}

const char *outbox_status_name(int status)
{
    static const char *const names[] = {
        "OUTBOX_OK",           "OUTBOX_ERR_NOMEM",     "OUTBOX_ERR_INVALID",     "OUTBOX_ERR_CONF",
        "OUTBOX_ERR_CONNECT",  "OUTBOX_ERR_LOST",      "OUTBOX_ERR_CONFLICT",    "OUTBOX_ERR_DUPLICATE",
        "OUTBOX_ERR_FENCED",   "OUTBOX_ERR_SCHEMA",    "OUTBOX_ERR_READONLY",    "OUTBOX_ERR_DATABASE",
        "OUTBOX_ERR_PUBLISH",  "OUTBOX_ERR_STATE",     "OUTBOX_ERR_UNSUPPORTED", "OUTBOX_ERR_SYSTEM",
    };

    if (status == OUTBOX_NONE)
        return "OUTBOX_NONE";
    if (status <= 0 && -status < (int)(sizeof(names) / sizeof(names[0])))
        return names[-status];
    return "OUTBOX_ERR_?";
}
