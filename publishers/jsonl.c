/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * "stdout:" and "file:PATH" write one JSON line a message.
 *
 * Threads: publish() runs on several relay threads at once. Lines are made without a lock and written, some hundred
 * kilobytes at a time, under `lock`, which guards everything in struct jsonl but `jobs`; those have `jobs_lock`, so
 * that cancel() never waits for a write. Lines of several deliveries may alternate; one key is never in two of them.
 *
 * Other processes may append to the same file: each piece is written under flock(). A line that a killed process left
 * unfinished is ended with a newline before anything follows it, so that it spoils no other.
 */
#include "builtin.h"
#include "conf_internal.h"
#include "sigpipe.h"

#include <outbox/message.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Lines are collected up to this many bytes, then written in one call. */
#define PIECE_SIZE (256 * 1024)
/* What a pipe that poll() calls writable takes without blocking. */
#define PIPE_STEP 4096
/* How soon a blocked write notices that it is to stop, in milliseconds. */
#define CANCEL_CHECK_MS 50

/* One call of publish(). */
struct job {
    struct job *next;
    const outbox_delivery *delivery;
    atomic_int cancelled;
    unsigned failed_syncs; /* of the publisher, when the job began */
    char *piece;           /* lines not written yet */
    size_t used, room;
    size_t *index; /* of each message whose line was made, in order */
    size_t *end;   /* where its line ends in the piece that it is in */
    size_t made, written;
    int no_memory; /* for a line */
    char why[512]; /* what went wrong */
};

struct jsonl {
    pthread_mutex_t lock, jobs_lock;
    struct job *jobs;
    char *path; /* NULL: the standard output */
    int fd;     /* -1: to be opened */
    int regular;           /* never blocks for long */
    int torn;              /* of what cannot be read back: the last line is not whole */
    unsigned failed_syncs; /* the system tells of a failed write once only: all jobs of that time have to know */
};

static int job_fail(struct job *job, const struct jsonl *j, const char *what, int number)
{
    snprintf(job->why, sizeof(job->why), "%s %s: %s", what, j->path != NULL ? j->path : "the standard output",
             strerror(number));
    return OUTBOX_ERR_SYSTEM;
}

/* The folder that a path is in; free it. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? strdup(".") : slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

/* A file that has just been made is durable once its folder is. */
static int sync_folder(const char *path)
{
    char *folder = folder_of(path);
    int fd, rc;

    if (folder == NULL)
        return -1;
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    if (fd < 0)
        return -1;
    rc = fsync(fd);
    close(fd);
    /* Some file systems cannot sync a folder; they need not. */
    return rc != 0 && errno == EINVAL ? 0 : rc;
}

/* A file is opened for reading too, to look at its last byte. O_NONBLOCK is for pipes that nobody reads. */
static int file_open(struct jsonl *j, struct job *job)
{
    struct stat st;
    int made = 0;
    int access_mode = stat(j->path, &st) == 0 && !S_ISREG(st.st_mode) ? O_WRONLY : O_RDWR;
    int flags = access_mode | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

    j->fd = open(j->path, flags);
    if (j->fd < 0 && errno == ENOENT) {
        j->fd = open(j->path, flags | O_CREAT, 0640);
        made = 1;
    }
    if (j->fd < 0)
        return job_fail(job, j, "cannot open", errno);
    if (fstat(j->fd, &st) != 0 || (made && sync_folder(j->path) != 0)) {
        int number = errno;
        close(j->fd);
        j->fd = -1;
        return job_fail(job, j, "cannot make", number);
    }
    j->regular = S_ISREG(st.st_mode);
    j->torn = 0;
    return OUTBOX_OK;
}

/* Whether it is shared with other processes and must outlive a power failure: no pipe, and not what is only redirected. */
static int is_kept(const struct jsonl *j)
{
    return j->path != NULL && j->regular && j->fd >= 0;
}

static int file_sync(struct jsonl *j)
{
    if (!is_kept(j) || fdatasync(j->fd) == 0)
        return 0;
    j->failed_syncs++;
    return errno;
}

static void file_close(struct jsonl *j)
{
    if (j->path == NULL || j->fd < 0)
        return;
    /* Lines of deliveries that are still under way may be in it. */
    file_sync(j);
    close(j->fd);
    j->fd = -1;
}

/* Opens the file, also when the path names another one by now: it was rotated away, or removed. */
static int file_ready(struct jsonl *j, struct job *job)
{
    struct stat named, open_one;

    if (j->path == NULL)
        return OUTBOX_OK;
    if (j->fd >= 0 && (stat(j->path, &named) != 0 || fstat(j->fd, &open_one) != 0 || named.st_dev != open_one.st_dev ||
                       named.st_ino != open_one.st_ino))
        file_close(j);
    return j->fd >= 0 ? OUTBOX_OK : file_open(j, job);
}

/* Waits until a pipe or a terminal takes more; 0 when the delivery was cancelled. */
static int writable(const struct jsonl *j, struct job *job)
{
    struct pollfd wait_for = { .fd = j->fd, .events = POLLOUT };

    for (;;) {
        if (atomic_load(&job->cancelled))
            return 0;
        if (poll(&wait_for, 1, CANCEL_CHECK_MS) > 0)
            return 1;
    }
}

/* Writes all of it, or as much as can be; *done says how much. Returns 0 or an error number. */
static int write_bytes(const struct jsonl *j, struct job *job, const char *bytes, size_t size, size_t *done)
{
    for (*done = 0; *done < size;) {
        size_t step = size - *done;
        ssize_t n;
        if (!j->regular) {
            if (!writable(j, job))
                return ECANCELED;
            step = step < PIPE_STEP ? step : PIPE_STEP;
        }
        n = write(j->fd, bytes + *done, step);
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return errno;
        *done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* Whether what is there ends in the middle of a line. */
static int is_torn(const struct jsonl *j)
{
    struct stat st;
    char last;

    if (!is_kept(j))
        return j->torn;
    return fstat(j->fd, &st) == 0 && st.st_size > 0 && pread(j->fd, &last, 1, st.st_size - 1) == 1 && last != '\n';
}

/* Writes the piece under the locks, and finds how many of its lines are whole. */
static int write_locked(struct jsonl *j, struct job *job)
{
    size_t done = 0;
    int number = 0;

    if (is_torn(j))
        number = write_bytes(j, job, "\n", 1, &done);
    if (number == 0) {
        number = write_bytes(j, job, job->piece, job->used, &done);
        j->torn = done > 0 && job->piece[done - 1] != '\n';
        while (job->written < job->made && job->end[job->written] <= done)
            job->written++;
    }
    job->used = 0;
    return number == 0 ? OUTBOX_OK : job_fail(job, j, "cannot write to", number);
}

static int write_piece(struct jsonl *j, struct job *job)
{
    int rc;

    pthread_mutex_lock(&j->lock);
    rc = file_ready(j, job);
    if (rc == OUTBOX_OK && is_kept(j))
        while (flock(j->fd, LOCK_EX) != 0 && errno == EINTR)
            continue;
    /* What the application printed before comes before; and it prints nothing into our lines. */
    if (j->path == NULL) {
        flockfile(stdout);
        fflush(stdout);
    }
    if (rc == OUTBOX_OK)
        rc = write_locked(j, job);
    if (j->path == NULL)
        funlockfile(stdout);
    if (is_kept(j))
        flock(j->fd, LOCK_UN);
    pthread_mutex_unlock(&j->lock);
    return rc;
}

/* Adds a line to the piece. */
static int add_line(struct job *job, const char *line)
{
    size_t length = strlen(line);

    if (job->room - job->used < length + 1) {
        size_t room = job->used + length + 1 > PIECE_SIZE ? job->used + length + 1 : PIECE_SIZE;
        char *piece = realloc(job->piece, room);
        if (piece == NULL)
            return OUTBOX_ERR_NOMEM;
        job->piece = piece;
        job->room = room;
    }
    memcpy(job->piece + job->used, line, length);
    job->used += length;
    job->piece[job->used++] = '\n';
    return OUTBOX_OK;
}

/* Makes the line of the next message; OUTBOX_NONE when there is none. */
static int make_line(struct job *job, outbox_delivery *d)
{
    size_t index;
    char *line;
    int rc;
    const outbox_record *r = outbox_delivery_next(d, &index);

    if (r == NULL)
        return OUTBOX_NONE;
    rc = outbox_record_to_json(r, &line, NULL);
    if (rc == OUTBOX_OK) {
        rc = add_line(job, line);
        outbox_free(line);
    }
    job->index[job->made] = index;
    job->end[job->made] = job->used;
    job->made++;
    if (rc != OUTBOX_OK) {
        job->end[job->made - 1] = SIZE_MAX; /* never written */
        job->no_memory = 1;
        snprintf(job->why, sizeof(job->why), "out of memory while a message was written as JSON");
    }
    return rc;
}

static int write_all(struct jsonl *j, struct job *job, outbox_delivery *d)
{
    int made, rc = OUTBOX_OK;

    do {
        made = make_line(job, d);
        if (job->used > 0 && (made != OUTBOX_OK || job->used >= PIECE_SIZE))
            rc = write_piece(j, job);
    } while (made == OUTBOX_OK && rc == OUTBOX_OK);
    return made < 0 && rc == OUTBOX_OK ? made : rc;
}

/* Puts on the disk what was written; an earlier failure of somebody else counts, too. */
static int sync_all(struct jsonl *j, struct job *job)
{
    int number, failed;

    pthread_mutex_lock(&j->lock);
    number = file_sync(j);
    failed = j->failed_syncs != job->failed_syncs;
    pthread_mutex_unlock(&j->lock);
    return failed ? job_fail(job, j, "cannot sync", number != 0 ? number : EIO) : OUTBOX_OK;
}

/* What was written whole is published; of the rest nothing was sent. That is no message's fault, but for one that there
 * was no memory for. */
static void answer_all(struct job *job, outbox_delivery *d, int synced)
{
    outbox_verdict rest = job->no_memory ? OUTBOX_RETRY : OUTBOX_UNAVAILABLE;
    size_t index;

    for (size_t i = 0; i < job->written; i++)
        outbox_delivery_answer(d, job->index[i], synced ? OUTBOX_PUBLISHED : OUTBOX_UNAVAILABLE, -1,
                               synced ? NULL : job->why);
    for (size_t i = job->written; i < job->made; i++)
        outbox_delivery_answer(d, job->index[i], rest, -1, job->why);
    while (outbox_delivery_next(d, &index) != NULL)
        outbox_delivery_answer(d, index, rest, -1, job->why);
}

static void job_enter(struct jsonl *j, struct job *job)
{
    pthread_mutex_lock(&j->jobs_lock);
    job->next = j->jobs;
    j->jobs = job;
    pthread_mutex_unlock(&j->jobs_lock);
    pthread_mutex_lock(&j->lock);
    job->failed_syncs = j->failed_syncs;
    pthread_mutex_unlock(&j->lock);
}

static void job_leave(struct jsonl *j, struct job *job)
{
    struct job **at;

    pthread_mutex_lock(&j->jobs_lock);
    for (at = &j->jobs; *at != job; at = &(*at)->next)
        continue;
    *at = job->next;
    pthread_mutex_unlock(&j->jobs_lock);
    free(job->piece);
    free(job->index);
    free(job->end);
}

static int jsonl_publish(void *self, outbox_delivery *d, outbox_error **err)
{
    struct jsonl *j = self;
    struct job job = { .delivery = d };
    struct outbox_sigpipe signals;
    size_t count = outbox_delivery_count(d);
    int rc = OUTBOX_ERR_NOMEM, synced = OUTBOX_OK;

    job.index = calloc(count, sizeof(*job.index));
    job.end = calloc(count, sizeof(*job.end));
    job_enter(j, &job);
    if (job.index == NULL || job.end == NULL) {
        job_leave(j, &job);
        return outbox_error_new(err, rc, "publisher.memory", "out of memory while a batch was written as JSON");
    }
    outbox_sigpipe__hold(&signals);
    rc = write_all(j, &job, d);
    if (job.written > 0)
        synced = sync_all(j, &job);
    answer_all(&job, d, synced == OUTBOX_OK);
    outbox_sigpipe__release(&signals);
    if (rc == OUTBOX_OK)
        rc = synced;
    if (rc != OUTBOX_OK)
        rc = outbox_error_new(err, OUTBOX_ERR_PUBLISH, "publisher.write", job.why);
    job_leave(j, &job);
    return rc;
}

static void jsonl_cancel(void *self, outbox_delivery *d)
{
    struct jsonl *j = self;

    pthread_mutex_lock(&j->jobs_lock);
    for (struct job *job = j->jobs; job != NULL; job = job->next)
        if (job->delivery == d)
            atomic_store(&job->cancelled, 1);
    pthread_mutex_unlock(&j->jobs_lock);
}

/* Whether it could be opened as file_open() does, without making it: whoever asks need not be who will write. */
static int file_reach(const char *path, const char **what)
{
    struct stat st;
    char *folder;
    int rc;

    *what = "cannot write to";
    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            errno = EISDIR;
        return S_ISDIR(st.st_mode) ? -1 : access(path, S_ISREG(st.st_mode) ? R_OK | W_OK : W_OK);
    }
    *what = "cannot make";
    if (errno != ENOENT)
        return -1;
    folder = folder_of(path);
    rc = folder != NULL ? access(folder, W_OK | X_OK) : -1;
    if (folder == NULL)
        errno = ENOMEM;
    free(folder);
    return rc;
}

static int jsonl_reach(void *self, outbox_error **err)
{
    const struct jsonl *j = self;
    struct job job = { .next = NULL };
    const char *what = "cannot write to";
    int rc = j->path != NULL ? file_reach(j->path, &what) : fcntl(j->fd, F_GETFL), number = errno;

    if (rc >= 0)
        return OUTBOX_OK;
    job_fail(&job, j, what, number);
    return outbox_error_new(err, number == ENOMEM ? OUTBOX_ERR_NOMEM : OUTBOX_ERR_SYSTEM, "publisher.file", job.why);
}

static void jsonl_close(void *self)
{
    struct jsonl *j = self;

    file_close(j);
    pthread_mutex_destroy(&j->lock);
    pthread_mutex_destroy(&j->jobs_lock);
    free(j->path);
    free(j);
}

static int jsonl_new(const char *path, struct jsonl **made, outbox_error **err)
{
    struct jsonl *j = calloc(1, sizeof(*j));
    struct stat st;

    if (j != NULL && path != NULL)
        j->path = strdup(path);
    if (j == NULL || (path != NULL && j->path == NULL)) {
        free(j);
        return outbox_error_new(err, OUTBOX_ERR_NOMEM, "publisher.memory", "out of memory while a publisher was opened");
    }
    j->fd = path != NULL ? -1 : STDOUT_FILENO;
    j->regular = path == NULL && fstat(STDOUT_FILENO, &st) == 0 && S_ISREG(st.st_mode);
    pthread_mutex_init(&j->lock, NULL);
    pthread_mutex_init(&j->jobs_lock, NULL);
    *made = j;
    return OUTBOX_OK;
}

/* The doctor's publisher leaves no file behind, which would be its user's and not the relay's. */
static int makes_files(const outbox_conf *conf)
{
    return conf == NULL || !conf->only_looks;
}

static int jsonl_wrap(struct jsonl *j, const char *name, outbox_publisher **publisher, outbox_error **err)
{
    const outbox_publisher_ops ops = {
        .size = sizeof(ops),
        .abi = OUTBOX_PUBLISHER_ABI,
        .flags = OUTBOX_PUBLISHER_IN_ORDER,
        .name = name,
        .publish = jsonl_publish,
        .cancel = jsonl_cancel,
        .close = jsonl_close,
        .reach = jsonl_reach,
    };
    int rc = outbox_publisher_new(&ops, j, publisher, err);

    if (rc != OUTBOX_OK)
        jsonl_close(j);
    return rc;
}

int outbox_publisher__stdout_open(const char *rest, const outbox_conf *conf, outbox_publisher **publisher,
                                  outbox_error **err)
{
    struct jsonl *j;
    int rc;

    (void)conf;
    if (rest[0] != '\0')
        return outbox_error_new(err, OUTBOX_ERR_INVALID, "publisher.stdout_url",
                                "publisher \"stdout:\" takes nothing after the colon");
    rc = jsonl_new(NULL, &j, err);
    return rc == OUTBOX_OK ? jsonl_wrap(j, "stdout", publisher, err) : rc;
}

int outbox_publisher__file_open(const char *rest, const outbox_conf *conf, outbox_publisher **publisher,
                                outbox_error **err)
{
    struct job job = { 0 };
    struct jsonl *j;
    int rc;

    if (rest[0] == '\0')
        return outbox_error_new(err, OUTBOX_ERR_INVALID, "publisher.file_url",
                                "publisher \"file:\" needs a path after the colon, such as file:/var/lib/app/events.jsonl");
    /* "file:///path" is how URLs write it. */
    rc = jsonl_new(strncmp(rest, "///", 3) == 0 ? rest + 2 : rest, &j, err);
    if (rc != OUTBOX_OK)
        return rc;
    if (makes_files(conf) && file_open(j, &job) != OUTBOX_OK) {
        rc = outbox_error_new(err, OUTBOX_ERR_SYSTEM, "publisher.file", job.why);
        jsonl_close(j);
        return rc;
    }
    return jsonl_wrap(j, "file", publisher, err);
}
