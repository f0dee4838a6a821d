-- Like relay_take with five arguments, which stays for services of the previous version. `sent` is the
-- last event that the owner has been given, published or not yet; 0 starts after the last event that is
-- recorded as published.
CREATE FUNCTION relay_take(me text, lease interval, batch integer, published bigint[], published_until bigint,
    sent bigint)
RETURNS TABLE (held boolean, number bigint, id text, kind text, subject text, type text, tenant_id text, store_id text,
    operation_id text, "time" timestamptz, data json, seq bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    base bigint;
    done bigint;
    given bigint;
BEGIN
    UPDATE relay SET owner = me, lease_until = now() + lease, published_seq = greatest(published_seq, published_until)
        WHERE owner IS NULL OR owner = me OR lease_until < now()
        RETURNING last_seq, published_seq INTO base, done;
    IF NOT FOUND THEN
        held := false;
        RETURN NEXT;
        RETURN;
    END IF;
    IF cardinality(published) > 0 THEN
        DELETE FROM outbox WHERE number = ANY (published);
    END IF;
    WITH moved AS (
        DELETE FROM outbox WHERE number = ANY (ARRAY(
            SELECT number FROM outbox WHERE kind = 'event' ORDER BY number LIMIT batch)) RETURNING outbox.*
    )
    INSERT INTO events (seq, id, tenant_id, store_id, operation_id, type, time, data)
        SELECT base + row_number() OVER (ORDER BY number), id, tenant_id, store_id, operation_id, type, time, data
        FROM moved;
    GET DIAGNOSTICS given = ROW_COUNT;
    IF given > 0 THEN
        UPDATE relay SET last_seq = base + given;
    END IF;
    RETURN QUERY
        (SELECT true, NULL::bigint, id, 'event', NULL::text, type, tenant_id, store_id, operation_id, time, data, seq
            FROM events WHERE seq > greatest(done, sent) ORDER BY seq LIMIT batch)
        UNION ALL
        (SELECT true, number, id, kind, subject, type, tenant_id, store_id, operation_id, time, data, NULL::bigint
            FROM outbox WHERE kind <> 'event' ORDER BY number LIMIT batch);
END $$
