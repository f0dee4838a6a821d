-- Switch an upgrade to its automatic rollback: keep the failure, reset the attempts, and set a new
-- deadline of the same duration. With `release_lease` the fence is incremented, so that the owner
-- can write nothing more and any worker may claim the operation.
UPDATE operations SET
    error = :failure, cancel_requested = false, attempt = 1, run_after = now(),
    deadline = now() + (deadline - created_at),
    fence = fence + CASE WHEN :release_lease THEN 1 ELSE 0 END,
    state = CASE WHEN :release_lease THEN 'queued' ELSE state END,
    announced_at = CASE WHEN :release_lease THEN now() END,
    lease_owner = CASE WHEN :release_lease THEN NULL ELSE lease_owner END,
    lease_until = CASE WHEN :release_lease THEN NULL ELSE lease_until END
WHERE id = :operation_id AND fence = :fence AND state IN ('queued', 'running')
RETURNING
    id, tenant_id, store_id, kind, state, error, attempt, cancel_requested, fence, request_id,
    deadline, run_after, created_at, started_at, finished_at, input, baseline
