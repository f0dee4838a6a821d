-- Add messages to the outbox in this order, and wake the relay when the transaction commits.
WITH written AS (
    INSERT INTO outbox (id, kind, subject, type, tenant_id, store_id, operation_id, data)
    SELECT * FROM unnest(
        :message_ids::text[], :message_kinds::text[], :message_subjects::text[],
        :message_types::text[], :message_tenant_ids::text[], :message_store_ids::text[],
        :message_operation_ids::text[], :message_data::json[])
    RETURNING 1
)
SELECT pg_notify('storefleet_outbox', '') FROM written LIMIT 1
