/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The audit: who redrove, discarded or purged which messages. */
#include "admin_internal.h"
#include "clean.h"
#include "error_internal.h"
#include "text.h"
#include "uuid.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LIST_DEFAULT 100
#define WHO_MAX 200
#define WHICH_MAX 1000

/* The filter as people write it: topic=orders key=17. */
static void describe(const outbox_filter *f, char *text, size_t size)
{
    const struct {
        const char *name, *value;
    } parts[] = { { "state", (int)f->state != 0 ? outbox_state_name(f->state) : NULL },
                  { "id", f->id }, { "topic", f->topic }, { "key", f->partition_key } };
    size_t i, used = 0;

    text[0] = '\0';
    for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (parts[i].value != NULL && used < size)
            used += (size_t)snprintf(text + used, size - used, "%s%s=%s", used > 0 ? " " : "", parts[i].name,
                                     parts[i].value);
    if (f->older_than_us > 0 && used < size)
        used += (size_t)snprintf(text + used, size - used, "%solder_than_us=%lld", used > 0 ? " " : "",
                                 (long long)f->older_than_us);
    if (f->limit > 0 && used < size)
        used += (size_t)snprintf(text + used, size - used, "%slimit=%zu", used > 0 ? " " : "", f->limit);
    if (f->rate > 0 && used < size)
        used += (size_t)snprintf(text + used, size - used, "%srate=%lld/s", used > 0 ? " " : "", (long long)f->rate);
    if (used == 0)
        snprintf(text, size, "all");
    text[outbox_text__cut(text, strlen(text), WHICH_MAX)] = '\0';
}

int outbox_audit__begin(outbox_conn *conn, const char *what, const outbox_filter *filter, outbox_id *id,
                        outbox_error **err)
{
    char who[WHO_MAX + 1], which[2 * WHICH_MAX], host[65] = "host";
    struct outbox_args args = { .set = 0 };
    int rc = outbox_uuid__make(id, 1, err);

    if (filter->who != NULL) {
        snprintf(who, sizeof(who), "%s", filter->who);
    } else {
        gethostname(host, sizeof(host) - 1);
        snprintf(who, sizeof(who), "uid %ld at %s", (long)getuid(), host);
    }
    who[outbox_text__cut(who, strlen(who), WHO_MAX)] = '\0';
    describe(filter, which, sizeof(which));
    outbox_args__text(&args, P_ID, id->text);
    outbox_args__text(&args, P_OWNER, who);
    outbox_args__text(&args, P_NAME, what);
    outbox_args__text(&args, P_VALUE, which);
    return rc == OUTBOX_OK ? outbox_conn__run(conn, Q_AUDIT, &args, 0, "write the audit", NULL, err) : rc;
}

int outbox_conn__audit_add(outbox_conn *conn, const char *audit, int64_t n, outbox_error **err)
{
    struct outbox_args args = { .set = 0 };

    outbox_args__text(&args, P_ID, audit);
    outbox_args__int(&args, P_COUNT, n);
    return outbox_conn__run(conn, Q_AUDIT_ADD, &args, 0, "write the audit", NULL, err);
}

struct listing {
    outbox_arena arena;
    outbox_audit_fn fn;
    void *user;
};

static int take_entry(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    struct listing *l = ctx;
    outbox_audit_entry entry = { sizeof(entry), cells[1].number, cells[2].data, cells[3].data, cells[4].data,
                                 cells[5].number };
    int stop;

    (void)err;
    stop = l->fn(l->user, &entry) != 0;
    outbox_arena__reset(&l->arena);
    return stop ? OUTBOX_NONE : OUTBOX_OK;
}

int outbox_audit(outbox_conn *conn, size_t limit, outbox_audit_fn fn, void *user, outbox_error **err)
{
    struct listing l = { .fn = fn, .user = user };
    struct outbox_result result = { "tittti", &l.arena, take_entry, &l, 0 };
    struct outbox_args args = { .set = 0 };
    int rc;

    if (conn == NULL || fn == NULL)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "audit.incomplete", "a connection and a callback are needed");
    rc = outbox_conn__load(conn, err);
    outbox_args__int(&args, P_LIMIT, limit == 0 ? LIST_DEFAULT : limit < INT32_MAX ? (int64_t)limit : INT32_MAX);
    if (rc == OUTBOX_OK)
        rc = outbox_conn__run(conn, Q_AUDIT_LIST, &args, 0, "list the audit", &result, err);
    outbox_arena__free(&l.arena);
    return rc;
}
