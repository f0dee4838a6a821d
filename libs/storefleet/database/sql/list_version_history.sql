-- List the operations that gave a store its versions, newest first, with the requester's name.
-- The version of the creation is the one that the first upgrade replaced. Names of users and tokens
-- of another tenant (an operator's) are not disclosed.
SELECT
    o.id, o.kind, o.state, o.input, o.requested_by, o.created_at, o.finished_at, o.error,
    coalesce(t.name, u.email, 'operator') AS requester_name,
    coalesce(
        (SELECT first.input->>'from' FROM operations first
            WHERE first.store_id = o.store_id AND first.kind = 'upgrade'
              AND first.state = 'succeeded'
            ORDER BY first.number LIMIT 1),
        :engine_version) AS created_version
FROM operations o
LEFT JOIN tokens t ON t.id = o.requested_by AND t.tenant_id = o.tenant_id
LEFT JOIN users u ON u.id = o.requested_by AND u.tenant_id = o.tenant_id
WHERE o.store_id = :store_id AND o.tenant_id = :tenant_id
  AND o.kind IN ('create', 'upgrade', 'rollback')
  AND (:starting_after::text IS NULL OR o.number < (
      SELECT number FROM operations WHERE id = :starting_after AND store_id = :store_id))
ORDER BY o.number DESC LIMIT :limit
