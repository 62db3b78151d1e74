-- liboutbox: tables of one outbox.
-- Each of these statements commits, so that an attempt which failed can leave some of them behind: all may be repeated,
-- and the last one says that the outbox is there.
-- statement
CREATE TABLE IF NOT EXISTS {messages} (
    seq           BIGINT   NOT NULL AUTO_INCREMENT PRIMARY KEY,
    lane          SMALLINT NOT NULL CHECK (lane BETWEEN 0 AND {lane_count} - 1),
    created_at    BIGINT   NOT NULL DEFAULT {now},
    available_at  BIGINT,
    max_attempts  INTEGER CHECK (max_attempts >= 1),
    id            CHAR(36) NOT NULL,
    topic         VARCHAR(255) NOT NULL,
    partition_key VARCHAR(255),
    headers       LONGTEXT,
    content_type  VARCHAR(255),
    message_type  VARCHAR(255),
    payload       LONGBLOB NOT NULL,
    KEY lane_seq (lane, seq)
){table_end};
-- statement
CREATE TABLE IF NOT EXISTS {lanes} (
    lane        SMALLINT NOT NULL PRIMARY KEY,
    owner       VARCHAR(200),
    token       BIGINT  NOT NULL DEFAULT 0,
    lease_until BIGINT  NOT NULL DEFAULT 0,
    batch       INTEGER NOT NULL DEFAULT 0,
    suspect     INTEGER NOT NULL DEFAULT 0,
    pos         BIGINT  NOT NULL DEFAULT 0,
    low         BIGINT  NOT NULL DEFAULT 0,
    cleaned     BIGINT  NOT NULL DEFAULT 0
){table_end};
-- Lane -1 is the cleaner's: whoever leases it cleans.
-- statement
{lane_rows};
-- statement
CREATE TABLE IF NOT EXISTS {deferred} (
    lane          SMALLINT NOT NULL,
    seq           BIGINT   NOT NULL,
    state         SMALLINT NOT NULL,
    attempts      INTEGER  NOT NULL,
    available_at  BIGINT,
    due_at        BIGINT   GENERATED ALWAYS AS (COALESCE(available_at, 9223372036854775807)) STORED,
    key_hash      BIGINT   NOT NULL,
    deferred_at   BIGINT   NOT NULL,
    created_at    BIGINT   NOT NULL,
    max_attempts  INTEGER,
    id            CHAR(36) NOT NULL,
    topic         VARCHAR(255) NOT NULL,
    partition_key VARCHAR(255),
    headers       LONGTEXT,
    content_type  VARCHAR(255),
    message_type  VARCHAR(255),
    last_error    VARCHAR(1000),
    payload       LONGBLOB NOT NULL,
    PRIMARY KEY (lane, seq),
    KEY due (lane, due_at, seq),
    KEY key_state (lane, key_hash, state, seq)
){table_end};
-- statement
CREATE TABLE IF NOT EXISTS {published} (
    lane          SMALLINT NOT NULL,
    seq           BIGINT   NOT NULL,
    attempts      INTEGER  NOT NULL,
    published_at  BIGINT   NOT NULL,
    created_at    BIGINT   NOT NULL,
    max_attempts  INTEGER,
    id            CHAR(36) NOT NULL,
    topic         VARCHAR(255) NOT NULL,
    partition_key VARCHAR(255),
    headers       LONGTEXT,
    content_type  VARCHAR(255),
    message_type  VARCHAR(255),
    last_error    VARCHAR(1000),
    payload       LONGBLOB NOT NULL,
    PRIMARY KEY (lane, seq),
    KEY published_at (published_at)
){table_end};
-- statement
CREATE TABLE IF NOT EXISTS {positions} (
    lane         SMALLINT NOT NULL,
    pos          BIGINT   NOT NULL,
    low          BIGINT   NOT NULL,
    published_at BIGINT   NOT NULL,
    KEY positions_at (lane, published_at),
    KEY positions_pos (lane, pos, published_at)
){table_end};
-- statement
CREATE TABLE IF NOT EXISTS {dedup} (
    dedup_key  VARCHAR(240) NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL DEFAULT {now},
    KEY created_at (created_at)
){table_end};
-- The lane of a key: the first four bytes, big-endian, of its SHA-256, modulo the lanes. Without a key, any.
-- A procedure: a server that writes a binary log lets only administrators make functions.
-- statement
CREATE PROCEDURE IF NOT EXISTS {lane_fn}(IN p_key VARCHAR(255) CHARACTER SET utf8mb4, IN p_lanes INTEGER,
                                         OUT p_lane SMALLINT) NO SQL SQL SECURITY INVOKER
SET p_lane = CASE WHEN COALESCE(CHAR_LENGTH(p_key), 0) = 0 THEN FLOOR(RAND() * p_lanes)
             ELSE MOD(CONV(LEFT(SHA2(p_key, 256), 8), 16, 10), p_lanes) END;
-- Enqueues with plain SQL, in the caller's transaction. Without an id, the message gets one; p_available_at is in UTC.
-- A key of blanks is a key: a comparison with '' would take it for none. An empty topic is refused as NULL is. One statement
-- a procedure: clients that apply the migrations by hand would end a longer one at its first semicolon.
-- statement
CREATE PROCEDURE IF NOT EXISTS {enqueue_fn}(IN p_topic VARCHAR(255) CHARACTER SET utf8mb4, IN p_payload LONGBLOB,
    IN p_key VARCHAR(255) CHARACTER SET utf8mb4, IN p_headers LONGTEXT CHARACTER SET utf8mb4,
    IN p_content_type VARCHAR(255) CHARACTER SET utf8mb4, IN p_message_type VARCHAR(255) CHARACTER SET utf8mb4,
    IN p_available_at DATETIME(6), IN p_max_attempts INTEGER, IN p_id CHAR(36)) MODIFIES SQL DATA SQL SECURITY INVOKER
INSERT INTO {messages} (lane, id, topic, partition_key, payload, headers, content_type, message_type, max_attempts,
                        available_at)
VALUES (CASE WHEN COALESCE(CHAR_LENGTH(p_key), 0) = 0 THEN FLOOR(RAND() * {lane_count})
             ELSE MOD(CONV(LEFT(SHA2(p_key, 256), 8), 16, 10), {lane_count}) END,
        COALESCE(p_id, UUID()), CASE WHEN CHAR_LENGTH(p_topic) > 0 THEN p_topic END,
        CASE WHEN CHAR_LENGTH(p_key) > 0 THEN p_key END, p_payload, p_headers, p_content_type, p_message_type,
        p_max_attempts, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', p_available_at));
-- Every message and its state, under the conditions by which relays and lists find them. Times are microseconds since
-- 1970, UTC.
-- statement
CREATE OR REPLACE SQL SECURITY INVOKER VIEW {status} (lane, seq, id, topic, partition_key, state, attempts, last_error,
                                                      created_at, available_at, published_at) AS
SELECT m.lane, m.seq, m.id, m.topic, m.partition_key,
       CASE WHEN m.available_at > {now} THEN 'scheduled' ELSE 'pending' END,
       0, CAST(NULL AS {text}), m.created_at, m.available_at, CAST(NULL AS SIGNED)
FROM {messages} m
UNION ALL
SELECT d.lane, d.seq, d.id, d.topic, d.partition_key,
       CASE d.state WHEN 2 THEN 'scheduled' WHEN 3 THEN 'retry' WHEN 4 THEN 'held' ELSE 'dead' END,
       d.attempts, d.last_error, d.created_at, d.available_at, CAST(NULL AS SIGNED)
FROM {deferred} d
UNION ALL
SELECT p.lane, p.seq, p.id, p.topic, p.partition_key, 'published', p.attempts, p.last_error, p.created_at,
       CAST(NULL AS SIGNED), p.published_at
FROM {published} p;
-- Who redrove, discarded or purged how many messages, and which.
-- statement
CREATE TABLE IF NOT EXISTS {audit} (
    id       CHAR(36)      NOT NULL PRIMARY KEY,
    done_at  BIGINT        NOT NULL DEFAULT {now},
    who      VARCHAR(200)  NOT NULL,
    what     VARCHAR(20)   NOT NULL,
    which    VARCHAR(1000) NOT NULL,
    messages BIGINT        NOT NULL,
    KEY done_at (done_at)
){table_end};
-- statement
CREATE TABLE IF NOT EXISTS {meta} (name VARCHAR(40) NOT NULL PRIMARY KEY, value VARCHAR(200) NOT NULL){table_end};
-- statement
INSERT INTO {meta} (name, value) VALUES ('version', '1'), ('lanes', '{lane_count}'), ('settle', '{settle}'),
    ('dialect', 'mariadb');
