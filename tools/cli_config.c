/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The configuration file: an INI file, with one outbox or several.
 *
 *     [outbox]
 *     publisher = redis://queue.example/0
 *     relay.workers = 4
 *
 *     [outbox shop]
 *     dsn = Driver=PostgreSQL;Servername=db;Database=shop
 *
 *     [outboxd]
 *     listen = 127.0.0.1:9464
 *
 * [outbox] alone is the one outbox; beside sections with names it is what they share. [outboxd] is what the
 * program itself is set to, and no outbox. The file is read into a list of
 * lines first, so that it does not matter which section comes first.
 *
 * libinih cuts lines that are too long for it, takes " ;" inside a line for a comment and an indented line for more
 * of the value before. Each of these would change a connection string in silence, so the reader below, which hands
 * over line by line, refuses the first two and takes away the indent. It also tells of sections that have no line.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <ini.h>

#define ENTRIES_MAX 4096
#define OUTBOXES_MAX 250
#define SERVER (OUTBOXES_MAX + 1) /* the section [outboxd] */
#define OUTBOX_NAME_MAX 40 /* libinih cuts the name of a section after 49 bytes */

/* KEY = VALUE, and in which line it stands. */
struct entry {
    size_t section; /* 0: [outbox]; SERVER; otherwise 1 + the place in names */
    int number;
    char *key, *value;
};

struct file {
    const struct cli *cli;
    const char *path;
    FILE *stream;
    char *line;
    size_t room;
    int number; /* of the line */
    bool failed;
    struct entry *entries;
    size_t entry_count;
    char *names[OUTBOXES_MAX];
    size_t name_count;
};

static int file_fail(struct file *f, const char *what)
{
    if (!f->failed)
        cli_wrong(f->cli, "%s:%d: %s", f->path, f->number, what);
    f->failed = true;
    return 0;
}

static bool is_name(const char *name)
{
    size_t size = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

    return size > 0 && size <= OUTBOX_NAME_MAX && name[size] == '\0';
}

/* Which section this is: "outbox", or "outbox NAME". Returns 1, or 0 after saying what is wrong. */
static int find_section(struct file *f, const char *section, size_t *index)
{
    const char *name = section + strlen("outbox");

    *index = 0;
    if (strcmp(section, "outbox") == 0)
        return 1;
    if (strcmp(section, "outboxd") == 0) {
        *index = SERVER;
        return 1;
    }
    if (section[0] == '\0')
        return file_fail(f, "settings must stand in a section, [outbox] or [outbox NAME]");
    if (strncmp(section, "outbox ", 7) != 0)
        return file_fail(f, "this section is not known; there are only [outbox], [outbox NAME] and [outboxd]");
    name += strspn(name, " ");
    if (!is_name(name))
        return file_fail(f, "an outbox's name has up to 40 letters, digits, dots, dashes and underscores");
    for (size_t i = 0; i < f->name_count; i++)
        if (strcmp(f->names[i], name) == 0) {
            *index = i + 1;
            return 1;
        }
    if (f->name_count == OUTBOXES_MAX)
        return file_fail(f, "there are too many outboxes");
    f->names[f->name_count] = strdup(name);
    if (f->names[f->name_count] == NULL)
        return file_fail(f, "out of memory");
    *index = ++f->name_count;
    return 1;
}

/* A section counts also when nothing stands in it. */
static int see_section(struct file *f, const char *line)
{
    char section[80];
    size_t size = line[0] == '[' ? strcspn(line + 1, "]") : 0, index;

    if (line[0] != '[' || line[1 + size] != ']')
        return 1;
    snprintf(section, sizeof(section), "%.*s", (int)(size < sizeof(section) ? size : sizeof(section) - 1), line + 1);
    return find_section(f, section, &index);
}

/* Whether libinih would see a comment inside the line: any white space before a semicolon will do. */
static bool has_comment(const char *line)
{
    if (*line == ';' || *line == '#' || *line == '\0')
        return false;
    for (; line[1] != '\0'; line++)
        if (isspace((unsigned char)line[0]) && line[1] == ';')
            return true;
    return false;
}

static char *file_read_line(char *to, int size, void *user)
{
    struct file *f = user;
    ssize_t length = f->failed ? -1 : getline(&f->line, &f->room, f->stream);
    const char *start = f->line;

    if (length < 0)
        return NULL;
    f->number++;
    while (isspace((unsigned char)*start) && *start != '\n')
        start++;
    if (strlen(start) != (size_t)(f->line + length - start)) {
        file_fail(f, "the line contains a NUL byte");
        return NULL;
    }
    if ((int)strlen(start) >= size) {
        file_fail(f, "the line is too long; put a long connection string into odbc.ini and name the DSN here");
        return NULL;
    }
    if (has_comment(start)) {
        file_fail(f, "\" ;\" would begin a comment: take the blank before the semicolon away, or move the comment to a "
                     "line of its own");
        return NULL;
    }
    return see_section(f, start) ? strcpy(to, start) : NULL;
}

static const char *const server_keys[] = { "listen", "hosts", "admin_token_file" };

static int check_server_key(struct file *f, const char *key)
{
    for (size_t i = 0; i < sizeof(server_keys) / sizeof(server_keys[0]); i++)
        if (strcmp(server_keys[i], key) == 0)
            return 1;
    return file_fail(f, "[outboxd] has only listen, hosts and admin_token_file; settings of outboxes stand in [outbox]");
}

static int set_once(struct file *f, size_t section, const char *key)
{
    char what[128];

    for (size_t i = 0; i < f->entry_count; i++)
        if (f->entries[i].section == section && strcmp(f->entries[i].key, key) == 0) {
            snprintf(what, sizeof(what), "\"%.80s\" is set a second time", key);
            return file_fail(f, what);
        }
    return 1;
}

static int file_take(void *user, const char *section, const char *key, const char *value)
{
    struct file *f = user;
    struct entry *e;
    size_t index;

    if (f->failed || !find_section(f, section, &index) || !set_once(f, index, key) ||
        (index == SERVER && !check_server_key(f, key)))
        return 0;
    if (f->entry_count == ENTRIES_MAX)
        return file_fail(f, "there are too many settings");
    e = &f->entries[f->entry_count++];
    *e = (struct entry){ index, f->number, strdup(key), strdup(value) };
    return e->key != NULL && e->value != NULL ? 1 : file_fail(f, "out of memory");
}

/* ---- what an outbox is set to ---- */

static int set_text(struct file *f, char **to, char *value)
{
    free(*to);
    *to = value;
    return value != NULL ? 1 : file_fail(f, "out of memory");
}

/* dsn, publisher, and the same from a file. Returns 0 after saying what is wrong, -1 when the key is another. */
static int apply_place(struct file *f, const struct entry *e, struct cli_settings *s)
{
    char **to = strncmp(e->key, "dsn", 3) == 0 ? &s->dsn : &s->publisher, *path, *text = NULL, what[512];
    const char *rest = e->key + (to == &s->dsn ? strlen("dsn") : strlen("publisher"));

    if (to == &s->publisher && strncmp(e->key, "publisher", strlen("publisher")) != 0)
        return -1;
    if (*rest == '\0')
        return set_text(f, to, strdup(e->value));
    if (strcmp(rest, "_file") != 0)
        return -1;
    for (size_t i = 0; i < f->entry_count; i++)
        if (f->entries[i].section == e->section && strncmp(f->entries[i].key, e->key, (size_t)(rest - e->key)) == 0 &&
            f->entries[i].key[rest - e->key] == '\0')
            return file_fail(f, "it is set twice: here, and without _file");
    path = cli_credential(e->key, e->value, what, sizeof(what));
    if (path != NULL)
        text = cli_read_secret(path, what, sizeof(what));
    free(path);
    return text != NULL ? set_text(f, to, text) : file_fail(f, what);
}

static int apply(struct file *f, const struct entry *e, struct cli_settings *s)
{
    outbox_error *err = NULL;
    char what[512], *value;
    int done, rc;

    f->number = e->number;
    done = apply_place(f, e, s);
    if (done >= 0)
        return done;
    value = cli_credential(e->key, e->value, what, sizeof(what));
    if (value == NULL)
        return file_fail(f, what);
    rc = outbox_conf_set(s->conf, e->key, value, &err);
    free(value);
    if (rc == OUTBOX_OK)
        return 1;
    file_fail(f, outbox_error_message(err));
    outbox_error_free(err);
    return 0;
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp((*(const struct entry *const *)a)->key, (*(const struct entry *const *)b)->key);
}

/* One that a file named by a setting is told from another by. */
static void print_file(FILE *to, const struct entry *e)
{
    char what[512], *path = cli_credential(e->key, e->value, what, sizeof(what));
    struct stat st;

    if (path != NULL && stat(path, &st) == 0)
        fprintf(to, "%lld %lld %lld %lld.%09ld\n", (long long)st.st_dev, (long long)st.st_ino, (long long)st.st_size,
                (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    free(path);
}

/* All that an outbox is set to, in the order of the keys: two that are alike have the same. */
static char *print_all(const struct entry **entries, size_t count)
{
    size_t size, length;
    char *text = NULL;
    FILE *to = open_memstream(&text, &size);

    if (to == NULL)
        return NULL;
    qsort(entries, count, sizeof(*entries), compare_entries);
    for (size_t i = 0; i < count; i++) {
        fprintf(to, "%s=%s\n", entries[i]->key, entries[i]->value);
        length = strlen(entries[i]->key);
        if (length > 5 && strcmp(entries[i]->key + length - 5, "_file") == 0)
            print_file(to, entries[i]);
    }
    if (fclose(to) == 0)
        return text;
    free(text);
    return NULL;
}

static bool overridden(const struct file *f, const struct entry *e, size_t section)
{
    for (size_t i = 0; i < f->entry_count; i++)
        if (f->entries[i].section == section && strcmp(f->entries[i].key, e->key) == 0)
            return true;
    return false;
}

/* What all share, then what the section says. */
static int apply_section(struct file *f, size_t section, struct cli_settings *s)
{
    const struct entry **taken = calloc(f->entry_count + 1, sizeof(*taken));
    size_t count = 0;

    if (taken == NULL)
        return file_fail(f, "out of memory");
    for (size_t pass = 0; pass < 2 && !f->failed; pass++)
        for (size_t i = 0; i < f->entry_count && !f->failed && (pass == 0 || section > 0); i++) {
            const struct entry *e = &f->entries[i];
            if (e->section != (pass == 0 ? 0 : section) || (pass == 0 && section > 0 && overridden(f, e, section)))
                continue;
            taken[count++] = e;
            apply(f, e, s);
        }
    if (!f->failed)
        set_text(f, &s->print, print_all(taken, count));
    free(taken);
    return !f->failed;
}

/* ---- the file ---- */

static int file_open(struct file *f)
{
    f->stream = fopen(f->path, "re");
    /* A folder opens, too, and cannot be read. */
    if (f->stream != NULL && ungetc(fgetc(f->stream), f->stream) == EOF && ferror(f->stream)) {
        int why = errno;
        fclose(f->stream);
        f->stream = NULL;
        errno = why;
    }
    if (f->stream != NULL)
        return CLI_OK;
    return cli_fail(f->cli, "cannot read the configuration %s: %s", f->path, strerror(errno));
}

static int file_read(struct file *f)
{
    int rc, status = file_open(f);

    if (status != CLI_OK)
        return status;
    f->entries = calloc(ENTRIES_MAX, sizeof(*f->entries));
    rc = f->entries != NULL ? ini_parse_stream(file_read_line, f, file_take, f) : file_fail(f, "out of memory");
    if (rc != 0 && !f->failed)
        f->number = rc;
    if (rc != 0)
        file_fail(f, "this is neither [outbox], nor KEY = VALUE, nor a comment");
    else if (ferror(f->stream))
        file_fail(f, strerror(errno));
    fclose(f->stream);
    return f->failed ? CLI_USAGE : CLI_OK;
}

static void file_free(struct file *f)
{
    for (size_t i = 0; i < f->entry_count; i++) {
        free(f->entries[i].key);
        free(f->entries[i].value);
    }
    for (size_t i = 0; i < f->name_count; i++)
        free(f->names[i]);
    free(f->entries);
    free(f->line);
}

int cli_config_load(const struct cli *cli, const char *path, const char *name, struct cli_settings *settings)
{
    struct file f = { .cli = cli, .path = path };
    int status = file_read(&f);
    size_t section = 0;

    if (status == CLI_OK && name != NULL) {
        while (section < f.name_count && strcmp(f.names[section], name) != 0)
            section++;
        if (section++ == f.name_count)
            status = cli_usage(cli, "%s has no section [outbox %s]", path, name);
    } else if (status == CLI_OK && f.name_count > 0) {
        status = cli_usage(cli, "%s has %s: say --outbox NAME, such as %s", path,
                           f.name_count > 1 ? "several outboxes" : "an outbox with a name", f.names[0]);
    }
    if (status == CLI_OK && !apply_section(&f, section, settings))
        status = CLI_USAGE;
    file_free(&f);
    return status;
}

/* A token that can be guessed is none. */
#define TOKEN_MIN 16

static int apply_token(struct file *f, const struct entry *e, struct cli_server *server)
{
    char what[512], *path = cli_credential(e->key, e->value, what, sizeof(what)), *token = NULL;

    if (path != NULL)
        token = cli_read_secret(path, what, sizeof(what));
    free(path);
    if (token == NULL)
        return file_fail(f, what);
    if (strlen(token) < TOKEN_MIN) {
        free(token);
        return file_fail(f, "the token in the file must have 16 characters at least");
    }
    return set_text(f, &server->admin_token, token);
}

static int apply_server(struct file *f, struct cli_server *server)
{
    for (size_t i = 0; i < f->entry_count && !f->failed; i++) {
        const struct entry *e = &f->entries[i];
        if (e->section != SERVER || e->value[0] == '\0')
            continue;
        f->number = e->number;
        if (strcmp(e->key, "admin_token_file") == 0)
            apply_token(f, e, server);
        else
            set_text(f, strcmp(e->key, "listen") == 0 ? &server->listen : &server->hosts, strdup(e->value));
    }
    return !f->failed;
}

void cli_server_free(struct cli_server *server)
{
    free(server->listen);
    free(server->hosts);
    free(server->admin_token);
    *server = (struct cli_server){ 0 };
}

int cli_config_load_all(const struct cli *cli, const char *path, struct cli_settings **all, size_t *count,
                        struct cli_server *server)
{
    struct file f = { .cli = cli, .path = path };
    int status = file_read(&f);
    size_t named = status == CLI_OK ? f.name_count : 0;

    *count = 0;
    *all = calloc(named + 1, sizeof(**all));
    if (*all == NULL && status == CLI_OK)
        status = cli_fail(cli, "out of memory");
    for (size_t i = 0; status == CLI_OK && i < (named > 0 ? named : 1); i++) {
        struct cli_settings *s = &(*all)[(*count)++];
        outbox_error *err = NULL;
        if (outbox_conf_new(&s->conf, &err) != OUTBOX_OK)
            status = cli_error(cli, NULL, err);
        else if ((named > 0 && (s->name = strdup(f.names[i])) == NULL) || !apply_section(&f, named > 0 ? i + 1 : 0, s))
            status = CLI_USAGE;
    }
    if (status == CLI_OK && !apply_server(&f, server))
        status = CLI_USAGE;
    file_free(&f);
    return status;
}
