-- liboutbox: tables of one outbox.
-- statement
CREATE TABLE {messages} (
    seq           BIGINT   IDENTITY(1, 1) NOT NULL,
    lane          SMALLINT NOT NULL CHECK (lane BETWEEN 0 AND {lane_count} - 1),
    created_at    BIGINT   NOT NULL DEFAULT {now},
    available_at  BIGINT,
    max_attempts  INTEGER CHECK (max_attempts >= 1),
    id            CHAR(36) NOT NULL,
    topic         NVARCHAR(255) COLLATE Latin1_General_100_BIN2 NOT NULL,
    partition_key NVARCHAR(255) COLLATE Latin1_General_100_BIN2,
    headers       NVARCHAR(MAX),
    content_type  NVARCHAR(255) COLLATE Latin1_General_100_BIN2,
    message_type  NVARCHAR(255) COLLATE Latin1_General_100_BIN2,
    payload       VARBINARY(MAX) NOT NULL,
    PRIMARY KEY (lane, seq)
);
-- statement
CREATE TABLE {lanes} (
    lane        SMALLINT NOT NULL PRIMARY KEY,
    owner       NVARCHAR(200),
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
WITH n (i) AS (SELECT -1 UNION ALL SELECT i + 1 FROM n WHERE i < {lane_count} - 1)
INSERT INTO {lanes} (lane) SELECT i FROM n OPTION (MAXRECURSION 2000);
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
    topic         NVARCHAR(255) COLLATE Latin1_General_100_BIN2 NOT NULL,
    partition_key NVARCHAR(255) COLLATE Latin1_General_100_BIN2,
    headers       NVARCHAR(MAX),
    content_type  NVARCHAR(255) COLLATE Latin1_General_100_BIN2,
    message_type  NVARCHAR(255) COLLATE Latin1_General_100_BIN2,
    last_error    NVARCHAR(1000),
    payload       VARBINARY(MAX) NOT NULL,
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
    topic         NVARCHAR(255) COLLATE Latin1_General_100_BIN2 NOT NULL,
    partition_key NVARCHAR(255) COLLATE Latin1_General_100_BIN2,
    headers       NVARCHAR(MAX),
    content_type  NVARCHAR(255) COLLATE Latin1_General_100_BIN2,
    message_type  NVARCHAR(255) COLLATE Latin1_General_100_BIN2,
    last_error    NVARCHAR(1000),
    payload       VARBINARY(MAX) NOT NULL,
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
    dedup_key  NVARCHAR(241) COLLATE Latin1_General_100_BIN2 NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL DEFAULT {now}
);
-- statement
CREATE INDEX {index}dedup_at ON {dedup_on} (created_at);
-- The lane of a key: the first four bytes, big-endian, of the SHA-256 of its UTF-8, modulo the lanes. Without a key, NULL.
-- Only where the server knows UTF-8, since 2019.
-- statement
IF COLLATIONPROPERTY('Latin1_General_100_BIN2_UTF8', 'CodePage') = 65001
EXEC('CREATE FUNCTION {lane_fn}(@partition_key NVARCHAR(255), @lanes INTEGER) RETURNS SMALLINT AS
BEGIN
    RETURN CASE WHEN DATALENGTH(@partition_key) > 0 THEN CAST(0x00000000 + SUBSTRING(HASHBYTES(''SHA2_256'',
        CAST(@partition_key COLLATE Latin1_General_100_BIN2_UTF8 AS VARCHAR(1020))), 1, 4) AS BIGINT) % @lanes END
END');
-- Enqueues with plain SQL, in the caller's transaction. Without an id, the message gets one; @available_at is in UTC.
-- statement
IF COLLATIONPROPERTY('Latin1_General_100_BIN2_UTF8', 'CodePage') = 65001
EXEC('CREATE PROCEDURE {enqueue_fn} @topic NVARCHAR(255), @payload VARBINARY(MAX), @partition_key NVARCHAR(255) = NULL,
    @headers NVARCHAR(MAX) = NULL, @content_type NVARCHAR(255) = NULL, @message_type NVARCHAR(255) = NULL,
    @available_at DATETIME2(6) = NULL, @max_attempts INTEGER = NULL, @id CHAR(36) = NULL AS
INSERT INTO {messages} (lane, id, topic, partition_key, payload, headers, content_type, message_type, max_attempts,
                        available_at)
VALUES (CASE WHEN DATALENGTH(@partition_key) > 0 THEN CAST(0x00000000 + SUBSTRING(HASHBYTES(''SHA2_256'',
        CAST(@partition_key COLLATE Latin1_General_100_BIN2_UTF8 AS VARCHAR(1020))), 1, 4) AS BIGINT)
             ELSE CAST(0x00000000 + CRYPT_GEN_RANDOM(4) AS BIGINT) END % {lane_count},
        LOWER(COALESCE(@id, CAST(NEWID() AS CHAR(36)))), @topic,
        CASE WHEN DATALENGTH(@partition_key) > 0 THEN @partition_key END, @payload, @headers, @content_type, @message_type,
        @max_attempts, DATEDIFF_BIG(MICROSECOND, ''1970-01-01'', @available_at))');
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
    done_at  BIGINT NOT NULL DEFAULT {now},
    who      NVARCHAR(200)  NOT NULL,
    what     NVARCHAR(20)  NOT NULL,
    which    NVARCHAR(1000) NOT NULL,
    messages BIGINT        NOT NULL
);
-- statement
CREATE INDEX {index}audit_at ON {audit_on} (done_at);
-- statement
CREATE TABLE {meta} (name VARCHAR(40) NOT NULL PRIMARY KEY, value NVARCHAR(200) NOT NULL);
-- statement
INSERT INTO {meta} (name, value) VALUES ('version', '1'), ('lanes', '{lane_count}'), ('settle', '{settle}'),
    ('dialect', 'sqlserver');
