-- When a store is asked next for what it does by time, and how often in a row it did not answer. Beside the stores,
-- whose rows every transition writes.
CREATE TABLE ticks (
    store_id  text PRIMARY KEY REFERENCES stores ON DELETE CASCADE,
    due_at    timestamptz NOT NULL,
    failures  integer NOT NULL DEFAULT 0
) WITH (fillfactor = 70)
--;
CREATE INDEX ticks_due ON ticks (due_at)
