-- Lock operations that should be running and are not, oldest first: `due` (never dispatched since
-- they became due), `expired` (the lease ran out) or `unclaimed` (dispatched, and claimed by nobody
-- for `redispatch_after`). Rows that another reaper has locked are skipped.
SELECT
    id, tenant_id, store_id, kind, state, error, attempt, cancel_requested, fence, request_id,
    deadline, run_after, created_at, started_at, finished_at, input, baseline,
    CASE
        WHEN state = 'running' THEN 'expired'
        WHEN announced_at IS NULL THEN 'due'
        ELSE 'unclaimed'
    END AS reason
FROM operations o
WHERE (
    (state = 'queued' AND run_after <= now()
        AND (announced_at IS NULL
            OR announced_at < greatest(run_after, now() - :redispatch_after::interval)))
    OR (state = 'running' AND lease_until < now()
        AND (announced_at IS NULL
            OR announced_at < greatest(lease_until, now() - :redispatch_after::interval))))
  AND NOT EXISTS (
      SELECT 1 FROM operations earlier
      WHERE earlier.store_id = o.store_id AND earlier.number < o.number
        AND earlier.state IN ('queued', 'running'))
ORDER BY run_after LIMIT :limit FOR UPDATE SKIP LOCKED
