/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What --version prints. */
#include "cli.h"

#include <string.h>

/* The loadable modules, by the parts that configure can leave out. */
static const struct {
    const char *name;
    bool built;
} modules[] = {
    { "publisher-amqp", OUTBOX_WITH_RABBITMQ },
    { "publisher-amqp1", OUTBOX_WITH_QPID_PROTON },
    { "publisher-http", OUTBOX_WITH_LIBCURL },
    { "publisher-kafka", OUTBOX_WITH_RDKAFKA },
    { "publisher-mqtt", OUTBOX_WITH_LIBMOSQUITTO },
    { "publisher-nats", OUTBOX_WITH_LIBNATS },
    { "publisher-redis", OUTBOX_WITH_REDIS },
    { "wake-postgresql", OUTBOX_WITH_LIBPQ },
};

/* The choices of the setting `driver`, but for "auto". */
static void print_drivers(void)
{
    outbox_conf_info info;
    size_t i;

    for (i = 0; outbox_conf_describe(i, &info) == OUTBOX_OK; i++)
        if (strcmp(info.key, "driver") == 0)
            for (const char *c = strchr(info.range, '|'); c != NULL && *c != '\0'; c++)
                putchar(*c == '|' ? ' ' : *c);
}

void cli_print_version(const struct cli *cli)
{
    printf("%s %s\n", cli->program, OUTBOX_VERSION);
    if (strcmp(outbox_version(), OUTBOX_VERSION) != 0)
        printf("library: %s\n", outbox_version());
    printf("drivers:");
    print_drivers();
    printf("\nmodules:");
    for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++)
        if (modules[i].built)
            printf(" %s", modules[i].name);
    printf("\n");
}
