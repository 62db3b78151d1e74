/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A command that runs for a long time, with a pipe to its standard input and one from its standard output. */
#ifndef OUTBOX_PUBLISHERS_EXEC_CHILD_H
#define OUTBOX_PUBLISHERS_EXEC_CHILD_H

#include <pthread.h>
#include <stddef.h>
#include <sys/types.h>

/* What is kept of a line; the rest of a longer one is dropped. */
#define OUTBOX_EXEC_LINE_MAX 4096

struct outbox_exec_child {
    struct outbox_exec_child *next; /* for whoever keeps several */
    pid_t pid;                      /* also the number of its process group; 0 once it was reaped */
    int status;                     /* as from waitpid(), once it was reaped; -1 when somebody else reaped it */
    int in, out;                    /* our ends, non-blocking; -1 when closed */
    char line[OUTBOX_EXEC_LINE_MAX];
    size_t used;
};

/* Starts `/bin/sh -c command` in a process group of its own. Returns 0 or an error number. */
int outbox_exec_child__start(struct outbox_exec_child *child, const char *command);

/* Sends a signal to the whole group, if the child was not reaped. */
void outbox_exec_child__signal(const struct outbox_exec_child *child, int number);

/*
 * Whether the child ends within ms. When it has, what is left of its group is killed and it is reaped. That may not be
 * at the same time as outbox_exec_child__signal() for the same child: `lock` is held for each look, not between; NULL
 * where no other thread knows the child.
 */
int outbox_exec_child__reap(struct outbox_exec_child *child, pthread_mutex_t *lock, long ms);

/* Gets rid of a child now: killed, reaped and closed; it is not freed. */
void outbox_exec_child__end(struct outbox_exec_child *child, pthread_mutex_t *lock);

void outbox_exec_child__close_in(struct outbox_exec_child *child);
void outbox_exec_child__close(struct outbox_exec_child *child);

/* Says how it ended: "exit status 3". */
void outbox_exec_child__describe(const struct outbox_exec_child *child, char *text, size_t size);

/* Receives a line without its newline. Returns 0 to go on. */
typedef int outbox_exec_line_fn(void *user, char *line);

enum outbox_exec_read { OUTBOX_EXEC_AGAIN, OUTBOX_EXEC_END, OUTBOX_EXEC_STOPPED };

/* Reads what is there and hands over each whole line, until nothing more is there, it has ended, or fn says so. */
enum outbox_exec_read outbox_exec_child__read(struct outbox_exec_child *child, outbox_exec_line_fn *fn, void *user);

#endif
