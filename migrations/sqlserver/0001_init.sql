-- liboutbox: tables of one outbox.
-- OPENJSON is a name like any other below level 130, and would be missed only when a message is enqueued.
-- statement
IF (SELECT compatibility_level FROM sys.databases WHERE name = DB_NAME()) < 130
    THROW 50000, N'this database behaves like a server before 2016: ALTER DATABASE ... SET COMPATIBILITY_LEVEL = 130 or more', 1;
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
-- Enqueues with plain SQL, in the caller's transaction, or in one of its own: all or nothing. It checks what the library
-- checks, before anything is written. Without an id, the message gets one; @message_id tells it. @available_at is in UTC.
-- statement
IF COLLATIONPROPERTY('Latin1_General_100_BIN2_UTF8', 'CodePage') = 65001
EXEC('CREATE PROCEDURE {enqueue_fn} @topic NVARCHAR(MAX), @payload VARBINARY(MAX), @partition_key NVARCHAR(MAX) = NULL,
    @headers NVARCHAR(MAX) = NULL, @content_type NVARCHAR(MAX) = NULL, @message_type NVARCHAR(MAX) = NULL,
    @available_at DATETIME2(6) = NULL, @max_attempts INTEGER = NULL, @id NVARCHAR(255) = NULL,
    @dedup_key NVARCHAR(MAX) = NULL, @delay DECIMAL(20, 6) = NULL, @message_id CHAR(36) = NULL OUTPUT AS
BEGIN
    SET NOCOUNT ON;
    DECLARE @control NVARCHAR(20) = N''%['' + NCHAR(0) + N''-'' + NCHAR(31) + NCHAR(127) + N'']%'', @wrong NVARCHAR(400),
        @alone BIT = CASE WHEN @@TRANCOUNT = 0 THEN 1 ELSE 0 END;
    SET @wrong = CASE
        WHEN COALESCE(DATALENGTH(@topic), 0) = 0 THEN N''topic is required''
        WHEN @payload IS NULL THEN N''payload is NULL''
        WHEN @max_attempts < 1 THEN N''max_attempts must be at least 1, or NULL for the limit of the relay''
        WHEN @available_at IS NOT NULL AND @delay IS NOT NULL THEN N''available_at and delay exclude each other''
        WHEN @available_at < ''1970-01-01'' THEN N''available_at must not be before 1970''
        WHEN @delay < 0 THEN N''delay must not be negative''
        WHEN DATALENGTH(@id) <> 72 OR TRANSLATE(LOWER(@id COLLATE Latin1_General_100_BIN2), N''0123456789abcdef'',
            N''0000000000000000'') <> N''00000000-0000-0000-0000-000000000000'' THEN N''id is not a UUID''
        WHEN ISJSON(@headers) = 0 OR SUBSTRING(@headers, PATINDEX(N''%[^ '' + NCHAR(9) + NCHAR(10) + NCHAR(13) + N'']%'',
            @headers COLLATE Latin1_General_100_BIN2), 1) <> NCHAR(123) THEN N''headers must be a JSON object''
    END;
    IF @wrong IS NULL
        SELECT TOP (1) @wrong = CASE
            WHEN DATALENGTH(t.text) / 2 > t.most THEN
                CONCAT(t.name, N'' has '', DATALENGTH(t.text) / 2, N'' characters, '', t.most, N'' are allowed'')
            WHEN t.n <= 3 THEN t.name + N'' has a control character, which brokers would misread''
            ELSE t.name + N'' has a NUL character'' END
        FROM (VALUES (1, N''topic'', @topic, 255), (2, N''content_type'', @content_type, 255),
                     (3, N''message_type'', @message_type, 255), (4, N''partition_key'', @partition_key, 255),
                     (5, N''dedup_key'', @dedup_key, 200)) t (n, name, text, most)
        WHERE DATALENGTH(t.text) / 2 > t.most OR t.text COLLATE Latin1_General_100_BIN2 LIKE
              CASE WHEN t.n <= 3 THEN @control ELSE N''%'' + NCHAR(0) + N''%'' END
        ORDER BY t.n;
    IF @wrong IS NULL AND @headers IS NOT NULL
        SELECT TOP (1) @wrong = CASE
            WHEN DATALENGTH(h.name) = 0 THEN N''a header has no name''
            WHEN h.kind <> 1 THEN CONCAT(N''header "'', LEFT(h.name, 60), N''" must be a string'')
            WHEN h.times > 1 THEN N''a header is there twice''
            ELSE N''a header has a control character, which brokers would misread'' END
        FROM (SELECT [key] AS name, [value] AS text, [type] AS kind, COUNT(*) OVER (PARTITION BY [key]) AS times
              FROM OPENJSON(@headers)) h
        WHERE DATALENGTH(h.name) = 0 OR h.kind <> 1 OR h.times > 1
              OR h.name COLLATE Latin1_General_100_BIN2 LIKE @control
              OR h.text COLLATE Latin1_General_100_BIN2 LIKE @control;
    SET @wrong = N''cannot enqueue: '' + REPLACE(@wrong, N''%'', N''%%'') + N''; nothing was written''; /* as THROW reads it */
    IF @wrong IS NOT NULL
        THROW 50000, @wrong, 1;
    SET @message_id = LOWER(COALESCE(@id, CAST(NEWID() AS CHAR(36))));
    BEGIN TRY
        IF @alone = 1 BEGIN TRANSACTION;
        IF @alone = 0 SAVE TRANSACTION outbox_enqueue;
        INSERT INTO {dedup} (dedup_key)
        SELECT u.used + N''.'' FROM (VALUES (N''id:'' + LOWER(@id)),
            (N''key:'' + CASE WHEN DATALENGTH(@dedup_key) > 0 THEN @dedup_key END)) u (used) WHERE u.used IS NOT NULL;
        INSERT INTO {messages} (lane, id, topic, partition_key, payload, headers, content_type, message_type, max_attempts,
                                available_at)
        VALUES (CASE WHEN DATALENGTH(@partition_key) > 0 THEN CAST(0x00000000 + SUBSTRING(HASHBYTES(''SHA2_256'',
                CAST(@partition_key COLLATE Latin1_General_100_BIN2_UTF8 AS VARCHAR(1020))), 1, 4) AS BIGINT)
                     ELSE CAST(0x00000000 + CRYPT_GEN_RANDOM(4) AS BIGINT) END % {lane_count},
                @message_id, @topic, CASE WHEN DATALENGTH(@partition_key) > 0 THEN @partition_key END, @payload,
                CASE WHEN EXISTS (SELECT 1 FROM OPENJSON(@headers)) THEN @headers END,
                CASE WHEN DATALENGTH(@content_type) > 0 THEN @content_type END,
                CASE WHEN DATALENGTH(@message_type) > 0 THEN @message_type END, @max_attempts,
                COALESCE(DATEDIFF_BIG(MICROSECOND, ''1970-01-01'', @available_at),
                         DATEDIFF_BIG(MICROSECOND, ''1970-01-01'', SYSUTCDATETIME()) + CAST(@delay * 1000000 AS BIGINT)));
        IF @alone = 1 COMMIT TRANSACTION;
    END TRY
    BEGIN CATCH
        IF @alone = 1 AND XACT_STATE() <> 0 ROLLBACK TRANSACTION;
        IF @alone = 0 AND XACT_STATE() = 1 ROLLBACK TRANSACTION outbox_enqueue;
        THROW;
    END CATCH
END');
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
