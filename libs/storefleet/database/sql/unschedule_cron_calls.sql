-- Remove the cron calls of stores that are not ready any more, or whose engine needs none now.
DELETE FROM ticks WHERE store_id IN (
    SELECT store_id FROM ticks JOIN stores ON id = store_id
    WHERE state <> 'ready' OR NOT engine = ANY (:engines)
    LIMIT :limit FOR UPDATE OF ticks SKIP LOCKED)
RETURNING 1
