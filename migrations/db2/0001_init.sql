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
-- Enqueues with plain SQL, in the caller's transaction: all or nothing. It checks what the library checks, before anything is
-- written, but for the values of headers. A message of an error has 70 characters at the most.
-- statement
--#SET TERMINATOR @
CREATE PROCEDURE {enqueue_fn}(IN p_topic VARCHAR(255 CODEUNITS32), IN p_payload BLOB(1G),
    IN p_key VARCHAR(255 CODEUNITS32) DEFAULT NULL, IN p_headers CLOB(4M) DEFAULT NULL,
    IN p_content_type VARCHAR(255 CODEUNITS32) DEFAULT NULL, IN p_message_type VARCHAR(255 CODEUNITS32) DEFAULT NULL,
    IN p_available_at TIMESTAMP(6) DEFAULT NULL, IN p_max_attempts INTEGER DEFAULT NULL, IN p_id VARCHAR(36) DEFAULT NULL,
    IN p_dedup_key VARCHAR(200 CODEUNITS32) DEFAULT NULL, IN p_delay DECIMAL(20, 6) DEFAULT NULL)
    LANGUAGE SQL MODIFIES SQL DATA NOT DETERMINISTIC
BEGIN ATOMIC
    DECLARE v_control VARCHAR(20) DEFAULT '[\x00-\x1F\x7F]';
    DECLARE v_wrong VARCHAR(70);
    DECLARE v_id VARCHAR(36);
    DECLARE v_hash VARCHAR(64);
    DECLARE v_due BIGINT;

    SET v_wrong = CASE
        WHEN COALESCE(LENGTH(p_topic), 0) = 0 THEN 'topic is required'
        WHEN p_payload IS NULL THEN 'payload is NULL'
        WHEN p_max_attempts < 1 THEN 'max_attempts must be at least 1, or NULL'
        WHEN p_available_at IS NOT NULL AND p_delay IS NOT NULL THEN 'available_at and delay exclude each other'
        WHEN p_available_at < TIMESTAMP('1970-01-01 00:00:00') THEN 'available_at must not be before 1970'
        WHEN p_delay < 0 THEN 'delay must not be negative'
        WHEN TRANSLATE(LOWER(p_id), '0000000000000000', '0123456789abcdef') <> '00000000-0000-0000-0000-000000000000' THEN
            'id is not a UUID'
        WHEN REGEXP_LIKE(p_topic, v_control) THEN 'topic has a control character'
        WHEN REGEXP_LIKE(p_content_type, v_control) THEN 'content_type has a control character'
        WHEN REGEXP_LIKE(p_message_type, v_control) THEN 'message_type has a control character'
        WHEN REGEXP_LIKE(p_key, '\x00') THEN 'partition_key has a NUL character'
        WHEN REGEXP_LIKE(p_dedup_key, '\x00') THEN 'dedup_key has a NUL character'
        WHEN NOT REGEXP_LIKE(p_headers, '^\s*\x7B') THEN 'headers must be a JSON object'
    END;
    IF v_wrong IS NOT NULL THEN
        SET v_wrong = 'cannot enqueue: ' || v_wrong;
        SIGNAL SQLSTATE '22023' SET MESSAGE_TEXT = v_wrong;
    END IF;
    SET v_hash = LOWER(HEX(HASH(HEX(GENERATE_UNIQUE()) || VARCHAR(RAND()), 2)));
    SET v_id = LOWER(COALESCE(p_id, SUBSTR(v_hash, 1, 8) || '-' || SUBSTR(v_hash, 9, 4) || '-4' || SUBSTR(v_hash, 13, 3)
        || '-a' || SUBSTR(v_hash, 16, 3) || '-' || SUBSTR(v_hash, 19, 12)));
    SET v_due = COALESCE((BIGINT(DAYS(p_available_at)) - 719163) * 86400000000
        + BIGINT(MIDNIGHT_SECONDS(p_available_at)) * 1000000 + MICROSECOND(p_available_at),
        {now} + BIGINT(p_delay * 1000000));
    INSERT INTO {dedup} (dedup_key)
    SELECT used FROM (VALUES ('id:' || LOWER(p_id) || '.'),
                             ('key:' || CASE WHEN LENGTH(p_dedup_key) > 0 THEN p_dedup_key END || '.')) u (used)
    WHERE used IS NOT NULL;
    INSERT INTO {messages} (lane, id, topic, partition_key, payload, headers, content_type, message_type, max_attempts,
                            available_at)
    VALUES (COALESCE({lane_fn}(p_key, {lane_count}), SMALLINT(MOD(INTEGER(RAND() * {lane_count}), {lane_count}))), v_id,
            p_topic, CASE WHEN LENGTH(p_key) > 0 THEN p_key END, p_payload, p_headers,
            CASE WHEN LENGTH(p_content_type) > 0 THEN p_content_type END,
            CASE WHEN LENGTH(p_message_type) > 0 THEN p_message_type END, p_max_attempts, v_due);
END
@
--#SET TERMINATOR ;
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
