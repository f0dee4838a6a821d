-- Add a queued operation to a store. With `dispatched`, its command is written in the same
-- transaction, so the scan for due operations need not dispatch it.
INSERT INTO operations (
    id, tenant_id, store_id, kind, request_id, requested_by, deadline, announced_at, input, baseline)
VALUES (
    :operation_id, :tenant_id, :store_id, :kind, :request_id, :requested_by,
    now() + :deadline::interval, CASE WHEN :dispatched THEN now() END, :operation_input, :baseline)
RETURNING
    id, tenant_id, store_id, kind, state, error, attempt, cancel_requested, fence, request_id,
    deadline, run_after, created_at, started_at, finished_at, input, baseline
