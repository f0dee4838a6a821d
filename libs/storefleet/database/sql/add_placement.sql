-- Keep the store's placement, or add one with the first of `ports` that no other store has.
-- Returns no row when every port is taken.
INSERT INTO placements (store_id, operation_id, engine, engine_version, port)
SELECT :store_id, :operation_id, :engine, :engine_version, candidate.port
FROM unnest(:ports::int[]) WITH ORDINALITY AS candidate (port, place)
WHERE NOT EXISTS (SELECT 1 FROM placements taken WHERE taken.port = candidate.port)
ORDER BY candidate.place LIMIT 1
ON CONFLICT (store_id) DO UPDATE SET operation_id = excluded.operation_id
RETURNING
    store_id, operation_id, engine, engine_version, port, desired, observed, pid, restarts, message
