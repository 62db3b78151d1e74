/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The first program: a message becomes part of a database transaction. */
#include <outbox/outbox.h>
#include <stdio.h>

int main(void)
{
    outbox_message message = OUTBOX_MESSAGE_INIT;
    outbox_conn *conn = NULL;
    outbox_error *err = NULL;
    outbox_id id;
    int failed;

    message.topic = "greetings";
    message.payload = "hello, world";
    message.payload_size = 12;

    if (outbox_conn_open("sqlite:first.db", NULL, &conn, &err) == OUTBOX_OK &&
        outbox_migrate(conn, NULL, &err) == OUTBOX_OK && outbox_conn_begin(conn, &err) == OUTBOX_OK &&
        outbox_enqueue(conn, &message, 1, &id, &err) == OUTBOX_OK && outbox_conn_commit(conn, &err) == OUTBOX_OK)
        printf("enqueued %s\n", id.text);
    else
        fprintf(stderr, "first: %s\n", outbox_error_message(err));
    outbox_conn_close(conn); /* what was not committed is rolled back */
    failed = err != NULL;
    outbox_error_free(err);
    return failed;
}
