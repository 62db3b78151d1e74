/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Servers of brokers, which tests start and kill. */
#include "server.h"
#include "lib-test.h"

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
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

static int try_port(int port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = connect(fd, (struct sockaddr *)&at, sizeof(at));

    close(fd);
    return rc == 0;
}

static int free_port(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), port = 0;

    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && getsockname(fd, (struct sockaddr *)&at, &size) == 0)
        port = ntohs(at.sin_port);
    close(fd);
    return port;
}

int server_prepare(struct server *s)
{
    const char *parent = getenv("TMPDIR");

    memset(s, 0, sizeof(*s));
    snprintf(s->folder, sizeof(s->folder), "%s/outbox-server.XXXXXX",
             parent != NULL && strlen(parent) < 40 ? parent : "/tmp");
    if (mkdtemp(s->folder) == NULL)
        return -1;
    chmod(s->folder, 0755);
    s->port = free_port();
    return s->port != 0 ? 0 : -1;
}

int server_installed(const char *program)
{
    char place[200];
    const char *p = path;

    while (*p != '\0') {
        size_t size = strcspn(p, ":");
        snprintf(place, sizeof(place), "%.*s/%s", (int)size, p, program);
        if (access(place, X_OK) == 0)
            return 1;
        p += size + (p[size] == ':');
    }
    return 0;
}

static void run(const struct server *s)
{
    int log = open(server_file(s, "log"), O_WRONLY | O_CREAT | O_APPEND, 0644), null = open("/dev/null", O_RDONLY);
    sigset_t none;

    /* A test that is killed takes its server with it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setenv("PATH", path, 1);
    dup2(null, 0);
    dup2(log, 1);
    dup2(log, 2);
    execvp(s->argv[0], (char *const *)(uintptr_t)s->argv);
    _exit(127);
}

/* Whether it ended. */
static int is_gone(struct server *s)
{
    if (s->pid != 0 && waitpid(s->pid, NULL, WNOHANG) == s->pid)
        s->pid = 0;
    return s->pid == 0;
}

int server_start(struct server *s)
{
    int up;

    s->pid = fork();
    if (s->pid == 0)
        run(s);
    WAIT_FOR(is_gone(s) || try_port(s->port), up);
    if (!up || s->pid == 0) {
        char line[300] = "";
        FILE *log = fopen(server_file(s, "log"), "r");

        while (log != NULL && fgets(line, sizeof(line), log) != NULL)
            tap_note("%s", line);
        if (log != NULL)
            fclose(log);
        tap_note("%s does not start", s->argv[0]);
        return -1;
    }
    return 0;
}

void server_signal(const struct server *s, int number)
{
    if (s->pid != 0)
        kill(s->pid, number);
}

void server_stop(struct server *s, int number)
{
    if (s->pid == 0)
        return;
    kill(s->pid, SIGCONT);
    kill(s->pid, number);
    while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    s->pid = 0;
}

void server_free(struct server *s)
{
    char command[100];

    server_stop(s, SIGKILL);
    snprintf(command, sizeof(command), "rm -rf '%s'", s->folder);
    if (s->folder[0] != '\0' && system(command) != 0)
        tap_note("%s is left behind", s->folder);
    s->folder[0] = '\0';
}

const char *server_file(const struct server *s, const char *name)
{
    static char paths[8][128];
    static unsigned turn;
    char *at = paths[turn++ % 8];

    snprintf(at, sizeof(paths[0]), "%s/%s", s->folder, name);
    return at;
}

void server_write(const struct server *s, const char *name, const char *format, ...)
{
    FILE *file = fopen(server_file(s, name), "w");
    va_list ap;

    va_start(ap, format);
    if (file != NULL) {
        vfprintf(file, format, ap);
        fclose(file);
    }
    va_end(ap);
    CHECK(file != NULL, "%s can be written", name);
}

int server_certificates(const struct server *s, const char *names)
{
    char command[1600];

    snprintf(command, sizeof(command),
             "cd '%s' && {\n"
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test-ca "
             "-keyout ca.key -out ca.pem &&\n"
             "for who in server client; do\n"
             "  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=$who -keyout $who.key "
             "-out $who.csr &&\n"
             "  printf 'subjectAltName=%%s\\n' '%s' >$who.ext &&\n"
             "  openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile $who.ext "
             "-out $who.pem || exit 1\n"
             "done\n"
             "chmod 644 *.key; } >openssl.log 2>&1",
             s->folder, names);
    return system(command) == 0 ? 0 : -1;
}
