-- liboutbox: tables of one outbox.
-- statement
CREATE TABLE {messages} (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    lane          SMALLINT NOT NULL CHECK (lane BETWEEN 0 AND {lane_count} - 1),
    created_at    BIGINT   NOT NULL DEFAULT {now},
    available_at  BIGINT,
    max_attempts  INTEGER CHECK (max_attempts >= 1),
    id            CHAR(36) NOT NULL,
    topic         VARCHAR(255) NOT NULL,
    partition_key VARCHAR(255),
    headers       TEXT,
    content_type  VARCHAR(255),
    message_type  VARCHAR(255),
    payload       BLOB NOT NULL
);
-- statement
CREATE INDEX {index}messages_lane ON {messages_on} (lane, seq);
-- statement
CREATE TABLE {lanes} (
    lane        SMALLINT NOT NULL PRIMARY KEY,
    owner       VARCHAR(200),
    token       BIGINT  DEFAULT 0 NOT NULL,
    lease_until BIGINT  DEFAULT 0 NOT NULL,
    batch       INTEGER DEFAULT 0 NOT NULL,
    suspect     INTEGER DEFAULT 0 NOT NULL,
    pos         BIGINT  DEFAULT 0 NOT NULL,
    low         BIGINT  DEFAULT 0 NOT NULL,
    cleaned     BIGINT  DEFAULT 0 NOT NULL
);
-- Lane -1 is the cleaner's: whoever leases it cleans.
-- statement
{lane_rows};
-- statement
CREATE TABLE {deferred} (
    lane          SMALLINT NOT NULL,
    seq           BIGINT   NOT NULL,
    state         SMALLINT NOT NULL,
    attempts      INTEGER  NOT NULL,
    available_at  BIGINT,
    key_hash      BIGINT   NOT NULL,
    deferred_at   BIGINT   NOT NULL,
    created_at    BIGINT   NOT NULL,
    max_attempts  INTEGER,
    id            CHAR(36) NOT NULL,
    topic         VARCHAR(255) NOT NULL,
    partition_key VARCHAR(255),
    headers       TEXT,
    content_type  VARCHAR(255),
    message_type  VARCHAR(255),
    last_error    VARCHAR(1000),
    payload       BLOB NOT NULL,
    PRIMARY KEY (lane, seq)
);
-- statement
CREATE INDEX {index}deferred_due ON {deferred_on} (lane, available_at);
-- statement
CREATE INDEX {index}deferred_key ON {deferred_on} (lane, key_hash, state, seq);
-- statement
CREATE TABLE {published} (
    lane          SMALLINT NOT NULL,
    seq           BIGINT   NOT NULL,
    attempts      INTEGER  NOT NULL,
    published_at  BIGINT   NOT NULL,
    created_at    BIGINT   NOT NULL,
    max_attempts  INTEGER,
    id            CHAR(36) NOT NULL,
    topic         VARCHAR(255) NOT NULL,
    partition_key VARCHAR(255),
    headers       TEXT,
    content_type  VARCHAR(255),
    message_type  VARCHAR(255),
    last_error    VARCHAR(1000),
    payload       BLOB NOT NULL,
    PRIMARY KEY (lane, seq)
);
-- statement
CREATE INDEX {index}published_at ON {published_on} (published_at);
-- statement
CREATE TABLE {positions} (
    lane         SMALLINT NOT NULL,
    pos          BIGINT   NOT NULL,
    low          BIGINT   NOT NULL,
    published_at BIGINT   NOT NULL
);
-- statement
CREATE INDEX {index}positions_at ON {positions_on} (lane, published_at);
-- statement
CREATE INDEX {index}positions_pos ON {positions_on} (lane, pos, published_at);
-- statement
CREATE TABLE {dedup} (
    dedup_key  VARCHAR(240) NOT NULL PRIMARY KEY,
    created_at BIGINT DEFAULT {now} NOT NULL
);
-- statement
CREATE INDEX {index}dedup_at ON {dedup_on} (created_at);
-- Every message and its state, under the conditions by which relays and lists find them. Times are microseconds since
-- 1970, UTC.
-- statement
CREATE VIEW {status} (lane, seq, id, topic, partition_key, state, attempts, last_error, created_at, available_at,
                      published_at) AS
SELECT m.lane, m.seq, m.id, m.topic, m.partition_key,
       CASE WHEN m.seq <= l.pos THEN 'published' WHEN m.available_at > {now} THEN 'scheduled' ELSE 'pending' END,
       0, CAST(NULL AS {text}), m.created_at, m.available_at,
       CASE WHEN m.seq <= l.pos THEN
           (SELECT MIN(p.published_at) FROM {positions} p WHERE p.lane = m.lane AND p.pos =
            (SELECT MIN(q.pos) FROM {positions} q WHERE q.lane = m.lane AND q.pos >= m.seq)) END
FROM {messages} m JOIN {lanes} l ON l.lane = m.lane
UNION ALL
SELECT d.lane, d.seq, d.id, d.topic, d.partition_key,
       CASE d.state WHEN 2 THEN 'scheduled' WHEN 3 THEN 'retry' WHEN 4 THEN 'held' ELSE 'dead' END,
       d.attempts, d.last_error, d.created_at, d.available_at, CAST(NULL AS BIGINT)
FROM {deferred} d
UNION ALL
SELECT p.lane, p.seq, p.id, p.topic, p.partition_key, 'published', p.attempts, p.last_error, p.created_at,
       CAST(NULL AS BIGINT), p.published_at
FROM {published} p;
-- Enqueues with plain SQL, in the caller's transaction: INSERT INTO {enqueue_fn} (topic, payload, …) VALUES (…). SQLite has no
-- SHA-256, so whoever gives a partition_key gives the lane too; outbox(7) has the formula. available_at is in microseconds
-- since 1970, UTC, delay in seconds. It checks what the library checks, before anything is written.
-- statement
CREATE VIEW {enqueue_fn} AS
SELECT topic, payload, partition_key, lane, headers, content_type, message_type, available_at, max_attempts, id,
       CAST(NULL AS TEXT) AS dedup_key, CAST(NULL AS REAL) AS delay FROM {messages_plain} WHERE 0;
-- statement
CREATE TRIGGER {index}enqueue_row INSTEAD OF INSERT ON "{prefix}enqueue" BEGIN
    SELECT CASE
        WHEN COALESCE(NEW.topic, '') = '' THEN RAISE(ABORT, 'cannot enqueue: topic is required; nothing was written')
        WHEN NEW.payload IS NULL THEN RAISE(ABORT, 'cannot enqueue: payload is NULL; nothing was written')
        WHEN COALESCE(NEW.partition_key, '') <> '' AND NEW.lane IS NULL THEN
            RAISE(ABORT, 'cannot enqueue: a message with a partition_key needs its lane, see outbox(7); nothing was written')
        WHEN NEW.max_attempts < 1 THEN
            RAISE(ABORT, 'cannot enqueue: max_attempts must be at least 1; nothing was written')
        WHEN NEW.available_at IS NOT NULL AND NEW.delay IS NOT NULL THEN
            RAISE(ABORT, 'cannot enqueue: available_at and delay exclude each other; nothing was written')
        WHEN NEW.available_at < 0 THEN
            RAISE(ABORT, 'cannot enqueue: available_at must not be before 1970; nothing was written')
        WHEN NEW.delay < 0 THEN RAISE(ABORT, 'cannot enqueue: delay must not be negative; nothing was written')
        WHEN NEW.id NOT LIKE '________-____-____-____-____________' OR LENGTH(REPLACE(NEW.id, '-', '')) <> 32
            OR REPLACE(NEW.id, '-', '') GLOB '*[^0-9a-fA-F]*' THEN
            RAISE(ABORT, 'cannot enqueue: id is not a UUID; nothing was written')
        WHEN MAX(LENGTH(NEW.topic), LENGTH(COALESCE(NEW.partition_key, '')), LENGTH(COALESCE(NEW.content_type, '')),
                 LENGTH(COALESCE(NEW.message_type, ''))) > 255 THEN
            RAISE(ABORT, 'cannot enqueue: a text has more than the 255 characters that are allowed; nothing was written')
        WHEN LENGTH(NEW.dedup_key) > 200 THEN
            RAISE(ABORT, 'cannot enqueue: dedup_key has more than the 200 characters that are allowed; nothing was written')
        WHEN INSTR(NEW.topic || COALESCE(NEW.partition_key, '') || COALESCE(NEW.dedup_key, '')
                   || COALESCE(NEW.content_type, '') || COALESCE(NEW.message_type, ''), CHAR(0)) > 0 THEN
            RAISE(ABORT, 'cannot enqueue: a text has a NUL character; nothing was written')
        WHEN NEW.topic || COALESCE(NEW.content_type, '') || COALESCE(NEW.message_type, '')
            GLOB '*[' || CHAR(1) || '-' || CHAR(31) || CHAR(127) || ']*' THEN
            RAISE(ABORT, 'cannot enqueue: a text has a control character, which brokers would misread; nothing was written')
        WHEN NEW.headers IS NOT NULL AND (NOT json_valid(NEW.headers) OR json_type(NEW.headers) <> 'object') THEN
            RAISE(ABORT, 'cannot enqueue: headers must be a JSON object; nothing was written')
        WHEN EXISTS (SELECT 1 FROM json_each(NEW.headers) h WHERE h.key = '' OR h.type <> 'text') THEN
            RAISE(ABORT, 'cannot enqueue: headers need names, and values that are strings; nothing was written')
        WHEN EXISTS (SELECT 1 FROM json_each(NEW.headers) h
                     WHERE INSTR(h.key || h.value, CHAR(0)) > 0
                        OR h.key || h.value GLOB '*[' || CHAR(1) || '-' || CHAR(31) || CHAR(127) || ']*') THEN
            RAISE(ABORT, 'cannot enqueue: a header has a control character, which brokers would misread; nothing was written')
        WHEN (SELECT COUNT(*) > COUNT(DISTINCT h.key) FROM json_each(NEW.headers) h) THEN
            RAISE(ABORT, 'cannot enqueue: a header is there twice; nothing was written')
    END;
    INSERT INTO {dedup_plain} (dedup_key) SELECT 'id:' || LOWER(NEW.id) WHERE NEW.id IS NOT NULL
        UNION ALL SELECT 'key:' || NEW.dedup_key WHERE NEW.dedup_key <> '';
    INSERT INTO {messages_plain} (lane, id, topic, partition_key, payload, headers, content_type, message_type, max_attempts,
                                  available_at)
    VALUES (CASE WHEN COALESCE(NEW.partition_key, '') = '' THEN ABS(RANDOM() % {lane_count}) ELSE NEW.lane END,
            COALESCE(LOWER(NEW.id), LOWER(printf('%08x-%04x-7',
                CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) >> 16,
                CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) & 65535) || SUBSTR(HEX(RANDOMBLOB(2)), 2) || '-' ||
                SUBSTR('89AB', 1 + ABS(RANDOM() % 4), 1) || SUBSTR(HEX(RANDOMBLOB(2)), 2) || '-' || HEX(RANDOMBLOB(6)))),
            NEW.topic, NULLIF(NEW.partition_key, ''), CAST(NEW.payload AS BLOB),
            CASE WHEN NEW.headers <> CHAR(123, 125) THEN NEW.headers END,
            NULLIF(NEW.content_type, ''), NULLIF(NEW.message_type, ''), NEW.max_attempts,
            COALESCE(NEW.available_at, {now} + CAST(NEW.delay * 1000000 AS INTEGER)));
END;
-- Who redrove, discarded or purged how many messages, and which.
-- statement
CREATE TABLE {audit} (
    id       CHAR(36)      NOT NULL PRIMARY KEY,
    done_at  BIGINT DEFAULT {now} NOT NULL,
    who      VARCHAR(200)  NOT NULL,
    what     VARCHAR(20)   NOT NULL,
    which    VARCHAR(1000) NOT NULL,
    messages BIGINT        NOT NULL
);
-- statement
CREATE INDEX {index}audit_at ON {audit_on} (done_at);
-- statement
CREATE TABLE {meta} (name VARCHAR(40) NOT NULL PRIMARY KEY, value VARCHAR(200) NOT NULL);
-- statement
INSERT INTO {meta} (name, value) VALUES ('version', '1'), ('lanes', '{lane_count}'), ('settle', '{settle}'),
    ('dialect', 'sqlite');
