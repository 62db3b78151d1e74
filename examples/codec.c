/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A codec: the application enqueues a value of its own type, and one function says how that becomes bytes.
 * Needs `outboxctl migrate` first.
 *
 *     codec sqlite:first.db
 */
#include <outbox/outbox.h>
#include <stdio.h>

struct payment {
    int order;
    double amount;
};

static int encode_payment(void *user, const void *value, outbox_buffer *payload, outbox_error **err)
{
    const struct payment *p = (const struct payment *)value;
    char text[96];
    int length = snprintf(text, sizeof(text), "{\"order\": %d, \"amount\": %.2f}", p->order, p->amount);

    (void)user;
    if (p->amount <= 0)
        return outbox_error_new(err, OUTBOX_ERR_INVALID, "example.amount", "a payment must be more than nothing");
    return outbox_buffer_append(payload, text, (size_t)length);
}

/* Content type and message type are given once, here. */
static const outbox_codec payment_codec = { sizeof(outbox_codec), "application/json", "order.paid", encode_payment, NULL };

int main(int argc, char **argv)
{
    const struct payment payment = { 1, 19.99 };
    outbox_message message = OUTBOX_MESSAGE_INIT;
    outbox_conn *conn = NULL;
    outbox_error *err = NULL;
    outbox_id id;
    int failed;

    if (argc != 2) {
        fprintf(stderr, "usage: codec DSN\n");
        return 2;
    }
    message.topic = "payments";
    message.partition_key = "order-1";
    if (outbox_conn_open(argv[1], NULL, &conn, &err) == OUTBOX_OK && outbox_conn_begin(conn, &err) == OUTBOX_OK &&
        outbox_enqueue_value(conn, &payment_codec, &message, &payment, &id, &err) == OUTBOX_OK &&
        outbox_conn_commit(conn, &err) == OUTBOX_OK)
        printf("enqueued %s\n", id.text);
    else
        fprintf(stderr, "codec: %s\n", outbox_error_message(err));
    outbox_conn_close(conn);
    failed = err != NULL;
    outbox_error_free(err);
    return failed;
}
