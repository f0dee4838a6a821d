-- Find an operation with its store, if it may be claimed now: it is due, nobody holds a valid lease
-- of it, and no earlier operation of its store is open.
SELECT
    s.*, o.id AS o_id, o.tenant_id AS o_tenant_id, o.store_id AS o_store_id, o.kind AS o_kind,
    o.state AS o_state, o.error AS o_error, o.attempt AS o_attempt,
    o.cancel_requested AS o_cancel_requested, o.fence AS o_fence, o.request_id AS o_request_id,
    o.deadline AS o_deadline, o.run_after AS o_run_after, o.created_at AS o_created_at,
    o.started_at AS o_started_at, o.finished_at AS o_finished_at, o.input AS o_input,
    o.baseline AS o_baseline
FROM operations o JOIN stores s ON s.id = o.store_id
WHERE o.id = :operation_id AND o.store_id = :store_id AND o.kind = ANY (:kinds)
  AND o.run_after <= now()
  AND (o.state = 'queued' OR (o.state = 'running' AND o.lease_until < now()))
  AND NOT EXISTS (
      SELECT 1 FROM operations earlier
      WHERE earlier.store_id = o.store_id AND earlier.number < o.number
        AND earlier.state IN ('queued', 'running'))
