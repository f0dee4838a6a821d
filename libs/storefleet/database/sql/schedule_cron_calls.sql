-- Schedule the first cron call of ready stores that have none yet. It comes at a random time within
-- the engine's interval, so that stores that were created together are not called together.
INSERT INTO ticks (store_id, due_at)
SELECT id, now() + make_interval(secs => interval_s * random())
FROM stores
JOIN unnest(:engines::text[], :intervals_s::float8[]) AS pace (engine, interval_s) USING (engine)
WHERE state = 'ready' AND url IS NOT NULL
  AND NOT EXISTS (SELECT FROM ticks WHERE store_id = id)
LIMIT :limit
ON CONFLICT DO NOTHING
RETURNING 1
