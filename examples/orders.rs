// SPDX-License-Identifier: LGPL-2.1-or-later
//! An application in Rust on liboutbox's C interface, declared by hand: a change and its message are committed
//! together.
//!
//!     rustc --edition 2021 orders.rs $(pkg-config --libs outbox) && ./orders DSN pull|relay
//!
//! "pull" sends what there is in a loop of its own, "relay" lets a relay call a function. Both first write orders that
//! are committed, and one that is rolled back. The tables are made when they are missing.

use std::ffi::{CStr, CString};
use std::os::raw::{c_char, c_int, c_void};
use std::ptr::{null, null_mut};

/// The part of <outbox/outbox.h> that is used here.
mod ffi {
    use super::*;

    macro_rules! opaque {
        ($($name:ident)*) => { $(#[repr(C)] pub struct $name { _private: [u8; 0] })* };
    }
    opaque!(Error Conf Conn Record Consumer Batch Publisher Relay);

    #[repr(C)]
    pub struct Header {
        pub name: *const c_char,
        pub value: *const c_char,
    }

    /// Begins with its size, so later versions of the library take this one.
    #[repr(C)]
    pub struct Message {
        pub size: usize,
        pub topic: *const c_char,
        pub partition_key: *const c_char,
        pub payload: *const c_void,
        pub payload_size: usize,
        pub headers: *const Header,
        pub header_count: usize,
        pub content_type: *const c_char,
        pub message_type: *const c_char,
        pub id: *const c_char,
        pub dedup_key: *const c_char,
        pub available_at: i64,
        pub delay_ms: i64,
        pub max_attempts: c_int,
    }

    #[repr(C)]
    pub struct Id {
        pub text: [c_char; 37],
    }

    pub const OK: c_int = 0;
    pub const FENCED: c_int = -8;
    pub const PUBLISHED: c_int = 1;
    pub const RETRY: c_int = 2;

    pub type Publish = extern "C" fn(*mut c_void, *const Record, *mut i64, *mut *mut Error) -> c_int;

    #[link(name = "outbox")]
    extern "C" {
        pub fn outbox_error_message(err: *const Error) -> *const c_char;
        pub fn outbox_error_free(err: *mut Error);
        pub fn outbox_status_name(status: c_int) -> *const c_char;
        pub fn outbox_conn_open(dsn: *const c_char, conf: *const Conf, conn: *mut *mut Conn, err: *mut *mut Error)
            -> c_int;
        pub fn outbox_conn_close(conn: *mut Conn);
        pub fn outbox_conn_begin(conn: *mut Conn, err: *mut *mut Error) -> c_int;
        pub fn outbox_conn_commit(conn: *mut Conn, err: *mut *mut Error) -> c_int;
        pub fn outbox_conn_rollback(conn: *mut Conn, err: *mut *mut Error) -> c_int;
        pub fn outbox_conn_execute(conn: *mut Conn, sql: *const c_char, err: *mut *mut Error) -> c_int;
        pub fn outbox_migrate(conn: *mut Conn, applied: *mut c_int, err: *mut *mut Error) -> c_int;
        pub fn outbox_enqueue(conn: *mut Conn, messages: *const Message, count: usize, ids: *mut Id,
            err: *mut *mut Error) -> c_int;
        pub fn outbox_record_topic(r: *const Record) -> *const c_char;
        pub fn outbox_record_partition_key(r: *const Record) -> *const c_char;
        pub fn outbox_record_payload(r: *const Record, size: *mut usize) -> *const c_void;
        pub fn outbox_record_header(r: *const Record, name: *const c_char) -> *const c_char;
        pub fn outbox_consumer_new(conn: *mut Conn, conf: *const Conf, owner: *const c_char,
            consumer: *mut *mut Consumer, err: *mut *mut Error) -> c_int;
        pub fn outbox_consumer_free(consumer: *mut Consumer);
        pub fn outbox_consumer_claim(consumer: *mut Consumer, batch: *mut *mut Batch, err: *mut *mut Error) -> c_int;
        pub fn outbox_batch_count(batch: *const Batch) -> usize;
        pub fn outbox_batch_message(batch: *const Batch, index: usize) -> *const Record;
        pub fn outbox_batch_answer(batch: *mut Batch, index: usize, verdict: c_int, retry_ms: i64,
            reason: *const c_char) -> c_int;
        pub fn outbox_batch_settle(batch: *mut Batch, err: *mut *mut Error) -> c_int;
        pub fn outbox_batch_free(batch: *mut Batch);
        pub fn outbox_publisher_from_callback(publish: Publish, user: *mut c_void, publisher: *mut *mut Publisher,
            err: *mut *mut Error) -> c_int;
        pub fn outbox_publisher_free(publisher: *mut Publisher);
        pub fn outbox_relay_new(dsn: *const c_char, conf: *const Conf, publisher: *mut Publisher, hooks: *const c_void,
            relay: *mut *mut Relay, err: *mut *mut Error) -> c_int;
        pub fn outbox_relay_run_once(relay: *mut Relay, err: *mut *mut Error) -> c_int;
        pub fn outbox_relay_free(relay: *mut Relay);
    }
}

/// Why a call failed.
#[derive(Debug)]
struct Error {
    status: c_int,
    message: String,
}

fn text(s: *const c_char) -> String {
    if s.is_null() {
        return String::new();
    }
    unsafe { CStr::from_ptr(s) }.to_string_lossy().into_owned()
}

fn c(s: &str) -> CString {
    CString::new(s).expect("no NUL in a text")
}

/// Calls a function whose last parameter is an outbox_error **, which becomes an Error.
fn call(function: impl FnOnce(*mut *mut ffi::Error) -> c_int) -> Result<c_int, Error> {
    let mut err = null_mut();
    let status = function(&mut err);
    if status >= 0 {
        return Ok(status);
    }
    unsafe {
        let message = if err.is_null() { ffi::outbox_status_name(status) } else { ffi::outbox_error_message(err) };
        let error = Error { status, message: text(message) };
        ffi::outbox_error_free(err);
        Err(error)
    }
}

/// A connection, used by one thread at a time.
struct Connection(*mut ffi::Conn);

impl Connection {
    fn open(dsn: &str) -> Result<Self, Error> {
        let (dsn, mut conn) = (c(dsn), null_mut());
        call(|err| unsafe { ffi::outbox_conn_open(dsn.as_ptr(), null(), &mut conn, err) })?;
        Ok(Connection(conn))
    }

    fn migrate(&self) -> Result<(), Error> {
        call(|err| unsafe { ffi::outbox_migrate(self.0, null_mut(), err) }).map(|_| ())
    }

    fn execute(&self, sql: &str) -> Result<(), Error> {
        let sql = c(sql);
        call(|err| unsafe { ffi::outbox_conn_execute(self.0, sql.as_ptr(), err) }).map(|_| ())
    }

    /// Commits what the function did when it returns true, and rolls back otherwise.
    fn transaction(&self, function: impl FnOnce() -> Result<bool, Error>) -> Result<(), Error> {
        call(|err| unsafe { ffi::outbox_conn_begin(self.0, err) })?;
        let done = function();
        if matches!(done, Ok(true)) {
            call(|err| unsafe { ffi::outbox_conn_commit(self.0, err) })?;
        } else {
            call(|err| unsafe { ffi::outbox_conn_rollback(self.0, err) })?;
        }
        done.map(|_| ())
    }

    fn enqueue(&self, topic: &str, key: &str, payload: &[u8], headers: &[(&str, &str)]) -> Result<String, Error> {
        let (topic, key, content_type) = (c(topic), c(key), c("text/plain"));
        let pairs: Vec<_> = headers.iter().map(|(name, value)| (c(name), c(value))).collect();
        let headers: Vec<_> =
            pairs.iter().map(|(name, value)| ffi::Header { name: name.as_ptr(), value: value.as_ptr() }).collect();
        let message = ffi::Message {
            size: std::mem::size_of::<ffi::Message>(),
            topic: topic.as_ptr(),
            partition_key: key.as_ptr(),
            payload: payload.as_ptr().cast(),
            payload_size: payload.len(),
            headers: headers.as_ptr(),
            header_count: headers.len(),
            content_type: content_type.as_ptr(),
            message_type: null(),
            id: null(),
            dedup_key: null(),
            available_at: 0,
            delay_ms: 0,
            max_attempts: 0,
        };
        let mut id = ffi::Id { text: [0; 37] };
        call(|err| unsafe { ffi::outbox_enqueue(self.0, &message, 1, &mut id, err) })?;
        Ok(text(id.text.as_ptr()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        unsafe { ffi::outbox_conn_close(self.0) }
    }
}

/// The application's own change and the message about it: both, or neither.
fn order(conn: &Connection, number: u32, note: &str, paid: bool) -> Result<(), Error> {
    conn.transaction(|| {
        conn.execute(&format!("INSERT INTO orders (id) VALUES ({number})"))?;
        conn.enqueue("orders", &number.to_string(), note.as_bytes(), &[("source", "orders.rs")])?;
        Ok(paid)
    })
}

/// Stands for a broker.
fn send(record: *const ffi::Record) {
    let source = c("source");
    let mut size = 0;
    unsafe {
        let payload = ffi::outbox_record_payload(record, &mut size);
        let payload = std::slice::from_raw_parts(payload.cast::<u8>(), size);
        println!("{} {} {} {}", text(ffi::outbox_record_topic(record)), text(ffi::outbox_record_partition_key(record)),
            String::from_utf8_lossy(payload), text(ffi::outbox_record_header(record, source.as_ptr())));
    }
}

/// Called on the relay's threads. No panic may cross C.
extern "C" fn publish(
    _user: *mut c_void, record: *const ffi::Record, _retry_ms: *mut i64, _err: *mut *mut ffi::Error,
) -> c_int {
    match std::panic::catch_unwind(|| send(record)) {
        Ok(()) => ffi::PUBLISHED,
        Err(_) => ffi::RETRY,
    }
}

fn settle(batch: *mut ffi::Batch) -> Result<(), Error> {
    unsafe {
        for index in 0..ffi::outbox_batch_count(batch) {
            send(ffi::outbox_batch_message(batch, index));
            call(|_| ffi::outbox_batch_answer(batch, index, ffi::PUBLISHED, -1, null()))?;
        }
        match call(|err| ffi::outbox_batch_settle(batch, err)) {
            // The lease was lost to somebody else, who sends these messages now.
            Err(error) if error.status == ffi::FENCED => Ok(()),
            settled => settled.map(|_| ()),
        }
    }
}

fn pull_all(consumer: *mut ffi::Consumer) -> Result<(), Error> {
    loop {
        let mut batch = null_mut();
        if call(|err| unsafe { ffi::outbox_consumer_claim(consumer, &mut batch, err) })? != ffi::OK {
            return Ok(()); // no lane has work now
        }
        let settled = settle(batch);
        unsafe { ffi::outbox_batch_free(batch) };
        settled?;
    }
}

fn pull(conn: &Connection) -> Result<(), Error> {
    let mut consumer = null_mut();
    call(|err| unsafe { ffi::outbox_consumer_new(conn.0, null(), null(), &mut consumer, err) })?;
    let done = pull_all(consumer);
    unsafe { ffi::outbox_consumer_free(consumer) };
    done
}

fn relay(dsn: &str) -> Result<(), Error> {
    let (dsn, mut publisher, mut relay) = (c(dsn), null_mut(), null_mut());
    let done = call(|err| unsafe { ffi::outbox_publisher_from_callback(publish, null_mut(), &mut publisher, err) })
        .and_then(|_| {
            call(|err| unsafe { ffi::outbox_relay_new(dsn.as_ptr(), null(), publisher, null(), &mut relay, err) })
        })
        .and_then(|_| call(|err| unsafe { ffi::outbox_relay_run_once(relay, err) }));
    // In the opposite order: a relay uses its publisher until it is freed.
    unsafe {
        ffi::outbox_relay_free(relay);
        ffi::outbox_publisher_free(publisher);
    }
    done.map(|_| ())
}

fn run(dsn: &str, how: &str) -> Result<(), Error> {
    let conn = Connection::open(dsn)?;
    conn.migrate()?;
    conn.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY)")?;
    conn.execute("DELETE FROM orders")?;
    order(&conn, 1, "paid \u{2665}", true)?;
    order(&conn, 2, "never to be seen", false)?;
    order(&conn, 3, "paid, too", true)?;
    if how == "pull" {
        pull(&conn)
    } else {
        drop(conn);
        relay(dsn)
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.len() != 3 {
        eprintln!("usage: orders DSN pull|relay");
        std::process::exit(2);
    }
    if let Err(error) = run(&arguments[1], &arguments[2]) {
        eprintln!("orders: {}", error.message);
        std::process::exit(1);
    }
}
