-- Count a failed cron call, and double the pause with each failure in a row up to `max_interval`.
UPDATE ticks SET
    failures = failures + 1,
    due_at = greatest(due_at, now() + least(:max_interval::interval, make_interval(
        secs => :interval_s * power(2, least(failures, 20)) * (0.9 + 0.2 * random()))))
WHERE store_id = :store_id
RETURNING failures
