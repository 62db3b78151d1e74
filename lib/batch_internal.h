/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A leased lane and what was read from it: claim.c leases, read.c fills, batch.c notes verdicts, settle.c writes. */
#ifndef OUTBOX_BATCH_INTERNAL_H
#define OUTBOX_BATCH_INTERNAL_H

#include "conn_internal.h"
#include "lane.h"
#include "packed.h"
#include "record.h"
#include "thread.h"

#include <outbox/consumer.h>

/* What becomes of a row. The first four are verdicts; the rest is decided here. */
enum fate {
    FATE_NONE = 0, /* stays where it is and is read again */
    FATE_PUBLISHED = OUTBOX_PUBLISHED,
    FATE_RETRY = OUTBOX_RETRY,
    FATE_REJECT = OUTBOX_REJECT,
    FATE_UNKNOWN = OUTBOX_UNKNOWN,
    FATE_UNAVAILABLE = OUTBOX_UNAVAILABLE, /* becomes FATE_NONE: only as long as it is being published */
    FATE_HELD,     /* waits behind an earlier one of its key */
    FATE_SCHEDULED /* waits for its time */
};

struct outbox_item {
    outbox_record record;
    int64_t key_hash;  /* 0: no key, or no order */
    int64_t followed;  /* of a deferred one: the key whose messages may wait behind it, whether this relay orders or not */
    int deferred;      /* it is in the deferred table, not among the messages */
    int was_held;      /* there as held, not as the head of its key */
    int charged;       /* the attempt was recorded before publishing */
    int spared;        /* failed, but nothing gets through: an attempt that was recorded is taken back */
    int unanswered;    /* by the last delivery that had it */
    enum fate fate;
    int64_t delay;     /* microseconds until the next attempt; -1: the library's backoff */
    const char *reason;
    /* Filled when it is settled, for hooks. */
    int attempts;
    int dead;
    int64_t wait;
};

/* A lane that is leased, and the token of its lease. */
struct outbox_held {
    int lane;
    int64_t token;
};

struct outbox_consumer {
    outbox_conn *conn;
    outbox_conf *conf;
    char owner[160];
    struct outbox_signal *signal; /* when it is stopped, nothing more is read; may be NULL */
    void (*leased)(void *ctx, const struct outbox_held *held, size_t count); /* is told all that it holds; may be NULL */
    void *leased_ctx;
    struct outbox_key_memo memo[OUTBOX_KEY_MEMO];
    int by_rows; /* so many reads to come are not tried as texts */
    size_t spread; /* lanes that the next batch may come from (gather.c) */
    outbox_batch *spare; /* one that is done with, for its memory; or NULL */
};

/* A batch as it comes, a text for each message (packed.h). */
struct outbox_packed_batch {
    struct outbox_value head[OUTBOX_PACKED_HEAD];
    struct outbox_value *texts;
    size_t count, room;
    int has_head;
    int64_t last; /* seq of the last text */
    int headless; /* what should have said what the statement saw does not */
    int unfit;    /* that, or a message did not come so, or not in its order */
};

#define OUTBOX_BY_ROWS 16 /* reads, after one that could not be taken as texts */

/* A lane of a batch that comes from several (gather.c). What is text lies where the texts of the messages are. */
#define OUTBOX_GATHER_MAX 64
struct outbox_part {
    int lane;
    int64_t token, pos, low, suspect;
    const char *snap, *xbound;
    struct outbox_value snapshot; /* NULL: it was not read */
    int has_deferred;
    size_t text, rows;    /* its texts begin with that one, and are so many */
    int64_t last;         /* seq of the last of them */
    int unfit;            /* one of them cannot be taken as a text */
    int cut;              /* as of a batch */
    size_t first, count;  /* its items */
    size_t aside_first, aside_count; /* those that are set aside */
    enum { PART_OPEN, PART_SETTLED, PART_LOST } state;
};

struct outbox_batch {
    outbox_consumer *consumer;
    int lane;
    int64_t token, pos, low;
    char *snap, *xbound;     /* of the lane; in lane_arena */
    char *read_snap;         /* of the last read; NULL: nothing was read */
    int suspect;             /* messages that still come one at a time; below 0: so many at the most, to be counted */
    int taken_over;          /* the last owner crashed */
    int single;              /* this batch is one message whose attempt was recorded beforehand */
    int has_deferred;
    int read;                /* messages (not only deferred ones) were read */
    int cut;                 /* the read may have left late rows behind */
    int full;                /* the read took as much as it may: there is probably more */
    size_t limit;            /* messages that a read may take */
    int open;                /* the lane is ours */
    int hasten;              /* let go, it is the first to be leased again */
    int refused;             /* the statement that moves the position changed nothing */
    outbox_arena arena;      /* the items' texts */
    outbox_arena lane_arena;
    struct {
        int there;
        struct outbox_packed_batch packed;
        outbox_arena arena;
    } ahead;                 /* the next batch, which came when the last one was settled and is not taken apart yet */
    struct outbox_part *parts; /* of a batch from several lanes, in their order; lane and token are those of the first */
    size_t part_count;       /* 0: it is of one lane, which it may keep */
    struct outbox_item *items; /* those that are delivered, in order: of one lane after the other */
    size_t count, room;
    struct outbox_item *aside; /* those that are not, each with its fate */
    size_t aside_count, aside_room;
};

/* Reads until there is at least one message to deliver. OUTBOX_NONE: there is none now. */
int outbox_batch__read(outbox_batch *batch, outbox_error **err);

/* The new messages of a read, at most `bytes` of them all together, as a text each where the driver can do that: take gets each
 * as the columns of Q_READ. OUTBOX_NONE: nothing was taken, they have to be read by rows. args has the other values. */
int outbox_batch__read_packed(outbox_batch *batch, struct outbox_args *args, size_t limit, int64_t bytes,
                              outbox_row_fn take, void *ctx, outbox_error **err);

/* Settles by position, as args say, and reads what follows in one statement, for the read that comes next. xbound: the new
 * one, or NULL when nothing was changed. Not when outbox_batch__may_read_ahead() says no. */
int outbox_batch__may_read_ahead(const outbox_batch *batch);
int outbox_batch__read_ahead(outbox_batch *batch, struct outbox_args *args, const char **xbound, outbox_error **err);

/* The error of a lease that was lost. */
int outbox_batch__lost(const outbox_batch *batch, outbox_error **err);

/* How many bytes each of so many messages may have that are read as texts. */
int64_t outbox_batch__share(int64_t bytes, size_t limit);

/* Writes what became of all items. keep: the lane stays ours, if it is one. */
int outbox_batch__settle(outbox_batch *batch, int keep, outbox_error **err);
int outbox_batch__settle_lane(outbox_batch *batch, int keep, outbox_error **err);

/* It stays as it is and goes again: what failed was not its fault. */
void outbox_item__spare(struct outbox_item *item);

/* Before publishing in suspect mode: the attempt is written down first. */
int outbox_batch__charge(outbox_batch *batch, outbox_error **err);

/* The limit of a message: its own, or the relay's. */
int outbox_batch__max_attempts(const outbox_batch *batch, const outbox_record *record);

struct outbox_item *outbox_batch__item(const outbox_batch *batch, size_t index);

/* Marks followers of what was not published, so that they are set aside and not sent. */
int outbox_consumer__ordered(const outbox_consumer *consumer);
int outbox_consumer__dead_blocks(const outbox_consumer *consumer);

/* For keys, in the open transaction: lets the first held message of each go when nothing is before it. */
int outbox_conn__promote(outbox_conn *conn, int lane, const int64_t *keys, size_t count, int dead_blocks,
                         outbox_error **err);

/* Leases up to so many lanes, as far as the driver can, and reads. */
int outbox_consumer__claim(outbox_consumer *consumer, size_t lanes, outbox_batch **out, outbox_error **err);

/* What a lane's row says, once it is leased. */
void outbox_batch__leased(outbox_batch *batch, int lane, int64_t token, int64_t pos, int64_t low, int64_t suspect,
                          int has_deferred);

/* The lane, leased anew, as a batch without items. */
int outbox_consumer__lease(outbox_consumer *consumer, outbox_batch **batch, outbox_error **err);
int outbox_batch__fence(outbox_batch *batch, int keep, outbox_error **err);

/* Instead of freeing it: the next lease has its memory. */
void outbox_batch__recycle(outbox_batch *batch);

/* When dead messages do not block, or there is no order: lets go what waits behind one, from a time when they did. */
int outbox_consumer__release_stranded(outbox_consumer *consumer, outbox_error **err);

int outbox_consumer__stopped(const outbox_consumer *consumer);
int64_t outbox_consumer__lease_us(const outbox_consumer *consumer);

#endif
