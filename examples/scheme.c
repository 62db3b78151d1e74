/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A publisher of one's own, opened by URL: "lines:///FILE" appends a line for each message, with its headers.
 * As it is, this is a program that registers it:
 *
 *     scheme sqlite:first.db lines:///tmp/messages?sync=off
 *
 * With LINES_MODULE defined it is a loadable module, which outboxd and other programs find by the scheme:
 *
 *     OUTBOX_MODULE_PATH=. outboxd --once --dsn sqlite:first.db --publisher lines:///tmp/messages
 */
#include <outbox/outbox.h>
#include <outbox/sys/publisher.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One for each publisher that is opened: outboxd has one, whose publish() is called by several threads. */
struct lines {
    const outbox_target *target;
    FILE *file;
    int sync;
};

static int print_line(struct lines *self, const outbox_envelope *e)
{
    size_t size, count, i;
    const char *payload = (const char *)outbox_envelope_payload(e, &size);
    const outbox_meta *metas = outbox_envelope_metas(e, &count);

    flockfile(self->file);
    fprintf(self->file, "%s", outbox_envelope_topic(e));
    for (i = 0; i < count; i++)
        fprintf(self->file, " %s=%s", metas[i].name, metas[i].value);
    fprintf(self->file, " %.*s\n", (int)size, payload);
    funlockfile(self->file);
    return !ferror(self->file);
}

/* A sequential publisher: the next message is sent once the one before has its answer. */
static void print_all(struct lines *self, outbox_delivery *delivery, outbox_envelope *e)
{
    const outbox_record *record;
    const char *why;
    size_t index;

    while ((record = outbox_delivery_next(delivery, &index)) != NULL) {
        int rc = outbox_envelope_fill(e, record, &why);

        if (rc != OUTBOX_OK) /* a line break in a header, say: nobody should get this message */
            outbox_delivery_answer(delivery, index, rc == OUTBOX_ERR_INVALID ? OUTBOX_REJECT : OUTBOX_RETRY, -1, why);
        else if (print_line(self, e) && fflush(self->file) == 0 && (!self->sync || fsync(fileno(self->file)) == 0))
            outbox_delivery_answer(delivery, index, OUTBOX_PUBLISHED, -1, NULL);
        else
            outbox_delivery_answer(delivery, index, OUTBOX_UNKNOWN, -1, "the line may be written, or a part of it");
    }
}

static int lines_publish(void *user, outbox_delivery *delivery, outbox_error **err)
{
    static const outbox_envelope_style style = { sizeof(style), 0, 0, "ce-" };
    struct lines *self = (struct lines *)user;
    outbox_envelope *e = NULL;
    int rc = outbox_envelope_new(self->target, &style, &e, err);

    if (rc == OUTBOX_OK)
        print_all(self, delivery, e);
    outbox_envelope_free(e);
    return rc;
}

static void lines_close(void *user)
{
    struct lines *self = (struct lines *)user;

    fclose(self->file);
    free(self);
}

static int lines_open(const outbox_target *target, const outbox_publisher_ops **ops, void **self, outbox_error **err)
{
    static const outbox_publisher_ops lines_ops = {
        sizeof(lines_ops), OUTBOX_PUBLISHER_ABI, OUTBOX_PUBLISHER_IN_ORDER,
        "lines", lines_publish, NULL, lines_close, NULL,
    };
    struct lines *lines = (struct lines *)calloc(1, sizeof(*lines));
    char path[4096];

    if (lines == NULL)
        return outbox_error_new(err, OUTBOX_ERR_NOMEM, "example.memory", "out of memory");
    snprintf(path, sizeof(path), "/%s", outbox_target_path(target));
    lines->target = target;
    lines->sync = outbox_target_number(target, "sync") == 0;
    lines->file = fopen(path, "a");
    *ops = &lines_ops;
    *self = lines;
    if (lines->file != NULL)
        return OUTBOX_OK;
    free(lines);
    return outbox_error_format(err, OUTBOX_ERR_INVALID, "example.file", "cannot append to %s", path);
}

static const outbox_setting lines_settings[] = {
    { "sync", OUTBOX_SETTING_CHOICE, "on", 0, 0, "on|off", "Whether a line is on the disk before its message counts." },
    { NULL, OUTBOX_SETTING_TEXT, NULL, 0, 0, NULL, NULL },
};

static const outbox_publisher_module lines_module = {
    sizeof(lines_module), OUTBOX_PUBLISHER_MODULE_ABI, 0, "lines", lines_settings, lines_open,
};

#ifdef LINES_MODULE

/* The one symbol that others see: for the file outbox-publisher-lines.so. */
OUTBOX_BEGIN_DECLS
OUTBOX_API const outbox_publisher_module *outbox_publisher_lines(void);
OUTBOX_END_DECLS

const outbox_publisher_module *outbox_publisher_lines(void)
{
    return &lines_module;
}

#else

int main(int argc, char **argv)
{
    outbox_conf *conf = NULL;
    outbox_publisher *publisher = NULL;
    outbox_relay *relay = NULL;
    outbox_error *err = NULL;
    int failed = 1;

    if (argc != 3) {
        fprintf(stderr, "usage: scheme DSN URL\n");
        return 2;
    }
    if (outbox_conf_new(&conf, &err) == OUTBOX_OK &&
        outbox_publisher_register(conf, "lines", &lines_module, &err) == OUTBOX_OK &&
        outbox_publisher_open(argv[2], conf, &publisher, &err) == OUTBOX_OK &&
        outbox_relay_new(argv[1], conf, publisher, NULL, &relay, &err) == OUTBOX_OK)
        failed = outbox_relay_run_once(relay, &err) < 0;
    if (failed)
        fprintf(stderr, "scheme: %s\n", outbox_error_message(err));
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    outbox_conf_free(conf);
    outbox_error_free(err);
    return failed;
}

#endif
