CREATE TABLE tenants (
    id          text PRIMARY KEY,
    name        text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    created_at  timestamptz NOT NULL DEFAULT now(),
    -- At least as many as the limits would count: below the limits, nothing has to be counted.
    stores_made bigint NOT NULL DEFAULT 0
)
--;
CREATE TABLE users (
    id             text PRIMARY KEY,
    tenant_id      text NOT NULL REFERENCES tenants,
    email          text NOT NULL,
    password_hash  text NOT NULL,
    operator       boolean NOT NULL DEFAULT false,
    created_at     timestamptz NOT NULL DEFAULT now()
)
--;
CREATE UNIQUE INDEX users_email ON users (lower(email))
--;
-- Counted per account name, whether the account exists or not: the pause does not disclose which
-- accounts exist.
CREATE TABLE sign_in_failures (
    account    text PRIMARY KEY,
    failures   integer NOT NULL,
    last_at    timestamptz NOT NULL
)
--;
CREATE TABLE sessions (
    hash        bytea PRIMARY KEY,
    user_id     text NOT NULL REFERENCES users ON DELETE CASCADE,
    csrf        text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL
)
--;
CREATE TABLE tokens (
    id            text PRIMARY KEY,
    tenant_id     text NOT NULL REFERENCES tenants,
    user_id       text NOT NULL REFERENCES users ON DELETE CASCADE,
    name          text NOT NULL,
    prefix        text NOT NULL,
    hash          bytea NOT NULL UNIQUE,
    scopes        text[] NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz,
    last_used_at  timestamptz,
    revoked_at    timestamptz
)
--;
CREATE INDEX tokens_tenant ON tokens (tenant_id, created_at DESC)
--;
CREATE TABLE stores (
    id              text PRIMARY KEY,
    tenant_id       text NOT NULL REFERENCES tenants,
    name            text NOT NULL,
    engine          text NOT NULL,
    engine_version  text NOT NULL,
    parameters      jsonb NOT NULL,
    state           text NOT NULL CHECK (state IN
                        ('requested', 'provisioning', 'ready', 'failed', 'deleting', 'deleted')),
    url             text,
    admin_url       text,
    failure         jsonb,
    created_at      timestamptz NOT NULL DEFAULT now(),
    ready_at        timestamptz,
    deleted_at      timestamptz,
    version         bigint NOT NULL DEFAULT 1,
    CHECK ((state = 'deleted') = (deleted_at IS NOT NULL))
) WITH (fillfactor = 60)
--;
-- No index contains the state, and pages keep free space: a change of state updates no index (HOT).
-- A name is a label of a host name, so it is unique among the live stores of all tenants.
CREATE UNIQUE INDEX stores_live_name ON stores (name) WHERE deleted_at IS NULL
--;
CREATE INDEX stores_of_tenant ON stores (tenant_id, created_at DESC, id DESC)
--;
CREATE INDEX stores_live_of_tenant ON stores (tenant_id) WHERE deleted_at IS NULL
--;
-- Count a tenant's stores against both limits; at most as many rows are read as the limits allow. The
-- lock is a separate statement, so that the count sees what the previous holder has committed.
CREATE FUNCTION tenant_room(tenant text, per_hour integer, per_tenant integer, hold boolean)
RETURNS TABLE (in_hour bigint, live bigint, wait float8) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM tenants WHERE id = tenant AND hold FOR UPDATE;
    RETURN QUERY SELECT count(*),
            (SELECT count(*) FROM
                (SELECT 1 FROM stores WHERE tenant_id = tenant AND deleted_at IS NULL LIMIT per_tenant) existing),
            extract(epoch FROM min(created_at) + interval '1 hour' - clock_timestamp())::float8
        FROM (SELECT created_at FROM stores
            WHERE tenant_id = tenant AND created_at > clock_timestamp() - interval '1 hour'
            ORDER BY created_at DESC LIMIT per_hour) newest;
END $$
--;
CREATE TABLE operations (
    id                text PRIMARY KEY,
    number            bigint GENERATED ALWAYS AS IDENTITY,
    tenant_id         text NOT NULL,
    store_id          text NOT NULL REFERENCES stores ON DELETE CASCADE,
    kind              text NOT NULL CHECK (kind IN ('create', 'delete')),
    state             text NOT NULL DEFAULT 'queued' CHECK (state IN
                          ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    error             jsonb,
    attempt           integer NOT NULL DEFAULT 1,
    cancel_requested  boolean NOT NULL DEFAULT false,
    request_id        text,
    requested_by      text NOT NULL,
    fence             bigint NOT NULL DEFAULT 0,
    lease_owner       text,
    lease_until       timestamptz,
    run_after         timestamptz NOT NULL DEFAULT now(),
    announced_at      timestamptz,
    deadline          timestamptz NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now(),
    started_at        timestamptz,
    finished_at       timestamptz
) WITH (fillfactor = 60)
--;
CREATE INDEX operations_of_store ON operations (store_id, number DESC)
--;
CREATE INDEX operations_of_tenant ON operations (tenant_id, number DESC)
--;
CREATE INDEX operations_due ON operations (run_after) WHERE state = 'queued'
--;
CREATE INDEX operations_leased ON operations (lease_until) WHERE state = 'running'
--;
-- Two operations of one store never run at the same time.
CREATE UNIQUE INDEX operations_one_runs ON operations (store_id) WHERE state = 'running'
--;
CREATE TABLE steps (
    operation_id  text NOT NULL REFERENCES operations ON DELETE CASCADE,
    position      integer NOT NULL,
    name          text NOT NULL,
    title         text NOT NULL,
    state         text NOT NULL DEFAULT 'pending' CHECK (state IN
                      ('pending', 'running', 'succeeded', 'failed', 'cancelled')),
    started_at    timestamptz,
    finished_at   timestamptz,
    message       text NOT NULL DEFAULT '',
    PRIMARY KEY (operation_id, position)
)
--;
-- Messages to publish: events until they get their number, all others until NATS has stored them.
CREATE TABLE outbox (
    number        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id            text NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('command', 'event', 'dead_letter', 'raw')),
    subject       text NOT NULL,
    type          text NOT NULL,
    tenant_id     text,
    store_id      text,
    operation_id  text,
    time          timestamptz NOT NULL DEFAULT now(),
    data          json NOT NULL
)
--;
-- The event history, from which replays are served; rows are never changed.
CREATE TABLE events (
    seq           bigint PRIMARY KEY,
    id            text NOT NULL,
    tenant_id     text NOT NULL,
    store_id      text NOT NULL,
    operation_id  text,
    type          text NOT NULL,
    time          timestamptz NOT NULL,
    data          json NOT NULL
)
--;
CREATE INDEX events_of_tenant ON events (tenant_id, seq)
--;
CREATE INDEX events_of_store ON events (store_id, seq)
--;
CREATE INDEX events_time ON events USING brin (time)
--;
-- One row: the relay's lease, the last number assigned to an event, the last number up to which NATS
-- has stored every event, and the first number that is still kept.
CREATE TABLE relay (
    single         boolean PRIMARY KEY DEFAULT true CHECK (single),
    owner          text,
    lease_until    timestamptz,
    last_seq       bigint NOT NULL DEFAULT 0,
    published_seq  bigint NOT NULL DEFAULT 0,
    first_seq      bigint NOT NULL DEFAULT 1
)
--;
INSERT INTO relay DEFAULT VALUES
--;
-- Record what was published, take or renew the lease, move events into the history under their
-- numbers, and return the next batch, all in one commit. The update of the one row makes a deposed
-- relay wait and then fail; `held` is false when another relay is the owner.
CREATE FUNCTION relay_take(me text, lease interval, batch integer, published bigint[], published_until bigint)
RETURNS TABLE (held boolean, number bigint, id text, kind text, subject text, type text, tenant_id text, store_id text,
    operation_id text, "time" timestamptz, data json, seq bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    base bigint;
    done bigint;
    given bigint;
BEGIN
    UPDATE relay SET owner = me, lease_until = now() + lease, published_seq = greatest(published_seq, published_until)
        WHERE owner IS NULL OR owner = me OR lease_until < now()
        RETURNING last_seq, published_seq INTO base, done;
    IF NOT FOUND THEN
        held := false;
        RETURN NEXT;
        RETURN;
    END IF;
    IF cardinality(published) > 0 THEN
        DELETE FROM outbox WHERE number = ANY (published);
    END IF;
    WITH moved AS (
        DELETE FROM outbox WHERE number = ANY (ARRAY(
            SELECT number FROM outbox WHERE kind = 'event' ORDER BY number LIMIT batch)) RETURNING outbox.*
    )
    INSERT INTO events (seq, id, tenant_id, store_id, operation_id, type, time, data)
        SELECT base + row_number() OVER (ORDER BY number), id, tenant_id, store_id, operation_id, type, time, data
        FROM moved;
    GET DIAGNOSTICS given = ROW_COUNT;
    IF given > 0 THEN
        UPDATE relay SET last_seq = base + given;
    END IF;
    RETURN QUERY
        (SELECT true, NULL::bigint, id, 'event', NULL::text, type, tenant_id, store_id, operation_id, time, data, seq
            FROM events WHERE seq > done ORDER BY seq LIMIT batch)
        UNION ALL
        (SELECT true, number, id, kind, subject, type, tenant_id, store_id, operation_id, time, data, NULL::bigint
            FROM outbox WHERE kind <> 'event' ORDER BY number LIMIT batch);
END $$
--;
CREATE TABLE idempotency_keys (
    scope         text NOT NULL,
    key           text NOT NULL,
    request_hash  bytea NOT NULL,
    status        integer NOT NULL,
    location      text NOT NULL,
    body          jsonb NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (scope, key)
)
--;
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at)
--;
CREATE TABLE dead_letters (
    id            text PRIMARY KEY,
    tenant_id     text,
    store_id      text,
    operation_id  text,
    reason        text NOT NULL,
    detail        text NOT NULL,
    subject       text NOT NULL,
    payload       bytea NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    replayed_at   timestamptz
)
--;
CREATE INDEX dead_letters_age ON dead_letters (created_at DESC, id DESC)
--;
CREATE TABLE audit (
    number     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    time       timestamptz NOT NULL DEFAULT now(),
    tenant_id  text NOT NULL,
    actor      text NOT NULL,
    action     text NOT NULL,
    target     text NOT NULL,
    request_id text,
    detail     jsonb NOT NULL DEFAULT '{}'
)
--;
CREATE INDEX audit_of_tenant ON audit (tenant_id, number DESC)
--;
-- The local runtime's placements: the local node runs the processes, as a kubelet runs pods.
CREATE TABLE placements (
    store_id        text PRIMARY KEY,
    operation_id    text NOT NULL,
    engine          text NOT NULL,
    engine_version  text NOT NULL,
    port            integer NOT NULL UNIQUE,
    desired         text NOT NULL DEFAULT 'stopped' CHECK (desired IN ('running', 'stopped')),
    observed        text NOT NULL DEFAULT 'stopped' CHECK (observed IN ('stopped', 'starting', 'running', 'crashing')),
    pid             integer,
    restarts        integer NOT NULL DEFAULT 0,
    message         text NOT NULL DEFAULT '',
    observed_at     timestamptz NOT NULL DEFAULT now(),
    created_at      timestamptz NOT NULL DEFAULT now()
)
