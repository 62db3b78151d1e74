/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A Kafka cluster for tests: librdkafka's mock, in a process of its own, so that it can be stopped and killed.
 *
 *     kafka_mock COMMANDS ANSWERS PORT...      one broker a port
 *     kafka_mock COMMANDS ANSWERS PORT=TOLD... behind something that listens at localhost:TOLD, which clients are told of
 *
 * COMMANDS and ANSWERS are named pipes: a line each, and for each a line "ok" or "error TEXT". kafka_cluster.c starts
 * it.
 *
 *     topic NAME PARTITIONS      makes a topic; one that is not made appears when it is first used, with 4
 *     topic_error NAME CODE      metadata of that topic says so from now on
 *     errors API CODE COUNT      the next COUNT requests of that kind (0: produce) fail with CODE; -195: are cut off
 *     slow API COUNT MS          the next COUNT answers of each broker to requests of that kind take so long
 *     down BROKER, up BROKER     a broker is not there, and there again, with what it had; -1: all
 *     leader TOPIC PARTITION BROKER
 *
 * The mock does not check sequence numbers, sizes or names, knows no SASL and, without a relay in front, no TLS, and keeps
 * up to 5 MB a partition.
 */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int ports[16], told[16], port_count, port_next;

/* The mock binds to any port. A cluster that comes back has to have the old ones: this goes before libc's. */
int bind_own(int fd, const struct sockaddr *address, socklen_t size) __asm__("bind")
    __attribute__((visibility("default")));

int bind_own(int fd, const struct sockaddr *address, socklen_t size)
{
    struct sockaddr_in own;
    int on = 1;

    if (address->sa_family == AF_INET && size >= sizeof(own)) {
        memcpy(&own, address, sizeof(own));
        if (own.sin_port == 0 && port_next < port_count) {
            own.sin_port = htons((uint16_t)ports[port_next++]);
            own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
            /* As a broker does, for each connection, which inherits it: else an answer waits up to 40 ms for another's
             * acknowledgement by TCP, and rates are of that. */
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
            return (int)syscall(SYS_bind, fd, &own, sizeof(own));
        }
    }
    return (int)syscall(SYS_bind, fd, address, size);
}

/* By these two the mock learns what it tells clients: where each broker listens, and the name of that address. */
int getsockname_own(int fd, struct sockaddr *address, socklen_t *size) __asm__("getsockname")
    __attribute__((visibility("default")));
int getnameinfo_own(const struct sockaddr *address, socklen_t size, char *host, socklen_t host_size, char *service,
                    socklen_t service_size, int flags) __asm__("getnameinfo") __attribute__((visibility("default")));

int getsockname_own(int fd, struct sockaddr *address, socklen_t *size)
{
    int rc = (int)syscall(SYS_getsockname, fd, address, size);
    struct sockaddr_in own;

    if (rc != 0 || address->sa_family != AF_INET || *size < sizeof(own))
        return rc;
    memcpy(&own, address, sizeof(own));
    for (int i = 0; i < port_count; i++)
        if (told[i] != 0 && ntohs(own.sin_port) == ports[i])
            own.sin_port = htons((uint16_t)told[i]);
    memcpy(address, &own, sizeof(own));
    return rc;
}

int getnameinfo_own(const struct sockaddr *address, socklen_t size, char *host, socklen_t host_size, char *service,
                    socklen_t service_size, int flags)
{
    struct sockaddr_in own;

    (void)flags;
    if (address->sa_family != AF_INET || size < sizeof(own))
        return EAI_FAMILY;
    memcpy(&own, address, sizeof(own));
    if (host != NULL && told[0] != 0)
        snprintf(host, host_size, "localhost");
    else if (host != NULL && inet_ntop(AF_INET, &own.sin_addr, host, host_size) == NULL)
        return EAI_OVERFLOW;
    if (service != NULL)
        snprintf(service, service_size, "%d", ntohs(own.sin_port));
    return 0;
}

static rd_kafka_resp_err_t push_errors(rd_kafka_mock_cluster_t *cluster, int api, int code, int count)
{
    rd_kafka_resp_err_t *errors = calloc((size_t)count + 1, sizeof(*errors));

    if (errors == NULL)
        return RD_KAFKA_RESP_ERR__FAIL;
    for (int i = 0; i < count; i++)
        errors[i] = (rd_kafka_resp_err_t)code;
    rd_kafka_mock_clear_request_errors(cluster, (int16_t)api);
    if (count > 0)
        rd_kafka_mock_push_request_errors_array(cluster, (int16_t)api, (size_t)count, errors);
    free(errors);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* One that is there is fine. */
static rd_kafka_resp_err_t make_topic(rd_kafka_mock_cluster_t *cluster, const char *name, int partitions)
{
    rd_kafka_resp_err_t err = rd_kafka_mock_topic_create(cluster, name, partitions, 1);

    return err == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS ? RD_KAFKA_RESP_ERR_NO_ERROR : err;
}

static rd_kafka_resp_err_t slow_down(rd_kafka_mock_cluster_t *cluster, int api, int count, int ms)
{
    rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;

    for (int broker = 1; broker <= port_count; broker++)
        for (int i = 0; i < count && err == RD_KAFKA_RESP_ERR_NO_ERROR; i++)
            err = rd_kafka_mock_broker_push_request_error_rtts(cluster, broker, (int16_t)api, 1,
                                                               RD_KAFKA_RESP_ERR_NO_ERROR, ms);
    return err;
}

static rd_kafka_resp_err_t obey(rd_kafka_mock_cluster_t *cluster, const char *line)
{
    char name[300];
    int a, b, c;

    if (sscanf(line, "topic %299s %d", name, &a) == 2)
        return make_topic(cluster, name, a);
    if (sscanf(line, "topic_error %299s %d", name, &a) == 2) {
        rd_kafka_mock_topic_set_error(cluster, name, (rd_kafka_resp_err_t)a);
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    if (sscanf(line, "errors %d %d %d", &a, &b, &c) == 3 && c >= 0)
        return push_errors(cluster, a, b, c);
    if (sscanf(line, "slow %d %d %d", &a, &b, &c) == 3)
        return slow_down(cluster, a, b, c);
    if (sscanf(line, "down %d", &a) == 1)
        return rd_kafka_mock_broker_set_down(cluster, a);
    if (sscanf(line, "up %d", &a) == 1)
        return rd_kafka_mock_broker_set_up(cluster, a);
    if (sscanf(line, "leader %299s %d %d", name, &a, &b) == 3)
        return rd_kafka_mock_partition_set_leader(cluster, name, a, b);
    return RD_KAFKA_RESP_ERR__INVALID_ARG;
}

int main(int argc, char **argv)
{
    char line[400], why[300];
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), why, sizeof(why));
    rd_kafka_mock_cluster_t *cluster;
    FILE *commands, *answers;

    for (int i = 3; i < argc && port_count < 16; i++)
        if (sscanf(argv[i], "%d=%d", &ports[port_count], &told[port_count]) > 0)
            port_count++;
    if (port_count == 0 || rk == NULL)
        return 2;
    cluster = rd_kafka_mock_cluster_new(rk, port_count);
    if (cluster == NULL)
        return 1;
    /* Both ways, so that no writer that goes ends it. */
    commands = fdopen(open(argv[1], O_RDWR), "r");
    answers = fdopen(open(argv[2], O_RDWR), "w");
    if (commands == NULL || answers == NULL)
        return 1;
    while (fgets(line, sizeof(line), commands) != NULL) {
        rd_kafka_resp_err_t err = obey(cluster, line);

        if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
            fprintf(answers, "ok\n");
        else
            fprintf(answers, "error %s\n", rd_kafka_err2str(err));
        fflush(answers);
    }
    return 0;
}
