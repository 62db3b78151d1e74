/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

/* What is shown of a payload that is not text. */
#define DUMP_MAX 256
/* What a terminal shows of a topic or a key in a list. */
#define COLUMN_MAX 32

struct listing {
    struct ctl *ctl;
    bool failed;
    size_t count;
    int64_t now_us;
};

static int print_record_json(struct listing *l, const outbox_record *r)
{
    outbox_error *err = NULL;
    char *text;

    if (outbox_record_to_json(r, &text, &err) != OUTBOX_OK) {
        cli_error(&l->ctl->cli, NULL, err);
        l->failed = true;
        return 1;
    }
    puts(text);
    outbox_free(text);
    return ferror(stdout);
}

static size_t columns_of(const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* Where text is to be cut so that it takes so many columns. */
static size_t bytes_of(const char *text, size_t columns)
{
    size_t i = 0;

    for (; text[i] != '\0'; i++)
        if (((unsigned char)text[i] & 0xc0) != 0x80 && columns-- == 0)
            break;
    return i;
}

/* Text from a message in a column of its own. People get the beginning of a long one, programs all of it. */
static void print_column(const char *text, size_t width)
{
    size_t used = text != NULL ? columns_of(text) : 1;

    if (text != NULL && used > COLUMN_MAX && isatty(STDOUT_FILENO)) {
        cli_print_safe(stdout, text, bytes_of(text, COLUMN_MAX - 1));
        fputs("…", stdout);
        used = COLUMN_MAX;
    } else if (text != NULL) {
        cli_print_safe(stdout, text, strlen(text));
    } else {
        putchar('-');
    }
    printf("%*s", (int)(used < width ? width - used : 0) + 2, "");
}

static void print_row(const struct listing *l, const outbox_record *r)
{
    outbox_state state = outbox_record_state(r);
    const char *error = outbox_record_last_error(r);
    char age[32];

    if (l->count == 0)
        printf("%sSTATE      ID                                    TRIES  AGE         TOPIC             KEY               "
               "LAST ERROR%s\n",
               cli_colour(stdout, CLI_BOLD), cli_colour(stdout, CLI_PLAIN));
    cli_format_duration(l->now_us > outbox_record_created_at(r) ? l->now_us - outbox_record_created_at(r) : 0, age,
                        sizeof(age));
    printf("%s%-9s%s  %s  %5d  %-10s  ", ctl_state_colour(state), outbox_state_name(state), cli_colour(stdout, CLI_PLAIN),
           outbox_record_id(r), outbox_record_attempts(r), age);
    print_column(outbox_record_topic(r), 16);
    print_column(outbox_record_partition_key(r), 16);
    if (error != NULL)
        cli_print_safe(stdout, error, strlen(error));
    putchar('\n');
}

static int list_one(void *user, const outbox_record *r)
{
    struct listing *l = user;
    int stop = 0;

    if (l->ctl->json)
        stop = print_record_json(l, r);
    else
        print_row(l, r);
    l->count++;
    return stop != 0 || ferror(stdout);
}

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int ctl_list(struct ctl *ctl)
{
    struct listing l = { .ctl = ctl, .now_us = now_us() };
    outbox_error *err = NULL;
    outbox_filter filter;
    int status = ctl_filter(ctl, &filter);

    if (status != CLI_OK)
        return status;
    if (outbox_list(ctl->conn, &filter, list_one, &l, &err) < 0)
        return cli_error(&ctl->cli, "cannot list", err);
    if (l.count == 0 && !ctl->json && isatty(STDERR_FILENO))
        fputs(_("There are no such messages.\n"), stderr);
    if (l.count == 100 && filter.limit == 0 && !ctl->json)
        fputs(_("There may be more: this is the first 100. Use --limit.\n"), stderr);
    return l.failed ? CLI_FAILED : CLI_OK;
}

static void print_time(const char *name, int64_t us)
{
    time_t seconds = (time_t)(us / 1000000);
    struct tm parts;
    char text[40];

    if (us == 0 || gmtime_r(&seconds, &parts) == NULL || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts) == 0)
        return;
    printf("%-15s %s.%06dZ\n", name, text, (int)(us % 1000000));
}

static void print_text(const char *name, const char *text)
{
    if (text == NULL)
        return;
    printf("%-15s ", name);
    cli_print_safe(stdout, text, strlen(text));
    putchar('\n');
}

static bool is_text(const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] < 0x20 && strchr("\t\r\n", bytes[i]) == NULL)
            return false;
    return memchr(bytes, '\0', size) == NULL;
}

/* As text, line by line; otherwise its first bytes in hexadecimal. */
static void print_payload(const outbox_record *r)
{
    size_t size;
    const unsigned char *bytes = outbox_record_payload(r, &size);

    printf("\n%sPayload (%zu byte%s)%s\n", cli_colour(stdout, CLI_BOLD), size, size == 1 ? "" : "s",
           cli_colour(stdout, CLI_PLAIN));
    if (is_text(bytes, size)) {
        for (size_t i = 0; i < size;) {
            const unsigned char *newline = memchr(bytes + i, '\n', size - i);
            size_t end = newline != NULL ? (size_t)(newline - bytes) : size;
            cli_print_safe(stdout, (const char *)bytes + i, end - i);
            putchar('\n');
            i = end + 1;
        }
        return;
    }
    for (size_t i = 0; i < size && i < DUMP_MAX; i++)
        printf("%02x%s", bytes[i], i % 32 == 31 ? "\n" : " ");
    printf("%s", size > DUMP_MAX ? "…; see --json for all of it\n" : size % 32 != 0 ? "\n" : "");
}

static int show_one(void *user, const outbox_record *r)
{
    struct listing *l = user;
    outbox_state state = outbox_record_state(r);
    size_t count;
    const outbox_header *headers = outbox_record_headers(r, &count);

    if (l->ctl->json)
        return print_record_json(l, r);
    printf("%-15s %s\n%-15s %s%s%s\n", "id", outbox_record_id(r), "state", ctl_state_colour(state),
           outbox_state_name(state), cli_colour(stdout, CLI_PLAIN));
    print_text("topic", outbox_record_topic(r));
    print_text("partition key", outbox_record_partition_key(r));
    print_text("content type", outbox_record_content_type(r));
    print_text("message type", outbox_record_message_type(r));
    printf("%-15s %d", "attempts", outbox_record_attempts(r));
    if (outbox_record_max_attempts(r) > 0)
        printf(" of %d", outbox_record_max_attempts(r));
    printf("\n%-15s %d, number %lld\n", "lane", outbox_record_lane(r), (long long)outbox_record_seq(r));
    print_time("created", outbox_record_created_at(r));
    print_time("available", outbox_record_available_at(r));
    print_time("published", outbox_record_published_at(r));
    print_text("last error", outbox_record_last_error(r));
    if (count > 0)
        printf("\n%sHeaders%s\n", cli_colour(stdout, CLI_BOLD), cli_colour(stdout, CLI_PLAIN));
    for (size_t i = 0; i < count; i++)
        print_text(headers[i].name, headers[i].value);
    print_payload(r);
    return 0;
}

int ctl_show(struct ctl *ctl)
{
    struct listing l = { .ctl = ctl };
    outbox_error *err = NULL;
    int rc;

    if (ctl->cli.argument_count != 1)
        return cli_usage(&ctl->cli, "show takes the id of one message");
    rc = outbox_get(ctl->conn, ctl->cli.arguments[0], show_one, &l, &err);
    if (rc < 0)
        return cli_error(&ctl->cli, "cannot show", err);
    if (rc == OUTBOX_NONE)
        return cli_fail(&ctl->cli, "there is no message %s; published ones are gone unless clean.retention keeps them",
                        ctl->cli.arguments[0]);
    return l.failed ? CLI_FAILED : CLI_OK;
}
