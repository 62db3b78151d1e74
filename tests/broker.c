/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Servers of brokers: started, killed, stopped and continued. */
#define _GNU_SOURCE
#include "broker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

int broker_run(struct broker *b, const char *const argv[])
{
    char log[100];
    int fd;

    b->pid = fork();
    if (b->pid != 0)
        return b->pid > 0 ? 0 : -1;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(log, sizeof log, "%s/log", b->directory);
    fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0 || chdir(b->directory) != 0)
        _exit(126);
    setpgid(0, 0);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

static int loopback(int port, struct sockaddr_in *address)
{
    memset(address, 0, sizeof *address);
    address->sin_family = AF_INET;
    address->sin_port = htons((uint16_t)port);
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* The socket stays, until the program ends: no other program gets that port for any, while the server may share it, as
 * both say SO_REUSEADDR and ours does not listen. It may start, and start again, as late as it likes. */
int broker_port(void)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    int fd = loopback(0, &address), on = 1;

    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) {
        close(fd);
        return 0;
    }
    return ntohs(address.sin_port);
}

static int listens(int port)
{
    struct sockaddr_in address;
    int fd = loopback(port, &address), there = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;

    close(fd);
    return there;
}

int broker_wait_port(int port)
{
    int there;

    WAIT_FOR(listens(port), there);
    return there ? 0 : -1;
}

int broker_write(struct broker *b, const char *name, const char *format, ...)
{
    char path[200];
    va_list arguments;
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", b->directory, name);
    file = fopen(path, "w");
    if (file == NULL)
        return -1;
    va_start(arguments, format);
    vfprintf(file, format, arguments);
    va_end(arguments);
    return fclose(file);
}

int broker_certificates(struct broker *b)
{
    char command[1900];

    snprintf(command, sizeof command,
             "cd %s && exec >openssl.log 2>&1 && for ca in ca other-ca; do "
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=$ca "
             "-keyout $ca.key -out $ca.pem || exit 1; done; for who in server client; do "
             "name=localhost; [ $who = server ] || name=outbox; "
             "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$name -keyout $who.key -out "
             "$who.csr && printf 'subjectAltName=DNS:localhost' >$who.ext && openssl x509 -req -days 2 -in $who.csr -CA "
             "ca.pem -CAkey ca.key -CAcreateserial -extfile $who.ext -out $who.pem || exit 1; done; "
             "openssl pkcs8 -topk8 -v2 aes-256-cbc -in client.key -out locked.key -passout 'pass:" BROKER_KEY_PASSWORD "' && "
             "chmod 644 *.key", b->directory);
    return system(command) == 0 ? 0 : -1;
}

void broker_kill(struct broker *b)
{
    if (b->pid <= 0)
        return;
    kill(-b->pid, SIGKILL);
    kill(b->pid, SIGKILL);
    while (waitpid(b->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    b->pid = 0;
}

int broker_restart(struct broker *b)
{
    broker_kill(b);
    return CHECK_INT(b->kind->start(b), 0) && CHECK_INT(b->kind->wait(b), 0) ? 0 : -1;
}

void broker_pause(struct broker *b)
{
    int status = 0;

    kill(-b->pid, SIGSTOP);
    waitpid(b->pid, &status, WUNTRACED);
    CHECK(WIFSTOPPED(status), "the server does not stop");
}

void broker_resume(struct broker *b)
{
    kill(-b->pid, SIGCONT);
}

void taken_add(struct taken *taken, const char *name, const char *value)
{
    if (taken->count == TAKEN_METAS)
        return;
    taken->metas[taken->count].name = name;
    taken->metas[taken->count++].value = value;
}

const char *taken_meta(const struct taken *taken, const char *name)
{
    for (size_t i = 0; i < taken->count; i++)
        if (strcmp(taken->metas[i].name, name) == 0)
            return taken->metas[i].value;
    return NULL;
}
