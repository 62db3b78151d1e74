/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What goes on in an outbox, again and again on a terminal, or once: from the database, or from outboxd, which knows
 * throughput and latency as well. Each look costs a bounded amount of work. */
#include "ctl.h"
#include "ctl_http.h"
#include "look.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define ROWS 1000
#define TURN_MS 1000
#define RECENT 5

struct top {
    struct ctl *ctl;
    const char *where; /* outboxd; or NULL: the database is asked */
    char outbox[64];
    outbox_publisher *publisher;
    outbox_relay *relay; /* never started: the metrics count what waits in its outbox */
    outbox_metrics *metrics;
    char why[600];
    outbox_error *err; /* where that is from; NULL: not from the library */
};

static volatile sig_atomic_t told_to_end;

static void end(int number)
{
    (void)number;
    told_to_end = 1;
}

/* ---- where it comes from ---- */

static int say(struct top *t, outbox_error *err)
{
    snprintf(t->why, sizeof(t->why), "%s", outbox_error_message(err));
    outbox_error_free(t->err);
    t->err = err;
    return CLI_FAILED;
}

static int open_metrics(struct top *t)
{
    outbox_conf *conf = t->ctl->settings.conf;
    outbox_error *err = NULL;
    const char *dsn = NULL;
    int status = ctl_dsn(t->ctl, &dsn);

    if (status != CLI_OK)
        return status;
    if (outbox_conf_set(conf, "conn.create", "off", &err) != OUTBOX_OK ||
        outbox_conf_set(conf, "metrics.interval", "1s", &err) != OUTBOX_OK ||
        outbox_publisher_open("null:", conf, &t->publisher, &err) != OUTBOX_OK ||
        outbox_relay_new(dsn, conf, t->publisher, NULL, &t->relay, &err) != OUTBOX_OK ||
        outbox_metrics_new(&t->metrics, &err) != OUTBOX_OK ||
        outbox_metrics_add(t->metrics, "outbox", t->relay, &err) != OUTBOX_OK)
        return cli_error(&t->ctl->cli, NULL, err);
    return CLI_OK;
}

static void close_all(struct top *t)
{
    outbox_metrics_free(t->metrics);
    outbox_relay_free(t->relay);
    outbox_publisher_free(t->publisher);
    outbox_error_free(t->err);
}

/* What the database tells. All else is a relay's, and there is none here: a 0 of one that never ran says nothing. */
static void drop_relay(json_t *metrics)
{
    static const char *const kept[] = {
        "outbox_messages", "outbox_oldest_pending_age_seconds", "outbox_keys_blocked",
        "outbox_lanes",    "outbox_backlog_exact",              "outbox_backlog_age_seconds",
    };
    const char *name;
    json_t *value;
    void *next;

    json_object_foreach_safe(metrics, next, name, value) {
        size_t length = strcspn(name, " "), i = 0; /* without a state */
        while (i < sizeof(kept) / sizeof(kept[0]) && (strncmp(name, kept[i], length) != 0 || kept[i][length] != '\0'))
            i++;
        if (i == sizeof(kept) / sizeof(kept[0]))
            json_object_del(metrics, name);
    }
}

/* A connection that was lost is made anew, at the next look. */
static int ask_database(struct top *t, json_t **frame)
{
    outbox_error *err = NULL;
    json_t *overview = NULL, *all = NULL, *metrics;
    char *text = NULL;
    int rc = OUTBOX_OK;

    if (t->ctl->conn == NULL) {
        const char *dsn = NULL;
        if (ctl_dsn(t->ctl, &dsn) != CLI_OK)
            return CLI_USAGE;
        rc = outbox_conn_open(dsn, t->ctl->settings.conf, &t->ctl->conn, &err);
    }
    if (rc == OUTBOX_OK)
        rc = look_overview(t->ctl->conn, ROWS, &overview, &err);
    if (rc == OUTBOX_OK)
        rc = outbox_metrics_get(t->metrics, OUTBOX_METRICS_JSON, &text, &err);
    if (rc != OUTBOX_OK) {
        json_decref(overview);
        outbox_conn_close(t->ctl->conn);
        t->ctl->conn = NULL;
        return say(t, err);
    }
    all = json_loads(text, 0, NULL);
    outbox_free(text);
    metrics = look_metrics(all, "outbox");
    drop_relay(metrics);
    *frame = json_pack("{s:s, s:n, s:o, s:o, s:n}", "outbox", "outbox", "state", "metrics", metrics, "overview",
                       overview, "rates");
    json_decref(all);
    return CLI_OK;
}

/* Which of outboxd's: the one that was named, or the first. */
static json_t *find_outbox(struct top *t)
{
    const char *wanted = cli_value(&t->ctl->cli, CTL_OUTBOX), *name;
    json_t *all = ctl_http_get(t->where, "/api/v1/outboxes", t->why, sizeof(t->why)), *one, *found = NULL;
    size_t i;

    json_array_foreach(json_object_get(all, "outboxes"), i, one) {
        name = json_string_value(json_object_get(one, "name"));
        if (found == NULL && name != NULL && (wanted == NULL || strcmp(wanted, name) == 0))
            found = json_incref(one);
    }
    if (all != NULL && found == NULL)
        snprintf(t->why, sizeof(t->why), "outboxd at %s has no outbox %s", t->where,
                 wanted != NULL ? wanted : "at all");
    json_decref(all);
    return found;
}

/* A name has nothing that a URL would not take. */
static json_t *ask_for(struct top *t, const char *what)
{
    char path[200];

    snprintf(path, sizeof(path), "/api/v1/%s?outbox=%s", what, t->outbox);
    return ctl_http_get(t->where, path, t->why, sizeof(t->why));
}

/* Of the last few points, so that it does not jump: the means of the rates, and the last latency there was. */
static json_t *recent(const json_t *points)
{
    static const char *const means[] = { "published", "retried", "dead" };
    size_t count = json_array_size(points), first = count > RECENT ? count - RECENT : 0;
    json_t *rates = count > 0 ? json_copy(json_array_get(points, count - 1)) : json_null(), *ms;

    for (size_t m = 0; m < sizeof(means) / sizeof(means[0]) && count > 0; m++) {
        double sum = 0;
        for (size_t i = first; i < count; i++)
            sum += json_number_value(json_object_get(json_array_get(points, i), means[m]));
        json_object_set_new(rates, means[m], json_real(sum / (double)(count - first)));
    }
    for (size_t i = first; i < count; i++) {
        if (json_is_number(ms = json_object_get(json_array_get(points, i), "p50_ms")))
            json_object_set(rates, "p50_ms", ms);
        if (json_is_number(ms = json_object_get(json_array_get(points, i), "p95_ms")))
            json_object_set(rates, "p95_ms", ms);
    }
    return rates;
}

static int ask_outboxd(struct top *t, json_t **frame)
{
    json_t *outbox = find_outbox(t), *overview = NULL, *history = NULL, *all = NULL;
    int status = CLI_FAILED;

    if (outbox != NULL) {
        snprintf(t->outbox, sizeof(t->outbox), "%s", json_string_value(json_object_get(outbox, "name")));
        overview = ask_for(t, "overview");
        history = overview != NULL ? ask_for(t, "history") : NULL;
        all = history != NULL ? ctl_http_get(t->where, "/metrics.json", t->why, sizeof(t->why)) : NULL;
    }
    if (all != NULL) {
        *frame = json_pack("{s:s, s:O, s:o, s:O, s:o}", "outbox", t->outbox, "state", json_object_get(outbox, "state"),
                           "metrics", look_metrics(all, t->outbox), "overview", overview, "rates",
                           recent(json_object_get(history, "points")));
        status = CLI_OK;
    }
    json_decref(outbox);
    json_decref(overview);
    json_decref(history);
    json_decref(all);
    return status;
}

/* ---- a frame ---- */

static json_int_t whole(const json_t *of, const char *name)
{
    json_t *value = json_object_get(of, name);

    return json_is_real(value) ? (json_int_t)json_real_value(value) : json_integer_value(value);
}

/* Text from a message, cut where it has more than so many columns; returns how many it takes. */
static size_t put_last(FILE *to, const json_t *text, size_t width)
{
    const char *from = json_is_string(text) ? json_string_value(text) : "-";
    size_t bytes = 0, columns = 0;

    for (; from[bytes] != '\0'; bytes++)
        if (((unsigned char)from[bytes] & 0xc0) != 0x80 && columns++ == width) {
            columns--;
            break;
        }
    cli_print_safe(to, from, bytes);
    return columns;
}

/* The same with something behind it, which begins in a column of its own. */
static void put(FILE *to, const json_t *text, size_t width)
{
    size_t columns = put_last(to, text, width);

    fprintf(to, "%*s ", (int)(width - columns), "");
}

static void put_all(FILE *to, const json_t *text)
{
    if (json_is_string(text))
        cli_print_safe(to, json_string_value(text), json_string_length(text));
}

static void title(FILE *to, const char *text)
{
    fprintf(to, "\n%s%s%s\n", cli_colour(stdout, CLI_BOLD), text, cli_colour(stdout, CLI_PLAIN));
}

static void draw_counts(FILE *to, const json_t *metrics)
{
    static const struct {
        const char *metric, *name;
        enum cli_colour colour;
    } counts[] = {
        { "outbox_messages pending", "pending", CLI_PLAIN }, { "outbox_messages scheduled", "scheduled", CLI_BLUE },
        { "outbox_messages retry", "retry", CLI_YELLOW },    { "outbox_messages held", "held", CLI_YELLOW },
        { "outbox_messages dead", "dead", CLI_RED },         { "outbox_keys_blocked", "blocked keys", CLI_YELLOW },
    };
    json_t *oldest = json_object_get(metrics, "outbox_oldest_pending_age_seconds");
    char age[32];

    if (json_object_get(metrics, counts[0].metric) == NULL) {
        fprintf(to, "waiting   the database does not tell\n");
        return;
    }
    fprintf(to, "waiting  ");
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        json_int_t n = whole(metrics, counts[i].metric);
        fprintf(to, " %s%lld %s%s%s", n > 0 ? cli_colour(stdout, counts[i].colour) : "", (long long)n, counts[i].name,
                n > 0 ? cli_colour(stdout, CLI_PLAIN) : "", i + 1 < sizeof(counts) / sizeof(counts[0]) ? "," : "");
    }
    cli_format_duration((int64_t)(1e6 * json_number_value(oldest)), age, sizeof(age));
    fprintf(to, "%s\n", whole(metrics, "outbox_backlog_exact") == 0 ? " (estimated)" : "");
    if (whole(metrics, "outbox_messages pending") > 0)
        fprintf(to, "          the oldest pending one is %s old\n", age);
}

static void draw_latency(FILE *to, const json_t *rates, const char *name, const char *what)
{
    json_t *ms = json_object_get(rates, name);
    char text[32];

    if (!json_is_number(ms))
        return;
    cli_format_duration((int64_t)(1000 * json_number_value(ms)), text, sizeof(text));
    fprintf(to, ", %s within %s", what, text);
}

static void draw_rates(FILE *to, const struct top *t, const json_t *rates)
{
    if (t->where == NULL) {
        fprintf(to, "rates     only outboxd knows them: --connect ADDRESS\n");
        return;
    }
    if (!json_is_object(rates)) {
        fprintf(to, "rates     nothing was measured yet\n");
        return;
    }
    fprintf(to, "rates     %.1f published a second, %.1f retried, %.1f dead",
            json_number_value(json_object_get(rates, "published")),
            json_number_value(json_object_get(rates, "retried")),
            json_number_value(json_object_get(rates, "dead")));
    draw_latency(to, rates, "p50_ms", "half");
    draw_latency(to, rates, "p95_ms", "95 %");
    fputc('\n', to);
}

/* One owner after the other, as the lanes come in any order. */
static void draw_lanes(FILE *to, const json_t *lanes)
{
    json_t *held = json_object_get(lanes, "held"), *lane, *other, *owners = json_object(), *of;
    const char *owner;
    size_t i;

    fprintf(to, "lanes     %lld of %lld leased\n", (long long)whole(lanes, "leased"), (long long)whole(lanes, "count"));
    json_array_foreach(held, i, lane) {
        owner = json_string_value(json_object_get(lane, "owner"));
        if (owner == NULL)
            continue;
        of = json_object_get(owners, owner);
        if (of == NULL)
            json_object_set_new(owners, owner, of = json_pack("{s:i, s:i}", "lanes", 0, "ended", 0));
        json_object_set_new(of, "lanes", json_integer(whole(of, "lanes") + 1));
        json_object_set_new(of, "ended", json_integer(whole(of, "ended") + (whole(lane, "lease_ms") < 0)));
    }
    json_object_foreach(owners, owner, other) {
        fprintf(to, "          %lld by ", (long long)whole(other, "lanes"));
        cli_print_safe(to, owner, strlen(owner));
        if (whole(other, "ended") > 0)
            fprintf(to, ", %s%lld of them past the lease: it crashed, or hangs%s", cli_colour(stdout, CLI_RED),
                    (long long)whole(other, "ended"), cli_colour(stdout, CLI_PLAIN));
        fputc('\n', to);
    }
    json_decref(owners);
}

static void draw_topics(FILE *to, const json_t *topics)
{
    json_t *topic;
    size_t i;

    title(to, "TOPIC                             PENDING SCHEDULED     RETRY      HELD      DEAD");
    json_array_foreach(topics, i, topic) {
        put(to, json_object_get(topic, "topic"), 30);
        for (int s = OUTBOX_PENDING; s <= OUTBOX_DEAD; s++)
            fprintf(to, "%10lld", (long long)whole(topic, outbox_state_name((outbox_state)s)));
        fputc('\n', to);
    }
}

static void draw_dead(FILE *to, const json_t *dead)
{
    json_t *one;
    size_t i;

    if (json_array_size(dead) == 0)
        return;
    title(to, "DEAD                                  TOPIC                KEY                  ERROR");
    json_array_foreach(dead, i, one) {
        put(to, json_object_get(one, "id"), 37);
        put(to, json_object_get(one, "topic"), 20);
        put(to, json_object_get(one, "key"), 20);
        put_last(to, json_object_get(one, "error"), 200);
        fputc('\n', to);
    }
}

static void draw_blocked(FILE *to, const json_t *blocked)
{
    json_t *one, *head;
    size_t i;

    if (json_array_size(blocked) == 0)
        return;
    title(to, "BLOCKED KEY          TOPIC                      HELD  BEHIND");
    json_array_foreach(blocked, i, one) {
        head = json_object_get(one, "head");
        put(to, json_object_get(one, "key"), 20);
        put(to, json_object_get(one, "topic"), 20);
        fprintf(to, "%10lld  ", (long long)whole(one, "held"));
        put(to, json_object_get(head, "state"), 9);
        put_last(to, json_object_get(head, "error"), 200);
        fputc('\n', to);
    }
}

static void draw(FILE *to, const struct top *t, const json_t *frame)
{
    json_t *overview = json_object_get(frame, "overview"), *state = json_object_get(frame, "state");
    char now[32];
    time_t seconds = time(NULL);
    struct tm parts;

    if (localtime_r(&seconds, &parts) == NULL || strftime(now, sizeof(now), "%H:%M:%S", &parts) == 0)
        now[0] = '\0';
    fputs(cli_colour(stdout, CLI_BOLD), to);
    put_all(to, json_object_get(frame, "outbox"));
    fprintf(to, "%s  %s%s", cli_colour(stdout, CLI_PLAIN), now, json_is_string(state) ? "  " : "");
    put_all(to, state);
    fputc('\n', to);
    draw_counts(to, json_object_get(frame, "metrics"));
    draw_rates(to, t, json_object_get(frame, "rates"));
    draw_lanes(to, json_object_get(overview, "lanes"));
    draw_topics(to, json_object_get(overview, "topics"));
    draw_dead(to, json_object_get(overview, "dead"));
    draw_blocked(to, json_object_get(overview, "blocked"));
    if (json_is_false(json_object_get(json_object_get(overview, "sample"), "complete")))
        fprintf(to, "\n%sTopics, dead ones and keys are those of the first messages; there are more.%s\n",
                cli_colour(stdout, CLI_DIM), cli_colour(stdout, CLI_PLAIN));
}

/* ---- the terminal ---- */

/* Prints a line, no more of it than has room; what switches colours takes none. */
static void print_clipped(const char *line, size_t size, unsigned columns)
{
    unsigned used = 0;
    size_t i = 0;

    while (i < size) {
        if (line[i] == '\033') {
            size_t start = i;
            while (i < size && line[i] != 'm')
                i++;
            i += i < size;
            fwrite(line + start, 1, i - start, stdout);
            continue;
        }
        used += ((unsigned char)line[i] & 0xc0) != 0x80;
        if (used <= columns)
            putchar(line[i]);
        i++;
    }
    fputs("\033[K", stdout);
}

static void print_screen(const char *text)
{
    struct winsize size = { .ws_row = 24, .ws_col = 80 };

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0)
        size = (struct winsize){ .ws_row = 24, .ws_col = 80 };
    fputs("\033[H", stdout);
    for (unsigned row = 0; row + 1 < size.ws_row && *text != '\0'; row++) {
        size_t length = strcspn(text, "\n");
        print_clipped(text, length, size.ws_col);
        fputs("\r\n", stdout);
        text += length + (text[length] == '\n');
    }
    printf("%sq quits%s\033[K\033[J", cli_colour(stdout, CLI_DIM), cli_colour(stdout, CLI_PLAIN));
    fflush(stdout);
}

static int take_frame(struct top *t, json_t **frame)
{
    *frame = NULL;
    return t->where != NULL ? ask_outboxd(t, frame) : ask_database(t, frame);
}

/* What is wrong now may be right at the next look. */
static void turn(struct top *t)
{
    json_t *frame;
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);

    if (to == NULL)
        return;
    if (take_frame(t, &frame) == CLI_OK)
        draw(to, t, frame);
    else {
        fputs(cli_colour(stdout, CLI_RED), to);
        cli_print_safe(to, t->why, strlen(t->why));
        fprintf(to, "%s\ntrying again\n", cli_colour(stdout, CLI_PLAIN));
    }
    json_decref(frame);
    if (fclose(to) == 0)
        print_screen(text);
    free(text);
}

/* Whether somebody wants to go on after the wait. */
static bool wait_for_key(void)
{
    struct pollfd ready = { .fd = STDIN_FILENO, .events = POLLIN };
    char key;

    if (poll(&ready, 1, TURN_MS) <= 0) /* a signal, too: the window has another size, or it has to end */
        return !told_to_end;
    return read(STDIN_FILENO, &key, 1) == 1 && key != 'q' && key != 'Q' && key != 3 && key != 4;
}

static int watch(struct top *t)
{
    struct sigaction action = { .sa_handler = end };
    struct termios before, raw;

    if (tcgetattr(STDIN_FILENO, &before) != 0)
        return cli_fail(&t->ctl->cli, "the standard input is no terminal: %s; --once needs none", strerror(errno));
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    raw = before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    fputs("\033[?1049h\033[?25l\033[2J", stdout);
    do
        turn(t);
    while (wait_for_key());
    fputs("\033[?25h\033[?1049l", stdout);
    fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &before);
    return CLI_OK;
}

/* It may be what the other side says. */
static int say_why(struct top *t)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    int status = CLI_FAILED;

    if (to == NULL)
        return cli_fail(&t->ctl->cli, "out of memory");
    cli_print_safe(to, t->why, strlen(t->why));
    if (fclose(to) == 0)
        status = cli_fail(&t->ctl->cli, "%s", text);
    free(text);
    return status;
}

static int print_once(struct top *t)
{
    json_t *frame;
    int status = take_frame(t, &frame);

    if (status == CLI_USAGE)
        return status;
    if (status != CLI_OK && t->err != NULL) {
        outbox_error *err = t->err;
        t->err = NULL;
        return cli_error(&t->ctl->cli, NULL, err);
    }
    if (status != CLI_OK)
        return say_why(t);
    if (t->ctl->json)
        return ctl_print_json(t->ctl, frame);
    draw(stdout, t, frame);
    json_decref(frame);
    return CLI_OK;
}

int ctl_top(struct ctl *ctl)
{
    struct top t = { .ctl = ctl, .where = cli_value(&ctl->cli, CTL_CONNECT) };
    int status = t.where == NULL ? open_metrics(&t) : CLI_OK;

    if (status == CLI_OK)
        status = cli_has(&ctl->cli, CTL_ONCE) || ctl->json || !isatty(STDOUT_FILENO) ? print_once(&t) : watch(&t);
    close_all(&t);
    return status;
}
