-- Claim an operation: increment its fence and write its lease, with steps, store and messages.
-- Returns the new fence; no row, with nothing written, when the operation or its store differs from
-- what was read.
WITH locked AS (
    SELECT o.fence + 1 AS next_fence FROM stores s JOIN operations o ON o.store_id = s.id
    WHERE s.id = :store_id AND s.version = :version_read
      AND o.id = :operation_id AND o.fence = :fence
      AND (o.state = 'queued' OR (o.state = 'running' AND o.lease_until < now()))
    FOR UPDATE OF s, o
), changed_operation AS (
    UPDATE operations o SET
        state = :operation_state, fence = locked.next_fence, lease_owner = :owner,
        lease_until = now() + :lease_duration::interval, error = :operation_error,
        finished_at = :operation_finished_at, started_at = :operation_started_at
    FROM locked WHERE id = :operation_id
), changed_store AS (
    UPDATE stores SET
        state = :store_state, url = :url, admin_url = :admin_url, failure = :store_failure,
        ready_at = :ready_at, deleted_at = :deleted_at, version = :version,
        engine_version = :engine_version
    FROM locked WHERE id = :store_id AND version < :version
), changed_steps AS (
    INSERT INTO steps (operation_id, position, name, title, state, started_at, finished_at, message)
    SELECT :operation_id, step.* FROM unnest(
        :step_positions::int[], :step_names::text[], :step_titles::text[], :step_states::text[],
        :steps_started_at::timestamptz[], :steps_finished_at::timestamptz[],
        :step_messages::text[]) step
    WHERE EXISTS (SELECT 1 FROM locked)
    ON CONFLICT (operation_id, position) DO UPDATE SET
        name = excluded.name, title = excluded.title, state = excluded.state,
        started_at = excluded.started_at, finished_at = excluded.finished_at,
        message = excluded.message
    WHERE (steps.state, steps.started_at, steps.finished_at, steps.message) IS DISTINCT FROM
        (excluded.state, excluded.started_at, excluded.finished_at, excluded.message)
), messages AS (
    INSERT INTO outbox (id, kind, subject, type, tenant_id, store_id, operation_id, data)
    SELECT * FROM unnest(
        :message_ids::text[], :message_kinds::text[], :message_subjects::text[],
        :message_types::text[], :message_tenant_ids::text[], :message_store_ids::text[],
        :message_operation_ids::text[], :message_data::json[])
    WHERE EXISTS (SELECT 1 FROM locked)
)
SELECT next_fence FROM locked
