-- Find the upgrade that gave the store its version, unless it was rolled back since.
SELECT
    id, tenant_id, store_id, kind, state, error, attempt, cancel_requested, fence, request_id,
    deadline, run_after, created_at, started_at, finished_at, input, baseline
FROM operations o
WHERE store_id = :store_id AND kind = 'upgrade' AND state = 'succeeded'
  AND input->>'to' = :engine_version
  AND NOT EXISTS (
      SELECT 1 FROM operations rollback
      WHERE rollback.store_id = o.store_id AND rollback.kind = 'rollback'
        AND rollback.state = 'succeeded' AND rollback.input->>'dump' = o.id)
ORDER BY number DESC LIMIT 1
