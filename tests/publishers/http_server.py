#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A receiver of webhooks for tests: keeps each request in a file, once for each Idempotency-Key and path.

    http_server.py PORT TLS-PORT

POST /t/TOPIC takes a message. POST /make/TOPIC empties a topic, POST /refuse/TOPIC makes it one that is refused. The file
"requests" has, a record each: a line with the path, lines with headers, an empty line, a line with the length of the body,
and the body with a newline. TLS asks for a client's certificate.
"""
import base64
import http.server
import os
import ssl
import sys
import threading

LOCK = threading.Lock()
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


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self, status, text):
        body = text.encode()
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        topic = self.path.startswith("/t/")
        if topic and self.headers.get("Authorization") != LOGIN:
            self.answer(401, "who are you?")
            return
        with LOCK:
            refused = self.path in REFUSED
            if not refused and note(self.path, self.headers.get("Idempotency-Key", "")):
                lines = "".join("%s: %s\n" % pair for pair in self.headers.items())
                head = "%s\n%s\n%d\n" % (self.path, lines, len(body))
                os.write(RECORDS, head.encode("latin-1") + body + b"\n")
        if refused:
            self.answer(422, "we take nothing of the kind")
        else:
            self.answer(200, "")

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass


class TlsServer(Server):
    def finish_request(self, request, client_address):
        """The handshake is the connection's thread's, so that one that fails or waits stops nobody."""
        with CONTEXT.wrap_socket(request, server_side=True) as stream:
            super().finish_request(stream, client_address)


RECORDS = recover("requests")
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
CONTEXT.load_cert_chain("server.pem", "server.key")
CONTEXT.load_verify_locations("ca.pem")
CONTEXT.verify_mode = ssl.CERT_REQUIRED
PLAIN = Server(("127.0.0.1", int(sys.argv[1])), Handler)
TLS = TlsServer(("127.0.0.1", int(sys.argv[2])), Handler)
threading.Thread(target=TLS.serve_forever, daemon=True).start()
PLAIN.serve_forever()
