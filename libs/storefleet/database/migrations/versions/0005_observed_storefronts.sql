-- What was observed of a store since it became ready. Not indexed, so that a check updates no index (HOT).
ALTER TABLE stores
    ADD COLUMN storefront text NOT NULL DEFAULT 'unknown' CHECK (storefront IN ('serving', 'closed_by_owner',
        'protected', 'down', 'unknown')),
    ADD COLUMN storefront_checked_at timestamptz,
    ADD COLUMN cron text NOT NULL DEFAULT 'none' CHECK (cron IN ('calling', 'closed_by_owner', 'failing', 'none'))
--;
-- When the next check of a ready store's storefront is due. A claim sets it to its own end, so the time is
-- also the fence of the claim's result.
CREATE TABLE storefront_checks (
    store_id  text PRIMARY KEY REFERENCES stores ON DELETE CASCADE,
    due_at    timestamptz NOT NULL
) WITH (fillfactor = 70)
--;
CREATE INDEX storefront_checks_due ON storefront_checks (due_at)
--;
INSERT INTO storefront_checks (store_id, due_at)
SELECT id, now() + random() * interval '5 minutes' FROM stores WHERE state = 'ready'
--;
-- A trigger, because every statement that changes the state has to do this, also those of the previous version
-- of the services: what was observed before belongs to another state, and a store that became ready is
-- checked at once. A claim from before then fails by its fence.
CREATE FUNCTION reset_observed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.storefront := 'unknown';
    NEW.storefront_checked_at := NULL;
    NEW.cron := 'none';
    IF NEW.state = 'ready' THEN
        INSERT INTO storefront_checks (store_id, due_at) VALUES (NEW.id, now())
            ON CONFLICT (store_id) DO UPDATE SET due_at = excluded.due_at;
    ELSE
        DELETE FROM storefront_checks WHERE store_id = NEW.id;
    END IF;
    RETURN NEW;
END $$
--;
CREATE TRIGGER stores_reset_observed BEFORE UPDATE OF state ON stores
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION reset_observed()
