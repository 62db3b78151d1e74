/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl.h"

#include <string.h>

static json_t *as_json(const outbox_conf *conf, const outbox_conf_info *info)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "key", info->key, "value", outbox_conf_get(conf, info->key),
                     "default", info->default_value, "type", info->type, "range", info->range, "help", info->help);
}

static void print_one(const outbox_conf *conf, const outbox_conf_info *info)
{
    const char *value = outbox_conf_get(conf, info->key);
    bool changed = strcmp(value, info->default_value) != 0;

    printf("%s%s%s = %s%s%s\n", cli_colour(stdout, CLI_BOLD), info->key, cli_colour(stdout, CLI_PLAIN),
           changed ? cli_colour(stdout, CLI_YELLOW) : "", value, changed ? cli_colour(stdout, CLI_PLAIN) : "");
    printf("    %s%s%s", info->type, info->range[0] != '\0' ? ": " : "", info->range);
    if (changed)
        printf("; default: %s", info->default_value[0] != '\0' ? info->default_value : "empty");
    putchar('\n');
    cli_print_wrapped(stdout, info->help, 4);
}

int ctl_settings(struct ctl *ctl)
{
    json_t *all = json_array();
    outbox_conf_info info;

    for (size_t i = 0; outbox_conf_describe(i, &info) == OUTBOX_OK; i++) {
        if (ctl->json)
            json_array_append_new(all, as_json(ctl->settings.conf, &info));
        else
            print_one(ctl->settings.conf, &info);
    }
    if (ctl->json)
        return ctl_print_json(ctl, all);
    json_decref(all);
    return CLI_OK;
}
