-- Claim stores whose cron call is due, oldest first, by setting the time of their next one.
WITH due AS (
    SELECT store_id, due_at AS was_due_at, engine, url, interval_s, cron, version
    FROM ticks
    JOIN stores ON id = store_id
    JOIN unnest(:engines::text[], :intervals_s::float8[]) AS intervals (engine, interval_s)
        USING (engine)
    WHERE due_at <= now() AND state = 'ready' AND url IS NOT NULL
    ORDER BY due_at LIMIT :limit FOR UPDATE OF ticks SKIP LOCKED
)
UPDATE ticks SET due_at = now() + make_interval(secs => interval_s * (0.9 + 0.2 * random()))
FROM due WHERE ticks.store_id = due.store_id
RETURNING
    due.store_id, engine, url, extract(epoch FROM now() - was_due_at)::float8 AS delay_s, cron, version
