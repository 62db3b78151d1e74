#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A receiver of webhooks for tests: keeps each request in a file, once for each Idempotency-Key and path.

    http_server.py PORT TLS-PORT

POST /t/TOPIC takes a message. POST /make/TOPIC empties a topic, POST /refuse/TOPIC makes it one that is refused. The file
"requests" has, a record each: a line with the path, lines with headers, an empty line, a line with the length of the body,
and the body with a newline. TLS asks for a client's certificate.
"""
import asyncio
import base64
import os
import ssl
import sys

SEEN = {}
REFUSED = set()
LOGIN = "Basic " + base64.b64encode(b"outbox:pa:ss@word").decode()


def note(path, key):
    """Remembers a record; False: it is there already."""
    if path.startswith("/make/"):
        SEEN.pop("/t/" + path[6:], None)
        REFUSED.discard("/t/" + path[6:])
        return True
    if path.startswith("/refuse/"):
        REFUSED.add("/t/" + path[8:])
        return True
    keys = SEEN.setdefault(path, set())
    if key in keys:
        return False
    keys.add(key)
    return True


def recover(name):
    """Reads what the last server left, without a record that it did not finish."""
    whole = 0
    with open(name, "a+b") as file:
        file.seek(0)
        while True:
            path = file.readline()
            key, line = "", file.readline()
            while line not in (b"\n", b""):
                if line.lower().startswith(b"idempotency-key: "):
                    key = line[17:-1].decode()
                line = file.readline()
            size = file.readline()
            if not size.endswith(b"\n"):
                break
            body = file.read(int(size) + 1)
            if len(body) != int(size) + 1:
                break
            note(path[:-1].decode(), key)
            whole = file.tell()
        file.truncate(whole)
    return os.open(name, os.O_WRONLY | os.O_APPEND)


class Connection(asyncio.Protocol):
    """HTTP/1.1 as far as the publisher speaks it: requests one after the other, each with a Content-Length."""

    def __init__(self):
        self.data = b""
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.data += data
        while True:
            end = self.data.find(b"\r\n\r\n")
            if end < 0:
                return
            first, *lines = self.data[:end].decode("latin-1").split("\r\n")
            headers = {}
            for line in lines:
                name, value = line.split(":", 1)
                headers[name.lower()] = value.strip()
            whole = end + 4 + int(headers.get("content-length", "0"))
            if len(self.data) < whole:
                return
            body, self.data = self.data[end + 4:whole], self.data[whole:]
            status, text = take(first.split(" ")[1], headers, body)
            self.transport.write(b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n%s" % (status, len(text), text))


def take(path, headers, body):
    """Keeps a request; the status and body of the answer."""
    if path.startswith("/t/") and headers.get("authorization") != LOGIN:
        return 401, b"who are you?"
    if path in REFUSED:
        return 422, b"we take nothing of the kind"
    if note(path, headers.get("idempotency-key", "")):
        lines = "".join("%s: %s\n" % pair for pair in headers.items())
        os.write(RECORDS, ("%s\n%s\n%d\n" % (path, lines, len(body))).encode("latin-1") + body + b"\n")
    return 200, b""


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("server.pem", "server.key")
    context.load_verify_locations("ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, what: None)
    await loop.create_server(Connection, "127.0.0.1", int(sys.argv[2]), ssl=context, backlog=128)
    server = await loop.create_server(Connection, "127.0.0.1", int(sys.argv[1]), backlog=128)
    await server.serve_forever()


RECORDS = recover("requests")
asyncio.run(main())
