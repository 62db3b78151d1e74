/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pipe2(): another thread may start a program between pipe() and fcntl() */
#endif
#include "exec_child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_MS 10     /* between two looks whether a child has ended */
#define KILLED_MS 1000 /* how long that may take after SIGKILL */

extern char **environ;

/* A pipe whose ends are above the standard descriptors, which the application may have closed. */
static int high_pipe(int ends[2])
{
    if (pipe2(ends, O_CLOEXEC) != 0)
        return errno;
    for (int i = 0; i < 2; i++) {
        int fd = ends[i];
        if (fd > STDERR_FILENO)
            continue;
        ends[i] = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        close(fd);
        if (ends[i] < 0) {
            int number = errno;
            close(ends[1 - i]);
            return number;
        }
    }
    return 0;
}

/* The command starts as a shell would start it: no signal blocked or ignored, whatever the application does. */
static int spawn_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    int rc = posix_spawnattr_init(attributes);

    if (rc != 0)
        return rc;
    sigemptyset(&none);
    sigfillset(&all);
    rc = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    if (rc == 0)
        rc = posix_spawnattr_setpgroup(attributes, 0);
    if (rc == 0)
        rc = posix_spawnattr_setsigmask(attributes, &none);
    if (rc == 0)
        rc = posix_spawnattr_setsigdefault(attributes, &all);
    if (rc != 0)
        posix_spawnattr_destroy(attributes);
    return rc;
}

static int spawn(pid_t *pid, const char *command, int in, int out)
{
    char *const argv[] = { (char[]){ "sh" }, (char[]){ "-c" }, (char *)(uintptr_t)command, NULL };
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int rc = spawn_attributes(&attributes);

    if (rc != 0)
        return rc;
    rc = posix_spawn_file_actions_init(&actions);
    if (rc == 0) {
        rc = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
        if (rc == 0)
            rc = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
        if (rc == 0)
            rc = posix_spawn(pid, "/bin/sh", &actions, &attributes, argv, environ);
        posix_spawn_file_actions_destroy(&actions);
    }
    posix_spawnattr_destroy(&attributes);
    return rc;
}

int outbox_exec_child__start(struct outbox_exec_child *child, const char *command)
{
    int to[2], from[2];
    int rc = high_pipe(to);

    memset(child, 0, sizeof(*child));
    child->in = child->out = -1;
    if (rc != 0)
        return rc;
    rc = high_pipe(from);
    if (rc != 0) {
        close(to[0]);
        close(to[1]);
        return rc;
    }
    child->in = to[1];
    child->out = from[0];
    if (fcntl(child->in, F_SETFL, O_NONBLOCK) != 0 || fcntl(child->out, F_SETFL, O_NONBLOCK) != 0)
        rc = errno;
    if (rc == 0)
        rc = spawn(&child->pid, command, to[0], from[1]);
    close(to[0]);
    close(from[1]);
    if (rc != 0)
        outbox_exec_child__close(child);
    return rc;
}

void outbox_exec_child__signal(const struct outbox_exec_child *child, int number)
{
    if (child->pid > 0)
        kill(-child->pid, number);
}

static int reap_now(struct outbox_exec_child *child)
{
    siginfo_t info = { 0 };

    if (child->pid <= 0)
        return 1;
    /* First only a look: as long as it is not reaped, its number cannot belong to others. */
    if (waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0)
        return 0;
    if (info.si_pid == child->pid)
        kill(-child->pid, SIGKILL);
    if (waitpid(child->pid, &child->status, WNOHANG) != child->pid)
        child->status = -1;
    child->pid = 0;
    return 1;
}

int outbox_exec_child__reap(struct outbox_exec_child *child, pthread_mutex_t *lock, long ms)
{
    for (;; ms -= LOOK_MS) {
        int ended;

        if (lock != NULL)
            pthread_mutex_lock(lock);
        ended = reap_now(child);
        if (lock != NULL)
            pthread_mutex_unlock(lock);
        if (ended || ms <= 0)
            return ended;
        poll(NULL, 0, LOOK_MS);
    }
}

void outbox_exec_child__close_in(struct outbox_exec_child *child)
{
    if (child->in >= 0)
        close(child->in);
    child->in = -1;
}

void outbox_exec_child__close(struct outbox_exec_child *child)
{
    outbox_exec_child__close_in(child);
    if (child->out >= 0)
        close(child->out);
    child->out = -1;
}

void outbox_exec_child__end(struct outbox_exec_child *child, pthread_mutex_t *lock)
{
    outbox_exec_child__signal(child, SIGKILL);
    outbox_exec_child__reap(child, lock, KILLED_MS);
    outbox_exec_child__close(child);
}

void outbox_exec_child__describe(const struct outbox_exec_child *child, char *text, size_t size)
{
    if (child->status == -1)
        snprintf(text, size, "how, is not known");
    else if (WIFSIGNALED(child->status))
        snprintf(text, size, "killed by signal %d (%s)", WTERMSIG(child->status), strsignal(WTERMSIG(child->status)));
    else if (WEXITSTATUS(child->status) == 127)
        snprintf(text, size, "exit status 127, which mostly means that there is no such command");
    else
        snprintf(text, size, "exit status %d", WEXITSTATUS(child->status));
}

/* Hands over the whole lines in the buffer and keeps the rest. */
static int split_lines(struct outbox_exec_child *child, outbox_exec_line_fn *fn, void *user)
{
    char *from = child->line, *newline;
    int stop = 0;

    while (!stop && (newline = memchr(from, '\n', child->used)) != NULL) {
        *newline = '\0';
        child->used -= (size_t)(newline + 1 - from);
        stop = fn(user, from);
        from = newline + 1;
    }
    memmove(child->line, from, child->used);
    return stop;
}

enum outbox_exec_read outbox_exec_child__read(struct outbox_exec_child *child, outbox_exec_line_fn *fn, void *user)
{
    for (;;) {
        ssize_t n;
        /* A line that is too long: only its beginning stays, and the place behind is read into again. */
        if (child->used == sizeof(child->line))
            child->used = sizeof(child->line) / 2;
        n = read(child->out, child->line + child->used, sizeof(child->line) - child->used);
        if (n == 0)
            return OUTBOX_EXEC_END;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? OUTBOX_EXEC_AGAIN : OUTBOX_EXEC_END;
        child->used += (size_t)n;
        if (split_lines(child, fn, user))
            return OUTBOX_EXEC_STOPPED;
    }
}
