/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl.h"

#include <string.h>

/* The choices of the setting "driver", but for the first, which is to find out. */
const char *ctl_dialects(char *text, size_t size)
{
    outbox_conf_info info;
    size_t i = 0, used = 0;
    char *name, *next;

    text[0] = '\0';
    while (outbox_conf_describe(i, &info) == OUTBOX_OK && strcmp(info.key, "driver") != 0)
        i++;
    strtok_r(info.range, "|", &next);
    while ((name = strtok_r(NULL, "|", &next)) != NULL && used < size)
        used += (size_t)snprintf(text + used, size - used, "%s%s",
                                 used == 0 ? "" : next[0] == '\0' ? " or " : ", ", name);
    return text;
}

static int print_sql(struct ctl *ctl)
{
    const char *dialect = cli_value(&ctl->cli, CTL_DIALECT);
    char names[CTL_DIALECTS_SIZE], *sql;
    outbox_error *err = NULL;
    int rc;

    if (ctl->json)
        return cli_usage(&ctl->cli, "--print prints SQL, and does not go with --json");
    if (dialect == NULL)
        return cli_usage(&ctl->cli, "--print needs --dialect: %s", ctl_dialects(names, sizeof(names)));
    rc = outbox_migrations_print(dialect, ctl->settings.conf, &sql, &err);
    if (rc != OUTBOX_OK) {
        int status = cli_error(&ctl->cli, "--dialect", err);
        return rc == OUTBOX_ERR_UNSUPPORTED ? CLI_USAGE : status;
    }
    fputs(sql, stdout);
    outbox_free(sql);
    return CLI_OK;
}

static int print_list(struct ctl *ctl)
{
    outbox_migration m = { .size = sizeof(m) };
    outbox_error *err = NULL;
    json_t *all = json_array();
    int rc;

    for (size_t i = 0; (rc = outbox_migration_get(ctl->conn, i, &m, &err)) == OUTBOX_OK; i++) {
        if (ctl->json)
            json_array_append_new(all, json_pack("{s:i, s:s, s:b}", "number", m.number, "name", m.name, "applied",
                                                 m.applied));
        else
            printf("%04d  %-30s %s\n", m.number, m.name, m.applied ? "applied" : "not applied");
    }
    if (rc < 0) {
        json_decref(all);
        return cli_error(&ctl->cli, "cannot list the migrations", err);
    }
    if (ctl->json)
        return ctl_print_json(ctl, all);
    json_decref(all);
    return CLI_OK;
}

static int apply(struct ctl *ctl)
{
    outbox_error *err = NULL;
    int applied;

    if (outbox_migrate(ctl->conn, &applied, &err) != OUTBOX_OK)
        return cli_error(&ctl->cli, "cannot migrate", err);
    if (ctl->json)
        return ctl_print_json(ctl, json_pack("{s:s, s:i}", "driver", outbox_conn_driver(ctl->conn), "applied", applied));
    if (applied == 0)
        printf("The tables are up to date.\n");
    else
        printf("%d migration%s applied (%s).\n", applied, applied == 1 ? "" : "s", outbox_conn_driver(ctl->conn));
    return CLI_OK;
}

int ctl_migrate(struct ctl *ctl)
{
    bool list = cli_has(&ctl->cli, CTL_LIST), print = cli_has(&ctl->cli, CTL_PRINT);
    int status;

    if (list && print)
        return cli_usage(&ctl->cli, "--list and --print exclude each other");
    if (cli_has(&ctl->cli, CTL_DIALECT) && !print)
        return cli_usage(&ctl->cli, "--dialect goes with --print; a connection has its dialect from the setting \"driver\"");
    if (print)
        return print_sql(ctl);
    status = ctl_connect(ctl);
    if (status != CLI_OK)
        return status;
    return list ? print_list(ctl) : apply(ctl);
}
