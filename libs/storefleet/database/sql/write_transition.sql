-- Write a transition of a running operation: steps, store and messages, and the operation itself
-- when its state or its baseline changes. Returns no row, and writes nothing, when the store differs from what was
-- read, the fence has changed, or a cancellation was requested and `stop_on_cancel` is true.
WITH held AS (
    SELECT 1 FROM stores s JOIN operations o ON o.store_id = s.id
    WHERE s.id = :store_id AND s.version = :version_read
      AND o.id = :operation_id AND o.fence = :fence AND o.state = 'running'
      AND NOT (o.cancel_requested AND :stop_on_cancel)
    FOR UPDATE OF s, o
), changed_operation AS (
    UPDATE operations o SET
        state = :operation_state, error = :operation_error,
        finished_at = :operation_finished_at, baseline = coalesce(:baseline::jsonb, o.baseline),
        lease_owner = CASE WHEN o.state = :operation_state THEN o.lease_owner END,
        lease_until = CASE WHEN o.state = :operation_state THEN o.lease_until END
    FROM held WHERE id = :operation_id
      AND (state <> :operation_state OR o.baseline IS DISTINCT FROM coalesce(:baseline, o.baseline))
), changed_store AS (
    UPDATE stores SET
        state = :store_state, url = :url, admin_url = :admin_url, failure = :store_failure,
        ready_at = :ready_at, deleted_at = :deleted_at, version = :version,
        engine_version = :engine_version
    FROM held WHERE id = :store_id AND version < :version
), changed_steps AS (
    INSERT INTO steps (operation_id, position, name, title, state, started_at, finished_at, message)
    SELECT :operation_id, step.* FROM unnest(
        :step_positions::int[], :step_names::text[], :step_titles::text[], :step_states::text[],
        :steps_started_at::timestamptz[], :steps_finished_at::timestamptz[],
        :step_messages::text[]) step
    WHERE EXISTS (SELECT 1 FROM held)
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
    WHERE EXISTS (SELECT 1 FROM held)
)
SELECT 1 FROM held
