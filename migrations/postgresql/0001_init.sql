-- liboutbox: tables of one outbox.
-- tx stands before seq: defaults are evaluated in column order, so a transaction has its xid before it draws a number.
-- statement
CREATE TABLE {messages} (
    tx            xid8     NOT NULL DEFAULT pg_current_xact_id(),
    seq           bigint   NOT NULL GENERATED ALWAYS AS IDENTITY,
    lane          smallint NOT NULL CHECK (lane BETWEEN 0 AND {lane_count} - 1),
    created_at    bigint   NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
    available_at  bigint,
    max_attempts  integer  CHECK (max_attempts >= 1),
    id            uuid     NOT NULL,
    topic         text     NOT NULL,
    partition_key text,
    headers       text,
    content_type  text,
    message_type  text,
    payload       bytea    NOT NULL,
    PRIMARY KEY (lane, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05);
-- statement
CREATE INDEX {prefix}messages_tx ON {messages} (lane, tx, seq);
-- A bulk load by one transaction would teach the planner that tx has one value.
-- statement
ALTER TABLE {messages} ALTER COLUMN tx SET (n_distinct = -0.1);
-- statement
CREATE TABLE {lanes} (
    lane        smallint PRIMARY KEY WITH (deduplicate_items = off),
    owner       text,
    token       bigint  NOT NULL DEFAULT 0,
    lease_until bigint  NOT NULL DEFAULT 0,
    batch       integer NOT NULL DEFAULT 0,
    suspect     integer NOT NULL DEFAULT 0,
    pos         bigint  NOT NULL DEFAULT 0,
    low         bigint  NOT NULL DEFAULT 0,
    cleaned     bigint  NOT NULL DEFAULT 0,
    snap        pg_snapshot NOT NULL DEFAULT pg_current_snapshot(),
    xbound      xid8    NOT NULL DEFAULT pg_current_xact_id()
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0);
-- Lane -1 is the cleaner's: whoever leases it cleans.
-- statement
INSERT INTO {lanes} (lane) SELECT i FROM generate_series(-1, {lane_count} - 1) i;
-- statement
CREATE TABLE {deferred} (
    lane          smallint NOT NULL,
    seq           bigint   NOT NULL,
    state         smallint NOT NULL,
    attempts      integer  NOT NULL,
    available_at  bigint,
    key_hash      bigint   NOT NULL,
    deferred_at   bigint   NOT NULL,
    created_at    bigint   NOT NULL,
    max_attempts  integer,
    id            uuid     NOT NULL,
    topic         text     NOT NULL,
    partition_key text,
    headers       text,
    content_type  text,
    message_type  text,
    last_error    text,
    payload       bytea    NOT NULL,
    PRIMARY KEY (lane, seq)
);
-- statement
CREATE INDEX {prefix}deferred_due ON {deferred} (lane, available_at) WHERE available_at IS NOT NULL;
-- statement
CREATE INDEX {prefix}deferred_key ON {deferred} (lane, key_hash, state, seq);
-- statement
CREATE TABLE {published} (
    lane          smallint NOT NULL,
    seq           bigint   NOT NULL,
    attempts      integer  NOT NULL,
    published_at  bigint   NOT NULL,
    created_at    bigint   NOT NULL,
    max_attempts  integer,
    id            uuid     NOT NULL,
    topic         text     NOT NULL,
    partition_key text,
    headers       text,
    content_type  text,
    message_type  text,
    last_error    text,
    payload       bytea    NOT NULL,
    PRIMARY KEY (lane, seq)
);
-- statement
CREATE INDEX {prefix}published_at ON {published} (published_at);
-- statement
CREATE TABLE {positions} (
    lane         smallint    NOT NULL,
    pos          bigint      NOT NULL,
    low          bigint      NOT NULL,
    snap         pg_snapshot NOT NULL,
    published_at bigint      NOT NULL,
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY -- publications refuse deletes without a key
);
-- statement
CREATE INDEX {prefix}positions_at ON {positions} (lane, published_at);
-- statement
CREATE INDEX {prefix}positions_pos ON {positions} (lane, pos, published_at);
-- statement
CREATE TABLE {dedup} (
    dedup_key  text   PRIMARY KEY,
    created_at bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
);
-- statement
CREATE INDEX {prefix}dedup_at ON {dedup} (created_at);
-- Who redrove, discarded or purged how many messages, and which.
-- statement
CREATE TABLE {audit} (
    id       text   PRIMARY KEY,
    done_at  bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
    who      text   NOT NULL,
    what     text   NOT NULL,
    which    text   NOT NULL,
    messages bigint NOT NULL
);
-- statement
CREATE INDEX {prefix}audit_at ON {audit} (done_at);
-- The lane of a key: the first four bytes, big-endian, of its SHA-256, modulo the lanes. Without a key, any.
-- statement
CREATE FUNCTION {lane_fn}(partition_key text, lanes integer) RETURNS smallint LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT CASE WHEN coalesce(partition_key, '') = '' THEN floor(random() * lanes)::smallint
           ELSE ((('x' || substr(encode(sha256(convert_to(partition_key, 'UTF8')), 'hex'), 1, 8))::bit(32)::bigint
                 & 4294967295) % lanes)::smallint END
$$;
-- Enqueues with plain SQL, in the caller's transaction; returns the id. It checks what the library checks, before anything
-- is written. outbox(7) describes it.
-- statement
CREATE FUNCTION {enqueue_fn}(topic text, payload bytea, partition_key text DEFAULT NULL, headers jsonb DEFAULT NULL,
                             content_type text DEFAULT NULL, message_type text DEFAULT NULL,
                             available_at timestamptz DEFAULT NULL, max_attempts integer DEFAULT NULL,
                             id uuid DEFAULT NULL, dedup_key text DEFAULT NULL, delay interval DEFAULT NULL)
RETURNS uuid LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    control CONSTANT text := '[' || chr(1) || '-' || chr(31) || chr(127) || ']';
    clock CONSTANT timestamptz := clock_timestamp();
    names CONSTANT text[] := ARRAY['topic', 'content_type', 'message_type', 'partition_key', 'dedup_key'];
    texts CONSTANT text[] := ARRAY[topic, content_type, message_type, partition_key, dedup_key];
    made uuid := id;
    most integer;
    wrong text;
    used text;
BEGIN
    wrong := CASE
        WHEN coalesce(topic, '') = '' THEN 'topic is required'
        WHEN payload IS NULL THEN 'payload is NULL'
        WHEN max_attempts < 1 THEN 'max_attempts must be at least 1, or NULL for the limit of the relay'
        WHEN available_at IS NOT NULL AND delay IS NOT NULL THEN 'available_at and delay exclude each other'
        WHEN NOT isfinite(available_at) OR available_at < to_timestamp(0) THEN 'available_at must not be infinite or before 1970'
        WHEN clock + delay < clock THEN 'delay must not be negative'
        WHEN jsonb_typeof(headers) <> 'object' THEN 'headers must be a JSON object'
    END;
    FOR i IN 1 .. CASE WHEN wrong IS NULL THEN 5 ELSE 0 END LOOP
        most := CASE WHEN i = 5 THEN 200 ELSE 255 END;
        wrong := CASE
            WHEN wrong IS NOT NULL THEN wrong
            WHEN char_length(texts[i]) > most THEN
                names[i] || ' has ' || char_length(texts[i]) || ' characters, ' || most || ' are allowed'
            WHEN i <= 3 AND texts[i] COLLATE "C" ~ control THEN
                names[i] || ' has a control character, which brokers would misread'
        END;
    END LOOP;
    IF wrong IS NULL AND headers IS NOT NULL THEN
        SELECT CASE WHEN h.key = '' THEN 'a header has no name'
                    WHEN jsonb_typeof(h.value) <> 'string' THEN 'header "' || left(h.key, 60) || '" must be a string'
                    ELSE 'a header has a control character, which brokers would misread' END
        INTO wrong FROM jsonb_each(headers) h
        WHERE h.key = '' OR jsonb_typeof(h.value) <> 'string' OR (h.key || (h.value #>> ARRAY[]::text[])) COLLATE "C" ~ control
        LIMIT 1;
    END IF;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'cannot enqueue: %; nothing was written', wrong USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOREACH used IN ARRAY ARRAY['id:' || id, 'key:' || nullif(dedup_key, '')] LOOP
        CONTINUE WHEN used IS NULL;
        INSERT INTO {dedup} (dedup_key) VALUES (used) ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'cannot enqueue: a message with this id or dedup_key was enqueued before (%)', used
                USING ERRCODE = 'unique_violation';
        END IF;
    END LOOP;
    IF made IS NULL THEN
        made := lpad(to_hex(floor(extract(epoch FROM clock) * 1000)::bigint), 12, '0') || '7'
                || substr(replace(gen_random_uuid()::text, '-', ''), 14);
    END IF;
    INSERT INTO {messages} (lane, id, topic, partition_key, payload, headers, content_type, message_type,
                            max_attempts, available_at)
    VALUES ({lane_fn}(partition_key, {lane_count}), made, topic, nullif(partition_key, ''), payload,
            nullif(headers, jsonb_build_object())::text, nullif(content_type, ''), nullif(message_type, ''), max_attempts,
            (extract(epoch FROM coalesce(available_at, clock + delay)) * 1000000)::bigint);
    RETURN made;
END
$$;
-- The payload as text, which is what a literal without a type is taken for, and as JSON.
-- statement
CREATE FUNCTION {enqueue_fn}(topic text, payload text, partition_key text DEFAULT NULL, headers jsonb DEFAULT NULL,
                             content_type text DEFAULT NULL, message_type text DEFAULT NULL,
                             available_at timestamptz DEFAULT NULL, max_attempts integer DEFAULT NULL,
                             id uuid DEFAULT NULL, dedup_key text DEFAULT NULL, delay interval DEFAULT NULL)
RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT {enqueue_fn}(topic, convert_to(payload, 'UTF8'), partition_key, headers, content_type, message_type,
                        available_at, max_attempts, id, dedup_key, delay)
$$;
-- statement
CREATE FUNCTION {enqueue_fn}(topic text, payload json, partition_key text DEFAULT NULL, headers jsonb DEFAULT NULL,
                             content_type text DEFAULT NULL, message_type text DEFAULT NULL,
                             available_at timestamptz DEFAULT NULL, max_attempts integer DEFAULT NULL,
                             id uuid DEFAULT NULL, dedup_key text DEFAULT NULL, delay interval DEFAULT NULL)
RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT {enqueue_fn}(topic, convert_to(payload::text, 'UTF8'), partition_key, headers,
                        coalesce(content_type, 'application/json'), message_type, available_at, max_attempts, id, dedup_key,
                        delay)
$$;
-- statement
CREATE FUNCTION {enqueue_fn}(topic text, payload jsonb, partition_key text DEFAULT NULL, headers jsonb DEFAULT NULL,
                             content_type text DEFAULT NULL, message_type text DEFAULT NULL,
                             available_at timestamptz DEFAULT NULL, max_attempts integer DEFAULT NULL,
                             id uuid DEFAULT NULL, dedup_key text DEFAULT NULL, delay interval DEFAULT NULL)
RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT {enqueue_fn}(topic, convert_to(payload::text, 'UTF8'), partition_key, headers,
                        coalesce(content_type, 'application/json'), message_type, available_at, max_attempts, id, dedup_key,
                        delay)
$$;
-- These find the tables, and nothing else of their names, whatever search_path the caller has.
-- statement
DO $$
DECLARE
    f record;
BEGIN
    FOR f IN SELECT p.oid::regprocedure AS name, n.nspname AS home FROM pg_class c
             JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_proc p ON p.pronamespace = n.oid
             WHERE c.oid = '{messages}'::regclass AND p.proname = '{prefix}enqueue' LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp', f.name, f.home);
    END LOOP;
END
$$;
-- Notifies the relays, when one waits. A commit that notifies holds up all others that do, so none must without need:
-- the relay that waits holds an advisory lock, and only whoever finds it held notifies. The lock is let go at once.
-- Its key is the table's oid. The condition is not in WHEN, which is parsed again for each statement, and the trigger
-- comes before the insert because one that comes after is queued first: either would cost more than the locks do.
-- statement
CREATE FUNCTION {notify_fn}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF '{channel}' <> '' AND NOT (pg_catalog.pg_try_advisory_lock_shared(tg_relid::integer, 1)
                                  AND pg_catalog.pg_advisory_unlock_shared(tg_relid::integer, 1)) THEN
        PERFORM pg_catalog.pg_notify('{channel}', tg_relid::text);
    END IF;
    RETURN NULL;
END
$$;
-- statement
CREATE TRIGGER {prefix}wake BEFORE INSERT ON {messages} FOR EACH STATEMENT EXECUTE FUNCTION {notify_fn}();
-- Every message and its state, under the conditions by which relays and lists find them. Times are microseconds since
-- 1970, UTC.
-- statement
CREATE VIEW {status} (lane, seq, id, topic, partition_key, state, attempts, last_error, created_at, available_at,
                      published_at) AS
SELECT m.lane, m.seq, m.id, m.topic, m.partition_key,
       CASE WHEN w.settled THEN 'published' WHEN m.available_at > {now} THEN 'scheduled' ELSE 'pending' END,
       0, NULL::text, m.created_at, m.available_at,
       CASE WHEN w.settled THEN
           (SELECT p.published_at FROM {positions} p WHERE p.lane = m.lane AND p.pos >= m.seq
            AND (m.seq <= p.low OR pg_visible_in_snapshot(m.tx, p.snap))
            ORDER BY p.lane, p.pos, p.published_at LIMIT 1) END
FROM {messages} m JOIN {lanes} l ON l.lane = m.lane
CROSS JOIN LATERAL (SELECT m.seq <= l.pos AND (m.seq <= l.low OR pg_visible_in_snapshot(m.tx, l.snap)) AS settled) w
UNION ALL
SELECT d.lane, d.seq, d.id, d.topic, d.partition_key,
       CASE d.state WHEN 2 THEN 'scheduled' WHEN 3 THEN 'retry' WHEN 4 THEN 'held' ELSE 'dead' END,
       d.attempts, d.last_error, d.created_at, d.available_at, NULL::bigint
FROM {deferred} d
UNION ALL
SELECT p.lane, p.seq, p.id, p.topic, p.partition_key, 'published', p.attempts, p.last_error, p.created_at,
       NULL::bigint, p.published_at
FROM {published} p;
-- statement
CREATE TABLE {meta} (name text PRIMARY KEY, value text NOT NULL);
-- statement
INSERT INTO {meta} (name, value) VALUES ('version', '1'), ('lanes', '{lane_count}'), ('settle', '{settle}'),
    ('dialect', 'postgresql'), ('channel', '{channel}'),
    ('system', (SELECT system_identifier::text || '/' || '{lanes}'::regclass::oid::text FROM pg_control_system()));
