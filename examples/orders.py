# SPDX-License-Identifier: LGPL-2.1-or-later
"""An application in Python on liboutbox's C interface (outbox.py): a change and its message are committed together.

    python3 orders.py DSN pull     sends what there is in a loop of its own
    python3 orders.py DSN relay    lets a relay call a function

Both first write orders that are committed, and one that is rolled back. The tables are made when they are missing."""

import sys

import outbox


class Refused(Exception):
    pass


def order(conn, number, note, paid=True):
    """The application's own change and the message about it: both, or neither."""
    with conn.transaction():
        conn.execute(f"INSERT INTO orders (id) VALUES ({number})")
        conn.enqueue("orders", note.encode("utf-8"), key=str(number), headers={"source": "orders.py"},
                     content_type="text/plain")
        if not paid:
            raise Refused()


def send(message):
    """Stands for a broker."""
    payload, source = message.payload.decode("utf-8"), message.headers.get("source")
    # At once: print() lets the lines of two workers run into each other.
    sys.stdout.write(f"{message.topic} {message.key} {payload} {source}\n")
    sys.stdout.flush()
    return outbox.PUBLISHED


def pull(conn):
    with outbox.Consumer(conn) as consumer:
        while True:
            batch = consumer.claim()
            if batch is None:
                return
            with batch:
                for index, message in batch:
                    batch.answer(index, send(message))
                try:
                    batch.settle()
                except outbox.Error as error:
                    # The lease was lost to somebody else, who sends these messages now.
                    if error.status != outbox.FENCED:
                        raise


def main():
    dsn, how = sys.argv[1:3]
    with outbox.Connection(dsn) as conn:
        conn.migrate()
        conn.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY)")
        conn.execute("DELETE FROM orders")
        order(conn, 1, "paid \N{BLACK HEART SUIT}")
        try:
            order(conn, 2, "never to be seen", paid=False)
        except Refused:
            pass
        order(conn, 3, "paid, too")
        if how == "pull":
            pull(conn)
    if how == "relay":
        with outbox.Relay(dsn, send) as relay:
            relay.run_once()


if __name__ == "__main__":
    main()
