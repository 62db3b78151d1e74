# SPDX-License-Identifier: LGPL-2.1-or-later
"""Enqueues from Python with plain SQL, in the transaction that changes the application's own tables:

    python3 enqueue.py postgresql|mariadb|sqlite ORDER NOTE [NAME=VALUE...]

The rest is what psycopg2, pymysql or sqlite3 connects with. The tables are those of "outboxctl migrate"."""

import hashlib
import json
import sys


def lane_of(key, lanes):
    """The contract with every other producer: the first four bytes of the SHA-256, big-endian, modulo the lanes."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8")).digest()[:4], "big") % lanes


def enqueue_postgresql(cursor, topic, key, payload):
    cursor.execute("SELECT outbox_enqueue(%s, %s::bytea, partition_key => %s)", (topic, payload, key))


def enqueue_mariadb(cursor, topic, key, payload):
    cursor.execute("CALL outbox_enqueue(%s, %s, %s, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
                   (topic, payload, key))


def enqueue_sqlite(cursor, topic, key, payload):
    # SQLite has no SHA-256: a message with a key needs its lane from here, one without gets any.
    (lanes,) = cursor.execute("SELECT CAST(value AS INTEGER) FROM outbox_meta WHERE name = 'lanes'").fetchone()
    lane = lane_of(key, lanes) if key else None
    cursor.execute("INSERT INTO outbox_enqueue (topic, payload, partition_key, lane) VALUES (?, ?, ?, ?)",
                   (topic, payload, key, lane))


def connect(database, arguments):
    if database == "postgresql":
        import psycopg2
        return psycopg2.connect(**arguments)
    if database == "mariadb":
        import pymysql
        return pymysql.connect(charset="utf8mb4", **arguments)
    import sqlite3
    return sqlite3.connect(**arguments)


def main():
    database, order, note = sys.argv[1:4]
    enqueue = {"postgresql": enqueue_postgresql, "mariadb": enqueue_mariadb, "sqlite": enqueue_sqlite}[database]
    db = connect(database, dict(argument.split("=", 1) for argument in sys.argv[4:]))
    cursor = db.cursor()
    # The application's own changes come here; both are there after the commit, or neither.
    enqueue(cursor, "orders", order, json.dumps({"order": order, "note": note}, ensure_ascii=False).encode("utf-8"))
    db.commit()
    db.close()


if __name__ == "__main__":
    main()
