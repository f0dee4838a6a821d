-- When the next cron call of a store is due, and how often in a row it has failed. Not in `stores`,
-- whose rows every transition writes.
CREATE TABLE ticks (
    store_id  text PRIMARY KEY REFERENCES stores ON DELETE CASCADE,
    due_at    timestamptz NOT NULL,
    failures  integer NOT NULL DEFAULT 0
) WITH (fillfactor = 70)
--;
CREATE INDEX ticks_due ON ticks (due_at)
