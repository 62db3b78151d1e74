# SPDX-License-Identifier: LGPL-2.1-or-later
"""liboutbox for Python, by ctypes: copy this file beside your program. It needs nothing but the shared library.

    with outbox.Connection("sqlite:first.db") as conn:
        with conn.transaction():
            conn.execute("UPDATE orders SET paid = 1 WHERE id = 17")
            conn.enqueue("orders", b"paid", key="17")

Whatever fails raises outbox.Error. A connection, its consumers and their batches belong to one thread at a time; the
function of a relay is called on the relay's threads. orders.py is a program that uses it."""

import contextlib
import ctypes
from ctypes import POINTER, byref, c_char, c_char_p, c_int, c_int64, c_size_t, c_void_p

OK, NONE = 0, 1
FENCED = -8
PUBLISHED, RETRY, REJECT, UNKNOWN, UNAVAILABLE = 1, 2, 3, 4, 5


class _Header(ctypes.Structure):
    _fields_ = [("name", c_char_p), ("value", c_char_p)]


class _Message(ctypes.Structure):
    """struct outbox_message of <outbox/message.h>. It begins with its size, so later versions take this one."""
    _fields_ = [("size", c_size_t), ("topic", c_char_p), ("partition_key", c_char_p), ("payload", c_char_p),
                ("payload_size", c_size_t), ("headers", POINTER(_Header)), ("header_count", c_size_t),
                ("content_type", c_char_p), ("message_type", c_char_p), ("id", c_char_p), ("dedup_key", c_char_p),
                ("available_at", c_int64), ("delay_ms", c_int64), ("max_attempts", c_int)]


class _Id(ctypes.Structure):
    _fields_ = [("text", c_char * 37)]


_PUBLISH = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, POINTER(c_int64), c_void_p)
_ERR = POINTER(c_void_p)
# Name: what it returns, what it takes. A pointer that had no type here would be cut off to an int.
_FUNCTIONS = {
    "version": (c_char_p, []),
    "error_status": (c_int, [c_void_p]),
    "error_name": (c_char_p, [c_void_p]),
    "error_message": (c_char_p, [c_void_p]),
    "error_retryable": (c_int, [c_void_p]),
    "error_new": (c_int, [c_void_p, c_int, c_char_p, c_char_p]),
    "error_free": (None, [c_void_p]),
    "status_name": (c_char_p, [c_int]),
    "conf_new": (c_int, [_ERR, _ERR]),
    "conf_set": (c_int, [c_void_p, c_char_p, c_char_p, _ERR]),
    "conf_free": (None, [c_void_p]),
    "conn_open": (c_int, [c_char_p, c_void_p, _ERR, _ERR]),
    "conn_close": (None, [c_void_p]),
    "conn_begin": (c_int, [c_void_p, _ERR]),
    "conn_commit": (c_int, [c_void_p, _ERR]),
    "conn_rollback": (c_int, [c_void_p, _ERR]),
    "conn_execute": (c_int, [c_void_p, c_char_p, _ERR]),
    "migrate": (c_int, [c_void_p, POINTER(c_int), _ERR]),
    "enqueue": (c_int, [c_void_p, POINTER(_Message), c_size_t, POINTER(_Id), _ERR]),
    "record_id": (c_char_p, [c_void_p]),
    "record_topic": (c_char_p, [c_void_p]),
    "record_partition_key": (c_char_p, [c_void_p]),
    "record_payload": (c_void_p, [c_void_p, POINTER(c_size_t)]),
    "record_headers": (POINTER(_Header), [c_void_p, POINTER(c_size_t)]),
    "record_attempts": (c_int, [c_void_p]),
    "consumer_new": (c_int, [c_void_p, c_void_p, c_char_p, _ERR, _ERR]),
    "consumer_free": (None, [c_void_p]),
    "consumer_claim": (c_int, [c_void_p, _ERR, _ERR]),
    "batch_count": (c_size_t, [c_void_p]),
    "batch_message": (c_void_p, [c_void_p, c_size_t]),
    "batch_answer": (c_int, [c_void_p, c_size_t, c_int, c_int64, c_char_p]),
    "batch_settle": (c_int, [c_void_p, _ERR]),
    "batch_free": (None, [c_void_p]),
    "publisher_from_callback": (c_int, [_PUBLISH, c_void_p, _ERR, _ERR]),
    "publisher_open": (c_int, [c_char_p, c_void_p, _ERR, _ERR]),
    "publisher_free": (None, [c_void_p]),
    "relay_new": (c_int, [c_char_p, c_void_p, c_void_p, c_void_p, _ERR, _ERR]),
    "relay_run_once": (c_int, [c_void_p, _ERR]),
    "relay_start": (c_int, [c_void_p, _ERR]),
    "relay_wake": (None, [c_void_p]),
    "relay_stop": (None, [c_void_p]),
    "relay_join": (c_int, [c_void_p, _ERR]),
    "relay_free": (None, [c_void_p]),
}


def _load():
    # By its soname: the number changes when a program that was written for this one would not work any more.
    library = ctypes.CDLL("liboutbox.so.0")
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, "outbox_" + name)
        function.restype, function.argtypes = result, arguments
    return library


_lib = _load()


class Error(Exception):
    """Why a call failed: status, a stable name such as "lease.lost", and whether the transaction may be repeated."""

    def __init__(self, status, name, message, retryable):
        super().__init__(message)
        self.status, self.name, self.retryable = status, name, retryable


def _call(name, *arguments):
    """Calls a function whose last parameter is an outbox_error **; returns OK or NONE."""
    err = c_void_p()
    status = getattr(_lib, "outbox_" + name)(*arguments, byref(err))
    if status >= 0:
        return status
    try:
        if not err:
            raise Error(status, "", _lib.outbox_status_name(status).decode(), False)
        raise Error(status, _lib.outbox_error_name(err).decode(), _lib.outbox_error_message(err).decode(),
                    bool(_lib.outbox_error_retryable(err)))
    finally:
        _lib.outbox_error_free(err)


def _text(value):
    return None if value is None else value.encode("utf-8")


def version():
    return _lib.outbox_version().decode()


class _Object:
    """Something that the library made and that must be freed, once."""
    _free = None

    def __init__(self, pointer):
        self._pointer = pointer

    def close(self):
        pointer, self._pointer = self._pointer, None
        if pointer:
            getattr(_lib, "outbox_" + self._free)(pointer)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


class Conf(_Object):
    """Settings: Conf({"relay.batch_size": 10})."""
    _free = "conf_free"

    def __init__(self, settings=None):
        super().__init__(c_void_p())
        _call("conf_new", byref(self._pointer))
        try:
            for key, value in (settings or {}).items():
                _call("conf_set", self._pointer, _text(key), _text(str(value)))
        except Error:
            self.close()
            raise


class Message:
    """A message that was read: a copy, so it may be kept."""

    def __init__(self, record):
        size, count = c_size_t(), c_size_t()
        key = _lib.outbox_record_partition_key(record)
        payload = _lib.outbox_record_payload(record, byref(size))
        headers = _lib.outbox_record_headers(record, byref(count))
        self.id = _lib.outbox_record_id(record).decode()
        self.topic = _lib.outbox_record_topic(record).decode()
        self.key = None if key is None else key.decode()
        self.payload = ctypes.string_at(payload, size.value)
        self.headers = {headers[i].name.decode(): headers[i].value.decode() for i in range(count.value)}
        self.attempts = _lib.outbox_record_attempts(record)


class Connection(_Object):
    """A connection to the database of an outbox, by a DSN of ODBC, a connection string, or sqlite:PATH."""
    _free = "conn_close"

    def __init__(self, dsn, settings=None):
        super().__init__(c_void_p())
        with Conf(settings) as conf:
            _call("conn_open", _text(dsn), conf._pointer, byref(self._pointer))

    def migrate(self):
        _call("migrate", self._pointer, None)

    def execute(self, sql):
        _call("conn_execute", self._pointer, _text(sql))

    @contextlib.contextmanager
    def transaction(self):
        """Commits at its end, and rolls back for any exception."""
        _call("conn_begin", self._pointer)
        try:
            yield self
        except BaseException:
            _call("conn_rollback", self._pointer)
            raise
        _call("conn_commit", self._pointer)

    def enqueue(self, topic, payload, key=None, headers=None, **more):
        """Writes a message in the open transaction, and returns its id. payload is bytes; more are members of struct
        outbox_message, such as content_type, dedup_key or delay_ms."""
        pairs = [(_text(name), _text(value)) for name, value in (headers or {}).items()]
        message = _Message(size=ctypes.sizeof(_Message), topic=_text(topic), partition_key=_text(key), payload=payload,
                           payload_size=len(payload), headers=(_Header * len(pairs))(*pairs) if pairs else None,
                           header_count=len(pairs))
        for name, value in more.items():
            setattr(message, name, _text(value) if isinstance(value, str) else value)
        id_ = _Id()
        _call("enqueue", self._pointer, byref(message), 1, byref(id_))
        return id_.text.decode()


class Batch(_Object):
    """Messages of one leased lane: answer them in order, then settle."""
    _free = "batch_free"

    def __len__(self):
        return _lib.outbox_batch_count(self._pointer)

    def __iter__(self):
        for index in range(len(self)):
            yield index, Message(_lib.outbox_batch_message(self._pointer, index))

    def answer(self, index, verdict, retry_ms=-1, reason=None):
        status = _lib.outbox_batch_answer(self._pointer, index, verdict, retry_ms, _text(reason))
        if status < 0:
            raise Error(status, "", _lib.outbox_status_name(status).decode(), False)

    def settle(self):
        _call("batch_settle", self._pointer)


class Consumer(_Object):
    """The pull interface, for a program with a loop of its own."""
    _free = "consumer_free"

    def __init__(self, conn, settings=None, owner=None):
        super().__init__(c_void_p())
        self._conn = conn  # outlives this
        with Conf(settings) as conf:
            _call("consumer_new", conn._pointer, conf._pointer, _text(owner), byref(self._pointer))

    def claim(self):
        """A batch, or None when no lane has work now."""
        pointer = c_void_p()
        return Batch(pointer) if _call("consumer_claim", self._pointer, byref(pointer)) == OK else None


class Relay(_Object):
    """Threads that publish with a URL, or with a function of Python's: publish(message) returns a verdict, and a
    message for which it raises is sent again later."""
    _free = "relay_free"

    def __init__(self, dsn, publish, settings=None):
        super().__init__(c_void_p())
        self._publisher = c_void_p()
        with Conf(settings) as conf:
            if isinstance(publish, str):
                _call("publisher_open", _text(publish), conf._pointer, byref(self._publisher))
            else:
                self._function = _PUBLISH(_publish_function(publish))  # kept: the library holds its address
                _call("publisher_from_callback", self._function, None, byref(self._publisher))
            try:
                _call("relay_new", _text(dsn), conf._pointer, self._publisher, None, byref(self._pointer))
            except Error:
                self.close()
                raise

    def run_once(self):
        """Publishes all that is ready, and returns."""
        _call("relay_run_once", self._pointer)

    def start(self):
        _call("relay_start", self._pointer)

    def wake(self):
        _lib.outbox_relay_wake(self._pointer)

    def stop(self):
        """Lets the threads finish what they have in hand."""
        _lib.outbox_relay_stop(self._pointer)
        _call("relay_join", self._pointer)

    def close(self):
        super().close()
        publisher, self._publisher = self._publisher, None
        if publisher:
            _lib.outbox_publisher_free(publisher)


def _publish_function(publish):
    def call(_user, record, _retry_ms, err):
        # No exception crosses C.
        try:
            return publish(Message(record))
        except Exception as failure:  # pylint: disable=broad-except
            _lib.outbox_error_new(err, -12, b"python.exception", _text(f"{type(failure).__name__}: {failure}"))
            return RETRY
    return call
