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
-- What outbox_enqueue ends in when it gave an id or a dedup_key: both rows, or neither, in a transaction that is open.
-- After a deadlock nothing is left to go back to.
-- statement
DELIMITER //
CREATE PROCEDURE IF NOT EXISTS {enqueue_once_fn}(IN p_topic VARCHAR(255) CHARACTER SET utf8mb4, IN p_payload LONGBLOB,
    IN p_key VARCHAR(255) CHARACTER SET utf8mb4, IN p_headers LONGTEXT CHARACTER SET utf8mb4,
    IN p_content_type VARCHAR(255) CHARACTER SET utf8mb4, IN p_message_type VARCHAR(255) CHARACTER SET utf8mb4,
    IN p_available_at BIGINT, IN p_max_attempts INTEGER, IN p_id CHAR(36), IN p_made_id CHAR(36),
    IN p_dedup_key VARCHAR(200) CHARACTER SET utf8mb4, IN p_lane SMALLINT) MODIFIES SQL DATA SQL SECURITY INVOKER
BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
        DECLARE CONTINUE HANDLER FOR 1305 BEGIN END;
        ROLLBACK TO SAVEPOINT outbox_enqueue;
        RESIGNAL;
    END;
    SAVEPOINT outbox_enqueue;
    INSERT INTO {dedup} (dedup_key)
    SELECT used FROM (SELECT CONCAT('id:', p_id) AS used UNION ALL SELECT CONCAT('key:', p_dedup_key)) u
    WHERE used IS NOT NULL;
    INSERT INTO {messages} (lane, id, topic, partition_key, payload, headers, content_type, message_type, max_attempts,
                            available_at)
    VALUES (p_lane, p_made_id, p_topic, p_key, p_payload, p_headers, p_content_type, p_message_type, p_max_attempts,
            p_available_at);
    RELEASE SAVEPOINT outbox_enqueue;
END//
DELIMITER ;
-- The same in a transaction of its own. Apart from the others, because what commits cannot be called by triggers.
-- statement
DELIMITER //
CREATE PROCEDURE IF NOT EXISTS {enqueue_alone_fn}(IN p_topic VARCHAR(255) CHARACTER SET utf8mb4, IN p_payload LONGBLOB,
    IN p_key VARCHAR(255) CHARACTER SET utf8mb4, IN p_headers LONGTEXT CHARACTER SET utf8mb4,
    IN p_content_type VARCHAR(255) CHARACTER SET utf8mb4, IN p_message_type VARCHAR(255) CHARACTER SET utf8mb4,
    IN p_available_at BIGINT, IN p_max_attempts INTEGER, IN p_id CHAR(36), IN p_made_id CHAR(36),
    IN p_dedup_key VARCHAR(200) CHARACTER SET utf8mb4, IN p_lane SMALLINT) MODIFIES SQL DATA SQL SECURITY INVOKER
BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
        ROLLBACK;
        RESIGNAL;
    END;
    START TRANSACTION;
    CALL {enqueue_once_fn}(p_topic, p_payload, p_key, p_headers, p_content_type, p_message_type, p_available_at,
                           p_max_attempts, p_id, p_made_id, p_dedup_key, p_lane);
    COMMIT;
END//
DELIMITER ;
-- Enqueues with plain SQL, in the caller's transaction; @outbox_id is the id. It checks what the library checks, before
-- anything is written. outbox(7) describes it. A key of blanks is a key: a comparison with '' would take it for none.
-- statement
DELIMITER //
CREATE PROCEDURE IF NOT EXISTS {enqueue_fn}(IN p_topic LONGTEXT CHARACTER SET utf8mb4, IN p_payload LONGBLOB,
    IN p_key LONGTEXT CHARACTER SET utf8mb4, IN p_headers LONGTEXT CHARACTER SET utf8mb4,
    IN p_content_type LONGTEXT CHARACTER SET utf8mb4, IN p_message_type LONGTEXT CHARACTER SET utf8mb4,
    IN p_available_at DATETIME(6), IN p_max_attempts INTEGER, IN p_id VARCHAR(255) CHARACTER SET utf8mb4,
    IN p_dedup_key LONGTEXT CHARACTER SET utf8mb4, IN p_delay DECIMAL(20, 6)) MODIFIES SQL DATA SQL SECURITY INVOKER
BEGIN
    DECLARE v_control VARCHAR(20) CHARACTER SET utf8mb4
        DEFAULT CONCAT('[', CHAR(0 USING utf8mb4), '-', CHAR(31 USING utf8mb4), CHAR(127 USING utf8mb4), ']');
    DECLARE v_clock BIGINT DEFAULT {now};
    DECLARE v_wrong, v_name, v_names, v_value, v_values LONGTEXT CHARACTER SET utf8mb4;
    DECLARE v_made CHAR(36) DEFAULT LOWER(p_id);
    DECLARE v_at BIGINT DEFAULT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', p_available_at);
    DECLARE v_lane, i, v_alone INTEGER DEFAULT 0;

    SET v_wrong = CASE
        WHEN COALESCE(CHAR_LENGTH(p_topic), 0) = 0 THEN 'topic is required'
        WHEN p_payload IS NULL THEN 'payload is NULL'
        WHEN p_max_attempts < 1 THEN 'max_attempts must be at least 1, or NULL for the limit of the relay'
        WHEN p_available_at IS NOT NULL AND p_delay IS NOT NULL THEN 'available_at and delay exclude each other'
        WHEN p_available_at IS NOT NULL AND COALESCE(v_at, -1) < 0 THEN 'available_at must not be before 1970'
        WHEN p_delay < 0 THEN 'delay must not be negative'
        WHEN p_id NOT LIKE '________-____-____-____-____________' OR CHAR_LENGTH(REPLACE(p_id, '-', '')) <> 32
            OR REPLACE(p_id, '-', '') REGEXP '[^0-9a-fA-F]' THEN 'id is not a UUID'
        WHEN COALESCE(JSON_VALID(p_headers), 1) = 0 OR JSON_TYPE(p_headers) <> 'OBJECT' THEN
            'headers must be a JSON object'
    END;
    WHILE v_wrong IS NULL AND i < 5 DO
        SET v_name = ELT(i + 1, 'topic', 'content_type', 'message_type', 'partition_key', 'dedup_key'),
            v_value = ELT(i + 1, p_topic, p_content_type, p_message_type, p_key, p_dedup_key),
            v_wrong = CASE
                WHEN CHAR_LENGTH(v_value) > IF(i < 4, 255, 200) THEN
                    CONCAT(v_name, ' has ', CHAR_LENGTH(v_value), ' characters, ', IF(i < 4, 255, 200), ' are allowed')
                WHEN i < 3 AND v_value REGEXP v_control THEN
                    CONCAT(v_name, ' has a control character, which brokers would misread')
                WHEN LOCATE(CHAR(0 USING utf8mb4), v_value) > 0 THEN CONCAT(v_name, ' has a NUL character')
            END,
            i = i + 1;
    END WHILE;
    IF v_wrong IS NULL AND p_headers IS NOT NULL THEN
        SET i = 0, v_names = JSON_KEYS(p_headers), v_values = JSON_EXTRACT(p_headers, '$.*');
        IF JSON_LENGTH(v_names) <> JSON_LENGTH(p_headers) THEN
            SET v_wrong = 'a header is there twice';
        END IF;
        WHILE v_wrong IS NULL AND i < JSON_LENGTH(p_headers) DO
            SET v_name = JSON_UNQUOTE(JSON_EXTRACT(v_names, CONCAT('$[', i, ']'))),
                v_value = JSON_EXTRACT(v_values, CONCAT('$[', i, ']')),
                v_wrong = CASE
                    WHEN CHAR_LENGTH(v_name) = 0 THEN 'a header has no name'
                    WHEN JSON_TYPE(v_value) <> 'STRING' THEN CONCAT('header "', LEFT(v_name, 60), '" must be a string')
                    WHEN v_name REGEXP v_control OR JSON_UNQUOTE(v_value) REGEXP v_control THEN
                        'a header has a control character, which brokers would misread'
                END,
                i = i + 1;
        END WHILE;
    END IF;
    IF v_wrong IS NOT NULL THEN
        SET v_wrong = CONCAT('cannot enqueue: ', v_wrong, '; nothing was written');
        SIGNAL SQLSTATE '22023' SET MESSAGE_TEXT = v_wrong;
    END IF;
    IF v_made IS NULL THEN
        SET v_name = SHA2(CONCAT(UUID(), RAND()), 256), v_value = LPAD(HEX(v_clock DIV 1000), 12, '0'),
            v_made = LOWER(CONCAT(LEFT(v_value, 8), '-', RIGHT(v_value, 4), '-7', LEFT(v_name, 3), '-',
                                  ELT(1 + ASCII(RIGHT(v_name, 1)) MOD 4, '8', '9', 'a', 'b'), SUBSTR(v_name, 4, 3), '-',
                                  SUBSTR(v_name, 7, 12)));
    END IF;
    SET v_lane = CASE WHEN COALESCE(CHAR_LENGTH(p_key), 0) = 0 THEN FLOOR(RAND() * {lane_count})
                 ELSE MOD(CONV(LEFT(SHA2(p_key, 256), 8), 16, 10), {lane_count}) END,
        v_at = COALESCE(v_at, v_clock + CAST(p_delay * 1000000 AS SIGNED)),
        p_key = CASE WHEN CHAR_LENGTH(p_key) > 0 THEN p_key END,
        p_content_type = CASE WHEN CHAR_LENGTH(p_content_type) > 0 THEN p_content_type END,
        p_message_type = CASE WHEN CHAR_LENGTH(p_message_type) > 0 THEN p_message_type END,
        p_dedup_key = CASE WHEN CHAR_LENGTH(p_dedup_key) > 0 THEN p_dedup_key END,
        p_headers = CASE WHEN JSON_LENGTH(p_headers) > 0 THEN p_headers END;
    IF p_id IS NULL AND p_dedup_key IS NULL THEN
        INSERT INTO {messages} (lane, id, topic, partition_key, payload, headers, content_type, message_type,
                                max_attempts, available_at)
        VALUES (v_lane, v_made, p_topic, p_key, p_payload, p_headers, p_content_type, p_message_type, p_max_attempts,
                v_at);
    ELSE
        -- A savepoint that is gone at once was set outside of a transaction.
        SAVEPOINT outbox_enqueue;
        BEGIN
            DECLARE CONTINUE HANDLER FOR 1305 SET v_alone = 1;
            RELEASE SAVEPOINT outbox_enqueue;
        END;
        IF v_alone = 1 THEN
            CALL {enqueue_alone_fn}(p_topic, p_payload, p_key, p_headers, p_content_type, p_message_type, v_at,
                                    p_max_attempts, LOWER(p_id), v_made, p_dedup_key, v_lane);
        ELSE
            CALL {enqueue_once_fn}(p_topic, p_payload, p_key, p_headers, p_content_type, p_message_type, v_at,
                                   p_max_attempts, LOWER(p_id), v_made, p_dedup_key, v_lane);
        END IF;
    END IF;
    SET @outbox_id = v_made;
END//
DELIMITER ;
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
