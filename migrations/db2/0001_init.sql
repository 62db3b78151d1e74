-- liboutbox: tables of one outbox.
-- statement
CREATE TABLE {messages} (
    seq           BIGINT   NOT NULL GENERATED ALWAYS AS IDENTITY (ORDER),
    lane          SMALLINT NOT NULL CHECK (lane BETWEEN 0 AND {lane_count} - 1),
    created_at    BIGINT   NOT NULL DEFAULT 0,
    available_at  BIGINT,
    max_attempts  INTEGER CHECK (max_attempts >= 1),
    id            CHAR(36) NOT NULL,
    topic         VARCHAR(255 CODEUNITS32) NOT NULL,
    partition_key VARCHAR(255 CODEUNITS32),
    headers       CLOB(4M),
    content_type  VARCHAR(255 CODEUNITS32),
    message_type  VARCHAR(255 CODEUNITS32),
    payload       BLOB(1G) NOT NULL,
    PRIMARY KEY (lane, seq)
);
-- A default can be no expression.
-- statement
CREATE TRIGGER {index}messages_new BEFORE INSERT ON {messages} REFERENCING NEW AS n FOR EACH ROW WHEN (n.created_at = 0)
    SET n.created_at = {now};
-- statement
CREATE TABLE {lanes} (
    lane        SMALLINT NOT NULL PRIMARY KEY,
    owner       VARCHAR(200 CODEUNITS32),
    token       BIGINT  NOT NULL DEFAULT 0,
    lease_until BIGINT  NOT NULL DEFAULT 0,
    batch       INTEGER NOT NULL DEFAULT 0,
    suspect     INTEGER NOT NULL DEFAULT 0,
    pos         BIGINT  NOT NULL DEFAULT 0,
    low         BIGINT  NOT NULL DEFAULT 0,
    cleaned     BIGINT  NOT NULL DEFAULT 0
);
-- Lane -1 is the cleaner's: whoever leases it cleans.
-- statement
INSERT INTO {lanes} (lane)
WITH n (i) AS (VALUES (-1) UNION ALL SELECT i + 1 FROM n WHERE i < {lane_count} - 1) SELECT i FROM n;
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
    topic         VARCHAR(255 CODEUNITS32) NOT NULL,
    partition_key VARCHAR(255 CODEUNITS32),
    headers       CLOB(4M),
    content_type  VARCHAR(255 CODEUNITS32),
    message_type  VARCHAR(255 CODEUNITS32),
    last_error    VARCHAR(1000 CODEUNITS32),
    payload       BLOB(1G) NOT NULL,
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
    topic         VARCHAR(255 CODEUNITS32) NOT NULL,
    partition_key VARCHAR(255 CODEUNITS32),
    headers       CLOB(4M),
    content_type  VARCHAR(255 CODEUNITS32),
    message_type  VARCHAR(255 CODEUNITS32),
    last_error    VARCHAR(1000 CODEUNITS32),
    payload       BLOB(1G) NOT NULL,
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
    dedup_key  VARCHAR(964) NOT NULL PRIMARY KEY,
    created_at BIGINT   NOT NULL DEFAULT 0
);
-- statement
CREATE INDEX {index}dedup_at ON {dedup_on} (created_at);
-- statement
CREATE TRIGGER {index}dedup_new BEFORE INSERT ON {dedup} REFERENCING NEW AS n FOR EACH ROW WHEN (n.created_at = 0)
    SET n.created_at = {now};
-- The lane of a key: the first four bytes, big-endian, of the SHA-256 of its UTF-8, modulo the lanes. Without a key, NULL.
-- statement
CREATE FUNCTION {lane_fn}(p_key VARCHAR(255 CODEUNITS32), p_lanes INTEGER) RETURNS SMALLINT LANGUAGE SQL DETERMINISTIC
    NO EXTERNAL ACTION CONTAINS SQL
RETURN SELECT CASE WHEN LENGTH(p_key) > 0 THEN CAST(MOD(
    (BIGINT(LOCATE(SUBSTR(h, 1, 1), '0123456789ABCDEF')) - 1) * 268435456 +
    (BIGINT(LOCATE(SUBSTR(h, 2, 1), '0123456789ABCDEF')) - 1) * 16777216 +
    (BIGINT(LOCATE(SUBSTR(h, 3, 1), '0123456789ABCDEF')) - 1) * 1048576 +
    (BIGINT(LOCATE(SUBSTR(h, 4, 1), '0123456789ABCDEF')) - 1) * 65536 +
    (BIGINT(LOCATE(SUBSTR(h, 5, 1), '0123456789ABCDEF')) - 1) * 4096 +
    (BIGINT(LOCATE(SUBSTR(h, 6, 1), '0123456789ABCDEF')) - 1) * 256 +
    (BIGINT(LOCATE(SUBSTR(h, 7, 1), '0123456789ABCDEF')) - 1) * 16 +
    (BIGINT(LOCATE(SUBSTR(h, 8, 1), '0123456789ABCDEF')) - 1) * 1
    , p_lanes) AS SMALLINT) END
FROM (VALUES (HEX(HASH(p_key, 2)))) t (h);
-- Every message and its state, under the conditions by which relays and lists find them. Times are microseconds since
-- 1970, UTC.
-- statement
CREATE VIEW {status} (lane, seq, id, topic, partition_key, state, attempts, last_error, created_at,
                                     available_at, published_at) AS
SELECT m.lane, m.seq, m.id, m.topic, m.partition_key,
       CASE WHEN m.available_at > {now} THEN 'scheduled' ELSE 'pending' END,
       0, CAST(NULL AS {text}), m.created_at, m.available_at,
       CAST(NULL AS {number})
FROM {messages} m
UNION ALL
SELECT d.lane, d.seq, d.id, d.topic, d.partition_key,
       CASE d.state WHEN 2 THEN 'scheduled' WHEN 3 THEN 'retry' WHEN 4 THEN 'held' ELSE 'dead' END,
       d.attempts, d.last_error, d.created_at, d.available_at, CAST(NULL AS {number})
FROM {deferred} d
UNION ALL
SELECT p.lane, p.seq, p.id, p.topic, p.partition_key, 'published', p.attempts, p.last_error, p.created_at,
       CAST(NULL AS {number}), p.published_at
FROM {published} p;
-- Who redrove, discarded or purged how many messages, and which.
-- statement
CREATE TABLE {audit} (
    id       CHAR(36)      NOT NULL PRIMARY KEY,
    done_at  BIGINT   NOT NULL DEFAULT 0,
    who      VARCHAR(200 CODEUNITS32)  NOT NULL,
    what     VARCHAR(20)   NOT NULL,
    which    VARCHAR(1000 CODEUNITS32) NOT NULL,
    messages BIGINT        NOT NULL
);
-- statement
CREATE INDEX {index}audit_at ON {audit_on} (done_at);
-- statement
CREATE TRIGGER {index}audit_new BEFORE INSERT ON {audit} REFERENCING NEW AS n FOR EACH ROW WHEN (n.done_at = 0)
    SET n.done_at = {now};
-- statement
CREATE TABLE {meta} (name VARCHAR(40) NOT NULL PRIMARY KEY, value VARCHAR(200 CODEUNITS32) NOT NULL);
-- statement
INSERT INTO {meta} (name, value) VALUES ('version', '1'), ('lanes', '{lane_count}'), ('settle', '{settle}'),
    ('dialect', 'db2');
