-- Add a store, its create operation and their messages, in one round trip.
-- Returns no row when the tenant has created `max_created` stores or more: the caller has to check
-- its limits first. Returns false when a live store has the name, else true.
WITH counted AS (
    UPDATE tenants SET stores_made = stores_made + 1
    WHERE id = :tenant_id
      AND (:max_created::bigint IS NULL OR stores_made < :max_created)
    RETURNING id
), added AS (
    INSERT INTO stores (
        id, tenant_id, name, engine, engine_version, parameters, state, created_at, plan)
    SELECT
        :store_id, id, :name, :engine, :engine_version, :parameters, :state, :created_at, :plan
    FROM counted
    ON CONFLICT (name) WHERE deleted_at IS NULL DO NOTHING
    RETURNING id
), queued AS (
    INSERT INTO operations (
        id, tenant_id, store_id, kind, request_id, requested_by, deadline, announced_at)
    SELECT
        :operation_id, :tenant_id, id, :kind, :request_id, :requested_by, :deadline, :created_at
    FROM added
), messages AS (
    INSERT INTO outbox (id, kind, subject, type, tenant_id, store_id, operation_id, data)
    SELECT * FROM unnest(
        :message_ids::text[], :message_kinds::text[], :message_subjects::text[],
        :message_types::text[], :message_tenant_ids::text[], :message_store_ids::text[],
        :message_operation_ids::text[], :message_data::json[])
    WHERE EXISTS (SELECT 1 FROM added)
)
SELECT EXISTS (SELECT 1 FROM added) FROM counted
