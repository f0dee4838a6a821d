-- Record that a claimed check has observed the class that the store has, and schedule the next check.
-- Returns no row, and writes nothing, when the store has another class or state, or the claim is over.
WITH held AS (
    SELECT s.id FROM stores s JOIN storefront_checks c ON c.store_id = s.id
    WHERE s.id = :store_id AND s.state = 'ready' AND s.storefront = :storefront
      AND c.due_at = :claimed_until
    FOR UPDATE OF s, c
), checked AS (
    UPDATE stores SET storefront_checked_at = now() FROM held WHERE stores.id = held.id
)
UPDATE storefront_checks SET
    due_at = now() + make_interval(secs => :pause_s * (0.9 + 0.2 * random()))
FROM held WHERE store_id = held.id
RETURNING 1
