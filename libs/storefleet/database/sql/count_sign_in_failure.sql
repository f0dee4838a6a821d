-- Count a failed sign-in and return the count; it restarts when the last one is older than `pause`.
INSERT INTO sign_in_failures (account, failures, last_at) VALUES (lower(:account), 1, now())
ON CONFLICT (account) DO UPDATE SET
    last_at = now(),
    failures = CASE
        WHEN sign_in_failures.last_at + :pause::interval < now() THEN 1
        ELSE sign_in_failures.failures + 1
    END
RETURNING failures
