-- Delete published events older than `retention`, and record where the history starts now.
WITH deleted AS (
    DELETE FROM events WHERE seq IN (
        SELECT seq FROM events, relay
        WHERE time < now() - :retention::interval AND seq <= published_seq LIMIT :limit)
    RETURNING seq
), moved AS (
    UPDATE relay SET first_seq = greatest(first_seq, (SELECT max(seq) + 1 FROM deleted))
    RETURNING 1
)
SELECT count(*) FROM deleted
