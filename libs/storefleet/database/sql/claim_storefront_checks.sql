-- Claim ready stores whose storefront check is due, oldest first, by setting the time of the next one to
-- the end of the claim. A local store has a port.
WITH due AS (
    SELECT store_id, due_at AS was_due_at
    FROM storefront_checks JOIN stores ON id = store_id
    WHERE due_at <= now() AND state = 'ready' AND url IS NOT NULL AND engine = ANY (:engines::text[])
    ORDER BY due_at LIMIT :limit FOR UPDATE OF storefront_checks SKIP LOCKED
), claimed AS (
    UPDATE storefront_checks c SET due_at = now() + :claim_duration::interval
    FROM due WHERE c.store_id = due.store_id
    RETURNING c.store_id, c.due_at AS claimed_until, was_due_at
)
SELECT
    s.id, s.engine, s.url, s.storefront, claimed_until, p.port,
    extract(epoch FROM now() - was_due_at)::float8 AS delay_s
FROM claimed JOIN stores s ON s.id = claimed.store_id LEFT JOIN placements p ON p.store_id = s.id
