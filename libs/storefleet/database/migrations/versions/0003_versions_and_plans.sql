-- Only additions: services of the version before go on reading and writing these tables while they are replaced.
ALTER TABLE stores ADD COLUMN plan text NOT NULL DEFAULT '',
    DROP CONSTRAINT stores_state_check,
    ADD CONSTRAINT stores_state_check CHECK (state IN ('requested', 'provisioning', 'ready', 'upgrading',
        'rolling_back', 'failed', 'deleting', 'deleted'))
--;
-- What an operation was asked for; an upgrade that runs, or waits, with an `error` is on its way back.
ALTER TABLE operations ADD COLUMN input jsonb NOT NULL DEFAULT '{}',
    DROP CONSTRAINT operations_kind_check,
    ADD CONSTRAINT operations_kind_check CHECK (kind IN ('create', 'upgrade', 'rollback', 'delete'))
