-- Only additions: during a rolling update, services of the previous version still read and write
-- these tables.
ALTER TABLE stores ADD COLUMN plan text NOT NULL DEFAULT '',
    DROP CONSTRAINT stores_state_check,
    ADD CONSTRAINT stores_state_check CHECK (state IN ('requested', 'provisioning', 'ready', 'upgrading',
        'rolling_back', 'failed', 'deleting', 'deleted'))
--;
-- What an operation was requested to do. An open upgrade with an `error` is in its automatic rollback.
ALTER TABLE operations ADD COLUMN input jsonb NOT NULL DEFAULT '{}',
    DROP CONSTRAINT operations_kind_check,
    ADD CONSTRAINT operations_kind_check CHECK (kind IN ('create', 'upgrade', 'rollback', 'delete'))
