-- liboutbox: tables of one outbox.
-- Each statement that makes something commits. An attempt that failed leaves some of it behind; the next one passes over
-- what is there. An empty string is NULL here, and so is a payload that is empty.
-- statement
CREATE TABLE {messages} (
    seq           NUMBER(19) GENERATED ALWAYS AS IDENTITY (ORDER) NOT NULL,
    lane          NUMBER(5) NOT NULL CHECK (lane BETWEEN 0 AND {lane_count} - 1),
    created_at    NUMBER(19)   DEFAULT {now} NOT NULL,
    available_at  NUMBER(19),
    max_attempts  NUMBER(10) CHECK (max_attempts >= 1),
    id            VARCHAR2(36) NOT NULL,
    topic         VARCHAR2(255 CHAR) NOT NULL,
    partition_key VARCHAR2(255 CHAR),
    headers       CLOB,
    content_type  VARCHAR2(255 CHAR),
    message_type  VARCHAR2(255 CHAR),
    payload       BLOB,
    PRIMARY KEY (lane, seq)
);
-- statement
CREATE TABLE {lanes} (
    lane        NUMBER(5) NOT NULL PRIMARY KEY,
    owner       VARCHAR2(200 CHAR),
    token       NUMBER(19)  DEFAULT 0 NOT NULL,
    lease_until NUMBER(19)  DEFAULT 0 NOT NULL,
    batch       NUMBER(10) DEFAULT 0 NOT NULL,
    suspect     NUMBER(10) DEFAULT 0 NOT NULL,
    pos         NUMBER(19)  DEFAULT 0 NOT NULL,
    low         NUMBER(19)  DEFAULT 0 NOT NULL,
    cleaned     NUMBER(19)  DEFAULT 0 NOT NULL
);
-- Lane -1 is the cleaner's: whoever leases it cleans.
-- statement
INSERT INTO {lanes} (lane) SELECT LEVEL - 2 FROM dual CONNECT BY LEVEL <= {lane_count} + 1;
-- statement
CREATE TABLE {deferred} (
    lane          NUMBER(5) NOT NULL,
    seq           NUMBER(19)   NOT NULL,
    state         NUMBER(5) NOT NULL,
    attempts      NUMBER(10)  NOT NULL,
    available_at  NUMBER(19),
    key_hash      NUMBER(19)   NOT NULL,
    deferred_at   NUMBER(19)   NOT NULL,
    created_at    NUMBER(19)   NOT NULL,
    max_attempts  NUMBER(10),
    id            VARCHAR2(36) NOT NULL,
    topic         VARCHAR2(255 CHAR) NOT NULL,
    partition_key VARCHAR2(255 CHAR),
    headers       CLOB,
    content_type  VARCHAR2(255 CHAR),
    message_type  VARCHAR2(255 CHAR),
    last_error    VARCHAR2(1000 CHAR),
    payload       BLOB,
    PRIMARY KEY (lane, seq)
);
-- statement
CREATE INDEX {index}deferred_due ON {deferred_on} (lane, available_at);
-- statement
CREATE INDEX {index}deferred_key ON {deferred_on} (lane, key_hash, state, seq);
-- statement
CREATE TABLE {published} (
    lane          NUMBER(5) NOT NULL,
    seq           NUMBER(19)   NOT NULL,
    attempts      NUMBER(10)  NOT NULL,
    published_at  NUMBER(19)   NOT NULL,
    created_at    NUMBER(19)   NOT NULL,
    max_attempts  NUMBER(10),
    id            VARCHAR2(36) NOT NULL,
    topic         VARCHAR2(255 CHAR) NOT NULL,
    partition_key VARCHAR2(255 CHAR),
    headers       CLOB,
    content_type  VARCHAR2(255 CHAR),
    message_type  VARCHAR2(255 CHAR),
    last_error    VARCHAR2(1000 CHAR),
    payload       BLOB,
    PRIMARY KEY (lane, seq)
);
-- statement
CREATE INDEX {index}published_at ON {published_on} (published_at);
-- statement
CREATE TABLE {positions} (
    lane         NUMBER(5) NOT NULL,
    pos          NUMBER(19)   NOT NULL,
    low          NUMBER(19)   NOT NULL,
    published_at NUMBER(19)   NOT NULL
);
-- statement
CREATE INDEX {index}positions_at ON {positions_on} (lane, published_at);
-- statement
CREATE INDEX {index}positions_pos ON {positions_on} (lane, pos, published_at);
-- statement
CREATE TABLE {dedup} (
    dedup_key  VARCHAR2(240 CHAR) CONSTRAINT {index}dedup_key PRIMARY KEY,
    created_at NUMBER(19) DEFAULT {now} NOT NULL
);
-- statement
CREATE INDEX {index}dedup_at ON {dedup_on} (created_at);
-- The lane of a key: the first four bytes, big-endian, of the SHA-256 of its UTF-8, modulo the lanes. Without a key, NULL.
-- statement
CREATE OR REPLACE FUNCTION {lane_fn}(p_key IN VARCHAR2, p_lanes IN NUMBER) RETURN NUMBER AS
    v_lane NUMBER;
BEGIN
    SELECT MAX(MOD(TO_NUMBER(SUBSTR(RAWTOHEX(STANDARD_HASH(CONVERT(p_key, 'AL32UTF8'), 'SHA256')), 1, 8), 'XXXXXXXX'),
                   p_lanes))
    INTO v_lane FROM dual WHERE p_key IS NOT NULL;
    RETURN v_lane;
END; /* of the function */;
-- Enqueues with plain SQL, in the caller's transaction. Without an id, the message gets one; p_available_at is in UTC.
-- statement
CREATE OR REPLACE PROCEDURE {enqueue_fn}(p_topic IN VARCHAR2, p_payload IN BLOB, p_key IN VARCHAR2 DEFAULT NULL,
    p_headers IN CLOB DEFAULT NULL, p_content_type IN VARCHAR2 DEFAULT NULL, p_message_type IN VARCHAR2 DEFAULT NULL,
    p_available_at IN TIMESTAMP DEFAULT NULL, p_max_attempts IN NUMBER DEFAULT NULL, p_id IN VARCHAR2 DEFAULT NULL) AS
    v_age INTERVAL DAY(9) TO SECOND(6) := p_available_at - TIMESTAMP '1970-01-01 00:00:00';
    v_id VARCHAR2(36) := LOWER(p_id);
BEGIN
    IF v_id IS NULL THEN
        v_id := LOWER(RAWTOHEX(SYS_GUID()));
        v_id := SUBSTR(v_id, 1, 8) || '-' || SUBSTR(v_id, 9, 4) || '-' || SUBSTR(v_id, 13, 4) || '-'
            || SUBSTR(v_id, 17, 4) || '-' || SUBSTR(v_id, 21);
    END IF;
    INSERT INTO {messages} (lane, id, topic, partition_key, payload, headers, content_type, message_type, max_attempts,
                            available_at)
    VALUES (COALESCE({lane_fn}(p_key, {lane_count}), TRUNC(DBMS_RANDOM.VALUE(0, {lane_count}))), v_id, p_topic, p_key,
            p_payload, p_headers, p_content_type, p_message_type, p_max_attempts,
            EXTRACT(DAY FROM v_age) * 86400000000 + EXTRACT(HOUR FROM v_age) * 3600000000
            + EXTRACT(MINUTE FROM v_age) * 60000000 + TRUNC(EXTRACT(SECOND FROM v_age) * 1000000));
END; /* of the procedure */;
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
    id       VARCHAR2(36)      NOT NULL PRIMARY KEY,
    done_at  NUMBER(19) DEFAULT {now} NOT NULL,
    who      VARCHAR2(200 CHAR)  NOT NULL,
    what     VARCHAR2(20)   NOT NULL,
    which    VARCHAR2(1000 CHAR),
    messages NUMBER(19)        NOT NULL
);
-- statement
CREATE INDEX {index}audit_at ON {audit_on} (done_at);
-- statement
CREATE TABLE {meta} (name VARCHAR2(40) NOT NULL PRIMARY KEY, value VARCHAR2(200 CHAR) NOT NULL);
-- The last one says that the outbox is there.
-- statement
INSERT INTO {meta} (name, value)
SELECT 'version', '1' FROM dual UNION ALL SELECT 'lanes', '{lane_count}' FROM dual UNION ALL
SELECT 'settle', '{settle}' FROM dual UNION ALL SELECT 'dialect', 'oracle' FROM dual;
