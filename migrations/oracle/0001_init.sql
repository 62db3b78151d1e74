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
-- Enqueues with plain SQL, in the caller's transaction: all or nothing. It checks what the library checks, before anything is
-- written. Without an id, the message gets one. There is no savepoint in it, as triggers must not set any.
-- statement
CREATE OR REPLACE PROCEDURE {enqueue_fn}(p_topic IN VARCHAR2, p_payload IN BLOB, p_key IN VARCHAR2 DEFAULT NULL,
    p_headers IN CLOB DEFAULT NULL, p_content_type IN VARCHAR2 DEFAULT NULL, p_message_type IN VARCHAR2 DEFAULT NULL,
    p_available_at IN TIMESTAMP DEFAULT NULL, p_max_attempts IN NUMBER DEFAULT NULL, p_id IN VARCHAR2 DEFAULT NULL,
    p_dedup_key IN VARCHAR2 DEFAULT NULL, p_delay IN NUMBER DEFAULT NULL) AS
    v_age INTERVAL DAY(9) TO SECOND(6) := p_available_at - TIMESTAMP '1970-01-01 00:00:00';
    v_clock NUMBER := {now};
    v_control VARCHAR2(40) := CHR(127);
    v_wrong VARCHAR2(400);
    v_id VARCHAR2(36);
    v_parsed JSON_OBJECT_T;
    v_names JSON_KEY_LIST;
    v_count NUMBER := 0;
    FUNCTION has_control(p_text IN VARCHAR2) RETURN BOOLEAN AS
    BEGIN
        RETURN NVL(LENGTH(TRANSLATE(p_text, '.' || v_control, '.')), 0) <> LENGTH(p_text);
    END has_control;
    FUNCTION judge(p_name IN VARCHAR2, p_text IN VARCHAR2, p_most IN NUMBER, p_told IN BOOLEAN) RETURN VARCHAR2 AS
    BEGIN
        RETURN CASE
            WHEN LENGTH(p_text) > p_most THEN
                p_name || ' has ' || LENGTH(p_text) || ' characters, ' || p_most || ' are allowed'
            WHEN p_told AND has_control(p_text) THEN p_name || ' has a control character, which brokers would misread'
            WHEN INSTR(p_text, CHR(0)) > 0 THEN p_name || ' has a NUL character'
        END;
    END judge;
BEGIN
    FOR i IN 0 .. 31 LOOP
        v_control := v_control || CHR(i);
    END LOOP;
    v_wrong := CASE
        WHEN p_topic IS NULL THEN 'topic is required'
        WHEN p_max_attempts < 1 THEN 'max_attempts must be at least 1, or NULL for the limit of the relay'
        WHEN p_available_at IS NOT NULL AND p_delay IS NOT NULL THEN 'available_at and delay exclude each other'
        WHEN p_available_at < TIMESTAMP '1970-01-01 00:00:00' THEN 'available_at must not be before 1970'
        WHEN p_delay < 0 THEN 'delay must not be negative'
        WHEN TRANSLATE(LOWER(p_id), '0123456789abcdef', '0000000000000000') <> '00000000-0000-0000-0000-000000000000' THEN
            'id is not a UUID'
    END;
    v_wrong := COALESCE(v_wrong, judge('topic', p_topic, 255, TRUE), judge('content_type', p_content_type, 255, TRUE),
                        judge('message_type', p_message_type, 255, TRUE), judge('partition_key', p_key, 255, FALSE),
                        judge('dedup_key', p_dedup_key, 200, FALSE));
    IF v_wrong IS NULL AND p_headers IS NOT NULL THEN
        SELECT COUNT(*) INTO v_count FROM dual WHERE p_headers IS JSON STRICT WITH UNIQUE KEYS;
        IF v_count = 0 OR SUBSTR(LTRIM(p_headers, ' ' || CHR(9) || CHR(10) || CHR(13)), 1, 1) <> CHR(123) THEN
            v_wrong := 'headers must be a JSON object, with each name once';
        ELSE
            v_parsed := JSON_OBJECT_T.parse(p_headers);
            v_names := v_parsed.get_keys();
            v_count := v_parsed.get_size();
            FOR i IN 1 .. v_count LOOP
                v_wrong := CASE
                    WHEN v_wrong IS NOT NULL THEN v_wrong
                    WHEN v_names(i) IS NULL THEN 'a header has no name'
                    WHEN NOT v_parsed.get(v_names(i)).is_string() THEN
                        'header "' || SUBSTR(v_names(i), 1, 60) || '" must be a string'
                    WHEN has_control(v_names(i)) OR has_control(v_parsed.get_string(v_names(i))) THEN
                        'a header has a control character, which brokers would misread'
                END;
            END LOOP;
        END IF;
    END IF;
    IF v_wrong IS NOT NULL THEN
        RAISE_APPLICATION_ERROR(-20000, 'cannot enqueue: ' || v_wrong || '; nothing was written');
    END IF;
    v_id := LOWER(p_id);
    IF v_id IS NULL THEN
        v_id := LOWER(RAWTOHEX(SYS_GUID()));
        v_id := SUBSTR(v_id, 1, 8) || '-' || SUBSTR(v_id, 9, 4) || '-' || SUBSTR(v_id, 13, 4) || '-'
            || SUBSTR(v_id, 17, 4) || '-' || SUBSTR(v_id, 21);
    END IF;
    INSERT INTO {dedup} (dedup_key)
    SELECT used FROM (SELECT CASE WHEN p_id IS NOT NULL THEN 'id:' || LOWER(p_id) END AS used FROM dual UNION ALL
                      SELECT CASE WHEN p_dedup_key IS NOT NULL THEN 'key:' || p_dedup_key END FROM dual)
    WHERE used IS NOT NULL;
    BEGIN
        INSERT INTO {messages} (lane, id, topic, partition_key, payload, headers, content_type, message_type, max_attempts,
                                available_at)
        VALUES (COALESCE({lane_fn}(p_key, {lane_count}), TRUNC(DBMS_RANDOM.VALUE(0, {lane_count}))), v_id, p_topic, p_key,
                p_payload, CASE WHEN v_count > 0 THEN p_headers END, p_content_type, p_message_type, p_max_attempts,
                COALESCE(EXTRACT(DAY FROM v_age) * 86400000000 + EXTRACT(HOUR FROM v_age) * 3600000000
                         + EXTRACT(MINUTE FROM v_age) * 60000000 + TRUNC(EXTRACT(SECOND FROM v_age) * 1000000),
                         v_clock + TRUNC(p_delay * 1000000)));
    EXCEPTION
        WHEN OTHERS THEN
            DELETE FROM {dedup} WHERE dedup_key IN ('id:' || LOWER(p_id), 'key:' || p_dedup_key);
            RAISE;
    END;
END; /* of the procedure */;
-- A routine with errors is made all the same, and the driver calls that a success: this, which does nothing, is refused then.
-- statement
BEGIN
    IF {lane_fn}(NULL, 1) IS NOT NULL THEN
        {enqueue_fn}(p_topic => NULL, p_payload => NULL);
    END IF;
END; /* of what needs both */;
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
